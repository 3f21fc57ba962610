//! Asking nodes: legs are planned, sent in one round, and their answers come back in the plan's order.
//!
//! A **leg** is one question for one copy of each wanted shard of one index. A request of a client is one leg or several.
//! Legs that are searches share their way: what a node is asked in one round travels in one `POST /multi-search`, and is
//! taken apart again here, so that what merges answers does not know how they travelled.
//!
//! A copy that fails costs one more round: the shards it was asked for are planned again without it. One that is late is
//! raced by others (`race`). Copies may be taken out of service while a request runs: what the newest table says of them
//! counts for every later round, and for every answer. What no copy could answer is named in the result; the caller decides whether that is an error
//! or a partial answer.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use miroir_api::Error;
use miroir_metrics::Counter;
use miroir_net::client::OutRequest;
use miroir_router::{
    read_plan, Index, NodeIdx, ReadPlan, ReadTarget, Replicas, RoutingTable, Shard,
};

use crate::core::App;
use crate::shed::TOO_MANY_SEARCHES;

mod parcel;
mod race;

pub use parcel::{alone, multi_search_body};
use parcel::{parcels, Outcome};
use race::{Part, Round};
pub use race::{ABANDONED, ERRORS, FAILOVERS, HEDGES, IN_FLIGHT, LATENCY, REPLACED};

/// A node may think for 1.5 s by default (`searchCutoffMs`), and users raise that; past this it counts as failed.
pub const READ_DEADLINE: Duration = Duration::from_secs(30);

pub static LEGS: Counter = Counter::new(
    "miroir_legs_total",
    "Questions to one copy of each wanted shard of an index, of which a request has one or several.",
);
pub static NODE_REQUESTS: Counter = Counter::new(
    "miroir_node_requests_total",
    "Requests to nodes on behalf of reads, each for one or several legs.",
);
pub static RETRIES: Counter = Counter::new(
    "miroir_retries_total",
    "Requests to nodes in a second or later round, for shards whose copies failed in an earlier one.",
);
pub static NODE_FAILURES: Counter = Counter::new(
    "miroir_node_failures_total",
    "Answers to legs that did not come, so that another copy was asked.",
);

/// What came back for a leg.
#[derive(Default)]
pub struct Gathered {
    /// One body a node, ordered by the first shard that it answered for (ties in a merge are broken by that order, where documents have no key to tell them apart).
    pub answers: Vec<(ReadTarget, Bytes)>,
    /// Shards that no copy answered for, ascending.
    pub missing: Vec<Shard>,
    /// The last thing that went wrong, for the error text.
    pub reason: Option<String>,
    /// What a node said of it, where it spoke: with no copy left its own words are the answer.
    pub fault: Option<Error>,
}

impl Gathered {
    /// Shards are missing because their nodes have too much to do: the client is to come again, and gets no partial answer.
    pub fn is_overloaded(&self) -> bool {
        self.fault.as_ref().is_some_and(is_overload)
    }
}

fn is_overload(error: &Error) -> bool {
    error.code == TOO_MANY_SEARCHES
}

/// Which copies to ask.
pub struct Wanted<'a> {
    pub index: &'a Index,
    /// Only these shards; `None`: all.
    pub only: Option<&'a [Shard]>,
    /// Picks among copies: equal seeds pick equal copies.
    pub seed: u64,
}

/// One question for one copy of each wanted shard.
pub struct Leg<'a> {
    pub wanted: Wanted<'a>,
    pub ask: Ask<'a>,
}

