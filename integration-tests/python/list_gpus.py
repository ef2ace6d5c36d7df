"""Lists GPUs by nvidia-ml-py, as JSON. It knows NVML only through that package."""

import json

import pynvml

pynvml.nvmlInit()
gpus = []
for index in range(pynvml.nvmlDeviceGetCount()):
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    gpus.append(
        {
            "index": pynvml.nvmlDeviceGetIndex(handle),
            "name": pynvml.nvmlDeviceGetName(handle),
            "uuid": pynvml.nvmlDeviceGetUUID(handle),
            "bus_id": pynvml.nvmlDeviceGetPciInfo(handle).busId,
            "memory_total": memory.total,
            "memory_used": memory.used,
            "temperature": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            "power_milliwatts": pynvml.nvmlDeviceGetPowerUsage(handle),
            "utilization": pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        }
    )
print(json.dumps({"driver": pynvml.nvmlSystemGetDriverVersion(), "gpus": gpus}))
pynvml.nvmlShutdown()
