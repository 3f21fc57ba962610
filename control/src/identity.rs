//! Is the data on a node still what we left there?
//!
//! A node that was emptied, replaced or restored answers as happily as before, and with nothing on it every search over it
//! would be short. Meilisearch tells of each index when it was created, and never changes it while the index lives: that
//! is the identity of an index on a node, recorded once the index is there. It is compared whenever a node is admitted:
//! at the start, and each time it comes back from a silence, before it is said to be up. Where the index is gone or is
//! another one, all its copies on the node are out of sync, durably, until they are repaired.
//!
//! A node that was restored from a backup has the same indexes, and older data: its task numbers tell
//! ([`miroir_router::TaskCount`]), when it is admitted and with each task that it takes. Its copies are out of sync, too,
//! where another copy serves; where there is none, old data is the best that is left.
//!
//! An index of another origin may hold documents that are not ours. A node with such documents is not admitted: they
//! may be somebody's, so nothing is written there and nothing deleted.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use futures_util::future::join_all;
use miroir_api::{Error, SHARD_FIELD};
use miroir_movement::Transition;
use miroir_router::NodeIdx;

use crate::catalogue::{Catalogue, Effect};
use crate::clock::{parse_rfc3339, rfc3339, Nanos};
use crate::nodes::NodeClient;
use crate::plane::Plane;
use crate::store::{CopyRow, Identity, Store};

/// An index that a node must hold.
pub(crate) struct Expected {
    node_uid: String,
    /// Copies on the node that serve.
    serving: usize,
}

/// What a look at a node found out.
#[derive(Default)]
pub(crate) struct Findings {
    identities: Vec<Identity>,
    /// Indexes that are gone or others, by the nodes' name.
    lost: Vec<String>,
    /// The node went back in time: indexes that are there are older than they were.
    pub behind: bool,
    /// The number of its newest task, where the node was asked.
    counted: Option<Option<u32>>,
    /// Why it must not be used at all.
    foreign: Option<String>,
}

/// What became of an index on a node.
#[derive(Debug, PartialEq)]
enum Fate {
    Same,
    FirstSeen(Nanos),
    Other(Nanos),
    Missing,
}

fn fate(recorded: Option<Nanos>, found: Option<Nanos>) -> Fate {
    match (recorded, found) {
        (_, None) => Fate::Missing,
        (None, Some(found)) => Fate::FirstSeen(found),
        (Some(recorded), Some(found)) if recorded == found => Fate::Same,
        (Some(_), Some(found)) => Fate::Other(found),
    }
}

/// What a node must hold. Indexes that unfinished tasks create or delete are left out: they may be there or not, rightly.
pub(crate) fn expected<'a>(
    catalogue: &Catalogue,
    node: NodeIdx,
    unfinished: impl Iterator<Item = (Option<&'a str>, &'a Effect)>,
) -> Vec<Expected> {
    let changing: HashSet<&str> = unfinished
        .filter(|(_, effect)| effect.creates || effect.deletes)
        .filter_map(|(node_uid, _)| node_uid)
        .collect();
    catalogue
        .iter()
        .filter(|entry| entry.visible.is_some() && entry.planned.is_some())
        .filter(|entry| !changing.contains(entry.node_uid.as_str()))
        .map(|entry| Expected {
            node_uid: entry.node_uid.clone(),
            serving: entry.layouts.published.serving_on(node).len(),
        })
        .collect()
}

/// Looks at a node. Errors: it did not answer.
pub(crate) async fn examine(
    store: &Store,
    client: &NodeClient,
    expected: &[Expected],
) -> Result<Findings, String> {
    let recorded = store.identities(client.id().to_owned()).await;
    let recorded: BTreeMap<String, Option<Nanos>> = recorded
        .map_err(|error| error.to_string())?
        .into_iter()
        .map(|identity| (identity.index_uid, identity.created_at))
        .collect();
    let counted = client.node.tasks.so_far();
    let newest_task = newest_task(client).await?;
    let found = indexes_of(client).await?;
    let mut findings = Findings {
        behind: client.node.tasks.is_behind(newest_task, counted),
        counted: Some(newest_task),
        ..Findings::default()
    };
    for Expected { node_uid, serving } in expected {
        let known = recorded.get(node_uid).copied().flatten();
        let created_at = found.get(node_uid).copied();
        let fate = fate(known, created_at);
        if fate == Fate::Same {
            continue;
        }
        let identity = Identity {
            node: client.id().to_owned(),
            index_uid: node_uid.clone(),
            created_at,
        };
        if let Fate::FirstSeen(_) = fate {
            findings.identities.push(identity);
            continue;
        }
        if *serving > 0 {
            tracing::error!(
                node = client.id(),
                index = node_uid,
                ours = known.map(rfc3339),
                found = created_at.map(rfc3339),
                copies = serving,
                "the node does not hold the index that it was given: was it emptied, replaced or restored? Its copies are \
                 out of sync until they are repaired"
            );
        }
        if known.is_some() || *serving > 0 {
            findings.lost.push(node_uid.clone());
        }
        if matches!(fate, Fate::Other(_)) && holds_foreign_documents(client, node_uid).await? {
            // Not recorded: it is foreign the next time, too.
            findings.foreign = Some(format!(
                "node `{}` holds an index `{node_uid}` with documents that are not ours: correct its address under \
                 `nodes`, or delete the index on it, or start it with an empty --db-path",
                client.id()
            ));
        } else {
            findings.identities.push(identity);
        }
    }
    Ok(findings)
}

