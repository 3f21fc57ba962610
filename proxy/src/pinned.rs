//! Asking only the shards that can answer: those of the ids that a filter, or a list of ids, pins.

use miroir_merge::id_text;
use miroir_router::{shard_of, Index, Reach, Shard};
use serde_json::Value;

/// The shards that can hold what passes the filter; `None`: all of them.
///
/// Where nothing can pass one shard is named all the same: its node still judges the request.
pub fn by_filter(index: &Index, filter: Option<&Value>) -> Option<Vec<Shard>> {
    named(index, reach(index, filter?))
}

/// The same for a list of ids (`null` and a missing list are none) and a filter at once.
pub fn by_ids(index: &Index, ids: Option<&[Value]>, filter: Option<&Value>) -> Option<Vec<Shard>> {
    let by_filter = filter.map_or(Reach::All, |filter| reach(index, filter));
    let by_ids = ids.map_or(Reach::All, |ids| {
        // What is no id is refused by whichever node gets it.
        ids.iter()
            .map(|id| shard_of(text(id).as_bytes(), index.layout.shards))
            .collect()
    });
    named(index, by_ids.and(by_filter))
}

fn named(index: &Index, reach: Reach) -> Option<Vec<Shard>> {
    match reach {
        Reach::All => None,
        Reach::Only(shards) if shards.is_empty() => Some(vec![Shard(0)]),
        Reach::Only(shards) if shards.len() == usize::from(index.layout.shards) => None,
        Reach::Only(shards) => Some(shards.to_vec()),
    }
}

/// A filter is an expression, or an array of what must all hold: expressions, and arrays of which one must.
fn reach(index: &Index, filter: &Value) -> Reach {
    let Some(ids) = &index.ids else {
        return Reach::All;
    };
    let expression = |filter: &Value| match filter {
        // An empty expression is left out by the nodes: alone in an array of alternatives it is none of them.
        Value::String(text) if !text.trim().is_empty() => ids.reach(text, index.layout.shards),
        _ => Reach::All,
    };
    let Value::Array(all) = filter else {
        return expression(filter);
    };
    let one_of = |item: &Value| match item {
        Value::Array(any) => any
            .iter()
            .map(expression)
            .reduce(Reach::or)
            .unwrap_or(Reach::All),
        item => expression(item),
    };
    all.iter().map(one_of).fold(Reach::All, Reach::and)
}

fn text(id: &Value) -> String {
    id_text(id).unwrap_or_else(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use miroir_router::{Ids, Layout, LayoutNode, LayoutSpec};
    use serde_json::json;
    use std::sync::Arc;

    fn index() -> Index {
        let nodes = vec![LayoutNode {
            id: "a".into(),
            group: 0,
            weight: 1,
            zone: None,
        }];
        let spec = LayoutSpec {
            shards: 64,
            replication_factor: 1,
            replica_groups: 1,
            nodes,
        };
        Index {
            uid: "x".into(),
            node_uid: "x".into(),
            primary_key: Some("id".into()),
            ids: Some(Ids {
                primary_key: "id".into(),
                upper_case: false,
            }),
            visible: true,
            layout: Arc::new(Layout::plan(&spec, None).unwrap()),
            settings: Arc::default(),
            settings_version: 0,
            changes: Default::default(),
        }
    }

    fn of(keys: &[&str]) -> Option<Vec<Shard>> {
        let mut shards: Vec<Shard> = keys
            .iter()
            .map(|key| shard_of(key.as_bytes(), 64))
            .collect();
        shards.sort_unstable();
        shards.dedup();
        Some(shards)
    }

    #[test]
    fn an_array_is_all_of_any() {
        let index = index();
        let pinned = |filter: Value| by_filter(&index, Some(&filter));
        assert_eq!(pinned(json!("id = 5")), of(&["5"]));
        assert_eq!(pinned(json!(["id IN [5, 6]", "a = 1"])), of(&["5", "6"]));
        assert_eq!(pinned(json!([["id = 5", "id = 6"], []])), of(&["5", "6"]));
        assert_eq!(pinned(json!(["id IN [5, 6]", ["id = 5"]])), of(&["5"]));
        assert_eq!(pinned(json!([["id = 5", "a = 1"]])), None);
        assert_eq!(pinned(json!([["id = 5", " "]])), None);
        assert_eq!(pinned(json!([])), None);
        assert_eq!(pinned(json!(null)), None);
        assert_eq!(pinned(json!(["id = 5", "id IN []"])), Some(vec![Shard(0)]));
        assert_eq!(by_filter(&index, None), None);
    }

    #[test]
    fn ids_and_a_filter_must_both_hold() {
        let index = index();
        let ids = [json!(5), json!("6")];
        let filter = json!("id = 6");
        assert_eq!(by_ids(&index, Some(&ids), None), of(&["5", "6"]));
        assert_eq!(by_ids(&index, Some(&ids), Some(&filter)), of(&["6"]));
        assert_eq!(by_ids(&index, None, Some(&filter)), of(&["6"]));
        assert_eq!(by_ids(&index, Some(&[]), None), Some(vec![Shard(0)]));
        assert_eq!(by_ids(&index, None, None), None);
        let keyless = Index { ids: None, ..index };
        assert_eq!(by_ids(&keyless, None, Some(&filter)), None);
    }
}
