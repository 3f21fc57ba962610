use std::cmp::Ordering;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{json, Map, Value};

use super::json::{damaged, members, parse, string, value};
use miroir_merge::{
    merge_documents, merge_facet_search, merge_search, scan_documents, strip_document,
    DocumentsPage, FacetOrder, FacetSearch, Paging, Spec,
};

fn limited(limit: usize) -> DocumentsPage<'static> {
    DocumentsPage {
        limit,
        ..DocumentsPage::default()
    }
}

fn spec(offset: usize, limit: usize) -> Spec<'static> {
    Spec {
        facet_order: &|_| FacetOrder::Count,
        query: "q",
        ..Spec::of(Paging::Offset { offset, limit })
    }
}

/// What a hit's details are made of: few different values, so that ties are common.
#[derive(Clone, Debug)]
struct Rank {
    words: u64,
    typos: u64,
    sort: Option<Result<i32, String>>,
    proximity: u8,
    exact: u8,
}

fn rank() -> impl Strategy<Value = Rank> {
    let sort = prop::option::of(prop_oneof![
        (-2..3).prop_map(Ok),
        "[a-cé]{0,2}".prop_map(Err)
    ]);
    (1..3u64, 0..2u64, sort, 1..4u8, 0..4u8).prop_map(|(words, typos, sort, proximity, exact)| {
        Rank {
            words,
            typos,
            sort,
            proximity,
            exact,
        }
    })
}

impl Rank {
    /// As a node writes it; `new` for the rules of newer versions.
    fn details(&self, ascending: bool, new: bool) -> Value {
        let sort = match &self.sort {
            None => Value::Null,
            Some(Ok(number)) => json!(number),
            Some(Err(text)) => json!(text),
        };
        let rule = if ascending { "p:asc" } else { "p:desc" };
        let mut details = json!({
            "exactness": {"order": 9, "matchType": "noExactMatch", "matchingWords": self.exact, "maxMatchingWords": 9},
            "words": {"order": 0, "matchingWords": self.words, "maxMatchingWords": 9, "score": 0.5},
            "typo": {"order": 1, "typoCount": self.typos, "maxTypoCount": 4, "score": 0.5},
            rule: {"order": 2, "value": sort},
            "proximity": {"order": 3, "score": 1.0 / f64::from(self.proximity)},
        });
        match (self.exact, new) {
            (3, _) => {
                details["exactness"] = json!({"order": 9, "matchType": "exactMatch", "score": 1.0})
            }
            (_, true) => details["wordPosition"] = json!({"order": 5, "score": 1.0}),
            (_, false) => {
                details["attribute"] = json!({"order": 5, "attributeRankingOrderScore": 1.0, "queryWordDistanceScore": 0.5})
            }
        }
        details
    }

    fn reference(&self, other: &Self, ascending: bool) -> Ordering {
        let place = |rank: &Rank| match &rank.sort {
            Some(Ok(_)) => 0,
            Some(Err(_)) => 1,
            None => 2,
        };
        let sort = place(self).cmp(&place(other)).then_with(|| {
            let order = self.sort.cmp(&other.sort);
            if ascending {
                order
            } else {
                order.reverse()
            }
        });
        other
            .words
            .cmp(&self.words)
            .then(self.typos.cmp(&other.typos))
            .then(sort)
            .then(self.proximity.cmp(&other.proximity))
    }
}

/// Hits dealt out to nodes, each node's list in order.
fn deal(
    ranks: &[(Rank, usize)],
    nodes: usize,
    ascending: bool,
    new: bool,
) -> Vec<Vec<(Rank, Value)>> {
    let mut lists = vec![Vec::new(); nodes];
    for (id, (rank, node)) in ranks.iter().enumerate() {
        let hit = json!({"_miroir_shard": "⸀⸁", "id": id, "_rankingScoreDetails": rank.details(ascending, new)});
        lists[node % nodes].push((rank.clone(), hit));
    }
    lists
}

fn answers(lists: &[Vec<(Rank, Value)>]) -> Vec<Bytes> {
    lists
        .iter()
        .map(|list| {
            let hits: Vec<&Value> = list.iter().map(|(_, hit)| hit).collect();
            serde_json::to_vec(
                &json!({"hits": hits, "query": "q", "estimatedTotalHits": list.len()}),
            )
            .unwrap()
            .into()
        })
        .collect()
}

