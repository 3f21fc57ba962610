//! The thread that works the queue off, one batch after the other.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use milli_core::progress::Progress;
use milli_core::Index;
use miroir_api::{binary_size, Error};
use miroir_webhooks::Webhooks;
use serde_json::{json, Value};
use time::OffsetDateTime;

use crate::batch::{next_batch, Batch, Plan};
use crate::dumps;
use crate::engine::{Engine, Failure, Watch};
use crate::error::{coded, heed_error, milli_error};
use crate::files::Files;
use crate::indexes::{Indexes, Removed};
use crate::queue::{Filter, Job, MapChange, Queue};
use crate::tasks::{failed_details, Status, Swap, Task, TaskView, Work};

/// How many waiting tasks are looked at for one batch.
const BATCH_TASKS_MAX: usize = 1000;

/// How many bytes of payloads one batch takes, unless its first task alone has more: they are in memory at once.
const BATCH_BYTES_MAX: u64 = 256 << 20;

/// How long to wait after the disk has failed us, before the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the scheduler works on; shared with the routes.
pub struct Scheduler {
    pub queue: Queue,
    pub indexes: Indexes,
    pub files: Files,
    engine: Engine,
    hooks: Arc<Webhooks>,
    awake: Mutex<bool>,
    wake: Condvar,
    /// The batch under way has to give up: one of its tasks is canceled.
    interrupted: AtomicBool,
    stopping: AtomicBool,
}

/// How a batch ended.
struct Ended {
    jobs: Vec<Job>,
    change: MapChange,
    removed: Option<Removed>,
    /// Other tasks that the batch canceled.
    canceled: Vec<Job>,
    /// Tasks that the batch takes out of the queue.
    deleted: Vec<u32>,
}

impl Ended {
    fn new(jobs: Vec<Job>) -> Ended {
        Ended {
            jobs,
            change: MapChange::None,
            removed: None,
            canceled: Vec::new(),
            deleted: Vec::new(),
        }
    }
}

