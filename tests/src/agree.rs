//! Whether what a cluster answers is what one node answers.
//!
//! Everything must be equal, field by field, with one exception that no cluster can avoid: documents that tie under all ranking rules
//! come in the order of insertion on one node, and a cluster does not know it. So a list of hits is also accepted when it is an order
//! that one node *could* have answered: the hit at rank `r` must be one of those that tie with the node's own hit at rank `r`. What ties
//! is asked from the node itself, by the same search without paging and with `showRankingScoreDetails`: equal details are a tie.
//! Hits are compared by their whole content, so this needs no document id and also covers highlights, scores and hidden fields.

use std::collections::HashMap;

use serde_json::{json, Value};

use crate::compare::{canonical, diff, remove, shorten, Difference};
use crate::http::{Answer, Call, Target};
use crate::volatile::{settle, TaskNames};

/// What may differ between two answers.
#[derive(Clone, Debug, Default)]
pub struct Leniency {
    /// Paths left out on both sides, see [`remove`].
    pub ignore: Vec<String>,
    /// Hits tie that are equal under the ranking rules before this one.
    pub ties_from: Option<&'static str>,
    /// Hits that tie must stand in the same order, too.
    pub in_order: bool,
}

/// Compares two answers to the same `call`. `node` is the one whose answer is `left`: it is asked what ties.
pub fn agree(
    call: &Call,
    left: &Answer,
    right: &Answer,
    leniency: &Leniency,
    names: [&mut TaskNames; 2],
    node: &Target,
) -> Result<Vec<Difference>, String> {
    let [left_names, right_names] = names;
    let mut a = json!({"status": left.status, "body": settle(&left.body, left_names)});
    let mut b = json!({"status": right.status, "body": settle(&right.body, right_names)});
    for pattern in &leniency.ignore {
        remove(&mut a["body"], pattern);
        remove(&mut b["body"], pattern);
    }
    let mut plain = diff(&a, &b);
    plain.extend(facet_orders(&a["body"], &b["body"]));
    if plain.is_empty() || leniency.in_order || left.status != 200 || right.status != 200 {
        return Ok(plain);
    }
    let (mut a, mut b) = (a["body"].take(), b["body"].take());
    match List::of(call) {
        List::None => Ok(plain),
        List::Hits(search) => agree_on_hits(&search, &mut a, &mut b, leniency, node),
        List::Federated(search) => agree_on_federated(&search, &mut a, &mut b, leniency, node),
        List::Documents(search) => agree_on_documents(&search, &mut a, &mut b, leniency, node),
        List::Several(searches) => {
            let mut found = Vec::new();
            for (i, search) in searches.iter().enumerate() {
                let (Some(x), Some(y)) = (a["results"].get_mut(i), b["results"].get_mut(i)) else {
                    return Ok(plain);
                };
                let relative = |p: &String| p.strip_prefix("results.*.").unwrap_or(p).to_string();
                let under = Leniency {
                    ignore: leniency.ignore.iter().map(relative).collect(),
                    ..*leniency
                };
                found.extend(agree_on_hits(search, x, y, &under, node)?);
                (*x, *y) = (Value::Null, Value::Null);
            }
            found.extend(diff(&a, &b));
            Ok(found)
        }
    }
}

/// A search in either form, so that its paging can be changed.
#[derive(Clone, Debug)]
pub struct Search {
    path: String,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Query(Vec<(String, String)>),
    Body(Value),
}

impl Search {
    /// A search by POST.
    pub fn post(index: &str, body: &Value) -> Search {
        Search {
            path: format!("/indexes/{index}/search"),
            form: Form::Body(body.clone()),
        }
    }

    /// The request.
    pub fn call(&self) -> Call {
        match &self.form {
            Form::Body(body) => Call::json("POST", self.path.clone(), body),
            Form::Query(pairs) => {
                let query = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(pairs)
                    .finish();
                Call::new("GET", format!("{}?{query}", self.path))
            }
        }
    }

    fn member(&self, name: &str) -> Value {
        match &self.form {
            Form::Body(body) => body[name].clone(),
            Form::Query(_) => Value::Null,
        }
    }

    fn has(&self, name: &str) -> bool {
        match &self.form {
            Form::Body(body) => body.get(name).is_some_and(|v| !v.is_null()),
            Form::Query(pairs) => pairs.iter().any(|(n, _)| n == name),
        }
    }

