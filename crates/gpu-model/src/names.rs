//! Every name that Gantry shares with a cluster: resources, labels, annotations, CDI kinds.
//!
//! Names that the field knows already keep their `nvidia.com/` form and meaning; what is ours alone
//! stands under `gantry.dev/`.

/// Resource of whole GPUs, as NVIDIA's device plugin names it.
pub const RESOURCE_GPU: &str = "nvidia.com/gpu";

/// Domain of everything that only Gantry knows.
pub const GANTRY_DOMAIN: &str = "gantry.dev";

/// Kind of our CDI devices. `nvidia.com/gpu` belongs to specs that NVIDIA's tools write.
pub const CDI_KIND_GPU: &str = "gantry.dev/gpu";

/// Variable by which NVIDIA's container runtime chooses GPUs; our CDI specs set it to `void`, so that
/// an image's own `all` gives nothing.
pub const ENV_VISIBLE_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";
