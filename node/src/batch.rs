//! Which waiting tasks of one index go together.
//!
//! The rules are those of `crates/index-scheduler/src/scheduler/autobatcher.rs` at 1.15.1: document additions and
//! deletions by id mix, deletions mix among themselves, settings mix among themselves and with clearings, a deletion
//! of the index swallows what it makes pointless. Which tasks shared a batch shows in `batchUid` and in the counts of
//! swallowed tasks, so the rules are part of the behaviour.

use crate::tasks::Work;

/// A batch: what to do with the first `len` of the waiting tasks.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    pub plan: Plan,
    /// How many tasks, from the first on.
    pub len: usize,
    /// Whether a missing index is created for it.
    pub creates_index: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Additions, updates and deletions by id, in order.
    Documents {
        primary_key: Option<String>,
    },
    /// Deletions by id or by filter only.
    Deletions {
        by_filter: bool,
    },
    /// One edition of documents by a function.
    Edit,
    /// The index is emptied; every document task of the batch comes to this.
    Clear,
    Settings,
    /// Settings and clearings: the order between them does not matter.
    ClearAndSettings,
    CreateIndex,
    UpdateIndex,
    CompactIndex,
    DeleteIndex,
}

/// Decides about the waiting tasks of one index, oldest first.
///
/// `index_primary_key` is what the index has now; `index_exists` whether there is one. `None` when nothing waits, or
/// when the first task does not belong to an index.
pub fn next_batch<'a>(
    waiting: impl IntoIterator<Item = &'a Work>,
    index_exists: bool,
    index_primary_key: Option<&str>,
) -> Option<Batch> {
    let mut waiting = waiting.into_iter();
    let first = waiting.next()?;
    let mut plan = match first {
        Work::AddDocuments { primary_key, .. } => Plan::Documents {
            primary_key: primary_key.clone(),
        },
        Work::DeleteDocuments { .. } => Plan::Deletions { by_filter: false },
        Work::DeleteByFilter { .. } => Plan::Deletions { by_filter: true },
        Work::EditDocuments { .. } => Plan::Edit,
        Work::ClearDocuments => Plan::Clear,
        Work::UpdateSettings { .. } => Plan::Settings,
        Work::CreateIndex { .. } => Plan::CreateIndex,
        Work::UpdateIndex { .. } => Plan::UpdateIndex,
        Work::CompactIndex => Plan::CompactIndex,
        Work::DeleteIndex => Plan::DeleteIndex,
        Work::SwapIndexes { .. }
        | Work::CancelTasks { .. }
        | Work::DeleteTasks { .. }
        | Work::CreateDump { .. } => return None,
    };
    let creates_index = matches!(plan, Plan::CreateIndex) || creates(first) == Some(true);
    let mut len = 1;
    if !stands_alone(&plan, index_primary_key) && !skips_new(first) {
        let exists = index_exists || creates_index;
        // Of a batch that began with deletions of a missing index, everything fails; an addition must not join it.
        let may_create = creates(first);
        for work in waiting {
            if !exists && may_create == Some(false) && creates(work) == Some(true) {
                break;
            }
            if skips_new(work) {
                break;
            }
            let Some(next) = join(&plan, work, exists, index_primary_key) else {
                break;
            };
            plan = next;
            len += 1;
            if plan == Plan::DeleteIndex {
                break;
            }
        }
    }
    Some(Batch {
        plan,
        len,
        creates_index,
    })
}

/// Whether a task creates a missing index; `None` for tasks to which the question does not apply.
fn creates(work: &Work) -> Option<bool> {
    match work {
        Work::AddDocuments { creates, .. } | Work::UpdateSettings { creates, .. } => Some(*creates),
        _ => None,
    }
}

/// Whether what an addition does depends on the documents that are there when it runs.
fn skips_new(work: &Work) -> bool {
    matches!(
        work,
        Work::AddDocuments {
            skips_new: true,
            ..
        }
    )
}

fn stands_alone(plan: &Plan, index_primary_key: Option<&str>) -> bool {
    match plan {
        Plan::Edit
        | Plan::CreateIndex
        | Plan::UpdateIndex
        | Plan::CompactIndex
        | Plan::DeleteIndex => true,
        // An addition that names another key than the index's fails, and must not take others with it.
        Plan::Documents {
            primary_key: Some(key),
        } => index_primary_key.is_some_and(|own| own != key),
        _ => false,
    }
}