impl Scheduler {
    pub fn new(
        queue: Queue,
        indexes: Indexes,
        files: Files,
        engine: Engine,
        hooks: Arc<Webhooks>,
    ) -> Arc<Scheduler> {
        Arc::new(Scheduler {
            queue,
            indexes,
            files,
            engine,
            hooks,
            awake: Mutex::new(true),
            wake: Condvar::new(),
            interrupted: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    /// Registers a task and wakes the thread. A cancelation interrupts the batch under way when it names its tasks.
    pub fn register(&self, index_uid: Option<&str>, work: &Work) -> Result<Task, Error> {
        self.register_with(index_uid, work, None)
    }

    /// [`Self::register`], with what the client says of the task.
    pub fn register_with(
        &self,
        index_uid: Option<&str>,
        work: &Work,
        custom_metadata: Option<String>,
    ) -> Result<Task, Error> {
        let task = self.queue.register(index_uid, work, custom_metadata)?;
        if let Work::CancelTasks { tasks, .. } = work {
            if self.queue.is_processing(tasks) {
                self.interrupted.store(true, Ordering::SeqCst);
            }
        }
        self.awaken();
        Ok(task)
    }

    /// Asks the thread to end; a batch under way is given up and runs again at the next start.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.awaken();
    }

    /// Works until [`Self::stop`].
    pub fn run(&self) {
        while !self.stopping.load(Ordering::SeqCst) {
            match self.tick() {
                Ok(true) => (),
                Ok(false) => self.sleep(None),
                Err(error) => {
                    tracing::error!(%error, "task queue failed; trying again");
                    self.queue.abort();
                    self.sleep(Some(RETRY_AFTER));
                }
            }
        }
    }

    fn awaken(&self) {
        *self.awake.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    fn sleep(&self, limit: Option<Duration>) {
        let mut awake = self.awake.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = limit {
            *awake = false;
            awake = self
                .wake
                .wait_timeout_while(awake, limit, |_| !self.stopping.load(Ordering::SeqCst))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        while !*awake && limit.is_none() {
            awake = self
                .wake
                .wait(awake)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *awake = false;
    }

    /// Runs the next batch; false when nothing waits.
    fn tick(&self) -> Result<bool, Error> {
        self.interrupted.store(false, Ordering::SeqCst);
        let mut jobs = self.queue.waiting(BATCH_TASKS_MAX)?;
        if jobs.is_empty() {
            return Ok(false);
        }
        let batch = self.batch_of(&mut jobs)?;
        let (batch_uid, started_at, progress) = self
            .queue
            .begin(jobs.iter().map(|job| job.task.uid).collect());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.process(batch, jobs.clone(), &progress)
        }));
        let ended = match outcome.unwrap_or_else(|panic| Err(Failure::Error(crash(panic.as_ref()))))
        {
            Ok(ended) => ended,
            Err(Failure::Aborted) => {
                self.queue.abort();
                return Ok(true);
            }
            Err(Failure::Error(error)) => {
                for job in &mut jobs {
                    job.task.status = Status::Failed;
                    job.task.error = Some(error.to_value());
                    job.task.details = job.task.details.take().map(failed_details);
                }
                Ended::new(jobs)
            }
        };
        self.finish(ended, batch_uid, started_at)?;
        Ok(true)
    }

    fn finish(
        &self,
        mut ended: Ended,
        batch_uid: u32,
        started_at: OffsetDateTime,
    ) -> Result<(), Error> {
        let finished_at = Some(OffsetDateTime::now_utc());
        for job in ended.jobs.iter_mut().chain(&mut ended.canceled) {
            job.task.batch_uid = Some(batch_uid);
            job.task.started_at = Some(started_at);
            job.task.finished_at = finished_at;
        }
        let tasks: Vec<Task> = ended
            .jobs
            .iter()
            .chain(&ended.canceled)
            .map(|job| job.task.clone())
            .collect();
        // Nobody sees a swap that has ended and its indexes under their old names. A swap undoes itself.
        self.indexes.swap(&ended.change);
        self.queue
            .finish(&tasks, &ended.change, &ended.deleted)
            .inspect_err(|_| self.indexes.swap(&ended.change))?;
        if let Some(removed) = ended.removed {
            self.indexes.discard(removed);
        }
        for job in ended.jobs.iter().chain(&ended.canceled) {
            if let Some(id) = job.work.payload_file() {
                self.files.remove(id);
            }
        }
        self.tell(tasks);
        Ok(())
    }

    /// Tells the webhooks, if there are any, of tasks that have ended.
    fn tell(&self, ended: Vec<Task>) {
        if self.hooks.any() {
            let views = ended.into_iter().map(TaskView::from);
            let views: Result<Vec<_>, _> = views.map(serde_json::to_value).collect();
            match views {
                Ok(views) => self.hooks.notify(&views),
                Err(error) => tracing::error!(%error, "tasks cannot be shown to webhooks"),
            }
        }
    }

    /// Cuts `jobs` down to the next batch of their index; `None` for tasks about tasks.
    fn batch_of(&self, jobs: &mut Vec<Job>) -> Result<Option<Batch>, Error> {
        let Some(uid) = jobs[0].task.index_uid.clone() else {
            return Ok(None);
        };
        let mut bytes = 0;
        let fits = jobs.iter().position(|job| {
            if let Work::AddDocuments { payload, .. } = &job.work {
                bytes += payload.bytes();
            }
            bytes > BATCH_BYTES_MAX
        });
        jobs.truncate(fits.unwrap_or(jobs.len()).max(1));
        let index = self.indexes.find(&uid)?;
        let primary_key = match &index {
            Some(index) => {
                let rtxn = index.read_txn().map_err(heed_error)?;
                index
                    .primary_key(&rtxn)
                    .map_err(heed_error)?
                    .map(String::from)
            }
            None => None,
        };
        let batch = next_batch(
            jobs.iter().map(|job| &job.work),
            index.is_some(),
            primary_key.as_deref(),
        );
        if let Some(batch) = &batch {
            jobs.truncate(batch.len);
        }
        Ok(batch)
    }

    fn process(
        &self,
        batch: Option<Batch>,
        mut jobs: Vec<Job>,
        progress: &Progress,
    ) -> Result<Ended, Failure> {
        let (Some(batch), Some(uid)) = (batch, jobs[0].task.index_uid.clone()) else {
            return Ok(match jobs[0].work {
                Work::CancelTasks { .. } => self.cancel(jobs)?,
                Work::SwapIndexes { .. } => self.swap_indexes(jobs)?,
                Work::CreateDump { .. } => self.create_dump(jobs)?,
                _ => self.delete_tasks(jobs)?,
            });
        };
        match &batch.plan {
            Plan::CreateIndex => Ok(self.create_index(&uid, jobs)?),
            Plan::UpdateIndex => Ok(self.update_index(&uid, jobs)?),
            Plan::CompactIndex => Ok(self.compact_index(&uid, jobs)?),
            Plan::DeleteIndex => Ok(self.delete_index(&uid, jobs, batch.creates_index)?),
            plan => {
                let index = match batch.creates_index {
                    true => self.indexes.get_or_create(&uid, &self.queue)?,
                    false => self.indexes.get(&uid)?,
                };
                let stop = &|| {
                    self.interrupted.load(Ordering::Relaxed)
                        || self.stopping.load(Ordering::Relaxed)
                };
                let watch = Watch { stop, progress };
                self.engine
                    .apply(&uid, &index, plan, &mut jobs, &self.files, watch)?;
                Ok(Ended::new(jobs))
            }
        }
    }

    fn create_index(&self, uid: &str, mut jobs: Vec<Job>) -> Result<Ended, Error> {
        if self.indexes.find(uid)?.is_some() {
            return Err(Error::index_already_exists(uid));
        }
        let (folder, index) = self.indexes.create()?;
        if let Work::CreateIndex {
            primary_key: Some(primary_key),
        } = &jobs[0].work
        {
            self.engine.set_primary_key(uid, &index, primary_key)?;
        }
        self.indexes.insert(uid, folder, index);
        jobs[0].task.status = Status::Succeeded;
        Ok(Ended {
            change: MapChange::Insert {
                uid: uid.to_owned(),
                folder,
            },
            ..Ended::new(jobs)
        })
    }

    fn update_index(&self, uid: &str, mut jobs: Vec<Job>) -> Result<Ended, Failure> {
        let Work::UpdateIndex {
            primary_key,
            new_uid,
        } = &jobs[0].work
        else {
            return Err(Error::internal("not an update of an index").into());
        };
        let index = self.indexes.get(uid)?;
        let new_uid = new_uid.as_deref().filter(|new_uid| *new_uid != uid);
        let mut change = MapChange::None;
        if let Some(new_uid) = new_uid {
            if self.indexes.find(new_uid)?.is_some() {
                return Err(Error::index_already_exists(new_uid).into());
            }
            change = MapChange::Swap {
                pairs: vec![(uid.to_owned(), new_uid.to_owned())],
                before: jobs[0].task.uid,
            };
        }
        if let Some(primary_key) = primary_key {
            self.engine
                .set_primary_key(new_uid.unwrap_or(uid), &index, primary_key)?;
        }
        jobs[0].task.status = Status::Succeeded;
        Ok(Ended {
            change,
            ..Ended::new(jobs)
        })
    }

    /// The index is copied without its holes, and the copy takes its name in the same step as the task ends. What reads
    /// the old one goes on reading it.
    fn compact_index(&self, uid: &str, mut jobs: Vec<Job>) -> Result<Ended, Error> {
        let old = self.indexes.get(uid)?;
        let (folder, new) = self.indexes.compacted(&old)?;
        let size = |index: &Index| -> Result<_, Error> {
            let bytes = index.on_disk_size().map_err(milli_error)?;
            Ok(Value::from(binary_size(bytes)))
        };
        jobs[0].task.details =
            Some(json!({"preCompactionSize": size(&old)?, "postCompactionSize": size(&new)?}));
        jobs[0].task.status = Status::Succeeded;
        let removed = self.indexes.remove(uid);
        self.indexes.insert(uid, folder, new);
        Ok(Ended {
            change: MapChange::Insert {
                uid: uid.to_owned(),
                folder,
            },
            removed,
            ..Ended::new(jobs)
        })
    }

    fn delete_index(&self, uid: &str, mut jobs: Vec<Job>, created: bool) -> Result<Ended, Error> {
        let documents = match self.indexes.find(uid)? {
            Some(index) => {
                let rtxn = index.read_txn().map_err(heed_error)?;
                index.number_of_documents(&rtxn).map_err(milli_error)?
            }
            // What would have made the index is in this batch.
            None if created => 0,
            None => return Err(Error::index_not_found(uid)),
        };
        let removed = self.indexes.remove(uid);
        for job in &mut jobs {
            job.task.status = Status::Succeeded;
            job.task.details = match &job.work {
                Work::DeleteIndex => Some(json!({ "deletedDocuments": documents })),
                Work::ClearDocuments => job.task.details.take(),
                _ => job.task.details.take().map(failed_details),
            };
        }
        Ok(Ended {
            change: MapChange::Remove {
                uid: uid.to_owned(),
            },
            removed,
            ..Ended::new(jobs)
        })
    }

    fn swap_indexes(&self, mut jobs: Vec<Job>) -> Result<Ended, Error> {
        let Work::SwapIndexes { swaps } = &jobs[0].work else {
            return Err(Error::internal("not a swap"));
        };
        let known: BTreeSet<String> = self.indexes.names().into_iter().collect();
        check_swaps(swaps, &known)?;
        let pairs = swaps.iter().map(|swap| swap.indexes.clone()).collect();
        jobs[0].task.status = Status::Succeeded;
        Ok(Ended {
            change: MapChange::Swap {
                pairs,
                before: jobs[0].task.uid,
            },
            ..Ended::new(jobs)
        })
    }

    fn create_dump(&self, mut jobs: Vec<Job>) -> Result<Ended, Error> {
        let Work::CreateDump {
            folder,
            keys,
            features,
        } = &jobs[0].work
        else {
            return Err(Error::internal("not a dump"));
        };
        let uid = dumps::make(folder, keys, features, &self.indexes, &self.queue)?;
        jobs[0].task.status = Status::Succeeded;
        jobs[0].task.details = Some(json!({ "dumpUid": uid }));
        Ok(Ended::new(jobs))
    }

    fn cancel(&self, mut jobs: Vec<Job>) -> Result<Ended, Error> {
        let mut canceled = Vec::new();
        if let (Work::CancelTasks { tasks, .. }, by) = (&jobs[0].work, jobs[0].task.uid) {
            for mut job in self.queue.waiting_among(tasks)? {
                if job.task.uid != by {
                    job.task.status = Status::Canceled;
                    job.task.canceled_by = Some(by);
                    job.task.details = job.task.details.take().map(failed_details);
                    canceled.push(job);
                }
            }
        }
        count(&mut jobs[0], "canceledTasks", canceled.len());
        Ok(Ended {
            canceled,
            ..Ended::new(jobs)
        })
    }

    fn delete_tasks(&self, mut jobs: Vec<Job>) -> Result<Ended, Error> {
        let mut deleted: Vec<u32> = Vec::new();
        for job in &mut jobs {
            let Work::DeleteTasks { tasks, .. } = &job.work else {
                continue;
            };
            let ended = Some(vec![Status::Succeeded, Status::Failed, Status::Canceled]);
            let filter = Filter {
                uids: Some(tasks.clone()),
                statuses: ended,
                ..Filter::default()
            };
            let before = deleted.len();
            for uid in self.queue.uids(&filter)? {
                if !deleted.contains(&uid) {
                    deleted.push(uid);
                }
            }
            let found = deleted.len() - before;
            count(job, "deletedTasks", found);
        }
        Ok(Ended {
            deleted,
            ..Ended::new(jobs)
        })
    }
}

/// What is swapped has to be there, and a new name has to be free.
fn check_swaps(swaps: &[Swap], known: &BTreeSet<String>) -> Result<(), Error> {
    let listed = |names: &BTreeSet<&String>| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let olds = swaps.iter().filter(|swap| !swap.rename);
    let olds = olds.map(|swap| &swap.indexes.1);
    let named = swaps.iter().map(|swap| &swap.indexes.0).chain(olds);
    let missing: BTreeSet<&String> = named.filter(|name| !known.contains(*name)).collect();
    match (missing.first(), missing.len()) {
        (None, _) => {}
        (Some(uid), 1) => return Err(Error::index_not_found(uid)),
        _ => {
            let message = format!("Indexes {} not found.", listed(&missing));
            return Err(coded("index_not_found", message));
        }
    }
    let taken = |swap: &&Swap| swap.rename && known.contains(&swap.indexes.1);
    let taken: Vec<&(String, String)> = swaps.iter().filter(taken).map(|s| &s.indexes).collect();
    let message = match &taken[..] {
        [] => return Ok(()),
        [(one, other)] => format!(
            "Cannot rename `{one}` to `{other}` as the index already exists. Hint: You can remove `{other}` first and \
             then do your remove."
        ),
        _ => format!(
            "The following indexes are being renamed but cannot because their new name conflicts with an already \
             existing index: {}. Renaming doesn't overwrite the other index name.",
            listed(&taken.iter().map(|(_, other)| other).collect())
        ),
    };
    Err(coded("index_already_exists", message))
}

fn count(job: &mut Job, name: &str, count: usize) {
    job.task.status = Status::Succeeded;
    if let Some(details) = &mut job.task.details {
        details[name] = json!(count);
    }
}

fn crash(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&'static str>().copied();
    let text = text
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("Box<dyn Any>");
    coded(
        "internal",
        format!("An unexpected crash occurred when processing the task: {text}"),
    )
}
