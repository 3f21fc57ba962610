//! The common part of every document write: all copies, one order, a durable task before the answer.
//!
//! The steps: the control plane gives a turn in the index's lane; connections to every target are taken *before* a byte
//! is sent, so that a node that is down is known while nothing is stored yet; the bodies go out at once; what was
//! accepted is judged against the quorum; the task and the copies that missed it are committed; the client is answered.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, select, Either};
use futures_util::stream::{FuturesUnordered, StreamExt};
use miroir_api::Error;
use miroir_control::{NodePart, Outcome, Touched, Turn};
use miroir_net::client::{ClientError, ErrorKind, Lease, OutRequest, Reply};
use miroir_net::Response;
use miroir_router::{
    diverged, judge, write_plan, Fate, Layout, NodeIdx, RoutingTable, Shard, Verdict, WriteTarget,
};
use miroir_rt::{sleep, Instant};
use serde::Deserialize;
use serde_json::Value;
use smallvec::SmallVec;

use crate::core::App;
use crate::scatter::shard_list;
use crate::scrub::node_error;
use crate::shed::{overloaded, BUSY};

/// A node acknowledges a write once its payload is on disk; a large payload on a slow disk takes its time.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// How much longer than the quickest quorum any copy may take.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// What goes to one node.
pub struct Part {
    pub target: WriteTarget,
    pub request: OutRequest,
}

/// What is to be known of a write besides its parts.
pub struct Described {
    pub details: Value,
    pub custom_metadata: Option<String>,
    /// The documents that it changes.
    pub touched: Touched,
}

/// Who gets a write of these shards.
///
/// # Errors
/// 503: of some shard no copy takes writes.
pub fn targets(layout: &Layout, shards: &[Shard]) -> Result<SmallVec<[WriteTarget; 8]>, Error> {
    write_plan(layout, shards).map_err(|shards| {
        Error::system(
            503,
            "miroir_no_quorum",
            format!(
                "The write was not accepted: no copy of the shards {} is left that takes writes. Nothing was stored. Bring \
                 back the nodes that had them, or give up what only they had: `miroir-ctl nodes trust --help`.",
                shard_list(&shards)
            ),
        )
    })
}

/// Sends the parts, commits the task and answers 202; the turn ends with it.
pub async fn perform(
    app: &App,
    table: &RoutingTable,
    turn: Turn,
    parts: Vec<Part>,
    described: Described,
) -> Result<Response, Error> {
    let targets: Vec<WriteTarget> = parts.iter().map(|part| part.target.clone()).collect();
    let layout = turn.index.layout.clone();
    let leases = connect(app, table, &layout, &targets).await?;
    let results = send(table, &layout, &targets, leases, &parts).await;
    for (target, sent) in targets.iter().zip(&results) {
        if matches!(sent, Sent::Anew) {
            app.shared.control.counts_anew(target.node).await?;
        }
    }
    // What became of copies meanwhile counts: one that turned out to have lost its data has not taken the write.
    let newest = app.newest();
    let index = newest.again(&turn.index);
    let layout = index.map_or(layout, |index| index.layout.clone());
    drop(newest);
    let Verdict::Accepted { missed } = judge(&layout, &targets, &took(&results)) else {
        let error = not_accepted(table, &layout, &targets, &results, &turn);
        let fates: Vec<Fate> = results.iter().map(Sent::fate).collect();
        let diverged = diverged(&layout, &targets, &fates);
        let control = &app.shared.control;
        control.give_up(turn, diverged, described.touched).await?;
        return Err(error);
    };
    log_failures(table, &targets, &results);
    let parts = targets
        .iter()
        .zip(&results)
        .filter_map(|(target, sent)| match sent {
            Sent::Accepted(task_uid) => Some(NodePart {
                node: target.node,
                task_uid: *task_uid,
                shards: target.shards.to_vec(),
            }),
            _ => None,
        })
        .collect();
    let header = missed_header(table, &missed);
    let outcome = Outcome {
        details: described.details,
        parts,
        missed,
        touched: described.touched,
        error: None,
        custom_metadata: described.custom_metadata,
    };
    let response = accepted(app, turn, outcome).await?;
    Ok(match header {
        Some(missed) => response.header("X-Miroir-Degraded", missed),
        None => response,
    })
}

