//! What changes would move, for people: by node and by index, with estimates of documents and bytes.
//!
//! Shards are about equally large, so a shard's documents are estimated as its index's divided by the shards. Numbers
//! that nobody can tell just now (a node is down) are null.

use miroir_api::Error;
use miroir_auth::Access;
use miroir_router::{Layout, NodeIdx};
use serde_json::{json, Value};

use super::changes::{Change, Target};
use super::plan::{load, IndexPlan, Plan};
use super::Fleet;
use crate::plane::Plane;

/// What some copies weigh; None: nobody can tell.
#[derive(Clone, Copy)]
struct Weight {
    documents: f64,
    bytes: Option<f64>,
}

impl Plane {
    /// What would move if `changes` were applied now.
    ///
    /// # Errors
    /// They cannot be made.
    pub(crate) async fn diff(&self, changes: &[Change]) -> Result<Value, Error> {
        let stats = self
            .stats(&Access::everything(), Default::default())
            .await
            .ok();
        let fleet = self.fleet();
        let target = self.target(changes).await?;
        let plan = Plan::new(&target, &fleet.layout, &self.catalogue())?;
        let weigh = |index: &IndexPlan| {
            let own = stats.as_ref()?["indexes"].get(&index.name)?;
            let documents = own["numberOfDocuments"].as_u64()? as f64;
            let bytes = own["rawDocumentDbSize"].as_u64().map(|bytes| bytes as f64);
            let shards = f64::from(target.spec.shards);
            Some(Weight {
                documents: documents / shards,
                bytes: bytes.map(|bytes| bytes / shards),
            })
        };
        let weights: Vec<Option<Weight>> = plan.indexes.iter().map(weigh).collect();
        let weighed: Vec<(&IndexPlan, Option<Weight>)> = plan.indexes.iter().zip(weights).collect();
        let everything = moving(&weighed, |_| true);
        let lost: Vec<Value> = plan
            .indexes
            .iter()
            .filter(|index| !index.lost.is_empty())
            .map(|index| json!({ "index": index.name, "shards": index.lost }))
            .collect();
        Ok(json!({
            "version": fleet.layout.version,
            "nextVersion": plan.layout.version,
            "changes": changes,
            "replicationFactor": pair(fleet.layout.replication_factor, target.spec.replication_factor),
            "replicaGroups": pair(fleet.layout.replica_groups, target.spec.replica_groups),
            "nodes": nodes_view(&fleet, &target, &plan.layout, &weighed),
            "indexes": weighed.iter().filter(|(index, _)| !index.incoming.is_empty() || !index.outgoing.is_empty()).map(|(index, weight)| {
                let mut view = moving(&[(*index, *weight)], |_| true);
                view["uid"] = json!(index.name);
                view
            }).collect::<Vec<_>>(),
            "moves": everything,
            "lost": lost,
        }))
    }
}

fn pair(now: impl serde::Serialize, then: impl serde::Serialize) -> Value {
    json!({ "now": now, "then": then })
}

fn nodes_view(
    fleet: &Fleet,
    target: &Target,
    then: &Layout,
    weighed: &[(&IndexPlan, Option<Weight>)],
) -> Vec<Value> {
    let mut views = Vec::new();
    for (planned, row) in target.spec.nodes.iter().zip(&target.rows) {
        let idx = NodeIdx(row.position);
        let was_there = fleet.is_member(idx);
        if row.removed && !was_there {
            continue;
        }
        let mut view = moving(weighed, |node| node == idx);
        view["id"] = json!(row.id);
        view["address"] = json!(row.address);
        view["group"] = json!(planned.group);
        view["weight"] = json!(planned.weight);
        view["zone"] = json!(planned.zone);
        view["shards"] = pair(load(&fleet.layout, idx), load(then, idx));
        view["change"] = json!(match (was_there, row.removed) {
            (false, _) => Some("added"),
            (true, true) => Some("removed"),
            _ if target.moved.contains(&idx) => Some("moved"),
            _ => None,
        });
        views.push(view);
    }
    views
}

/// The copies that would be made on such nodes, what they weigh, and those that would go from there.
fn moving(weighed: &[(&IndexPlan, Option<Weight>)], such: impl Fn(NodeIdx) -> bool) -> Value {
    let (mut incoming, mut outgoing) = (0, 0);
    let (mut documents, mut bytes) = (Some(0.0), Some(0.0));
    for (index, weight) in weighed {
        let count = |copies: &[(_, NodeIdx)]| copies.iter().filter(|(_, node)| such(*node)).count();
        let comes = count(&index.incoming);
        incoming += comes;
        outgoing += count(&index.outgoing);
        if comes > 0 {
            let comes = comes as f64;
            let known = *weight;
            documents = documents
                .zip(known)
                .map(|(sum, weight)| sum + comes * weight.documents);
            let known = known.and_then(|weight| weight.bytes);
            bytes = bytes.zip(known).map(|(sum, bytes)| sum + comes * bytes);
        }
    }
    let rounded = |number: Option<f64>| number.map(|number| number.ceil() as u64);
    json!({
        "copiesIn": incoming,
        "copiesOut": outgoing,
        "documents": rounded(documents),
        "bytes": rounded(bytes),
    })
}
