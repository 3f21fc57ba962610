//! The life of an index: created, given a primary key, deleted; and the answers about indexes from the catalogue.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use miroir_api::{is_index_uid, Error};
use miroir_auth::Access;
use reqwest::Method;
use serde_json::{json, Map, Value};
use tokio::time::{sleep, Instant};

use crate::catalogue::{Effect, Entry, IndexState};
use crate::clock::{rfc3339, Nanos};
use crate::nodes::{broadcast, NodeRequest};
use crate::plane::Plane;
use crate::tasks::{summary, Kind, Role, Status, Task};
use crate::types::TaskSummary;
use crate::writes::{primary_key_exists, Hold};

/// Refuses what cannot be an index uid, in Meilisearch's words.
pub(crate) fn check_uid(uid: &str) -> Result<(), Error> {
    if is_index_uid(uid) {
        return Ok(());
    }
    Err(Error::invalid(
        400,
        "invalid_index_uid",
        format!(
            "`{uid}` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric \
             characters, hyphens (-) and underscores (_), and can not be more than 512 bytes."
        ),
    ))
}

/// A task as it begins.
pub(crate) fn new_task(hold: &Hold, kind: Kind, details: Value) -> Task {
    Task {
        index_uid: Some(hold.index.clone()),
        node_uid: Some(hold.node_uid.clone()),
        ..bare_task(kind, details, hold.begun_at)
    }
}

/// A task of no index as it begins.
pub(crate) fn bare_task(kind: Kind, details: Value, enqueued_at: Nanos) -> Task {
    Task {
        uid: 0,
        index_uid: None,
        node_uid: None,
        kind,
        status: Status::Enqueued,
        details,
        error: None,
        doom: None,
        effect: Effect::default(),
        copies: 1,
        enqueued_at,
        started_at: None,
        finished_at: None,
        custom_metadata: None,
        canceled_by: None,
    }
}

/// A task that has failed before anything was sent.
pub(crate) fn failed_task(hold: &Hold, kind: Kind, details: Value, error: &Error) -> Task {
    Task {
        doom: Some(error.to_value()),
        ..new_task(hold, kind, details)
    }
}

impl Plane {
    /// `POST /indexes`. The uid has been checked.
    pub(crate) async fn create_index(
        self: &Arc<Self>,
        uid: &str,
        primary_key: Option<String>,
    ) -> Result<TaskSummary, Error> {
        let mut hold = self.hold(uid).await;
        let details = json!({ "primaryKey": primary_key });
        if hold.planned.is_some() {
            let error = Error::index_already_exists(uid);
            return self
                .register_failed(&hold, Kind::IndexCreation, details, error)
                .await;
        }
        let state = IndexState {
            primary_key: primary_key.clone(),
            ..IndexState::default()
        };
        let node_uid = hold.node_uid.clone();
        self.plan_creation(uid, &node_uid, state, &mut hold.counted)
            .await?;
        let body = json!({ "uid": node_uid, "primaryKey": primary_key });
        let request = NodeRequest::new(Method::POST, "/indexes", Some(body));
        let sent = async {
            let accepted =
                broadcast(&self.nodes(), &format!("Creating index `{uid}`"), &request).await?;
            let mut parts = self.parts(&accepted, Role::Counted);
            parts.extend(self.make_filterable(&node_uid).await?);
            Ok(parts)
        };
        match sent.await {
            Ok(parts) => {
                let mut task = new_task(&hold, Kind::IndexCreation, details);
                task.effect = Effect {
                    creates: true,
                    created_key: primary_key,
                    ..Effect::default()
                };
                Ok(summary(&self.accept(task, parts, Vec::new()).await?))
            }
            Err(error) => {
                self.undo_creation(&node_uid).await;
                Err(hold.in_clients_words(error))
            }
        }
    }

