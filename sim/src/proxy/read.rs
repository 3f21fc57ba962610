//! A search, as `proxy/src/scatter.rs` does it: a copy that fails costs one more round without it.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::join_all;
use miroir_router::{read_plan, NodeIdx, Shard};

use super::Proxy;
use crate::document::{Fields, Id};
use crate::node::{Answer, Request};
use crate::runtime::Time;

/// How long a node may take, mostly; some searches are waited for longer, and so is the end of the table they work on.
const DEADLINE: Time = 80;
const LONG_DEADLINE: Time = 1_000;

/// A bound for what ends by itself: a node that failed is not asked again.
const ROUNDS_MAX: usize = 8;

/// What a search found; `missing`: shards that could not be searched, which the client is told.
pub struct Found {
    pub hits: Vec<(Id, Fields)>,
    pub missing: Vec<Shard>,
}

impl Proxy {
    pub async fn search(self: &Rc<Self>, seed: u64) -> Found {
        let pinned = self.pin();
        let patient = self.world.random.chance(300);
        let deadline = if patient { LONG_DEADLINE } else { DEADLINE };
        let mut failed: BTreeSet<NodeIdx> = BTreeSet::new();
        let mut wanted: Vec<Shard> = pinned.layout.all_shards().collect();
        let mut hits = Vec::new();
        let mut missing = Vec::new();
        for round in 0..ROUNDS_MAX {
            // What became of copies since the search began counts for every later round, and for every answer.
            let layout = match round > 0 && self.world.rules.newest {
                true => self.shown(),
                false => Arc::clone(&pinned.layout),
            };
            let usable = |node: NodeIdx| self.usable(node) && !failed.contains(&node);
            let mut plan = read_plan(&layout, Some(&wanted), seed, usable);
            if !plan.uncovered.is_empty() {
                // A node that is not known to be up is better than none.
                let not_failed = |node: NodeIdx| !failed.contains(&node);
                let more = read_plan(&layout, Some(&plan.uncovered), seed, not_failed);
                plan.complete(more, true);
            }
            missing.extend(plan.uncovered);
            self.world
                .trace(|| format!("search {seed:x} asks {:?}", plan.targets));
            let asked = plan.targets.iter().map(|target| {
                let filter = (!target.whole).then(|| target.shards.to_vec());
                self.world
                    .call(target.node, Request::Search(filter), deadline)
            });
            let answers = join_all(asked).await;
            wanted = Vec::new();
            let newest = self.shown();
            for (target, answer) in plan.targets.iter().zip(answers) {
                match answer {
                    Ok(Answer::Found(found)) => {
                        if self.world.rules.newest && !newest.serves_all(target) {
                            wanted.extend(target.shards.iter().copied());
                        } else {
                            hits.extend(found);
                        }
                    }
                    _ => {
                        failed.insert(target.node);
                        self.saw_down(target.node);
                        wanted.extend(target.shards.iter().copied());
                    }
                }
            }
            if wanted.is_empty() {
                break;
            }
        }
        missing.extend(wanted);
        Found { hits, missing }
    }
}
