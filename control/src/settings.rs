//! Settings: one truth for all nodes.
//!
//! A change goes to every node, rewritten where the hidden shard field and exact facet counts need it (`rewrite`), and is
//! read back from every node before its task is reported as succeeded. What clients read is what a node says, with the
//! rewriting undone.

mod change;
pub(crate) mod displayed;
mod embedders;
mod rewrite;
mod secrets;
mod subs;

use std::sync::Arc;

use futures_util::future::join_all;
use miroir_api::SHARD_FIELD;
use miroir_router::{FacetOrder, FilterableRule, ForeignKey, SearchSettings, WordSettings};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::nodes::NodeClient;

pub(crate) use change::no_node;
pub(crate) use displayed::Displayed;
pub(crate) use secrets::{revealed, Secret};
pub(crate) use subs::{Sub, SUBS};

/// The user's own faceting, where nodes are told otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct UserFaceting {
    /// `None`: Meilisearch's default.
    pub max_values_per_facet: Option<u64>,
    /// Some attribute is sorted by count.
    pub by_count: bool,
}

impl UserFaceting {
    const DEFAULT_MAX: u64 = 100;

    pub(crate) fn user_max(&self) -> u64 {
        self.max_values_per_facet.unwrap_or(Self::DEFAULT_MAX)
    }

    /// What nodes get. Sorted by count, the globally most frequent values need not be among a node's first ones, so
    /// nodes send more and the merge cuts (MEILISEARCH B.5); in alphabetical order the user's number is exact.
    pub(crate) fn node_max(&self) -> u64 {
        if self.by_count {
            self.user_max().saturating_mul(10).max(1000)
        } else {
            self.user_max()
        }
    }

    /// Whether any attribute of a `sortFacetValuesBy` object is sorted by count.
    pub(crate) fn counts(sort: &Value) -> bool {
        sort.as_object()
            .is_some_and(|map| map.values().any(|order| order == "count"))
    }
}

/// A node's settings object as the client may see it.
pub(crate) fn for_client(mut settings: Value, faceting: &UserFaceting) -> Value {
    if let Some(list) = settings.get_mut("filterableAttributes") {
        strip_filterable(list);
    }
    if let Some(list) = settings.get_mut("displayedAttributes") {
        displayed::for_client(list);
    }
    if let Some(max) = settings.pointer_mut("/faceting/maxValuesPerFacet") {
        *max = json!(faceting.user_max());
    }
    if let Some(embedders) = settings.get_mut("embedders") {
        embedders::for_client(embedders);
    }
    settings
}

/// Takes our rule out of a list of filterable attributes.
pub(crate) fn strip_filterable(list: &mut Value) {
    if let Value::Array(list) = list {
        list.retain(|rule| rule != SHARD_FIELD);
    }
}

/// The part of the settings that searching and merging need.
pub(crate) fn typed(settings: &Value, faceting: &UserFaceting) -> SearchSettings {
    let defaults = SearchSettings::default();
    let mut filterable = settings["filterableAttributes"].clone();
    strip_filterable(&mut filterable);
    let mut listed = settings["displayedAttributes"].clone();
    displayed::for_client(&mut listed);
    let order = |value: &Value| {
        if value == "count" {
            FacetOrder::Count
        } else {
            FacetOrder::Alpha
        }
    };
    SearchSettings {
        ranking_rules: strings(&settings["rankingRules"]).unwrap_or(defaults.ranking_rules),
        distinct_attribute: settings["distinctAttribute"].as_str().map(str::to_owned),
        displayed_attributes: strings(&listed).filter(|list| !list.iter().any(|name| name == "*")),
        also_displayed: displayed::added(&settings["displayedAttributes"]),
        filterable_attributes_empty: filterable.as_array().is_none_or(Vec::is_empty),
        filterable_attributes: filterable
            .as_array()
            .map(|rules| rules.iter().filter_map(filterable_rule).collect())
            .unwrap_or_default(),
        max_values_per_facet: usize::try_from(faceting.user_max()).unwrap_or(usize::MAX),
        node_values_per_facet: usize::try_from(faceting.node_max()).unwrap_or(usize::MAX),
        sort_facet_values_by: match settings.pointer("/faceting/sortFacetValuesBy") {
            Some(Value::Object(map)) => map
                .iter()
                .map(|(name, value)| (name.clone(), order(value)))
                .collect(),
            _ => defaults.sort_facet_values_by,
        },
        max_total_hits: settings
            .pointer("/pagination/maxTotalHits")
            .and_then(Value::as_u64)
            .and_then(|max| usize::try_from(max).ok())
            .unwrap_or(defaults.max_total_hits),
        words: WordSettings::of(settings),
        foreign_keys: settings["foreignKeys"]
            .as_array()
            .map(|keys| keys.iter().filter_map(foreign_key).collect())
            .unwrap_or_default(),
    }
}

/// `None`: it is no list.
fn strings(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array()?.iter();
    Some(list.filter_map(Value::as_str).map(str::to_owned).collect())
}

fn foreign_key(key: &Value) -> Option<ForeignKey> {
    Some(ForeignKey {
        index_uid: key["foreignIndexUid"].as_str()?.to_owned(),
        field: key["fieldName"].as_str()?.to_owned(),
    })
}