    fn is_on(&self, name: &str) -> bool {
        match &self.form {
            Form::Body(body) => body.get(name) == Some(&Value::Bool(true)),
            Form::Query(pairs) => pairs.iter().any(|(n, v)| n == name && v == "true"),
        }
    }

    fn body(&self) -> Option<&Value> {
        match &self.form {
            Form::Body(body) => Some(body),
            Form::Query(_) => None,
        }
    }

    /// The part of a hybrid search's list that one node decided on: it mixes what is wanted up to the end of the page, no more.
    fn hybrid_window(&self, end: usize) -> Option<Search> {
        let hybrid = self.body()?.get("hybrid")?.as_object()?;
        let ratio = hybrid
            .get("semanticRatio")
            .map_or(0.5, |ratio| ratio.as_f64().unwrap_or(0.5));
        let mixes = self.has("q") && ratio > 0.0 && ratio < 1.0;
        mixes.then(|| self.clone().unpaged().with("limit", json!(end)))
    }

    /// The same hybrid search by words alone (0) or nearly by meaning alone: with 1 it would not show which words match.
    fn of_ratio(&self, ratio: f64) -> Search {
        let mut search = self.unpaged();
        if let Form::Body(body) = &mut search.form {
            body["hybrid"]["semanticRatio"] = json!(ratio);
        }
        search
    }

    fn without(mut self, names: &[&str]) -> Search {
        match &mut self.form {
            Form::Body(Value::Object(map)) => map.retain(|n, _| !names.contains(&n.as_str())),
            Form::Body(_) => {}
            Form::Query(pairs) => pairs.retain(|(n, _)| !names.contains(&n.as_str())),
        }
        self
    }

    fn with(mut self, name: &str, value: Value) -> Search {
        match &mut self.form {
            Form::Body(Value::Object(map)) => {
                map.insert(name.to_string(), value);
            }
            Form::Body(_) => {}
            Form::Query(pairs) => pairs.push((name.to_string(), value.to_string())),
        }
        self
    }

    /// The same search from the first to the last hit.
    fn unpaged(&self) -> Search {
        self.clone()
            .without(&["offset", "limit", "page", "hitsPerPage"])
            .with("limit", json!(UNPAGED))
    }
}

/// More than any index here counts hits; `maxTotalHits` (1,000 by default) cuts it.
const UNPAGED: usize = 10_000;

/// Which list of an answer may come in another order.
enum List {
    None,
    Hits(Search),
    Several(Vec<Search>),
    /// Several searches with one list of hits.
    Federated(Search),
    /// Documents without a query: all of them tie but for `sort`.
    Documents(Search),
}

impl List {
    fn of(call: &Call) -> List {
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        let body = || {
            call.body
                .as_deref()
                .and_then(|b| serde_json::from_slice::<Value>(b).ok())
                .unwrap_or(json!({}))
        };
        let pairs = || {
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect()
        };
        let path = path.to_string();
        let method = call.method.as_str();
        if path == "/multi-search" && body()["federation"].is_object() {
            return List::Federated(Search {
                path,
                form: Form::Body(body()),
            });
        }
        if path == "/multi-search" {
            let queries = body()["queries"].as_array().cloned().unwrap_or_default();
            let search = |q: &Value| {
                let path = format!(
                    "/indexes/{}/search",
                    q["indexUid"].as_str().unwrap_or_default()
                );
                Search {
                    path,
                    form: Form::Body(q.clone()),
                }
                .without(&["indexUid"])
            };
            return List::Several(queries.iter().map(search).collect());
        }
        match (method, path.rsplit('/').next().unwrap_or_default()) {
            ("GET", "search" | "similar") => List::Hits(Search {
                path,
                form: Form::Query(pairs()),
            }),
            ("POST", "search" | "similar") => List::Hits(Search {
                path,
                form: Form::Body(body()),
            }),
            ("GET", "documents") => List::Documents(Search {
                path,
                form: Form::Query(pairs()),
            }),
            ("POST", "fetch") => List::Documents(Search {
                path,
                form: Form::Body(body()),
            }),
            _ => List::None,
        }
    }
}

