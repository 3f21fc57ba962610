//! Removing the hidden shard field from texts that a node wrote.
//!
//! Nodes list attributes, count filterable rules and print documents in their error messages. The field must not show
//! there (DESIGN 6), and where it was the only filterable attribute the text must be the one for an index without any.

use crate::SHARD_FIELD;

/// Cuts the hidden field out of a node's error text (MEILISEARCH E.5).
///
/// `none_configured`: the user's own list of filterable attributes is empty, so the text must say so as it would
/// without our field, instead of presenting an empty list.
pub fn without_shard_field(message: &str, none_configured: bool) -> String {
    let mut text = with_own_rule_numbers(message);
    if !text.contains(SHARD_FIELD) {
        return text;
    }
    // Documents first: a bare name is cut out wherever it stands.
    text = without_member(&text);
    // Our field can be searched as a facet; the user's rules may all say that theirs cannot.
    let forms = if none_configured {
        EMPTY_FORMS
    } else {
        &EMPTY_FORMS[..1]
    };
    for (listed, bare) in forms {
        let listed = listed.replace("{}", SHARD_FIELD);
        text = text.replace(&listed, bare);
    }
    for quoted in [format!("`{SHARD_FIELD}`"), SHARD_FIELD.to_owned()] {
        for listed in [format!("{quoted}, "), format!(", {quoted}"), quoted] {
            text = text.replace(&listed, "");
        }
    }
    text
}

/// Takes names out of the list of attributes that a node's refusal ends with, in the words of a node that hides them (milli
/// `error.rs`, `remove_hidden_fields`).
pub fn without_listed(message: &str, is_hidden: impl Fn(&str) -> bool) -> String {
    const ARE: &str = " are: `";
    const HIDDEN: &str = "<..hidden-attributes>";
    let list = || {
        let opening = message.find("Available ")?;
        let start = opening + message[opening..].find(ARE)? + ARE.len();
        let end = start + message[start..].find("`.")?;
        Some((opening, start, end))
    };
    let Some((opening, start, end)) = list() else {
        return message.to_owned();
    };
    // Refusals of filters, which quote each name, and those of facets hide none.
    let of_filter = message[start..end].contains('`');
    if of_filter || message.contains("Invalid facet distribution") {
        return message.to_owned();
    }
    let listed: Vec<&str> = message[start..end].split(", ").collect();
    let mut kept: Vec<&str> = listed
        .iter()
        .copied()
        .filter(|name| !is_hidden(name))
        .collect();
    if kept.len() == listed.len() {
        return message.to_owned();
    }
    let told = kept.contains(&HIDDEN);
    let (before, behind) = (&message[..start], &message[end..]);
    if kept.len() == usize::from(told) {
        let kind = message[opening + "Available ".len()..].split(' ').next();
        let none = format!(
            "This index does not have configured {} attributes",
            kind.unwrap_or_default()
        );
        return format!("{}{none}{}", &message[..opening], &behind[1..]);
    }
    if !told {
        kept.push(HIDDEN);
    }
    format!("{before}{}{behind}", kept.join(", "))
}

/// What Meilisearch (1.15 and 1.50) says with our field alone in the list, and with an empty list.
const EMPTY_FORMS: &[(&str, &str)] = &[
    (
        "Available facet-searchable attributes patterns are: `{}`.",
        "This index does not have configured facet-searchable attributes.",
    ),
    (
        "Available filterable attribute patterns are: `{}`.",
        "This index does not have configured filterable attributes.",
    ),
    (
        "Available filterable attributes patterns are: `{}`.",
        "This index does not have configured filterable attributes.",
    ),
];

/// Our rule stands first in `filterableAttributes`, so a node counts the user's rules one too high.
fn with_own_rule_numbers(message: &str) -> String {
    const MARK: &str = "rule #";
    if !message.contains("filter") {
        return message.to_owned();
    }
    let mut parts = message.split(MARK);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(MARK);
        let digits = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        match part[..digits].parse::<usize>() {
            Ok(number) => text.push_str(&number.saturating_sub(1).to_string()),
            Err(_) => text.push_str(&part[..digits]),
        }
        text.push_str(&part[digits..]);
    }
    text
}

/// Cuts `"_miroir_shard":"..."` out of documents printed in a message, with the comma beside it.
fn without_member(text: &str) -> String {
    let member = format!("\"{SHARD_FIELD}\"");
    let mut out = text.to_owned();
    while let Some(start) = out.find(&member) {
        let rest = &out[start + member.len()..];
        let Some(value) = rest.trim_start().strip_prefix(':').map(str::trim_start) else {
            break;
        };
        let Some(body) = value.strip_prefix('"') else {
            break;
        };
        // Codes hold neither quotes nor backslashes.
        let Some(close) = body.find('"') else { break };
        let mut end = out.len() - body.len() + close + 1;
        let mut start = start;
        if out[end..].starts_with(',') {
            end += 1;
        } else if out[..start].ends_with(',') {
            start -= 1;
        }
        out.replace_range(start..end, "");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{without_listed, without_shard_field};

    #[test]
    fn lists_name_what_a_node_would_name() {
        for (from, to) in [
            ("Attribute `x` is not sortable. Available sortable attributes are: `a, b, c`.", "Attribute `x` is not sortable. Available sortable attributes are: `a, c, <..hidden-attributes>`."),
            ("Available sortable attributes are: `b, c, <..hidden-attributes>`.", "Available sortable attributes are: `c, <..hidden-attributes>`."),
            ("Available facet-searchable attributes patterns are: `b, <..hidden-attributes>`. To make it", "This index does not have configured facet-searchable attributes. To make it"),
            ("Available filterable attribute patterns are: `a.x`, `b`.", "Available filterable attribute patterns are: `a.x`, `b`."),
            ("Available sortable attributes are: `a, c`.", "Available sortable attributes are: `a, c`."),
            ("Attribute `b` is not sortable.", "Attribute `b` is not sortable."),
            ("Available `b", "Available `b"),
        ] {
            assert_eq!(without_listed(from, |name| name == "b"), to);
        }
    }

    #[test]
    fn lists_lose_only_our_field() {
        assert_eq!(
            without_shard_field(
                "Attribute `x` is not filterable. Available filterable attribute patterns are: `_miroir_shard, genre`.",
                false
            ),
            "Attribute `x` is not filterable. Available filterable attribute patterns are: `genre`."
        );
        assert_eq!(
            without_shard_field(
                "Attribute `x` is not filterable. Available filterable attribute patterns are: `_miroir_shard`.",
                true
            ),
            "Attribute `x` is not filterable. This index does not have configured filterable attributes."
        );
        assert_eq!(without_shard_field("plain", true), "plain");
        assert_eq!(
            without_shard_field(
                "field `a` matched rule #2 in `filterableAttributes`, rule #12.",
                false
            ),
            "field `a` matched rule #1 in `filterableAttributes`, rule #11."
        );
    }
}
