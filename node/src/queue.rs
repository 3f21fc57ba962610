//! The durable queue of tasks, and the map from index names to their folders.
//!
//! Both are in one SQLite file so that a task's end and what it did to the map are one transaction. A task is on disk
//! (WAL, `synchronous=FULL`) before its 202 is sent. That a task is being processed is kept in memory only: after a
//! crash its row still says `enqueued` and it runs again, which changes nothing where its batch had been applied
//! before, because every kind of work is idempotent.

mod filter;
mod swap;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use milli_core::progress::{Progress, ProgressView};
use miroir_api::Error;
use rusqlite::{params, Connection, OptionalExtension, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::tasks::{Kind, Status, Swap, Task, Work};

pub use filter::{Filter, Page, Span};

/// A task with what it does; only the scheduler needs that.
#[derive(Clone, Debug)]
pub struct Job {
    pub task: Task,
    pub work: Work,
}

/// What the ends of a batch's tasks change in the map of indexes.
#[derive(Debug)]
pub enum MapChange {
    None,
    Insert {
        uid: String,
        folder: Uuid,
    },
    Remove {
        uid: String,
    },
    /// The indexes of each pair exchange their names, also in the tasks before this one. Where one of the names is free,
    /// it is the other's afterwards.
    Swap {
        pairs: Vec<(String, String)>,
        before: u32,
    },
}

/// The batch that the scheduler works on.
#[derive(Clone)]
struct Processing {
    batch_uid: u32,
    started_at: OffsetDateTime,
    tasks: Vec<u32>,
    progress: Progress,
}

pub struct Queue {
    writer: Mutex<Writer>,
    /// A connection of its own: with a write-ahead log, readers do not wait for a commit.
    reader: Mutex<Connection>,
    processing: Mutex<Option<Processing>>,
}

struct Writer {
    connection: Connection,
    next_task: u32,
    next_batch: u32,
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS tasks (
        uid INTEGER PRIMARY KEY,
        batch_uid INTEGER,
        index_uid TEXT,
        status TEXT NOT NULL,
        kind TEXT NOT NULL,
        canceled_by INTEGER,
        details TEXT,
        error TEXT,
        enqueued_at INTEGER NOT NULL, -- nanoseconds since 1970, as the two below
        started_at INTEGER,
        finished_at INTEGER,
        work TEXT -- until the task has ended
    ) STRICT;
    CREATE INDEX IF NOT EXISTS waiting ON tasks (uid) WHERE status = 'enqueued';
    CREATE INDEX IF NOT EXISTS of_index ON tasks (index_uid, uid);
    CREATE TABLE IF NOT EXISTS indexes (uid TEXT PRIMARY KEY, folder TEXT NOT NULL) STRICT;
    PRAGMA user_version = 1;
";

const COLUMNS: &str = "uid, batch_uid, index_uid, status, kind, canceled_by, details, error, enqueued_at, started_at, \
                       finished_at, custom_metadata";

impl Queue {
    /// Opens or creates the queue's file.
    pub fn open(path: &Path) -> Result<Queue, Error> {
        let writer = connect(path)?;
        writer.execute_batch(SCHEMA).map_err(sql_error)?;
        let sql = "SELECT 1 FROM pragma_table_info('tasks') WHERE name = 'custom_metadata'";
        if !writer
            .prepare(sql)
            .and_then(|mut s| s.exists([]))
            .map_err(sql_error)?
        {
            // A file of a node that did not know it.
            let sql = "ALTER TABLE tasks ADD COLUMN custom_metadata TEXT";
            writer.execute(sql, []).map_err(sql_error)?;
        }
        let last = |column: &str| {
            let sql = format!("SELECT max({column}) FROM tasks");
            writer
                .query_row(&sql, [], |row| row.get::<_, Option<u32>>(0))
                .map_err(sql_error)
        };
        let after = |last: Option<u32>| last.map_or(0, |uid| uid + 1);
        let (next_task, next_batch) = (after(last("uid")?), after(last("batch_uid")?));
        let reader = connect(path)?;
        Ok(Queue {
            writer: Mutex::new(Writer {
                connection: writer,
                next_task,
                next_batch,
            }),
            reader: Mutex::new(reader),
            processing: Mutex::new(None),
        })
    }

    /// Adds a task; it is durable when this returns.
    pub fn register(
        &self,
        index_uid: Option<&str>,
        work: &Work,
        custom_metadata: Option<String>,
    ) -> Result<Task, Error> {
        let work_text = serde_json::to_string(work).map_err(|e| Error::internal(e.to_string()))?;
        let mut writer = lock(&self.writer);
        let task = Task {
            uid: writer.next_task,
            batch_uid: None,
            index_uid: index_uid.map(String::from),
            status: Status::Enqueued,
            kind: work.kind(),
            canceled_by: None,
            details: Some(work.details(index_uid)),
            error: None,
            enqueued_at: OffsetDateTime::now_utc(),
            started_at: None,
            finished_at: None,
            custom_metadata,
        };
        let sql = "INSERT INTO tasks (uid, index_uid, status, kind, details, enqueued_at, work, custom_metadata) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let details = task.details.as_ref().map(|details| details.to_string());
        let row = params![
            task.uid,
            task.index_uid,
            task.status.name(),
            task.kind.name(),
            details,
            nanos(task.enqueued_at),
            work_text,
            task.custom_metadata
        ];
        writer
            .connection
            .prepare_cached(sql)
            .and_then(|mut s| s.execute(row))
            .map_err(sql_error)?;
        writer.next_task += 1;
        Ok(task)
    }

    /// The tasks that `filter` lets through, one page of them.
    pub fn list(&self, filter: &Filter) -> Result<Page, Error> {
        let processing = self.processing();
        let sql = filter.sql(
            processing
                .as_ref()
                .map(|p| (p.batch_uid, nanos(p.started_at), p.tasks.as_slice())),
        );
        let reader = lock(&self.reader);
        let total = reader
            .query_row(&sql.count, rusqlite::params_from_iter(&sql.values), |row| {
                row.get(0)
            })
            .map_err(sql_error)?;
        let mut statement = reader
            .prepare(&format!("SELECT {COLUMNS} {}", sql.page))
            .map_err(sql_error)?;
        let rows = statement
            .query_map(rusqlite::params_from_iter(&sql.values), task_of)
            .map_err(sql_error)?;
        let tasks: Result<Vec<Task>, _> = rows.collect();
        let tasks = tasks
            .map_err(sql_error)?
            .into_iter()
            .map(|task| overlay(task, processing.as_ref()))
            .collect();
        Ok(Page { tasks, total })
    }

    /// The uids that `filter` lets through, ascending.
    pub fn uids(&self, filter: &Filter) -> Result<Vec<u32>, Error> {
        let mut uids: Vec<u32> = self
            .list(filter)?
            .tasks
            .into_iter()
            .map(|task| task.uid)
            .collect();
        uids.sort_unstable();
        Ok(uids)
    }

    /// One task.
    pub fn get(&self, uid: u32) -> Result<Option<Task>, Error> {
        // In this order: a batch that ends between the two reads shows its end, never a task that waits again.
        let processing = self.processing();
        let reader = lock(&self.reader);
        let sql = format!("SELECT {COLUMNS} FROM tasks WHERE uid = ?1");
        let mut statement = reader.prepare_cached(&sql).map_err(sql_error)?;
        let task = statement
            .query_row([uid], task_of)
            .optional()
            .map_err(sql_error)?;
        Ok(task.map(|task| overlay(task, processing.as_ref())))
    }

    /// Whether the batch under way is one of this index.
    pub fn is_processing_index(&self, index_uid: &str) -> Result<bool, Error> {
        let Some(processing) = self.processing() else {
            return Ok(false);
        };
        let Some(first) = processing.tasks.first() else {
            return Ok(false);
        };
        Ok(self
            .get(*first)?
            .is_some_and(|task| task.index_uid.as_deref() == Some(index_uid)))
    }

    /// What runs next: the last waiting cancelation alone, else all waiting deletions of tasks, else the oldest task
    /// alone where it swaps indexes, else the waiting tasks of its index (at most `max`).
    pub fn waiting(&self, max: usize) -> Result<Vec<Job>, Error> {
        let writer = lock(&self.writer);
        let find = |clause: &str, values: &[&dyn rusqlite::ToSql]| -> Result<Vec<Job>, Error> {
            let sql =
                format!("SELECT {COLUMNS}, work FROM tasks WHERE status = 'enqueued' {clause}");
            let mut statement = writer.connection.prepare_cached(&sql).map_err(sql_error)?;
            let rows = statement.query_map(values, job_of).map_err(sql_error)?;
            rows.collect::<Result<_, _>>().map_err(sql_error)
        };
        let Some(oldest) = find("ORDER BY uid LIMIT 1", &[])?.pop() else {
            return Ok(Vec::new());
        };
        let cancelations = find(
            "AND kind = 'taskCancelation' ORDER BY uid DESC LIMIT 1",
            &[],
        )?;
        if !cancelations.is_empty() {
            return Ok(cancelations);
        }
        let deletions = find("AND kind = 'taskDeletion' ORDER BY uid", &[])?;
        if !deletions.is_empty() {
            return Ok(deletions);
        }
        let Some(index_uid) = oldest.task.index_uid.clone() else {
            return Ok(vec![oldest]);
        };
        // What comes after the index has changed its name is meant for another one.
        let renames = find("AND kind IN ('indexSwap', 'indexUpdate') ORDER BY uid", &[])?;
        let mut later = renames.iter().filter(|r| r.task.uid > oldest.task.uid);
        let rename = later.find(|rename| match &rename.work {
            Work::SwapIndexes { swaps } => swaps
                .iter()
                .any(|Swap { indexes, .. }| [&indexes.0, &indexes.1].contains(&&index_uid)),
            Work::UpdateIndex { new_uid, .. } => new_uid.as_ref() == Some(&index_uid),
            _ => false,
        });
        let end = rename.map_or(u32::MAX, |rename| rename.task.uid);
        find(
            "AND index_uid = ?1 AND uid < ?3 ORDER BY uid LIMIT ?2",
            &[&index_uid, &(max as i64), &end],
        )
    }

    /// The tasks among `uids` that wait.
    pub fn waiting_among(&self, uids: &[u32]) -> Result<Vec<Job>, Error> {
        let writer = lock(&self.writer);
        let sql =
            format!("SELECT {COLUMNS}, work FROM tasks WHERE status = 'enqueued' AND uid = ?1");
        let mut statement = writer.connection.prepare_cached(&sql).map_err(sql_error)?;
        let mut jobs = Vec::new();
        for uid in uids {
            jobs.extend(
                statement
                    .query_row([uid], job_of)
                    .optional()
                    .map_err(sql_error)?,
            );
        }
        Ok(jobs)
    }

    /// Notes that `tasks` are being worked on, and gives their batch its number, its start, and what tells how far it is.
    pub fn begin(&self, tasks: Vec<u32>) -> (u32, OffsetDateTime, Progress) {
        let mut writer = lock(&self.writer);
        let batch_uid = writer.next_batch;
        writer.next_batch += 1;
        let started_at = OffsetDateTime::now_utc();
        let progress = Progress::default();
        *lock(&self.processing) = Some(Processing {
            batch_uid,
            started_at,
            tasks,
            progress: progress.clone(),
        });
        (batch_uid, started_at, progress)
    }

    /// Gives up the batch: its tasks wait again.
    pub fn abort(&self) {
        *lock(&self.processing) = None;
    }

    /// How far a batch is; `None` where it is not being worked on.
    pub fn progress(&self, batch_uid: u32) -> Option<ProgressView> {
        let processing = self.processing().filter(|p| p.batch_uid == batch_uid)?;
        Some(processing.progress.as_progress_view())
    }

    /// Whether one of `tasks` is being worked on.
    pub fn is_processing(&self, tasks: &[u32]) -> bool {
        self.processing()
            .is_some_and(|p| p.tasks.iter().any(|uid| tasks.contains(uid)))
    }

    /// Writes the ends of a batch's tasks, the map's change and the deletion of `deleted` in one transaction.
    pub fn finish(&self, ended: &[Task], change: &MapChange, deleted: &[u32]) -> Result<(), Error> {
        let mut writer = lock(&self.writer);
        let transaction = writer.connection.transaction().map_err(sql_error)?;
        {
            let sql = "UPDATE tasks SET batch_uid = ?2, status = ?3, canceled_by = ?4, details = ?5, error = ?6, \
                       started_at = ?7, finished_at = ?8, work = NULL WHERE uid = ?1";
            let mut statement = transaction.prepare_cached(sql).map_err(sql_error)?;
            for task in ended {
                let text = |value: &Option<serde_json::Value>| {
                    value.as_ref().map(|value| value.to_string())
                };
                let row = params![
                    task.uid,
                    task.batch_uid,
                    task.status.name(),
                    task.canceled_by,
                    text(&task.details),
                    text(&task.error),
                    task.started_at.map(nanos),
                    task.finished_at.map(nanos)
                ];
                statement.execute(row).map_err(sql_error)?;
            }
            let mut statement = transaction
                .prepare_cached("DELETE FROM tasks WHERE uid = ?1")
                .map_err(sql_error)?;
            for uid in deleted {
                statement.execute([uid]).map_err(sql_error)?;
            }
        }
        write_map(&transaction, change)?;
        transaction.commit().map_err(sql_error)?;
        drop(writer);
        *lock(&self.processing) = None;
        Ok(())
    }

    /// Changes the map of indexes outside a batch's end.
    pub fn change_map(&self, change: &MapChange) -> Result<(), Error> {
        write_map(&lock(&self.writer).connection, change)
    }

    /// The map from index names to folders.
    pub fn map(&self) -> Result<HashMap<String, Uuid>, Error> {
        let reader = lock(&self.reader);
        let mut statement = reader
            .prepare("SELECT uid, folder FROM indexes")
            .map_err(sql_error)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, parse::<Uuid>(row, 1)?)))
            .map_err(sql_error)?;
        rows.collect::<Result<_, _>>().map_err(sql_error)
    }

    /// The payload files of the waiting tasks.
    pub fn payloads(&self) -> Result<Vec<Uuid>, Error> {
        let reader = lock(&self.reader);
        let sql = format!(
            "SELECT {COLUMNS}, work FROM tasks WHERE status = 'enqueued' AND kind = 'documentAdditionOrUpdate'"
        );
        let mut statement = reader.prepare(&sql).map_err(sql_error)?;
        let rows = statement.query_map([], job_of).map_err(sql_error)?;
        let jobs: Result<Vec<Job>, _> = rows.collect();
        Ok(jobs
            .map_err(sql_error)?
            .iter()
            .filter_map(|job| job.work.payload_file())
            .collect())
    }

    fn processing(&self) -> Option<Processing> {
        lock(&self.processing).clone()
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path).map_err(sql_error)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(sql_error)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(sql_error)?;
    connection
        .busy_timeout(std::time::Duration::from_secs(10))
        .map_err(sql_error)?;
    Ok(connection)
}

