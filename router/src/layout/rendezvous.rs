//! The order in which a shard prefers the nodes of a group: weighted rendezvous hashing.
//!
//! Highest random weight (Thaler and Ravishankar, 1998) with Schindelhauer and Schomaker's weighting (2005): node i with
//! weight w and a hash h uniform in (0, 1) scores -w / ln(h), so that a node is first with probability w / sum(w) and a
//! change of one node moves only shards to or from it. We compare the reciprocal, -log2(h) / w, lowest first, in whole
//! numbers: floating-point logarithms differ in the last bit between platforms, and a plan must not.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::shard::Shard;

/// How much a shard dislikes a node: the lowest is preferred. `weight` is at least 1.
pub(super) fn cost(shard: Shard, node_id: &str, weight: u32) -> u64 {
    let hash = xxh3_64_with_seed(node_id.as_bytes(), u64::from(shard.0));
    // At most 65 * 2^52, which fits; dividing by the weight keeps 20 bits even for the largest one.
    negative_log2(hash) / u64::from(weight)
}

/// -log2((hash + 1) / 2^64) in units of 2^-[`FRACTION_BITS`], by repeated squaring (Knuth, TAOCP 1.2.2, exercise 25).
fn negative_log2(hash: u64) -> u64 {
    // 0 would be infinitely far away; the nearest value does as well.
    let hash = hash.max(1);
    let leading = hash.leading_zeros();
    // The mantissa in [1, 2), with 63 fractional bits.
    let mut mantissa = hash << leading;
    let mut fraction = 0;
    for _ in 0..FRACTION_BITS {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        fraction <<= 1;
        if square >> 64 > 0 {
            fraction |= 1;
            mantissa = (square >> 1) as u64;
        } else {
            mantissa = square as u64;
        }
    }
    // log2(hash) = 63 - leading + fraction, and 64 minus that is what is asked for.
    (u64::from(1 + leading) << FRACTION_BITS) - fraction
}

const FRACTION_BITS: u32 = 52;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for hash in [
            1,
            2,
            3,
            1000,
            u64::MAX / 3,
            u64::MAX / 2 + 1,
            u64::MAX - 1,
            u64::MAX,
        ] {
            let exact = 64.0 - (hash as f64).log2();
            let ours = negative_log2(hash) as f64 / (1u64 << FRACTION_BITS) as f64;
            assert!((exact - ours).abs() < 1e-9, "{hash}: {exact} {ours}");
        }
        assert_eq!(negative_log2(0), negative_log2(1));
    }

    #[test]
    fn a_node_is_first_as_often_as_its_weight_says() {
        let nodes = [("a", 1), ("b", 2), ("c", 5)];
        let mut first = [0u32; 3];
        for shard in 0..8000 {
            let winner = (0..3).min_by_key(|i| cost(Shard(shard), nodes[*i].0, nodes[*i].1));
            first[winner.unwrap()] += 1;
        }
        // Four standard deviations of a binomial distribution with n = 8000.
        for (count, expected) in first.into_iter().zip([1000u32, 2000, 5000]) {
            assert!(count.abs_diff(expected) < 180, "{first:?}");
        }
    }
}
