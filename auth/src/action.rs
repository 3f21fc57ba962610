//! What a key may allow, and what its wildcards stand for (`meilisearch-types/src/keys.rs`).

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use Action::*;
use IndexScope::*;

/// One right. The order is Meilisearch's, which its error texts show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    All,
    Search,
    DocumentsAll,
    DocumentsAdd,
    DocumentsGet,
    DocumentsDelete,
    IndexesAll,
    IndexesCreate,
    IndexesGet,
    IndexesUpdate,
    IndexesDelete,
    IndexesSwap,
    TasksAll,
    TasksCancel,
    TasksDelete,
    TasksGet,
    SettingsAll,
    SettingsGet,
    SettingsUpdate,
    StatsAll,
    StatsGet,
    MetricsAll,
    MetricsGet,
    DumpsAll,
    DumpsCreate,
    SnapshotsAll,
    SnapshotsCreate,
    Version,
    KeysCreate,
    KeysGet,
    KeysUpdate,
    KeysDelete,
    ExperimentalGet,
    ExperimentalUpdate,
    Export,
    NetworkGet,
    NetworkUpdate,
    ChatCompletions,
    ChatsAll,
    ChatsGet,
    ChatsDelete,
    ChatsSettingsAll,
    ChatsSettingsGet,
    ChatsSettingsUpdate,
    AllGet,
    WebhooksGet,
    WebhooksUpdate,
    WebhooksDelete,
    WebhooksCreate,
    WebhooksAll,
    IndexesCompact,
    FieldsPost,
    TasksCompact,
    DynamicSearchRulesGet,
    DynamicSearchRulesCreate,
    DynamicSearchRulesUpdate,
    DynamicSearchRulesDelete,
    DynamicSearchRulesAll,
}

/// Who looks at the index when an action is used with a key that is limited to some indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexScope {
    /// The action is about the whole instance: such a key cannot have it.
    Global,
    /// Routes without an index in their path serve such a key, and look for themselves what it may see.
    Handler,
    /// Only routes with an index in their path have this action.
    Path,
    /// A wildcard that stands for actions of several kinds.
    Mixed,
}

/// Every action: its name, whether `*.get` includes it, and its scope; by number.
pub const ACTIONS: [(Action, &str, bool, IndexScope); 58] = [
    (All, "*", false, Mixed),
    (Search, "search", true, Handler),
    (DocumentsAll, "documents.*", false, Mixed),
    (DocumentsAdd, "documents.add", false, Path),
    (DocumentsGet, "documents.get", true, Handler),
    (DocumentsDelete, "documents.delete", false, Path),
    (IndexesAll, "indexes.*", false, Mixed),
    (IndexesCreate, "indexes.create", false, Handler),
    (IndexesGet, "indexes.get", true, Handler),
    (IndexesUpdate, "indexes.update", false, Path),
    (IndexesDelete, "indexes.delete", false, Path),
    (IndexesSwap, "indexes.swap", false, Handler),
    (TasksAll, "tasks.*", false, Mixed),
    (TasksCancel, "tasks.cancel", false, Handler),
    (TasksDelete, "tasks.delete", false, Handler),
    (TasksGet, "tasks.get", true, Handler),
    (SettingsAll, "settings.*", false, Mixed),
    (SettingsGet, "settings.get", true, Handler),
    (SettingsUpdate, "settings.update", false, Path),
    (StatsAll, "stats.*", false, Handler),
    (StatsGet, "stats.get", true, Handler),
    (MetricsAll, "metrics.*", false, Global),
    (MetricsGet, "metrics.get", true, Global),
    (DumpsAll, "dumps.*", false, Global),
    (DumpsCreate, "dumps.create", false, Global),
    (SnapshotsAll, "snapshots.*", false, Global),
    (SnapshotsCreate, "snapshots.create", false, Global),
    (Version, "version", true, Global),
    (KeysCreate, "keys.create", false, Global),
    // Not among the readers: who reads keys has what they allow.
    (KeysGet, "keys.get", false, Global),
    (KeysUpdate, "keys.update", false, Global),
    (KeysDelete, "keys.delete", false, Global),
    (ExperimentalGet, "experimental.get", true, Global),
    (ExperimentalUpdate, "experimental.update", false, Global),
    (Export, "export", true, Global),
    (NetworkGet, "network.get", true, Global),
    (NetworkUpdate, "network.update", false, Global),
    (ChatCompletions, "chatCompletions", false, Handler),
    (ChatsAll, "chats.*", false, Global),
    (ChatsGet, "chats.get", true, Global),
    (ChatsDelete, "chats.delete", false, Global),
    (ChatsSettingsAll, "chatsSettings.*", false, Global),
    (ChatsSettingsGet, "chatsSettings.get", true, Global),
    (ChatsSettingsUpdate, "chatsSettings.update", false, Global),
    (AllGet, "*.get", false, Mixed),
    (WebhooksGet, "webhooks.get", true, Global),
    (WebhooksUpdate, "webhooks.update", false, Global),
    (WebhooksDelete, "webhooks.delete", false, Global),
    (WebhooksCreate, "webhooks.create", false, Global),
    (WebhooksAll, "webhooks.*", false, Global),
    (IndexesCompact, "indexes.compact", false, Path),
    (FieldsPost, "fields.post", true, Path),
    (TasksCompact, "tasks.compact", false, Global),
    (
        DynamicSearchRulesGet,
        "dynamicSearchRules.get",
        true,
        Global,
    ),
    (
        DynamicSearchRulesCreate,
        "dynamicSearchRules.create",
        false,
        Global,
    ),
    (
        DynamicSearchRulesUpdate,
        "dynamicSearchRules.update",
        false,
        Global,
    ),
    (
        DynamicSearchRulesDelete,
        "dynamicSearchRules.delete",
        false,
        Global,
    ),
    (DynamicSearchRulesAll, "dynamicSearchRules.*", false, Global),
];

