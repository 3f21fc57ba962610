//! What is typed: words, typos, prefixes, phrases, negation.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::Rng;

use super::{KINDS, TAGS, WORDS};

pub(super) fn query(rng: &mut StdRng, words: &[&str], marks: bool) -> String {
    for _ in 0..100 {
        let (text, plain) = draw_query(rng, words, marks);
        if !makes_other_words(&plain) {
            return text;
        }
    }
    words[0].to_string()
}

/// A query, and the words that it consists of.
fn draw_query(rng: &mut StdRng, words: &[&str], marks: bool) -> (String, Vec<String>) {
    let count = *[1, 1, 1, 2, 2, 2, 3, 3, 4].choose(rng).unwrap_or(&1);
    let mut plain: Vec<String> = Vec::new();
    for i in 0..count {
        let word = words.choose(rng).copied().unwrap_or_default();
        let last = i + 1 == count;
        plain.push(match rng.gen_range(0..10) {
            0 | 1 => with_typo(rng, word),
            2 | 3 if last => prefix(rng, word, if marks { 2 } else { 1 }),
            _ => word.to_string(),
        });
    }
    let mut text = plain.join(" ");
    if count > 1 && rng.gen_bool(0.12) {
        text = format!("\"{} {}\" {}", plain[0], plain[1], plain[2..].join(" "));
    } else if rng.gen_bool(0.1) {
        let unwanted = words.choose(rng).copied().unwrap_or_default();
        text = format!("{text} -{unwanted}");
        plain.push(unwanted.to_string());
    } else if rng.gen_bool(0.3) {
        text.push(' ');
    }
    (text, plain)
}

pub(super) fn with_typo(rng: &mut StdRng, word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    let at = rng.gen_range(0..letters.len());
    let letter = rng.gen_range(b'a'..=b'w') as char;
    match rng.gen_range(0..4) {
        0 if letters.len() > 3 => {
            letters.remove(at);
        }
        1 => letters.insert(at, letter),
        2 if at + 1 < letters.len() => letters.swap(at, at + 1),
        _ => letters[at] = letter,
    }
    letters.into_iter().collect()
}

pub(super) fn prefix(rng: &mut StdRng, word: &str, least: usize) -> String {
    let most = word.chars().count().min(6);
    let count = rng.gen_range(least.min(most)..=most);
    word.chars().take(count).collect()
}

/// Whether the words of a query, split or joined, come near words of the corpus (D.3, D.7).
fn makes_other_words(plain: &[String]) -> bool {
    let known = || WORDS.iter().chain(KINDS).chain(TAGS).copied();
    let split = |word: &str| {
        (1..word.len()).any(|at| {
            word.is_char_boundary(at)
                && known().any(|w| w == &word[..at])
                && known().any(|w| w == &word[at..])
        })
    };
    let joined = |few: &[String]| {
        let joined = few.concat();
        known().any(|w| {
            (0..=w.len()).any(|end| w.is_char_boundary(end) && distance(&joined, &w[..end]) <= 2)
        })
    };
    plain.iter().any(|w| split(w)) || plain.windows(2).any(joined) || plain.windows(3).any(joined)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let straight = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = straight.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_make_other_words_are_seen() {
        let of = |words: &[&str]| {
            makes_other_words(&words.iter().map(|w| w.to_string()).collect::<Vec<_>>())
        };
        assert!(of(&["sunstar"]), "splits into two words of the corpus");
        assert!(of(&["tele", "phone"]), "joins to one");
        assert!(of(&["mar", "keter"]), "joins to nearly one");
        assert!(!of(&["winter", "violin"]));
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
