//! Which indexes there are, for clients now (*visible*) and once every accepted task has run (*planned*).
//!
//! Meilisearch answers 202 before it does anything, so a client may create an index and send documents at once: the
//! documents must be split by a primary key that no node knows yet. Hence two states an index. A task moves *planned*
//! when it is accepted and *visible* when it ends; when the last accepted task has ended, what came true is the plan.
//!
//! An index has two names: the clients', which swaps and renames move, and the nodes', which it keeps for life. Everything
//! that is known of an index hangs on the nodes' name; the clients' name is one of its properties, visible and planned.
//!
//! Pure: the store keeps its rows, the plane publishes the routing tables made from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use miroir_api::Error;
use miroir_movement::Layouts;
use miroir_router::{Changes, Ids, Index, Layout, SearchSettings};
use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::exports::Order;
use crate::settings::{Displayed, Secret, UserFaceting};
use crate::tasks::{Status, Task, TaskUid};

/// What is known of an index in one of its two states.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct IndexState {
    pub primary_key: Option<String>,
    /// The user's own faceting numbers; nodes are configured with larger ones.
    #[serde(default)]
    pub faceting: UserFaceting,
    /// What the user lets clients see; nodes are told to display more. `None`: set before that was kept here.
    #[serde(default)]
    pub displayed: Option<Displayed>,
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
    /// On success: settings are read back, and clients are shown this.
    pub displayed: Option<Displayed>,
    /// On success: clients call these indexes so.
    pub names: Vec<Naming>,
    /// It ends after these: those that a cancelation asked to be cancelled, those that had begun when a deletion came.
    #[serde(alias = "cancels")]
    pub after: Vec<TaskUid>,
    /// At its end: these are forgotten, as far as they have ended.
    pub forgets: Vec<TaskUid>,
    /// On success: these pairs of names change places in the history of tasks.
    pub swaps: Vec<(String, String)>,
    /// On success: these keys of embedders are remembered. Forgotten with the task's end, however it ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// What is to be exported, and where to. Forgotten with the task's end: a key is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Order>,
}

/// An index gets another name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Naming {
    pub node_uid: String,
    /// What clients call it from then on; empty for one that is on its way out and loses its name to another.
    pub name: String,
}

impl Effect {
    /// Whether later tasks of the index must be reported after this one.
    pub(crate) fn is_barrier(&self) -> bool {
        self.creates
            || self.deletes
            || self.key.is_some()
            || self.changes_settings()
            || !self.names.is_empty()
    }

    /// Whether settings are other ones afterwards.
    pub(crate) fn changes_settings(&self) -> bool {
        self.faceting.is_some() || self.displayed.is_some()
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
            if self.displayed.is_some() {
                state.displayed.clone_from(&self.displayed);
            }
        }
        state
    }
}

/// An index's catalogue entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What nodes call it, for as long as it lives.
    pub node_uid: String,
    /// What clients call it.
    pub name: String,
    /// What clients call it once all accepted tasks have run.
    pub planned_name: String,
    pub created_at: Nanos,
    pub updated_at: Nanos,
    /// Where it lies.
    pub layouts: Layouts,
    pub visible: Option<IndexState>,
    pub planned: Option<IndexState>,
    pub settings: Arc<SearchSettings>,
    pub settings_version: u64,
    pub changes: Changes,
    /// Whether an id with upper-case letters may ever have been written (see [`Ids`]).
    pub upper_case_ids: bool,
    /// Accepted tasks that have not ended.
    pub in_flight: BTreeSet<TaskUid>,
    /// Turns that are held and may still become tasks.
    pub turns: usize,
}

impl Entry {
    pub(crate) fn new(node_uid: &str, name: &str, layout: Arc<Layout>, now: Nanos) -> Self {
        Entry {
            node_uid: node_uid.to_owned(),
            name: name.to_owned(),
            planned_name: name.to_owned(),
            created_at: now,
            updated_at: now,
            layouts: Layouts::new(layout),
            visible: None,
            planned: None,
            settings: Arc::new(SearchSettings::default()),
            settings_version: 0,
            changes: Changes::default(),
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
        let visible = self.visible.is_some();
        Some(Arc::new(Index {
            uid: if visible {
                &self.name
            } else {
                &self.planned_name
            }
            .clone(),
            node_uid: self.node_uid.clone(),
            // The planned key only: once a deletion is accepted, the next documents choose a key of their own.
            primary_key: self
                .planned
                .as_ref()
                .and_then(|state| state.primary_key.clone()),
            ids: self.ids(),
            visible,
            layout: self.layouts.shown(),
            settings: Arc::clone(&self.settings),
            settings_version: self.settings_version,
            changes: self.changes.clone(),
        }))
    }
}

/// All indexes.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// By the nodes' name.
    entries: BTreeMap<String, Entry>,
}

