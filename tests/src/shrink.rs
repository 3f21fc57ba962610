//! Cutting a failing case down to what makes it fail.
//!
//! Plain data and greed: leave something out, keep the smaller case while it still fails, stop when nothing more can go or the patience
//! is used up. Each try costs a new index on every deployment, so the big cuts come first.

use serde_json::{Map, Value};

/// One corpus, its settings and the one request that fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub documents: Vec<Value>,
    pub settings: Map<String, Value>,
    /// The body of a search, or of a multi-search where it has `queries`.
    pub ask: Value,
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
            let mut nth = 0;
            while let Some(smaller) = make(&best, nth) {
                if tries == 0 {
                    return best;
                }
                tries -= 1;
                if fails(&smaller) {
                    best = smaller;
                } else {
                    nth += 1;
                }
            }
        }
        if best == before || tries == 0 {
            return best;
        }
        chunk = 1;
    }
}

/// The case as a scenario file, ready to be played.
pub fn as_scenario(case: &Case, name: &str) -> String {
    let line = |v: &Value| v.to_string();
    let documents: Vec<String> = case
        .documents
        .iter()
        .map(|d| format!("          - {}", line(d)))
        .collect();
    let mut ask = case.ask.clone();
    let path = match ask.get_mut("queries").and_then(Value::as_array_mut) {
        Some(queries) => {
            queries
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|q| {
                    q.insert("indexUid".into(), "{index}".into());
                });
            "/multi-search"
        }
        None => "/indexes/{index}/search",
    };
    format!(
        "scenarios:\n  - name: {name}\n    steps:\n      - request: PATCH /indexes/{{index}}/settings\n        json: {}\n        wait: true\n      \
         - request: POST /indexes/{{index}}/documents?primaryKey=id\n        json:\n{}\n        wait: true\n      - request: POST {path}\n        \
         json: {}\n",
        line(&Value::Object(case.settings.clone())),
        documents.join("\n"),
        line(&ask),
    )
}

/// The searches of a case.
fn searches(ask: &mut Value) -> Vec<&mut Map<String, Value>> {
    if ask.get("queries").is_none() {
        return ask.as_object_mut().into_iter().collect();
    }
    let queries = ask["queries"].as_array_mut();
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

/// Leaves a query of a multi-search out; the last one becomes a plain search.
fn without_query(case: &Case, nth: usize) -> Option<Case> {
    let queries = case.ask.get("queries")?.as_array()?;
    let mut smaller = case.clone();
    match queries.as_slice() {
        [only] if nth == 0 => smaller.ask = only.clone(),
        several if nth < several.len() && several.len() > 1 => {
            let mut fewer = several.to_vec();
            fewer.remove(nth);
            smaller.ask["queries"] = fewer.into();
        }
        _ => return None,
    }
    Some(smaller)
}

fn without_parameter(case: &Case, mut nth: usize) -> Option<Case> {
    let mut smaller = case.clone();
    for search in searches(&mut smaller.ask) {
        if let Some(name) = search.keys().nth(nth).cloned() {
            search.shift_remove(&name);
            return Some(smaller);
        }
        nth -= search.len();
    }
    None
}

/// Leaves one element of a list out, in the search or in the settings.
fn without_element(case: &Case, mut nth: usize) -> Option<Case> {
    let mut smaller = case.clone();
    let mut maps = searches(&mut smaller.ask);
    maps.push(&mut smaller.settings);
    for list in maps
        .into_iter()
        .flat_map(|m| m.values_mut())
        .filter_map(Value::as_array_mut)
        .filter(|l| l.len() > 1)
    {
        if nth < list.len() {
            list.remove(nth);
            return Some(smaller);
        }
        nth -= list.len();
    }
    None
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
        let ask = json!({"queries": [{"q": "one two three", "limit": 3}, {"q": "four"}]});
        let culprit = |case: &Case| {
            let has = |id: i32| {
                case.documents
                    .iter()
                    .any(|d| d["id"] == id && d.get("a").is_some())
            };
            has(7)
                && has(31)
                && case.settings.contains_key("sortableAttributes")
                && case.ask.to_string().contains("two")
        };
        let small = shrink(
            Case {
                documents,
                settings,
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
        assert_eq!(small.ask, json!({"q": "two "}));
    }
}