/// Compares two answers whose list `name` may come in another order inside ties; what ties, `rank` asks when it must be known.
fn agree_on_list(
    name: &str,
    [a, b]: [&mut Value; 2],
    rank: impl FnOnce(&Value) -> Result<Ranking, String>,
) -> Result<Vec<Difference>, String> {
    let (list, other) = (a[name].take(), b[name].take());
    let mut found = diff(a, b);
    found.extend(facet_orders(a, b));
    if diff(&list, &other).is_empty() {
        return Ok(found);
    }
    let (Some(mine), Some(theirs)) = (list.as_array(), other.as_array()) else {
        found.extend(diff(&json!({ name: list }), &json!({ name: other })));
        return Ok(found);
    };
    if let Err(reason) = rank(a)?.allows(first_rank(a), mine.len(), theirs) {
        found.push(Difference {
            path: format!("{name} ({reason})"),
            left: Some(list),
            right: Some(other),
        });
    }
    Ok(found)
}

fn agree_on_hits(
    search: &Search,
    a: &mut Value,
    b: &mut Value,
    leniency: &Leniency,
    node: &Target,
) -> Result<Vec<Difference>, String> {
    agree_on_list("hits", [a, b], |a| {
        let wanted = a["limit"].as_u64().or(a["hitsPerPage"].as_u64());
        let end = first_rank(a) + wanted.unwrap_or(0) as usize;
        Ranking::ask(search, end, leniency, node)
    })
}

/// The rank of a page's first hit.
fn first_rank(answer: &Value) -> usize {
    let from = match (answer["page"].as_u64(), answer["hitsPerPage"].as_u64()) {
        (Some(page), Some(size)) => page.saturating_sub(1) * size,
        _ => answer["offset"].as_u64().unwrap_or(0),
    };
    from as usize
}

/// A federated search's hits: what ties there is told by the values that a node gives to a proxy.
fn agree_on_federated(
    search: &Search,
    a: &mut Value,
    b: &mut Value,
    leniency: &Leniency,
    node: &Target,
) -> Result<Vec<Difference>, String> {
    agree_on_list("hits", [a, b], |_| {
        let queries = search.member("queries");
        // What ties: hits of one query that are equal in the details. Which query ranks a document is never open.
        let position = |hit: &Value| hit["_federation"]["queriesPosition"].as_u64().unwrap_or(0);
        let key_of = |hit: &Value| format!("{} {}", position(hit), key(hit, leniency.ties_from));
        let mut ranking = Ranking::default();
        for hit in federated_hits(search, true, node)? {
            ranking.keys.push(key_of(&hit));
        }
        for hit in federated_hits(search, false, node)? {
            let query = &queries[position(&hit) as usize];
            let shows_details = query["showRankingScoreDetails"] == json!(true);
            let content = leniency.keep(&hit, shows_details);
            ranking.pools.entry(key_of(&hit)).or_default().push(content);
        }
        Ok(ranking)
    })
}

/// All hits of a federated search with their details. Any document of a group may stand for it where several tie, so what could stand
/// in the list is found without `distinct`.
fn federated_hits(search: &Search, distinct: bool, node: &Target) -> Result<Vec<Value>, String> {
    let mut all = search.clone();
    if let Form::Body(body) = &mut all.form {
        if let Some(federation) = body["federation"].as_object_mut() {
            let paging = ["offset", "page", "hitsPerPage"];
            federation
                .retain(|n, _| !paging.contains(&n.as_str()) && (distinct || n != "distinct"));
            federation.insert("limit".into(), json!(UNPAGED));
        }
        for query in body["queries"].as_array_mut().into_iter().flatten() {
            query["showRankingScoreDetails"] = json!(true);
            if let (Some(query), false) = (query.as_object_mut(), distinct) {
                query.remove("distinct");
            }
        }
    }
    let answer = ask(&all, node)?;
    Ok(answer["hits"].as_array().cloned().unwrap_or_default())
}

/// The orders of facet values, of one index or of several.
fn facet_orders(a: &Value, b: &Value) -> Vec<Difference> {
    let mut found = facet_order(&a["facetDistribution"], &b["facetDistribution"]);
    for (uid, mine) in a["facetsByIndex"].as_object().into_iter().flatten() {
        found.extend(facet_order(
            &mine["distribution"],
            &b["facetsByIndex"][uid]["distribution"],
        ));
    }
    found
}