/// Sends all parts at once; what became of each, in their order.
///
/// Once enough copies have taken the write, the others are waited for no longer than that took again ([`STRAGGLERS`] at
/// least): a node that hangs must not hold up every write of the index. What it makes of its part is unknown then.
async fn send(
    table: &RoutingTable,
    layout: &Layout,
    targets: &[WriteTarget],
    leases: Vec<Result<Lease, ClientError>>,
    parts: &[Part],
) -> Vec<Sent> {
    let began = Instant::now();
    let mut results: Vec<Sent> = parts.iter().map(|_| Sent::late()).collect();
    let mut sending: FuturesUnordered<_> = leases
        .into_iter()
        .zip(parts)
        .enumerate()
        .map(|(place, (lease, part))| async move {
            let tasks = &table.nodes[usize::from(part.target.node.0)].tasks;
            let counted = tasks.so_far();
            let sent = match lease {
                Ok(lease) => match Sent::of(lease.send(&part.request, WRITE_DEADLINE).await) {
                    Sent::Accepted(uid) if !tasks.note(uid, counted) => Sent::Anew,
                    sent => sent,
                },
                Err(error) => Sent::Failed {
                    reason: error.to_string(),
                    unknown: false,
                },
            };
            (place, sent)
        })
        .collect();
    let accepted = |results: &[Sent]| {
        matches!(
            judge(layout, targets, &took(results)),
            Verdict::Accepted { .. }
        )
    };
    while let Some((place, sent)) = sending.next().await {
        results[place] = sent;
        if accepted(&results) {
            break;
        }
    }
    let patience = began.elapsed().max(STRAGGLERS);
    let mut over = pin!(sleep(patience));
    // A request that is given up here closes its connection.
    while let Either::Left((Some((place, sent)), _)) = select(sending.next(), over.as_mut()).await {
        results[place] = sent;
    }
    results
}

/// Which parts were accepted.
fn took(results: &[Sent]) -> Vec<bool> {
    results
        .iter()
        .map(|sent| matches!(sent, Sent::Accepted(_)))
        .collect()
}

/// Commits a task that must fail without anything being sent.
pub async fn fail(
    app: &App,
    turn: Turn,
    error: Error,
    described: Described,
) -> Result<Response, Error> {
    let outcome = Outcome {
        details: described.details,
        error: Some(error),
        custom_metadata: described.custom_metadata,
        ..Outcome::default()
    };
    accepted(app, turn, outcome).await
}

async fn accepted(app: &App, turn: Turn, outcome: Outcome) -> Result<Response, Error> {
    let summary = app.shared.control.commit(turn, outcome).await?;
    let body = serde_json::to_vec(&summary).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Response::json(202, Bytes::from(body)))
}

/// Takes a living connection to every target. Errors: 503 with nothing sent when what is left cannot make a quorum, and when
/// a node that is up has no connection free: an overload must not cost copies.
async fn connect(
    app: &App,
    table: &RoutingTable,
    layout: &Layout,
    targets: &[WriteTarget],
) -> Result<Vec<Result<Lease, ClientError>>, Error> {
    let leases = join_all(targets.iter().map(|target| {
        app.pools
            .connect(&table.nodes[usize::from(target.node.0)].address)
    }))
    .await;
    let busy = targets.iter().zip(&leases).find_map(|(target, lease)| {
        let error = lease.as_ref().err()?;
        let node = &table.nodes[usize::from(target.node.0)];
        (error.kind == ErrorKind::Busy && node.is_up()).then_some(node)
    });
    if let Some(node) = busy {
        BUSY.add(1);
        let why = format!("all connections to {} are in use", node.id);
        return Err(overloaded(&why));
    }
    let reachable: Vec<bool> = leases.iter().map(Result::is_ok).collect();
    match judge(layout, targets, &reachable) {
        Verdict::Accepted { .. } => Ok(leases),
        Verdict::NoQuorum { shards } => {
            let down: Vec<String> = targets
                .iter()
                .zip(&leases)
                .filter_map(|(target, lease)| {
                    let error = lease.as_ref().err()?;
                    Some(format!(
                        "{} ({error})",
                        table.nodes[usize::from(target.node.0)].id
                    ))
                })
                .collect();
            Err(no_quorum(
                &shards,
                &format!("cannot reach {}. Nothing was stored", down.join(", ")),
            ))
        }
    }
}

/// What one node made of its part.
enum Sent {
    Accepted(u32),
    /// Accepted by a node that lost what it had: its copies are not to be counted.
    Anew,
    /// A refusal in Meilisearch's form: nothing stored there.
    Refused(u16, Bytes),
    /// `unknown`: the node may have stored it all the same.
    Failed {
        reason: String,
        unknown: bool,
    },
}

impl Sent {
    /// Nothing was heard yet.
    fn late() -> Sent {
        Sent::Failed {
            reason: "enough other copies had taken it long before it answered".into(),
            unknown: true,
        }
    }

