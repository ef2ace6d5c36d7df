// go-walk walks what NVIDIA's go-nvml and go-nvlib offer, and prints what it finds as JSON.
//
// It knows NVML only through those modules, and judges nothing: the test that runs it does.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/NVIDIA/go-nvlib/pkg/nvlib/device"
	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "go-walk:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("what? list, methods, mig GPU PROFILE..., or events GPU")
	}
	lib := nvml.New()
	if ret := lib.Init(); ret != nvml.SUCCESS {
		return fmt.Errorf("init: %w", ret)
	}
	// go-nvml closes the library here: the end of the process would hide a crash in that.
	defer lib.Shutdown()
	switch args[0] {
	case "list":
		return list(lib)
	case "methods":
		return methods(lib)
	case "mig":
		gpu, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return mig(lib, gpu, args[2:])
	case "events":
		gpu, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return events(lib, gpu)
	}
	return fmt.Errorf("%s: no such walk", args[0])
}

func printJSON(value any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	return encoder.Encode(value)
}

// devices gives each GPU in go-nvlib's view.
func devices(lib nvml.Interface) ([]device.Device, error) {
	return device.New(lib).GetDevices()
}

// as an error, a return code that is none.
func check(ret nvml.Return, what string) error {
	if ret == nvml.SUCCESS {
		return nil
	}
	return fmt.Errorf("%s: %w", what, ret)
}
