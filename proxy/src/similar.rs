//! `GET` and `POST /indexes/{uid}/similar`: the documents near a given one.
//!
//! A node finds them from the vectors that it stored for the document, so only the document's own shard can be asked as the
//! client asks. That shard also says whether the request is right, and what the vectors are. All other shards are then
//! asked by a search for those vectors, which finds the same neighbours by the same measure.
//!
//! With several vectors for one document a node compares first with first, second with second and so on; a search compares
//! with all. That is the one difference that remains. Ranking rules that sort take part in a search: behind all words they only
//! order what is equally near, and are cut out of the details. A distinct attribute, which is nothing to `/similar`, is put out of
//! force. A rule that sorts before all words would put the nearest anywhere in a search's list: there the answer is 501.
//!
//! A search ends at `maxTotalHits`, `/similar` does not. Nodes before 1.34 are asked in the federated form, which does not end there
//! either; for newer ones the answer to a page that reaches further is 501 where some node has more.

use bytes::Bytes;
use miroir_api::{is_index_uid, Error};
use miroir_auth::Access;
use miroir_merge::{count_found, id_text, merge_similar, Paging, Similar, Spec};
use miroir_net::{Request, Response};
use miroir_router::{
    rewrite_filter, shard_of, told_of_filter, Index, ReadTarget, RoutingTable, SearchSettings,
    Shard,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{to_raw_value, RawValue};
use serde_json::{json, Value};

use crate::core::{json_object, visible_index, App};
use crate::scatter::{Ask, Leg, Wanted};
use crate::search::{
    bodies, check_filter, degraded, filter_parameter, list_parameter, merge_error, not_null,
    respond, shown_key, with_shards, Hybrid, Needed, PlannedSearch, Ratio, SearchBody,
    DEFAULT_LIMIT, INDEX_HITS_MAX_SINCE,
};
use crate::stages::{understands, Stages};

/// Body of `POST /indexes/{uid}/similar` (MEILISEARCH B.9), and of what the document's own shard is asked.
#[derive(Deserialize, Serialize, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    id: Value,
    embedder: String,
    #[serde(default, deserialize_with = "not_null")]
    offset: Option<usize>,
    #[serde(default, deserialize_with = "not_null")]
    limit: Option<usize>,
    #[serde(default)]
    filter: Option<Value>,
    #[serde(default)]
    attributes_to_retrieve: Option<Vec<String>>,
    #[serde(default)]
    retrieve_vectors: bool,
    #[serde(default)]
    show_ranking_score: bool,
    #[serde(default)]
    show_ranking_score_details: bool,
    #[serde(default, skip_serializing, deserialize_with = "not_null")]
    show_performance_details: Option<bool>,
    #[serde(default)]
    ranking_score_threshold: Option<f64>,
}

pub async fn handle(
    app: &App,
    table: &RoutingTable,
    access: &Access,
    request: &Request,
    uid: &str,
) -> Result<Response, Error> {
    let stages = Stages::begin();
    let body = if request.method.as_str() == "GET" {
        from_query(request.query())
    } else {
        json_object(request)
    };
    let fits = |body: &Body| {
        is_index_uid(uid)
            && understands(table, body.show_performance_details)
            && body
                .ranking_score_threshold
                .is_none_or(|least| (0.0..=1.0).contains(&least))
    };
    let asked = body
        .filter(fits)
        .and_then(|body| Some((id_text(&body.id)?, body)));
    let Some((id, mut body)) = asked else {
        return Err(app
            .judged_refusal(table, request, "a parameter of this request")
            .await);
    };
    let index = visible_index(table, uid)?;
    let filter = body.filter.clone().unwrap_or_default();
    access.restrict(uid, &mut body.filter);
    check_filter(body.filter.as_ref(), "request")?;
    let mut search = Search::new(app, table, index, id, body);
    search.demanded = access.demanded(uid).cloned();
    let answered = search.answer(stages).await;
    // Nodes were asked by another filter, and one without the document cannot be asked by the client's.
    answered.map_err(|error| Error {
        message: told_of_filter(&error.message, &filter),
        ..error
    })
}

struct Search<'a> {
    app: &'a App,
    table: &'a RoutingTable,
    index: &'a Index,
    id: String,
    /// The shard that holds the document, and the others.
    own: [Shard; 1],
    others: Vec<Shard>,
    /// As the client asked, with the filter as nodes want it.
    body: Body,
    /// What a tenant token demands of documents: of the one that others are to be similar to as well.
    demanded: Option<Value>,
}