/// The plan with `work` added, or `None` when it has to wait for the next batch.
fn join(
    plan: &Plan,
    work: &Work,
    index_exists: bool,
    index_primary_key: Option<&str>,
) -> Option<Plan> {
    match (plan, work) {
        (_, Work::DeleteIndex) => Some(Plan::DeleteIndex),

        (
            Plan::Clear,
            Work::ClearDocuments | Work::DeleteDocuments { .. } | Work::DeleteByFilter { .. },
        ) => Some(Plan::Clear),

        (Plan::Documents { .. } | Plan::Deletions { .. }, Work::ClearDocuments) => {
            Some(Plan::Clear)
        }
        (
            Plan::Documents { primary_key },
            Work::AddDocuments {
                primary_key: named, ..
            },
        ) => joint_key(primary_key.as_deref(), named.as_deref(), index_primary_key)
            .map(|primary_key| Plan::Documents { primary_key }),
        (Plan::Documents { .. }, Work::DeleteDocuments { .. }) => Some(plan.clone()),

        (Plan::Deletions { by_filter }, Work::DeleteDocuments { .. }) => Some(Plan::Deletions {
            by_filter: *by_filter,
        }),
        (Plan::Deletions { .. }, Work::DeleteByFilter { .. }) => {
            Some(Plan::Deletions { by_filter: true })
        }
        (Plan::Deletions { by_filter: false }, Work::AddDocuments { primary_key, .. })
            if index_exists =>
        {
            let clash = matches!((primary_key, index_primary_key), (Some(named), Some(own)) if named != own);
            (!clash).then(|| Plan::Documents {
                primary_key: primary_key.clone(),
            })
        }

        (Plan::Settings, Work::UpdateSettings { .. }) => Some(Plan::Settings),
        (Plan::Settings, Work::ClearDocuments) => Some(Plan::ClearAndSettings),
        (
            Plan::ClearAndSettings,
            Work::ClearDocuments
            | Work::DeleteDocuments { .. }
            | Work::DeleteByFilter { .. }
            | Work::UpdateSettings { .. },
        ) => Some(Plan::ClearAndSettings),

        _ => None,
    }
}

/// The primary key of a batch after an addition that names `named`; `None` when they cannot share a batch.
fn joint_key(
    batch: Option<&str>,
    named: Option<&str>,
    index: Option<&str>,
) -> Option<Option<String>> {
    match (batch, named, index) {
        (batch, None, _) => Some(batch.map(String::from)),
        (_, Some(named), Some(own)) => (named == own).then(|| Some(named.to_owned())),
        // The first addition infers the key: a later one that names it would interfere.
        (None, Some(_), None) => None,
        (Some(batch), Some(named), None) => (batch == named).then(|| Some(named.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::tasks::{Method, Payload};

    fn add(primary_key: Option<&str>) -> Work {
        let primary_key = primary_key.map(String::from);
        Work::AddDocuments {
            method: Method::Replace,
            payload: Payload::Inline(String::new()),
            documents: 0,
            primary_key,
            creates: true,
            skips_new: false,
        }
    }

    fn settings(reset: bool) -> Work {
        Work::UpdateSettings {
            settings: Box::new(Settings::default()),
            creates: !reset,
        }
    }

    fn plan(waiting: &[Work], exists: bool, key: Option<&str>) -> (Plan, usize) {
        let batch = next_batch(waiting, exists, key).unwrap();
        (batch.plan, batch.len)
    }

    #[test]
    fn additions_and_deletions_by_id_mix() {
        let waiting = [
            add(None),
            Work::DeleteDocuments { ids: vec![] },
            add(None),
            settings(false),
            add(None),
        ];
        assert_eq!(
            plan(&waiting, true, Some("id")),
            (Plan::Documents { primary_key: None }, 3)
        );
    }

    #[test]
    fn keys_do_not_interfere() {
        assert_eq!(plan(&[add(None), add(Some("id"))], true, None).1, 1);
        assert_eq!(
            plan(
                &[add(Some("id")), add(Some("id")), add(Some("no"))],
                true,
                None
            )
            .1,
            2
        );
        assert_eq!(plan(&[add(Some("no")), add(None)], true, Some("id")).1, 1);
    }

    #[test]
    fn a_deletion_swallows_and_ends_a_batch() {
        let waiting = [add(None), settings(false)];
        assert_eq!(plan(&waiting, false, None).1, 1);
        let waiting = [add(None), Work::DeleteIndex, add(None)];
        assert_eq!(plan(&waiting, false, None), (Plan::DeleteIndex, 2));
        let waiting = [add(None), Work::ClearDocuments, add(None)];
        assert_eq!(plan(&waiting, true, None), (Plan::Clear, 2));
    }

    #[test]
    fn deletions_of_a_missing_index_stay_apart() {
        let waiting = [Work::DeleteDocuments { ids: vec![] }, add(None)];
        assert_eq!(
            plan(&waiting, false, None),
            (Plan::Deletions { by_filter: false }, 1)
        );
        assert_eq!(
            plan(&waiting, true, None),
            (Plan::Documents { primary_key: None }, 2)
        );
        assert!(!next_batch(&waiting, false, None).unwrap().creates_index);
        assert_eq!(plan(&[settings(true), settings(false)], false, None).1, 1);
    }
}
