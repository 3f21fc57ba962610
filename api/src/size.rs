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

/// Units as `byte_unit` writes them, the largest first, with how many bytes they are.
const MIXED: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// As `byte_unit` shows sizes in the largest unit that is not above them, binary or decimal.
pub fn appropriate_size(bytes: u64) -> String {
    let fits = MIXED.iter().find(|(_, unit)| *unit <= bytes);
    let (name, unit) = fits.unwrap_or(&("B", 1));
    format!("{} {name}", bytes as f64 / *unit as f64)
}

/// Reads `10`, `10MB`, `1.5 MiB` as `byte_unit` does, whatever the case of the unit.
///
/// # Errors
/// Why it is no size.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c| !digits(c)).unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim_start());
    let number: f64 = match (number.parse(), text.chars().next()) {
        (_, None) => return Err("no value can be found".to_owned()),
        (Err(_), Some(first)) => return Err(format!("the character {first:?} is not a number")),
        (Ok(number), _) => number,
    };
    let matches = |name: &str| {
        let short = name.strip_suffix('B').unwrap_or(name);
        unit.eq_ignore_ascii_case(name) || unit.eq_ignore_ascii_case(short)
    };
    let known = MIXED.iter().find(|(name, _)| matches(name));
    let Some((_, unit)) = known else {
        let wrong = unit.chars().next().unwrap_or_default();
        return Err(format!("the character {wrong:?} is incorrect"));
    };
    Ok((number * *unit as f64) as u64)
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

    #[test]
    fn sizes_are_read_and_shown_in_the_unit_that_fits() {
        for (text, bytes, shown) in [
            ("12 MiB", 12 << 20, "12 MiB"),
            ("1000", 1000, "1 KB"),
            ("1.5kib", 1536, "1.5 KiB"),
            ("2M", 2_000_000, "1.9073486328125 MiB"),
            ("0", 0, "0 B"),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(appropriate_size(bytes), shown);
        }
        for bad in ["", "x", "12 cows", "."] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
