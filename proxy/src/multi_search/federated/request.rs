//! A federated search as the client wrote it, and the part of it that nodes are sent beside the queries.

use std::collections::BTreeMap;

use miroir_api::is_index_uid;
use miroir_merge::Paging;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::search::{not_null, paging, SearchBody};

/// How the queries' hits become one list: the member `federation` of the body.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Federation {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    offset: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "not_null")]
    limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits_per_page: Option<usize>,
    /// Index -> facets; `null` stands for none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) facets_by_index: BTreeMap<String, Option<Vec<String>>>,
    #[serde(skip_serializing, deserialize_with = "object")]
    pub(super) merge_facets: Option<Merging>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) distinct: Option<String>,
    #[serde(skip_serializing, deserialize_with = "not_null")]
    pub(super) show_performance_details: Option<bool>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Merging {
    #[serde(default)]
    pub(super) max_values_per_facet: Option<usize>,
}

/// Reads an object or null. Derived readers also take an array for a struct, member by member, which no node does.
pub fn object<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    member: D,
) -> Result<Option<T>, D::Error> {
    match Option::<Value>::deserialize(member)? {
        None => Ok(None),
        Some(object @ Value::Object(_)) => serde_json::from_value(object).map_err(D::Error::custom),
        Some(_) => Err(D::Error::custom("not an object")),
    }
}

/// The member `federationOptions` of a query.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Options {
    pub(super) weight: f64,
    pub(super) remote: Option<String>,
    pub(super) query_position: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            weight: 1.0,
            remote: None,
            query_position: None,
        }
    }
}

/// A query of the request that fits what this program knows.
pub(super) struct Query {
    pub(super) uid: String,
    pub(super) body: SearchBody,
    pub(super) options: Options,
}

impl Query {
    pub(super) fn read(mut query: Map<String, Value>) -> Option<Self> {
        let uid = match query.remove("indexUid")? {
            Value::String(uid) if is_index_uid(&uid) => uid,
            _ => return None,
        };
        let options = match query.remove("federationOptions") {
            Some(options) => object(options).ok()?.unwrap_or_default(),
            None => Options::default(),
        };
        let body = serde_json::from_value(Value::Object(query)).ok()?;
        Some(Query { uid, body, options })
    }

    /// Whether it has nothing that belongs to the federation, or to a network.
    pub(super) fn is_federated(&self) -> bool {
        let body = &self.body;
        body.offset.is_none()
            && body.limit.is_none()
            && body.page.is_none()
            && body.hits_per_page.is_none()
            && body.facets.is_none()
            && body.show_performance_details.is_none()
            && self.options.weight >= 0.0
            && self.options.remote.is_none()
            && self.options.query_position.is_none()
    }
}

impl Federation {
    pub(super) fn paging(&self) -> Paging {
        paging(self.offset, self.limit, self.page, self.hits_per_page)
    }

    /// How many hits the page reaches to.
    pub(super) fn last_hit(&self) -> usize {
        match self.paging() {
            Paging::Offset { offset, limit } => offset.saturating_add(limit),
            Paging::Pages {
                page,
                hits_per_page,
            } => page.saturating_mul(hits_per_page),
        }
    }

    /// The same for the hits of one query, of which nothing is counted.
    pub(super) fn hits_only(&self) -> Federation {
        Federation {
            limit: Some(self.last_hit()),
            distinct: self.distinct.clone(),
            ..Federation::default()
        }
    }

    /// The same for totals and facets: for so many hits, which are not looked at. For no hits a node would find any words
    /// good enough.
    pub(super) fn counting(&self, hits: usize) -> Federation {
        let hits = Some(hits.max(1));
        let (limit, page, hits_per_page) = match self.paging() {
            Paging::Offset { .. } => (hits, None, None),
            Paging::Pages { .. } => (None, Some(1), hits),
        };
        Federation {
            limit,
            page,
            hits_per_page,
            ..self.unpaged()
        }
    }

