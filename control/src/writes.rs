//! Document writes: a turn in the index's lane, and the commit that makes the write a task.
//!
//! The data plane asks for a turn, splits and sends the documents, and commits. Everything that a write needs to know
//! of the index (does it exist, by which primary key is it split) is decided when the turn is granted, on the *planned*
//! state, and cannot change while the turn is held.

mod creation;

use std::sync::Arc;

use miroir_api::Error;
use miroir_movement::Touched;
use miroir_router::{CopyState, Index, Layout, NodeIdx, Shard};

use crate::catalogue::{Catalogue, Effect, Entry, IndexState};
use crate::clock::{now, Nanos};
use crate::indexes::check_uid;
use crate::lane::Guard;
use crate::plane::Plane;
use crate::settings::Displayed;
use crate::store::{CopyRow, IndexRow, NewTask};
use crate::tasks::{merge, summary, Kind, Part, Role, Status, Task};
use crate::types::{BeginWrite, InferredKey, Outcome, TaskSummary, Turn, WriteKind};

/// What a held turn owes.
pub(crate) struct TurnInner {
    plane: Arc<Plane>,
    index: String,
    /// What nodes call the index: fixed as long as the turn is held.
    node_uid: String,
    kind: WriteKind,
    /// When the turn was granted: nothing was sent to a node before, so no part started earlier.
    begun_at: Nanos,
    guard: Option<Guard>,
    /// Counted in the entry's `turns`.
    counted: bool,
    /// The auxiliary parts of the index's creation.
    creation: Option<Vec<Part>>,
    /// The index gets this primary key if the write succeeds.
    sets_key: Option<String>,
    /// Nodes were told to display that key, although clients are not shown it.
    displays_key: Option<(Displayed, Vec<Part>)>,
}

impl Drop for TurnInner {
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else {
            return;
        };
        self.plane.end_turn(&self.node_uid, self.counted);
        if self.creation.take().is_some() {
            // Nothing was accepted, so the index must not stay. The lane is held until it is gone.
            let (plane, node_uid) = (Arc::clone(&self.plane), std::mem::take(&mut self.node_uid));
            self.plane.runtime.spawn(async move {
                plane.undo_creation(&node_uid).await;
                drop(guard);
            });
        }
    }
}

/// An exclusive turn of the control plane itself: settings and index changes.
pub(crate) struct Hold {
    plane: Arc<Plane>,
    /// What clients call the index.
    pub index: String,
    /// What nodes call it: fixed as long as the turn is held.
    pub node_uid: String,
    pub counted: bool,
    /// When the turn was granted, before anything was sent.
    pub begun_at: Nanos,
    /// What the index is planned to be, when the turn began.
    pub planned: Option<IndexState>,
    _guard: Guard,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.plane.end_turn(&self.node_uid, self.counted);
    }
}

impl Hold {
    /// A node's refusal with the index called as clients call it.
    pub(crate) fn in_clients_words(&self, error: Error) -> Error {
        let message = called(&error.message, &self.node_uid, &self.index);
        Error { message, ..error }
    }
}

/// `text` with the index called as clients call it.
pub(crate) fn called(text: &str, node_uid: &str, name: &str) -> String {
    text.replace(&format!("`{node_uid}`"), &format!("`{name}`"))
}

/// What a write finds when its turn comes.
enum Footing {
    /// Split by this key; `sets` when the index has none yet.
    Go {
        key: Option<String>,
        sets: bool,
    },
    Doomed(Error),
}

