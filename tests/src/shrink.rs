//! Cutting a failing case down to what makes it fail.
//!
//! Plain data and greed: leave something out, keep the smaller case while it still fails, stop when nothing more can go or the patience
//! is used up. Each try at documents or settings costs a new index on every deployment, so the question comes first (which can be
//! asked of the index that is there), then the big cuts.

use serde_json::{Map, Value};

use crate::ask::{Ask, Route};

/// One corpus, its settings and the one request that fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub documents: Vec<Value>,
    pub settings: Map<String, Value>,
    /// Documents of the second index, where there is one.
    pub others: Vec<Value>,
    pub ask: Ask,
}

/// The smallest question found that still fails on the same documents.
pub fn shrink_ask(case: Case, mut tries: usize, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let mut best = case;
    loop {
        let before = best.clone();
        for make in [
            without_query,
            without_parameter,
            without_ask_element,
            without_word,
        ] {
            best = greedily(best, make, &mut tries, &mut fails);
        }
        if best == before || tries == 0 {
            return best;
        }
    }
}

/// Applies every cut that `make` knows, keeping those after which the case still fails.
fn greedily(
    mut best: Case,
    make: fn(&Case, usize) -> Option<Case>,
    tries: &mut usize,
    fails: &mut impl FnMut(&Case) -> bool,
) -> Case {
    let mut nth = 0;
    while let Some(smaller) = make(&best, nth).filter(|_| *tries > 0) {
        *tries -= 1;
        if fails(&smaller) {
            best = smaller;
        } else {
            nth += 1;
        }
    }
    best
}

