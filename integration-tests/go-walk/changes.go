// What changes a GPU, and what waits for it to change.
package main

import (
	"fmt"
	"os"

	"github.com/NVIDIA/go-nvlib/pkg/nvlib/device"
	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

type migWalk struct {
	Made    []migDevice `json:"made"`
	Overlap string      `json:"overlap"`
	Busy    string      `json:"destroyWithChild"`
	Left    int         `json:"leftAfterDestroy"`
}

// mig makes an instance of each profile with one compute instance that takes it all, looks, and ends them again.
func mig(lib nvml.Interface, index int, profiles []string) error {
	all, err := devices(lib)
	if err != nil {
		return err
	}
	one := all[index]
	var walked migWalk
	var instances []nvml.GpuInstance
	for _, name := range profiles {
		instance, err := create(lib, one, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		instances = append(instances, instance)
	}
	var told gpu
	if err := migDevices(one, &told); err != nil {
		return err
	}
	walked.Made = told.MigDevices
	info, ret := instances[0].GetInfo()
	if ret != nvml.SUCCESS {
		return check(ret, "instance")
	}
	first := nvml.GpuInstanceProfileInfo{Id: info.ProfileId}
	_, ret = one.CreateGpuInstanceWithPlacement(&first, &info.Placement)
	walked.Overlap = ret.String()
	walked.Busy = instances[0].Destroy().String()
	for _, instance := range instances {
		profile, ret := instance.GetComputeInstanceProfileInfo(slices(instance), nvml.COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED)
		if ret != nvml.SUCCESS {
			return check(ret, "compute profile")
		}
		computes, ret := instance.GetComputeInstances(&profile)
		if ret != nvml.SUCCESS {
			return check(ret, "compute instances")
		}
		for _, compute := range computes {
			if err := check(compute.Destroy(), "end a compute instance"); err != nil {
				return err
			}
		}
		if err := check(instance.Destroy(), "end a GPU instance"); err != nil {
			return err
		}
	}
	left, err := one.GetMigDevices()
	if err != nil {
		return err
	}
	walked.Left = len(left)
	return printJSON(walked)
}

// slices gives the compute profile that takes all of an instance: that of the same number of slices.
func slices(instance nvml.GpuInstance) int {
	whole := nvml.COMPUTE_INSTANCE_PROFILE_1_SLICE
	most := uint32(0)
	for number := range nvml.COMPUTE_INSTANCE_PROFILE_COUNT {
		profile, ret := instance.GetComputeInstanceProfileInfo(number, nvml.COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED)
		if ret == nvml.SUCCESS && profile.SliceCount > most {
			whole, most = number, profile.SliceCount
		}
	}
	return whole
}

func create(lib nvml.Interface, one device.Device, name string) (nvml.GpuInstance, error) {
	wanted, err := device.New(lib).ParseMigProfile(name)
	if err != nil {
		return nil, err
	}
	profile, ret := one.GetGpuInstanceProfileInfo(wanted.GetInfo().GIProfileID)
	if ret != nvml.SUCCESS {
		return nil, check(ret, "profile")
	}
	instance, ret := one.CreateGpuInstance(&profile)
	if ret != nvml.SUCCESS {
		return nil, check(ret, "create a GPU instance")
	}
	compute, ret := instance.GetComputeInstanceProfileInfo(wanted.GetInfo().CIProfileID, wanted.GetInfo().CIEngProfileID)
	if ret != nvml.SUCCESS {
		return nil, check(ret, "compute profile")
	}
	if _, ret := instance.CreateComputeInstance(&compute); ret != nvml.SUCCESS {
		return nil, check(ret, "create a compute instance")
	}
	return instance, nil
}

// events waits for one event of a GPU, and says on standard error when it does.
func events(lib nvml.Interface, index int) error {
	one, ret := lib.DeviceGetHandleByIndex(index)
	if ret != nvml.SUCCESS {
		return check(ret, "device")
	}
	set, ret := lib.EventSetCreate()
	if ret != nvml.SUCCESS {
		return check(ret, "event set")
	}
	if err := check(one.RegisterEvents(nvml.EventTypeXidCriticalError, set), "register"); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "waiting")
	data, ret := set.Wait(60000)
	if ret != nvml.SUCCESS {
		return check(ret, "wait")
	}
	uuid, ret := data.Device.GetUUID()
	if ret != nvml.SUCCESS {
		return check(ret, "UUID of the event's device")
	}
	if err := check(set.Free(), "free"); err != nil {
		return err
	}
	return printJSON(map[string]any{
		"uuid": uuid, "xid": data.EventData, "isXid": data.EventType == nvml.EventTypeXidCriticalError,
		"gi": data.GpuInstanceId, "ci": data.ComputeInstanceId,
	})
}
