//! One search: plan, scatter, gather, merge, answer.

use bytes::Bytes;
use miroir_api::{is_index_uid, Error};
use miroir_auth::Access;
use miroir_merge::{
    merge_hybrid, merge_levels, merge_search, ByWords, Counts, MergeError, Merged, Spec,
};
use miroir_metrics::Counter;
use miroir_net::client::OutRequest;
use miroir_net::{Request, Response};
use miroir_router::{Index, RoutingTable, Shard, Version};

use crate::config::UnavailableShards;
use crate::core::{json_object, visible_index, App};
use crate::scatter::{alone, shard_list, shard_unavailable, Ask, Gathered, Leg, Wanted};
use crate::shared_answers::Question;
use crate::stages::{understands, Stages};

mod all_words;
mod counting;
mod frequency;
mod groups;
mod hybrid;
mod hydration;
mod pins;
mod query_string;
mod raw;
mod redaction;
mod request;
mod rule_kinds;
mod settling;

pub use counting::can_be_filtered_by;
use counting::Counting;
pub use frequency::{decide, Frequency, Undecided};
use hybrid::scores_are_of_all_rules;
pub use hybrid::{Halves, Hybrid, Kind, Ratio};
pub use hydration::hydrate;
use pins::Pins;
pub use query_string::{
    filter as filter_parameter, list as list_parameter, sort as sort_parameter,
};
pub use raw::Object;
pub use redaction::{redact, redacts};
pub use request::{
    check_filter, not_null, paging, shown_key, with_shards, Needed, Part, PlannedSearch,
    SearchBody, Unsupported, DEFAULT_LIMIT,
};

pub use rule_kinds::rule_kinds;
pub use settling::SETTLING_ROUNDS;

pub static SEARCHES: Counter = Counter::new(
    "miroir_searches_total",
    "Searches of one index, those within a multi-search included.",
);
pub static CHEAP_SEARCHES: Counter = Counter::new(
    "miroir_searches_cheap_total",
    "Searches whose hits all tie, so that nodes were asked for no ranking details.",
);
pub static REVEALING_SEARCHES: Counter = Counter::new(
    "miroir_searches_revealing_total",
    "Searches in the federated form, because public answers hide what ranks hits, mixes them or tells them apart.",
);
pub static NARROWED_SEARCHES: Counter = Counter::new(
    "miroir_searches_narrowed_total",
    "Searches that asked only some shards, because their filter pins the primary key.",
);
pub static HYBRID_SEARCHES: Counter = Counter::new(
    "miroir_searches_hybrid_total",
    "Searches that were asked twice, by words and by meaning.",
);
pub static FREQUENCY_SEARCHES: Counter = Counter::new(
    "miroir_searches_frequency_total",
    "Searches whose frequent words may be missing, which was decided for the whole cluster.",
);

/// `GET` and `POST /indexes/{uid}/search`.
pub async fn handle(
    app: &App,
    table: &RoutingTable,
    access: &Access,
    request: &Request,
    uid: &str,
) -> Result<Response, Error> {
    let answer = || answer(app, table, access, request, uid);
    match Question::of(app, table, access, request, uid) {
        Some(question) => app.shared_answers.get(question, answer).await,
        None => answer().await,
    }
}

async fn answer(
    app: &App,
    table: &RoutingTable,
    access: &Access,
    request: &Request,
    uid: &str,
) -> Result<Response, Error> {
    let mut stages = Stages::begin();
    let body = if request.method.as_str() == "GET" {
        query_string::parse(request.query())
    } else {
        json_object(request)
    };
    let fits =
        |body: &SearchBody| is_index_uid(uid) && understands(table, body.show_performance_details);
    let Some(mut body) = body.filter(fits) else {
        return Err(app
            .judged_refusal(table, request, "a parameter of this search")
            .await);
    };
    access.restrict(uid, &mut body.filter);
    let search = Search::prepare(table, visible_index(table, uid)?, body)?;
    let mut searches = [search];
    let answers = run(app, table, &mut searches, &mut stages).await;
    let mut answers = match answers {
        Ok(answers) => answers,
        Err((_, error)) => return Err(app.retell(table, request, error).await),
    };
    let answer = answers.pop().unwrap_or_default();
    Ok(respond(answer.merged, answer.degraded))
}