fn write_map(connection: &Connection, change: &MapChange) -> Result<(), Error> {
    let written = match change {
        MapChange::None => return Ok(()),
        MapChange::Insert { uid, folder } => {
            let sql = "INSERT OR REPLACE INTO indexes (uid, folder) VALUES (?1, ?2)";
            connection.execute(sql, params![uid, folder.to_string()])
        }
        MapChange::Remove { uid } => {
            connection.execute("DELETE FROM indexes WHERE uid = ?1", [uid])
        }
        MapChange::Swap { pairs, before } => return swap::swap(connection, pairs, *before),
    };
    written.map(|_| ()).map_err(sql_error)
}

// A task in the batch under way is still `enqueued` on disk.
fn overlay(mut task: Task, processing: Option<&Processing>) -> Task {
    if let Some(processing) = processing {
        if task.status == Status::Enqueued && processing.tasks.contains(&task.uid) {
            task.status = Status::Processing;
            task.batch_uid = Some(processing.batch_uid);
            task.started_at = Some(processing.started_at);
        }
    }
    task
}

fn job_of(row: &Row) -> rusqlite::Result<Job> {
    Ok(Job {
        task: task_of(row)?,
        work: json(row, 12)?.ok_or(rusqlite::Error::InvalidQuery)?,
    })
}

