//! Which indexes there are, for clients now (*visible*) and once every accepted task has run (*planned*).
//!
//! Meilisearch answers 202 before it does anything, so a client may create an index and send documents at once: the
//! documents must be split by a primary key that no node knows yet. Hence two states an index. A task moves *planned*
//! when it is accepted and *visible* when it ends; when the last accepted task has ended, what came true is the plan.
//!
//! Pure: the store keeps its rows, the plane publishes the routing tables made from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use miroir_router::{Ids, Index, Layout, SearchSettings};
use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::settings::UserFaceting;
use crate::tasks::{Status, TaskUid};

/// What is known of an index in one of its two states.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct IndexState {
    pub primary_key: Option<String>,
    /// The user's own faceting numbers; nodes are configured with larger ones.
    #[serde(default)]
    pub faceting: UserFaceting,
}

/// What a task does to its index. Stored with the task, so that a restart can finish what was begun.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Effect {
    /// Creates the index, even if the task fails for another reason.
    pub creates: bool,
    /// The primary key that the creation itself gives.
    pub created_key: Option<String>,
    /// On success: the index has this primary key.
    pub key: Option<String>,
    /// On success: the index is gone.
    pub deletes: bool,
    /// On success: settings are read back, and these are the user's faceting numbers.
    pub faceting: Option<UserFaceting>,
}

impl Effect {
    /// Whether later tasks of the index must be reported after this one.
    pub(crate) fn is_barrier(&self) -> bool {
        self.creates || self.deletes || self.key.is_some() || self.faceting.is_some()
    }

    /// The state after success, from the state before.
    pub(crate) fn apply(
        &self,
        before: Option<&IndexState>,
        succeeded: bool,
        created: bool,
    ) -> Option<IndexState> {
        let mut state = before.cloned();
        if self.creates && created && state.is_none() {
            state = Some(IndexState {
                primary_key: self.created_key.clone(),
                ..IndexState::default()
            });
        }
        if !succeeded {
            return state;
        }
        if self.deletes {
            return None;
        }
        if let Some(state) = &mut state {
            if let Some(key) = &self.key {
                state.primary_key = Some(key.clone());
            }
            if let Some(faceting) = &self.faceting {
                state.faceting = faceting.clone();
            }
        }
        state
    }
}

/// An index's catalogue entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub uid: String,
    pub created_at: Nanos,
    pub updated_at: Nanos,
    pub layout: Arc<Layout>,
    pub visible: Option<IndexState>,
    pub planned: Option<IndexState>,
    pub settings: Arc<SearchSettings>,
    pub settings_version: u64,
    /// Whether an id with upper-case letters may ever have been written (see [`Ids`]).
    pub upper_case_ids: bool,
    /// Accepted tasks that have not ended.
    pub in_flight: BTreeSet<TaskUid>,
    /// Turns that are held and may still become tasks.
    pub turns: usize,
}

impl Entry {
    pub(crate) fn new(uid: &str, layout: Arc<Layout>, now: Nanos) -> Self {
        Entry {
            uid: uid.to_owned(),
            created_at: now,
            updated_at: now,
            layout,
            visible: None,
            planned: None,
            settings: Arc::new(SearchSettings::default()),
            settings_version: 0,
            upper_case_ids: false,
            in_flight: BTreeSet::new(),
            turns: 0,
        }
    }

    /// A task was accepted: it will do `effect`, if nothing goes wrong.
    pub(crate) fn accept(&mut self, uid: TaskUid, effect: &Effect) {
        self.in_flight.insert(uid);
        self.planned = effect.apply(self.planned.as_ref(), true, true);
    }

    /// A task has ended.
    pub(crate) fn finish(
        &mut self,
        uid: TaskUid,
        effect: &Effect,
        status: Status,
        created: bool,
        at: Nanos,
    ) {
        let succeeded = status == Status::Succeeded;
        let before = self.visible.is_some();
        self.visible = effect.apply(self.visible.as_ref(), succeeded, created);
        if self.visible.is_some() && !before {
            self.created_at = at;
        }
        if before && self.visible.is_none() {
            // A later index of the same name starts afresh.
            self.settings = Arc::new(SearchSettings::default());
        }
        if succeeded || (self.visible.is_some() && !before) {
            self.updated_at = self.updated_at.max(at);
        }
        self.in_flight.remove(&uid);
        self.settle();
    }

