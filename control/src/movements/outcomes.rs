//! How accepted writes fared on a node that others are to rely on.
//!
//! A node may take a write and fail when it carries it out: its disk is full. Its copies are out of sync once the write's
//! task has ended ([`crate::finish`]), and a task ends when all its nodes are done with it. Before that such a copy still
//! serves, and must be no source: it would undo the write on the copies that have it. Nor may another copy go because this
//! one is there.

use std::sync::Arc;
use std::time::Duration;

use miroir_router::NodeIdx;
use serde_json::Value;
use tokio::time::{sleep, Instant};

use super::node::POLL_MIN;
use crate::clock::now;
use crate::flights::Flight;
use crate::nodes::NodeClient;
use crate::plane::Plane;
use crate::tasks::{Part, Role, Status};

/// How writes fared on a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fared {
    Well,
    /// It, or a node that knows better, has not said yet.
    Unknown,
    /// A write failed here and not, or perhaps not, elsewhere.
    Badly,
}

impl Plane {
    /// Waits until every accepted write of the index has ended on these nodes, which must be up. The caller holds the
    /// index's lane, so that none comes along.
    ///
    /// # Errors
    /// A node failed a write that others have carried out, or may have; or it is not done at `deadline`.
    pub(super) async fn fared_well(
        &self,
        node_uid: &str,
        nodes: &[NodeIdx],
        deadline: Instant,
    ) -> Result<(), String> {
        for node in nodes {
            let client = self.node(*node).ok_or("a node is gone")?;
            loop {
                match self.fared(node_uid, client.id()) {
                    Fared::Well => break,
                    Fared::Unknown if !client.node.is_up() => {
                        return Err(format!("node `{}` went down", client.id()));
                    }
                    Fared::Badly => {
                        let id = client.id();
                        return Err(format!("node `{id}` failed a write that other nodes may have: see `GET /tasks` there"));
                    }
                    Fared::Unknown if Instant::now() > deadline => {
                        let id = client.id();
                        return Err(format!(
                            "node `{id}`: its tasks take too long to hold up writes for"
                        ));
                    }
                    Fared::Unknown => sleep(POLL_MIN).await,
                }
            }
        }
        Ok(())
    }

    /// Whether one of these nodes has not run a write of the index that was accepted so long ago.
    pub(super) fn are_behind(&self, node_uid: &str, nodes: &[NodeIdx], by: Duration) -> bool {
        let nodes: Vec<_> = nodes.iter().filter_map(|node| self.node(*node)).collect();
        let open = |part: &Part| {
            let of = |client: &Arc<NodeClient>| client.id() == part.node;
            !part.status.is_finished() && nodes.iter().any(of)
        };
        let before = now() - i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        let flights = self.flights.lock();
        let mut writes = flights.values().filter(|flight| is_write(flight, node_uid));
        writes.any(|flight| flight.task.enqueued_at < before && flight.parts.iter().any(open))
    }

    fn fared(&self, node_uid: &str, node: &str) -> Fared {
        let nodes = self.nodes();
        let is_up = |id: &str| {
            let mut found = nodes.iter().filter(|client| client.id() == id);
            found.next().is_some_and(|client| client.node.is_up())
        };
        let flights = self.flights.lock();
        let writes = flights.values().filter(|flight| is_write(flight, node_uid));
        let worst = writes.map(|flight| fared(&flight.parts, node, is_up)).max();
        worst.unwrap_or(Fared::Well)
    }
}

fn is_write(flight: &Flight, node_uid: &str) -> bool {
    let of_index = flight.task.node_uid.as_deref() == Some(node_uid);
    // What has ended is in the layouts.
    of_index && flight.task.kind.writes_documents() && !flight.ended
}

/// Of one write. What is wrong with a request is wrong on every node; only what is wrong with a node is its own.
fn fared(parts: &[Part], node: &str, is_up: impl Fn(&str) -> bool) -> Fared {
    let counted = || parts.iter().filter(|part| part.role == Role::Counted);
    let own = || counted().filter(|part| part.node == node);
    let failed = |part: &Part| matches!(part.status, Status::Failed | Status::Canceled);
    if own().any(|part| !part.status.is_finished()) {
        return Fared::Unknown;
    }
    let Some(failure) = own().find(|part| failed(part)) else {
        return Fared::Well;
    };
    if counted().any(|part| part.status == Status::Succeeded) {
        return Fared::Badly;
    }
    let open = || counted().filter(|part| !part.status.is_finished());
    let kind = failure.error.as_ref().map(|error| &error["type"]);
    if open().next().is_none() || kind.and_then(Value::as_str) == Some("invalid_request") {
        return Fared::Well;
    }
    match open().any(|part| is_up(&part.node)) {
        true => Fared::Unknown,
        false => Fared::Badly,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_failure_of_one_node_alone_is_its_own() {
        let part = |node: &str, status: Status, kind: &str| {
            let mut part = Part::new(node, 1, Role::Counted, Vec::new());
            part.status = status;
            part.error = (status == Status::Failed).then(|| json!({ "type": kind }));
            part
        };
        let of_a = |status: Status, kind: &str, of_b: Status, b_is_up: bool| {
            let parts = [part("a", status, kind), part("b", of_b, "internal")];
            fared(&parts, "a", |_| b_is_up)
        };
        use Status::{Canceled, Enqueued, Failed, Processing, Succeeded};
        assert_eq!(of_a(Succeeded, "", Enqueued, false), Fared::Well);
        assert_eq!(of_a(Processing, "", Succeeded, true), Fared::Unknown);
        assert_eq!(of_a(Failed, "internal", Succeeded, true), Fared::Badly);
        assert_eq!(of_a(Canceled, "", Succeeded, true), Fared::Badly);
        assert_eq!(of_a(Failed, "internal", Failed, true), Fared::Well);
        assert_eq!(of_a(Failed, "internal", Enqueued, true), Fared::Unknown);
        assert_eq!(of_a(Failed, "internal", Enqueued, false), Fared::Badly);
        assert_eq!(
            of_a(Failed, "invalid_request", Enqueued, false),
            Fared::Well
        );
    }
}
