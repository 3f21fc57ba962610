//! The numbers of a ranking rule, read as nodes write them: known names without escapes, no white space.
//!
//! A name and its number cost a tenth here of what they cost where any JSON may stand, and each hit that is compared has about twenty
//! of them. Whatever looks different is left to the scanner, so that nothing is understood here that is not understood there.

use memchr::memchr;

use super::{match_type, positive_zero, Fields};
use crate::scan::parse_number;

/// Reads the object at the beginning of `text`, and its length. `None`: it is written in another way, or holds something else.
pub(super) fn read(text: &[u8]) -> Option<(Fields<'_>, usize)> {
    let mut fields = Fields::default();
    let mut rest = text.strip_prefix(b"{\"")?;
    loop {
        rest = member(rest, &mut fields)?;
        match rest {
            [b',', b'"', members @ ..] => rest = members,
            [b'}', behind @ ..] => return Some((fields, text.len() - behind.len())),
            _ => return None,
        }
    }
}

/// Reads a member whose opening quote was passed; what stands behind it.
fn member<'a>(text: &'a [u8], fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    let named = |name: &[u8]| text.strip_prefix(name)?.strip_prefix(b"\":");
    match text.first()? {
        b'o' => count(named(b"order")?, &mut fields.order),
        b't' => count(named(b"typoCount")?, &mut fields.typo_count),
        b's' => {
            let (score, rest) = number(named(b"score")?)?;
            fields.score = Some(score);
            Some(rest)
        }
        b'a' => ratio(
            named(b"attributeRankingOrderScore")?,
            &mut fields.attribute_rank,
        ),
        b'q' => ratio(named(b"queryWordDistanceScore")?, &mut fields.word_distance),
        b'm' => {
            if let Some(rest) = named(b"matchingWords") {
                return count(rest, &mut fields.matching_words);
            }
            if let Some(rest) = named(b"maxMatchingWords") {
                return count(rest, &mut fields.max_matching_words);
            }
            if let Some(text) = named(b"matchType") {
                let rest = text.strip_prefix(b"\"")?;
                let rest = &rest[memchr(b'"', rest)? + 1..];
                fields.match_type = match_type(&text[..text.len() - rest.len()]);
                return Some(rest);
            }
            // Nothing goes by it.
            count(named(b"maxTypoCount")?, &mut 0)
        }
        _ => None,
    }
}

fn count<'a>(text: &'a [u8], count: &mut u64) -> Option<&'a [u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(digits);
    // Not more than fit; JSON has no zeros before a number.
    if digits.is_empty()
        || digits.len() > COUNT_DIGITS_MAX
        || (digits[0] == b'0' && digits.len() > 1)
    {
        return None;
    }
    *count = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(rest)
}

fn ratio<'a>(text: &'a [u8], ratio: &mut f64) -> Option<&'a [u8]> {
    let (number, rest) = number(text)?;
    *ratio = positive_zero(parse_number(number)?);
    Some(rest)
}

/// A number from 0 to less than 10 without an exponent, as ratios are.
fn number(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let [b'0'..=b'9', b'.', b'0'..=b'9', decimals @ ..] = text else {
        return None;
    };
    let more = decimals.iter().take_while(|byte| byte.is_ascii_digit());
    Some(text.split_at(3 + more.count()))
}

const COUNT_DIGITS_MAX: usize = 18;
