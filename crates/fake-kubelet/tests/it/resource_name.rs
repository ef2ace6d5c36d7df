//! Which names a plugin may register.

use fake_kubelet::is_extended_resource_name;

#[test]
fn names_in_use_are_taken() {
    for name in
        ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb.me", "gantry.dev/gpu-management", "a/B_c.d-1", "x.y-z.0/1"]
    {
        assert!(is_extended_resource_name(name), "{name}");
    }
}

#[test]
fn names_at_their_bounds_are_told_apart() {
    let name = |domain: usize, rest: usize| format!("{}/{}", "d".repeat(domain), "n".repeat(rest));
    // The quota's prefix counts against the domain's 253.
    assert!(is_extended_resource_name(&name(244, 63)));
    assert!(!is_extended_resource_name(&name(245, 63)));
    assert!(!is_extended_resource_name(&name(244, 64)));
}
