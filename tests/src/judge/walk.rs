//! Walking through all pages of a search.

use std::collections::HashMap;

use serde_json::{json, Map, Value};

use super::check::{content, with, ALL};
use super::Found;
use crate::agree::Search;
use crate::ask::{Ask, Route};
use crate::http::Target;

/// What came of a walk.
#[derive(Debug)]
pub enum Walk {
    /// The search is one whose pages are not parts of one list on any node either, or is refused.
    None,
    /// The pages are the whole list, without gaps or repeats, whatever ties.
    Joined,
    /// They are, but for the order of what ties: other copies answered for some of the pages.
    Disturbed,
    Torn(Found),
}

/// Walks a cluster through all pages of a search. A late or hedged answer comes from another copy, which moves documents inside ties
/// (docs/exactness.md, "Ties"): where a walk that is repeated does not join, `node` is asked what ties.
pub fn walk(
    index: &str,
    settings: &Map<String, Value>,
    ask: &Ask,
    node: &Target,
    cluster: &Target,
) -> Walk {
    let alone = [
        "hybrid",
        "distinct",
        "rankingScoreThreshold",
        "page",
        "hitsPerPage",
    ];
    let is_list = ask.route == Route::Search && alone.iter().all(|name| ask.body[*name].is_null());
    if !is_list || settings.contains_key("distinctAttribute") {
        return Walk::None;
    }
    let mut walked = Walk::None;
    for _ in 0..WALKS_MAX {
        let Ok((whole, joined)) = walk_once(index, ask, cluster) else {
            return Walk::None;
        };
        if whole == joined {
            return Walk::Joined;
        }
        if let Some(rank) = not_tied(index, ask, node, &whole, &joined) {
            walked = Walk::Torn(torn(&whole, &joined, rank));
        } else if matches!(walked, Walk::None) {
            walked = Walk::Disturbed;
        }
    }
    walked
}

/// How far a walk goes, and in which steps; a multiple, so that both end alike.
const WALKED: usize = 98;
const PAGE: usize = 7;
/// A walk that does not join is repeated so many times.
const WALKS_MAX: usize = 3;

/// The list asked for as a whole, and by pages.
fn walk_once(index: &str, ask: &Ask, cluster: &Target) -> Result<(Vec<Value>, Vec<Value>), String> {
    let page = |offset: usize, limit: usize| {
        let mut ask = ask.clone();
        ask.body["offset"] = offset.into();
        ask.body["limit"] = limit.into();
        let answer = cluster.call_when_whole(&ask.call(index))?;
        let hits = answer.body["hits"].as_array().cloned();
        hits.ok_or_else(|| format!("{} {}", answer.status, answer.body))
    };
    let whole = page(0, WALKED)?;
    let mut joined = Vec::new();
    while joined.len() < whole.len() {
        let more = page(joined.len(), PAGE)?;
        if more.is_empty() {
            break;
        }
        joined.extend(more);
    }
    Ok((whole, joined))
}

/// The first rank at which two lists show documents that do not tie on the node.
fn not_tied(
    index: &str,
    ask: &Ask,
    node: &Target,
    whole: &[Value],
    joined: &[Value],
) -> Option<usize> {
    let detailed = with(
        &ask.body,
        json!({"limit": ALL, "showRankingScoreDetails": true}),
    );
    let call = Search::post(index, &Value::Object(detailed)).call();
    let answer = node.call(&call).map(|answer| answer.body);
    let listed = answer.unwrap_or_default()["hits"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ties: HashMap<String, String> = listed
        .iter()
        .map(|hit| (content(hit), hit["_rankingScoreDetails"].to_string()))
        .collect();
    let tie = |hit: &Value| ties.get(&content(hit));
    let pairs = whole.iter().zip(joined);
    let mut ranks = pairs.map(|(a, b)| a == b || tie(a) == tie(b));
    match ranks.position(|alike| !alike) {
        None if whole.len() != joined.len() => Some(whole.len().min(joined.len())),
        found => found,
    }
}

fn torn(whole: &[Value], joined: &[Value], rank: usize) -> Found {
    let about = |list: &[Value]| {
        let hits = list.iter().skip(rank.saturating_sub(1)).take(4);
        Value::from_iter(hits.cloned())
    };
    Found {
        kind: "pages".into(),
        lines: vec![
            format!("{} hits as a whole, {} by pages", whole.len(), joined.len()),
            format!("about rank {rank} of the whole: {}", about(whole)),
            format!("about rank {rank} of the pages: {}", about(joined)),
        ],
    }
}