/// How a leg asks a target.
pub enum Ask<'a> {
    /// The body of a `POST /indexes/{uid}/search`. Legs of this kind share a request where they ask the same node.
    Search(BuildSearch<'a>),
    /// A request of its own.
    Request(Build<'a, OutRequest>),
    /// All legs of this kind ask a node by one request, which the first of them builds from the legs (by position) and what
    /// each wants of the node. Each of them gets the whole answer.
    Together(BuildTogether<'a>),
}

/// The flag says that this target's answer will be the leg's only one.
type BuildSearch<'a> = Box<dyn Fn(&ReadTarget, bool) -> Vec<u8> + 'a>;
type Build<'a, T> = Box<dyn Fn(&ReadTarget) -> T + 'a>;
type BuildTogether<'a> = Box<dyn Fn(&[(usize, &ReadTarget)]) -> OutRequest + 'a>;

/// How far a leg has come.
struct Progress {
    gathered: Gathered,
    /// What the next round must ask for (`Some(None)`: all that is wanted); `None`: nothing is left to ask.
    pending: Option<Option<Vec<Shard>>>,
    failed: Vec<NodeIdx>,
}

impl App {
    /// Reads from one copy of each wanted shard. Errors: what a node says of the request itself (4xx).
    pub async fn scatter<'a>(
        &self,
        table: &RoutingTable,
        wanted: Wanted<'a>,
        build: impl Fn(&ReadTarget) -> OutRequest + 'a,
    ) -> Result<Gathered, Error> {
        let leg = Leg {
            wanted,
            ask: Ask::Request(Box::new(build)),
        };
        let mut gathered = self
            .run_legs(table, &[leg])
            .await
            .map_err(|(_, refusal)| refusal)?;
        Ok(gathered.pop().unwrap_or_default())
    }

    /// Runs all legs at once; what came back for each, in their order. Errors: the position of the first leg that a node
    /// refuses, and what it says of it (4xx), in the words for a request that holds this leg alone.
    pub async fn run_legs(
        &self,
        table: &RoutingTable,
        legs: &[Leg<'_>],
    ) -> Result<Vec<Gathered>, (usize, Error)> {
        LEGS.add(legs.len());
        let mut progress: Vec<Progress> = legs.iter().map(|_| Progress::new()).collect();
        let hedged = Cell::new(0);
        let mut retries = false;
        loop {
            let newest = retries.then(|| self.newest());
            let asked = self.plan_round(table, newest.as_deref(), legs, &mut progress);
            if asked.is_empty() {
                break;
            }
            // In a later round there may be answers already.
            let first = !retries;
            let alone =
                |leg: usize| first && asked.iter().filter(|(of, _)| *of == leg).count() == 1;
            let parcels = parcels(self, legs, &asked, &alone);
            NODE_REQUESTS.add(parcels.len());
            if std::mem::replace(&mut retries, true) {
                RETRIES.add(parcels.len());
            }
            self.replicas.borrow_mut().save(parcels.len());
            let round = Round {
                app: self,
                table,
                legs,
                asked: &asked,
                progress: &progress,
                hedged: &hedged,
            };
            let parts = join_all(parcels.iter().map(|parcel| round.run(parcel))).await;
            let mut parts: Vec<Part> = parts.into_iter().flatten().collect();
            parts.sort_by_key(|part| part.leg);
            self.discard_outdated(table, legs, &mut parts);
            for Part {
                leg,
                target,
                outcome,
            } in parts
            {
                let node = &table.nodes[usize::from(target.node.0)];
                progress[leg]
                    .note(target, &node.id, outcome)
                    .map_err(|refusal| (leg, refusal))?;
            }
        }
        Ok(progress.into_iter().map(Progress::finish).collect())
    }

    /// Whom the legs must still ask; the first round asks for everything. Sorted by leg.
    fn plan_round(
        &self,
        table: &RoutingTable,
        newest: Option<&RoutingTable>,
        legs: &[Leg<'_>],
        progress: &mut [Progress],
    ) -> Vec<(usize, ReadTarget)> {
        let mut asked = Vec::new();
        for (position, (leg, progress)) in legs.iter().zip(progress).enumerate() {
            let Some(pending) = progress.pending.take() else {
                continue;
            };
            let only = pending.as_deref().or(leg.wanted.only);
            let index = newest.and_then(|newest| newest.again(leg.wanted.index));
            let wanted = Wanted {
                index: index.map_or(leg.wanted.index, |index| index),
                only,
                seed: leg.wanted.seed,
            };
            let plan = self.plan(table, &wanted, &progress.failed);
            progress.gathered.missing.extend(&plan.uncovered);
            asked.extend(plan.targets.into_iter().map(|target| (position, target)));
        }
        asked
    }

    /// Answers of copies that were taken out of service meanwhile do not count: their shards are asked again.
    fn discard_outdated(&self, table: &RoutingTable, legs: &[Leg<'_>], parts: &mut [Part]) {
        let newest = self.newest();
        if newest.epoch == table.epoch {
            return;
        }
        for part in parts {
            let index = newest.again(legs[part.leg].wanted.index);
            let serves = index.is_none_or(|index| index.layout.serves_all(&part.target));
            if !serves && matches!(part.outcome, Outcome::Answer(_)) {
                part.outcome = Outcome::Held;
            }
        }
    }

    /// Prefers nodes that are up and not slow; only for shards that these leave uncovered the others are tried as well.
    fn plan(&self, table: &RoutingTable, wanted: &Wanted, failed: &[NodeIdx]) -> ReadPlan {
        let replicas = self.replicas.borrow();
        let layout = &wanted.index.layout;
        // A newer layout may name nodes that are not in this table.
        let node = |node: NodeIdx| table.nodes.get(usize::from(node.0));
        let not_failed = |idx: NodeIdx| node(idx).is_some() && !failed.contains(&idx);
        let up = |idx: NodeIdx| not_failed(idx) && node(idx).is_some_and(|node| node.is_up());
        let explores = Replicas::explores(wanted.seed, self.now());
        let quick = |node: NodeIdx| up(node) && (explores || !replicas.is_shunned(node));
        let mut plan = read_plan(layout, wanted.only, wanted.seed, quick);
        let tiers: [(&dyn Fn(NodeIdx) -> bool, bool); 2] = [(&up, false), (&not_failed, true)];
        for (usable, doubtful) in tiers {
            if plan.uncovered.is_empty() {
                break;
            }
            // None of these nodes is in the plan already: it would have covered the shard.
            let more = read_plan(layout, Some(&plan.uncovered), wanted.seed, usable);
            plan.complete(more, doubtful);
        }
        plan
    }
}

/// 503 `miroir_shard_unavailable`, naming the shards and why.
pub fn shard_unavailable(missing: &[Shard], reason: Option<&str>) -> Error {
    let shards = shard_list(missing);
    let why = reason
        .map(|reason| format!(" The last failure: {reason}."))
        .unwrap_or_default();
    Error::system(
        503,
        "miroir_shard_unavailable",
        format!(
            "No copy of the shards {shards} can be asked.{why} Bring their nodes back (GET /_miroir/topology names \
             them), or set `unavailable_shard_policy: partial` to get what the other shards have."
        ),
    )
}

/// `3,7,12`, as in error texts and in `X-Miroir-Degraded`.
pub fn shard_list(shards: &[Shard]) -> String {
    shards
        .iter()
        .map(|shard| shard.0.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

impl Progress {
    fn new() -> Self {
        Progress {
            gathered: Gathered::default(),
            pending: Some(None),
            failed: Vec::new(),
        }
    }

    fn note(&mut self, target: ReadTarget, node: &str, outcome: Outcome) -> Result<(), Error> {
        match outcome {
            Outcome::Answer(body) => {
                self.gathered.answers.push((target, body));
                return Ok(());
            }
            Outcome::Refused(error) => return Err(error),
            Outcome::Held => {}
            Outcome::Failed { reason, fault, .. } => {
                NODE_FAILURES.add(1);
                let busy = fault.as_ref().is_some_and(is_overload);
                if !busy {
                    tracing::warn!(%node, %reason, "a node failed a read");
                }
                if busy || !self.gathered.is_overloaded() {
                    self.gathered.fault = fault;
                }
                self.gathered.reason = Some(format!("{node}: {reason}"));
                self.failed.push(target.node);
            }
        }
        self.pending
            .get_or_insert_default()
            .get_or_insert_default()
            .extend(&target.shards);
        Ok(())
    }

    fn finish(self) -> Gathered {
        let mut gathered = self.gathered;
        gathered.missing.sort_unstable();
        gathered
            .answers
            .sort_by_key(|(target, _)| target.shards.first().copied());
        gathered
    }
}