    /// `PATCH /indexes/{uid}` with a primary key, with another name, with both (or with none: lawful, and changes nothing).
    ///
    /// A primary key may change only while the index is empty, and a node sees only its own part. So the lane is held,
    /// what is on its way is waited for, and the whole cluster's documents are counted before anything is sent.
    pub(crate) async fn update_index(
        self: &Arc<Self>,
        uid: &str,
        primary_key: Option<String>,
        new_uid: Option<String>,
    ) -> Result<TaskSummary, Error> {
        check_uid(uid)?;
        let mut details = json!({ "primaryKey": primary_key });
        if let Some(new_uid) = &new_uid {
            check_uid(new_uid)?;
            details["oldIndexUid"] = json!(uid);
            details["newIndexUid"] = json!(new_uid);
        }
        let new_uid = new_uid.filter(|new_uid| new_uid != uid);
        let (hold, target) = self.hold_both(uid, new_uid.as_deref()).await;
        if hold.planned.is_none() {
            return self
                .register_failed(
                    &hold,
                    Kind::IndexUpdate,
                    details,
                    Error::index_not_found(uid),
                )
                .await;
        }
        let mut effect = match target.as_ref().map(|target| self.renaming(&hold, target)) {
            None => Effect::default(),
            Some(Ok(effect)) => effect,
            Some(Err(error)) => {
                return self
                    .register_failed(&hold, Kind::IndexUpdate, details, error)
                    .await
            }
        };
        effect.key.clone_from(&primary_key);
        if primary_key.is_some() {
            self.wait_until_idle(&hold).await?;
            let known = hold
                .planned
                .as_ref()
                .and_then(|state| state.primary_key.clone());
            // Setting the key that it has is lawful, whatever it holds.
            if known != primary_key && self.any_document(&hold).await? {
                let known = primary_key_exists(&known.unwrap_or_default());
                // Failures of the engine name the index, by the name that it gets.
                let called = target.as_ref().map_or(uid, |target| &target.index);
                let error = Error {
                    message: format!("Index `{called}`: {}", known.message),
                    ..known
                };
                return self
                    .register_failed(&hold, Kind::IndexUpdate, details, error)
                    .await;
            }
        }
        let mut parts = Vec::new();
        // Another name alone is nothing to the nodes.
        if primary_key.is_some() || effect.names.is_empty() {
            let request = NodeRequest::new(
                Method::PATCH,
                format!("/indexes/{}", hold.node_uid),
                Some(json!({ "primaryKey": primary_key })),
            );
            let accepted = broadcast(&self.nodes(), &format!("Updating index `{uid}`"), &request)
                .await
                .map_err(|error| hold.in_clients_words(error))?;
            parts = self.parts(&accepted, Role::Counted);
        }
        if let Some(key) = &primary_key {
            let displayed = self.known_displayed(&hold.node_uid, hold.planned.as_ref());
            let displaying = self.display_key(&hold.node_uid, &displayed, key).await?;
            effect.displayed = (!displaying.is_empty()).then_some(displayed);
            parts.extend(displaying);
        }
        let mut task = new_task(&hold, Kind::IndexUpdate, details);
        task.effect = effect;
        Ok(summary(&self.accept(task, parts, Vec::new()).await?))
    }

    /// Holds the lanes of one index or two, in the order of their names so that nobody waits in a circle.
    async fn hold_both(self: &Arc<Self>, uid: &str, other: Option<&str>) -> (Hold, Option<Hold>) {
        match other {
            None => (self.hold(uid).await, None),
            Some(other) if uid < other => {
                let hold = self.hold(uid).await;
                (hold, Some(self.hold(other).await))
            }
            Some(other) => {
                let target = self.hold(other).await;
                (self.hold(uid).await, Some(target))
            }
        }
    }

