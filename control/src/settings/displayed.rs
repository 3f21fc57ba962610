//! What nodes display besides what the client lists: the primary key and the distinct attribute, by which hits of several nodes are
//! told apart, and the fields that hits are sorted by, whose values nodes hide in ranking details otherwise. A client's list stands first, then a marker, then what was added, so that a node's settings say which is which; the proxy
//! cuts what was added out of every answer.

use std::collections::HashSet;

use miroir_api::ALSO_DISPLAYED;
use miroir_router::{displays, SearchSettings};
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

/// The client's own `displayedAttributes`, and what merging needs whatever these hide.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Displayed {
    /// `None`: everything.
    list: Option<Vec<String>>,
    distinct: Option<String>,
    /// Fields of custom ranking rules.
    #[serde(default)]
    ranking: Vec<String>,
    #[serde(default)]
    sortable: Vec<String>,
}

impl Displayed {
    pub(crate) fn of(settings: &SearchSettings) -> Self {
        Displayed {
            list: settings.displayed_attributes.clone(),
            distinct: settings.distinct_attribute.clone(),
            ranking: sorted_by(&settings.ranking_rules),
            // Not kept there; what nodes display already stays.
            sortable: settings.also_displayed.clone(),
        }
    }

    /// Takes in a change of the settings, and returns the list for nodes where they get another one with it than the client's. A
    /// change in which something is not of the right type is left for nodes to refuse.
    pub(super) fn change(
        &mut self,
        settings: &Map<String, Value>,
        primary_key: Option<&str>,
    ) -> Option<Value> {
        let mut after = self.clone();
        let list = settings.get("displayedAttributes");
        match list {
            Some(Value::Null) => after.list = None,
            Some(list) => {
                let list = names(list)?;
                after.list = Some(list).filter(|list| !list.iter().any(|name| name == "*"));
            }
            None => {}
        }
        let distinct = settings.get("distinctAttribute");
        match distinct {
            Some(Value::Null) => after.distinct = None,
            Some(Value::String(name)) => after.distinct = Some(name.clone()),
            Some(_) => return None,
            None => {}
        }
        let lists = ["rankingRules", "sortableAttributes"].map(|key| settings.get(key));
        let [ranking, sortable] = lists;
        if let Some(rules) = ranking {
            after.ranking = sorted_by(&names_or_none(rules)?);
        }
        if let Some(fields) = sortable {
            after.sortable = names_or_none(fields)?;
        }
        *self = after;
        list.or(distinct).or(ranking).or(sortable)?;
        self.for_nodes(primary_key)
    }

    /// The list for nodes; `None` where they display everything, or nothing besides the client's list.
    pub(crate) fn for_nodes(&self, primary_key: Option<&str>) -> Option<Value> {
        let list = self.list.as_ref()?;
        let wanted = [primary_key, self.distinct.as_deref()];
        let hidden = |name: &&str| !displays(list, name);
        let mut added: Vec<&str> = wanted.into_iter().flatten().filter(hidden).collect();
        // By values nodes go by the exact name (milli `sort.rs`, `must_redact`).
        let sorts = self.ranking.iter().chain(&self.sortable);
        let unlisted = |name: &&String| !list.contains(name) && !name.starts_with("_geo");
        added.extend(sorts.filter(unlisted).map(String::as_str));
        let mut seen = HashSet::new();
        added.retain(|name| seen.insert(*name));
        if added.is_empty() {
            return None;
        }
        let listed = list.iter().map(String::as_str);
        let all: Vec<&str> = listed.chain([ALSO_DISPLAYED]).chain(added).collect();
        Some(json!(all))
    }
}

/// Takes what was added out of a node's list.
pub(crate) fn for_client(list: &mut Value) {
    if let Value::Array(list) = list {
        if let Some(marker) = list.iter().position(|name| name == ALSO_DISPLAYED) {
            list.truncate(marker);
        }
    }
}

/// What was added to a node's list.
pub(super) fn added(list: &Value) -> Vec<String> {
    let names = names(list).unwrap_or_default();
    let added = names.into_iter().skip_while(|name| name != ALSO_DISPLAYED);
    added.skip(1).collect()
}

/// The fields of custom ranking rules, `field:asc` and `field:desc`.
fn sorted_by(rules: &[String]) -> Vec<String> {
    let custom = rules.iter().filter_map(|rule| rule.rsplit_once(':'));
    custom.map(|(field, _)| field.to_owned()).collect()
}

/// The names of a list that may be reset; `None`: it is no such list.
fn names_or_none(list: &Value) -> Option<Vec<String>> {
    match list {
        Value::Null => Some(Vec::new()),
        list => names(list),
    }
}

fn names(list: &Value) -> Option<Vec<String>> {
    let names = list.as_array()?.iter();
    names.map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_displayed_behind_a_marker() {
        for (settings, key, sent) in [
            (json!({}), Some("id"), None),
            (json!({"displayedAttributes": ["*"]}), Some("id"), None),
            (json!({"displayedAttributes": null}), Some("id"), None),
            (
                json!({"displayedAttributes": ["id", "a"]}),
                Some("id"),
                None,
            ),
            (json!({"displayedAttributes": ["a"]}), None, None),
            (
                json!({"displayedAttributes": ["a"], "distinctAttribute": "a.b"}),
                None,
                None,
            ),
            (
                json!({"displayedAttributes": [], "distinctAttribute": "id"}),
                Some("id"),
                Some(json!(["_miroir_also", "id"])),
            ),
            (
                json!({"displayedAttributes": ["a"], "distinctAttribute": "b"}),
                Some("id"),
                Some(json!(["a", "_miroir_also", "id", "b"])),
            ),
            (
                json!({"displayedAttributes": ["a", "c"], "distinctAttribute": "b", "rankingRules": ["sort", "a.b:asc", "b:desc", "c:asc"], "sortableAttributes": ["id", "_geo", "d"]}),
                Some("id"),
                Some(json!(["a", "c", "_miroir_also", "id", "b", "a.b", "d"])),
            ),
        ] {
            let changed = Displayed::default().change(settings.as_object().unwrap(), key);
            assert_eq!(changed, sent, "{settings}");
            if let Some(mut list) = sent {
                assert!(!added(&list).is_empty());
                for_client(&mut list);
                assert_eq!(list, settings["displayedAttributes"]);
            }
        }
    }

    #[test]
    fn a_change_of_a_wrong_type_is_none() {
        let mut displayed = Displayed {
            list: Some(vec!["a".into()]),
            distinct: Some("b".into()),
            ..Displayed::default()
        };
        let before = displayed.clone();
        let wrong = json!({"displayedAttributes": [1], "distinctAttribute": ["x"]});
        assert_eq!(
            displayed.change(wrong.as_object().unwrap(), Some("id")),
            None
        );
        assert_eq!(displayed, before);
    }
}
