//! Documents that a search rule pins to a place of the list.
//!
//! A node puts what it holds of them where the rule says, in its own list. Here they are taken out of the nodes' lists, so
//! that the rest is merged as always, and put into the whole list at their places (milli `search/mod.rs`,
//! `merge_positioned_hits_into_page`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use miroir_api::Error;
use miroir_merge::{merge_search, Merged, Paging, Spec};
use miroir_router::Index;

use super::raw::Object;

/// By place in the list, then by the nodes' order.
pub struct Pins(Vec<(u64, Object)>);

/// Rules call indexes as clients do, and nodes know only their own names. Error: 501 where these differ.
pub fn check_name(index: &Index) -> Result<(), Error> {
    if index.uid == index.node_uid {
        return Ok(());
    }
    Err(Error::not_implemented(
        "dynamic search rules in an index that was renamed or swapped",
    ))
}

/// Takes pinned hits out of the answers to one search, which are lists of nodes' bodies; `None`: there are none, and
/// nothing has changed. Hits tell it in their ranking details.
pub fn take(answers: &mut [Vec<Bytes>]) -> Option<Pins> {
    let mut pins: BTreeMap<u64, Vec<Object>> = BTreeMap::new();
    for body in answers.iter_mut().flatten() {
        const MARK: &[u8] = b"\"pin\"";
        if !body.windows(MARK.len()).any(|window| window == MARK) {
            continue;
        }
        let Ok(mut answer) = serde_json::from_slice::<Object>(body) else {
            continue;
        };
        let hits: Vec<Object> = answer.read("hits").unwrap_or_default();
        let mut others = Vec::with_capacity(hits.len());
        for hit in hits {
            match place(&hit) {
                Some(place) => pins.entry(place).or_default().push(hit),
                None => others.push(hit),
            }
        }
        answer.set("hits", &others);
        *body = answer.to_bytes().into();
    }
    let pins: Vec<_> = pins
        .into_iter()
        .flat_map(|(place, hits)| once(hits).into_iter().map(move |hit| (place, hit)))
        .collect();
    (!pins.is_empty()).then_some(Pins(pins))
}

/// Where a hit is pinned.
fn place(hit: &Object) -> Option<u64> {
    let details: Object = hit.read("_rankingScoreDetails")?;
    let pin: Object = details.read("pin")?;
    pin.read("position")
}

/// Both halves of a hybrid search pin a document.
fn once(mut hits: Vec<Object>) -> Vec<Object> {
    let mut seen = BTreeSet::new();
    hits.retain(|hit| seen.insert(hit.to_bytes()));
    hits
}

/// The paging by which the rest is to be merged: from the first hit to the end of the page.
pub fn from_start(paging: Paging) -> Paging {
    match paging {
        Paging::Offset { offset, limit } => Paging::Offset {
            offset: 0,
            limit: offset.saturating_add(limit),
        },
        Paging::Pages {
            page,
            hits_per_page,
        } => Paging::Pages {
            page: page.min(1),
            hits_per_page: page.saturating_mul(hits_per_page),
        },
    }
}

impl Pins {
    /// The client's page of the list with the pinned hits at their places; `rest` was merged [`from_start`], `spec` is the
    /// search's own.
    pub fn put(self, rest: Merged, spec: &Spec) -> Result<Merged, Error> {
        let unreadable = |error: serde_json::Error| Error::internal(format!("hits: {error}"));
        let mut answer: Object = serde_json::from_slice(&rest.to_bytes()).map_err(unreadable)?;
        let mut pins = Vec::with_capacity(self.0.len());
        for (place, hit) in self.0 {
            pins.push((place, shown(hit, spec)?));
        }
        let (offset, limit) = match spec.paging {
            Paging::Offset { offset, limit } => {
                answer.set("offset", &offset);
                answer.set("limit", &limit);
                (offset, limit)
            }
            Paging::Pages {
                page,
                hits_per_page,
            } => {
                answer.set("page", &page);
                answer.set("hitsPerPage", &hits_per_page);
                let total = answer.read("totalHits").unwrap_or(0_u64);
                let per_page = u64::try_from(hits_per_page).unwrap_or(u64::MAX);
                answer.set("totalPages", &total.div_ceil(per_page.max(1)));
                (
                    page.saturating_sub(1).saturating_mul(hits_per_page),
                    hits_per_page,
                )
            }
        };
        let rest: Vec<Object> = answer.read("hits").unwrap_or_default();
        let page: Vec<Object> = placed(pins, rest).skip(offset).take(limit).collect();
        answer.set("hits", &page);
        Ok(Merged::from(answer.to_bytes()))
    }
}