/// A search of one index that is ready to be asked.
pub struct Search<'t> {
    index: &'t Index,
    planned: PlannedSearch,
    by: By,
    /// Frequent words may be missing.
    frequency: Option<Box<Frequency>>,
    /// The primary key, where hits show it and may come from several nodes.
    primary_key: Option<&'t str>,
    show_performance: Option<bool>,
    /// Nodes may pin documents.
    rules: bool,
    /// Only these can hold a hit.
    shards: Option<Vec<Shard>>,
    /// The lowest of the nodes' versions.
    version: Version,
}

/// What a search goes by: each node is asked once, or for both halves of a hybrid search.
enum By {
    Words,
    Meaning,
    Both(Box<Halves>),
}

/// A merged answer, and `shards=3,7` where some shard could not be asked.
#[derive(Default)]
pub struct Answer {
    pub merged: Merged,
    pub degraded: Option<String>,
}

/// Runs searches together: what a node is asked for all of them is one request. Errors: the position of the first search
/// that fails, and why: the nodes' refusal, 503 when a shard cannot be asked, 501 for what cannot be merged exactly yet.
pub async fn run(
    app: &App,
    table: &RoutingTable,
    searches: &mut [Search<'_>],
    stages: &mut Stages,
) -> Result<Vec<Answer>, (usize, Error)> {
    stages.planned();
    let undecided = searches.iter_mut().filter_map(Search::undecided).collect();
    decide(app, table, undecided).await;
    searches.iter().for_each(Search::count);
    let (positions, legs): (Vec<usize>, Vec<Leg>) = searches
        .iter()
        .enumerate()
        .flat_map(|(position, search)| search.legs(app).map(move |leg| (position, leg)))
        .unzip();
    let gathered = app.run_legs(table, &legs).await;
    stages.asked();
    let mut gathered = gathered
        .map_err(|(leg, error)| {
            let position = positions[leg];
            let revealed = searches[position].planned.reveal.is_some();
            (position, if revealed { alone(error) } else { error })
        })?
        .into_iter();
    let mut answers = Vec::with_capacity(searches.len());
    for (position, search) in searches.iter().enumerate() {
        let legs = positions.iter().filter(|of| **of == position).count();
        let legs = gathered.by_ref().take(legs);
        let answer = search.answer(app, table, legs, stages).await;
        answers.push(answer.map_err(|error| (position, error))?);
    }
    Ok(answers)
}

/// What came back for the legs of a search.
struct Collected {
    answers: Vec<Vec<Bytes>>,
    pins: Option<Pins>,
    /// Under `distinct`: which shards each of the first answers is for.
    shards: Vec<Vec<Shard>>,
    degraded: Option<String>,
}

impl<'t> Search<'t> {
    /// Plans what nodes are asked. Errors: what a client may not ask, 501 for what cannot be answered exactly yet.
    pub fn prepare(
        table: &RoutingTable,
        index: &'t Index,
        mut body: SearchBody,
    ) -> Result<Self, Error> {
        body.check_reserved()?;
        body.hide(&index.settings);
        let show_performance = body.show_performance_details;
        let show_details = body.show_ranking_score_details;
        let rules = table.search_rules;
        if rules {
            pins::check_name(index)?;
            // They tell which hits are pinned.
            body.show_ranking_score_details = Some(true);
        }
        let version = table.lowest_version();
        let primary_key = shown_key(index).filter(|_| table.nodes.len() > 1);
        let needed = primary_key.and_then(|key| body.need(key, &index.settings).ok());
        let (mut planned, by) = match body.kind(version) {
            Kind::Words => body
                .plan(&index.settings)
                .map(|planned| (planned, By::Words)),
            Kind::Meaning => body
                .plan_by_meaning(&index.settings)
                .map(|planned| (planned, By::Meaning)),
            Kind::Both(ratio) => {
                let aside = scores_are_of_all_rules(version) && table.federates() && !rules;
                body.plan_by_both(ratio, index.primary_key.as_deref(), aside, &index.settings)
                    .map(|(planned, halves)| (planned, By::Both(Box::new(halves))))
            }
        }
        .map_err(|unsupported| Error::not_implemented(unsupported.0))?;
        planned.show_details &= show_details == Some(true);
        planned.strip(&needed.unwrap_or_default());
        if planned.reveal.is_some() {
            check_reveal(table)?;
        }
        let frequency = primary_key
            .filter(|_| !matches!(by, By::Meaning))
            .and_then(|key| Frequency::of(index, key, &planned, matches!(by, By::Both(_))));
        let shards = planned.pinned_shards(index);
        Ok(Search {
            index,
            planned,
            by,
            frequency: frequency.map(Box::new),
            primary_key,
            show_performance,
            rules,
            shards,
            version,
        })
    }

    async fn hydrate(
        &self,
        app: &App,
        table: &RoutingTable,
        answer: Answer,
    ) -> Result<Answer, Error> {
        let keys = &self.index.settings.foreign_keys;
        if keys.is_empty() {
            return Ok(answer);
        }
        let merged = hydrate(app, table, answer.merged, |_| keys).await?;
        Ok(Answer { merged, ..answer })
    }

    fn count(&self) {
        SEARCHES.add(1);
        CHEAP_SEARCHES.add(usize::from(!self.planned.ranked));
        REVEALING_SEARCHES.add(usize::from(self.planned.reveal.is_some()));
        NARROWED_SEARCHES.add(usize::from(self.shards.is_some()));
        HYBRID_SEARCHES.add(usize::from(matches!(self.by, By::Both(_))));
        FREQUENCY_SEARCHES.add(usize::from(self.levels() > 0));
    }

    /// Whether it goes by frequencies, which must be known first.
    fn undecided(&mut self) -> Option<Undecided<'_>> {
        Some(Undecided {
            index: self.index,
            planned: &mut self.planned,
            frequency: self.frequency.as_deref_mut()?,
        })
    }

    /// What nodes are asked: by words, once or for each set of them, and by meaning; then what counts for its totals.
    fn legs<'a>(&'a self, app: &'a App) -> impl Iterator<Item = Leg<'a>> {
        let meaning = match &self.by {
            By::Both(halves) => Some(&halves.meaning),
            By::Words | By::Meaning => None,
        };
        let seed = self.seed();
        let levels = self.frequency.as_deref().filter(|_| self.levels() > 0);
        let planned = Some(&self.planned).filter(|_| levels.is_none());
        let ask = move |planned: &'a PlannedSearch| planned.ask(app, self.index);
        planned
            .map(ask)
            .into_iter()
            .chain(
                levels
                    .into_iter()
                    .flat_map(move |levels| levels.asks(&self.planned, app, self.index)),
            )
            .chain(meaning.map(ask))
            .chain(self.counting().into_iter().flat_map(move |counting| {
                counting.asks(caps_totals(self.version), app, self.index)
            }))
            .map(move |ask| self.leg(seed, ask))
    }

    /// What picks the copies: the same ones answer all.
    fn seed(&self) -> u64 {
        match self.index.layout.has_choice() {
            true => self.planned.seed(),
            false => 0,
        }
    }

    fn leg<'a>(&'a self, seed: u64, ask: Ask<'a>) -> Leg<'a> {
        let wanted = Wanted {
            index: self.index,
            only: self.shards.as_deref(),
            seed,
        };
        Leg { wanted, ask }
    }

    /// So many searches it has become by the frequencies of its words.
    fn levels(&self) -> usize {
        let frequency = self.frequency.as_deref();
        frequency.map_or(0, |frequency| frequency.searches().len())
    }

    /// What is counted for the totals.
    fn counting(&self) -> Option<&Counting> {
        let counting = self.planned.counting.as_ref();
        counting.filter(|_| !matches!(self.by, By::Both(_)))
    }

    /// The answer from what came back for the legs, in their order.
    async fn answer(
        &self,
        app: &App,
        table: &RoutingTable,
        legs: impl Iterator<Item = Gathered>,
        stages: &Stages,
    ) -> Result<Answer, Error> {
        let mut first = self.collect(app, legs)?;
        let pins = first.pins.take();
        let mut rounds = vec![first];
        let mut merged = self.merge(&rounds, None, pins, stages)?;
        while let Some(round) = self.settle(app, table, &merged, rounds.len() - 1).await? {
            rounds.push(round);
            merged = self.merge(&rounds, None, None, stages)?;
        }
        if let Some(counted) = self.count_groups(app, table, &merged, &rounds).await {
            merged = self.merge(&rounds, Some(&counted), None, stages)?;
        }
        let degraded = rounds.into_iter().find_map(|round| round.degraded);
        let settings = &self.index.settings;
        if self.planned.show_details && redacts(settings) {
            merged = redact(merged, |_| Some(settings))?;
        }
        let answer = Answer {
            merged: stages.tell(merged, self.show_performance),
            degraded,
        };
        self.hydrate(app, table, answer).await
    }

    fn collect(&self, app: &App, legs: impl Iterator<Item = Gathered>) -> Result<Collected, Error> {
        let mut missing = None;
        let mut shards = Vec::new();
        let mut answers: Vec<Vec<Bytes>> = Vec::with_capacity(2);
        for gathered in legs {
            if answers.is_empty() && self.planned.distinct.is_some() {
                let targets = gathered.answers.iter().map(|(target, _)| target);
                shards = targets.map(|target| target.shards.to_vec()).collect();
            }
            missing = missing.or(degraded(app, &gathered, gathered.answers.is_empty())?);
            answers.push(bodies(gathered));
        }
        let pins = self.rules.then(|| pins::take(&mut answers)).flatten();
        Ok(Collected {
            answers,
            pins,
            shards,
            degraded: missing,
        })
    }

    /// Merges the answers for the legs, and those of further rounds; `counted`: by these it counts.
    fn merge(
        &self,
        rounds: &[Collected],
        counted: Option<&[Bytes]>,
        pins: Option<Pins>,
        stages: &Stages,
    ) -> Result<Merged, Error> {
        let (answers, again) = match rounds {
            [first, again @ ..] => (&first.answers[..], again),
            [] => (&[][..], &[][..]),
        };
        let (planned, settings) = (&self.planned, &self.index.settings);
        let levels = self.levels();
        let frequency = self.frequency.as_deref().filter(|_| levels > 0);
        let by_words = |answers| ByWords {
            searches: frequency.map_or(answers, |frequency| frequency.merged(answers)),
            levels: frequency.map(Frequency::levels),
        };
        let again: Vec<ByWords> = again.iter().map(|round| by_words(&round.answers)).collect();
        let counts = match counted {
            Some(counted) => Some(Counts::Groups { counted }),
            None => self
                .counting()
                .and_then(|counting| counting.counts(answers.get(levels.max(1)..)?, settings))
                .or_else(|| frequency?.counts(answers)),
        };
        let star = planned.facet_star && orders_all_facets_alike(self.version);
        let strip = names(&planned.strip_fields);
        let strip_formatted = names(&planned.strip_formatted);
        let request_uid = sends_request_uid(self.version).then(|| uuid::Uuid::now_v7().to_string());
        let mut spec = Spec {
            paging: planned.paging,
            max_total_hits: settings.max_total_hits,
            cap_totals: caps_totals(self.version),
            show_score: planned.show_score,
            show_details: planned.show_details,
            // One list is in order as it is.
            ranked: planned.ranked
                && !(planned.alone && levels == 0 && answers.iter().all(|of_leg| of_leg.len() < 2)),
            primary_key: self.primary_key,
            federated: planned.reveal.is_some(),
            semantic: matches!(self.by, By::Meaning),
            distinct: planned.distinct.as_deref(),
            counts,
            again: &again,
            strip_fields: &strip,
            strip_formatted: &strip_formatted,
            facet_order: &|field| merge_order(settings.facet_order(if star { "*" } else { field })),
            max_values_per_facet: settings.max_values_per_facet,
            query: &planned.query,
            processing_time_ms: stages.elapsed_ms(),
            request_uid: request_uid.as_deref(),
        };
        if pins.is_some() {
            spec.paging = pins::from_start(planned.paging);
        }
        let (searches, others) = answers.split_at(levels.max(1).min(answers.len()));
        let words = by_words(searches);
        let merged = match (&self.by, &words.levels, words.searches) {
            (By::Both(halves), ..) => {
                let meaning = others.first().map_or(&[][..], Vec::as_slice);
                merge_hybrid(&words, meaning, &halves.mix(self.version, 1.0), &spec)
            }
            (_, Some(levels), searches) => merge_levels(searches, levels, &spec),
            (_, None, [hits, ..]) => merge_search(hits, &spec),
            (_, None, []) => merge_search(&[], &spec),
        };
        let mut merged = merged.map_err(merge_error)?;
        if let Some(pins) = pins {
            spec.paging = planned.paging;
            merged = pins.put(merged, &spec)?;
        }
        Ok(merged)
    }
}

