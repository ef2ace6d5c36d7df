"""Asks every getter of nvidia-ml-py once for each argument that its names allow, and prints what each answered, as JSON.

It knows NVML only through that package, and finds the getters by looking into it. `sweep.py keys` only lists the calls.
"""

import ctypes
import inspect
import json
import re
import sys

import pynvml

GETTER = re.compile(
    r"nvml(Device|System|GpuInstance|ComputeInstance|Unit|VgpuType|VgpuInstance|Gpm)"
    r"(Get|Is|OnSame|Query|WorkloadPowerProfileGet|PerfMetricsGet|ReadPRM)|nvmlGet"
)
# They take a seconds-long way, or a pointer that Python's side fills in itself.
LEFT_OUT = {"nvmlDeviceGetGpuInstancePossiblePlacements"}


def versioned(name, version=1):
    """A struct of the package that begins with its version word, if it has one."""
    kind = getattr(pynvml, name)
    made = kind()
    if "version" in dict(kind._fields_):
        made.version = ctypes.sizeof(kind) | version << 24
    return made


def pointer(name, version=1):
    return ctypes.byref(versioned(name, version))


# What an argument of a name may be; by function and name where a name alone does not tell.
ARGUMENTS = {
    "apiType": [0, 1],
    "capability": [0, 2],
    "clockType": [0, 2],
    "computeInstanceId": [0],
    "counter": [0, 1],
    "counterType": [0, 1],
    "cpuNumber": [0],
    "cpuSetSize": [4],
    "encoderQueryType": [0, 1],
    "engProfile": [0],
    "errorType": [0, 1],
    "fan": [0],
    "gpuInstanceId": [1],
    "index": [0, 1],
    "infoRomObject": [0, 1, 2, 3],
    "link": [0],
    "locationType": range(8),
    "memoryClockMHz": [1],
    "mode": [0],
    "nodeSetSize": [1],
    "p2pIndex": range(5),
    "perfPolicyType": [0, 1],
    "pid": [1],
    "profile": range(0, 18),
    "profileId": [0, 9, 14, 19],
    "pstate": [0],
    "sampling_type": range(7),
    "scope": [0, 1],
    "sensor": [0],
    "sensorindex": [0, 15],
    "sourceFilter": [0, 1],
    "threshold": range(0, 7),
    "timeStamp": [0],
    "type": [0, 1, 2, 3],
    "id": [0, 1, 2, 3],
    "unit": [0],
    "vgpuInstance": [0],
    "vgpuTypeId": [0],
    "level": [0, 10, 20, 30, 40, 50],
    "nvmlDeviceGetAdaptiveTgpModeInfo_v1.info": lambda: pointer("c_nvmlAdaptiveTgpModeInfo_v1_t"),
    "nvmlDeviceGetBankRemapperStatus_v1.status": lambda: pointer("c_nvmlEccBankRemapperStatus_v1_t"),
    "nvmlDeviceGetCapabilities.caps": lambda: pointer("c_nvmlDeviceCapabilities_v1_t"),
    "nvmlDeviceGetClockOffsets.info": lambda: pointer("c_nvmlClockOffset_t"),
    "nvmlDeviceGetConfComputeGpuAttestationReport.c_nonce": lambda: bytes(32),
    "nvmlDeviceGetFieldValues.fieldIds": lambda: list(range(1, 274)),
    "nvmlDeviceGetGpuFabricInfo.gpuFabricInfo": lambda: pointer("c_nvmlGpuFabricInfo_t"),
    "nvmlDeviceGetGpuFabricInfoV.gpuFabricInfo": lambda: pointer("c_nvmlGpuFabricInfo_v2_t", 2),
    "nvmlDeviceGetGpuFabricInfo_v4.gpuFabricInfo": lambda: pointer("c_nvmlGpuFabricInfo_v4_t", 4),
    "nvmlDeviceGetGpuInstances.gpuInstancesRef": lambda: (ctypes.c_void_p * 16)(),
    "nvmlDeviceGetGpuInstances.countRef": lambda: ctypes.byref(ctypes.c_uint(16)),
    "nvmlDeviceGetHandleByUUIDV.type": [1],
    "nvmlDeviceGetMemoryLimits_v1.limits": lambda: versioned("c_nvmlGetMemoryLimits_v1_t"),
    "nvmlDeviceGetNvLinkInfo.info": lambda: pointer("c_nvmlNvLinkInfo_v2_t", 2),
    "nvmlDeviceGetNvLinkTelemetrySamples_v1.samples": lambda: versioned("c_nvmlNvlinkTelemetrySamples_v1_t"),
    "nvmlDeviceGetNvlinkBwMode.getBwMode": lambda: pointer("c_nvmlNvlinkGetBwMode_v1_t"),
    "nvmlDeviceGetNvlinkSupportedBwModes.supportedBwModes": lambda: pointer("c_nvmlNvlinkSupportedBwModes_v1_t"),
    "nvmlDeviceGetPciInfoExt.c_info": lambda: pointer("nvmlPciInfoExt_v1_t"),
    "nvmlDeviceGetPlatformInfo.platformInfo": lambda: pointer("c_nvmlPlatformInfo_v2_t", 2),
    "nvmlDeviceGetPowerMizerMode_v1.info": lambda: pointer("c_nvmlDevicePowerMizerModes_v1_t"),
    "nvmlDeviceGetRemappedRows_v2.info": lambda: pointer("c_nvmlRemappedRowsInfo_v2_t", 2),
    "nvmlDeviceGetRunningProcessDetailList.version": [pynvml.nvmlProcessDetailList_v1],
    "nvmlDeviceGetSramEccErrorStatus.status": lambda: pointer("c_nvmlEccSramErrorStatus_v1_t"),
    "nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts.counts": lambda: pointer(
        "c_nvmlEccSramUniqueUncorrectedErrorCounts_v1_t"
    ),
    "nvmlDeviceGetTemperatureThreshold.threshold": range(8),
    "nvmlDevicePerfMetricsGetSamples_v1.samples": lambda: versioned("c_nvmlPerfMetricsSamples_v1_t"),
    "nvmlDeviceQueryDrainState.pciInfo": lambda: pynvml.nvmlPciInfo_t(),
    "nvmlDeviceReadPRMCounters_v1.c_info": lambda: pynvml.c_nvmlPRMCounterList_v1_t(1),
    "nvmlDeviceReadWritePRM_v1.c_info": lambda: pointer("c_nvmlPRMTLV_v1_t"),
    "nvmlDeviceGetVgpuSchedulerLog_v2.c_vgpu_sched_log_info_v2": lambda: versioned("c_nvmlVgpuSchedulerLogInfo_v2_t", 2),
    "nvmlDeviceGetVgpuSchedulerState_v2.c_vgpu_sched_state_info_v2": lambda: versioned(
        "c_nvmlVgpuSchedulerStateInfo_v2_t", 2
    ),
    "nvmlDeviceWorkloadPowerProfileGetCurrentProfiles.currentProfiles": lambda: pointer(
        "c_nvmlWorkloadPowerProfileCurrentProfiles_v1_t"
    ),
    "nvmlDeviceWorkloadPowerProfileGetProfilesInfo.profilesInfo": lambda: pointer(
        "c_nvmlWorkloadPowerProfileProfilesInfo_v1_t"
    ),
    "nvmlGpuInstanceGetActiveVgpus.c_vgpu_instance_info": lambda: versioned("c_nvmlActiveVgpuInstanceInfo_v1_t"),
    "nvmlGpuInstanceGetComputeInstanceProfileInfo.profile": [0, 1, 7],
    "nvmlGpuInstanceGetComputeInstanceProfileInfoV.profile": [0, 1, 7],
    "nvmlGpuInstanceGetComputeInstanceRemainingCapacity.profileId": [0, 1],
    "nvmlGpuInstanceGetComputeInstances.profileId": [0],
    "nvmlGpuInstanceGetComputeInstances.computeInstancesRef": lambda: (ctypes.c_void_p * 16)(),
    "nvmlGpuInstanceGetComputeInstances.countRef": lambda: ctypes.byref(ctypes.c_uint(16)),
    "nvmlGpuInstanceGetComputeInstancePossiblePlacements.profileId": [0],
    "nvmlGpuInstanceGetComputeInstancePossiblePlacements.placementsRef": lambda: None,
    "nvmlGpuInstanceGetComputeInstancePossiblePlacements.countRef": lambda: ctypes.byref(ctypes.c_uint(0)),
    "nvmlGpuInstanceGetCreatableVgpus.c_vgpus": lambda: versioned("c_nvmlVgpuTypeIdInfo_v1_t"),
    "nvmlGpuInstanceGetVgpuSchedulerLog.c_vgpu_sched_log_info": lambda: versioned("c_nvmlVgpuSchedulerLogInfo_v1_t"),
    "nvmlGpuInstanceGetVgpuSchedulerLog_v2.c_vgpu_sched_log_info_v2": lambda: versioned(
        "c_nvmlVgpuSchedulerLogInfo_v2_t", 2
    ),
    "nvmlGpuInstanceGetVgpuSchedulerState.c_vgpu_sched_state_info": lambda: versioned(
        "c_nvmlVgpuSchedulerStateInfo_v1_t"
    ),
    "nvmlGpuInstanceGetVgpuSchedulerState_v2.c_vgpu_sched_state_info_v2": lambda: versioned(
        "c_nvmlVgpuSchedulerStateInfo_v2_t", 2
    ),
    "nvmlGpuInstanceGetVgpuTypeCreatablePlacements.c_vgpu_placements": lambda: versioned(
        "c_nvmlVgpuCreatablePlacementInfo_v1_t"
    ),
    "nvmlGetVgpuCompatibility.vgpuMetadata": lambda: versioned("c_nvmlVgpuMetadata_t"),
    "nvmlGetVgpuCompatibility.pgpuMetadata": lambda: versioned("c_nvmlVgpuPgpuMetadata_t"),
    "nvmlSystemGetCPER_v1.cper": lambda: versioned("c_nvmlGetCPER_v1_t"),
    "nvmlSystemGetConfComputeSettings.settings": lambda: pointer("c_nvmlSystemConfComputeSettings_v1_t"),
    "nvmlSystemGetTopologyGpuSet.cpuNumber": [0],
}
# Those which stand for an object: filled in from the node.
OBJECTS = {
    "handle", "device", "device1", "handle1", "device2", "handle2", "migDevice", "gpuInstance", "computeInstance",
    "pciBusId", "serial", "uuid",
}