/// The smallest case found that still fails, after at most `tries` questions to `fails`.
pub fn shrink(case: Case, mut tries: usize, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let mut best = case;
    let mut chunk = best.documents.len() / 2;
    loop {
        let before = best.clone();
        // documents, in chunks that get smaller
        while chunk >= 1 && tries > 0 {
            let mut at = 0;
            while at < best.documents.len() && tries > 0 {
                let mut smaller = best.clone();
                smaller
                    .documents
                    .drain(at..(at + chunk).min(best.documents.len()));
                tries -= 1;
                if !smaller.documents.is_empty() && fails(&smaller) {
                    best = smaller;
                } else {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
        for make in [
            without_setting,
            without_query,
            without_parameter,
            without_element,
            without_word,
            without_field,
        ] {
            best = greedily(best, make, &mut tries, &mut fails);
        }
        if best == before || tries == 0 {
            return best;
        }
        chunk = 1;
    }
}

/// The case as a scenario file, ready to be played.
pub fn as_scenario(case: &Case, name: &str) -> String {
    let mut text = format!("scenarios:\n  - name: {name}\n    steps:\n");
    let settings = Value::Object(case.settings.clone());
    for (index, documents) in [("{index}", &case.documents), ("{index2}", &case.others)] {
        if documents.is_empty() {
            continue;
        }
        let lines: Vec<String> = documents
            .iter()
            .map(|d| format!("          - {d}"))
            .collect();
        text += &format!(
            "      - request: PATCH /indexes/{index}/settings\n        json: {settings}\n        wait: true\n      \
             - request: POST /indexes/{index}/documents?primaryKey=id\n        json:\n{}\n        wait: true\n",
            lines.join("\n"),
        );
    }
    text + &match case.ask.get_target() {
        Some(target) => format!("      - request: GET {target}\n"),
        None => format!(
            "      - request: POST {}\n        json: {}\n",
            case.ask.path(),
            case.ask.body
        ),
    }
}

/// The searches of a case.
fn searches(ask: &mut Ask) -> Vec<&mut Map<String, Value>> {
    if ask.body.get("queries").is_none() {
        return ask.body.as_object_mut().into_iter().collect();
    }
    let queries = ask.body["queries"].as_array_mut();
    queries
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
        .collect()
}

fn without_setting(case: &Case, nth: usize) -> Option<Case> {
    let name = case.settings.keys().nth(nth)?.clone();
    let mut smaller = case.clone();
    smaller.settings.shift_remove(&name);
    Some(smaller)
}

/// Leaves a query of a multi-search out; the last one becomes a plain search, unless it is federated.
fn without_query(case: &Case, nth: usize) -> Option<Case> {
    let queries = case.ask.body.get("queries")?.as_array()?;
    let mut smaller = case.clone();
    match queries.as_slice() {
        [only] if nth == 0 && !case.ask.is_federated() && only["indexUid"] == "{index}" => {
            let mut body = only.clone();
            body.as_object_mut()?.shift_remove("indexUid");
            smaller.ask = Ask::search(body);
        }
        several if nth < several.len() && several.len() > 1 => {
            let mut fewer = several.to_vec();
            fewer.remove(nth);
            smaller.ask.body["queries"] = fewer.into();
        }
        _ => return None,
    }
    Some(smaller)
}

fn without_parameter(case: &Case, mut nth: usize) -> Option<Case> {
    let mut smaller = case.clone();
    let needed = |route: Route, name: &str| match route {
        Route::MultiSearch => name == "indexUid",
        Route::FacetSearch => name == "facetName",
        Route::Similar => name == "id" || name == "embedder",
        Route::Search | Route::Documents => false,
    };
    let route = smaller.ask.route;
    let federation = smaller.ask.body.get_mut("federation");
    let federation = federation.and_then(Value::as_object_mut);
    if let Some(federation) = federation {
        if let Some(name) = federation.keys().nth(nth).cloned() {
            federation.shift_remove(&name);
            return Some(smaller);
        }
        nth -= federation.len();
    }
    for search in searches(&mut smaller.ask) {
        let names: Vec<String> = search
            .keys()
            .filter(|n| !needed(route, n))
            .cloned()
            .collect();
        if let Some(name) = names.get(nth) {
            search.shift_remove(name);
            return Some(smaller);
        }
        nth -= names.len();
    }
    None
}

/// Leaves one element of a list out, in the question or in the settings.
fn without_element(case: &Case, nth: usize) -> Option<Case> {
    let mut smaller = case.clone();
    let mut maps = searches(&mut smaller.ask);
    maps.push(&mut smaller.settings);
    drop_element(maps, nth).then_some(smaller)
}

fn without_ask_element(case: &Case, nth: usize) -> Option<Case> {
    let mut smaller = case.clone();
    drop_element(searches(&mut smaller.ask), nth).then_some(smaller)
}

fn drop_element(maps: Vec<&mut Map<String, Value>>, mut nth: usize) -> bool {
    for (name, list) in maps.into_iter().flat_map(|m| m.iter_mut()) {
        // a vector of another length is another question
        let Some(list) = list
            .as_array_mut()
            .filter(|l| l.len() > 1 && name != "vector")
        else {
            continue;
        };
        if nth < list.len() {
            list.remove(nth);
            return true;
        }
        nth -= list.len();
    }
    false
}

fn without_word(case: &Case, mut nth: usize) -> Option<Case> {
    let mut smaller = case.clone();
    for search in searches(&mut smaller.ask) {
        let Some(Value::String(q)) = search.get_mut("q") else {
            continue;
        };
        let words: Vec<&str> = q.split_inclusive(' ').collect();
        if nth < words.len() && words.len() > 1 {
            let kept: String = words
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != nth)
                .map(|(_, w)| *w)
                .collect();
            *q = kept;
            return Some(smaller);
        }
        nth = nth.saturating_sub(words.len());
    }
    None
}

/// Leaves one field out of all documents.
fn without_field(case: &Case, nth: usize) -> Option<Case> {
    let mut names: Vec<String> = case
        .documents
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|d| d.keys().cloned())
        .collect();
    names.sort();
    names.dedup();
    names.retain(|n| n != "id");
    let name = names.get(nth)?;
    let mut smaller = case.clone();
    smaller
        .documents
        .iter_mut()
        .filter_map(Value::as_object_mut)
        .for_each(|d| {
            d.shift_remove(name);
        });
    Some(smaller)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_case_shrinks_to_what_makes_it_fail() {
        let documents = (0..50).map(|i| json!({"id": i, "a": i, "b": 1})).collect();
        let settings = json!({"stopWords": ["x"], "sortableAttributes": ["a", "b"]})
            .as_object()
            .cloned()
            .unwrap_or_default();
        let ask = Ask::new(
            Route::MultiSearch,
            json!({"queries": [{"indexUid": "{index}", "q": "one two three", "limit": 3}, {"indexUid": "{index}", "q": "four"}]}),
        );
        let culprit = |case: &Case| {
            let has = |id: i32| {
                case.documents
                    .iter()
                    .any(|d| d["id"] == id && d.get("a").is_some())
            };
            has(7)
                && has(31)
                && case.settings.contains_key("sortableAttributes")
                && case.ask.body.to_string().contains("two")
        };
        let small = shrink(
            Case {
                documents,
                settings,
                others: Vec::new(),
                ask,
            },
            500,
            culprit,
        );
        assert_eq!(
            small.documents,
            [json!({"id": 7, "a": 7}), json!({"id": 31, "a": 31})]
        );
        assert_eq!(
            Value::Object(small.settings.clone()),
            json!({"sortableAttributes": ["b"]})
        );
        assert_eq!(small.ask, Ask::search(json!({"q": "two "})));
    }
}
