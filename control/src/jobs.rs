//! Tasks that are carried out here and not by nodes: dumps and exports.
//!
//! Each begins once every task that was accepted before it has ended, one after the other, and a restart begins it again.
//! Until then, and while it runs, it can be cancelled.

use std::sync::Arc;
use std::time::Duration;

use miroir_api::Error;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::now;
use crate::dumps;
use crate::exports;
use crate::plane::Plane;
use crate::tasks::{summary, Kind, Task, TaskUid};
use crate::types::TaskSummary;

/// How often a job that waits, or that may be cancelled, is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Wakes whoever carries jobs out.
#[derive(Default)]
pub(crate) struct Jobs {
    wake: Notify,
}

impl Plane {
    /// Stores a job, to be carried out when its turn comes.
    pub(crate) async fn accept_job(&self, task: Task) -> Result<TaskSummary, Error> {
        let task = self.accept(task, Vec::new(), Vec::new()).await?;
        self.jobs.wake.notify_one();
        Ok(summary(&task))
    }

    /// The oldest job that is to be carried out.
    fn next_job(&self) -> Option<Task> {
        let flights = self.flights.lock();
        let mut tasks = flights.values().map(|flight| &flight.task);
        tasks.find(|task| waits(task)).cloned()
    }

    /// Whether a task accepted before this one has not ended.
    fn is_behind(&self, uid: TaskUid) -> bool {
        self.flights.lock().keys().any(|earlier| *earlier < uid)
    }

    /// Resolves once the job is cancelled.
    async fn canceled(&self, uid: TaskUid) {
        let runs = || {
            let flights = self.flights.lock();
            let flight = flights.get(&uid);
            flight.is_some_and(|flight| flight.task.canceled_by.is_none())
        };
        while runs() {
            sleep(LOOK).await;
        }
    }

    /// Changes a running task, and has its state looked at.
    fn change_flight(&self, uid: TaskUid, change: impl FnOnce(&mut Task)) {
        if let Some(flight) = self.flights.lock().get_mut(&uid) {
            change(&mut flight.task);
        }
        self.flights.moved.notify_one();
    }
}

/// Whether a task is a job that has not ended.
pub(crate) fn waits(task: &Task) -> bool {
    let ended = task.doom.is_some() || task.finished_at.is_some() || task.canceled_by.is_some();
    task.kind.is_job() && !ended
}

/// Carries jobs out, for ever.
pub(crate) async fn run(plane: Arc<Plane>) {
    dumps::tidy(&plane);
    loop {
        let Some(task) = plane.next_job() else {
            plane.jobs.wake.notified().await;
            continue;
        };
        // What is dropped on the way leaves nothing behind here; what an export has sent stays where it was sent.
        tokio::select! {
            () = carry_out(&plane, &task) => (),
            () = plane.canceled(task.uid) => tracing::info!(task = task.uid, "cancelled"),
        }
    }
}

async fn carry_out(plane: &Plane, task: &Task) {
    while plane.is_behind(task.uid) {
        sleep(LOOK).await;
    }
    let started_at = now();
    plane.change_flight(task.uid, |task| task.started_at = Some(started_at));
    let done = match task.kind {
        Kind::Export => exports::run(plane, task).await,
        _ => dumps::make(plane).await,
    };
    plane.change_flight(task.uid, |task| match done {
        Ok(details) => {
            task.details = details;
            task.finished_at = Some(now());
        }
        Err(error) => {
            let kind = task.kind.as_str();
            tracing::error!(task = task.uid, kind, %error, "a task failed");
            task.doom = Some(error.to_value());
        }
    });
}
