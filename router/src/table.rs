//! What a request needs to know about the fleet and its indexes: an immutable table, published whole.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use miroir_auth::Keyring;
use serde::{Deserialize, Serialize};

use crate::filter::Ids;
use crate::health::{NodeState, SharedState};
use crate::layout::Layout;
use crate::task_count::TaskCount;
use crate::words::WordSettings;

/// Everything that routing depends on, as of one epoch. Built by the control plane, never changed after it has been
/// published (except for what [`Node::set_state`] and [`Node::set_federates`] note).
#[derive(Debug)]
pub struct RoutingTable {
    /// Grows by one with each publication; set by [`crate::Publisher::publish`].
    pub epoch: u64,
    /// In the order of `Layout::nodes` of every layout in this table.
    pub nodes: Vec<Arc<Node>>,
    /// By uid.
    pub indexes: HashMap<String, Arc<Index>, ahash::RandomState>,
    /// The layout that a new index gets.
    pub layout: Arc<Layout>,
    /// Who may ask.
    pub keys: Arc<Keyring>,
    /// There are dynamic search rules, so nodes may pin documents to places of their lists.
    pub search_rules: bool,
}

/// Of Meilisearch: major, minor, patch.
pub type Version = (u32, u32, u32);

/// The oldest node that is supported: documents can be fetched by their ids since then, which repairs need.
pub const VERSION_MIN: Version = (1, 14, 0);

/// A Meilisearch process that holds shards.
#[derive(Debug)]
pub struct Node {
    pub id: String,
    /// `host:port`
    pub address: String,
    /// The replica group that it belongs to.
    pub group: u16,
    /// A hint: a search avoids a node that is not up where it can.
    pub state: SharedState,
    /// Whether it speaks Meilisearch's protocol between nodes, as of the last time it was admitted.
    pub federates: AtomicBool,
    /// Its version as of then, packed; 0 before it was reached.
    version: AtomicU64,
    /// Tells when it lost what it had.
    pub tasks: TaskCount,
}

impl Node {
    /// A node that is down until somebody has looked at it.
    pub fn new(id: String, address: String, group: u16) -> Self {
        Node {
            id,
            address,
            group,
            state: SharedState::default(),
            federates: AtomicBool::new(false),
            version: AtomicU64::new(0),
            tasks: TaskCount::default(),
        }
    }

    /// Whether it is to be asked before others that are not up.
    pub fn is_up(&self) -> bool {
        self.state.load() == NodeState::Up
    }

    /// For whoever watches the node's health.
    pub fn set_state(&self, state: NodeState) {
        self.state.store(state);
    }

    /// Whether it speaks Meilisearch's protocol between nodes, which tells what public answers hide (MEILISEARCH C).
    pub fn federates(&self) -> bool {
        self.federates.load(Ordering::Relaxed)
    }

    /// Its version, once it was reached.
    pub fn version(&self) -> Option<Version> {
        let packed = self.version.load(Ordering::Relaxed);
        let part = |shift: u32| (packed >> shift) as u32 & 0xf_ffff;
        (packed != 0).then(|| (part(40), part(20), part(0)))
    }

    /// Records its version, of which each part has at most 20 bits. To be called before the node is said to be up.
    pub fn set_version(&self, (major, minor, patch): Version) {
        let [major, minor, patch] = [major, minor, patch].map(|part| u64::from(part.min(0xf_ffff)));
        self.version
            .store(major << 40 | minor << 20 | patch, Ordering::Relaxed);
    }

    /// Records whether it does. To be called before the node is said to be up.
    pub fn set_federates(&self, federates: bool) {
        self.federates.store(federates, Ordering::Relaxed);
    }
}

impl RoutingTable {
    /// The lowest version of the nodes that were reached so far; the lowest that is supported before any was.
    pub fn lowest_version(&self) -> Version {
        let known = self.nodes.iter().filter_map(|node| node.version());
        known.min().unwrap_or(VERSION_MIN)
    }

    /// An index that was found in an older table, as it is now; `None`: it is gone.
    pub fn again(&self, index: &Index) -> Option<&Arc<Index>> {
        let same = |found: &&Arc<Index>| found.node_uid == index.node_uid;
        let by_name = self.indexes.get(&index.uid).filter(same);
        by_name.or_else(|| self.indexes.values().find(same))
    }