fn task_of(row: &Row) -> rusqlite::Result<Task> {
    let named = |column| {
        rusqlite::Error::InvalidColumnType(column, "name".to_owned(), rusqlite::types::Type::Text)
    };
    Ok(Task {
        uid: row.get(0)?,
        batch_uid: row.get(1)?,
        index_uid: row.get(2)?,
        status: Status::from_name(&row.get::<_, String>(3)?).ok_or_else(|| named(3))?,
        kind: Kind::from_name(&row.get::<_, String>(4)?).ok_or_else(|| named(4))?,
        canceled_by: row.get(5)?,
        details: json(row, 6)?,
        error: json(row, 7)?,
        enqueued_at: date(row.get(8)?),
        started_at: row.get::<_, Option<i64>>(9)?.map(date),
        finished_at: row.get::<_, Option<i64>>(10)?.map(date),
        custom_metadata: row.get(11)?,
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &Row, column: usize) -> rusqlite::Result<Option<T>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| unreadable(column, error))
}

fn parse<T: std::str::FromStr>(row: &Row, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<_, String>(column)?
        .parse()
        .map_err(|error| unreadable(column, error))
}

fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

fn nanos(date: OffsetDateTime) -> i64 {
    // Until the year 2262.
    i64::try_from(date.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}

fn date(nanos: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn sql_error(error: rusqlite::Error) -> Error {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
        return crate::error::coded("no_space_left_on_device", error.to_string());
    }
    Error::internal(format!("task queue: {error}"))
}

/// A lock whose data stays whole when a holder panicked: no method leaves it half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(queue: &Queue, index: &str) -> u32 {
        queue
            .register(Some(index), &Work::ClearDocuments, None)
            .unwrap()
            .uid
    }

    fn end(task: &Task, status: Status) -> Task {
        Task {
            status,
            batch_uid: Some(0),
            finished_at: Some(OffsetDateTime::now_utc()),
            ..task.clone()
        }
    }

    #[test]
    fn a_crash_gives_processing_tasks_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tasks.db");
        let queue = Queue::open(&path).unwrap();
        let uids = [add(&queue, "a"), add(&queue, "b"), add(&queue, "a")];
        assert_eq!(uids, [0, 1, 2]);

        let jobs = queue.waiting(10).unwrap();
        assert_eq!(
            jobs.iter().map(|job| job.task.uid).collect::<Vec<_>>(),
            [0, 2]
        );
        queue.begin(vec![0, 2]);
        assert_eq!(queue.get(2).unwrap().unwrap().status, Status::Processing);
        assert_eq!(queue.get(1).unwrap().unwrap().status, Status::Enqueued);

        // Another opening sees what a restart would.
        let restarted = Queue::open(&path).unwrap();
        assert_eq!(restarted.get(2).unwrap().unwrap().status, Status::Enqueued);
        assert_eq!(restarted.waiting(1).unwrap().len(), 1);
    }

    #[test]
    fn an_end_and_its_index_are_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tasks.db");
        let queue = Queue::open(&path).unwrap();
        add(&queue, "a");
        let task = queue.waiting(1).unwrap().pop().unwrap().task;
        queue.begin(vec![0]);
        let change = MapChange::Insert {
            uid: "a".to_owned(),
            folder: Uuid::nil(),
        };
        queue
            .finish(&[end(&task, Status::Succeeded)], &change, &[])
            .unwrap();
        assert!(queue.waiting(1).unwrap().is_empty());

        let restarted = Queue::open(&path).unwrap();
        assert_eq!(restarted.map().unwrap().len(), 1);
        assert_eq!(restarted.get(0).unwrap().unwrap().status, Status::Succeeded);
        assert_eq!(add(&restarted, "a"), 1);
    }

    #[test]
    fn cancelations_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(&folder.path().join("tasks.db")).unwrap();
        add(&queue, "a");
        queue
            .register(
                None,
                &Work::DeleteTasks {
                    query: "?uids=0".into(),
                    tasks: vec![0],
                },
                None,
            )
            .unwrap();
        queue
            .register(
                None,
                &Work::CancelTasks {
                    query: "?uids=0".into(),
                    tasks: vec![0],
                },
                None,
            )
            .unwrap();
        let next: Vec<u32> = queue
            .waiting(9)
            .unwrap()
            .iter()
            .map(|job| job.task.uid)
            .collect();
        assert_eq!(next, [2]);
    }

    #[test]
    fn a_swap_takes_the_history_along() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(&folder.path().join("tasks.db")).unwrap();
        let folders = [Uuid::from_u128(1), Uuid::from_u128(2)];
        for (uid, folder) in ["a", "b"].into_iter().zip(folders) {
            let uid = uid.to_owned();
            queue
                .change_map(&MapChange::Insert { uid, folder })
                .unwrap();
        }
        let pairs = vec![("a".to_owned(), "b".to_owned())];
        let swap = |queue: &Queue| {
            let indexes = pairs[0].clone();
            let rename = false;
            let work = Work::SwapIndexes {
                swaps: vec![Swap { indexes, rename }],
            };
            queue.register(None, &work, None).unwrap().uid
        };
        let run = |queue: &Queue| {
            let jobs = queue.waiting(9).unwrap();
            let uids: Vec<u32> = jobs.iter().map(|job| job.task.uid).collect();
            queue.begin(uids.clone());
            let ends: Vec<Task> = jobs
                .iter()
                .map(|job| end(&job.task, Status::Succeeded))
                .collect();
            let change = match &jobs[0].work {
                Work::SwapIndexes { .. } => MapChange::Swap {
                    pairs: pairs.clone(),
                    before: uids[0],
                },
                _ => MapChange::None,
            };
            queue.finish(&ends, &change, &[]).unwrap();
            uids
        };
        // The last task of `a` waits for the swap: it is about what was `b`. That of `c` does not.
        for uid in ["a", "c"] {
            add(&queue, uid);
        }
        let first = swap(&queue);
        for uid in ["a", "c"] {
            add(&queue, uid);
        }
        assert_eq!(run(&queue), [0]);
        assert_eq!(run(&queue), [1, 4]);
        assert_eq!(run(&queue), [first]);
        assert_eq!(queue.map().unwrap()["a"], folders[1]);
        assert_eq!(
            queue.get(0).unwrap().unwrap().index_uid.as_deref(),
            Some("b")
        );
        assert_eq!(
            queue.get(3).unwrap().unwrap().index_uid.as_deref(),
            Some("a")
        );
        assert_eq!(run(&queue), [3]);

        let uids = |name: &str| {
            let filter = Filter {
                index_uids: Some(vec![name.to_owned()]),
                ..Filter::default()
            };
            queue.uids(&filter).unwrap()
        };
        // As in Meilisearch, a swap belongs to no index in lists.
        assert_eq!((uids("a"), uids("b")), (vec![3], vec![0]));
        swap(&queue);
        run(&queue);
        let details = queue.get(first).unwrap().unwrap().details.unwrap();
        assert_eq!(
            details["swaps"][0]["indexes"],
            serde_json::json!(["b", "a"])
        );
        assert_eq!(queue.map().unwrap()["a"], folders[0]);
    }
}