/// Every index that the node has, and when it was created.
async fn indexes_of(client: &NodeClient) -> Result<BTreeMap<String, Nanos>, String> {
    const PAGE: usize = 1000;
    let mut indexes = BTreeMap::new();
    for offset in (0..).step_by(PAGE) {
        let path = format!("/indexes?limit={PAGE}&offset={offset}");
        let reply = client.get(&path).await;
        let reply = reply.map_err(|error| format!("GET /indexes: {error}"))?;
        if reply.status != 200 {
            return Err(format!("GET /indexes answered {}", reply.status));
        }
        let body = reply.json();
        let page = body["results"].as_array().cloned().unwrap_or_default();
        indexes.extend(page.iter().filter_map(|index| {
            let created_at = parse_rfc3339(index["createdAt"].as_str()?)?;
            Some((index["uid"].as_str()?.to_owned(), created_at))
        }));
        if page.len() < PAGE {
            break;
        }
    }
    Ok(indexes)
}

/// The number of the newest task that the node has taken; `None`: it has taken none.
async fn newest_task(client: &NodeClient) -> Result<Option<u32>, String> {
    let reply = client.get("/tasks?limit=1").await;
    let reply = reply.map_err(|error| format!("GET /tasks: {error}"))?;
    if reply.status != 200 {
        return Err(format!("GET /tasks answered {}", reply.status));
    }
    let uid = reply.json()["results"][0]["uid"].as_u64();
    Ok(uid.and_then(|uid| u32::try_from(uid).ok()))
}

/// Whether a document lacks the hidden shard field, which each of ours has.
async fn holds_foreign_documents(client: &NodeClient, node_uid: &str) -> Result<bool, String> {
    let reply = client.get(&format!("/indexes/{node_uid}/stats")).await;
    let stats = reply
        .map_err(|error| format!("GET /indexes/{node_uid}/stats: {error}"))?
        .json();
    let documents = stats["numberOfDocuments"].as_u64();
    let ours = stats["fieldDistribution"][SHARD_FIELD].as_u64();
    Ok(documents.unwrap_or(0) != ours.unwrap_or(0))
}

impl Findings {
    /// Takes what the node lost out of service in the catalogue, and says whether anything was; the caller publishes it.
    /// All is durable when the future resolves. Its error: why the node must not be used.
    ///
    /// What counts is which copies serve, or are about to, at this moment: a fill may have ended since the node was looked
    /// at, and none ends after this that began before.
    pub(crate) fn record(
        self,
        store: &Store,
        client: &NodeClient,
        catalogue: &mut Catalogue,
    ) -> (bool, impl Future<Output = Result<(), String>>) {
        if self.behind {
            tracing::error!(
                node = client.id(),
                "the node numbers its tasks anew: was it restored from a backup? Its copies are out of sync where others \
                 serve, until they are repaired"
            );
        }
        if self.behind || !self.lost.is_empty() {
            client.losses.fetch_add(1, Ordering::Relaxed);
        }
        let mut rows = Vec::new();
        for entry in catalogue.iter_mut() {
            let copies = if self.lost.contains(&entry.node_uid) {
                entry.layouts.copies_on(client.idx)
            } else if self.behind {
                entry.layouts.replaceable_on(client.idx)
            } else {
                continue;
            };
            let marks = entry.layouts.distrust(&copies).into_iter();
            rows.extend(marks.map(|(shard, _, state)| CopyRow {
                index_uid: entry.node_uid.clone(),
                shard: shard.0,
                node: client.id().to_owned(),
                state,
            }));
        }
        let shown = !rows.is_empty();
        let stored = store.identify(self.identities, rows);
        let (node, restarted) = (Arc::clone(&client.node), store.clone());
        let counts_from = self.counted.filter(|_| self.behind);
        let durable = async move {
            stored.await.map_err(|error| error.to_string())?;
            if let Some(newest) = counts_from {
                node.tasks.restart(newest);
                let stored = restarted.restart_node_tasks(node.id.clone(), newest).await;
                stored.map_err(|error| error.to_string())?;
            }
            self.foreign.map_or(Ok(()), Err)
        };
        (shown, durable)
    }
}