    /// Whether every node that is up speaks the protocol between nodes.
    pub fn federates(&self) -> bool {
        self.nodes
            .iter()
            .all(|node| node.federates() || !node.is_up())
    }
}

/// A logical index: one name for clients, striped over the nodes of its layout.
#[derive(Clone, Debug)]
pub struct Index {
    pub uid: String,
    /// What nodes call it: another name than the clients' once indexes were swapped or renamed.
    pub node_uid: String,
    /// None until the first documents, or the client, decide it.
    pub primary_key: Option<String>,
    /// How filters that pin the primary key are read; `None` where they cannot be, for now.
    pub ids: Option<Ids>,
    /// Whether its creation has succeeded; otherwise it is planned only, and clients are told that it does not exist.
    pub visible: bool,
    pub layout: Arc<Layout>,
    pub settings: Arc<SearchSettings>,
    /// Grows with each settings change that every node has confirmed.
    pub settings_version: u64,
    pub changes: Changes,
}

/// Counts what changes an index's documents. All tables of the index share one count, so that a write needs no new table.
///
/// An answer that was begun at one count may be given to whoever asks while that count and the table still hold: the count
/// goes up before a task that may change answers is reported as ended.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<AtomicU64>);

impl Changes {
    /// So far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// To be called when every node has run a task, and before anybody is told.
    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl Index {
    /// The path of a request to a node: `rest` (which begins with `/`, or is empty) of this index.
    pub fn node_path(&self, rest: &str) -> String {
        format!("/indexes/{}{rest}", self.node_uid)
    }

    /// Whether a copy of the index is being filled or repaired, or is to be: writes say which documents they touch then.
    pub fn is_filling(&self) -> bool {
        self.layout.needs_filling()
    }

    /// A node's text with the index called as clients call it.
    pub fn in_clients_words(&self, text: String) -> String {
        if self.uid == self.node_uid {
            return text;
        }
        text.replace(&format!("`{}`", self.node_uid), &format!("`{}`", self.uid))
    }
}

/// The order of a facet's values in an answer (`faceting.sortFacetValuesBy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FacetOrder {
    Alpha,
    Count,
}

/// What searching and merging need of an index's settings, as the *user* set them. The default is Meilisearch's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchSettings {
    pub ranking_rules: Vec<String>,
    pub distinct_attribute: Option<String>,
    /// None stands for `["*"]`.
    pub displayed_attributes: Option<Vec<String>>,
    /// What nodes display besides, for merging; clients never see it.
    pub also_displayed: Vec<String>,
    /// Whether the user's list is empty (the nodes' list never is: it holds the hidden shard field).
    pub filterable_attributes_empty: bool,
    /// In the user's order: the first rule that matches a field counts.
    pub filterable_attributes: Vec<FilterableRule>,
    /// The user's number; nodes may be set to more.
    pub max_values_per_facet: usize,
    /// The nodes' number.
    pub node_values_per_facet: usize,
    /// Field or `*` -> order, `*` last where both are there.
    pub sort_facet_values_by: Vec<(String, FacetOrder)>,
    /// `pagination.maxTotalHits`
    pub max_total_hits: usize,
    /// What a query's words are.
    pub words: WordSettings,
    /// Fields whose values are ids of documents of other indexes.
    pub foreign_keys: Vec<ForeignKey>,
}

/// An item of the setting `foreignKeys`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ForeignKey {
    /// As clients call it.
    pub index_uid: String,
    pub field: String,
}

/// A rule of `filterableAttributes`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterableRule {
    /// A name, which stands for the field and all below it.
    Field(String),
    Patterns {
        /// `*`, or text with a `*` at either end or at both.
        patterns: Vec<String>,
        /// Whether any kind of filter is allowed.
        filterable: bool,
    },
}

impl FilterableRule {
    fn matches(&self, field: &str) -> bool {
        match self {
            FilterableRule::Field(name) => covers(name, field),
            FilterableRule::Patterns { patterns, .. } => {
                patterns.iter().any(|pattern| matches(pattern, field))
            }
        }
    }
}

/// Whether displaying these includes the field.
pub fn displays(list: &[String], field: &str) -> bool {
    list.iter().any(|name| name == "*" || covers(name, field))
}