/// Facet values come in an order that settings choose, which clients show as it stands. Ordered by count, values of equal count tie.
fn facet_order(a: &Value, b: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    for (name, mine) in a.as_object().into_iter().flatten() {
        let (Some(mine), Some(theirs)) = (mine.as_object(), b[name].as_object()) else {
            continue;
        };
        let counts = |of: &serde_json::Map<String, Value>| {
            of.values().map(Value::as_u64).collect::<Vec<_>>()
        };
        let by_count = counts(mine).is_sorted_by(|x, y| x >= y);
        let same = mine.keys().eq(theirs.keys()) || (by_count && counts(mine) == counts(theirs));
        if !same {
            let names = |of: &serde_json::Map<String, Value>| Some(of.keys().cloned().collect());
            found.push(Difference {
                path: format!("facetDistribution.{name} (order)"),
                left: names(mine),
                right: names(theirs),
            });
        }
    }
    found
}

fn agree_on_documents(
    search: &Search,
    a: &mut Value,
    b: &mut Value,
    leniency: &Leniency,
    node: &Target,
) -> Result<Vec<Difference>, String> {
    agree_on_list("results", [a, b], |_| {
        let all = search.unpaged();
        let mut ranking = Ranking::default();
        let results = |answer: Value| answer["results"].as_array().cloned().unwrap_or_default();
        let documents = results(ask(&all, node)?);
        let keys: Vec<String> = if search.has("sort") {
            let keyed = results(ask_as_proxy(&all, node)?);
            let values = |d: &Value| d["_federation"]["weightedScoreValues"].to_string();
            keyed.iter().map(values).collect()
        } else {
            vec![String::new(); documents.len()]
        };
        for (document, key) in documents.iter().zip(keys) {
            ranking.push(key, leniency.keep(document, true));
        }
        Ok(ranking)
    })
}

impl Leniency {
    /// A hit's content as it is compared.
    fn keep(&self, hit: &Value, with_details: bool) -> String {
        let mut answer = json!({ "hits": [hit], "results": [hit] });
        for pattern in &self.ignore {
            remove(&mut answer, pattern);
        }
        let mut hit = answer["hits"][0].take();
        if let (Value::Object(map), false) = (&mut hit, with_details) {
            map.remove("_rankingScoreDetails");
        }
        canonical(&hit)
    }
}

/// The whole order of one node's hits: what stands at each rank, and what else could.
#[derive(Debug, Default)]
pub struct Ranking {
    /// By rank: the ranking score details, as text.
    keys: Vec<String>,
    /// By details: the contents of all hits that have them.
    pools: HashMap<String, Vec<String>>,
}

