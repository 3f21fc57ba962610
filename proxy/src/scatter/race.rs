//! One parcel until its answer: asked of its node, and of others where the node is late or hangs.
//!
//! The first good answer counts. The future of the other one is dropped, which closes its connection: what was read of its
//! answer can be nobody else's (DESIGN 3, trap 1). A parcel that *fails* is not mended here: its shards are planned again in
//! the next round.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join_all, select, Either};
use miroir_metrics::{Counter, NodeLatencies, PerNode};
use miroir_net::client::{ClientError, ErrorKind, Reply};
use miroir_router::{Ended, NodeIdx, ReadTarget, RoutingTable};
use miroir_rt::{sleep_until, Instant};

use super::parcel::{parcels, Outcome, Parcel};
use super::{Leg, Progress, READ_DEADLINE};
use crate::core::App;

/// A search asks at most so many nodes on suspicion.
const HEDGES_MAX: usize = 2;
/// A node whose answers were broken so many times in a row is doubted.
const FAILURES_MAX: u32 = 3;

pub static LATENCY: NodeLatencies = NodeLatencies::new(
    "miroir_node_read_duration_seconds",
    "Time from the request for a read to a node's whole answer, connecting included.",
);
pub static IN_FLIGHT: PerNode = PerNode::gauge(
    "miroir_node_reads_in_flight",
    "Requests for reads that a node has not answered yet.",
);
pub static ERRORS: PerNode = PerNode::counter(
    "miroir_node_read_errors_total",
    "Requests for reads without an answer, or answered with a status from 500.",
);
pub static ABANDONED: PerNode = PerNode::counter(
    "miroir_node_reads_abandoned_total",
    "Requests for reads whose answer nobody waited for any more: other copies were quicker.",
);
pub static HEDGES: Counter = Counter::new(
    "miroir_hedges_total",
    "Requests to other copies because a node took longer than usual: at most one for twenty requests.",
);
pub static REPLACED: Counter = Counter::new(
    "miroir_answers_replaced_total",
    "Late answers that other copies' answers replaced, after a hedge or a failover.",
);
pub static FAILOVERS: Counter = Counter::new(
    "miroir_failovers_total",
    "Answers that were asked of other copies because the node was silent to everybody or no longer up.",
);

/// What came of one target of a leg.
pub(super) struct Part {
    pub leg: usize,
    pub target: ReadTarget,
    pub outcome: Outcome,
}

/// What the parcels of one round share.
pub(super) struct Round<'a> {
    pub app: &'a App,
    pub table: &'a RoutingTable,
    pub legs: &'a [Leg<'a>],
    pub asked: &'a [(usize, ReadTarget)],
    pub progress: &'a [Progress],
    /// Requests that were sent on suspicion, in the whole run.
    pub hedged: &'a Cell<usize>,
}

/// The other copies that a late parcel is asked of.
struct Backup {
    asked: Vec<(usize, ReadTarget)>,
    parcels: Vec<Parcel>,
}

