//! The value of the hidden field `_miroir_shard`: two characters that no search can find.
//!
//! Why not a number or a word: both become words of the index and change what searches find (DESIGN 6). A string made
//! only of *separator* characters never becomes a word, on either side, and still filters exactly with `=` and `IN`.
//! The characters are rare ones of "Supplemental Punctuation" (U+2E00 to U+2E52) that charabia 0.9.9 has in its list of
//! separators and that trimming, NFKD and lowercasing (what a node does to a facet value) leave as they are.

use std::fmt;
use std::ops::Deref;

use crate::shard::{Shard, SHARDS_MAX};

/// The characters that shard codes are made of, in the order of their value. A user's `nonSeparatorTokens` may not
/// contain any of them: it would turn codes into words.
#[rustfmt::skip]
pub const ALPHABET: [char; 64] = [
    '\u{2E00}', '\u{2E01}', '\u{2E02}', '\u{2E03}', '\u{2E04}', '\u{2E05}', '\u{2E06}', '\u{2E07}',
    '\u{2E08}', '\u{2E09}', '\u{2E0A}', '\u{2E0B}', '\u{2E0C}', '\u{2E0D}', '\u{2E0E}', '\u{2E0F}',
    '\u{2E10}', '\u{2E11}', '\u{2E12}', '\u{2E13}', '\u{2E14}', '\u{2E15}', '\u{2E16}', '\u{2E19}',
    '\u{2E1B}', '\u{2E1C}', '\u{2E1D}', '\u{2E1E}', '\u{2E1F}', '\u{2E20}', '\u{2E21}', '\u{2E22}',
    '\u{2E23}', '\u{2E24}', '\u{2E25}', '\u{2E26}', '\u{2E27}', '\u{2E28}', '\u{2E29}', '\u{2E2A}',
    '\u{2E2B}', '\u{2E2C}', '\u{2E2D}', '\u{2E30}', '\u{2E31}', '\u{2E32}', '\u{2E33}', '\u{2E34}',
    '\u{2E35}', '\u{2E36}', '\u{2E37}', '\u{2E38}', '\u{2E39}', '\u{2E3C}', '\u{2E3D}', '\u{2E3E}',
    '\u{2E3F}', '\u{2E42}', '\u{2E43}', '\u{2E44}', '\u{2E45}', '\u{2E46}', '\u{2E47}', '\u{2E48}',
];

/// A shard's code: always two characters of [`ALPHABET`], six bytes of UTF-8. Costs no heap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShardCode(&'static str);

impl ShardCode {
    /// The code as text that lives as long as the program.
    pub fn as_str(&self) -> &'static str {
        self.0
    }
}