impl App {
    /// A request to a node with the node key; `idempotent`: it may be sent twice over a stale connection.
    pub fn ask(
        &self,
        method: &'static str,
        path: &str,
        body: Option<Vec<u8>>,
        idempotent: bool,
    ) -> OutRequest {
        OutRequest {
            method,
            content_type: body.is_some().then_some("application/json"),
            ..OutRequest::post_json(
                path,
                body.map(Bytes::from).into_iter().collect::<Vec<_>>(),
                idempotent,
            )
            .bearer(self.node_key.clone())
        }
    }
}

/// The response to a search of one index, with a header where some shard could not be asked.
pub fn respond(merged: Merged, degraded: Option<String>) -> Response {
    let response = Response::segments(200, merged.into_segments());
    match degraded {
        Some(shards) => response.header("X-Miroir-Degraded", shards),
        None => response,
    }
}

/// The bodies that came back for a leg.
pub fn bodies(gathered: Gathered) -> Vec<Bytes> {
    gathered.answers.into_iter().map(|(_, body)| body).collect()
}

/// Whether hidden values can be had. Errors: 501.
fn check_reveal(table: &RoutingTable) -> Result<(), Error> {
    if !table.federates() {
        return Err(Error::not_implemented(
            "ranking by, or distinct on, a field that displayedAttributes hides, on nodes that do not tell its values \
             (show the field, or use nodes of Meilisearch 1.41 or newer)",
        ));
    }
    Ok(())
}

