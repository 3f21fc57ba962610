//! Tasks and their parts.

use std::future::Future;

use rusqlite::types::Value as Sql;
use rusqlite::{params, params_from_iter, Connection, OptionalExtension, Row};
use serde_json::Value;

use super::filter::conditions;
use super::indexes::{from_json, put_copy, put_index, remove_index, to_json};
use super::secrets::put_secrets;
use super::{CopyRow, IndexRow, Store, StoreError};
use crate::tasks::{Kind, Part, Status, Task, TaskFilter, TaskUid};

/// An accepted write, stored as one transaction: the client is answered after it.
#[derive(Clone, Debug)]
pub(crate) struct NewTask {
    /// Its `uid` is given by the store.
    pub task: Task,
    pub parts: Vec<Part>,
    /// The index's entry as it will be, where the task changes its plan.
    pub index: Option<IndexRow>,
    /// Copies that missed the write.
    pub missed: Vec<CopyRow>,
}

/// A task that has ended, with what it changed.
#[derive(Clone, Debug)]
pub(crate) struct FinishedTask {
    pub task: Task,
    /// The entries of its indexes afterwards.
    pub indexes: Vec<IndexRow>,
    /// The index, as nodes call it, that is gone with it.
    pub gone: Option<String>,
    /// Copies that it was cancelled on, though not on others.
    pub missed: Vec<CopyRow>,
    pub settings: Option<SettingsVersion>,
}

/// Settings as read back from the nodes after a change.
#[derive(Clone, Debug)]
pub(crate) struct SettingsVersion {
    pub version: u64,
    pub settings: Value,
}

