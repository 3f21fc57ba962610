//! What a client's settings request becomes on its way to the nodes. Pure.
//!
//! - Nodes display the primary key and the distinct attribute, whatever the client hides (`displayed`).
//! - The shard field stands first in `filterableAttributes`, also after a reset.
//! - `faceting.maxValuesPerFacet` is larger on nodes where facets are sorted by count.
//! - A reset of everything is sent as a change of every setting to null: a plain DELETE would leave the shard field
//!   unfilterable for a moment, and searches that need it would fail.
//! - Templates of embedders do not show the shard field.
//! - Names that are ours are refused, and so are tokens that would make the shard codes searchable words (DESIGN 6).
//!
//! A value of the wrong type is passed on as it is: the node's refusal is the best answer.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use miroir_api::{Error, RESERVED_PREFIX, SHARD_FIELD};
use miroir_router::{shard_code, Shard, SHARDS_MAX};
use reqwest::Method;
use serde_json::{json, Map, Value};

use super::displayed::Displayed;
use super::subs::Sub;
use super::UserFaceting;
use crate::nodes::NodeRequest;

/// A settings change, ready for the nodes.
#[derive(Debug)]
pub(crate) struct Change {
    pub request: NodeRequest,
    /// What the task shows: the client's own words.
    pub details: Value,
    /// The user's faceting afterwards.
    pub faceting: UserFaceting,
    /// What clients are shown afterwards.
    pub displayed: Displayed,
    /// The shard field is filterable by this very request.
    pub sets_filterable: bool,
}

/// What the client asks for.
pub(crate) enum Asked {
    Set(Value),
    Reset,
}

/// What nodes have.
#[derive(Default)]
pub(crate) struct Known<'k> {
    /// The settings that they know, needed to reset the whole.
    pub names: &'k [String],
    /// Their embedders, where these change.
    pub embedders: Value,
    /// What clients are shown as planned.
    pub displayed: Displayed,
    pub primary_key: Option<&'k str>,
}

/// Rewrites a change of `sub` (`None`: of the whole) of `index`; `before` is the user's faceting as planned.
pub(crate) fn rewrite(
    index: &str,
    sub: Option<&Sub>,
    asked: Asked,
    before: &UserFaceting,
    known: &Known,
) -> Result<Change, Error> {
    let path = format!("/indexes/{index}/settings");
    let mut faceting = before.clone();
    let mut displayed = known.displayed.clone();
    let Some(sub) = sub else {
        let body = match asked {
            Asked::Set(body) => body,
            Asked::Reset => Value::Object(
                known
                    .names
                    .iter()
                    .map(|key| (key.clone(), Value::Null))
                    .collect(),
            ),
        };
        let details = for_task(body.clone());
        let Value::Object(mut map) = body else {
            return Ok(Change {
                request: NodeRequest::new(Method::PATCH, path, Some(body)),
                details,
                faceting,
                displayed,
                sets_filterable: false,
            });
        };
        let sets_filterable = map.contains_key("filterableAttributes");
        for (key, value) in &mut map {
            check(key, value)?;
            rewrite_value(key, value, &mut faceting, &known.embedders);
        }
        if let Some(list) = displayed.change(&map, known.primary_key) {
            map.insert("displayedAttributes".to_owned(), list);
        }
        let request = NodeRequest::new(Method::PATCH, path, Some(Value::Object(map)));
        return Ok(Change {
            request,
            details,
            faceting,
            displayed,
            sets_filterable,
        });
    };
    let whole = path.clone();
    let path = format!("{path}/{}", sub.path);
    let mut value = match asked {
        Asked::Set(value) => value,
        Asked::Reset => Value::Null,
    };
    let asked = Map::from_iter([(sub.key.to_owned(), value.clone())]);
    let list = displayed.change(&asked, known.primary_key);
    let details = for_task(Value::Object(asked.clone()));
    check(sub.key, &value)?;
    let was_reset = value.is_null();
    rewrite_value(sub.key, &mut value, &mut faceting, &known.embedders);
    let request = match list {
        Some(list) => {
            let mut both = asked;
            both.insert("displayedAttributes".to_owned(), list);
            NodeRequest::new(Method::PATCH, whole, Some(Value::Object(both)))
        }
        None if was_reset && value.is_null() => NodeRequest::new(Method::DELETE, path, None),
        None => NodeRequest::new(sub.verb.clone(), path, Some(value)),
    };
    Ok(Change {
        request,
        details,
        faceting,
        displayed,
        sets_filterable: sub.key == "filterableAttributes",
    })
}