impl Plane {
    /// See [`crate::Control::begin_write`].
    pub(crate) async fn begin_write(self: &Arc<Self>, write: BeginWrite) -> Result<Turn, Error> {
        check_uid(&write.index)?;
        let mut guard = if self.can_share(&write.index) {
            self.lanes.shared(&write.index).await
        } else {
            self.lanes.exclusive(&write.index).await
        };
        if !guard.is_exclusive() && !self.can_share(&write.index) {
            // The index changed while we waited.
            drop(guard);
            guard = self.lanes.exclusive(&write.index).await;
        }
        let mut inner = TurnInner {
            plane: Arc::clone(self),
            index: write.index.clone(),
            node_uid: self.catalogue().node_uid(&write.index),
            kind: write.kind,
            begun_at: now(),
            guard: Some(guard),
            counted: false,
            creation: None,
            sets_key: None,
            displays_key: None,
        };
        let (planned, found) = self.start_turn(&write.index, &inner.node_uid, &mut inner.counted);
        let is_addition = write.kind == WriteKind::DocumentAdditionOrUpdate;
        let creates = planned.is_none() && is_addition && write.may_create;
        let footing = match (&planned, write.kind) {
            (None, _) if !creates => Footing::Doomed(Error::index_not_found(&write.index)),
            (state, WriteKind::DocumentDeletion | WriteKind::DocumentEdition) => Footing::Go {
                key: state.as_ref().and_then(|state| state.primary_key.clone()),
                sets: false,
            },
            (state, WriteKind::DocumentAdditionOrUpdate) => {
                addition_footing(state.as_ref(), &write)?
            }
        };
        let mut index = found;
        if creates {
            let (parts, created) = self
                .create_for_write(&write.index, &inner.node_uid, &mut inner.counted)
                .await?;
            inner.creation = Some(parts);
            index = created;
        }
        let (primary_key, doomed) = match footing {
            Footing::Go { key, sets } => {
                inner.sets_key = key.clone().filter(|_| sets);
                if let Some(key) = &inner.sets_key {
                    let displayed = self.known_displayed(&inner.node_uid, planned.as_ref());
                    let parts = self.display_key(&inner.node_uid, &displayed, key).await?;
                    inner.displays_key = (!parts.is_empty()).then_some((displayed, parts));
                }
                (key, None)
            }
            Footing::Doomed(error) => (None, Some(error)),
        };
        Ok(Turn {
            index,
            primary_key,
            doomed,
            inner,
        })
    }

    /// Waits for the index's lane and holds it alone.
    pub(crate) async fn hold(self: &Arc<Self>, index: &str) -> Hold {
        let guard = self.lanes.exclusive(index).await;
        let mut counted = false;
        let node_uid = self.catalogue().node_uid(index);
        let (planned, _) = self.start_turn(index, &node_uid, &mut counted);
        Hold {
            plane: Arc::clone(self),
            index: index.to_owned(),
            node_uid,
            counted,
            begun_at: now(),
            planned,
            _guard: guard,
        }
    }

    /// Whether a write of the index may share its lane: one copy, and nothing about the index left to decide.
    fn can_share(&self, index: &str) -> bool {
        let catalogue = self.catalogue();
        catalogue.planned(index).is_some_and(|entry| {
            entry.layouts.shown().writes_once()
                && entry
                    .planned
                    .as_ref()
                    .is_some_and(|state| state.primary_key.is_some())
        })
    }

    /// Counts the turn and returns the planned state with the index to write to.
    fn start_turn(
        &self,
        uid: &str,
        node_uid: &str,
        counted: &mut bool,
    ) -> (Option<IndexState>, Arc<Index>) {
        let mut catalogue = self.catalogue();
        let entry = catalogue.get_mut(node_uid);
        let planned = entry.as_ref().and_then(|entry| entry.planned.clone());
        let index = Arc::new(index_for(uid, node_uid, entry.as_deref(), &self.layout()));
        if let Some(entry) = entry {
            entry.turns += 1;
            *counted = true;
        }
        (planned, index)
    }

    pub(crate) fn end_turn(&self, node_uid: &str, counted: bool) {
        let mut catalogue = self.catalogue();
        let Some(entry) = catalogue.get_mut(node_uid).filter(|_| counted) else {
            return;
        };
        entry.turns = entry.turns.saturating_sub(1);
        let planned = entry.planned.clone();
        entry.settle();
        let changed = entry.planned != planned;
        if entry.is_gone() {
            catalogue.remove(node_uid);
        }
        if changed {
            self.publish(&catalogue);
        }
    }