impl Round<'_> {
    /// Sends a parcel; what came of each target in it, be it answered by other nodes.
    pub async fn run(&self, parcel: &Parcel) -> Vec<Part> {
        let sent = self.app.now();
        let mut own = pin!(self.app.ask_node(self.table, parcel));
        if !self.has_other_copies(parcel) {
            return self.judge(self.asked, parcel, own.await);
        }
        let mut alarm = sent + self.hedge_after(parcel);
        let mut suspects = true;
        let backup = loop {
            let reply = match before(own.as_mut(), self.app.instant(alarm)).await {
                Some(reply) => return self.judge(self.asked, parcel, reply),
                None => self.second_thoughts(parcel, sent, &mut suspects),
            };
            match reply {
                Either::Left(backup) => break backup,
                Either::Right(next) => alarm = next,
            }
        };
        let others = pin!(self.run_backup(&backup));
        match select(own.as_mut(), others).await {
            Either::Left((reply, others)) => {
                let results = self.judge(self.asked, parcel, reply);
                if all_good(&results) {
                    return results;
                }
                let second = others.await;
                if all_good(&second) {
                    REPLACED.add(1);
                    return second;
                }
                results
            }
            Either::Right((results, own)) => {
                if all_good(&results) {
                    REPLACED.add(1);
                    return results;
                }
                self.judge(self.asked, parcel, own.await)
            }
        }
    }

    /// What to do about a parcel that is late: ask others, or look again at the time that is returned.
    fn second_thoughts(
        &self,
        parcel: &Parcel,
        sent: Duration,
        suspects: &mut bool,
    ) -> Either<Backup, Duration> {
        let node = &self.table.nodes[usize::from(parcel.node.0)];
        let now = self.app.now();
        let given_up = self.app.replicas.borrow().patience(parcel.node, sent);
        if given_up <= now || !node.is_up() {
            if let Some(backup) = self.backup(parcel) {
                if node.state.doubt() {
                    tracing::warn!(node = node.id, "the node is silent; asking other copies");
                }
                FAILOVERS.add(1);
                return Either::Left(backup);
            }
        } else if std::mem::take(suspects) && self.hedged.get() < HEDGES_MAX {
            if let Some(backup) = self.backup(parcel) {
                let price = backup.parcels.len();
                let within = self.hedged.get() + price <= HEDGES_MAX;
                if within && self.app.replicas.borrow_mut().spend(price) {
                    self.hedged.set(self.hedged.get() + price);
                    HEDGES.add(price);
                    return Either::Left(backup);
                }
            }
        }
        // Nobody else can be asked, or should be yet.
        Either::Right(now + LOOK)
    }

    fn has_other_copies(&self, parcel: &Parcel) -> bool {
        parcel.places.iter().all(|place| {
            let (leg, target) = &self.asked[*place];
            let layout = &self.legs[*leg].wanted.index.layout;
            let served = |shard: &miroir_router::Shard| {
                let copies = layout.copies_of(*shard).iter();
                copies.filter(|copy| copy.state.serves()).count() > 1
            };
            target.shards.first().is_some_and(served)
        })
    }

    fn hedge_after(&self, parcel: &Parcel) -> Duration {
        let (leg, target) = &self.asked[parcel.places[0]];
        let layout = &self.legs[*leg].wanted.index.layout;
        let shard = target.shards.first().copied();
        let copies = shard.map_or(&[][..], |shard| layout.copies_of(shard));
        let others = copies
            .iter()
            .filter(|copy| copy.state.serves() && copy.node != parcel.node);
        let others = others.map(|copy| copy.node).take(1);
        self.app.replicas.borrow().hedge_after(parcel.node, others)
    }

    /// Other nodes that are up for all that the parcel asks; `None` where there are not.
    ///
    /// They are chosen by the table that the search began with. That may ask a copy for nothing, never wrongly: what a copy
    /// answers that does not serve by the newest table is discarded like any other answer (`App::discard_outdated`), and a
    /// copy that joined since gets no writes before this search has ended.
    fn backup(&self, parcel: &Parcel) -> Option<Backup> {
        let mut asked = Vec::with_capacity(parcel.places.len());
        for place in &parcel.places {
            let (position, target) = &self.asked[*place];
            let wanted = &self.legs[*position].wanted;
            let failed = &self.progress[*position].failed;
            let usable = |node: NodeIdx| {
                node != parcel.node
                    && !failed.contains(&node)
                    && self.table.nodes[usize::from(node.0)].is_up()
            };
            let layout = &wanted.index.layout;
            let plan = miroir_router::read_plan(layout, Some(&target.shards), wanted.seed, usable);
            if !plan.uncovered.is_empty() {
                return None;
            }
            asked.extend(plan.targets.into_iter().map(|target| (*position, target)));
        }
        let parcels = parcels(self.app, self.legs, &asked, &|_| false);
        Some(Backup { asked, parcels })
    }

    async fn run_backup(&self, backup: &Backup) -> Vec<Part> {
        let sent = backup
            .parcels
            .iter()
            .map(|parcel| self.app.ask_node(self.table, parcel));
        let replies = join_all(sent).await;
        let judged = backup.parcels.iter().zip(replies);
        judged
            .flat_map(|(parcel, reply)| self.judge(&backup.asked, parcel, reply))
            .collect()
    }

    fn judge(
        &self,
        asked: &[(usize, ReadTarget)],
        parcel: &Parcel,
        reply: Result<Reply, ClientError>,
    ) -> Vec<Part> {
        let outcomes = parcel.judge(self.legs, asked, reply);
        let result = |(place, outcome): (usize, Outcome)| {
            let (leg, target) = asked[place].clone();
            if matches!(outcome, Outcome::Failed { lost: true, .. }) {
                self.table.nodes[usize::from(target.node.0)].state.doubt();
            }
            Part {
                leg,
                target,
                outcome,
            }
        };
        outcomes.into_iter().map(result).collect()
    }
}