impl Catalogue {
    pub(crate) fn get(&self, node_uid: &str) -> Option<&Entry> {
        self.entries.get(node_uid)
    }

    pub(crate) fn get_mut(&mut self, node_uid: &str) -> Option<&mut Entry> {
        self.entries.get_mut(node_uid)
    }

    /// The index that clients call so now.
    pub(crate) fn visible(&self, name: &str) -> Option<&Entry> {
        self.called(name, |entry| entry.visible.is_some() && entry.name == name)
    }

    /// The index that is called so once every accepted task has run. It may be planned to be gone then.
    pub(crate) fn planned(&self, name: &str) -> Option<&Entry> {
        self.called(name, |entry| entry.planned_name == name)
    }

    /// Most indexes have one name for everybody.
    fn called(&self, name: &str, is_it: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let same = self.entries.get(name).filter(|entry| is_it(entry));
        same.or_else(|| self.entries.values().find(|entry| is_it(entry)))
    }

    /// What nodes call the index that a write to `name` goes to; for a new one a name that is free.
    pub(crate) fn node_uid(&self, name: &str) -> String {
        if let Some(entry) = self.planned(name) {
            return entry.node_uid.clone();
        }
        if !self.entries.contains_key(name) {
            return name.to_owned();
        }
        /// So that name and suffix stay within the 400 bytes of an index uid.
        const STEM_BYTES_MAX: usize = 360;
        let stem = name.get(..STEM_BYTES_MAX).unwrap_or(name);
        format!("{stem}-{}", uuid::Uuid::new_v4().simple())
    }

    pub(crate) fn insert(&mut self, entry: Entry) {
        self.entries.insert(entry.node_uid.clone(), entry);
    }

    /// The entry of `node_uid`, made under `name` with the layout of new indexes where there is none.
    pub(crate) fn entry(
        &mut self,
        node_uid: &str,
        name: &str,
        layout: &Arc<Layout>,
        now: Nanos,
    ) -> &mut Entry {
        self.entries
            .entry(node_uid.to_owned())
            .or_insert_with(|| Entry::new(node_uid, name, Arc::clone(layout), now))
    }

