//! A search, as `proxy/src/scatter.rs` does it: a copy that fails costs one more round without it.

use std::collections::BTreeSet;
use std::rc::Rc;

use futures_util::future::join_all;
use miroir_router::{read_plan, NodeIdx, Shard};

use super::Proxy;
use crate::document::{Fields, Id};
use crate::node::{Answer, Request};
use crate::runtime::Time;

const DEADLINE: Time = 80;

/// What a search found; `missing`: shards that could not be searched, which the client is told.
pub struct Found {
    pub hits: Vec<(Id, Fields)>,
    pub missing: Vec<Shard>,
}

impl Proxy {
    pub async fn search(self: &Rc<Self>, seed: u64) -> Found {
        let pinned = self.pin();
        let layout = &pinned.layout;
        let mut failed: BTreeSet<NodeIdx> = BTreeSet::new();
        let mut wanted: Vec<Shard> = layout.all_shards().collect();
        let mut hits = Vec::new();
        let mut missing = Vec::new();
        for _ in 0..2 {
            let usable = |node: NodeIdx| self.usable(node) && !failed.contains(&node);
            let plan = read_plan(layout, Some(&wanted), seed, usable);
            missing.extend(plan.uncovered);
            self.world
                .trace(|| format!("search {seed:x} asks {:?}", plan.targets));
            let asked = plan.targets.iter().map(|target| {
                let filter = (!target.whole).then(|| target.shards.to_vec());
                self.world
                    .call(target.node, Request::Search(filter), DEADLINE)
            });
            let answers = join_all(asked).await;
            wanted = Vec::new();
            for (target, answer) in plan.targets.iter().zip(answers) {
                match answer {
                    Ok(Answer::Found(found)) => hits.extend(found),
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