    /// `DELETE /indexes/{uid}`.
    pub(crate) async fn delete_index(self: &Arc<Self>, uid: &str) -> Result<TaskSummary, Error> {
        check_uid(uid)?;
        let hold = self.hold(uid).await;
        let details = Value::Object(Map::new());
        if hold.planned.is_none() {
            return self
                .register_failed(
                    &hold,
                    Kind::IndexDeletion,
                    details,
                    Error::index_not_found(uid),
                )
                .await;
        }
        let path = format!("/indexes/{}", hold.node_uid);
        let request = NodeRequest::new(Method::DELETE, path, None);
        let accepted =
            broadcast(&self.nodes(), &format!("Deleting index `{uid}`"), &request).await?;
        let mut task = new_task(&hold, Kind::IndexDeletion, details);
        task.effect = Effect {
            deletes: true,
            ..Effect::default()
        };
        task.copies = u32::try_from(self.layout().copies_per_shard()).unwrap_or(1);
        Ok(summary(
            &self
                .accept(task, self.parts(&accepted, Role::Counted), Vec::new())
                .await?,
        ))
    }

    /// `GET /indexes/{uid}`.
    pub(crate) fn show_index(&self, uid: &str) -> Result<Value, Error> {
        check_uid(uid)?;
        self.catalogue()
            .visible(uid)
            .and_then(show)
            .ok_or_else(|| Error::index_not_found(uid))
    }

    /// `GET /indexes`.
    pub(crate) fn list_indexes(&self, access: &Access, offset: usize, limit: usize) -> Value {
        let catalogue = self.catalogue();
        let listed = catalogue.listed().into_iter();
        let seen = listed.filter(|entry| access.sees(&entry.name));
        let all: Vec<Value> = seen.filter_map(show).collect();
        let total = all.len();
        let results: Vec<Value> = all.into_iter().skip(offset).take(limit).collect();
        json!({ "results": results, "offset": offset, "limit": limit, "total": total })
    }

    /// Waits until no accepted task of the index is on its way; the caller holds the lane, so none is added.
    async fn wait_until_idle(&self, hold: &Hold) -> Result<(), Error> {
        /// Longer than most bodies of work, shorter than clients' patience.
        const PATIENCE: Duration = Duration::from_secs(25);
        let deadline = Instant::now() + PATIENCE;
        while self
            .catalogue()
            .get(&hold.node_uid)
            .is_some_and(|entry| !entry.in_flight.is_empty())
        {
            if Instant::now() > deadline {
                return Err(Error::system(
                    503,
                    "miroir_index_busy",
                    format!(
                        "Index `{}` still has tasks on their way; wait for them and try again.",
                        hold.index
                    ),
                ));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Whether any node holds a document of the index.
    async fn any_document(&self, hold: &Hold) -> Result<bool, Error> {
        let path = format!("/indexes/{}/stats", hold.node_uid);
        let what = format!("Changing the primary key of `{}`", hold.index);
        let mut any = false;
        let nodes = self.nodes();
        let replies = join_all(nodes.iter().map(|node| node.get(&path))).await;
        for (client, reply) in nodes.iter().zip(replies) {
            match reply {
                Ok(reply) if reply.status == 200 => {
                    any |= reply.json()["numberOfDocuments"].as_u64() != Some(0)
                }
                _ => {
                    let message = format!(
                        "{what} needs every node, and node `{}` does not answer.",
                        client.id()
                    );
                    return Err(Error::system(
                        503,
                        "miroir_no_quorum",
                        format!("{message} Nothing was sent."),
                    ));
                }
            }
        }
        Ok(any)
    }
}

fn show(entry: &Entry) -> Option<Value> {
    let visible = entry.visible.as_ref()?;
    Some(json!({
        "uid": entry.name,
        "createdAt": rfc3339(entry.created_at),
        "updatedAt": rfc3339(entry.updated_at),
        "primaryKey": visible.primary_key,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_checked_as_meilisearch_does() {
        for good in ["a", "A-1_z", "0", &"x".repeat(400)] {
            assert!(check_uid(good).is_ok());
        }
        for bad in ["", "a b", "é", "a/b", &"x".repeat(401)] {
            assert_eq!(check_uid(bad).unwrap_err().code, "invalid_index_uid");
        }
    }
}
