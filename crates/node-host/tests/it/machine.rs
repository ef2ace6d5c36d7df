//! The machine's product name, and the driver's kernel module.

use std::fs;

use node_host::{DriverFlavour, LocalPath, driver_flavour, machine_product};

use crate::fixture::Host;

const VERSION: &str = "proc/driver/nvidia/version";

#[test]
fn product_is_read_from_dmi_or_from_the_file_that_is_named() {
    let host = Host::empty();
    assert_eq!(machine_product(&host.root(), None).unwrap(), None, "a machine without DMI");
    host.file("sys/devices/virtual/dmi/id/product_name", "DGXA100 920-23687-2530-000\n");
    host.link("/sys/devices/virtual/dmi/id", "sys/class/dmi/id");
    let product = machine_product(&host.root(), None).unwrap();
    assert_eq!(
        product.as_deref(),
        Some("DGXA100 920-23687-2530-000"),
        "through a link below the host's root"
    );
    host.file("named", " \n");
    let named = LocalPath::new(host.path("named"));
    assert_eq!(machine_product(&host.root(), Some(&named)).unwrap(), None, "no name in it");
    fs::write(host.path("named"), b"To be \xff filled\n\xf0\x9f\x98\x80").unwrap();
    let product = machine_product(&host.root(), Some(&named)).unwrap();
    assert_eq!(product.as_deref(), Some("To be \u{fffd} filled\n\u{1f600}"));
}

#[test]
fn product_file_without_an_end_is_read_to_a_bound_and_a_folder_is_an_error() {
    let host = Host::empty();
    let product = machine_product(&host.root(), Some(&LocalPath::new("/dev/zero"))).unwrap();
    assert_eq!(product.map(|name| name.len()), Some(4096));
    let folder = LocalPath::new(host.path("."));
    assert!(machine_product(&host.root(), Some(&folder)).is_err());
}

#[test]
fn flavour_of_the_driver_is_that_of_its_kernel_module() {
    let host = Host::empty();
    let flavour = |line: &str| {
        host.file(VERSION, &format!("NVRM version: NVIDIA UNIX {line}\nGCC version:  gcc 12\n"));
        driver_flavour(&host.root())
    };
    let open = "Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder@U22)";
    assert_eq!(flavour(open).unwrap(), Some(DriverFlavour::Open));
    let proprietary = "x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023";
    assert_eq!(flavour(proprietary).unwrap(), Some(DriverFlavour::Proprietary));
    assert!(flavour("soup").unwrap_err().to_string().contains("soup"));
}
