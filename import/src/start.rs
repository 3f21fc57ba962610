//! A dump into a server that is starting, before it lets clients in.

use std::path::PathBuf;

use crate::dump::import_dump;
use crate::progress::Progress;
use crate::server::{Server, Trouble};
use crate::watch::watch;
use crate::Options;

/// What Meilisearch's flags of the same names say.
#[derive(Clone, Debug)]
pub struct AtStart {
    pub path: PathBuf,
    /// A file that is not there is no error.
    pub ignore_missing: bool,
    /// A server that has indexes is started without the import.
    pub ignore_existing: bool,
}

impl AtStart {
    /// Whether there is something to import.
    ///
    /// # Errors
    /// There is no such file, and there must be.
    pub fn is_wanted(&self) -> Result<bool, Trouble> {
        let path = self.path.display();
        match (self.path.is_file(), self.ignore_missing) {
            (true, _) => Ok(true),
            (false, true) => {
                tracing::warn!(%path, "the dump is not there; starting without it");
                Ok(false)
            }
            (false, false) => Err(Trouble::new(
                "importing the dump",
                format!("there is no dump at {path}; with --ignore-missing-dump that is no error"),
            )),
        }
    }

    /// Imports; how far it is goes to the log, or to a bar where there is a terminal.
    ///
    /// # Errors
    /// As [`import_dump`], but for indexes that are there and may be.
    pub async fn run(&self, server: &Server, options: Options) -> Result<(), Trouble> {
        let progress = Progress::default();
        let work = import_dump(&self.path, server, options, &progress);
        let imported = watch(work, &progress, |report| {
            tracing::info!(
                documents = report.documents,
                of = report.documents_total,
                "importing: {report}"
            );
        });
        let imported = imported.await;
        for note in progress.report().notes {
            tracing::warn!("{note}");
        }
        match imported {
            Ok(indexes) => {
                let documents: u64 = indexes.iter().map(|index| index.here).sum();
                tracing::info!(indexes = indexes.len(), documents, "dump imported");
                Ok(())
            }
            Err(trouble) if trouble.is_not_empty() && self.ignore_existing => {
                tracing::warn!("there are indexes already; starting without importing the dump");
                Ok(())
            }
            Err(trouble) => Err(trouble),
        }
    }
}