fn ids(merged: &Value) -> Vec<u64> {
    merged["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["id"].as_u64().unwrap())
        .collect()
}

fn run(answers: &[Bytes], spec: &Spec) -> Value {
    let merged = merge_search(answers, spec).unwrap();
    assert_eq!(
        merged.len(),
        merged.segments().iter().map(Bytes::len).sum::<usize>()
    );
    parse(&merged.to_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn shards_of_a_list_merge_to_the_list(
        ranks in prop::collection::vec((rank(), 0..5usize), 0..40), nodes in 1..6usize, ascending: bool, new: bool,
        page in 1..9usize, by_key: bool,
    ) {
        let spec = |offset, limit| Spec { primary_key: by_key.then_some("id"), ..spec(offset, limit) };
        let exact = |rank: &Rank| (u8::from(rank.exact != 3), std::cmp::Reverse(rank.exact));
        let compare = |a: &Rank, b: &Rank| {
            // A missing attribute rule (exactMatch here) puts exactness in its place.
            a.reference(b, ascending).then_with(|| {
                (a.exact == 3).cmp(&(b.exact == 3)).then_with(|| exact(a).cmp(&exact(b)))
            })
        };
        // `wordPosition` is a score and comes before exactness by kind, `attribute` too.
        let mut lists = deal(&ranks, nodes, ascending, new);
        for list in &mut lists {
            list.sort_by(|(a, _), (b, _)| compare(a, b));
        }
        let mut expected: Vec<(Rank, Value)> = lists.concat();
        // Without a key ties go by node.
        if by_key {
            expected.sort_by_key(|(_, hit)| hit["id"].as_u64());
        }
        expected.sort_by(|(a, _), (b, _)| compare(a, b));
        let expected: Vec<u64> = expected.iter().map(|(_, hit)| hit["id"].as_u64().unwrap()).collect();

        let answers = answers(&lists);
        let whole = run(&answers, &spec(0, 1000));
        prop_assert_eq!(ids(&whole), expected.clone());
        prop_assert_eq!(whole["estimatedTotalHits"].as_u64(), Some(expected.len() as u64));
        prop_assert!(whole["hits"].as_array().unwrap().iter().all(|hit| hit.as_object().unwrap().len() == 1));

        let mut joined = Vec::new();
        for offset in (0..expected.len()).step_by(page) {
            joined.extend(ids(&run(&answers, &spec(offset, page))));
        }
        prop_assert_eq!(joined, expected.clone());
        let mut joined = Vec::new();
        for number in 1..=expected.len().div_ceil(page) {
            let paging = Paging::Pages { page: number, hits_per_page: page };
            joined.extend(ids(&run(&answers, &Spec { paging, ..spec(0, 0) })));
        }
        prop_assert_eq!(joined, expected);
    }

    #[test]
    fn stripping_is_removal(document in hit()) {
        let answer = Bytes::from(format!("{{\"hits\":[{document}], \"totalHits\":1}}"));
        let strip: &[&str] = &["x", "a.b", "c"];
        let spec = Spec { ranked: false, strip_fields: strip, strip_formatted: strip, ..spec(0, 1) };
        let merged = run(&[answer], &spec);
        prop_assert_eq!(&merged["hits"][0], &removed(parse(document.as_bytes()), strip));

        let mut bare = parse(document.as_bytes());
        bare.as_object_mut().unwrap().shift_remove("_miroir_shard");
        prop_assert_eq!(parse(&strip_document(&Bytes::from(document.clone())).unwrap().to_bytes()), bare.clone());
        let page = Bytes::from(format!("{{\"results\":[{document},{document}],\"total\":2}}"));
        let merged = parse(&merge_documents(&[page.clone(), page], &limited(4)).unwrap().to_bytes());
        prop_assert_eq!(merged["results"].as_array().unwrap(), &vec![bare; 4]);
    }

    /// Written as nodes write them, so that little of them is read.
    #[test]
    fn hits_lose_their_shard_alone(
        hits in prop::collection::vec((document(), any::<prop::sample::Index>(), any::<bool>()), 0..6), skip in 0..3usize,
    ) {
        let mut bare: Vec<Value> = hits.iter().map(|(document, ..)| Value::Object(document.clone())).collect();
        bare.drain(..skip.min(bare.len()));
        let expected = json!(bare).to_string();
        for (detailed, ranked) in [(false, false), (true, false), (true, true)] {
            let sent: Vec<Value> = hits.iter().map(|(document, at, scored)| {
                let mut hit = document.clone();
                hit.shift_insert(at.index(document.len() + 1), "_miroir_shard".into(), "⸀⸁".into());
                if *scored {
                    hit.insert("_rankingScore".into(), json!(0.5));
                }
                if detailed {
                    hit.insert("_rankingScoreDetails".into(), json!({"words": {"order": 0, "matchingWords": 1, "maxMatchingWords": 1}}));
                }
                Value::Object(hit)
            }).collect();
            let answer = Bytes::from(json!({"hits": sent, "query": "q", "estimatedTotalHits": 9}).to_string());
            let spec = Spec { ranked, ..spec(skip, 9) };
            let merged = merge_search(std::slice::from_ref(&answer), &spec).unwrap().to_bytes();
            let text = std::str::from_utf8(&merged).unwrap();
            prop_assert!(text.starts_with(&format!("{{\"hits\":{expected},\"query\"")), "{} instead of {}", text, expected);
        }
    }

    #[test]
    fn foreign_bytes_never_panic(body in damaged(members(string(), value(), 0..5)), answer in damaged(answer_text())) {
        for bytes in [Bytes::from(body), Bytes::from(answer)] {
            let spec = Spec { distinct: Some("a.b"), strip_fields: &["a.b", "c"], strip_formatted: &["a.b", "c"], ..spec(0, 10) };
            let _ = merge_search(&[bytes.clone(), bytes.clone()], &spec);
            let _ = merge_search(std::slice::from_ref(&bytes), &Spec { ranked: false, ..spec });
            let _ = scan_documents(&bytes);
            let _ = merge_documents(std::slice::from_ref(&bytes), &limited(1));
            let _ = merge_facet_search(std::slice::from_ref(&bytes), &FacetSearch {
                query: None,
                order: FacetOrder::Alpha,
                max_values: 9,
            });
            let _ = strip_document(&bytes);
        }
    }
}

/// Documents whose names and texts look like what is searched for in their hits' text.
fn document() -> impl Strategy<Value = Map<String, Value>> {
    let shard = "_miroir_shard";
    let text = prop::sample::select(vec![
        "x",
        "{",
        "},{",
        ",",
        "a,\"_miroir_shard\":\"b\",",
        "\"_miroir_shard\":",
        "_miroir_shard",
        "],\"query\":",
        ",\"_rankingScore\":1",
        "\\",
        "é",
    ]);
    let leaf = prop_oneof![
        text.prop_map(|text| json!(text)),
        (0..2000).prop_map(|number| json!(number)),
        Just(json!([])),
        Just(json!({})),
        Just(Value::Null),
    ];
    let value = leaf.prop_recursive(3, 12, 3, move |inner| {
        let name = prop::sample::select(vec![shard, "a", "_rankingScoreDetails", "b\""]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..3).prop_map(|members| {
                Value::Object(members.into_iter().map(|(k, v)| (k.into(), v)).collect())
            }),
        ]
    });
    let name = prop::sample::select(vec![
        "id",
        "a",
        "b\"",
        "\"_miroir_shard",
        "x_miroir_shard",
        ",",
        "{",
        "_formattes",
    ]);
    prop::collection::vec((name, value), 0..5)
        .prop_map(|members| members.into_iter().map(|(k, v)| (k.into(), v)).collect())
}

/// Objects whose names are those that are stripped, at all levels; no name twice, because serde_json's map keeps one of them.
fn hit() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "x",
        "a",
        "b",
        "c",
        "a.b",
        "_miroir_shard",
        "_formatted",
        "_matchesPosition",
        "y",
    ]);
    let leaf = prop_oneof![
        Just("1".to_owned()),
        string(),
        Just("{}".to_owned()),
        Just("[]".to_owned())
    ];
    let object = |inner: BoxedStrategy<String>| {
        prop::collection::btree_map(name.clone(), inner, 0..7).prop_shuffle_members()
    };
    let nested = object(leaf.clone().boxed()).boxed();
    let nested = prop_oneof![
        leaf.clone(),
        nested.clone(),
        prop::collection::vec(prop_oneof![leaf, nested], 1..4)
            .prop_map(|items| format!("[{}]", items.join(" , ")))
    ]
    .boxed();
    object(prop_oneof![nested.clone(), object(nested)].boxed())
}

