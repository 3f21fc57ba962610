//! Asking nodes: one request to each target of a plan, answers back in the plan's order.
//!
//! A copy that fails costs one more round: the shards it was asked for are planned again without it. What no copy could
//! answer is named in the result; the caller decides whether that is an error or a partial answer.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use miroir_api::Error;
use miroir_net::client::{ClientError, ErrorKind, OutRequest, Reply};
use miroir_router::{read_plan, Index, NodeIdx, ReadTarget, RoutingTable, Shard};

use crate::core::App;
use crate::scrub::node_error;

/// A node may think for 1.5 s by default (`searchCutoffMs`), and users raise that; past this it counts as failed.
pub const READ_DEADLINE: Duration = Duration::from_secs(30);

/// What came back for a read.
pub struct Gathered {
    /// One body a node, ordered by the first shard that it answered for (ties in a merge are broken by that order).
    pub answers: Vec<(ReadTarget, Bytes)>,
    /// Shards that no copy answered for, ascending.
    pub missing: Vec<Shard>,
    /// The last thing that went wrong, for the error text.
    pub reason: Option<String>,
    /// What a node said of it, where it spoke: with no copy left its own words are the answer.
    pub fault: Option<Error>,
}

/// Which copies to ask.
pub struct Wanted<'a> {
    pub index: &'a Index,
    /// Only these shards; `None`: all.
    pub only: Option<&'a [Shard]>,
    /// Picks among copies: equal seeds pick equal copies.
    pub seed: u64,
}

impl App {
    /// Reads from one copy of each wanted shard. Errors: what a node says of the request itself (4xx).
    pub async fn scatter(
        &self,
        table: &RoutingTable,
        wanted: Wanted<'_>,
        build: impl Fn(&ReadTarget) -> OutRequest,
    ) -> Result<Gathered, Error> {
        let mut failed: Vec<NodeIdx> = Vec::new();
        let mut pending: Option<Vec<Shard>> = wanted.only.map(<[Shard]>::to_vec);
        let mut gathered = Gathered {
            answers: Vec::new(),
            missing: Vec::new(),
            reason: None,
            fault: None,
        };
        loop {
            let plan = self.plan(
                table,
                wanted.index,
                pending.as_deref(),
                wanted.seed,
                &failed,
            );
            gathered.missing.extend(&plan.uncovered);
            let sent = plan.targets.iter().map(|target| {
                let request = build(target);
                let address = &table.nodes[usize::from(target.node.0)].address;
                async move { self.pools.send(address, &request, READ_DEADLINE).await }
            });
            let replies = join_all(sent).await;
            let mut retry: Vec<Shard> = Vec::new();
            for (target, reply) in plan.targets.into_iter().zip(replies) {
                if let Err(error) = &reply {
                    // The health check notices only each second; other searches should not run into it meanwhile.
                    if matches!(error.kind, ErrorKind::Connect | ErrorKind::BackingOff) {
                        table.nodes[usize::from(target.node.0)].set_up(false);
                    }
                }
                match judge_reply(reply, wanted.index) {
                    Outcome::Answer(body) => gathered.answers.push((target, body)),
                    Outcome::Refused(error) => return Err(error),
                    Outcome::Failed { reason, fault } => {
                        let node = &table.nodes[usize::from(target.node.0)];
                        tracing::warn!(node = %node.id, %reason, "a node failed a read");
                        gathered.fault = fault;
                        gathered.reason = Some(format!("{}: {reason}", node.id));
                        failed.push(target.node);
                        retry.extend(&target.shards);
                    }
                }
            }
            if retry.is_empty() {
                gathered.missing.sort_unstable();
                gathered
                    .answers
                    .sort_by_key(|(target, _)| target.shards.first().copied());
                return Ok(gathered);
            }
            pending = Some(retry);
        }
    }

    /// Prefers nodes that are up; where that leaves a shard uncovered a node that was down is tried all the same.
    fn plan(
        &self,
        table: &RoutingTable,
        index: &Index,
        only: Option<&[Shard]>,
        seed: u64,
        failed: &[NodeIdx],
    ) -> miroir_router::ReadPlan {
        let not_failed = |node: NodeIdx| !failed.contains(&node);
        let up = |node: NodeIdx| not_failed(node) && table.nodes[usize::from(node.0)].is_up();
        let plan = read_plan(&index.layout, only, seed, up);
        if plan.uncovered.is_empty() {
            plan
        } else {
            read_plan(&index.layout, only, seed, not_failed)
        }
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

enum Outcome {
    Answer(Bytes),
    /// The request itself is wrong: every node says the same.
    Refused(Error),
    /// This copy cannot answer; another may.
    Failed {
        reason: String,
        /// What it said, where that may be told to the client.
        fault: Option<Error>,
    },
}

fn judge_reply(reply: Result<Reply, ClientError>, index: &Index) -> Outcome {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => {
            return Outcome::Failed {
                reason: error.to_string(),
                fault: None,
            };
        }
    };
    if reply.status < 300 {
        return Outcome::Answer(reply.body);
    }
    let Some(mut error) = node_error(reply.status, &reply.body, &index.settings) else {
        let reason = format!("it answered {} without an error object", reply.status);
        return Outcome::Failed {
            reason,
            fault: None,
        };
    };
    error.message = index.in_clients_words(error.message);
    // A node that refuses our key or does not know an index that it must hold is a node in trouble, not a bad request.
    let own_fault = matches!(
        error.code.as_ref(),
        "index_not_found" | "invalid_api_key" | "missing_authorization_header"
    );
    if reply.status >= 500 || own_fault {
        let reason = format!("it answered {} {}", reply.status, error.code);
        Outcome::Failed {
            reason,
            fault: Some(error).filter(|_| !own_fault),
        }
    } else {
        Outcome::Refused(error)
    }
}
