//! The durable store: what must survive, behind typed operations.
//!
//! Nothing outside this module knows that it is SQLite; a Redis store with the same operations comes later (DESIGN 12).
//! So ids and counters are taken *in* the store, every operation is one transaction, and nothing assumes that this
//! process is the only writer.
//!
//! Group commit: one thread owns the writing connection. It takes every operation that waits, runs them in one
//! transaction (each in a savepoint of its own, so that one failure is one caller's), commits once with `synchronous =
//! FULL`, and only then answers. Ten writers cost one fsync. Reads have their own connection and never wait for it (WAL).

mod cluster;
mod features;
mod filter;
mod identities;
mod indexes;
mod keys;
mod schema;
mod secrets;
mod tasks;
mod webhooks;

use std::future::Future;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

pub(crate) use cluster::{IndexLayout, LayoutChange, NodeRow, Version};
pub(crate) use identities::Identity;
pub(crate) use indexes::{CopyRow, IndexRow};
pub(crate) use tasks::{FinishedTask, NewTask, SettingsVersion};

/// What the store could not do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("task store: {0}")]
pub(crate) struct StoreError(String);

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError(error.to_string())
    }
}

impl From<StoreError> for miroir_api::Error {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the task store failed");
        miroir_api::Error::internal(format!(
            "{error}; see the log and the disk under task_store.path"
        ))
    }
}

type Job = Box<dyn FnOnce(&Connection) -> (bool, Reply) + Send>;
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A handle to the store; clones share its threads, which end with the last handle.
#[derive(Clone)]
pub(crate) struct Store {
    writer: mpsc::Sender<Job>,
    reader: mpsc::Sender<Job>,
}

impl Store {
    /// Opens the file, brings its tables up to date and starts the threads.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut writing = schema::connect(path)?;
        schema::migrate(&mut writing)?;
        let reading = schema::connect(path)?;
        Ok(Store {
            writer: start_thread("miroir-store", move |jobs| write_jobs(writing, jobs))?,
            reader: start_thread("miroir-store-read", move |jobs| read_jobs(reading, jobs))?,
        })
    }

    /// Runs `operation` in a transaction; resolves once it is on disk. It is queued at once, not at the first poll, so
    /// operations reach the disk in the order of these calls.
    fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static {
        run(&self.writer, operation)
    }

    fn read<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static {
        run(&self.reader, operation)
    }
}

fn run<T: Send + 'static>(
    thread: &mpsc::Sender<Job>,
    operation: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> impl Future<Output = Result<T, StoreError>> + Send + 'static {
    let gone = || StoreError("its thread has ended".to_owned());
    let (answer, answered) = oneshot::channel();
    let job: Job = Box::new(move |connection| {
        let outcome = operation(connection);
        let good = outcome.is_ok();
        let reply: Reply = Box::new(move |committed| {
            // The caller may have gone away; the work is done all the same.
            let _ = answer.send(
                outcome
                    .map_err(StoreError::from)
                    .and_then(|value| committed.map(|()| value)),
            );
        });
        (good, reply)
    });
    let queued = thread.send(job).map_err(|_| gone());
    async move {
        queued?;
        answered.await.map_err(|_| gone())?
    }
}

fn start_thread(
    name: &str,
    main: impl FnOnce(mpsc::Receiver<Job>) + Send + 'static,
) -> Result<mpsc::Sender<Job>, StoreError> {
    let (sender, jobs) = mpsc::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || main(jobs))
        .map_err(|error| StoreError(format!("cannot start its thread: {error}")))?;
    Ok(sender)
}

fn read_jobs(connection: Connection, jobs: mpsc::Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        let (_, reply) = job(&connection);
        reply(Ok(()));
    }
}

fn write_jobs(mut connection: Connection, jobs: mpsc::Receiver<Job>) {
    /// More than this many operations are not worth one longer wait for the first of them.
    const GROUP_MAX: usize = 256;
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP_MAX - 1));
        let mut replies = Vec::with_capacity(group.len());
        let committed =
            commit_group(&mut connection, group, &mut replies).map_err(StoreError::from);
        for reply in replies {
            reply(committed.clone());
        }
    }
}

/// Runs the group in one transaction. Jobs whose reply is not in `replies` never ran: dropping them tells their callers.
fn commit_group(
    connection: &mut Connection,
    group: Vec<Job>,
    replies: &mut Vec<Reply>,
) -> rusqlite::Result<()> {
    let mut transaction: Transaction<'_> =
        connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in group {
        let savepoint = transaction.savepoint()?;
        let (good, reply) = job(&savepoint);
        replies.push(reply);
        if good {
            savepoint.commit()?;
        } else {
            savepoint.finish()?;
        }
    }
    transaction.commit()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn scratch() -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (
            Store::open(&folder.path().join("miroir.db")).unwrap(),
            folder,
        )
    }

    #[tokio::test]
    async fn one_failure_in_a_group_is_one_callers() {
        let (store, _folder) = scratch();
        let good = |name: &'static str| {
            store.write(move |db| {
                db.execute("INSERT INTO counters (name, value) VALUES (?1, 1)", [name])
            })
        };
        let bad = store.write(|db| {
            db.execute("INSERT INTO counters (name, value) VALUES ('lost', 1)", [])?;
            db.execute("INSERT INTO nowhere VALUES (1)", [])
        });
        let (first, bad, last) = tokio::join!(good("a"), bad, good("b"));
        assert!(first.is_ok() && last.is_ok() && bad.is_err());
        let names: Vec<String> = store
            .read(|db| {
                let mut rows =
                    db.prepare("SELECT name FROM counters WHERE value = 1 ORDER BY name")?;
                let names = rows.query_map([], |row| row.get(0))?.collect();
                names
            })
            .await
            .unwrap();
        assert_eq!(names, ["a", "b"]);
    }

    #[tokio::test]
    async fn what_was_answered_is_there_after_opening_again() {
        let (store, folder) = scratch();
        store
            .write(|db| db.execute("INSERT INTO counters (name, value) VALUES ('kept', 7)", []))
            .await
            .unwrap();
        drop(store);
        let again = Store::open(&folder.path().join("miroir.db")).unwrap();
        let value: i64 = again
            .read(|db| {
                db.query_row(
                    "SELECT value FROM counters WHERE name = 'kept'",
                    [],
                    |row| row.get(0),
                )
            })
            .await
            .unwrap();
        assert_eq!(value, 7);
    }
}
