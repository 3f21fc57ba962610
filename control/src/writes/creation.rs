//! Creating an index on the way to something else, and taking that back.

use std::sync::Arc;

use futures_util::future::join_all;
use miroir_api::{Error, SHARD_FIELD};
use miroir_router::Index;
use reqwest::Method;
use serde_json::{json, Value};

use super::index_for;
use crate::catalogue::{Entry, IndexState};
use crate::clock::now;
use crate::nodes::{broadcast, Accepted, NodeRequest};
use crate::plane::Plane;
use crate::settings::Displayed;
use crate::store::IndexRow;
use crate::tasks::{Part, Role};

impl Plane {
    /// Creates a missing index on every node, without a primary key (the parts of the write carry it, so that a write
    /// that fails leaves an index without a key, as it does on one node), and makes the shard field filterable.
    pub(super) async fn create_for_write(
        &self,
        uid: &str,
        node_uid: &str,
        counted: &mut bool,
    ) -> Result<(Vec<Part>, Arc<Index>), Error> {
        self.plan_creation(uid, node_uid, IndexState::default(), counted)
            .await?;
        match self.create_on_nodes(node_uid).await {
            Ok(parts) => {
                let catalogue = self.catalogue();
                self.publish(&catalogue);
                let index = index_for(uid, node_uid, catalogue.get(node_uid), &self.layout());
                Ok((parts, Arc::new(index)))
            }
            Err(error) => {
                self.undo_creation(node_uid).await;
                Err(error)
            }
        }
    }

    /// Plans an index before a node hears of it: a crash in between leaves a trace to clean up by. Counts the turn
    /// that could not be counted before, for want of an entry.
    pub(crate) async fn plan_creation(
        &self,
        uid: &str,
        node_uid: &str,
        state: IndexState,
        counted: &mut bool,
    ) -> Result<(), Error> {
        let stored = {
            let mut catalogue = self.catalogue();
            let entry = catalogue.entry(node_uid, uid, &self.layout(), now());
            entry.planned = Some(state);
            if !*counted {
                entry.turns += 1;
                *counted = true;
            }
            self.store.put_index(IndexRow::from(&*entry))
        };
        Ok(stored.await?)
    }

    async fn create_on_nodes(&self, node_uid: &str) -> Result<Vec<Part>, Error> {
        let create = NodeRequest::new(Method::POST, "/indexes", Some(json!({ "uid": node_uid })));
        let created = broadcast(
            &self.nodes(),
            &format!("Creating index `{node_uid}`"),
            &create,
        )
        .await?;
        let mut parts = self.parts(&created, Role::AuxiliaryCreation);
        parts.extend(self.make_filterable(node_uid).await?);
        Ok(parts)
    }

    /// Makes the shard field filterable on every node, on an index whose settings are the defaults.
    pub(crate) async fn make_filterable(&self, node_uid: &str) -> Result<Vec<Part>, Error> {
        let body = json!({ "filterableAttributes": [SHARD_FIELD] });
        self.preset(node_uid, body).await
    }

    /// Makes every node display a primary key that the index gets, where clients are not shown it.
    pub(crate) async fn display_key(
        &self,
        node_uid: &str,
        displayed: &Displayed,
        primary_key: &str,
    ) -> Result<Vec<Part>, Error> {
        match displayed.for_nodes(Some(primary_key)) {
            Some(list) => {
                self.preset(node_uid, json!({ "displayedAttributes": list }))
                    .await
            }
            None => Ok(Vec::new()),
        }
    }

    /// Changes settings on every node on the way to something else.
    async fn preset(&self, node_uid: &str, body: Value) -> Result<Vec<Part>, Error> {
        let request = NodeRequest::new(
            Method::PATCH,
            format!("/indexes/{node_uid}/settings"),
            Some(body),
        );
        let accepted = broadcast(
            &self.nodes(),
            &format!("Preparing index `{node_uid}`"),
            &request,
        )
        .await?;
        Ok(self.parts(&accepted, Role::Auxiliary))
    }

    /// Node tasks as parts that stand for all shards of their node.
    pub(crate) fn parts(&self, accepted: &[Accepted], role: Role) -> Vec<Part> {
        let fleet = self.fleet();
        accepted
            .iter()
            .filter_map(|(idx, uid)| {
                let client = fleet.seats().get(usize::from(idx.0))?;
                let shards = fleet.layout.shards_of(*idx);
                Some(Part::new(client.id(), *uid, role, shards))
            })
            .collect()
    }

    /// Takes back the creation of an index for a write that was not accepted.
    pub(crate) async fn undo_creation(&self, node_uid: &str) {
        let request = NodeRequest::new(Method::DELETE, format!("/indexes/{node_uid}"), None);
        let nodes = self.nodes();
        let sent = join_all(nodes.iter().map(|client| client.send(&request))).await;
        for (client, answer) in nodes.iter().zip(sent) {
            if let Err(error) = answer {
                tracing::warn!(index = node_uid, node = client.id(), %error, "an index created for nothing was not removed");
            }
        }
        let removed = {
            let mut catalogue = self.catalogue();
            let kept = catalogue.get_mut(node_uid).is_some_and(|entry| {
                entry.planned = None;
                entry.visible.is_some() || !entry.in_flight.is_empty()
            });
            if catalogue.get(node_uid).is_some_and(Entry::is_gone) {
                catalogue.remove(node_uid);
            }
            self.publish(&catalogue);
            (!kept).then(|| self.store.remove_index(node_uid.to_owned()))
        };
        if let Some(removed) = removed {
            if let Err(error) = removed.await {
                tracing::warn!(index = node_uid, %error, "the trace of an index created for nothing stays");
            }
        }
    }
}