fn rewrite_value(key: &str, value: &mut Value, faceting: &mut UserFaceting, embedders: &Value) {
    match key {
        "filterableAttributes" => match value {
            Value::Null => *value = json!([SHARD_FIELD]),
            Value::Array(list) => list.insert(0, json!(SHARD_FIELD)),
            _ => {}
        },
        "faceting" => rewrite_faceting(value, faceting),
        "embedders" => super::embedders::for_nodes(value, embedders),
        _ => {}
    }
}

fn rewrite_faceting(value: &mut Value, faceting: &mut UserFaceting) {
    let map = match value {
        Value::Null => {
            *faceting = UserFaceting::default();
            return;
        }
        Value::Object(map) => map,
        _ => return,
    };
    match map.get("maxValuesPerFacet") {
        None => {}
        Some(Value::Null) => faceting.max_values_per_facet = None,
        // A wrong type is the node's to refuse: leave it in the request.
        Some(max) => match max.as_u64() {
            Some(max) => faceting.max_values_per_facet = Some(max),
            None => return,
        },
    }
    if let Some(sort) = map.get("sortFacetValuesBy") {
        faceting.by_count = UserFaceting::counts(sort);
    }
    map.insert("maxValuesPerFacet".to_owned(), json!(faceting.node_max()));
}

/// Refuses what would collide with the shard field.
fn check(key: &str, value: &Value) -> Result<(), Error> {
    match key {
        "nonSeparatorTokens" => refuse_codes(key, value, "invalid_settings_non_separator_tokens"),
        "dictionary" => refuse_codes(key, value, "invalid_settings_dictionary"),
        "displayedAttributes" | "searchableAttributes" | "filterableAttributes" | "sortableAttributes"
        | "rankingRules" | "distinctAttribute" | "localizedAttributes" | "typoTolerance" | "faceting" => {
            match reserved_name(value) {
                None => Ok(()),
                Some(name) => Err(Error::invalid(
                    400,
                    "miroir_reserved_field",
                    format!("`{name}` in `{key}`: names that begin with `{RESERVED_PREFIX}` are Miroir's own. Use another name."),
                )),
            }
        }
        _ => Ok(()),
    }
}

fn reserved_name(value: &Value) -> Option<&str> {
    let reserved = |name: &&str| name.starts_with(RESERVED_PREFIX);
    match value {
        Value::String(text) => Some(text.as_str()).filter(reserved),
        Value::Array(list) => list.iter().find_map(reserved_name),
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            Some(key.as_str())
                .filter(reserved)
                .or_else(|| reserved_name(value))
        }),
        _ => None,
    }
}

fn refuse_codes(key: &str, value: &Value, code: &'static str) -> Result<(), Error> {
    let Some(list) = value.as_array() else {
        return Ok(());
    };
    let taken = list
        .iter()
        .filter_map(Value::as_str)
        .flat_map(str::chars)
        .find(|c| alphabet().contains(c));
    match taken {
        None => Ok(()),
        Some(c) => Err(Error::invalid(
            400,
            code,
            format!("Invalid value at `.{key}`: the character `{c}` (U+{:04X}) is reserved for Miroir's shard codes.", c as u32),
        )),
    }
}