/// A rule as a node shows it: a name, or an object.
fn filterable_rule(rule: &Value) -> Option<FilterableRule> {
    if let Some(name) = rule.as_str() {
        return Some(FilterableRule::Field(name.to_owned()));
    }
    let patterns = rule["attributePatterns"].as_array()?.iter();
    let allows = |kind: &str, default: bool| {
        let feature = rule.pointer(&format!("/features/filter/{kind}"));
        feature.and_then(Value::as_bool).unwrap_or(default)
    };
    Some(FilterableRule::Patterns {
        patterns: patterns
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        filterable: allows("equality", true) || allows("comparison", false),
    })
}

/// What the nodes say together.
pub(crate) enum ReadBack {
    Agreed(Value),
    /// The first node's settings, and who says otherwise.
    Diverged(Value, String),
    Unavailable(String),
}

/// Reads an index's settings from every node and compares them among nodes of one version.
pub(crate) async fn read_back(nodes: &[Arc<NodeClient>], index: &str) -> ReadBack {
    let path = format!("/indexes/{index}/settings");
    let replies = join_all(nodes.iter().map(|node| node.get(&path))).await;
    let mut found: Vec<(&NodeClient, Value)> = Vec::with_capacity(nodes.len());
    let mut missing = None;
    for (node, reply) in nodes.iter().zip(replies) {
        match reply {
            Ok(reply) if reply.status == 200 => found.push((node, reply.json())),
            Ok(reply) if reply.status == 404 => {
                missing = Some(format!("node `{}` does not have the index", node.id()));
            }
            Ok(reply) => {
                return ReadBack::Unavailable(format!(
                    "node `{}` answered {}",
                    node.id(),
                    reply.status
                ))
            }
            Err(error) => return ReadBack::Unavailable(format!("node `{}`: {error}", node.id())),
        }
    }
    let Some((_, first)) = found.first().cloned() else {
        return ReadBack::Diverged(Value::Null, missing.unwrap_or_default());
    };
    let fault = missing.or_else(|| {
        found
            .iter()
            .find_map(|(node, settings)| disagreement(node, settings, &found))
    });
    match fault {
        None => ReadBack::Agreed(first),
        Some(why) => ReadBack::Diverged(first, why),
    }
}

/// How a node's settings differ from those of the first node of its own version: defaults change between versions.
fn disagreement(
    node: &NodeClient,
    settings: &Value,
    found: &[(&NodeClient, Value)],
) -> Option<String> {
    let version = |client: &NodeClient| client.about().map(|(version, _)| version);
    let (first, expected) = found
        .iter()
        .find(|(first, _)| version(first) == version(node))?;
    let key = difference(expected, settings)?;
    Some(format!(
        "`{key}` is not the same on node `{}` and node `{}`",
        first.id(),
        node.id()
    ))
}

/// The first key that both know and answer differently.
fn difference(left: &Value, right: &Value) -> Option<String> {
    let (left, right) = (left.as_object()?, right.as_object()?);
    left.iter()
        .find(|(key, value)| right.get(*key).is_some_and(|other| other != *value))
        .map(|(key, _)| key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_see_their_own_settings() {
        let faceting = UserFaceting {
            max_values_per_facet: Some(5),
            by_count: true,
        };
        let node = json!({
            "filterableAttributes": ["_miroir_shard", "genre"],
            "faceting": {"maxValuesPerFacet": 1000, "sortFacetValuesBy": {"*": "count"}},
            "displayedAttributes": ["*"],
            "rankingRules": ["words", "year:desc"],
            "distinctAttribute": "sku",
            "pagination": {"maxTotalHits": 7},
        });
        let seen = for_client(node.clone(), &faceting);
        assert_eq!(seen["filterableAttributes"], json!(["genre"]));
        assert_eq!(seen["faceting"]["maxValuesPerFacet"], 5);
        let typed = typed(&node, &faceting);
        assert_eq!(typed.max_values_per_facet, 5);
        assert_eq!(typed.max_total_hits, 7);
        assert_eq!(typed.displayed_attributes, None);
        assert!(!typed.filterable_attributes_empty);
        assert!(matches!(typed.facet_order("genre"), FacetOrder::Count));
    }

    #[test]
    fn an_untouched_index_has_the_defaults() {
        let node =
            json!({"filterableAttributes": ["_miroir_shard"], "displayedAttributes": ["title"]});
        let typed = typed(&node, &UserFaceting::default());
        assert!(typed.filterable_attributes_empty);
        assert_eq!(
            (typed.max_values_per_facet, typed.max_total_hits),
            (100, 1000)
        );
        assert_eq!(typed.displayed_attributes, Some(vec!["title".to_owned()]));
    }

    #[test]
    fn settings_are_compared_in_what_both_nodes_know() {
        let old = json!({"a": 1, "b": 2});
        assert_eq!(difference(&old, &json!({"a": 1, "c": 3})), None);
        assert_eq!(
            difference(&old, &json!({"a": 1, "b": 3})),
            Some("b".to_owned())
        );
    }
}