    /// With nothing on its way, the plan is what came true.
    pub(crate) fn settle(&mut self) {
        if self.in_flight.is_empty() && self.turns == 0 {
            self.planned = self.visible.clone();
        }
    }

    /// Nothing is left of it.
    pub(crate) fn is_gone(&self) -> bool {
        self.visible.is_none()
            && self.planned.is_none()
            && self.in_flight.is_empty()
            && self.turns == 0
    }

    /// The primary key by which every stored document was placed: between the deletion of an index and its new life with
    /// another key there is none.
    pub(crate) fn ids(&self) -> Option<Ids> {
        let key = |state: &Option<IndexState>| state.as_ref()?.primary_key.clone();
        let (visible, planned) = (key(&self.visible), key(&self.planned));
        let changes = planned.is_some() && visible.is_some() && planned != visible;
        Some(Ids {
            primary_key: visible.or(planned).filter(|_| !changes)?,
            upper_case: self.upper_case_ids,
        })
    }

    fn published(&self) -> Option<Arc<Index>> {
        if self.visible.is_none() && self.planned.is_none() {
            return None;
        }
        Some(Arc::new(Index {
            uid: self.uid.clone(),
            node_uid: self.uid.clone(),
            // The planned key only: once a deletion is accepted, the next documents choose a key of their own.
            primary_key: self
                .planned
                .as_ref()
                .and_then(|state| state.primary_key.clone()),
            ids: self.ids(),
            visible: self.visible.is_some(),
            layout: Arc::clone(&self.layout),
            settings: Arc::clone(&self.settings),
            settings_version: self.settings_version,
        }))
    }
}

/// All indexes, by uid.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    entries: BTreeMap<String, Entry>,
}

impl Catalogue {
    pub(crate) fn get(&self, uid: &str) -> Option<&Entry> {
        self.entries.get(uid)
    }

    pub(crate) fn get_mut(&mut self, uid: &str) -> Option<&mut Entry> {
        self.entries.get_mut(uid)
    }

    pub(crate) fn insert(&mut self, entry: Entry) {
        self.entries.insert(entry.uid.clone(), entry);
    }

    /// The entry of `uid`, made with the layout of new indexes where there is none.
    pub(crate) fn entry(&mut self, uid: &str, layout: &Arc<Layout>, now: Nanos) -> &mut Entry {
        self.entries
            .entry(uid.to_owned())
            .or_insert_with(|| Entry::new(uid, Arc::clone(layout), now))
    }

    pub(crate) fn remove(&mut self, uid: &str) {
        self.entries.remove(uid);
    }