impl Store {
    /// Stores a new task and returns it with its uid.
    pub(crate) fn register(
        &self,
        new: NewTask,
    ) -> impl Future<Output = Result<Task, StoreError>> + Send + 'static {
        self.write(move |db| {
            let NewTask {
                mut task,
                parts,
                index,
                missed,
            } = new;
            task.uid = next_uid(db)?;
            put_task(db, &task)?;
            for part in &parts {
                put_part(db, task.uid, part)?;
            }
            if let Some(index) = &index {
                put_index(db, index)?;
            }
            for copy in &missed {
                put_copy(db, copy)?;
            }
            Ok(task)
        })
    }

    /// Stores the states of running tasks.
    pub(crate) async fn update_tasks(&self, tasks: Vec<Task>) -> Result<(), StoreError> {
        self.write(move |db| tasks.iter().try_for_each(|task| put_task(db, task)))
            .await
    }

    /// Stores the end of a task together with what it changed, and returns it as it is stored.
    pub(crate) fn finish(
        &self,
        mut finished: FinishedTask,
    ) -> impl Future<Output = Result<Task, StoreError>> + Send + 'static {
        self.write(move |db| {
            if finished.task.kind == Kind::TaskDeletion {
                let forgets = std::mem::take(&mut finished.task.effect.forgets);
                finished.task.details["deletedTasks"] = Value::from(forget(db, &forgets)?);
            }
            finished.task.effect.export = None;
            let secrets = std::mem::take(&mut finished.task.effect.secrets);
            if let (Status::Succeeded, Some(index)) =
                (finished.task.status, &finished.task.node_uid)
            {
                put_secrets(db, index, &secrets)?;
            }
            put_task(db, &finished.task)?;
            for index in &finished.indexes {
                put_index(db, index)?;
            }
            for copy in &finished.missed {
                put_copy(db, copy)?;
            }
            if let Some(gone) = &finished.gone {
                remove_index(db, gone)?;
            }
            if finished.task.status == Status::Succeeded {
                for pair in &finished.task.effect.swaps {
                    swap_in_history(db, finished.task.uid, pair)?;
                }
            }
            if let (Some(settings), Some(index)) = (&finished.settings, &finished.task.node_uid) {
                let sql = "INSERT OR REPLACE INTO settings_versions VALUES (?1, ?2, ?3, ?4, ?5)";
                db.execute(
                    sql,
                    params![
                        index,
                        settings.version as i64,
                        finished.task.uid,
                        to_json(&settings.settings),
                        finished.task.finished_at.unwrap_or_default()
                    ],
                )?;
            }
            Ok(finished.task)
        })
    }

    pub(crate) async fn task(&self, uid: TaskUid) -> Result<Option<Task>, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT * FROM tasks WHERE uid = ?1")?
                .query_row([uid], read_task)
                .optional()
        })
        .await
    }

    /// One page of tasks (at most `filter.limit`) and the number of all that match, whatever the page.
    pub(crate) async fn tasks(&self, filter: TaskFilter) -> Result<(Vec<Task>, u64), StoreError> {
        self.read(move |db| {
            let (mut wheres, mut values) = conditions(&filter);
            let sql = format!("SELECT COUNT(*) FROM tasks WHERE {wheres}");
            let total: i64 =
                db.query_row(&sql, params_from_iter(values.iter()), |row| row.get(0))?;
            if let Some(from) = filter.from {
                wheres.push_str(if filter.reverse {
                    " AND uid >= ?"
                } else {
                    " AND uid <= ?"
                });
                values.push(Sql::from(from));
            }
            let order = if filter.reverse { "ASC" } else { "DESC" };
            let sql = format!(
                "SELECT * FROM tasks WHERE {wheres} ORDER BY uid {order} LIMIT {}",
                filter.limit
            );
            let mut query = db.prepare(&sql)?;
            let tasks = query
                .query_map(params_from_iter(values.iter()), read_task)?
                .collect::<Result<_, _>>()?;
            Ok((tasks, total as u64))
        })
        .await
    }

    /// The uids of all tasks that match, whatever the page, oldest first.
    pub(crate) async fn task_uids(&self, filter: TaskFilter) -> Result<Vec<TaskUid>, StoreError> {
        self.read(move |db| {
            let (wheres, values) = conditions(&filter);
            let mut query = db.prepare(&format!(
                "SELECT uid FROM tasks WHERE {wheres} ORDER BY uid"
            ))?;
            let uids = query.query_map(params_from_iter(values.iter()), |row| row.get(0))?;
            uids.collect()
        })
        .await
    }

    /// How many tasks one task has cancelled.
    pub(crate) async fn canceled_count(&self, task: TaskUid) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM tasks WHERE status = 'canceled' AND canceled_by = ?1";
        let count = self.read(move |db| db.query_row(sql, [task], |row| row.get::<_, i64>(0)));
        Ok(count.await?.unsigned_abs())
    }

    /// Adds node tasks to a task that was stored before they were sent.
    pub(crate) async fn add_parts(
        &self,
        task: TaskUid,
        parts: Vec<Part>,
    ) -> Result<(), StoreError> {
        self.write(move |db| parts.iter().try_for_each(|part| put_part(db, task, part)))
            .await
    }

    /// The node tasks of a task.
    pub(crate) async fn parts(&self, task: TaskUid) -> Result<Vec<Part>, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT * FROM parts WHERE task_uid = ?1 ORDER BY node, node_task")?
                .query_map([task], read_part)?
                .collect()
        })
        .await
    }

    /// Every task that has not ended, oldest first, with its parts.
    pub(crate) async fn unfinished(&self) -> Result<Vec<(Task, Vec<Part>)>, StoreError> {
        self.read(|db| {
            let sql = "SELECT * FROM tasks WHERE status IN ('enqueued', 'processing') ORDER BY uid";
            let tasks: Vec<Task> = db
                .prepare(sql)?
                .query_map([], read_task)?
                .collect::<Result<_, _>>()?;
            let mut parts =
                db.prepare("SELECT * FROM parts WHERE task_uid = ?1 ORDER BY node, node_task")?;
            tasks
                .into_iter()
                .map(|task| {
                    let parts = parts
                        .query_map([task.uid], read_part)?
                        .collect::<Result<_, _>>()?;
                    Ok((task, parts))
                })
                .collect()
        })
        .await
    }
}

