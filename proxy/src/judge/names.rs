//! The names of indexes which stand in a request's body: nodes may call them otherwise than clients.

use bytes::Bytes;
use miroir_router::RoutingTable;
use serde_json::{Map, Value};

/// The names that were put into a body for those that the client wrote.
#[derive(Default)]
pub struct Names {
    /// The client's, the nodes'.
    pairs: Vec<(String, String)>,
}

impl Names {
    /// The body of a multi-search, or of what is rendered, in the nodes' words; as it is where no index has another name there, or where it is not
    /// understood.
    pub fn translate(table: &RoutingTable, body: &Bytes) -> (Bytes, Names) {
        let mut names = Names::default();
        let same = |body: &Bytes| (body.clone(), Names::default());
        let mut indexes = table.indexes.values();
        if indexes.all(|index| index.uid == index.node_uid) {
            return same(body);
        }
        let Ok(mut request) = serde_json::from_slice::<Value>(body) else {
            return same(body);
        };
        let queries = request.get_mut("queries").and_then(Value::as_array_mut);
        for query in queries.into_iter().flatten() {
            if let Some(Value::String(uid)) = query.get_mut("indexUid") {
                *uid = names.of_nodes(table, uid);
            }
        }
        for at in crate::render::NAMES {
            if let Some(Value::String(uid)) = request.pointer_mut(at) {
                *uid = names.of_nodes(table, uid);
            }
        }
        let facets = request.pointer_mut("/federation/facetsByIndex");
        if let Some(facets) = facets.and_then(Value::as_object_mut) {
            let named: Map<String, Value> = std::mem::take(facets)
                .into_iter()
                .map(|(uid, facets)| (names.of_nodes(table, &uid), facets))
                .collect();
            *facets = named;
        }
        (request.to_string().into(), names)
    }

    fn of_nodes(&mut self, table: &RoutingTable, uid: &str) -> String {
        let visible = table.indexes.get(uid).filter(|index| index.visible);
        let mut node_uid = visible.map_or(uid, |index| &index.node_uid).to_owned();
        if visible.is_none() {
            // What clients do not know must not be found under another index's name.
            while table
                .indexes
                .values()
                .any(|index| index.node_uid == node_uid)
            {
                node_uid.push('-');
            }
        }
        self.pairs.push((uid.to_owned(), node_uid.clone()));
        node_uid
    }

    /// A node's text in the client's words. Nodes put names between backticks.
    pub fn in_clients_words(&self, text: String) -> String {
        const INSIDE: &str = ".federation.facetsByIndex.";
        let name = |quoted: &str| {
            let (before, uid) = match quoted.strip_prefix(INSIDE) {
                Some(uid) => (INSIDE, uid),
                None => ("", quoted),
            };
            let pair = self.pairs.iter().find(|(_, node_uid)| node_uid == uid)?;
            Some(format!("{before}{}", pair.0))
        };
        if self.pairs.iter().all(|(uid, node_uid)| uid == node_uid) {
            return text;
        }
        let parts = text.split('`').enumerate();
        let parts: Vec<String> = parts
            .map(|(place, part)| match place % 2 {
                1 => name(part).unwrap_or_else(|| part.to_owned()),
                _ => part.to_owned(),
            })
            .collect();
        parts.join("`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miroir_router::{Index, Layout};
    use serde_json::json;
    use std::sync::Arc;

    fn table(names: &[(&str, &str)]) -> RoutingTable {
        let layout = Arc::new(Layout {
            version: 1,
            shards: 1,
            replication_factor: 1,
            replica_groups: 1,
            nodes: Vec::new(),
            copies: Vec::new(),
        });
        let index = |(uid, node_uid): &(&str, &str)| {
            let index = Index {
                uid: (*uid).to_owned(),
                node_uid: (*node_uid).to_owned(),
                primary_key: None,
                ids: None,
                visible: true,
                layout: layout.clone(),
                settings: Default::default(),
                settings_version: 0,
                changes: Default::default(),
            };
            (index.uid.clone(), Arc::new(index))
        };
        RoutingTable {
            epoch: 0,
            nodes: Vec::new(),
            indexes: names.iter().map(index).collect(),
            layout: layout.clone(),
            keys: Default::default(),
            search_rules: false,
        }
    }

    #[test]
    fn swapped_names_go_both_ways() {
        let table = table(&[("a", "b"), ("b", "a"), ("new", "old")]);
        let body = json!({"queries": [{"indexUid": "a"}, {"indexUid": "b"}, {"indexUid": "old"}, {"q": 1}],
                          "federation": {"facetsByIndex": {"a": ["x"], "new": null}}});
        let (sent, names) = Names::translate(&table, &Bytes::from(body.to_string()));
        let sent: Value = serde_json::from_slice(&sent).unwrap();
        assert_eq!(
            sent,
            json!({"queries": [{"indexUid": "b"}, {"indexUid": "a"}, {"indexUid": "old-"}, {"q": 1}],
                   "federation": {"facetsByIndex": {"b": ["x"], "old": null}}})
        );
        let text = "Inside `.federation.facetsByIndex.b`: index `a` orders a, but index `b` and `old-`; ``";
        assert_eq!(
            names.in_clients_words(text.to_owned()),
            "Inside `.federation.facetsByIndex.a`: index `b` orders a, but index `a` and `old`; ``"
        );
    }

    #[test]
    fn equal_names_leave_a_body_as_it_is() {
        let body = Bytes::from_static(b"{ \"queries\" : 1 }");
        let (sent, _) = Names::translate(&table(&[("a", "a")]), &body);
        assert_eq!(sent, body);
    }
}