impl Deref for ShardCode {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

impl fmt::Display for ShardCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for ShardCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

/// The code stored in the documents of a shard.
///
/// # Panics
/// When the shard is not below [`SHARDS_MAX`]: no layout has such a shard.
pub fn shard_code(shard: Shard) -> ShardCode {
    assert!(
        shard.0 < SHARDS_MAX,
        "shard {shard} is beyond the largest number of shards"
    );
    let start = usize::from(shard.0) * CODE_BYTES;
    ShardCode(&CODES[start..start + CODE_BYTES])
}

/// The shard of a code; nothing when the text is not a code.
pub fn parse_shard_code(code: &str) -> Option<Shard> {
    let mut digits = code.chars().map(|c| ALPHABET.iter().position(|a| *a == c));
    let (high, low) = (digits.next()??, digits.next()??);
    digits
        .next()
        .is_none()
        .then_some(Shard((high * ALPHABET.len() + low) as u16))
}

/// The filter that keeps the documents of these shards: `=` for one, `IN` otherwise. `IN []` keeps none, as it should.
pub fn shard_filter(shards: &[Shard]) -> String {
    let field = "_miroir_shard";
    if let [one] = shards {
        return format!("{field} = \"{}\"", shard_code(*one));
    }
    let mut filter = String::with_capacity(field.len() + 6 + shards.len() * (CODE_BYTES + 4));
    filter.push_str(field);
    filter.push_str(" IN [");
    for (position, shard) in shards.iter().enumerate() {
        if position > 0 {
            filter.push_str(", ");
        }
        filter.push('"');
        filter.push_str(&shard_code(*shard));
        filter.push('"');
    }
    filter.push(']');
    filter
}

/// Every character of the alphabet takes three bytes of UTF-8.
const CODE_BYTES: usize = 6;
const TABLE_BYTES: usize = SHARDS_MAX as usize * CODE_BYTES;
static CODES: &str = match std::str::from_utf8(&CODE_TABLE) {
    Ok(codes) => codes,
    Err(_) => panic!("the table is UTF-8 by construction"),
};
static CODE_TABLE: [u8; TABLE_BYTES] = code_table();

const fn code_table() -> [u8; TABLE_BYTES] {
    let mut table = [0; TABLE_BYTES];
    let mut shard = 0;
    while shard < SHARDS_MAX as usize {
        let digits = [
            ALPHABET[shard / ALPHABET.len()],
            ALPHABET[shard % ALPHABET.len()],
        ];
        let mut digit = 0;
        while digit < 2 {
            let scalar = digits[digit] as u32;
            let at = shard * CODE_BYTES + digit * 3;
            table[at] = 0xE0 | (scalar >> 12) as u8;
            table[at + 1] = 0x80 | (scalar >> 6 & 0x3F) as u8;
            table[at + 2] = 0x80 | (scalar & 0x3F) as u8;
            digit += 1;
        }
        shard += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use unicode_normalization::UnicodeNormalization;

    use super::*;

    #[test]
    fn the_alphabet_is_made_of_separators_that_nothing_changes() {
        let list = include_str!("../testdata/charabia-0.9.9-separators.txt");
        let separators: HashSet<char> = list
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.chars().last().unwrap())
            .collect();
        assert_eq!(separators.len(), 80);
        for c in ALPHABET {
            assert!(separators.contains(&c), "{c:?} is not a separator");
            let text = c.to_string();
            assert_eq!(text.trim(), text);
            assert_eq!(text.to_lowercase(), text);
            assert_eq!(text.nfkd().collect::<String>(), text);
            assert_eq!(text.len(), 3);
        }
        assert_eq!(
            ALPHABET.iter().collect::<HashSet<_>>().len(),
            ALPHABET.len()
        );
    }

    #[test]
    fn no_two_characters_compose_into_something_else() {
        for shard in 0..SHARDS_MAX {
            let code = shard_code(Shard(shard));
            assert_eq!(code.nfkd().collect::<String>(), *code);
            assert_eq!(code.nfkc().collect::<String>(), *code);
        }
    }

    /// Stored in every document: neither the alphabet nor its order can ever change.
    #[test]
    fn codes_are_frozen() {
        assert_eq!(*shard_code(Shard(0)), *"\u{2E00}\u{2E00}");
        assert_eq!(*shard_code(Shard(7)), *"\u{2E00}\u{2E07}");
        assert_eq!(*shard_code(Shard(63)), *"\u{2E00}\u{2E48}");
        assert_eq!(*shard_code(Shard(64)), *"\u{2E01}\u{2E00}");
        assert_eq!(*shard_code(Shard(4095)), *"\u{2E48}\u{2E48}");
        let all: String = (0..SHARDS_MAX)
            .map(|shard| shard_code(Shard(shard)).as_str())
            .collect();
        assert_eq!(xxhash_rust::xxh3::xxh3_64(all.as_bytes()), FROZEN);
    }

    #[test]
    fn a_code_says_its_shard_and_nothing_else_does() {
        for shard in (0..SHARDS_MAX).map(Shard) {
            assert_eq!(parse_shard_code(&shard_code(shard)), Some(shard));
        }
        for other in [
            "",
            "7",
            "ab",
            "\u{2E00}",
            "\u{2E00}\u{2E00}\u{2E00}",
            " \u{2E00}\u{2E00}",
            "\u{2E00}|",
        ] {
            assert_eq!(parse_shard_code(other), None, "{other:?}");
        }
    }

    #[test]
    fn filters_name_the_shards() {
        assert_eq!(
            shard_filter(&[Shard(0)]),
            "_miroir_shard = \"\u{2E00}\u{2E00}\""
        );
        assert_eq!(
            shard_filter(&[Shard(0), Shard(65)]),
            "_miroir_shard IN [\"\u{2E00}\u{2E00}\", \"\u{2E01}\u{2E01}\"]"
        );
        assert_eq!(shard_filter(&[]), "_miroir_shard IN []");
    }

    #[test]
    #[should_panic(expected = "beyond the largest")]
    fn a_shard_beyond_the_largest_is_a_bug() {
        shard_code(Shard(SHARDS_MAX));
    }

    const FROZEN: u64 = 13_612_463_267_136_781_115;
}