/// Deletes those of `tasks` that have ended, and counts them.
fn forget(db: &Connection, tasks: &[TaskUid]) -> rusqlite::Result<usize> {
    let mut delete = db.prepare_cached(
        "DELETE FROM tasks WHERE uid = ?1 AND status NOT IN ('enqueued', 'processing')",
    )?;
    tasks.iter().map(|uid| delete.execute([uid])).sum()
}

fn next_uid(db: &Connection) -> rusqlite::Result<TaskUid> {
    let take = "UPDATE counters SET value = value + 1 WHERE name = 'next_task' RETURNING value - 1";
    db.prepare_cached(take)?.query_row([], |row| row.get(0))
}

fn put_task(db: &Connection, task: &Task) -> rusqlite::Result<()> {
    // Not `INSERT OR REPLACE`: replacing a row deletes it first, and its parts with it.
    let sql = "INSERT INTO tasks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT (uid) DO UPDATE SET status = ?4, details = ?5, error = ?6, effect = ?8, started_at = ?11, finished_at = ?12,
         canceled_by = ?15";
    db.prepare_cached(sql)?.execute(params![
        task.uid,
        task.index_uid,
        task.kind.as_str(),
        task.status.as_str(),
        to_json(&task.details),
        task.error.as_ref().map(to_json),
        task.doom.as_ref().map(to_json),
        to_json(&task.effect),
        task.copies,
        task.enqueued_at,
        task.started_at,
        task.finished_at,
        task.custom_metadata,
        task.node_uid,
        task.canceled_by,
    ])?;
    Ok(())
}

/// In the tasks before `task` each of two names stands for the other from now on, as Meilisearch has it.
fn swap_in_history(
    db: &Connection,
    task: TaskUid,
    pair: &(String, String),
) -> rusqlite::Result<()> {
    let (left, right) = pair;
    let sql = "UPDATE tasks SET index_uid = CASE index_uid WHEN ?1 THEN ?2 ELSE ?1 END
         WHERE index_uid IN (?1, ?2) AND uid < ?3";
    db.execute(sql, params![left, right, task])?;
    let mut earlier =
        db.prepare("SELECT uid, details FROM tasks WHERE kind = 'indexSwap' AND uid < ?1")?;
    let mut rows = earlier.query([task])?;
    while let Some(row) = rows.next()? {
        let Some(mut details) = from_json::<Value>(row, "details")? else {
            continue;
        };
        let swaps = details["swaps"].as_array_mut().into_iter().flatten();
        for name in swaps
            .filter_map(|swap| swap["indexes"].as_array_mut())
            .flatten()
        {
            if name.as_str() == Some(left) {
                *name = Value::from(right.as_str());
            } else if name.as_str() == Some(right) {
                *name = Value::from(left.as_str());
            }
        }
        let uid: TaskUid = row.get("uid")?;
        db.execute(
            "UPDATE tasks SET details = ?2 WHERE uid = ?1",
            params![uid, to_json(&details)],
        )?;
    }
    Ok(())
}

fn put_part(db: &Connection, task: TaskUid, part: &Part) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO parts (task_uid, node, node_task, role, shards) VALUES (?1, ?2, ?3, ?4, ?5)";
    let shards: Vec<u16> = part.shards.iter().map(|shard| shard.0).collect();
    db.prepare_cached(sql)?.execute(params![
        task,
        part.node,
        part.node_task,
        to_json(&part.role),
        to_json(&shards)
    ])?;
    Ok(())
}