/// Between looks at a node that is late.
const LOOK: Duration = Duration::from_millis(50);

fn all_good(results: &[Part]) -> bool {
    let failed = |result: &Part| matches!(result.outcome, Outcome::Failed { .. });
    !results.iter().any(failed)
}

/// The future's output, or `None` when the time comes first; the future goes on.
async fn before<F: Future + Unpin>(future: F, until: Instant) -> Option<F::Output> {
    match select(future, pin!(sleep_until(until))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

impl App {
    /// Time since this core's start.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn instant(&self, at: Duration) -> Instant {
        self.began + at
    }

    /// One request to a node, noted in what this core knows of it.
    async fn ask_node(&self, table: &RoutingTable, parcel: &Parcel) -> Result<Reply, ClientError> {
        let node = &table.nodes[usize::from(parcel.node.0)];
        let sent = Sent::new(self, parcel.node);
        let reply = self
            .pools
            .send(&node.address, &parcel.request, READ_DEADLINE)
            .await;
        let failures = sent.ended(&reply);
        let gone = match reply.as_ref().map_err(|error| error.kind) {
            Ok(_) | Err(ErrorKind::BackingOff | ErrorKind::Busy) => false,
            Err(ErrorKind::Connect | ErrorKind::Timeout) => true,
            Err(ErrorKind::Closed | ErrorKind::Malformed | ErrorKind::TooLarge) => {
                failures >= FAILURES_MAX
            }
        };
        if gone && node.state.doubt() {
            tracing::warn!(
                node = node.id,
                "the node cannot be used; avoiding it until it was checked"
            );
        }
        reply
    }
}

/// A request on its way: abandoned, if nobody says how it ended.
struct Sent<'a> {
    app: &'a App,
    node: NodeIdx,
    at: Instant,
    open: bool,
}

impl<'a> Sent<'a> {
    fn new(app: &'a App, node: NodeIdx) -> Self {
        IN_FLIGHT.raise(node.0);
        app.replicas.borrow_mut().begin(node);
        Sent {
            app,
            node,
            at: Instant::now(),
            open: true,
        }
    }

    /// Failures in a row, this one included.
    fn ended(mut self, reply: &Result<Reply, ClientError>) -> u32 {
        self.open = false;
        self.note(match reply {
            Ok(reply) if reply.status < 500 => Ended::Answered,
            // It waited for a connection in vain.
            Err(error) if error.kind == ErrorKind::Busy => Ended::Abandoned,
            _ => Ended::Failed,
        });
        self.app.replicas.borrow().failures_in_a_row(self.node)
    }

    fn note(&self, how: Ended) {
        let now = Instant::now();
        let since_start = now - self.app.began;
        let mut replicas = self.app.replicas.borrow_mut();
        replicas.end(self.node, since_start, now - self.at, how);
        IN_FLIGHT.lower(self.node.0);
        match how {
            Ended::Answered => LATENCY.observe(self.node.0, now - self.at),
            Ended::Failed => ERRORS.raise(self.node.0),
            Ended::Abandoned => ABANDONED.raise(self.node.0),
        }
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if self.open {
            self.note(Ended::Abandoned);
        }
    }
}