    /// See [`crate::Control::commit`].
    pub(crate) async fn commit(
        self: &Arc<Self>,
        turn: Turn,
        outcome: Outcome,
    ) -> Result<TaskSummary, Error> {
        let Turn {
            index,
            doomed,
            mut inner,
            ..
        } = turn;
        self.movements.touch(&inner.node_uid, &outcome.touched);
        let doom = outcome.error.or(doomed);
        let mut parts: Vec<Part> = Vec::with_capacity(outcome.parts.len());
        for part in outcome.parts {
            let client = self
                .node(part.node)
                .ok_or_else(|| Error::internal(format!("no node {:?}", part.node)))?;
            // A copy that is being filled says nothing about the others: it holds other documents.
            let serves = |shard: &Shard| {
                let mut copies = index.layout.copies_of(*shard).iter();
                copies.any(|copy| copy.node == part.node && copy.state.serves())
            };
            let shards = part.shards.iter().copied().filter(serves).collect();
            parts.push(Part::new(client.id(), part.task_uid, Role::Counted, shards));
        }
        let effect = Effect {
            creates: inner.creation.is_some(),
            key: inner
                .sets_key
                .take()
                .filter(|_| doom.is_none() && !parts.is_empty()),
            displayed: inner
                .displays_key
                .as_ref()
                .map(|(displayed, _)| displayed.clone()),
            ..Effect::default()
        };
        let displaying = inner.displays_key.take();
        parts.extend(displaying.into_iter().flat_map(|(_, parts)| parts));
        parts.extend(inner.creation.iter().flatten().cloned());
        let task = Task {
            uid: 0,
            index_uid: Some(inner.index.clone()),
            node_uid: Some(inner.node_uid.clone()),
            kind: match inner.kind {
                WriteKind::DocumentEdition => Kind::DocumentEdition,
                WriteKind::DocumentAdditionOrUpdate => Kind::DocumentAdditionOrUpdate,
                WriteKind::DocumentDeletion => Kind::DocumentDeletion,
            },
            status: Status::Enqueued,
            details: outcome.details,
            error: None,
            doom: doom.map(|error| error.to_value()),
            effect,
            copies: u32::try_from(index.layout.copies_per_shard()).unwrap_or(1),
            enqueued_at: inner.begun_at,
            started_at: None,
            finished_at: None,
            custom_metadata: outcome.custom_metadata,
            canceled_by: None,
        };
        // Shown at once, and durable with the task, before the client is answered.
        let missed = {
            let mut catalogue = self.catalogue();
            let rows = self.distrust(&mut catalogue, &inner.node_uid, &outcome.missed);
            if !rows.is_empty() {
                self.publish(&catalogue);
            }
            rows
        };
        let task = self.accept(task, parts, missed).await?;
        // What was created is the task's business from here on.
        inner.creation = None;
        Ok(summary(&task))
    }

    /// See [`crate::Control::give_up`].
    pub(crate) async fn give_up(
        &self,
        turn: Turn,
        diverged: Vec<(Shard, NodeIdx)>,
        touched: Touched,
    ) -> Result<(), Error> {
        let node_uid = turn.index.node_uid.clone();
        self.movements.touch(&node_uid, &touched);
        self.put_out_of_sync(&node_uid, &diverged).await?;
        drop(turn);
        Ok(())
    }

    /// Stores a task, moves the plan, publishes it and starts waiting for its parts. The caller holds the lane.
    pub(crate) async fn accept(
        &self,
        mut task: Task,
        parts: Vec<Part>,
        missed: Vec<CopyRow>,
    ) -> Result<Task, Error> {
        let merged = merge(&task, &parts, now());
        task.details = merged.details;
        if parts.is_empty() && task.effect.names.is_empty() {
            // Nothing to wait for. New names wait for the earlier tasks of their indexes.
            task.status = merged.status;
            task.error = merged.error;
            task.started_at = merged.started_at;
            task.finished_at = merged.finished_at;
        }
        let uid = task.node_uid.clone().unwrap_or_default();
        let name = task.index_uid.clone().unwrap_or_default();
        let running = !task.status.is_finished();
        let changes_plan = running && task.effect.is_barrier();
        let stored = {
            let mut catalogue = self.catalogue();
            let index = (changes_plan && !uid.is_empty()).then(|| {
                let entry = catalogue.entry(&uid, &name, &self.layout(), now());
                let mut row = IndexRow::from(&*entry);
                row.planned = task.effect.apply(entry.planned.as_ref(), true, true);
                row
            });
            self.store.register(NewTask {
                task,
                parts: parts.clone(),
                index,
                missed,
            })
        };
        let task = stored.await?;
        if running {
            let mut catalogue = self.catalogue();
            catalogue.accept(&task);
            if changes_plan {
                self.publish(&catalogue);
            }
            drop(catalogue);
            self.flights.insert(task.clone(), parts);
        } else {
            self.webhooks.tell([&task].into_iter());
        }
        Ok(task)
    }

    /// See [`crate::Control::note_upper_case_ids`].
    pub(crate) async fn note_upper_case_ids(&self, uid: String) -> Result<(), Error> {
        self.store.note_upper_case_ids(uid.clone()).await?;
        let mut catalogue = self.catalogue();
        if let Some(entry) = catalogue.get_mut(&uid) {
            entry.upper_case_ids = true;
            self.publish(&catalogue);
        }
        Ok(())
    }

