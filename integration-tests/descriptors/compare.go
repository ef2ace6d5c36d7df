package main

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// A facts holds what a protocol file fixes on the wire, one entry per fact:
// the name of a thing, and everything about it that the other side depends on.
type facts map[string]string

// compareFiles returns one line per difference and the number of facts looked at.
func compareFiles(ours, theirs map[string]protoreflect.FileDescriptor) (differences []string, compared int) {
	for _, name := range keysOfBoth(ours, theirs) {
		our, their := ours[name], theirs[name]
		switch {
		case our == nil:
			differences = append(differences, name+": missing here")
		case their == nil:
			differences = append(differences, name+": unknown to k8s.io/kubelet")
		default:
			lines, count := compare(factsOf(our), factsOf(their))
			compared += count
			for _, line := range lines {
				differences = append(differences, name+": "+line)
			}
		}
	}
	return differences, compared
}

func compare(ours, theirs facts) (differences []string, compared int) {
	for _, name := range keysOfBoth(ours, theirs) {
		compared++
		our, here := ours[name]
		their, there := theirs[name]
		switch {
		case !here:
			differences = append(differences, fmt.Sprintf("%s: missing here, is %s in Kubernetes", name, their))
		case !there:
			differences = append(differences, fmt.Sprintf("%s: is %s here, unknown to Kubernetes", name, our))
		case our != their:
			differences = append(differences, fmt.Sprintf("%s: is %s here, %s in Kubernetes", name, our, their))
		}
	}
	return differences, compared
}

func factsOf(file protoreflect.FileDescriptor) facts {
	found := facts{"package": string(file.Package()), "syntax": file.Syntax().String()}
	messages(found, file.Messages())
	enums(found, file.Enums())
	for i := range file.Services().Len() {
		service := file.Services().Get(i)
		found["service "+string(service.FullName())] = "a service"
		for j := range service.Methods().Len() {
			method := service.Methods().Get(j)
			found["method "+string(method.FullName())] = fmt.Sprintf("(%s%s) returns (%s%s)",
				stream(method.IsStreamingClient()), method.Input().FullName(),
				stream(method.IsStreamingServer()), method.Output().FullName())
		}
	}
	return found
}

func messages(found facts, list protoreflect.MessageDescriptors) {
	for i := range list.Len() {
		message := list.Get(i)
		found["message "+string(message.FullName())] = fmt.Sprintf("a message (map entry: %t)", message.IsMapEntry())
		for j := range message.Fields().Len() {
			field := message.Fields().Get(j)
			found["field "+string(field.FullName())] = fieldFact(field)
		}
		messages(found, message.Messages())
		enums(found, message.Enums())
	}
}

func enums(found facts, list protoreflect.EnumDescriptors) {
	for i := range list.Len() {
		enum := list.Get(i)
		found["enum "+string(enum.FullName())] = "an enum"
		for j := range enum.Values().Len() {
			value := enum.Values().Get(j)
			found["value "+string(value.FullName())] = fmt.Sprint(value.Number())
		}
	}
}

func fieldFact(field protoreflect.FieldDescriptor) string {
	kind := field.Kind().String()
	if field.Message() != nil {
		kind += " " + string(field.Message().FullName())
	}
	if field.Enum() != nil {
		kind += " " + string(field.Enum().FullName())
	}
	fact := fmt.Sprintf("%s %s = %d, json %q", field.Cardinality(), kind, field.Number(), field.JSONName())
	if oneof := field.ContainingOneof(); oneof != nil {
		fact += fmt.Sprintf(", oneof %s", oneof.Name())
	}
	if field.HasOptionalKeyword() {
		fact += ", optional"
	}
	if field.IsPacked() {
		fact += ", packed"
	}
	return fact
}

func stream(streaming bool) string {
	if streaming {
		return "stream "
	}
	return ""
}

// keysOfBoth returns the keys of both maps, sorted, each once.
func keysOfBoth[V any](a, b map[string]V) []string {
	both := make(map[string]V, len(a))
	maps.Copy(both, a)
	maps.Copy(both, b)
	return slices.Sorted(maps.Keys(both))
}
