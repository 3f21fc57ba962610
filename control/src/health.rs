//! Is each node there? Asked every second (`health.interval_ms`), and at once when something hints that it is not.
//!
//! Three hints come sooner than the next check. A core that runs into a node makes it suspect (`miroir_router::Health`). A
//! connection that we hold open to the node breaks when its process ends, so a death is noticed within a millisecond,
//! before most searches could run into it. And a check that fails is followed by the next one soon.
//!
//! A node that is not up is looked at again until it answers, and then has to be admitted: it may be another program
//! than before, or have lost what it held (`identity`).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use miroir_api::unix_socket;
use miroir_router::{Health, NodeState};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout, Instant};

use crate::bootstrap;
use crate::chats;
use crate::features;
use crate::network;
use crate::nodes::NodeClient;
use crate::plane::Plane;
use crate::rules;

/// Between attempts to hold a connection to a node, and for each.
const PERIOD: Duration = Duration::from_secs(1);
/// Between looks at what the cores found, and between checks of a node that is not up.
const LOOK: Duration = Duration::from_millis(100);
/// How long a held connection is kept: Meilisearch closes one that never asks after 5 s.
const HOLD: Duration = Duration::from_secs(3);

/// Runs until the node is retired.
pub(crate) async fn watch(plane: Arc<Plane>, client: Arc<NodeClient>) {
    let begun = Instant::now();
    let mut watch = Watch {
        health: Health::new(plane.health, client.node.state.load(), Duration::ZERO),
        refused: None,
        plane,
        client: Arc::clone(&client),
    };
    let mut line = pin!(broken_line(&client.node.address));
    let mut checked: Option<Instant> = None;
    loop {
        let broken = timeout(LOOK, &mut line).await.is_ok();
        if broken {
            line.set(broken_line(&client.node.address));
            watch.suspect();
        }
        let doubted = watch.doubts(begun.elapsed());
        let due = checked.is_none_or(|at| at.elapsed() >= watch.plane.health.interval);
        if due || broken || doubted || watch.health.state() != NodeState::Up {
            watch.check(begun).await;
            checked = Some(Instant::now());
        }
    }
}

struct Watch {
    health: Health,
    /// Why it answers and is not admitted, as last said.
    refused: Option<String>,
    plane: Arc<Plane>,
    client: Arc<NodeClient>,
}

impl Watch {
    /// The held connection broke, which is as good as a failed check: until the next one nobody needs to try.
    fn suspect(&mut self) {
        self.health.failed();
        if self.client.node.state.doubt() {
            tracing::debug!(
                node = self.client.id(),
                "a connection to the node has ended; looking at it"
            );
        }
    }

    /// Takes in what the cores found.
    fn doubts(&mut self, now: Duration) -> bool {
        let doubted =
            self.health.state() == NodeState::Up && self.client.node.state.load() != NodeState::Up;
        if doubted {
            self.health.doubted(now);
        }
        doubted
    }

    async fn check(&mut self, begun: Instant) {
        let before = self.client.node.state.load();
        let mut why = None;
        let mut state = match self.client.probe(self.plane.health.timeout).await {
            Ok(()) => self.health.passed(begun.elapsed()),
            Err(error) => {
                why = Some(error.to_string());
                self.health.failed()
            }
        };
        if state == NodeState::Up && before != NodeState::Up {
            let refused = self.admit().await.err();
            if let Some(line) = &refused {
                state = self.health.failed();
                if self.refused != refused {
                    tracing::warn!(node = self.client.id(), fault = %line, "node answers but cannot be used");
                }
            }
            self.refused = refused;
        }
        // What the cores found meanwhile is looked at next time.
        if state != NodeState::Up || before != NodeState::Up {
            self.client.node.set_state(state);
        }
        if state != before {
            let (node, state) = (self.client.id(), state.as_str());
            match &why {
                Some(why) => tracing::warn!(node, state, %why, "node's state has changed"),
                None => tracing::info!(node, state, "node's state has changed"),
            }
        }
    }

    /// Its version, our key and what it can do are looked at again, and what it holds.
    async fn admit(&self) -> Result<(), String> {
        let checked = bootstrap::check_node(&self.client).await;
        checked.map_err(|fault| fault.line)?;
        bootstrap::learn_federation(&self.client).await;
        features::restore(&self.plane.store, &self.client).await?;
        network::restore(&self.plane.nodes(), &self.client).await?;
        rules::restore(&self.plane.nodes(), &self.client).await?;
        chats::restore(&self.plane.nodes(), &self.client).await?;
        self.plane.recognise(&self.client).await
    }
}

/// A connection to a node.
async fn line(address: &str) -> std::io::Result<Box<dyn AsyncRead + Send + Unpin>> {
    Ok(match unix_socket(address) {
        Some(path) => Box::new(UnixStream::connect(path).await?),
        None => Box::new(TcpStream::connect(address).await?),
    })
}

/// Resolves when a connection that we hold open to the node ends before its time.
async fn broken_line(address: &str) {
    loop {
        let Ok(Ok(mut held)) = timeout(PERIOD, line(address)).await else {
            // The checks tell more.
            sleep(PERIOD).await;
            continue;
        };
        if timeout(HOLD, held.read(&mut [0])).await.is_ok() {
            return;
        }
    }
}
