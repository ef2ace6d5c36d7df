// What programs ask first: devices, their names and numbers, topology, NVLinks, fabric, MIG profiles.
package main

import (
	"github.com/NVIDIA/go-nvlib/pkg/nvlib/device"
	"github.com/NVIDIA/go-nvlib/pkg/nvlib/info"
	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

type listed struct {
	Driver   string   `json:"driver"`
	NVML     string   `json:"nvml"`
	Cuda     int      `json:"cuda"`
	Platform string   `json:"platform"`
	GPUs     []gpu    `json:"gpus"`
	Profiles []string `json:"migProfiles"`
}

type gpu struct {
	Index          int         `json:"index"`
	UUID           string      `json:"uuid"`
	Name           string      `json:"name"`
	Brand          string      `json:"brand"`
	Architecture   string      `json:"architecture"`
	Capability     string      `json:"computeCapability"`
	Bus            string      `json:"pciBusID"`
	Minor          int         `json:"minor"`
	Memory         uint64      `json:"memory"`
	IsPCIe         bool        `json:"isPCIe"`
	MigCapable     bool        `json:"migCapable"`
	MigEnabled     bool        `json:"migEnabled"`
	FabricAttached bool        `json:"fabricAttached"`
	Coherent       bool        `json:"coherent"`
	AddressingMode string      `json:"addressingMode"`
	Topology       []string    `json:"topology"`
	ActiveLinks    int         `json:"activeLinks"`
	LinkRemotes    []string    `json:"linkRemotes"`
	FabricState    string      `json:"fabricState"`
	Profiles       []giProfile `json:"giProfiles"`
	MigDevices     []migDevice `json:"migDevices"`
}

type giProfile struct {
	Name       string `json:"name"`
	ID         uint32 `json:"id"`
	Slices     uint32 `json:"slices"`
	Count      uint32 `json:"count"`
	MemoryMB   uint64 `json:"memoryMB"`
	Placements int    `json:"placements"`
	Remaining  int    `json:"remaining"`
}

type migDevice struct {
	Index   int    `json:"index"`
	UUID    string `json:"uuid"`
	Profile string `json:"profile"`
	GI      int    `json:"gi"`
	CI      int    `json:"ci"`
	Memory  uint64 `json:"memory"`
	SMs     uint32 `json:"sms"`
}

var levels = map[nvml.GpuTopologyLevel]string{
	nvml.TOPOLOGY_INTERNAL:   "internal",
	nvml.TOPOLOGY_SINGLE:     "single",
	nvml.TOPOLOGY_MULTIPLE:   "multiple",
	nvml.TOPOLOGY_HOSTBRIDGE: "hostbridge",
	nvml.TOPOLOGY_NODE:       "node",
	nvml.TOPOLOGY_SYSTEM:     "system",
}

var fabricStates = map[uint8]string{
	nvml.GPU_FABRIC_STATE_NOT_SUPPORTED: "not-supported",
	nvml.GPU_FABRIC_STATE_NOT_STARTED:   "not-started",
	nvml.GPU_FABRIC_STATE_IN_PROGRESS:   "in-progress",
	nvml.GPU_FABRIC_STATE_COMPLETED:     "completed",
}

func list(lib nvml.Interface) error {
	found, err := devices(lib)
	if err != nil {
		return err
	}
	var all listed
	var ret nvml.Return
	if all.Driver, ret = lib.SystemGetDriverVersion(); ret != nvml.SUCCESS {
		return check(ret, "driver version")
	}
	if all.NVML, ret = lib.SystemGetNVMLVersion(); ret != nvml.SUCCESS {
		return check(ret, "NVML version")
	}
	if all.Cuda, ret = lib.SystemGetCudaDriverVersion(); ret != nvml.SUCCESS {
		return check(ret, "CUDA version")
	}
	all.Platform = string(info.New(info.WithNvmlLib(lib)).ResolvePlatform())
	profiles, err := device.New(lib).GetMigProfiles()
	if err != nil {
		return err
	}
	for _, profile := range profiles {
		all.Profiles = append(all.Profiles, profile.String())
	}
	for _, one := range found {
		told, err := tell(one, found)
		if err != nil {
			return err
		}
		all.GPUs = append(all.GPUs, told)
	}
	return printJSON(all)
}

// tell asks one GPU. What may rightly be unsupported leaves its field empty.
func tell(one device.Device, all []device.Device) (gpu, error) {
	var told gpu
	var ret nvml.Return
	if told.Index, ret = one.GetIndex(); ret != nvml.SUCCESS {
		return told, check(ret, "index")
	}
	if told.UUID, ret = one.GetUUID(); ret != nvml.SUCCESS {
		return told, check(ret, "UUID")
	}
	if told.Name, ret = one.GetName(); ret != nvml.SUCCESS {
		return told, check(ret, "name")
	}
	if told.Minor, ret = one.GetMinorNumber(); ret != nvml.SUCCESS {
		return told, check(ret, "minor number")
	}
	memory, ret := one.GetMemoryInfo()
	if ret != nvml.SUCCESS {
		return told, check(ret, "memory")
	}
	told.Memory = memory.Total
	bus, ret := one.GetBusType()
	if ret != nvml.SUCCESS {
		return told, check(ret, "bus type")
	}
	told.IsPCIe = bus == nvml.BUS_TYPE_PCIE
	if err := fill([]asked[string]{
		{&told.Brand, one.GetBrandAsString},
		{&told.Architecture, one.GetArchitectureAsString},
		{&told.Capability, one.GetCudaComputeCapabilityAsString},
		{&told.Bus, one.GetPCIBusID},
		{&told.AddressingMode, one.GetAddressingModeAsString},
	}); err != nil {
		return told, err
	}
	if err := fill([]asked[bool]{
		{&told.MigCapable, one.IsMigCapable},
		{&told.MigEnabled, one.IsMigEnabled},
		{&told.FabricAttached, one.IsFabricAttached},
		{&told.Coherent, one.IsCoherent},
	}); err != nil {
		return told, err
	}
	for _, other := range all {
		level, ret := one.GetTopologyCommonAncestor(other)
		if ret != nvml.SUCCESS {
			return told, check(ret, "topology")
		}
		told.Topology = append(told.Topology, levels[level])
	}
	links(one, &told)
	if fabric, ret := one.GetGpuFabricInfo(); ret == nvml.SUCCESS {
		told.FabricState = fabricStates[fabric.State]
	}
	giProfiles(one, &told)
	return told, migDevices(one, &told)
}

// asked is a field, and who knows its value.
type asked[T any] struct {
	into *T
	ask  func() (T, error)
}

func fill[T any](all []asked[T]) error {
	for _, one := range all {
		value, err := one.ask()
		if err != nil {
			return err
		}
		*one.into = value
	}
	return nil
}

func links(one device.Device, told *gpu) {
	for link := range nvml.NVLINK_MAX_LINKS {
		state, ret := one.GetNvLinkState(link)
		if ret != nvml.SUCCESS || state != nvml.FEATURE_ENABLED {
			continue
		}
		told.ActiveLinks++
		kind, ret := one.GetNvLinkRemoteDeviceType(link)
		if ret != nvml.SUCCESS {
			continue
		}
		names := map[nvml.IntNvLinkDeviceType]string{
			nvml.NVLINK_DEVICE_TYPE_GPU: "gpu", nvml.NVLINK_DEVICE_TYPE_SWITCH: "switch",
		}
		told.LinkRemotes = append(told.LinkRemotes, names[kind])
	}
}

func giProfiles(one device.Device, told *gpu) {
	for number := range nvml.GPU_INSTANCE_PROFILE_COUNT {
		profile, ret := one.GetGpuInstanceProfileInfo(number)
		if ret != nvml.SUCCESS {
			continue
		}
		found := giProfile{
			ID: profile.Id, Slices: profile.SliceCount, Count: profile.InstanceCount, MemoryMB: profile.MemorySizeMB,
		}
		if newer, ret := one.GetGpuInstanceProfileInfoV(number).V2(); ret == nvml.SUCCESS {
			found.Name = text(newer.Name[:])
		}
		if places, ret := one.GetGpuInstancePossiblePlacements(&profile); ret == nvml.SUCCESS {
			found.Placements = len(places)
		}
		if left, ret := one.GetGpuInstanceRemainingCapacity(&profile); ret == nvml.SUCCESS {
			found.Remaining = left
		}
		told.Profiles = append(told.Profiles, found)
	}
}

func text(letters []int8) string {
	var bytes []byte
	for _, letter := range letters {
		if letter == 0 {
			break
		}
		bytes = append(bytes, byte(letter))
	}
	return string(bytes)
}

func migDevices(one device.Device, told *gpu) error {
	found, err := one.GetMigDevices()
	if err != nil {
		return err
	}
	for _, mig := range found {
		var device migDevice
		profile, err := mig.GetProfile()
		if err != nil {
			return err
		}
		device.Profile = profile.String()
		var ret nvml.Return
		if device.Index, ret = mig.GetIndex(); ret != nvml.SUCCESS {
			return check(ret, "MIG index")
		}
		if device.UUID, ret = mig.GetUUID(); ret != nvml.SUCCESS {
			return check(ret, "MIG UUID")
		}
		if device.GI, ret = mig.GetGpuInstanceId(); ret != nvml.SUCCESS {
			return check(ret, "GPU instance id")
		}
		if device.CI, ret = mig.GetComputeInstanceId(); ret != nvml.SUCCESS {
			return check(ret, "compute instance id")
		}
		memory, ret := mig.GetMemoryInfo()
		if ret != nvml.SUCCESS {
			return check(ret, "memory of a MIG device")
		}
		attributes, ret := mig.GetAttributes()
		if ret != nvml.SUCCESS {
			return check(ret, "attributes of a MIG device")
		}
		device.Memory, device.SMs = memory.Total, attributes.MultiprocessorCount
		told.MigDevices = append(told.MigDevices, device)
	}
	return nil
}
