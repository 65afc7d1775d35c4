//! Which partition a key belongs to: murmur2 as Kafka's own clients compute it.

/// The partition of a key (or of the value of `log.partition_by`) among `count`.
pub fn of(key: &[u8], count: u32) -> u32 {
    if count <= 1 {
        return 0;
    }
    (murmur2(key) & 0x7fff_ffff) % count
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash: u32 = 0x9747_b28c ^ u32::try_from(data.len()).expect("keys are far below 4 GiB");
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::{murmur2, of};

    /// The values of Kafka's own test of its client (`UtilsTest.testMurmur2`).
    #[test]
    fn hashes_as_kafka_does() {
        let known: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn partitions_are_below_their_count() {
        assert_eq!(of(b"foobar", 1), 0);
        assert_eq!(of(b"foobar", 0), 0);
        assert_eq!(of(b"foobar", 7), ((-790_332_482_i32).cast_unsigned() & 0x7fff_ffff) % 7);
    }
}
