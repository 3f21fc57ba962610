//! Sizes, as people read them.

/// As `byte_unit` shows sizes to Meilisearch's users: in the largest binary unit that is not above it.
pub fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut size = bytes as f64;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_binary_units() {
        assert_eq!(binary_size(10), "10 B");
        assert_eq!(binary_size(1 << 20), "1 MiB");
        assert_eq!(binary_size(100_000_000), "95.367431640625 MiB");
    }
}