class Node:
    """One GPU, or one MIG device, and what else is asked for beside it."""

    def __init__(self, gpu, mig):
        self.whole = pynvml.nvmlDeviceGetHandleByIndex(gpu)
        self.handle = self.whole if mig is None else pynvml.nvmlDeviceGetMigDeviceHandleByIndex(self.whole, mig)
        self.last = pynvml.nvmlDeviceGetHandleByIndex(pynvml.nvmlDeviceGetCount() - 1)

    def made(self, name):
        if name in ("handle", "device", "device1", "handle1", "migDevice"):
            return self.handle
        if name in ("device2", "handle2"):
            return self.last
        if name == "gpuInstance":
            return self.gpu_instance()
        if name == "computeInstance":
            try:
                return pynvml.nvmlGpuInstanceGetComputeInstanceById(self.gpu_instance(), 0)
            except pynvml.NVMLError:
                # The library refuses it, as it does any handle that is none.
                return pynvml.c_nvmlComputeInstance_t()
        if name == "pciBusId":
            return pynvml.nvmlDeviceGetPciInfo(self.whole).busId
        if name == "serial":
            try:
                return pynvml.nvmlDeviceGetSerial(self.whole)
            except pynvml.NVMLError:
                return "none: products without one are not found by it"
        return pynvml.nvmlDeviceGetUUID(self.handle)

    def gpu_instance(self):
        for profile in range(32):
            found, count = (pynvml.c_nvmlGpuInstance_t * 16)(), ctypes.c_uint(16)
            try:
                pynvml.nvmlDeviceGetGpuInstances(self.whole, profile, found, ctypes.byref(count))
            except pynvml.NVMLError:
                continue
            if count.value:
                return found[0]
        return pynvml.c_nvmlGpuInstance_t()