    /// In order of uid, as clients list them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// What the cores may know.
    pub(crate) fn published(&self) -> impl Iterator<Item = (String, Arc<Index>)> + '_ {
        self.entries
            .values()
            .filter_map(|entry| Some((entry.uid.clone(), entry.published()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miroir_router::{LayoutNode, LayoutSpec};
    use proptest::prelude::*;

    fn layout() -> Arc<Layout> {
        let nodes = vec![LayoutNode {
            id: "a".into(),
            group: 0,
            weight: 1,
            zone: None,
        }];
        let spec = LayoutSpec {
            shards: 2,
            replication_factor: 1,
            replica_groups: 1,
            nodes,
        };
        Arc::new(Layout::plan(&spec, None).unwrap())
    }

    fn create(key: Option<&str>) -> Effect {
        Effect {
            creates: true,
            created_key: key.map(str::to_owned),
            ..Effect::default()
        }
    }

    fn key(entry: &Option<IndexState>) -> Option<Option<&str>> {
        entry.as_ref().map(|state| state.primary_key.as_deref())
    }

    #[test]
    fn documents_sent_right_after_the_creation_know_the_planned_key() {
        let mut entry = Entry::new("movies", layout(), 1);
        entry.accept(0, &create(Some("id")));
        assert_eq!(
            (key(&entry.visible), key(&entry.planned)),
            (None, Some(Some("id")))
        );
        assert_eq!(entry.published().map(|index| index.visible), Some(false));
        entry.finish(0, &create(Some("id")), Status::Succeeded, true, 5);
        assert_eq!(key(&entry.visible), Some(Some("id")));
        assert_eq!(entry.created_at, 5);
    }

    #[test]
    fn a_failed_plan_is_given_up_when_nothing_is_left_in_flight() {
        let mut entry = Entry::new("movies", layout(), 1);
        let effect = Effect {
            creates: true,
            key: Some("id".into()),
            ..Effect::default()
        };
        entry.accept(0, &effect);
        entry.accept(1, &Effect::default());
        entry.finish(0, &effect, Status::Failed, true, 5);
        // The addition failed, yet the index exists, without a key; the second task was split by the planned key.
        assert_eq!(
            (key(&entry.visible), key(&entry.planned)),
            (Some(None), Some(Some("id")))
        );
        entry.finish(1, &Effect::default(), Status::Succeeded, false, 6);
        assert_eq!(key(&entry.planned), Some(None));
    }

    #[test]
    fn a_deleted_index_may_be_made_again_before_the_deletion_has_run() {
        let mut entry = Entry::new("movies", layout(), 1);
        let delete = Effect {
            deletes: true,
            ..Effect::default()
        };
        entry.accept(0, &create(Some("a")));
        entry.finish(0, &create(Some("a")), Status::Succeeded, true, 2);
        entry.accept(1, &delete);
        assert_eq!(
            (key(&entry.visible), key(&entry.planned)),
            (Some(Some("a")), None)
        );
        let published = entry.published().unwrap();
        assert_eq!((published.visible, &published.primary_key), (true, &None));
        let pinned_by = |entry: &Entry| Some(entry.published()?.ids.as_ref()?.primary_key.clone());
        assert_eq!(pinned_by(&entry).as_deref(), Some("a"));
        entry.accept(2, &create(Some("b")));
        // Until the old documents are gone, neither key tells where a document is.
        assert_eq!(pinned_by(&entry), None);
        assert_eq!(key(&entry.planned), Some(Some("b")));
        entry.finish(1, &delete, Status::Succeeded, false, 3);
        assert_eq!(key(&entry.visible), None);
        entry.finish(2, &create(Some("b")), Status::Succeeded, true, 4);
        assert_eq!(
            (key(&entry.visible), key(&entry.planned)),
            (Some(Some("b")), Some(Some("b")))
        );
        assert_eq!(pinned_by(&entry).as_deref(), Some("b"));
        assert!(!entry.is_gone());
    }

    fn any_effect() -> impl Strategy<Value = Effect> {
        prop_oneof![
            Just(Effect::default()),
            proptest::option::of("[ab]").prop_map(|key| create(key.as_deref())),
            "[ab]".prop_map(|key| Effect {
                key: Some(key),
                ..Effect::default()
            }),
            Just(Effect {
                deletes: true,
                ..Effect::default()
            }),
        ]
    }

    proptest! {
        /// Whatever tasks come and however they end: with nothing in flight the plan is the truth, and while all
        /// succeed the plan foretells it.
        #[test]
        fn the_plan_meets_the_truth(tasks in proptest::collection::vec((any_effect(), any::<bool>()), 0..12), keep in any::<bool>()) {
            let mut entry = Entry::new("x", layout(), 0);
            for (uid, (effect, _)) in tasks.iter().enumerate() {
                entry.accept(uid as u32, effect);
            }
            let foretold = entry.planned.clone();
            for (uid, (effect, good)) in tasks.iter().enumerate() {
                let status = if *good || keep { Status::Succeeded } else { Status::Failed };
                entry.finish(uid as u32, effect, status, true, uid as i64);
            }
            prop_assert_eq!(&entry.planned, &entry.visible);
            if keep {
                prop_assert_eq!(&foretold, &entry.visible);
            }
        }
    }
}