impl Action {
    /// The action of this name.
    pub fn parse(name: &str) -> Option<Action> {
        let row = ACTIONS.iter().find(|row| row.1 == name)?;
        Some(row.0)
    }

    pub fn name(self) -> &'static str {
        ACTIONS[self as usize].1
    }

    pub fn scope(self) -> IndexScope {
        ACTIONS[self as usize].3
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Action::parse(&name).ok_or_else(|| D::Error::custom(format!("unknown action `{name}`")))
    }
}

/// What a key allows, its wildcards spelled out: one bit an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ActionSet(u64);

impl ActionSet {
    pub(crate) fn of(actions: &[Action]) -> ActionSet {
        let mut set = ActionSet(0);
        for action in actions {
            set.0 |= set_of(*action);
        }
        set
    }

    pub(crate) fn has(self, action: Action) -> bool {
        self.0 & bit(action) != 0
    }
}

const fn bit(action: Action) -> u64 {
    1 << action as u8
}

fn set_of(action: Action) -> u64 {
    let all_that = |wanted: &dyn Fn(&str, bool) -> bool| {
        let rows = ACTIONS.iter().filter(|row| wanted(row.1, row.2));
        rows.fold(0, |set, row| set | bit(row.0))
    };
    match action {
        // The wildcards themselves are among what `*` allows (`documents.*` is what editing by function asks for).
        All => all_that(&|_, _| true) & !bit(AllGet),
        AllGet => all_that(&|_, reads| reads),
        one => match one.name().strip_suffix('*') {
            // Not itself: to edit documents by function, a key needs `*`.
            Some(prefix) => all_that(&|name, _| name.starts_with(prefix)) & !bit(one),
            None => bit(one),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(actions: &[Action]) -> Vec<&'static str> {
        let set = ActionSet::of(actions);
        let rows = ACTIONS.iter().filter(|row| set.has(row.0));
        rows.map(|row| row.1).collect()
    }

    #[test]
    fn the_table_is_in_the_order_of_the_numbers() {
        for (number, row) in ACTIONS.iter().enumerate() {
            assert_eq!(row.0 as usize, number);
            assert_eq!(Action::parse(row.1), Some(row.0));
        }
    }

    #[test]
    fn wildcards_stand_for_what_meilisearch_lists() {
        assert_eq!(
            names(&[DocumentsAll]),
            ["documents.add", "documents.get", "documents.delete"]
        );
        assert_eq!(
            names(&[TasksAll]),
            ["tasks.cancel", "tasks.delete", "tasks.get", "tasks.compact"]
        );
        assert_eq!(names(&[ChatsAll]), ["chats.get", "chats.delete"]);
        assert_eq!(names(&[DumpsAll, StatsAll]), ["stats.get", "dumps.create"]);
        assert_eq!(names(&[Search]), ["search"]);
        assert_eq!(names(&[IndexesAll]).len(), 6);
        assert_eq!(names(&[DynamicSearchRulesAll]).len(), 4);
    }

    #[test]
    fn the_star_is_all_but_the_readers_group_and_readers_read_no_keys() {
        let all = names(&[All]);
        assert_eq!(all.len(), 57);
        assert!(!all.contains(&"*.get") && all.contains(&"keys.get"));
        let readers = names(&[AllGet]);
        assert!(!readers.contains(&"keys.get") && !readers.contains(&"chatCompletions"));
        assert!(readers.contains(&"search") && readers.contains(&"fields.post"));
        assert!(readers.iter().all(|name| !name.ends_with('*')));
        assert_eq!(readers.len(), 16);
    }
}