def parameters(function):
    """Names of what has to be given."""
    found = inspect.signature(inspect.unwrap(function)).parameters.values()
    return [parameter.name for parameter in found if parameter.default is parameter.empty]


def choices(function, name):
    found = ARGUMENTS.get(f"{function}.{name}", ARGUMENTS.get(name))
    if name in OBJECTS:
        return [name]
    if found is None:
        sys.exit(f"{function}: what is a {name}? Say it in ARGUMENTS of {__file__}")
    return [name] if callable(found) else list(found)


def calls():
    """Each call: its key, its function, the names and what is chosen for them."""
    for name in sorted(dir(pynvml)):
        function = getattr(pynvml, name)
        if not GETTER.match(name) or not inspect.isfunction(function) or name in LEFT_OUT:
            continue
        names = parameters(function)
        combined = [()]
        for parameter in names:
            combined = [one + (choice,) for one in combined for choice in choices(name, parameter)]
        for chosen in combined:
            numbers = ",".join(str(one) for one in chosen if not isinstance(one, str))
            yield (f"{name}({numbers})" if numbers else name), name, list(zip(names, chosen))


def field(value, name):
    """A field of a struct. The package takes all letters for text, and some are a number's bytes."""
    try:
        return plain(getattr(value, name))
    except UnicodeDecodeError:
        return "bytes"


