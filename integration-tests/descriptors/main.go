// Command descriptors compares the descriptors of Gantry's protocol files with
// those that are compiled into the k8s.io/kubelet module, both ways: every
// message, field, enum and service of either side must be in the other.
//
// Usage: descriptors FILE, where FILE is a FileDescriptorSet. It prints one line
// per difference. Exit code 0: alike; 1: they differ; 2: FILE cannot be read.
package main

import (
	"errors"
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	deviceplugin "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	pluginregistration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// Kubernetes' side, by the name that the file has on ours.
var theirs = map[string]protoreflect.FileDescriptor{
	"deviceplugin/v1beta1/api.proto":  (&deviceplugin.Device{}).ProtoReflect().Descriptor().ParentFile(),
	"pluginregistration/v1/api.proto": (&pluginregistration.PluginInfo{}).ProtoReflect().Descriptor().ParentFile(),
	"podresources/v1/api.proto":       (&podresources.PodResources{}).ProtoReflect().Descriptor().ParentFile(),
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: descriptors FILE")
		os.Exit(2)
	}
	ours, err := read(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	differences, compared := compareFiles(ours, theirs)
	for _, line := range differences {
		fmt.Println(line)
	}
	if len(differences) > 0 {
		fmt.Printf("%d differences in %d facts\n", len(differences), compared)
		os.Exit(1)
	}
	fmt.Printf("%d protocol files alike, %d facts compared\n", len(theirs), compared)
}

// read returns the files of a FileDescriptorSet by their names.
func read(path string) (map[string]protoreflect.FileDescriptor, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(data, set); err != nil {
		return nil, fmt.Errorf("%s is not a FileDescriptorSet: %w", path, err)
	}
	if len(set.File) == 0 {
		return nil, errors.New(path + " holds no file")
	}
	// One registry per file: two of Kubernetes' packages could share a name.
	files := make(map[string]protoreflect.FileDescriptor)
	for _, file := range set.File {
		built, err := protodesc.NewFile(file, nil)
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", file.GetName(), path, err)
		}
		files[file.GetName()] = built
	}
	return files, nil
}
