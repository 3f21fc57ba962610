//! `miroir serve --import-dump`: the dump goes in before clients are let in.
//!
//! The import speaks HTTP, so a core listens for it at an address that nobody else knows, until it is done.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use miroir_import::{import_dump, watch, Imported, Options, Progress, Server, Trouble};

use crate::config::Config;
use crate::serve::{interrupted, ServeError};

/// What Meilisearch's flags of the same names say.
#[derive(Clone, Debug)]
pub struct ImportDump {
    pub path: PathBuf,
    /// A file that is not there is no error.
    pub ignore_missing: bool,
    /// A cluster that has indexes is started without the import.
    pub ignore_existing: bool,
}

/// How long the importer's own connections may take to end.
pub const DRAIN: Duration = Duration::from_secs(2);

impl ImportDump {
    /// Whether there is something to import.
    pub fn is_wanted(&self) -> Result<bool, ServeError> {
        let path = self.path.display();
        match (self.path.is_file(), self.ignore_missing) {
            (true, _) => Ok(true),
            (false, true) => {
                tracing::warn!(%path, "the dump is not there; starting without it");
                Ok(false)
            }
            (false, false) => Err(ServeError::Import(format!(
                "there is no dump at {path}; with --ignore-missing-dump that is no error"
            ))),
        }
    }

    /// Imports through a core that listens at `address`.
    pub fn run(&self, config: &Config, address: SocketAddr) -> Result<(), ServeError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServeError::Signals)?;
        let imported = runtime.block_on(async {
            tokio::select! {
                imported = self.import(config, address) => imported,
                stop = interrupted() => Err(match stop {
                    Ok(()) => Trouble::new("importing", "it was interrupted"),
                    Err(error) => Trouble::new("importing", error.to_string()),
                }),
            }
        });
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
            Err(trouble) if trouble.is_not_empty() => Err(ServeError::Import(format!(
                "{trouble}. With --ignore-dump-if-db-exists it is started without the import"
            ))),
            Err(trouble) => Err(ServeError::Import(trouble.with_advice())),
        }
    }

    async fn import(&self, config: &Config, address: SocketAddr) -> Result<Vec<Imported>, Trouble> {
        let server = Server::new(&format!("http://{address}"), config.master_key.clone())?;
        let progress = Progress::default();
        let options = Options::within(config.body_bytes_max);
        let work = import_dump(&self.path, &server, options, &progress);
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
        imported
    }
}

/// An address on this machine that is free just now.
pub fn private_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
