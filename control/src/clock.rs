//! Times as the store and the wire hold them.
//!
//! The store keeps nanoseconds since 1970 (they sort and compare as integers); clients get RFC 3339, and durations in
//! the ISO 8601 form that Meilisearch writes (`PT0.001990341S`).

use std::fmt::Write;

use time::format_description::well_known::Rfc3339;
use time::OffsetDateTime;

/// Nanoseconds since 1970-01-01 UTC.
pub(crate) type Nanos = i64;

pub(crate) fn now() -> Nanos {
    nanos_of(OffsetDateTime::now_utc())
}

pub(crate) fn nanos_of(time: OffsetDateTime) -> Nanos {
    i64::try_from(time.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}

/// RFC 3339 with as many fractional digits as needed.
pub(crate) fn rfc3339(nanos: Nanos) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos))
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

pub(crate) fn parse_rfc3339(text: &str) -> Option<Nanos> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(nanos_of)
}

/// A duration as Meilisearch writes it; `None` for a negative one, for which ISO 8601 has no form.
pub(crate) fn iso8601(nanos: Nanos) -> Option<String> {
    const PER_SECOND: i64 = 1_000_000_000;
    const PER_DAY: i64 = 86_400 * PER_SECOND;
    if nanos < 0 {
        return None;
    }
    let (days, rest) = (nanos / PER_DAY, nanos % PER_DAY);
    let (seconds, fraction) = (rest / PER_SECOND, rest % PER_SECOND);
    let mut text = String::from("P");
    // Writing to a string cannot fail.
    if days > 0 {
        let _ = write!(text, "{days}D");
    }
    if rest > 0 || days == 0 {
        let _ = write!(text, "T{seconds}");
        if fraction % 1_000_000 == 0 && fraction > 0 {
            let _ = write!(text, ".{:03}", fraction / 1_000_000);
        } else if fraction % 1_000 == 0 && fraction > 0 {
            let _ = write!(text, ".{:06}", fraction / 1_000);
        } else if fraction > 0 {
            let _ = write!(text, ".{fraction:09}");
        }
        text.push('S');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_meilisearchs_form() {
        for (nanos, text) in [
            (0, "PT0S"),
            (1_990_341, "PT0.001990341S"),
            (9_330_000, "PT0.009330S"),
            (250_000_000, "PT0.250S"),
            (61_000_000_000, "PT61S"),
            (86_400_000_000_000, "P1D"),
            (86_401_500_000_000, "P1DT1.500S"),
        ] {
            assert_eq!(iso8601(nanos).as_deref(), Some(text));
        }
        assert_eq!(iso8601(-1), None);
    }

    #[test]
    fn times_survive_the_wire() {
        let nanos = 1_732_170_000_123_456_789;
        assert_eq!(parse_rfc3339(&rfc3339(nanos)), Some(nanos));
    }
}