    pub(crate) fn remove(&mut self, node_uid: &str) {
        self.entries.remove(node_uid);
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.values_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The indexes that clients see, in order of their names, as clients list them.
    pub(crate) fn listed(&self) -> Vec<&Entry> {
        let mut listed: Vec<&Entry> = self
            .iter()
            .filter(|entry| entry.visible.is_some())
            .collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        listed
    }

    /// A task was accepted: what it will do, if nothing goes wrong, is planned. All indexes that it concerns wait for it.
    pub(crate) fn accept(&mut self, task: &Task) {
        if let Some(entry) = task
            .node_uid
            .as_ref()
            .and_then(|uid| self.entries.get_mut(uid))
        {
            entry.accept(task.uid, &task.effect);
        }
        for naming in &task.effect.names {
            if let Some(entry) = self.entries.get_mut(&naming.node_uid) {
                entry.in_flight.insert(task.uid);
            }
        }
        self.plan_names(&task.effect.names);
    }

    /// An accepted task will rename these.
    pub(crate) fn plan_names(&mut self, names: &[Naming]) {
        for Naming { node_uid, name } in names {
            if let Some(entry) = self.entries.get_mut(node_uid) {
                entry.planned_name.clone_from(name);
            }
        }
    }

    /// Gives the indexes their new names, all or, where the plan did not come true, none.
    ///
    /// # Errors
    /// An index is not there, or one that was to go is.
    pub(crate) fn rename(&mut self, names: &[Naming]) -> Result<(), Error> {
        for Naming { node_uid, name } in names {
            let entry = self.entries.get(node_uid);
            let visible = entry.is_some_and(|entry| entry.visible.is_some());
            let known = entry.map_or(name, |entry| &entry.name);
            if !name.is_empty() && !visible {
                return Err(Error::index_not_found(known));
            }
            if name.is_empty() && visible {
                return Err(Error::index_already_exists(known));
            }
        }
        for Naming { node_uid, name } in names {
            if let Some(entry) = self.entries.get_mut(node_uid) {
                entry.name.clone_from(name);
            }
        }
        Ok(())
    }

    /// A task that was to rename indexes has ended, however: nothing of it is in flight any more.
    pub(crate) fn settle_names(&mut self, task: TaskUid, names: &[Naming]) {
        for Naming { node_uid, .. } in names {
            if let Some(entry) = self.entries.get_mut(node_uid) {
                entry.in_flight.remove(&task);
                entry.settle();
            }
        }
    }

    /// What the cores may know: by name what clients see, and what is planned under a name that nobody sees yet.
    pub(crate) fn published(&self) -> impl Iterator<Item = (String, Arc<Index>)> {
        let mut all: Vec<Arc<Index>> = self.iter().filter_map(Entry::published).collect();
        // What comes later wins.
        all.sort_by_key(|index| index.visible);
        all.into_iter().map(|index| (index.uid.clone(), index))
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
        let mut entry = Entry::new("movies", "movies", layout(), 1);
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
        let mut entry = Entry::new("movies", "movies", layout(), 1);
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
        let mut entry = Entry::new("movies", "movies", layout(), 1);
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

    fn named(node_uid: &str, name: &str) -> Naming {
        Naming {
            node_uid: node_uid.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn names_move_with_the_plan_and_show_when_the_task_ends() {
        let mut catalogue = Catalogue::default();
        for uid in ["a", "b"] {
            let mut entry = Entry::new(uid, uid, layout(), 1);
            entry.visible = Some(IndexState::default());
            entry.planned = Some(IndexState::default());
            catalogue.insert(entry);
        }
        let swap = [named("a", "b"), named("b", "a")];
        catalogue.plan_names(&swap);
        // Writes go by the plan, reads by what is.
        assert_eq!(catalogue.node_uid("a"), "b");
        assert_eq!(catalogue.visible("a").unwrap().node_uid, "a");
        let read = |catalogue: &Catalogue| {
            let mut names: Vec<_> = catalogue
                .published()
                .map(|(name, index)| (name, index.node_uid.clone()))
                .collect();
            names.sort();
            names
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(read(&catalogue), [pair("a", "a"), pair("b", "b")]);
        catalogue.rename(&swap).unwrap();
        assert_eq!(read(&catalogue), [pair("a", "b"), pair("b", "a")]);
        let listed: Vec<_> = catalogue.listed().iter().map(|e| e.name.clone()).collect();
        assert_eq!(listed, ["a", "b"]);

        // `b` (called `a`) becomes `c`; a new `a` and a new `b` find names on the nodes that are free.
        catalogue.plan_names(&[named("b", "c")]);
        catalogue.rename(&[named("b", "c")]).unwrap();
        assert_eq!(catalogue.node_uid("c"), "b");
        assert!(catalogue.node_uid("a").starts_with("a-"));
        assert_eq!(catalogue.node_uid("b"), "a");
        assert_eq!(catalogue.node_uid("d"), "d");
    }

    #[test]
    fn a_name_is_not_taken_from_an_index_that_stayed() {
        let mut catalogue = Catalogue::default();
        let mut entry = Entry::new("a", "a", layout(), 1);
        entry.visible = Some(IndexState::default());
        catalogue.insert(entry);
        catalogue.insert(Entry::new("b", "b", layout(), 1));
        let code = |result: Result<(), Error>| result.unwrap_err().code.into_owned();
        assert_eq!(
            code(catalogue.rename(&[named("b", "c")])),
            "index_not_found"
        );
        let names = [named("a", ""), named("a", "c")];
        assert_eq!(code(catalogue.rename(&names)), "index_already_exists");
        assert!(catalogue.visible("a").is_some());
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
            let mut entry = Entry::new("x", "x", layout(), 0);
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
