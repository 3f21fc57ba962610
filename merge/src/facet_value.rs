//! Facet values as milli keeps them: what is one value and what is two.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// Bytes of a normalised value that count (milli `MAX_FACET_VALUE_LENGTH`; values are cut between characters).
const LEN_MAX: usize = 468;

/// Trims, decomposes (NFKD) and lowercases, so that "Café " and "CAFE\u{301}" are one value (milli `normalize_facet`).
pub(crate) fn normalize(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim();
    if trimmed.is_ascii() {
        if trimmed.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(trimmed.to_ascii_lowercase());
        }
        return Cow::Borrowed(trimmed);
    }
    // Character by character, without reordering marks across characters, as charabia does it.
    let decomposed: String = trimmed
        .chars()
        .flat_map(|c| std::iter::once(c).nfkd())
        .collect();
    Cow::Owned(decomposed.to_lowercase())
}

/// The part of a normalised value by which milli tells values apart.
pub(crate) fn truncate(text: &str) -> &str {
    &text[..text.floor_char_boundary(LEN_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_and_edges_do_not_tell_values_apart() {
        assert_eq!(normalize(" Caf\u{e9} "), normalize("CAFE\u{301}"));
        assert_eq!(normalize("RED"), "red");
        assert_eq!(normalize("\u{fb01}"), "fi");
        assert_ne!(normalize("a b"), normalize("ab"));
        assert_eq!(truncate(&"\u{e9}".repeat(300)).len(), 468);
        assert_eq!(truncate("short"), "short");
    }
}