impl<'a> Search<'a> {
    fn new(
        app: &'a App,
        table: &'a RoutingTable,
        index: &'a Index,
        id: String,
        mut body: Body,
    ) -> Self {
        if let Some(filter) = &mut body.filter {
            rewrite_filter(filter);
        }
        let own = shard_of(id.as_bytes(), index.layout.shards);
        let all = (0..index.layout.shards).map(Shard);
        Search {
            app,
            table,
            index,
            own: [own],
            others: all.filter(|shard| *shard != own).collect(),
            id,
            body,
            demanded: None,
        }
    }

    async fn answer(&self, mut stages: Stages) -> Result<Response, Error> {
        stages.planned();
        let settings = &self.index.settings;
        let (shown, needed) = self.shown();
        let (near, vectors) = self.ask_own_shard(&shown).await?;
        if !self.others.is_empty() && !finds_by_meaning(settings) {
            return Err(Error::not_implemented(
                "similar documents where the index has a ranking rule that sorts before all words",
            ));
        }
        let several = vectors.len() > 1;
        let planned = self.plan(vectors, shown, &needed)?;
        let (found, missing) = self.ask_others(&planned).await?;
        stages.asked();
        if self.reaches_past_max() && !self.federated_reaches_further() {
            let max = settings.max_total_hits as u64;
            for answer in found.iter().flatten() {
                if count_found(std::slice::from_ref(answer)).map_err(merge_error)? >= max {
                    return Err(Error::not_implemented(
                        "similar documents past `maxTotalHits`, on nodes of Meilisearch 1.34 or newer",
                    ));
                }
            }
        }
        let mut candidates = count_found(&near).map_err(merge_error)?;
        // Every search by a vector counts the same documents.
        if let Some(first) = found.first() {
            candidates = candidates.saturating_add(count_found(first).map_err(merge_error)?);
        }
        let answers: Vec<Bytes> = near.into_iter().chain(found.concat()).collect();
        let stripped = planned.first().map(|planned| &planned.strip_fields);
        let sorting = details_of_sorting_rules(settings);
        let stripped = stripped.into_iter().flatten().chain(&sorting);
        let strip: Vec<&str> = stripped.map(String::as_str).collect();
        let spec = Spec {
            max_total_hits: settings.max_total_hits,
            cap_totals: true,
            show_score: self.body.show_ranking_score,
            show_details: self.body.show_ranking_score_details,
            federated: self.reaches_past_max(),
            primary_key: shown_key(self.index),
            strip_fields: &strip,
            processing_time_ms: stages.elapsed_ms(),
            ..Spec::of(Paging::Offset {
                offset: self.body.offset.unwrap_or(0),
                limit: self.body.limit.unwrap_or(DEFAULT_LIMIT),
            })
        };
        let similar = Similar {
            id: &self.id,
            primary_key: spec.primary_key.filter(|_| several),
            ranking_score_threshold: self.body.ranking_score_threshold,
        };
        let merged = merge_similar(&answers, &similar, candidates, &spec).map_err(merge_error)?;
        let merged = stages.tell(merged, self.body.show_performance_details);
        Ok(respond(merged, missing))
    }

    /// Up to which neighbour the page reaches.
    fn reach(&self) -> usize {
        let limit = self.body.limit.unwrap_or(DEFAULT_LIMIT);
        self.body.offset.unwrap_or(0).saturating_add(limit)
    }

    /// Whether the page reaches further than a search does.
    fn reaches_past_max(&self) -> bool {
        self.reach() > self.index.settings.max_total_hits
    }

    fn federated_reaches_further(&self) -> bool {
        self.table.lowest_version() < INDEX_HITS_MAX_SINCE
    }

    /// The neighbours on the document's own shard, and its vectors. Errors: what the node says of the client's request.
    async fn ask_own_shard(
        &self,
        shown: &SearchBody,
    ) -> Result<(Vec<Bytes>, Vec<Box<RawValue>>), Error> {
        let similar = self.index.node_path("/similar");
        let document = self.index.node_path("/documents/fetch");
        let mut wanted = json!({ "ids": [self.id], "retrieveVectors": true });
        if let Some(mut demanded) = self.demanded.clone() {
            rewrite_filter(&mut demanded);
            wanted["filter"] = demanded;
        }
        let wanted = wanted.to_string().into_bytes();
        let legs = [
            self.leg(
                &self.own,
                Ask::Request(Box::new(|target| {
                    let body =
                        serde_json::to_vec(&self.own_body(target, shown)).unwrap_or_default();
                    self.app.ask("POST", &similar, Some(body), true)
                })),
            ),
            self.leg(
                &self.own,
                Ask::Request(Box::new(|_| {
                    self.app.ask("POST", &document, Some(wanted.clone()), true)
                })),
            ),
        ];
        let gathered = self.app.run_legs(self.table, &legs).await;
        let gathered = gathered.map_err(|(_, refusal)| refusal)?;
        let mut answers = Vec::with_capacity(2);
        for gathered in gathered {
            degraded(self.app, &gathered, true)?;
            answers.push(bodies(gathered));
        }
        let stored = answers.pop().and_then(|mut bodies| bodies.pop());
        let vectors = stored.and_then(|stored| vectors(&stored, &self.body.embedder));
        let Some(vectors) = vectors else {
            // Who may not see it is told the same as where there is none.
            return Err(Error {
                code: "not_found_similar_id".into(),
                status: 400,
                ..Error::document_not_found(&self.id)
            });
        };
        Ok((answers.pop().unwrap_or_default(), vectors))
    }

