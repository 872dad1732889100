//! Which partition a key belongs to.
//!
//! A key falls into one of [`BUCKETS`] buckets, which is written on the message: publishers need
//! not know who reads in order, and in how many partitions. A group of `n` partitions gives its
//! partition `i` every bucket that leaves the remainder `i` when divided by `n`.

/// How many buckets there are, and so how many partitions a group can have at most.
pub const BUCKETS: u16 = 32;

/// One of the partitions of an ordered consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Which one, counted from 0.
    pub index: u16,
    /// How many there are, 1 to [`BUCKETS`].
    pub of: u16,
}

impl Partition {
    /// The buckets whose messages it gets.
    pub fn buckets(self) -> impl Iterator<Item = u16> {
        (self.index..BUCKETS).step_by(self.of.max(1).into())
    }
}

/// The bucket of a key: its 32-bit FNV-1a hash
/// ([RFC 9923](https://www.rfc-editor.org/rfc/rfc9923)) modulo [`BUCKETS`], so that publishers in
/// any language can agree.
pub fn bucket_of(key: &str) -> u16 {
    const OFFSET_BASIS: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let hash = key.bytes().fold(OFFSET_BASIS, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(PRIME)
    });
    (hash % u32::from(BUCKETS)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_belongs_to_one_partition() {
        for of in 1..=BUCKETS {
            let mut buckets: Vec<u16> = (0..of)
                .flat_map(|index| Partition { index, of }.buckets())
                .collect();
            buckets.sort_unstable();
            assert!(buckets.into_iter().eq(0..BUCKETS), "{of} partitions");
        }
    }

    #[test]
    fn buckets_are_those_of_the_published_hash() {
        // FNV-1a's own test vectors: "" is 0x811c9dc5, "a" 0xe40c292c, "foobar" 0xbf9cf968.
        assert_eq!(bucket_of(""), 0x05);
        assert_eq!(bucket_of("a"), 0x0c);
        assert_eq!(bucket_of("foobar"), 0x08);
    }

    #[test]
    fn keys_spread_over_all_buckets() {
        let used: std::collections::BTreeSet<u16> = (0..1000)
            .map(|_| bucket_of(&uuid::Uuid::now_v7().to_string()))
            .collect();
        assert_eq!(used.len(), usize::from(BUCKETS));
    }
}
