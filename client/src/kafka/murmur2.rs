//! Which partition Kafka's default partitioner puts a key into: murmur2 of the key, without its
//! sign, modulo the partitions. Whoever else writes the key through Kafka's own clients finds it in
//! the same partition.

const SEED: u32 = 0x9747_b28c;
const FACTOR: u32 = 0x5bd1_e995;

/// The partition of a key, of so many; the first where there is none.
pub(crate) fn partition_of_key(key: &[u8], partitions: u32) -> u32 {
    let hash = murmur2(key) & 0x7fff_ffff;
    hash.checked_rem(partitions).unwrap_or(0)
}

/// Austin Appleby's MurmurHash2 for 32 bits, with the seed that Kafka gives it.
fn murmur2(bytes: &[u8]) -> u32 {
    // Kafka takes the length as a signed 32-bit number; a key that is longer fits into no record.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        word ^= word >> 24;
        hash = hash.wrapping_mul(FACTOR) ^ word.wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        for (byte, shift) in rest.iter().zip([0, 8, 16]) {
            hash ^= u32::from(*byte) << shift;
        }
        hash = hash.wrapping_mul(FACTOR);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(FACTOR);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_own_tests() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
        }
    }

    #[test]
    fn a_key_lies_in_one_of_the_partitions() {
        assert_eq!(partition_of_key(b"foobar", 0), 0);
        for partitions in 1..20 {
            assert!(partition_of_key(b"foobar", partitions) < partitions);
        }
    }
}
