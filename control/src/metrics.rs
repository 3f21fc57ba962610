//! What the control plane shows on the page of metrics: nothing is counted, all is looked up when somebody asks.

use std::collections::BTreeMap;

use miroir_metrics::{Family, Page};
use miroir_router::{CopyState, NodeState};

use crate::handle::Control;

const INFO: Family = Family::gauge(
    "miroir_info",
    "Always 1: which version runs, and on which driver its cores do their input and output.",
    "version,driver",
);
const EPOCH: Family = Family::gauge(
    "miroir_routing_epoch",
    "How often the routing table was published since the start.",
    "",
);
const NODES: Family = Family::gauge(
    "miroir_node_state",
    "1 for the state that the node is in: up, suspect (avoided until it was checked) or down.",
    "node,state",
);
const LOSSES: Family = Family::gauge(
    "miroir_node_losses",
    "How often since the start a node was found to have lost what it held.",
    "node",
);
const COPIES: Family = Family::gauge(
    "miroir_copies",
    "Copies of shards in each state; only in_sync and leaving ones serve.",
    "index,state",
);
const TASKS: Family = Family::gauge(
    "miroir_tasks_in_flight",
    "Accepted tasks that have not ended.",
    "",
);

const MOVEMENTS: Family = Family::gauge(
    "miroir_movements",
    "Pieces of work that bring copies to where they belong or repair them: running, or waiting for their turn.",
    "state",
);
const MOVED: Family = Family::gauge(
    "miroir_movements_documents",
    "Documents of the movements that run: done, and in all.",
    "count",
);
const MOVED_IN_ALL: Family = Family::counter(
    "miroir_documents_moved_total",
    "Documents that were copied to, or deleted from, copies that were filled or repaired.",
    "",
);

/// All of it, in the order in which it is shown.
pub const METRICS: &[Family] = &[
    INFO,
    EPOCH,
    NODES,
    LOSSES,
    COPIES,
    MOVEMENTS,
    MOVED,
    MOVED_IN_ALL,
    TASKS,
];

fn name(state: CopyState) -> &'static str {
    match state {
        CopyState::Joining => "joining",
        CopyState::InSync => "in_sync",
        CopyState::Leaving => "leaving",
        CopyState::LeftOver => "left_over",
        CopyState::OutOfSync => "out_of_sync",
    }
}

impl Control {
    /// Writes [`METRICS`] as of now.
    pub fn write_metrics(&self, page: &mut Page) {
        let plane = self.plane();
        let table = plane.publisher.current();
        let two = |first: String, second: String| format!("{first},{second}");

        page.family(&INFO);
        let version = Page::label("version", env!("CARGO_PKG_VERSION"));
        page.sample(&two(version, Page::label("driver", &plane.driver)), 1);
        page.family(&EPOCH);
        page.sample("", table.epoch);

        page.family(&NODES);
        for client in plane.nodes().iter() {
            let now = client.node.state.load();
            for state in NodeState::ALL {
                let labels = two(
                    Page::label("node", client.id()),
                    Page::label("state", state.as_str()),
                );
                page.sample(&labels, u8::from(state == now));
            }
        }
        page.family(&LOSSES);
        for client in plane.nodes().iter() {
            let losses = client.losses.load(std::sync::atomic::Ordering::Relaxed);
            page.sample(&Page::label("node", client.id()), losses);
        }

        page.family(&COPIES);
        let mut indexes: Vec<_> = table.indexes.values().collect();
        indexes.sort_by(|a, b| a.uid.cmp(&b.uid));
        for index in indexes {
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for copy in index.layout.copies.iter().flatten() {
                *counts.entry(name(copy.state)).or_default() += 1;
            }
            for (state, count) in counts {
                let labels = two(
                    Page::label("index", &index.uid),
                    Page::label("state", state),
                );
                page.sample(&labels, count);
            }
        }
        let movements = plane.movements_view();
        page.family(&MOVEMENTS);
        page.sample(&Page::label("state", "running"), movements.running.len());
        page.sample(&Page::label("state", "waiting"), movements.waiting.len());
        page.family(&MOVED);
        let running = || movements.running.iter();
        let (done, total) = (running().map(|it| it.done), running().map(|it| it.total));
        page.sample(&Page::label("count", "done"), done.sum::<u64>());
        page.sample(&Page::label("count", "total"), total.sum::<u64>());
        page.family(&MOVED_IN_ALL);
        page.sample("", movements.documents_moved);
        page.family(&TASKS);
        page.sample("", plane.flights.lock().len());
    }
}