impl Plane {
    /// Whether a node that answers again holds what it was given. What it lost is out of sync, durably and in the
    /// published table, when this resolves.
    ///
    /// # Errors
    /// It cannot be used: it did not answer, or holds what is not ours.
    pub(crate) async fn recognise(&self, client: &NodeClient) -> Result<(), String> {
        let expected = {
            let catalogue = self.catalogue();
            let flights = self.flights.lock();
            let tasks = flights.values().map(|flight| &flight.task);
            let effects = tasks.map(|task| (task.node_uid.as_deref(), &task.effect));
            expected(&catalogue, client.idx, effects)
        };
        self.settle_identities(client, &expected).await
    }

    /// Records an index that has just been created on all nodes.
    pub(crate) async fn identify_index(&self, node_uid: &str) {
        let nodes = self.nodes();
        join_all(
            nodes
                .iter()
                .map(|client| self.identify_on(client, node_uid)),
        )
        .await;
    }

    /// Records an index that has just been created on this node, whatever was known of it before.
    pub(crate) async fn identify_on(&self, client: &NodeClient, node_uid: &str) {
        let Ok(reply) = client.get(&format!("/indexes/{node_uid}")).await else {
            // Seen for the first time when it is admitted again.
            return;
        };
        let body = reply.json();
        let created_at = body["createdAt"].as_str().and_then(parse_rfc3339);
        let recorded = if body["code"] == "index_not_found" {
            let serving = self.catalogue().get(node_uid).map_or(0, |entry| {
                entry.layouts.published.serving_on(client.idx).len()
            });
            let expected = Expected {
                node_uid: node_uid.to_owned(),
                serving,
            };
            self.settle_identities(client, &[expected]).await
        } else if created_at.is_some() {
            let identity = Identity {
                node: client.id().to_owned(),
                index_uid: node_uid.to_owned(),
                created_at,
            };
            let recorded = self.store.identify(vec![identity], Vec::new()).await;
            recorded.map_err(|error| error.to_string())
        } else {
            Err(format!("GET /indexes/{node_uid} answered {}", reply.status))
        };
        if let Err(why) = recorded {
            tracing::warn!(node = client.id(), index = node_uid, %why, "an index's identity was not recorded");
        }
    }

    async fn settle_identities(
        &self,
        client: &NodeClient,
        expected: &[Expected],
    ) -> Result<(), String> {
        let findings = examine(&self.store, client, expected).await?;
        self.settle(findings, client).await
    }

    /// A node has just numbered a task anew: it was emptied, replaced or restored. What it may have lost is out of service,
    /// durably and in the published table, when this resolves; then it is looked at more closely.
    pub(crate) async fn counts_anew(&self, node: NodeIdx) -> Result<(), Error> {
        let Some(client) = self.node(node) else {
            return Ok(());
        };
        let findings = Findings {
            behind: true,
            ..Findings::default()
        };
        client.node.state.doubt();
        self.settle(findings, &client)
            .await
            .map_err(Error::internal)
    }

    async fn settle(&self, findings: Findings, client: &NodeClient) -> Result<(), String> {
        let behind = findings.behind;
        let durable = {
            let mut catalogue = self.catalogue();
            let (shown, durable) = findings.record(&self.store, client, &mut catalogue);
            if shown {
                self.publish(&catalogue);
            }
            durable
        };
        durable.await?;
        if behind {
            let brought_back = |entry: &crate::catalogue::Entry| {
                let layout = &entry.layouts.published;
                let transition = Transition::brought_back(layout, client.idx);
                (!transition.is_empty()).then(|| transition.apply(layout))
            };
            let changed = self.change_layouts(brought_back).await;
            changed.map_err(|error| error.message)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_the_one_that_was_recorded_or_its_copies_are_lost() {
        assert_eq!(fate(Some(1), Some(1)), Fate::Same);
        assert_eq!(fate(Some(1), Some(2)), Fate::Other(2));
        assert_eq!(fate(Some(1), None), Fate::Missing);
        assert_eq!(fate(None, Some(1)), Fate::FirstSeen(1));
        // Clients see it, so every node had it once.
        assert_eq!(fate(None, None), Fate::Missing);
    }
}
