//! Anti-entropy: do all copies hold the same? On demand, at the start, and every few hours.
//!
//! Copies are listed while writes go on, so they may differ for a moment. What differs is compared once more in the
//! index's lane, with everything applied; what differs then is a copy that has gone wrong, by a node's fault, or by a
//! crash of ours between the nodes' answers and our own. It is put out of sync, and repaired like any other.
//!
//! The start counts as suspicious: the last process may have been killed while a write had reached some copies only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use miroir_api::Error;
use miroir_movement::{compare, Document, Key};
use miroir_router::{Layout, NodeIdx, Shard};
use serde::Serialize;
use tokio::time::{sleep, Instant};

use super::fill::take_lane;
use super::node::{Chunks, Side};
use super::{NodeState, LANE_MAX, SETTLING, SHARDS_MAX};
use crate::clock::{now, rfc3339};
use crate::nodes::NodeClient;
use crate::plane::Plane;

/// Between comparisons while copies that served at the start could not be compared.
const OWED: Duration = Duration::from_secs(60);
/// Keys of a differing copy that are named.
const NAMED_MAX: usize = 10;

/// What a comparison of all copies found.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub started_at: String,
    /// None: it is running.
    pub finished_at: Option<String>,
    pub indexes: Vec<IndexReport>,
}

/// Of one index.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IndexReport {
    pub index: String,
    /// Documents that were compared, each counted once.
    pub documents: u64,
    /// Copies that were put out of sync.
    pub differing: Vec<Differing>,
    /// Copies that could not be compared: they do not serve, or their node is down.
    pub not_compared: u64,
    /// Those among them that serve: they are owed a comparison.
    #[serde(skip)]
    owed: usize,
    /// Why it was not compared to the end.
    pub error: Option<String>,
}

/// A copy that differs from the one that is taken to be right.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Differing {
    pub shard: Shard,
    pub node: String,
    pub right: String,
    pub documents: usize,
    /// Some of them.
    pub ids: Vec<Key>,
}

/// Copies of one shard that serve on usable nodes.
type Copies = BTreeMap<Shard, Vec<NodeIdx>>;

impl Plane {
    /// Compares all copies, of one index (by the clients' name) or of all; puts those out of sync that differ.
    ///
    /// # Errors
    /// There is no such index, or a comparison is running already.
    pub(crate) async fn verify(self: &Arc<Self>, index: Option<&str>) -> Result<Report, Error> {
        let indexes: Vec<(String, String)> = {
            let catalogue = self.catalogue();
            let visible = catalogue
                .listed()
                .into_iter()
                .filter(|entry| index.is_none_or(|index| entry.name == index));
            visible
                .map(|entry| (entry.node_uid.clone(), entry.name.clone()))
                .collect()
        };
        if let (Some(index), true) = (index, indexes.is_empty()) {
            return Err(Error::index_not_found(index));
        }
        let Ok(_alone) = self.movements.verifying.try_lock() else {
            let message = "A comparison of the copies is running already. Wait for its end: GET /_miroir/verify.";
            return Err(Error::system(409, "miroir_busy", message));
        };
        let mut report = Report {
            started_at: rfc3339(now()),
            ..Report::default()
        };
        for (node_uid, name) in indexes {
            self.movements.lock().report = Some(report.clone());
            let mut of_index = IndexReport {
                index: name,
                ..IndexReport::default()
            };
            if let Err(why) = self.verify_index(&node_uid, &mut of_index).await {
                tracing::warn!(
                    index = of_index.index,
                    error = why,
                    "copies could not be compared to the end"
                );
                of_index.error = Some(why);
            }
            report.indexes.push(of_index);
        }
        report.finished_at = Some(rfc3339(now()));
        self.movements.lock().report = Some(report.clone());
        Ok(report)
    }

    /// Compares, and tries at once again what failed; the copies found to differ are repaired in the background.
    ///
    /// # Errors
    /// As [`Plane::verify`].
    pub(crate) async fn repair(self: &Arc<Self>, index: Option<&str>) -> Result<Report, Error> {
        let report = self.verify(index).await;
        self.movements.retry();
        report
    }

    /// What the last comparison found, or the running one so far.
    pub(crate) fn last_report(&self) -> Option<Report> {
        self.movements.lock().report.clone()
    }

