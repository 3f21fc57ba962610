//! Compares the copies that serve: after a crash, when writes may have reached some and not others, and now and then.

use std::rc::Rc;

use futures_util::future::join_all;
use miroir_movement::{compare, Document, NodeState};
use miroir_router::{NodeIdx, Shard};

use super::Proxy;
use crate::node::{Answer, Request};
use crate::runtime::Time;

const DEADLINE: Time = 400;

/// Between comparisons that nothing asked for.
const EVERY: Time = 3_000;

impl Proxy {
    pub(super) fn verify_is_due(&self) -> bool {
        if !self.world.rules.verify {
            return false;
        }
        self.verifying.get() || self.world.runtime.now() - self.verified.get() >= EVERY
    }

    /// Compares every shard once; what could not be compared is tried again at the next look.
    pub(super) async fn verify(self: &Rc<Self>) {
        let shards: Vec<Shard> = self.layout().all_shards().collect();
        let mut all = true;
        for shard in shards {
            all &= self.verify_shard(shard).await;
        }
        if !all {
            return;
        }
        self.verified.set(self.world.runtime.now());
        self.verifying.set(false);
        let turn = self.lane.take(true).await;
        self.commit(|store| store.clean = true).await;
        drop(turn);
    }

    async fn verify_shard(self: &Rc<Self>, shard: Shard) -> bool {
        let _turn = self.lane.take(true).await;
        let layout = self.layout();
        let serving = layout
            .copies_of(shard)
            .iter()
            .filter(|copy| copy.state.serves());
        let serving: Vec<NodeIdx> = serving.map(|copy| copy.node).collect();
        if serving.len() < 2 {
            return true;
        }
        if serving
            .iter()
            .any(|node| self.state(*node) != NodeState::Usable)
        {
            return false;
        }
        let listings = join_all(serving.iter().map(|node| async move {
            let world = &self.world;
            let applied = world.call(*node, Request::AwaitApplied, DEADLINE).await;
            let Ok(Answer::Applied) = applied else {
                return None;
            };
            let list = Request::List {
                shards: vec![shard],
                keys: None,
            };
            match world.call(*node, list, DEADLINE).await {
                Ok(Answer::Listed(listing)) => Some((*node, listing)),
                _ => None,
            }
        }))
        .await;
        let Some(listings) = listings
            .into_iter()
            .collect::<Option<Vec<(NodeIdx, Vec<Document>)>>>()
        else {
            return false;
        };
        let copies: Vec<(NodeIdx, &[Document])> = listings
            .iter()
            .map(|(node, listing)| (*node, listing.as_slice()))
            .collect();
        let Some(comparison) = compare(&copies) else {
            return true;
        };
        // A node that lost its data before it was listed must not be taken as right.
        for node in &serving {
            if !self.look(*node).await {
                return false;
            }
        }
        let layout = self.layout();
        let still = layout
            .copies_of(shard)
            .iter()
            .filter(|copy| copy.state.serves());
        if !still.map(|copy| copy.node).eq(serving.iter().copied()) {
            return false;
        }
        let wrong: Vec<(Shard, NodeIdx)> = comparison
            .wrong
            .iter()
            .map(|(node, _)| (shard, *node))
            .collect();
        self.world
            .trace(|| format!("verified shard {shard}: {comparison:?}"));
        wrong.iter().for_each(|(_, node)| self.unsure_of(*node));
        self.out_of_sync(&wrong).await;
        true
    }
}