    fn of(reply: Result<Reply, ClientError>) -> Sent {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Acknowledged {
            task_uid: u32,
        }
        match reply {
            Err(error) => Sent::Failed {
                reason: error.to_string(),
                unknown: error.sent,
            },
            Ok(reply) if reply.status == 202 => {
                match serde_json::from_slice::<Acknowledged>(&reply.body) {
                    Ok(task) => Sent::Accepted(task.task_uid),
                    Err(_) => Sent::Failed {
                        reason: "it answered 202 without a taskUid".into(),
                        unknown: true,
                    },
                }
            }
            Ok(reply) if reply.status >= 400 => Sent::Refused(reply.status, reply.body),
            Ok(reply) => Sent::Failed {
                reason: format!("it answered {}", reply.status),
                unknown: true,
            },
        }
    }

    fn fate(&self) -> Fate {
        match self {
            Sent::Accepted(_) => Fate::Taken,
            Sent::Failed { unknown: true, .. } => Fate::Unknown,
            Sent::Refused(..) => Fate::NotTaken,
            Sent::Failed { unknown: false, .. } | Sent::Anew => Fate::Unreachable,
        }
    }
}

/// The client's error where no quorum took the write: the nodes' own refusal where all refused, else 503 that says
/// whether something may have been stored.
fn not_accepted(
    table: &RoutingTable,
    layout: &Layout,
    targets: &[WriteTarget],
    results: &[Sent],
    turn: &Turn,
) -> Error {
    let all_refused = results.iter().all(|sent| matches!(sent, Sent::Refused(..)));
    if let (true, Some(Sent::Refused(status, body))) = (all_refused, results.first()) {
        if let Some(error) =
            node_error(*status, body, &turn.index.settings).filter(|_| *status < 500)
        {
            let message = turn.index.in_clients_words(error.message);
            return Error { message, ..error };
        }
    }
    log_failures(table, targets, results);
    let stored: Vec<&str> = targets
        .iter()
        .zip(results)
        .filter(|(_, sent)| matches!(sent, Sent::Accepted(_) | Sent::Failed { unknown: true, .. }))
        .map(|(target, _)| node_id(table, target.node))
        .collect();
    let failed: Vec<&str> = targets
        .iter()
        .zip(results)
        .filter(|(_, sent)| !matches!(sent, Sent::Accepted(_)))
        .map(|(target, _)| node_id(table, target.node))
        .collect();
    let shards = match judge(layout, targets, &took(results)) {
        Verdict::NoQuorum { shards } => shards,
        Verdict::Accepted { .. } => Vec::new(),
    };
    let stored = if stored.is_empty() {
        "Nothing was stored".to_owned()
    } else {
        format!(
            "Part of it may have been stored on {}; sending it again is safe",
            stored.join(", ")
        )
    };
    no_quorum(
        &shards,
        &format!("{} did not take it. {stored}", failed.join(", ")),
    )
}

/// 503 `miroir_no_quorum`.
pub fn no_quorum(shards: &[Shard], what: &str) -> Error {
    Error::system(
        503,
        "miroir_no_quorum",
        format!(
            "The write was not accepted: too few copies of the shards {} took it: {what}. Bring the nodes back (GET \
             /_miroir/topology names them) and send it again.",
            shard_list(shards)
        ),
    )
}

fn log_failures(table: &RoutingTable, targets: &[WriteTarget], results: &[Sent]) {
    for (target, sent) in targets.iter().zip(results) {
        let reason = match sent {
            Sent::Accepted(_) => continue,
            Sent::Anew => {
                "it numbers its tasks anew: it was emptied, replaced or restored".to_owned()
            }
            Sent::Refused(status, _) => format!("it refused with status {status}"),
            Sent::Failed { reason, .. } => reason.clone(),
        };
        tracing::warn!(node = node_id(table, target.node), %reason, "a node did not take a write");
    }
}

/// `meili-2:3,7`: which copies missed the write and are out of sync now.
fn missed_header(table: &RoutingTable, missed: &[(Shard, NodeIdx)]) -> Option<String> {
    let mut nodes: Vec<NodeIdx> = missed.iter().map(|(_, node)| *node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let text: Vec<String> = nodes
        .into_iter()
        .map(|node| {
            let shards: Vec<Shard> = missed
                .iter()
                .filter(|(_, n)| *n == node)
                .map(|(shard, _)| *shard)
                .collect();
            format!("{}:{}", node_id(table, node), shard_list(&shards))
        })
        .collect();
    (!text.is_empty()).then(|| format!("missed={}", text.join(" ")))
}

fn node_id(table: &RoutingTable, node: NodeIdx) -> &str {
    &table.nodes[usize::from(node.0)].id
}