/// The characters that shard codes are made of.
fn alphabet() -> &'static BTreeSet<char> {
    static ALPHABET: OnceLock<BTreeSet<char>> = OnceLock::new();
    ALPHABET.get_or_init(|| {
        (0..SHARDS_MAX)
            .flat_map(|n| shard_code(Shard(n)).chars().collect::<Vec<_>>())
            .collect()
    })
}

/// The client's settings as its task shows them: Meilisearch names what two lists are reset to, sorts what it keeps as
/// sets, and hides secrets.
pub(super) fn for_task(mut details: Value) -> Value {
    let Value::Object(map) = &mut details else {
        return Value::Object(Map::new());
    };
    for key in ["displayedAttributes", "searchableAttributes"] {
        if let Some(value) = map.get_mut(key).filter(|value| value.is_null()) {
            *value = serde_json::json!(["*"]);
        }
    }
    for key in [
        "sortableAttributes",
        "stopWords",
        "nonSeparatorTokens",
        "separatorTokens",
        "dictionary",
    ] {
        if let Some(Value::Array(list)) = map.get_mut(key) {
            list.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            list.dedup();
        }
    }
    let rules = map.get_mut("filterableAttributes");
    for rule in rules.and_then(Value::as_array_mut).into_iter().flatten() {
        show_features(rule);
    }
    if let Some(Value::Object(embedders)) = map.get_mut("embedders") {
        for embedder in embedders.values_mut() {
            if let Some(Value::String(key)) = embedder.get_mut("apiKey") {
                *key = miroir_api::hide_secret(key);
            }
        }
    }
    details
}

/// A rule with patterns is shown with all its features, also those that nobody named.
fn show_features(rule: &mut Value) {
    let Some(rule) = rule.as_object_mut() else {
        return;
    };
    let asked = rule.get("features").cloned().unwrap_or_default();
    let feature = |of: &Value, name: &str, default: bool| of[name].as_bool().unwrap_or(default);
    let filter = &asked["filter"];
    let features = serde_json::json!({
        "facetSearch": feature(&asked, "facetSearch", false),
        "filter": {
            "equality": feature(filter, "equality", true),
            "comparison": feature(filter, "comparison", false),
        },
    });
    rule.insert("features".into(), features);
}

#[cfg(test)]
mod tests {
    use super::super::SUBS;
    use super::*;
    use proptest::prelude::*;