/// Whether retrieving or displaying `name` includes `field`.
pub fn covers(name: &str, field: &str) -> bool {
    field
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// milli `attribute_patterns.rs`.
fn matches(pattern: &str, field: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(rest), Some(_)) => field.contains(&rest[..rest.len() - 1]),
        (Some(end), None) => field.ends_with(end),
        (None, Some(start)) => field.starts_with(start),
        (None, None) => pattern == field,
    }
}

impl SearchSettings {
    /// Whether a request may filter by the field, ask for it as a facet, and name it in `distinct`.
    pub fn is_filterable(&self, field: &str) -> bool {
        let mut rules = self.filterable_attributes.iter();
        match rules.find(|rule| rule.matches(field)) {
            None => false,
            Some(FilterableRule::Field(_)) => true,
            Some(FilterableRule::Patterns { filterable, .. }) => *filterable,
        }
    }

    /// Whether clients may see the field.
    pub fn displays(&self, field: &str) -> bool {
        let list = self.displayed_attributes.as_ref();
        list.is_none_or(|list| displays(list, field))
    }

    /// Whether nodes display a field of exactly this name to the merge alone.
    pub fn hides_exactly(&self, name: &str) -> bool {
        let has = |list: &[String]| list.iter().any(|field| field == name);
        has(&self.also_displayed) && !self.displayed_attributes.as_deref().is_some_and(has)
    }

    /// Whether nodes show the field to the merge.
    pub fn nodes_display(&self, field: &str) -> bool {
        self.displays(field) || displays(&self.also_displayed, field)
    }

    /// The order for this facet: its own entry, else that of `*`, else alphabetical.
    pub fn facet_order(&self, field: &str) -> FacetOrder {
        let order_of = |name: &str| {
            self.sort_facet_values_by
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, order)| *order)
        };
        order_of(field)
            .or_else(|| order_of("*"))
            .unwrap_or(FacetOrder::Alpha)
    }
}

impl Default for SearchSettings {
    fn default() -> SearchSettings {
        let rules = [
            "words",
            "typo",
            "proximity",
            "attribute",
            "sort",
            "exactness",
        ];
        SearchSettings {
            ranking_rules: rules.map(String::from).to_vec(),
            distinct_attribute: None,
            displayed_attributes: None,
            also_displayed: Vec::new(),
            filterable_attributes_empty: true,
            filterable_attributes: Vec::new(),
            max_values_per_facet: 100,
            node_values_per_facet: 100,
            sort_facet_values_by: vec![("*".into(), FacetOrder::Alpha)],
            max_total_hits: 1000,
            words: WordSettings::default(),
            foreign_keys: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_says_whether_a_field_is_filterable() {
        let patterns = |patterns: &[&str], filterable| FilterableRule::Patterns {
            patterns: patterns.iter().map(|pattern| pattern.to_string()).collect(),
            filterable,
        };
        let settings = SearchSettings {
            filterable_attributes: vec![
                FilterableRule::Field("a.b".into()),
                patterns(&["no_*", "*_no"], false),
                patterns(&["*mid*", "x", "no_way"], true),
            ],
            ..SearchSettings::default()
        };
        for (field, filterable) in [
            ("a.b", true),
            ("a.b.c", true),
            ("a.bc", false),
            ("a", false),
            ("no_way", false),
            ("x_no", false),
            ("x", true),
            ("x.y", false),
            ("amidst", true),
        ] {
            assert_eq!(settings.is_filterable(field), filterable, "{field}");
        }
    }

    #[test]
    fn a_facet_without_its_own_order_takes_that_of_the_star() {
        let mut settings = SearchSettings::default();
        assert_eq!(settings.facet_order("genre"), FacetOrder::Alpha);
        settings.sort_facet_values_by = vec![
            ("genre".into(), FacetOrder::Alpha),
            ("*".into(), FacetOrder::Count),
        ];
        assert_eq!(settings.facet_order("genre"), FacetOrder::Alpha);
        assert_eq!(settings.facet_order("year"), FacetOrder::Count);
        settings.sort_facet_values_by.clear();
        assert_eq!(settings.facet_order("year"), FacetOrder::Alpha);
    }
}
