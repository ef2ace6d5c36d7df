//! Feature discovery for NVIDIA GPUs: gives a node the labels that say what its GPUs are.
