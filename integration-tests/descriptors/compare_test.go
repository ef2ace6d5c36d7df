package main

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

const plugin = "deviceplugin/v1beta1/api.proto"

func TestKubernetesFilesAreAlikeThemselves(t *testing.T) {
	differences, compared := compareFiles(theirs, theirs)
	if len(differences) != 0 || compared < 100 {
		t.Errorf("%d facts compared, differences: %v", compared, differences)
	}
}

func TestEachKindOfChangeIsReported(t *testing.T) {
	message := func(file *descriptorpb.FileDescriptorProto, name string) *descriptorpb.DescriptorProto {
		for _, message := range file.MessageType {
			if message.GetName() == name {
				return message
			}
		}
		panic("no message " + name)
	}
	changes := []struct {
		name   string
		change func(*descriptorpb.FileDescriptorProto)
		want   string
	}{
		{"number", func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Device").Field[1].Number = proto.Int32(9)
		}, "field v1beta1.Device.health: is optional string = 9"},
		{"type", func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Device").Field[1].Type = descriptorpb.FieldDescriptorProto_TYPE_BYTES.Enum()
		}, "field v1beta1.Device.health: is optional bytes = 2"},
		{"cardinality", func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Device").Field[1].Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}, "field v1beta1.Device.health: is repeated string = 2"},
		{"json name", func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Device").Field[1].JsonName = proto.String("other")
		}, `field v1beta1.Device.health: is optional string = 2, json "other"`},
		{"field name", func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Device").Field[1].Name = proto.String("state")
		}, "field v1beta1.Device.health: missing here"},
		{"added field", func(f *descriptorpb.FileDescriptorProto) {
			device := message(f, "Device")
			added := proto.Clone(device.Field[1]).(*descriptorpb.FieldDescriptorProto)
			added.Name, added.JsonName, added.Number = proto.String("more"), proto.String("more"), proto.Int32(4)
			device.Field = append(device.Field, added)
		}, "field v1beta1.Device.more: is optional string = 4"},
		{"streaming", func(f *descriptorpb.FileDescriptorProto) {
			for _, service := range f.Service {
				for _, method := range service.Method {
					if method.GetName() == "ListAndWatch" {
						method.ServerStreaming = proto.Bool(false)
					}
				}
			}
		}, "method v1beta1.DevicePlugin.ListAndWatch: is (v1beta1.Empty) returns (v1beta1.ListAndWatchResponse) here"},
		{"removed method", func(f *descriptorpb.FileDescriptorProto) {
			for _, service := range f.Service {
				service.Method = service.Method[:len(service.Method)-1]
			}
		}, "missing here"},
	}
	for _, test := range changes {
		t.Run(test.name, func(t *testing.T) {
			file := protodesc.ToFileDescriptorProto(theirs[plugin])
			test.change(file)
			changed, err := protodesc.NewFile(file, nil)
			if err != nil {
				t.Fatal(err)
			}
			kubernetes := map[string]protoreflect.FileDescriptor{plugin: theirs[plugin]}
			differences, _ := compareFiles(map[string]protoreflect.FileDescriptor{plugin: changed}, kubernetes)
			if !strings.Contains(fmt.Sprint(differences), test.want) {
				t.Errorf("want %q in %q", test.want, differences)
			}
		})
	}
}

func TestMissingFileIsReportedBothWays(t *testing.T) {
	differences, _ := compareFiles(nil, theirs)
	if len(differences) != len(theirs) {
		t.Error(differences)
	}
	differences, _ = compareFiles(theirs, nil)
	if len(differences) != len(theirs) {
		t.Error(differences)
	}
}