def plain(value):
    """An answer as JSON has it."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if isinstance(value, (list, tuple)) or hasattr(value, "__len__"):
        return [plain(one) for one in value]
    if isinstance(value, (ctypes.Structure, ctypes.Union)):
        return {one[0]: field(value, one[0]) for one in value._fields_}
    if hasattr(value, "value"):
        return plain(value.value)
    return type(value).__name__


def error_name(error):
    found = {number: name for name, number in vars(pynvml).items() if name.startswith("NVML_ERROR_")}
    return found.get(error.value, str(error.value))


def answer(name, chosen, node):
    given = []
    for parameter, one in chosen:
        if parameter in OBJECTS and isinstance(one, str):
            # Two functions of GPU instances call their first argument a device.
            is_instance = name.startswith("nvmlGpuInstance") and parameter == "device"
            given.append(node.made("gpuInstance" if is_instance else parameter))
        elif isinstance(one, str):
            found = ARGUMENTS.get(f"{name}.{parameter}", ARGUMENTS.get(parameter))
            given.append(found())
        else:
            given.append(one)
    try:
        value = getattr(pynvml, name)(*given)
    except pynvml.NVMLError as error:
        return {"error": error_name(error)}
    except Exception as error:  # Whatever else: a finding.
        return {"exception": f"{type(error).__name__}: {error}"}
    # What was handed over to be filled in is the answer.
    filled = [one for one in given if isinstance(one, (ctypes.Structure, type(ctypes.byref(ctypes.c_int()))))]
    if filled and (value is None or value == 0):
        return {"value": [plain(getattr(one, "_obj", one)) for one in filled]}
    # Three functions of the package hand the code back and raise nothing.
    if name in ("nvmlDeviceGetCapabilities", "nvmlSystemGetConfComputeSettings", "nvmlDeviceGetPowerMizerMode_v1"):
        return {"error": error_name(pynvml.NVMLError(value))}
    return {"value": plain(value)}


def main():
    if sys.argv[1:] == ["keys"]:
        for key, _, _ in calls():
            print(key)
        return
    gpu, mig = int(sys.argv[1]), None if sys.argv[2] == "-" else int(sys.argv[2])
    pynvml.nvmlInit()
    node = Node(gpu, mig)
    answers = {}
    for key, name, chosen in calls():
        # So that a crash has a name.
        print(key, file=sys.stderr, flush=True)
        answers[key] = answer(name, chosen, node)
    pynvml.nvmlShutdown()
    print(json.dumps(answers, indent=1, default=str))


main()