    async fn verify_index(
        self: &Arc<Self>,
        node_uid: &str,
        report: &mut IndexReport,
    ) -> Result<(), String> {
        let Some(layout) = self
            .catalogue()
            .get(node_uid)
            .map(|entry| Arc::clone(&entry.layouts.published))
        else {
            return Ok(());
        };
        let all: Vec<Shard> = layout.all_shards().collect();
        for shards in all.chunks(SHARDS_MAX) {
            let copies = self.comparable(&layout, shards);
            let there: usize = shards
                .iter()
                .map(|shard| layout.copies_of(*shard).len())
                .sum();
            report.owed += self.unreachable(&layout, shards);
            report.not_compared += (there - copies.values().map(Vec::len).sum::<usize>()) as u64;
            let listings = self.listings(node_uid, &copies, None).await?;
            let suspects = differing(&copies, &listings);
            report.documents += copies
                .iter()
                .filter_map(|(shard, nodes)| {
                    Some(listings.get(&(*nodes.first()?, *shard))?.len() as u64)
                })
                .sum::<u64>();
            if !suspects.is_empty() {
                self.recheck(node_uid, suspects, report).await?;
            }
        }
        Ok(())
    }

    /// The copies that can be compared, of shards that have several.
    fn comparable(&self, layout: &Layout, shards: &[Shard]) -> Copies {
        let usable = |node: NodeIdx| super::node_state(self, node) == NodeState::Usable;
        let serving = |shard: &Shard| {
            let copies = layout.copies_of(*shard).iter();
            let serving = copies.filter(|copy| copy.state.serves() && usable(copy.node));
            let nodes: Vec<NodeIdx> = serving.map(|copy| copy.node).collect();
            (nodes.len() > 1).then_some((*shard, nodes))
        };
        shards.iter().filter_map(serving).collect()
    }

    /// How many copies serve on nodes that cannot be asked now, beside others.
    fn unreachable(&self, layout: &Layout, shards: &[Shard]) -> usize {
        let usable = |node: NodeIdx| super::node_state(self, node) == NodeState::Usable;
        let of_shard = |shard: &Shard| {
            let copies = layout.copies_of(*shard).iter();
            let serving: Vec<NodeIdx> = copies
                .filter(|copy| copy.state.serves())
                .map(|copy| copy.node)
                .collect();
            let unreachable = serving.iter().filter(|node| !usable(**node)).count();
            if serving.len() > 1 {
                unreachable
            } else {
                0
            }
        };
        shards.iter().map(of_shard).sum()
    }

    /// What each copy holds; of all keys, or of these.
    async fn listings(
        &self,
        node_uid: &str,
        copies: &Copies,
        keys: Option<&[Key]>,
    ) -> Result<BTreeMap<(NodeIdx, Shard), Vec<Document>>, String> {
        let mut by_node: BTreeMap<NodeIdx, Vec<Shard>> = BTreeMap::new();
        for (shard, nodes) in copies {
            for node in nodes {
                by_node.entry(*node).or_default().push(*shard);
            }
        }
        let pace = keys.is_none().then_some(&self.movements.pace);
        let mut listings = BTreeMap::new();
        for (node, shards) in by_node {
            let (client, primary_key, count) = self.asked(node_uid, node)?;
            let side = Side {
                client: &client,
                index: node_uid,
                primary_key: primary_key.as_deref(),
                shards: count,
            };
            listings.extend(shards.iter().map(|shard| ((node, *shard), Vec::new())));
            for document in side
                .list(&shards, keys, &mut Chunks::new(pace, None))
                .await?
            {
                if let Some(listing) = listings.get_mut(&(node, document.shard)) {
                    listing.push(document);
                }
            }
        }
        Ok(listings)
    }

    fn asked(
        &self,
        node_uid: &str,
        node: NodeIdx,
    ) -> Result<(Arc<NodeClient>, Option<String>, u16), String> {
        let catalogue = self.catalogue();
        let gone = "the index or a node is gone";
        let entry = catalogue.get(node_uid).ok_or(gone)?;
        let primary_key = entry
            .visible
            .as_ref()
            .and_then(|state| state.primary_key.clone());
        Ok((
            self.node(node).ok_or(gone)?,
            primary_key,
            entry.layouts.published.shards,
        ))
    }