    /// Takes copies out of service: at once in the published table, and on disk when it resolves. Called with or without
    /// the index's lane.
    pub(crate) async fn put_out_of_sync(
        &self,
        node_uid: &str,
        copies: &[(Shard, NodeIdx)],
    ) -> Result<(), Error> {
        let stored = {
            let mut catalogue = self.catalogue();
            let rows = self.distrust(&mut catalogue, node_uid, copies);
            if rows.is_empty() {
                return Ok(());
            }
            self.publish(&catalogue);
            // Queued while the catalogue is locked: the store gets changes in the order in which they were made.
            self.store.put_copies(rows)
        };
        Ok(stored.await?)
    }

    /// Takes copies out of service in the catalogue, which the caller publishes; returns what is to be stored. Fills that
    /// they take part in fail.
    pub(crate) fn distrust(
        &self,
        catalogue: &mut Catalogue,
        node_uid: &str,
        copies: &[(Shard, NodeIdx)],
    ) -> Vec<CopyRow> {
        self.movements.doubt(node_uid, copies);
        let Some(entry) = catalogue.get_mut(node_uid).filter(|_| !copies.is_empty()) else {
            return Vec::new();
        };
        let fleet = self.fleet();
        let row = |(shard, node, state): (Shard, NodeIdx, CopyState)| {
            let node = fleet.seats().get(usize::from(node.0))?.id().to_owned();
            tracing::warn!(
                index = node_uid,
                shard = shard.0,
                node,
                ?state,
                "a copy does not serve any more"
            );
            Some(CopyRow {
                index_uid: node_uid.to_owned(),
                shard: shard.0,
                node,
                state,
            })
        };
        entry
            .layouts
            .distrust(copies)
            .into_iter()
            .filter_map(row)
            .collect()
    }
}

/// The index as a write sees it; a stand-in where there is none.
fn index_for(uid: &str, node_uid: &str, entry: Option<&Entry>, layout: &Arc<Layout>) -> Index {
    Index {
        uid: uid.to_owned(),
        node_uid: node_uid.to_owned(),
        primary_key: entry.and_then(|entry| entry.planned.as_ref()?.primary_key.clone()),
        ids: entry.and_then(Entry::ids),
        visible: entry.is_some_and(|entry| entry.visible.is_some()),
        layout: entry.map_or_else(|| Arc::clone(layout), |entry| entry.layouts.shown()),
        settings: entry
            .map(|entry| Arc::clone(&entry.settings))
            .unwrap_or_default(),
        settings_version: entry.map_or(0, |entry| entry.settings_version),
        changes: entry.map(|entry| entry.changes.clone()).unwrap_or_default(),
    }
}

/// By which key an addition is split. Texts are Meilisearch's (milli/src/error.rs).
fn addition_footing(state: Option<&IndexState>, write: &BeginWrite) -> Result<Footing, Error> {
    let known = state.and_then(|state| state.primary_key.clone());
    Ok(match (known, &write.primary_key, &write.inference) {
        (Some(known), Some(wanted), _) if known != *wanted => Footing::Doomed(primary_key_exists(&known)),
        (Some(known), _, _) => Footing::Go { key: Some(known), sets: false },
        (None, Some(wanted), _) => Footing::Go { key: Some(wanted.clone()), sets: true },
        (None, None, Some(InferredKey::Empty)) => Footing::Go { key: None, sets: false },
        (None, None, Some(InferredKey::Found(found))) => Footing::Go { key: Some(found.clone()), sets: true },
        (None, None, Some(InferredKey::NoCandidate)) => Footing::Doomed(Error::invalid(
            400,
            "index_primary_key_no_candidate_found",
            "The primary key inference failed as the engine did not find any field ending with `id` in its name. \
             Please specify the primary key manually using the `primaryKey` query parameter.",
        )),
        (None, None, Some(InferredKey::Several(candidates))) => Footing::Doomed(several_candidates(candidates)),
        (None, None, None) => {
            return Err(Error::system(
                503,
                "miroir_index_changed",
                format!("Index `{}` was removed while the write waited for its turn. Send it again.", write.index),
            ))
        }
    })
}

fn several_candidates(candidates: &[String]) -> Error {
    let name = |position: usize| {
        candidates
            .get(position)
            .map(String::as_str)
            .unwrap_or_default()
    };
    Error::invalid(
        400,
        "index_primary_key_multiple_candidates_found",
        format!(
            "The primary key inference failed as the engine found {} fields ending with `id` in their names: '{}' and \
             '{}'. Please specify the primary key manually using the `primaryKey` query parameter.",
            candidates.len(),
            name(0),
            name(1)
        ),
    )
}

/// The primary key cannot be another one.
pub(crate) fn primary_key_exists(known: &str) -> Error {
    Error::invalid(
        400,
        "index_primary_key_already_exists",
        format!("Index already has a primary key: `{known}`."),
    )
}