    /// The same without its page.
    pub(super) fn unpaged(&self) -> Federation {
        Federation {
            facets_by_index: self.facets_by_index.clone(),
            distinct: self.distinct.clone(),
            ..Federation::default()
        }
    }

    /// The same for nodes: from the first hit as far as the page reaches.
    pub(super) fn reach(&self) -> Federation {
        let (limit, page, hits_per_page) = match self.paging() {
            Paging::Offset { offset, limit } => (Some(offset.saturating_add(limit)), None, None),
            Paging::Pages {
                page,
                hits_per_page,
            } => (
                None,
                Some(page.min(1)),
                Some(page.saturating_mul(hits_per_page)),
            ),
        };
        Federation {
            offset: None,
            limit,
            page,
            hits_per_page,
            merge_facets: None,
            ..self.clone()
        }
    }
}

/// Adds a member to an object's bytes.
pub(super) fn append(object: &mut Vec<u8>, name: &str, value: &str) {
    object.pop();
    if object.len() > 1 {
        object.push(b',');
    }
    object.extend_from_slice(format!("\"{name}\":{value}}}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_are_asked_from_the_first_hit_on() {
        let reach = |federation: Value| {
            let federation: Federation = serde_json::from_value(federation).unwrap();
            serde_json::to_value(federation.reach()).unwrap()
        };
        assert_eq!(reach(json!({})), json!({"limit": 20}));
        assert_eq!(reach(json!({"offset": 5, "limit": 3})), json!({"limit": 8}));
        assert_eq!(
            reach(json!({"page": 3, "limit": 3})),
            json!({"page": 1, "hitsPerPage": 60})
        );
        assert_eq!(
            reach(json!({"page": 0})),
            json!({"page": 0, "hitsPerPage": 0})
        );
        assert_eq!(
            reach(
                json!({"facetsByIndex": {"a": ["x"], "b": null}, "mergeFacets": {}, "distinct": "d"})
            ),
            json!({"limit": 20, "facetsByIndex": {"a": ["x"], "b": null}, "distinct": "d"})
        );
    }

    #[test]
    fn what_a_node_must_judge() {
        let read = |query: Value| match query {
            Value::Object(query) => Query::read(query).filter(Query::is_federated),
            _ => None,
        };
        let query =
            read(json!({"indexUid": "a", "q": "x", "federationOptions": {"weight": 0.5}})).unwrap();
        assert_eq!((query.uid.as_str(), query.options.weight), ("a", 0.5));
        assert_eq!(
            read(json!({"indexUid": "a", "federationOptions": null}))
                .unwrap()
                .options
                .weight,
            1.0
        );
        for (name, value) in [
            ("limit", json!(1)),
            ("offset", json!(1)),
            ("page", json!(1)),
            ("hitsPerPage", json!(1)),
            ("facets", json!([])),
            ("showPerformanceDetails", json!(false)),
            ("indexUid", json!("not valid!")),
            ("unknown", json!(1)),
            ("federationOptions", json!([0.5])),
            ("federationOptions", json!({"weight": null})),
            ("federationOptions", json!({"weight": -1})),
            ("federationOptions", json!({"remote": "x"})),
            ("federationOptions", json!({"queryPosition": 1})),
        ] {
            let mut query = json!({"indexUid": "a"});
            query[name] = value;
            assert!(read(query.clone()).is_none(), "{query}");
        }
        for federation in [
            json!({"limit": null}),
            json!({"facetsByIndex": null}),
            json!({"x": 1}),
            json!({"limit": -1}),
        ] {
            assert!(
                serde_json::from_value::<Federation>(federation.clone()).is_err(),
                "{federation}"
            );
        }
    }

    #[test]
    fn members_are_added_to_any_object() {
        for (object, expected) in [("{}", r#"{"a":1}"#), (r#"{"b":2}"#, r#"{"b":2,"a":1}"#)] {
            let mut bytes = object.as_bytes().to_vec();
            append(&mut bytes, "a", "1");
            assert_eq!(bytes, expected.as_bytes());
        }
    }
}