    fn sub(path: &str) -> Option<&'static Sub> {
        SUBS.iter().find(|sub| sub.path == path)
    }

    fn change(path: Option<&str>, asked: Asked, before: &UserFaceting) -> Change {
        let keys = [
            "faceting".to_owned(),
            "filterableAttributes".to_owned(),
            "stopWords".to_owned(),
        ];
        rewrite(
            "x",
            path.map(|path| sub(path).unwrap()),
            asked,
            before,
            &Known {
                names: &keys,
                ..Known::default()
            },
        )
        .unwrap()
    }

    #[test]
    fn the_shard_field_stays_first_among_the_filterable() {
        let none = UserFaceting::default();
        for (asked, sent, details) in [
            (
                Asked::Set(json!(["a"])),
                json!(["_miroir_shard", "a"]),
                json!(["a"]),
            ),
            (
                Asked::Set(Value::Null),
                json!(["_miroir_shard"]),
                Value::Null,
            ),
            (Asked::Reset, json!(["_miroir_shard"]), Value::Null),
            (Asked::Set(json!("wrong")), json!("wrong"), json!("wrong")),
        ] {
            let change = change(Some("filterable-attributes"), asked, &none);
            assert_eq!(
                (change.request.method.as_str(), change.request.body),
                ("PUT", Some(sent))
            );
            assert_eq!(change.details, json!({ "filterableAttributes": details }));
        }
    }

    #[test]
    fn resetting_everything_keeps_the_shard_field_filterable() {
        let before = UserFaceting {
            max_values_per_facet: Some(3),
            by_count: true,
        };
        let change = change(None, Asked::Reset, &before);
        assert_eq!(change.request.method, Method::PATCH);
        let sent =
            json!({"faceting": null, "filterableAttributes": ["_miroir_shard"], "stopWords": null});
        assert_eq!(change.request.body, Some(sent));
        assert_eq!(change.faceting, UserFaceting::default());
        assert_eq!(change.details["filterableAttributes"], Value::Null);
    }

    #[test]
    fn facets_sorted_by_count_get_more_values_from_nodes() {
        let none = UserFaceting::default();
        let by_count = change(
            Some("faceting"),
            Asked::Set(json!({"sortFacetValuesBy": {"genre": "count"}})),
            &none,
        );
        assert_eq!(by_count.request.body.unwrap()["maxValuesPerFacet"], 1000);
        let more = change(
            Some("faceting"),
            Asked::Set(json!({"maxValuesPerFacet": 300})),
            &by_count.faceting,
        );
        assert_eq!(more.request.body.unwrap()["maxValuesPerFacet"], 3000);
        assert_eq!(
            more.details,
            json!({"faceting": {"maxValuesPerFacet": 300}})
        );
        let alpha = change(
            None,
            Asked::Set(json!({"faceting": {"sortFacetValuesBy": null}})),
            &more.faceting,
        );
        assert_eq!(
            alpha.request.body.unwrap()["faceting"]["maxValuesPerFacet"],
            300
        );
        let reset = change(Some("faceting"), Asked::Reset, &more.faceting);
        assert_eq!(
            (reset.request.method.as_str(), reset.request.body),
            ("DELETE", None)
        );
        assert_eq!(reset.faceting, none);
    }

    #[test]
    fn ours_is_refused() {
        let refuse = |path: &str, value: Value| {
            rewrite(
                "x",
                sub(path),
                Asked::Set(value),
                &UserFaceting::default(),
                &Known::default(),
            )
            .unwrap_err()
            .code
        };
        assert_eq!(
            refuse("sortable-attributes", json!(["_miroir_shard"])),
            "miroir_reserved_field"
        );
        assert_eq!(
            refuse("ranking-rules", json!(["_miroir_x:asc"])),
            "miroir_reserved_field"
        );
        assert_eq!(
            refuse(
                "filterable-attributes",
                json!([{"attributePatterns": ["_miroir_*"]}])
            ),
            "miroir_reserved_field"
        );
        assert_eq!(
            refuse(
                "faceting",
                json!({"sortFacetValuesBy": {"_miroir_shard": "count"}})
            ),
            "miroir_reserved_field"
        );
        let code = shard_code(Shard(5)).to_string();
        assert_eq!(
            refuse("non-separator-tokens", json!([code])),
            "invalid_settings_non_separator_tokens"
        );
    }

    #[test]
    fn secrets_are_hidden_in_tasks() {
        let details = for_task(
            json!({"embedders": {"e": {"apiKey": "sk-0123456789"}}, "stopWords": ["b", "a", "b"]}),
        );
        assert_eq!(details["embedders"]["e"]["apiKey"], "skXXXX...");
        assert_eq!(details["stopWords"], json!(["a", "b"]));
    }

    proptest! {
        /// Whatever list a client sets, nodes get it with the shard field first, and the client gets its own list back.
        #[test]
        fn what_is_set_is_what_is_read(list in proptest::collection::vec("[a-z.]{1,6}", 0..6), max in 0u64..5000, count: bool) {
            let order = if count { "count" } else { "alpha" };
            let mine = json!({
                "filterableAttributes": list,
                "faceting": {"maxValuesPerFacet": max, "sortFacetValuesBy": {"*": order}},
            });
            let change = rewrite("x", None, Asked::Set(mine.clone()), &UserFaceting::default(), &Known::default()).unwrap();
            let sent = change.request.body.unwrap();
            prop_assert_eq!(&sent["filterableAttributes"][0], SHARD_FIELD);
            prop_assert!(sent["faceting"]["maxValuesPerFacet"].as_u64().unwrap() >= max);
            prop_assert_eq!(super::super::for_client(sent, &change.faceting), mine);
        }
    }
}
