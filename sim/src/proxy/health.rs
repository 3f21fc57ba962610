//! Health: a node that was down is trusted again once it has shown that it still holds what it is said to hold.

use std::rc::Rc;

use miroir_movement::{Mark, Transition};
use miroir_router::{Layout, NodeIdx, TaskCount};

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
        while self.tasks.borrow().len() < nodes {
            let store = self.world.store.borrow();
            let last = store.nodes[self.tasks.borrow().len()].last_uid;
            let tasks = TaskCount::default();
            tasks.restart(Some(last as u32).filter(|last| *last > 0));
            self.tasks.borrow_mut().push(Rc::new(tasks));
        }
        let proxy = Rc::clone(self);
        self.spawn(async move {
            while !proxy.world.store.borrow().nodes[usize::from(node.0)].gone {
                if !proxy.look(node).await {
                    proxy.saw_down(node);
                }
                proxy.world.runtime.sleep(EVERY).await;
            }
        });
    }

    /// Asks a node whether it holds what it was given; what it lost is out of sync, durably, when this resolves. False: it
    /// did not answer.
    pub(super) async fn look(self: &Rc<Self>, node: NodeIdx) -> bool {
        let counted = self.tasks.borrow()[usize::from(node.0)].so_far();
        let Ok(Answer::Alive {
            created,
            newest_task,
        }) = self.world.call(node, Request::Probe, DEADLINE).await
        else {
            return false;
        };
        let tasks = Rc::clone(&self.tasks.borrow()[usize::from(node.0)]);
        let behind = tasks.is_behind(newest_task, counted);
        self.saw_up(node, created, behind).await;
        if behind {
            tasks.restart(newest_task);
            let newest = newest_task.map_or(0, u64::from);
            let at = usize::from(node.0);
            self.commit(move |store| store.nodes[at].last_uid = newest)
                .await;
        }
        true
    }

    pub(super) fn saw_down(&self, node: NodeIdx) {
        if let Some(seen) = self.nodes.borrow_mut().get_mut(usize::from(node.0)) {
            seen.up = false;
            seen.steady_since = None;
        }
    }

    async fn saw_up(self: &Rc<Self>, node: NodeIdx, created: Option<u64>, behind: bool) {
        let known = self.world.store.borrow().nodes[usize::from(node.0)].created;
        let lost = self.world.rules.identity && (created.is_none() || created != known);
        let behind = self.world.rules.counts && behind;
        if lost || behind {
            self.recognise(node, created, lost, behind).await;
            return;
        }
        if let Some(seen) = self.nodes.borrow_mut().get_mut(usize::from(node.0)) {
            seen.up = true;
            seen.steady_since = seen.steady_since.or(Some(self.world.runtime.now()));
        }
    }

    /// The node lost its data, has another's, or went back in time: nothing on it is trusted, and it gets an index that
    /// can be filled (`control/src/identity.rs`).
    async fn recognise(
        self: &Rc<Self>,
        node: NodeIdx,
        created: Option<u64>,
        lost: bool,
        behind: bool,
    ) {
        self.world
            .trace(|| format!("node {node} lost data or was replaced"));
        let marks = self.take_out(node, lost);
        self.commit(move |store| {
            store.marks.extend(marks);
            let row = &mut store.nodes[usize::from(node.0)];
            if lost {
                row.created = created;
            }
        })
        .await;
        self.world.noticed(node);
        if behind {
            self.brought_back(node).await;
        }
        if created.is_none() {
            let _ = self.enqueue(node, Task::CreateIndex, DEADLINE).await;
        }
    }

    /// The node numbers tasks anew. What it may have lost is out of service, durably, when this resolves.
    pub(super) async fn counts_anew(&self, node: NodeIdx) {
        self.world.trace(|| format!("node {node} counts anew"));
        let marks = self.take_out(node, false);
        self.commit(move |store| store.marks.extend(marks)).await;
        self.brought_back(node).await;
    }

    async fn brought_back(&self, node: NodeIdx) {
        let brought_back = |layout: &Layout| Ok(Transition::brought_back(layout, node));
        let _ = self.make(brought_back).await;
    }

    fn take_out(&self, node: NodeIdx, lost: bool) -> Vec<Mark> {
        self.nodes.borrow_mut()[usize::from(node.0)].lost();
        let copies = match lost {
            true => self.layouts.borrow().copies_on(node),
            false => self.layouts.borrow().replaceable_on(node),
        };
        self.distrust(&copies)
    }
}
