//! Identities that follow from a seed: the same node file gives the same UUIDs everywhere, so that goldens
//! can hold them. It knows nothing of where they are used.

/// Sixteen bytes that follow from the words. Not for secrets: only equal inputs must give equal outputs and
/// different ones different outputs.
fn digest(words: &[&str]) -> [u8; 16] {
    // FNV-1a (64 bit) over each word and a separator, then splitmix64 to spread it over 16 bytes.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for word in words {
        for byte in word.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    let mut next = || {
        hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = hash;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&next().to_be_bytes());
    bytes[8..].copy_from_slice(&next().to_be_bytes());
    bytes
}

/// The UUID of the GPU at an index, as NVML writes it.
pub fn gpu_uuid(seed: &str, index: usize) -> String {
    uuid("GPU", digest(&[seed, "gpu", &index.to_string()]))
}

/// The UUID of the MIG device that a compute instance of a GPU is. Real ones say by their version, 5, that they follow
/// from a name too; from which one is not known.
pub fn mig_uuid(gpu: &str, gpu_instance: u32, compute_instance: u32) -> String {
    let mut bytes = digest(&[gpu, "mig", &gpu_instance.to_string(), &compute_instance.to_string()]);
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    uuid("MIG", bytes)
}

fn uuid(kind: &str, b: [u8; 16]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!(
        "{kind}-{}-{}-{}-{}-{}",
        hex(&b[..4]),
        hex(&b[4..6]),
        hex(&b[6..8]),
        hex(&b[8..10]),
        hex(&b[10..])
    )
}

/// The serial number of the board at an index: 13 digits, as current boards have.
pub fn serial(seed: &str, index: usize) -> String {
    let b = digest(&[seed, "serial", &index.to_string()]);
    let number = u64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
    format!("1{:012}", number % 1_000_000_000_000)
}

/// Sixteen bytes that follow from words, for identifiers that are not text.
pub fn derived(words: &[&str]) -> [u8; 16] {
    digest(words)
}

/// The serial number of the chassis of a cluster: 13 digits.
pub fn chassis_serial(cluster: [u8; 16]) -> String {
    let number = u128::from_be_bytes(cluster) % 1_000_000_000_000;
    format!("1{number:012}")
}

/// The sixteen bytes of a `GPU-…` UUID, if it is one.
pub fn uuid_bytes(uuid: &str) -> Option<[u8; 16]> {
    bytes_after("GPU-", uuid)
}

/// The sixteen bytes of a `MIG-…` UUID, if it is one.
pub fn mig_uuid_bytes(uuid: &str) -> Option<[u8; 16]> {
    bytes_after("MIG-", uuid)
}

fn bytes_after(kind: &str, uuid: &str) -> Option<[u8; 16]> {
    let hex: String = uuid.strip_prefix(kind)?.chars().filter(|c| *c != '-').collect();
    let mut bytes = [0; 16];
    if !hex.is_ascii() || hex.len() != 32 {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}