    fn leg<'l>(&'l self, only: &'l [Shard], ask: Ask<'l>) -> Leg<'l> {
        Leg {
            wanted: Wanted {
                index: self.index,
                only: Some(only),
                seed: u64::from(self.own[0].0),
            },
            ask,
        }
    }

    fn own_body(&self, target: &ReadTarget, shown: &SearchBody) -> Body {
        let mut body = self.body.clone();
        body.attributes_to_retrieve
            .clone_from(&shown.attributes_to_retrieve);
        body.offset = Some(0);
        body.limit = Some(self.reach());
        body.show_ranking_score = true;
        body.show_ranking_score_details = true;
        body.ranking_score_threshold = None;
        if !target.whole {
            body.filter = Some(with_shards(body.filter.take(), target));
        }
        body
    }

    /// What hits are to show, as a search; and what of it is for the merge.
    fn shown(&self) -> (SearchBody, Needed) {
        let mut body = SearchBody {
            attributes_to_retrieve: self.body.attributes_to_retrieve.clone(),
            retrieve_vectors: to_raw_value(&self.body.retrieve_vectors).ok(),
            ..SearchBody::default()
        };
        body.hide(&self.index.settings);
        let primary_key = shown_key(self.index);
        let needed = primary_key.and_then(|field| body.need(field, &self.index.settings).ok());
        (body, needed.unwrap_or_default())
    }

    /// What the other shards are asked: a search a vector, or none that finds anything where the document has no vector.
    fn plan(
        &self,
        vectors: Vec<Box<RawValue>>,
        shown: SearchBody,
        needed: &Needed,
    ) -> Result<Vec<PlannedSearch>, Error> {
        let is_distinct = self.index.settings.distinct_attribute.is_some();
        let settings = &SearchSettings {
            distinct_attribute: None,
            ..SearchSettings::clone(&self.index.settings)
        };
        let unsupported =
            |unsupported: crate::search::Unsupported| Error::not_implemented(unsupported.0);
        let mut body = SearchBody {
            limit: Some(self.reach()),
            filter: self.body.filter.clone(),
            show_ranking_score: Some(true),
            show_ranking_score_details: Some(true),
            ..shown
        };
        if let (true, Some(field)) = (vectors.len() > 1, &self.index.primary_key) {
            // One document may be found by several, so a key that is hidden is refused.
            body.need(field, settings).map_err(unsupported)?;
        }
        if vectors.is_empty() {
            body.limit = Some(0);
            return Ok(vec![body.plan(settings).map_err(unsupported)?]);
        }
        let planned = vectors.into_iter().map(|vector| {
            let by_vector = SearchBody {
                vector: Some(vector),
                hybrid: Some(Hybrid {
                    embedder: self.body.embedder.clone(),
                    semantic_ratio: Ratio::of(1.0),
                }),
                ..body.clone()
            };
            let mut planned = by_vector.plan(settings).map_err(unsupported)?;
            planned.strip(needed);
            if is_distinct {
                planned.show_duplicates();
            }
            Ok(planned)
        });
        planned.collect()
    }

    /// The bodies a search, and what the header says of shards that nobody answered for.
    async fn ask_others(
        &self,
        planned: &[PlannedSearch],
    ) -> Result<(Vec<Vec<Bytes>>, Option<String>), Error> {
        if self.others.is_empty() {
            return Ok((Vec::new(), None));
        }
        let legs: Vec<Leg> = planned
            .iter()
            .map(|planned| {
                let ask = if self.reaches_past_max() && self.federated_reaches_further() {
                    planned.ask_past_max(self.reach(), self.app, self.index)
                } else {
                    Ask::Search(Box::new(|target, _| planned.body_for(target)))
                };
                self.leg(&self.others, ask)
            })
            .collect();
        let gathered = self.app.run_legs(self.table, &legs).await;
        let gathered = gathered.map_err(|(_, refusal)| refusal)?;
        let mut missing = None;
        let mut found = Vec::with_capacity(gathered.len());
        for gathered in gathered {
            missing = missing.or(degraded(self.app, &gathered, false)?);
            found.push(bodies(gathered));
        }
        Ok((found, missing))
    }
}

