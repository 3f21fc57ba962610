//! `POST /indexes/{uid}/facet-search`: which values of a facet begin like a text, and how many documents have each.
//!
//! Parameters that a facet search does not know are ignored, as Meilisearch does; the node's copy of the request is the
//! client's but for the filter, and for words that may be missing by their frequency, which is decided for the whole cluster.

use miroir_api::{is_index_uid, Error};
use miroir_auth::Access;
use miroir_merge::{merge_facet_search, FacetSearch};
use miroir_net::{Request, Response};
use miroir_router::{rewrite_filter, Index, RoutingTable};
use serde_json::{Map, Value};

use crate::core::{json_object, visible_index, App};
use crate::pinned;
use crate::scatter::Wanted;
use crate::search::{
    bodies, check_filter, decide, degraded, merge_error, merge_order, reserved_field, respond,
    with_shards, Frequency, Kind, SearchBody, Undecided,
};

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

    /// Decides which words may be missing. Values are counted in the documents that the search finds without the most of them.
    async fn decide(&mut self, app: &App, table: &RoutingTable, index: &Index) {
        let search = self.by_frequency(table).filter(|_| table.nodes.len() > 1);
        let Some(mut planned) = search.and_then(|search| search.plan(&index.settings).ok()) else {
            return;
        };
        let primary_key = index.primary_key.as_deref().unwrap_or_default();
        let Some(mut frequency) = Frequency::of(index, primary_key, &planned, false) else {
            return;
        };
        let undecided = Undecided {
            index,
            planned: &mut planned,
            frequency: &mut frequency,
        };
        decide(app, table, vec![undecided]).await;
        if let Some(widest) = frequency.searches().last() {
            self.rest.insert("q".into(), widest.q.clone().into());
            self.rest.insert("matchingStrategy".into(), "all".into());
        }
    }

    /// The search for the documents whose values are counted, where frequent words may be missing.
    fn by_frequency(&self, table: &RoutingTable) -> Option<SearchBody> {
        const MEMBERS: [&str; 6] = [
            "q",
            "matchingStrategy",
            "attributesToSearchOn",
            "locales",
            "hybrid",
            "vector",
        ];
        let member = |name: &str| Some((name.to_owned(), self.rest.get(name)?.clone()));
        let members = MEMBERS.into_iter().filter_map(member).collect();
        let search: SearchBody = serde_json::from_value(Value::Object(members)).ok()?;
        // What has a meaning is counted in all documents that pass the filter.
        let by_words = search.kind(table.lowest_version()) == Kind::Words;
        let plain = by_words && !self.rest.contains_key("rankingScoreThreshold");
        (plain && search.goes_by_frequency()).then_some(SearchBody {
            limit: Some(0),
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
