// go-walk: walks what go-nvml and go-nvlib offer and prints it as JSON.
//
// It knows NVML only through those modules.
package main

import (
	_ "github.com/NVIDIA/go-nvlib/pkg/nvlib/device"
	_ "github.com/NVIDIA/go-nvlib/pkg/nvlib/info"
	_ "github.com/NVIDIA/go-nvlib/pkg/nvpci"
	_ "github.com/NVIDIA/go-nvml/pkg/nvml"
)

func main() {}