trait Members: Strategy<Value = std::collections::BTreeMap<&'static str, String>> + Sized {
    /// The members in any order, with white space here and there.
    fn prop_shuffle_members(self) -> impl Strategy<Value = String> {
        self.prop_map(|members| members.into_iter().collect::<Vec<_>>())
            .prop_shuffle()
            .prop_map(|members| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(name, value)| {
                        format!("\"{name}\":{}{value}", " ".repeat(value.len() % 2))
                    })
                    .collect();
                format!("{{{}}}", members.join(","))
            })
    }
}

impl<S: Strategy<Value = std::collections::BTreeMap<&'static str, String>>> Members for S {}

fn removed(hit: Value, paths: &[&str]) -> Value {
    let Value::Object(mut hit) = hit else {
        panic!("a hit is an object")
    };
    for name in ["_formatted", "_matchesPosition"] {
        let Some(Value::Object(derived)) = hit.get(name) else {
            continue;
        };
        let mut left = remove_paths(derived, paths);
        left.shift_remove("_miroir_shard");
        if name == "_matchesPosition" {
            // Positions are given for every displayed field, whatever was retrieved.
            left = derived.clone();
            left.shift_remove("_miroir_shard");
        }
        if left.is_empty() && !derived.is_empty() && name == "_formatted" {
            hit.shift_remove(name);
        } else {
            hit.insert(name.into(), Value::Object(left));
        }
    }
    let kept: Map<String, Value> = hit
        .iter()
        .filter(|(k, _)| ["_formatted", "_matchesPosition"].contains(&k.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let mut left = remove_paths(&hit, paths);
    left.shift_remove("_miroir_shard");
    left.extend(kept);
    Value::Object(left)
}

fn remove_paths(object: &Map<String, Value>, paths: &[&str]) -> Map<String, Value> {
    let mut left = Map::new();
    for (key, value) in object {
        if paths.contains(&key.as_str()) {
            continue;
        }
        let rests: Vec<&str> = paths
            .iter()
            .filter_map(|path| path.strip_prefix(key.as_str())?.strip_prefix('.'))
            .collect();
        let value = if rests.is_empty() {
            Some(value.clone())
        } else {
            remove_in(value, &rests)
        };
        if let Some(value) = value {
            left.insert(key.clone(), value);
        }
    }
    left
}

/// `None` when nothing is left of something.
fn remove_in(value: &Value, paths: &[&str]) -> Option<Value> {
    match value {
        Value::Object(object) => {
            let left = remove_paths(object, paths);
            (object.is_empty() || !left.is_empty()).then_some(Value::Object(left))
        }
        Value::Array(items) => {
            let left: Vec<Value> = items
                .iter()
                .filter_map(|item| remove_in(item, paths))
                .collect();
            (items.is_empty() || !left.is_empty()).then_some(Value::Array(left))
        }
        other => Some(other.clone()),
    }
}

/// A search answer with everything in it.
fn answer_text() -> impl Strategy<Value = String> {
    (rank(), hit()).prop_map(|(rank, hit)| {
        let details = rank.details(true, false);
        let comma = if hit == "{}" { "" } else { "," };
        let hit = format!("{}{comma}\"_rankingScoreDetails\":{details}}}", &hit[..hit.len() - 1]);
        json!({"estimatedTotalHits": 3, "facetDistribution": {"a": {"1": 2, "x": 1}}, "facetStats": {"a": {"min": 1.0, "max": 1.0}}})
            .to_string()
            .replacen('{', &format!("{{\"hits\":[{hit}],"), 1)
    })
}