/// What the configuration says about shards that nobody answered for: an error, or the header's value. `whole`: a part
/// would be of no use.
pub fn degraded(app: &App, gathered: &Gathered, whole: bool) -> Result<Option<String>, Error> {
    if gathered.missing.is_empty() {
        return Ok(None);
    }
    let refuses = app.shared.config.unavailable_shards == UnavailableShards::Error;
    if whole || refuses || gathered.is_overloaded() {
        return Err(match &gathered.fault {
            Some(fault) => fault.clone(),
            None => shard_unavailable(&gathered.missing, gathered.reason.as_deref()),
        });
    }
    Ok(Some(format!("shards={}", shard_list(&gathered.missing))))
}

/// A client named the hidden field.
pub fn reserved_field(place: &str) -> Error {
    Error::invalid(
        400,
        "miroir_reserved_field",
        format!(
            "The {place} names `{}`, which Miroir keeps for itself.",
            miroir_api::SHARD_FIELD
        ),
    )
}

/// A node's answer that cannot be merged: its fault, or something that is not there yet.
pub fn merge_error(error: MergeError) -> Error {
    match error {
        MergeError::HiddenRule { rule, .. } => Error::not_implemented(format!(
            "sorting by a field that displayedAttributes hides (the nodes answer `{rule}`)"
        )),
        MergeError::Unsorted { .. } => Error::not_implemented(
            "sorting documents over nodes that do not tell the values (Meilisearch 1.50 and later do)",
        ),
        MergeError::BadAnswer { node, reason } => Error::system(
            503,
            "miroir_shard_unavailable",
            format!("The answer of node {node} cannot be understood: {reason}."),
        ),
    }
}