impl Ranking {
    /// Asks `node` for all hits of a search whose page ends at rank `end`. Under `distinct` any document of a group may stand for it
    /// where several tie, so the pools come from the search without it (the index's own distinct attribute cannot be lifted: then
    /// the pools are the node's choice). What a hybrid search mixes depends on where its page ends, so there the ranks are asked up to
    /// that end, and the pools are all that words or meaning find.
    pub fn ask(
        search: &Search,
        end: usize,
        leniency: &Leniency,
        node: &Target,
    ) -> Result<Ranking, String> {
        let show_details = search.is_on("showRankingScoreDetails");
        let hits_of = |search: Search| {
            let detailed = search
                .without(&["showRankingScoreDetails"])
                .with("showRankingScoreDetails", json!(true));
            Ok::<_, String>(
                ask(&detailed, node)?["hits"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
            )
        };
        let window = search.hybrid_window(end);
        let hits = hits_of(window.clone().unwrap_or(search.unpaged()))?;
        let mut pooled = if search.has("distinct") {
            hits_of(search.unpaged().without(&["distinct"]))?
        } else {
            hits.clone()
        };
        if window.is_some() {
            let undistinct = |ratio| search.of_ratio(ratio).without(&["distinct"]);
            pooled = hits_of(undistinct(0.0))?;
            pooled.extend(hits_of(undistinct(0.999_999))?);
        }
        let key = |hit: &Value| key(hit, leniency.ties_from);
        let mut ranking = Ranking {
            keys: hits.iter().map(key).collect(),
            ..Ranking::default()
        };
        for hit in &pooled {
            let content = leniency.keep(hit, show_details);
            ranking.pools.entry(key(hit)).or_default().push(content);
        }
        // where the pools come from another search, a rule may say something else of a document
        for hit in &hits {
            let content = leniency.keep(hit, show_details);
            let pool = ranking.pools.entry(key(hit)).or_default();
            if !pool.contains(&content) {
                pool.push(content);
            }
        }
        Ok(ranking)
    }

    fn push(&mut self, key: String, content: String) {
        self.keys.push(key.clone());
        self.pools.entry(key).or_default().push(content);
    }

    /// Whether `hits` could stand from rank `from` on, where one node answered `count` of them: it may turn a list round.
    pub fn allows(&self, from: usize, count: usize, hits: &[Value]) -> Result<(), String> {
        if hits.len() != count {
            return Err(format!("{count} hits on one node, {} here", hits.len()));
        }
        let mut pools = self.pools.clone();
        for (i, hit) in hits.iter().enumerate() {
            let content = canonical(hit);
            let is_within = from < self.keys.len();
            let rank = if is_within {
                (from + i) % self.keys.len()
            } else {
                from + i
            };
            let pool = self
                .keys
                .get(rank)
                .and_then(|k| pools.get_mut(k))
                .ok_or(format!("nothing at rank {}", from + i))?;
            match pool.iter().position(|c| *c == content) {
                Some(at) => {
                    pool.swap_remove(at);
                }
                None => {
                    return Err(format!(
                        "rank {} does not tie with the node's hit: {}",
                        from + i,
                        shorten(&content)
                    ))
                }
            }
        }
        Ok(())
    }
}

/// The ranking score details as text, those before the rule `until` only.
fn key(hit: &Value, until: Option<&str>) -> String {
    let Some(details) = hit.get("_rankingScoreDetails").and_then(Value::as_object) else {
        return String::new();
    };
    let last = until
        .and_then(|rule| details.get(rule)?["order"].as_u64())
        .unwrap_or(u64::MAX);
    let counted = details
        .iter()
        .filter(|(_, rule)| rule["order"].as_u64() < Some(last));
    canonical(&Value::Object(
        counted.map(|(n, v)| (n.clone(), v.clone())).collect(),
    ))
}

fn ask(search: &Search, node: &Target) -> Result<Value, String> {
    judged(node, &search.call())
}

/// Asks as a proxy does, whom a node tells the values by which it sorts.
fn ask_as_proxy(search: &Search, node: &Target) -> Result<Value, String> {
    let mut call = search.call();
    call.headers
        .push(("Meili-Proxy-Search".into(), "true".into()));
    judged(node, &call)
}

fn judged(node: &Target, call: &Call) -> Result<Value, String> {
    let answer = node.call(call)?;
    match answer.status {
        200 => Ok(answer.body),
        status => Err(format!(
            "{} did not say what ties: {status} {}",
            node.name, answer.body
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facet_values_of_equal_count_tie() {
        let order = |a: Value, b: Value| facet_order(&json!({ "f": a }), &json!({ "f": b })).len();
        assert_eq!(
            order(
                json!({"x": 3, "y": 1, "z": 1}),
                json!({"x": 3, "z": 1, "y": 1})
            ),
            0
        );
        assert_eq!(order(json!({"x": 3, "y": 1}), json!({"y": 1, "x": 3})), 1);
        assert_eq!(order(json!({"a": 1, "b": 3}), json!({"b": 3, "a": 1})), 1);
    }

    #[test]
    fn only_ties_may_change_places() {
        let mut ranking = Ranking::default();
        for (key, id) in [("x", 1), ("x", 2), ("y", 3), ("y", 4)] {
            ranking.push(key.into(), canonical(&json!({ "id": id })));
        }
        let hits = |ids: &[i32]| ids.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>();
        assert!(ranking.allows(0, 4, &hits(&[2, 1, 4, 3])).is_ok());
        assert!(
            ranking.allows(1, 2, &hits(&[1, 4])).is_ok(),
            "a page may cut a tie anywhere"
        );
        assert!(ranking.allows(0, 4, &hits(&[3, 1, 2, 4])).is_err());
        assert!(
            ranking.allows(0, 2, &hits(&[1, 1])).is_err(),
            "nobody may come twice"
        );
        assert!(
            ranking.allows(0, 3, &hits(&[1, 2])).is_err(),
            "nobody may be missing"
        );
        assert!(
            ranking.allows(4, 1, &hits(&[1])).is_err(),
            "nobody may come after the last"
        );
    }
}