/// Whether a search by a vector lists the nearest documents first, as `/similar` does: milli puts the vector in the place of the
/// first rule that goes by words.
fn finds_by_meaning(settings: &SearchSettings) -> bool {
    let mut rules = settings.ranking_rules.iter();
    let first = rules.find(|rule| *rule != "sort");
    first.is_some_and(|rule| !rule.contains(':'))
}

/// Where the details of a search tell of rules that sort, which `/similar` does not know.
fn details_of_sorting_rules(settings: &SearchSettings) -> Vec<String> {
    let rules = settings.ranking_rules.iter();
    let sorting = rules.filter(|rule| rule.contains(':'));
    // Where their values are hidden so are their names, by their place behind the vector.
    let names = sorting
        .enumerate()
        .flat_map(|(place, rule)| [rule.clone(), format!("<hidden-rule-{}>", place + 1)]);
    names
        .map(|name| format!("_rankingScoreDetails.{name}"))
        .collect()
}

/// The vectors that the one document of a list has for an embedder. `None`: there is no document.
fn vectors(list: &[u8], embedder: &str) -> Option<Vec<Box<RawValue>>> {
    let list: Value = serde_json::from_slice(list).ok()?;
    let stored = &list["results"].as_array()?.first()?["_vectors"][embedder];
    let stored = stored.get("embeddings").unwrap_or(stored);
    let of = |vector: &Value| to_raw_value(vector).ok();
    Some(match stored.as_array().map(Vec::as_slice) {
        Some([Value::Number(_), ..]) => of(stored).into_iter().collect(),
        Some(several) => several.iter().filter_map(of).collect(),
        None => Vec::new(),
    })
}

/// `None` when a parameter is unknown, missing, or has a value that only a node can judge.
fn from_query(query: &str) -> Option<Body> {
    let mut body = serde_json::Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        let read = match name.as_ref() {
            "id" | "embedder" => Value::String(value),
            "offset" | "limit" => value.parse::<usize>().ok()?.into(),
            "filter" => filter_parameter(value),
            "attributesToRetrieve" => list_parameter(&value).into(),
            "retrieveVectors"
            | "showRankingScore"
            | "showRankingScoreDetails"
            | "showPerformanceDetails" => value.parse::<bool>().ok()?.into(),
            "rankingScoreThreshold" => value.parse::<f64>().ok()?.into(),
            _ => return None,
        };
        body.insert(name.into_owned(), read);
    }
    serde_json::from_value(Value::Object(body)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_a_body() {
        let body =
            from_query("id=4&embedder=e&limit=3&showRankingScore=true&filter=a%20=%201").unwrap();
        assert_eq!(body.id, "4");
        assert_eq!((body.limit, body.offset), (Some(3), None));
        assert_eq!(body.filter, Some(Value::from("a = 1")));
        assert!(from_query("id=4").is_none());
        assert!(from_query("id=4&embedder=e&limit=x").is_none());
        assert!(from_query("id=4&embedder=e&q=x").is_none());
    }

    #[test]
    fn stored_vectors_are_found() {
        let found = |document: &str| -> Vec<String> {
            let list = format!(r#"{{"results":[{document}]}}"#);
            let vectors = vectors(list.as_bytes(), "e").unwrap();
            vectors
                .iter()
                .map(|vector| vector.get().to_owned())
                .collect()
        };
        assert_eq!(
            found(r#"{"_vectors":{"e":{"embeddings":[[1.5,2.0]],"regenerate":false}}}"#),
            ["[1.5,2.0]"]
        );
        assert_eq!(
            found(r#"{"_vectors":{"e":{"embeddings":[[1],[2]]}}}"#),
            ["[1]", "[2]"]
        );
        assert_eq!(found(r#"{"_vectors":{"e":[1,2]}}"#), ["[1,2]"]);
        assert!(found(r#"{"_vectors":{"e":{"embeddings":[]}}}"#).is_empty());
        assert!(found(r#"{"_vectors":{"f":[1]}}"#).is_empty());
        assert!(vectors(br#"{"results":[]}"#, "e").is_none());
    }
}