pub fn names(fields: &[String]) -> Vec<&str> {
    fields.iter().map(String::as_str).collect()
}

pub fn merge_order(order: miroir_router::FacetOrder) -> miroir_merge::FacetOrder {
    match order {
        miroir_router::FacetOrder::Alpha => miroir_merge::FacetOrder::Alpha,
        miroir_router::FacetOrder::Count => miroir_merge::FacetOrder::Count,
    }
}

/// Up to 1.46 a node cut `estimatedTotalHits` at `maxTotalHits` (MEILISEARCH B.0).
fn caps_totals(version: Version) -> bool {
    version < (1, 47, 0)
}

/// Up to 1.49 a node that was asked for `*` ordered all facets as those without an order of their own.
fn orders_all_facets_alike(version: Version) -> bool {
    version < (1, 50, 0)
}

pub fn sends_request_uid(version: Version) -> bool {
    version >= REQUEST_UID_SINCE
}

/// The first version whose search answers carry `requestUid`.
const REQUEST_UID_SINCE: (u32, u32, u32) = (1, 23, 0);

/// From this version on an index gives a federated search no more than `maxTotalHits` (1.34: "Enforce index's max total hit").
pub const INDEX_HITS_MAX_SINCE: (u32, u32, u32) = (1, 34, 0);
