// Every method of go-nvml's and go-nvlib's objects that asks and changes nothing, found by reflection.
package main

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// Methods that ask. What takes a handle of another object is that object's method, too.
var asks = regexp.MustCompile(`^(Get|Is|OnSame|Gpm(Query|Sample)|Validate|System(Get|Is)|Unit(Get)|ErrorString|Extensions)`)

// walk calls each such method once with zeros, and notes what it returned: a code, or an error's text.
func walk(name string, object reflect.Value, other reflect.Value, answers map[string]string) {
	for index := range object.NumMethod() {
		method := object.Type().Method(index)
		if !asks.MatchString(method.Name) || strings.HasPrefix(method.Name, "GpmSample") {
			continue
		}
		kind := object.Method(index).Type()
		given, usable := arguments(kind, object, other)
		if !usable {
			continue
		}
		answers[name+"."+method.Name] = call(object.Method(index), given)
	}
}

func arguments(kind reflect.Type, object, other reflect.Value) ([]reflect.Value, bool) {
	var given []reflect.Value
	for index := range kind.NumIn() {
		in := kind.In(index)
		switch {
		case in == reflect.TypeFor[nvml.Device]():
			given = append(given, other)
		case in.Kind() == reflect.Interface || in.Kind() == reflect.Func:
			return nil, false
		case in.Kind() == reflect.Pointer:
			given = append(given, reflect.New(in.Elem()))
		default:
			given = append(given, reflect.Zero(in))
		}
	}
	return given, true
}

func call(method reflect.Value, given []reflect.Value) (answer string) {
	defer func() {
		if cause := recover(); cause != nil {
			answer = fmt.Sprint("panic: ", cause)
		}
	}()
	var returned []reflect.Value
	if method.Type().IsVariadic() {
		returned = method.CallSlice(given)
	} else {
		returned = method.Call(given)
	}
	if len(returned) == 0 {
		return "nothing"
	}
	switch last := returned[len(returned)-1].Interface().(type) {
	case nvml.Return:
		return last.String()
	case error:
		return "error: " + last.Error()
	}
	return "SUCCESS"
}

func methods(lib nvml.Interface) error {
	answers := map[string]string{}
	found, err := devices(lib)
	if err != nil {
		return err
	}
	last := reflect.ValueOf(found[len(found)-1]).Interface().(nvml.Device)
	other := reflect.ValueOf(&last).Elem()
	walk("lib", reflect.ValueOf(lib), other, answers)
	for index, gpu := range found {
		name := fmt.Sprint("gpu", index)
		walk(name, reflect.ValueOf(gpu), other, answers)
		migs, err := gpu.GetMigDevices()
		if err != nil {
			return err
		}
		for index, mig := range migs {
			walk(fmt.Sprint(name, ".mig", index), reflect.ValueOf(mig), other, answers)
			gi, ret := mig.GetGpuInstanceId()
			if ret != nvml.SUCCESS {
				return check(ret, "GPU instance id")
			}
			instance, ret := gpu.GetGpuInstanceById(gi)
			if ret != nvml.SUCCESS {
				return check(ret, "GPU instance")
			}
			walk(fmt.Sprint(name, ".gi", gi), reflect.ValueOf(instance), other, answers)
			ci, ret := mig.GetComputeInstanceId()
			if ret != nvml.SUCCESS {
				return check(ret, "compute instance id")
			}
			compute, ret := instance.GetComputeInstanceById(ci)
			if ret != nvml.SUCCESS {
				return check(ret, "compute instance")
			}
			walk(fmt.Sprint(name, ".gi", gi, ".ci", ci), reflect.ValueOf(compute), other, answers)
		}
	}
	return printJSON(answers)
}