/// The hit as the client may see it, which the merge knows.
fn shown(mut hit: Object, spec: &Spec) -> Result<Object, Error> {
    // The merge knows no such rule.
    let details = hit.remove("_rankingScoreDetails");
    hit.set("_rankingScoreDetails", &Object::default());
    let mut alone: Object = serde_json::from_str(ONE_HIT).unwrap_or_default();
    alone.set("hits", &[hit]);
    let one = Spec {
        show_score: spec.show_score,
        show_details: spec.show_details,
        federated: spec.federated,
        strip_fields: spec.strip_fields,
        strip_formatted: spec.strip_formatted,
        ..Spec::of(Paging::Offset {
            offset: 0,
            limit: 1,
        })
    };
    let merged = merge_search(&[alone.to_bytes().into()], &one).map_err(super::merge_error)?;
    let merged: Object = serde_json::from_slice(&merged.to_bytes())
        .map_err(|error| Error::internal(format!("a pinned hit: {error}")))?;
    let mut hits: Vec<Object> = merged.read("hits").unwrap_or_default();
    let mut hit = hits.pop().unwrap_or_default();
    if let Some(details) = details.filter(|_| spec.show_details) {
        hit.set("_rankingScoreDetails", &details);
    }
    Ok(hit)
}

/// A node's answer for one hit.
const ONE_HIT: &str =
    r#"{"query":"","processingTimeMs":0,"limit":1,"offset":0,"estimatedTotalHits":1}"#;

/// Pins go where they are wanted; past the end of the rest they follow each other.
fn placed(pins: Vec<(u64, Object)>, rest: Vec<Object>) -> impl Iterator<Item = Object> {
    let mut pins = pins.into_iter().peekable();
    let mut rest = rest.into_iter();
    (0_u64..).map_while(move |at| {
        if pins.peek().is_some_and(|(place, _)| *place <= at) {
            return pins.next().map(|(_, hit)| hit);
        }
        rest.next().or_else(|| pins.next().map(|(_, hit)| hit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    fn node(hits: Value) -> Bytes {
        json!({ "hits": hits, "query": "q", "processingTimeMs": 1, "limit": 20, "offset": 0, "estimatedTotalHits": 3 })
            .to_string()
            .into()
    }

    fn pinned(id: u32, place: u32) -> Value {
        json!({ "id": id, "_miroir_shard": 1, "_rankingScoreDetails": { "pin": { "order": 0, "position": place } } })
    }

    fn found(id: u32, words: u32) -> Value {
        let details = json!({ "words": { "order": 0, "matchingWords": words, "maxMatchingWords": 9, "score": 0.5 } });
        json!({ "id": id, "_miroir_shard": 1, "_rankingScoreDetails": details })
    }

    fn page(offset: usize, limit: usize) -> Vec<u64> {
        let left = node(json!([found(1, 9), pinned(2, 1), found(3, 7)]));
        let right = node(json!([pinned(4, 0), found(5, 8), pinned(6, 50)]));
        let mut answers = vec![vec![left, right]];
        let pins = take(&mut answers).unwrap();
        let spec = Spec::of(Paging::Offset { offset, limit });
        let rest = Spec::of(from_start(spec.paging));
        let rest = merge_search(&answers[0], &rest).unwrap();
        let merged = pins.put(rest, &spec).unwrap();
        let merged: Value = serde_json::from_slice(&merged.to_bytes()).unwrap();
        assert_eq!(
            (&merged["offset"], &merged["limit"]),
            (&json!(offset), &json!(limit))
        );
        assert!(!merged.to_string().contains("_miroir_shard"));
        assert!(!merged.to_string().contains("_ranking"));
        let hits = merged["hits"].as_array().unwrap();
        hits.iter().map(|hit| hit["id"].as_u64().unwrap()).collect()
    }

    #[test]
    fn pins_stand_at_their_places_in_the_whole_list() {
        assert_eq!(page(0, 20), [4, 2, 1, 5, 3, 6]);
        assert_eq!(page(0, 3), [4, 2, 1]);
        assert_eq!(page(1, 2), [2, 1]);
        assert_eq!(page(4, 9), [3, 6]);
    }

    #[test]
    fn answers_without_pins_are_left_alone() {
        let body = node(json!([found(1, 9), { "id": "\"pin\"" }]));
        let mut answers = vec![vec![body.clone()]];
        assert!(take(&mut answers).is_none());
    }
}
