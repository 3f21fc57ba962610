//! Health: a node that was down is trusted again once it has shown that it still holds what it is said to hold.

use std::rc::Rc;

use miroir_router::{NodeIdx, Shard};

use super::Proxy;
use crate::node::{Answer, Request, Task};
use crate::runtime::Time;

const EVERY: Time = 30;
const DEADLINE: Time = 40;

impl Proxy {
    /// Checks a node for as long as the process lives.
    pub fn watch(self: &Rc<Self>, node: NodeIdx) {
        let nodes = usize::from(node.0) + 1;
        if self.nodes.borrow().len() < nodes {
            self.nodes.borrow_mut().resize(nodes, Default::default());
        }
        let proxy = Rc::clone(self);
        self.spawn(async move {
            while !proxy.world.store.borrow().nodes[usize::from(node.0)].gone {
                match proxy.world.call(node, Request::Probe, DEADLINE).await {
                    Ok(Answer::Alive { created }) => proxy.saw_up(node, created).await,
                    _ => proxy.saw_down(node),
                }
                proxy.world.runtime.sleep(EVERY).await;
            }
        });
    }

    pub(super) fn saw_down(&self, node: NodeIdx) {
        if let Some(seen) = self.nodes.borrow_mut().get_mut(usize::from(node.0)) {
            seen.up = false;
            seen.steady_since = None;
        }
    }

    async fn saw_up(self: &Rc<Self>, node: NodeIdx, created: Option<u64>) {
        let known = self.world.store.borrow().nodes[usize::from(node.0)].created;
        if self.world.rules.identity && (created.is_none() || created != known) {
            self.replaced(node).await;
            return;
        }
        if let Some(seen) = self.nodes.borrow_mut().get_mut(usize::from(node.0)) {
            seen.up = true;
            seen.steady_since = seen.steady_since.or(Some(self.world.runtime.now()));
        }
    }

    /// The node lost its data, or has another's: nothing on it is trusted, and it gets an index that can be filled.
    pub(super) async fn replaced(self: &Rc<Self>, node: NodeIdx) {
        self.saw_down(node);
        self.world
            .trace(|| format!("node {node} lost its data or was replaced"));
        let layout = self.planned.borrow().clone();
        let copies: Vec<(Shard, NodeIdx)> = layout
            .shards_of(node)
            .into_iter()
            .map(|shard| (shard, node))
            .collect();
        self.out_of_sync(&copies).await;
        let probe = self.world.call(node, Request::Probe, DEADLINE).await;
        let created = match probe {
            Ok(Answer::Alive { created }) => created,
            _ => return,
        };
        if created.is_none() {
            let _ = self
                .world
                .call(node, Request::Enqueue(Task::CreateIndex), DEADLINE)
                .await;
            return;
        }
        self.commit(move |store| {
            let row = &mut store.nodes[usize::from(node.0)];
            row.created = created;
            row.last_uid = 0;
        })
        .await;
    }
}
