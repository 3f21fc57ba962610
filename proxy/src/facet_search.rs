//! `POST /indexes/{uid}/facet-search`: which values of a facet begin like a text, and how many documents have each.
//!
//! Parameters that a facet search does not know are ignored, as Meilisearch does; the node's copy of the request is the
//! client's but for the filter, and for what is decided for the whole cluster: which words may be missing by their frequency, and whether what
//! lies below a threshold counts.

use miroir_api::{is_index_uid, Error};
use miroir_auth::Access;
use miroir_merge::{merge_facet_search, FacetSearch};
use miroir_net::{Request, Response};
use miroir_router::{and_also, rewrite_filter, Index, RoutingTable};
use serde_json::{Map, Value};

use crate::core::{json_object, visible_index, App};
use crate::pinned;
use crate::scatter::Wanted;
use crate::search::{
    bodies, can_be_filtered_by, check_filter, decide, degraded, merge_error, merge_order,
    reserved_field, respond, run, with_shards, Frequency, Kind, Search, SearchBody, Undecided,
    DEFAULT_LIMIT,
};
use crate::stages::Stages;

/// One copy of each shard is asked; counts are summed.
pub async fn handle(
    app: &App,
    table: &RoutingTable,
    access: &Access,
    request: &Request,
    uid: &str,
) -> Result<Response, Error> {
    let body: Option<Map<String, Value>> = json_object(request);
    let understood = body.filter(|_| is_index_uid(uid)).and_then(Asked::of);
    let Some(mut asked) = understood else {
        return Err(app
            .judged_refusal(table, request, "a parameter of this facet search")
            .await);
    };
    access.restrict(uid, &mut asked.filter);
    let index = visible_index(table, uid)?;
    asked.check_reserved()?;
    if let Some(filter) = &mut asked.filter {
        rewrite_filter(filter);
    }
    asked.decide(app, table, index).await;
    let path = index.node_path("/facet-search");
    let shards = pinned::by_filter(index, asked.filter.as_ref());
    let wanted = Wanted {
        index,
        only: shards.as_deref(),
        seed: asked.seed(),
    };
    let gathered = app
        .scatter(table, wanted, |target| {
            let filter = match target.whole {
                true => asked.filter.clone(),
                false => Some(with_shards(asked.filter.clone(), target)),
            };
            app.ask("POST", &path, Some(asked.body_with(filter)), true)
        })
        .await;
    let gathered = match gathered {
        Ok(gathered) => gathered,
        Err(error) => return Err(app.retell(table, request, error).await),
    };
    let degraded = degraded(app, &gathered, gathered.answers.is_empty())?;
    let answers = bodies(gathered);
    let spec = FacetSearch {
        query: asked.query.as_deref(),
        order: merge_order(index.settings.facet_order(&asked.name)),
        max_values: index.settings.max_values_per_facet,
    };
    let merged = merge_facet_search(&answers, &spec).map_err(merge_error)?;
    Ok(respond(merged, degraded))
}

/// The client's request, and of it what is needed here.
struct Asked {
    name: String,
    query: Option<String>,
    filter: Option<Value>,
    /// Everything but the filter.
    rest: Map<String, Value>,
}

impl Asked {
    /// `None`: a node must judge it.
    fn of(mut body: Map<String, Value>) -> Option<Asked> {
        if body.get("useNetwork").is_some_and(|given| !given.is_null()) {
            return None;
        }
        let query = match body.get("facetQuery") {
            None | Some(Value::Null) => None,
            Some(query) => Some(query.as_str()?.to_owned()),
        };
        Some(Asked {
            name: body.get("facetName")?.as_str()?.to_owned(),
            query,
            filter: body.remove("filter"),
            rest: body,
        })
    }

    /// Decides what nodes would each decide by their own documents: which words may be missing, and whether documents below a threshold count.
    async fn decide(&mut self, app: &App, table: &RoutingTable, index: &Index) {
        let Some(search) = self.by_words(table).filter(|_| table.nodes.len() > 1) else {
            return;
        };
        let widest = match search.goes_by_frequency() {
            true => widest(app, table, index, &search).await,
            false => None,
        };
        if search.ranking_score_threshold.is_some() {
            let passing = passing(app, table, index, search).await;
            self.pass(passing, widest.is_some(), index);
        }
        if let Some(widest) = widest {
            self.rest.insert("q".into(), widest.into());
            self.rest.insert("matchingStrategy".into(), "all".into());
        }
    }