    /// Compares once more what seemed to differ, while no write is on its way.
    async fn recheck(
        self: &Arc<Self>,
        node_uid: &str,
        suspects: BTreeMap<Shard, Vec<Key>>,
        report: &mut IndexReport,
    ) -> Result<(), String> {
        let hold = take_lane(self, node_uid).await?;
        let Some(layout) = self
            .catalogue()
            .get(node_uid)
            .map(|entry| Arc::clone(&entry.layouts.published))
        else {
            return Ok(());
        };
        let shards: Vec<Shard> = suspects.keys().copied().collect();
        let mut copies = self.comparable(&layout, &shards);
        let nodes: BTreeSet<NodeIdx> = copies.values().flatten().copied().collect();
        let deadline = Some(Instant::now() + LANE_MAX);
        for node in &nodes {
            let (client, ..) = self.asked(node_uid, *node)?;
            let side = Side {
                client: &client,
                index: node_uid,
                primary_key: None,
                shards: 0,
            };
            side.applied(deadline).await?;
        }
        let keys: Vec<Key> = suspects.into_values().flatten().collect();
        let listings = self.listings(node_uid, &copies, Some(&keys)).await?;
        // A node that lost its data before it was listed must not be taken as right.
        for node in &nodes {
            let (client, ..) = self.asked(node_uid, *node)?;
            self.recognise(&client).await?;
        }
        let layout = self
            .catalogue()
            .get(node_uid)
            .map(|entry| Arc::clone(&entry.layouts.published));
        let now = layout.map_or_else(Copies::new, |layout| self.comparable(&layout, &shards));
        let listed = copies.len();
        copies.retain(|shard, nodes| now.get(shard) == Some(nodes));
        report.owed += listed - copies.len();
        let name = |node: NodeIdx| {
            self.node(node)
                .map_or_else(String::new, |node| node.id().to_owned())
        };
        let mut wrong = Vec::new();
        for (shard, nodes) in &copies {
            let Some(found) = comparison(*shard, nodes, &listings) else {
                continue;
            };
            for (node, keys) in found.wrong {
                tracing::error!(
                    index = report.index,
                    shard = shard.0,
                    node = name(node),
                    documents = keys.len(),
                    "a copy differs from the others and is out of sync"
                );
                wrong.push((*shard, node));
                report.differing.push(Differing {
                    shard: *shard,
                    node: name(node),
                    right: name(found.right),
                    documents: keys.len(),
                    ids: keys.into_iter().take(NAMED_MAX).collect(),
                });
            }
        }
        self.put_out_of_sync(node_uid, &wrong)
            .await
            .map_err(|error| error.message)?;
        drop(hold);
        Ok(())
    }
}

fn comparison(
    shard: Shard,
    nodes: &[NodeIdx],
    listings: &BTreeMap<(NodeIdx, Shard), Vec<Document>>,
) -> Option<miroir_movement::Comparison> {
    let copies: Vec<(NodeIdx, &[Document])> = nodes
        .iter()
        .filter_map(|node| Some((*node, listings.get(&(*node, shard))?.as_slice())))
        .collect();
    compare(&copies)
}

/// The keys in which copies seem to differ.
fn differing(
    copies: &Copies,
    listings: &BTreeMap<(NodeIdx, Shard), Vec<Document>>,
) -> BTreeMap<Shard, Vec<Key>> {
    let mut suspects = BTreeMap::new();
    for (shard, nodes) in copies {
        let found = comparison(*shard, nodes, listings);
        let mut keys: Vec<Key> = found
            .into_iter()
            .flat_map(|found| found.wrong)
            .flat_map(|(_, keys)| keys)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        if !keys.is_empty() {
            suspects.insert(*shard, keys);
        }
    }
    suspects
}

/// Runs until the runtime stops. `interval`: zero for never.
pub(crate) async fn run_anti_entropy(plane: Arc<Plane>, interval: Duration) {
    sleep(SETTLING * 2).await;
    if interval.is_zero() {
        return std::future::pending().await;
    }
    // The comparison after the start is done only once every copy was in it: a node that was down may have what the
    // others have not, or the other way round.
    let mut owed = true;
    loop {
        match plane.verify(None).await {
            Ok(report) => {
                let done = |index: &IndexReport| index.owed == 0 && index.error.is_none();
                owed &= !report.indexes.iter().all(done);
                let differing: usize = report
                    .indexes
                    .iter()
                    .map(|index| index.differing.len())
                    .sum();
                tracing::info!(
                    indexes = report.indexes.len(),
                    differing,
                    "copies were compared"
                );
            }
            Err(error) => tracing::warn!(error = error.message, "copies were not compared"),
        }
        sleep(if owed { interval.min(OWED) } else { interval }).await;
    }
}
