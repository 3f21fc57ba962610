//! How far an import is, for whoever watches: a bar, a log, a route.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// The source is read and checked; nothing has been written.
    #[default]
    Checking,
    Keys,
    Settings,
    Documents,
    /// Tasks that the source had accepted and not run.
    WaitingTasks,
    /// The server's numbers are compared with the source's.
    Counting,
    Done,
}

/// A moment of an import.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub stage: Stage,
    /// The index at hand.
    pub index: Option<String>,
    pub documents: u64,
    pub documents_total: u64,
    /// What could not be taken over, with the reason; the import goes on.
    pub notes: Vec<String>,
}

/// What became of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    pub uid: String,
    /// Documents in the source.
    pub there: u64,
    /// Documents in the server afterwards.
    pub here: u64,
}

/// Shared between an import and its watchers.
#[derive(Default)]
pub struct Progress(Mutex<Report>);

impl Progress {
    /// The state just now.
    pub fn report(&self) -> Report {
        self.lock().clone()
    }

    pub(crate) fn stage(&self, stage: Stage, index: Option<&str>) {
        let mut report = self.lock();
        report.stage = stage;
        report.index = index.map(str::to_owned);
    }

    pub(crate) fn total(&self, documents: u64) {
        self.lock().documents_total = documents;
    }

    pub(crate) fn done(&self, documents: u64) {
        self.lock().documents += documents;
    }

    pub(crate) fn note(&self, note: impl Into<String>) {
        /// A thousand tasks that cannot be taken over need not all be named.
        const NOTES_MAX: usize = 100;
        let mut report = self.lock();
        if report.notes.len() < NOTES_MAX {
            report.notes.push(note.into());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        // Fields change by assignment: a panic elsewhere leaves none half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
