//! Is each node there? Asked every second.
//!
//! A node is taken as down after two failed questions (one lost packet is no outage) and as up after one good one; the
//! cores take a node down themselves when a request to it fails, so the question here mostly brings nodes back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{interval, MissedTickBehavior};

use crate::bootstrap;
use crate::nodes::NodeClient;

const PERIOD: Duration = Duration::from_secs(1);
const FAILURES_TO_FALL: u32 = 2;

/// Runs until the node is retired.
pub(crate) async fn watch(client: Arc<NodeClient>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures = 0;
    loop {
        ticks.tick().await;
        match client.probe().await {
            Ok(()) => {
                failures = 0;
                if !client.node.is_up() && admit(&client).await {
                    tracing::info!(node = client.id(), "node is up");
                    client.node.set_up(true);
                }
            }
            Err(error) => {
                failures += 1;
                if failures >= FAILURES_TO_FALL && client.node.is_up() {
                    tracing::warn!(node = client.id(), %error, "node is down");
                    client.node.set_up(false);
                }
            }
        }
    }
}

/// A node that comes back may be another program than before: its version, our key and what it can do are looked at again.
async fn admit(client: &NodeClient) -> bool {
    match bootstrap::check_node(client).await {
        Ok(()) => {
            bootstrap::learn_federation(client).await;
            true
        }
        Err(fault) => {
            tracing::warn!(node = client.id(), fault = %fault.line, "node answers but cannot be used");
            false
        }
    }
}