    /// One node looks for a page of hits that pass the threshold, and counts what lies below it where it finds a whole one. Where it does not, neither
    /// does any of many nodes; but of words that may be missing (`by_frequency`) scores are known to no node. `passing`: that page's documents.
    fn pass(&mut self, passing: Option<Vec<Value>>, by_frequency: bool, index: &Index) {
        let Some(passing) = passing else { return };
        let is_page = passing.len() >= DEFAULT_LIMIT.min(index.settings.max_total_hits);
        if is_page || by_frequency {
            self.rest.remove("rankingScoreThreshold");
        }
        if let Some(these) = filter_for(&passing, index).filter(|_| by_frequency && !is_page) {
            self.filter = Some(and_also(self.filter.take(), these));
        }
    }

    /// The search for the documents whose values are counted; `None`: what has a meaning is counted in all documents that pass the filter.
    fn by_words(&self, table: &RoutingTable) -> Option<SearchBody> {
        const MEMBERS: [&str; 7] = [
            "q",
            "matchingStrategy",
            "attributesToSearchOn",
            "locales",
            "hybrid",
            "vector",
            "rankingScoreThreshold",
        ];
        let member = |name: &str| Some((name.to_owned(), self.rest.get(name)?.clone()));
        let members = MEMBERS.into_iter().filter_map(member).collect();
        let search: SearchBody = serde_json::from_value(Value::Object(members)).ok()?;
        let by_words = search.kind(table.lowest_version()) == Kind::Words;
        by_words.then_some(SearchBody {
            filter: self.filter.clone(),
            hybrid: None,
            vector: None,
            ..search
        })
    }

    fn body_with(&self, filter: Option<Value>) -> Vec<u8> {
        let mut body = self.rest.clone();
        body.extend(filter.map(|filter| ("filter".to_owned(), filter)));
        // JSON values always serialise.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    fn check_reserved(&self) -> Result<(), Error> {
        if self.name.starts_with(miroir_api::SHARD_FIELD) {
            return Err(reserved_field("facetName"));
        }
        check_filter(self.filter.as_ref(), "filter")
    }

    /// Equal requests are answered by equal copies.
    fn seed(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(self.name.as_bytes())
            ^ xxhash_rust::xxh3::xxh3_64(self.query.as_deref().unwrap_or_default().as_bytes())
    }
}

/// The query that finds what is found with any of its frequent words missing; `None`: nothing is to be decided, or nodes have to.
async fn widest(
    app: &App,
    table: &RoutingTable,
    index: &Index,
    search: &SearchBody,
) -> Option<String> {
    let search = SearchBody {
        limit: Some(0),
        ranking_score_threshold: None,
        ..search.clone()
    };
    let mut planned = search.plan(&index.settings).ok()?;
    let primary_key = index.primary_key.as_deref().unwrap_or_default();
    let mut frequency = Frequency::of(index, primary_key, &planned, false)?;
    let undecided = Undecided {
        index,
        planned: &mut planned,
        frequency: &mut frequency,
    };
    decide(app, table, vec![undecided]).await;
    frequency.searches().last()?.q.clone()
}

/// The primary keys of the first page of what a search finds; `None`: it fails, and the facet search will tell why.
async fn passing(
    app: &App,
    table: &RoutingTable,
    index: &Index,
    search: SearchBody,
) -> Option<Vec<Value>> {
    let primary_key = index.primary_key.as_deref()?;
    let body = SearchBody {
        limit: Some(DEFAULT_LIMIT),
        attributes_to_retrieve: Some(vec![primary_key.to_owned()]),
        ..search
    };
    let search = Search::prepare(table, index, body).ok()?;
    let answers = run(app, table, &mut [search], &mut Stages::begin()).await;
    let segments = answers.ok()?.pop()?.merged.into_segments();
    let answer: Value = serde_json::from_slice(&segments.concat()).ok()?;
    let hits = answer["hits"].as_array()?.iter();
    Some(hits.map(|hit| hit[primary_key].clone()).collect())
}

/// A filter for these documents; `None`: the primary key is no field that one can name.
fn filter_for(keys: &[Value], index: &Index) -> Option<String> {
    let primary_key = index.primary_key.as_deref()?;
    let keys: Option<Vec<String>> = keys
        .iter()
        .map(|key| match key {
            Value::String(key) => Some(format!("\"{key}\"")),
            Value::Number(key) => Some(key.to_string()),
            _ => None,
        })
        .collect();
    let keys = keys.filter(|_| can_be_filtered_by(primary_key, &index.settings))?;
    Some(format!("\"{primary_key}\" IN [{}]", keys.join(",")))
}
