//! Asking nodes how their tasks are doing.
//!
//! One loop a node, so that a slow node holds up only its own parts. It sleeps while the node owes nothing, asks about
//! 5 ms after something was sent (a small write is done by then), and backs off to 200 ms while nothing moves. A node
//! that is down or restarting only delays it: node tasks are durable.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::nodes::{NodeClient, NodeRequest};
use crate::plane::Plane;

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(200);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bounds the length of the query string.
const UIDS_MAX: usize = 200;
/// A node works in order, so what is far behind need not be asked about yet.
const ASKED_MAX: usize = 2 * UIDS_MAX;

/// Runs until the node is retired.
pub(crate) async fn poll_node(plane: Arc<Plane>, client: Arc<NodeClient>) {
    let work = plane.flights.work_of(client.idx);
    let mut pause = PAUSE_MIN;
    loop {
        let pending = plane.flights.pending(client.id());
        if pending.is_empty() {
            work.notified().await;
            pause = PAUSE_MIN;
        }
        if timeout(pause, work.notified()).await.is_ok() {
            pause = PAUSE_MIN;
            sleep(pause).await;
        }
        let moved = client.node.is_up() && ask(&plane, &client).await;
        if moved {
            plane.flights.moved.notify_one();
            pause = PAUSE_MIN;
        } else {
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// Asks about the oldest tasks that the node owes; says whether anything moved.
async fn ask(plane: &Plane, client: &NodeClient) -> bool {
    let mut moved = false;
    let mut pending = plane.flights.pending(client.id());
    pending.truncate(ASKED_MAX);
    for uids in pending.chunks(UIDS_MAX) {
        let list = uids
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let request = NodeRequest::get(format!("/tasks?uids={list}&limit={}", uids.len()));
        match client.send_within(&request, ANSWER_TIMEOUT).await {
            Ok(reply) if reply.status == 200 => {
                moved |= plane.flights.absorb(client.id(), uids, &reply.json())
            }
            Ok(reply) => tracing::warn!(
                node = client.id(),
                status = reply.status,
                "polling tasks was refused"
            ),
            Err(error) => {
                tracing::debug!(node = client.id(), %error, "polling tasks failed");
                break;
            }
        }
    }
    moved
}