fn read_task(row: &Row<'_>) -> rusqlite::Result<Task> {
    let word = |column| -> rusqlite::Result<String> { row.get(column) };
    let unknown = |column: &'static str| {
        rusqlite::Error::InvalidColumnType(0, column.to_owned(), rusqlite::types::Type::Text)
    };
    Ok(Task {
        uid: row.get("uid")?,
        index_uid: row.get("index_uid")?,
        kind: Kind::parse(&word("kind")?).ok_or_else(|| unknown("kind"))?,
        status: Status::parse(&word("status")?).ok_or_else(|| unknown("status"))?,
        details: from_json(row, "details")?.unwrap_or(Value::Null),
        error: from_json(row, "error")?,
        doom: from_json(row, "doom")?,
        effect: from_json(row, "effect")?.unwrap_or_default(),
        copies: row.get("copies")?,
        enqueued_at: row.get("enqueued_at")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
        custom_metadata: row.get("custom_metadata")?,
        node_uid: row.get("node_uid")?,
        canceled_by: row.get("canceled_by")?,
    })
}

fn read_part(row: &Row<'_>) -> rusqlite::Result<Part> {
    let shards: Vec<u16> = from_json(row, "shards")?.unwrap_or_default();
    let node: String = row.get("node")?;
    let role = from_json(row, "role")?.unwrap_or(crate::tasks::Role::Counted);
    Ok(Part::new(
        &node,
        row.get("node_task")?,
        role,
        shards.into_iter().map(miroir_router::Shard).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Effect;
    use crate::clock::Nanos;
    use crate::store::tests::scratch;
    use crate::tasks::Role;
    use miroir_router::{CopyState, Shard};
    use serde_json::json;

    fn task(index: &str, kind: Kind, status: Status, at: Nanos) -> Task {
        Task {
            uid: 0,
            index_uid: Some(index.to_owned()),
            node_uid: Some(index.to_owned()),
            canceled_by: None,
            kind,
            status,
            details: json!({"receivedDocuments": 1}),
            error: None,
            doom: Some(json!({"code": "x"})),
            effect: Effect {
                key: Some("id".into()),
                ..Effect::default()
            },
            copies: 2,
            enqueued_at: at,
            started_at: status.is_finished().then_some(at + 1),
            finished_at: status.is_finished().then_some(at + 2),
            custom_metadata: Some("mine".into()),
        }
    }

    fn new(task: Task) -> NewTask {
        NewTask {
            task,
            parts: vec![],
            index: None,
            missed: vec![],
        }
    }

    fn finished(task: Task) -> FinishedTask {
        FinishedTask {
            task,
            indexes: vec![],
            gone: None,
            missed: vec![],
            settings: None,
        }
    }

    async fn uids(store: &Store, query: &str) -> (Vec<u32>, u64) {
        let (tasks, total) = store
            .tasks(TaskFilter::parse(query).unwrap())
            .await
            .unwrap();
        (tasks.iter().map(|task| task.uid).collect(), total)
    }

    #[tokio::test]
    async fn a_task_comes_back_as_it_was_with_its_parts_and_copies() {
        let (store, _folder) = scratch();
        let part = Part::new("n0", 7, Role::AuxiliaryCreation, vec![Shard(3), Shard(4)]);
        let copy = CopyRow {
            index_uid: "a".into(),
            shard: 3,
            node: "n1".into(),
            state: CopyState::OutOfSync,
        };
        let stored = store
            .register(NewTask {
                task: task("a", Kind::DocumentAdditionOrUpdate, Status::Enqueued, 5),
                parts: vec![part.clone()],
                index: None,
                missed: vec![copy.clone()],
            })
            .await
            .unwrap();
        assert_eq!(stored.uid, 0);
        let mut running = stored.clone();
        running.status = Status::Processing;
        store.update_tasks(vec![running.clone()]).await.unwrap();
        assert_eq!(
            store.unfinished().await.unwrap(),
            vec![(running, vec![part])]
        );
        assert_eq!(store.copies().await.unwrap(), vec![copy]);
    }

    #[tokio::test]
    async fn only_finished_tasks_are_deleted_and_numbers_are_not_given_again() {
        let (store, _folder) = scratch();
        for status in [Status::Succeeded, Status::Enqueued, Status::Failed] {
            store
                .register(new(task("a", Kind::DocumentDeletion, status, 1)))
                .await
                .unwrap();
        }
        let mut deletion = task("a", Kind::TaskDeletion, Status::Succeeded, 2);
        deletion.effect.forgets = vec![0, 1, 2, 9];
        let deletion = store.register(new(deletion)).await.unwrap();
        assert_eq!(deletion.uid, 3);
        store.finish(finished(deletion)).await.unwrap();
        let deletion = store.task(3).await.unwrap().unwrap();
        assert_eq!(deletion.details["deletedTasks"], 2);
        assert_eq!(uids(&store, "").await, (vec![3, 1], 2));
        assert_eq!(store.unfinished().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_swap_changes_the_names_of_earlier_tasks() {
        let (store, _folder) = scratch();
        for index in ["a", "b", "c"] {
            store
                .register(new(task(index, Kind::IndexCreation, Status::Succeeded, 1)))
                .await
                .unwrap();
        }
        let mut swap = task("", Kind::IndexSwap, Status::Succeeded, 2);
        (swap.index_uid, swap.node_uid) = (None, None);
        swap.effect.swaps = vec![("a".into(), "b".into())];
        swap.details = json!({"swaps": [{"indexes": ["a", "b"]}]});
        for expected in ["b", "a"] {
            let task = store.register(new(swap.clone())).await.unwrap();
            let task = Task {
                effect: swap.effect.clone(),
                ..task
            };
            store.finish(finished(task)).await.unwrap();
            let first = store.task(0).await.unwrap().unwrap();
            assert_eq!(first.index_uid.as_deref(), Some(expected));
        }
        let first = store.task(3).await.unwrap().unwrap();
        assert_eq!(first.details["swaps"][0]["indexes"], json!(["b", "a"]));
    }

    #[tokio::test]
    async fn lists_filter_and_page() {
        let (store, _folder) = scratch();
        for (index, kind, status) in [
            ("a", Kind::IndexCreation, Status::Succeeded),
            ("a", Kind::DocumentAdditionOrUpdate, Status::Failed),
            ("b", Kind::DocumentAdditionOrUpdate, Status::Succeeded),
            ("b", Kind::SettingsUpdate, Status::Enqueued),
        ] {
            let at = 1_000_000_000
                * i64::from(store.tasks(TaskFilter::default()).await.unwrap().1 as u32);
            store
                .register(new(task(index, kind, status, at)))
                .await
                .unwrap();
        }
        assert_eq!(uids(&store, "").await, (vec![3, 2, 1, 0], 4));
        assert_eq!(uids(&store, "limit=2&from=2").await, (vec![2, 1], 4));
        assert_eq!(
            uids(&store, "limit=2&from=2&reverse=true").await,
            (vec![2, 3], 4)
        );
        assert_eq!(uids(&store, "indexUids=a").await, (vec![1, 0], 2));
        assert_eq!(
            uids(&store, "types=documentAdditionOrUpdate&statuses=succeeded").await,
            (vec![2], 1)
        );
        assert_eq!(uids(&store, "uids=1,3,9").await, (vec![3, 1], 2));
        assert_eq!(uids(&store, "batchUids=1,3").await, (vec![1], 1));
        assert_eq!(uids(&store, "canceledBy=1").await, (vec![], 0));
        assert_eq!(uids(&store, "types=dumpCreation").await, (vec![], 0));
        assert_eq!(
            uids(&store, "afterEnqueuedAt=1970-01-01T00:00:01Z").await,
            (vec![3, 2], 2)
        );
        assert_eq!(
            uids(&store, "beforeEnqueuedAt=1970-01-01T00:00:01Z").await,
            (vec![0], 1)
        );
        assert_eq!(
            uids(&store, "beforeFinishedAt=1970-01-02").await,
            (vec![2, 1, 0], 3)
        );
        assert_eq!(uids(&store, "limit=0").await, (vec![], 4));
    }
}
