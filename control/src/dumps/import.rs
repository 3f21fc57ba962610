//! Importing a dump into this cluster.
//!
//! The importer speaks HTTP to the address that clients use, so every document goes the way of all writes: checked,
//! routed, to a quorum of copies. One import runs at a time; what it does is kept in memory for whoever asks.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use miroir_api::Error;
use miroir_import::{import_dump, Imported, Options, Progress, Server, Trouble};
use serde_json::{json, Value};

use crate::clock::{now, rfc3339, Nanos};
use crate::plane::Plane;

/// The imports of this process.
pub(crate) struct Imports {
    /// Where clients reach this cluster, `http://host:port`.
    own_address: String,
    master_key: Option<String>,
    options: Options,
    last: Mutex<Option<Import>>,
}

/// The import that runs, or has run last.
struct Import {
    path: PathBuf,
    progress: Arc<Progress>,
    started_at: Nanos,
    ended: Option<(Nanos, Result<Vec<Imported>, Trouble>)>,
}

impl Imports {
    pub(crate) fn new(
        own_address: String,
        master_key: Option<String>,
        body_bytes_max: usize,
    ) -> Imports {
        Imports {
            own_address,
            master_key,
            options: Options::within(body_bytes_max),
            last: Mutex::new(None),
        }
    }

    /// `GET /_miroir/dumps/import`.
    pub(crate) fn view(&self) -> Value {
        self.with(|last| {
            last.as_ref()
                .map_or_else(|| json!({ "status": "none" }), view)
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Option<Import>) -> T) -> T {
        // Fields change by assignment: a panic elsewhere leaves none half-changed.
        look(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn view(import: &Import) -> Value {
    let report = import.progress.report();
    let (status, ended_at) = match &import.ended {
        None => ("running", None),
        Some((at, Ok(_))) => ("succeeded", Some(rfc3339(*at))),
        Some((at, Err(_))) => ("failed", Some(rfc3339(*at))),
    };
    let mut body = json!({
        "status": status,
        "path": import.path,
        "stage": report.stage,
        "index": report.index,
        "documents": report.documents,
        "documentsTotal": report.documents_total,
        "notes": report.notes,
        "startedAt": rfc3339(import.started_at),
        "endedAt": ended_at,
    });
    match &import.ended {
        Some((_, Ok(indexes))) => body["indexes"] = json!(indexes),
        Some((_, Err(trouble))) => body["error"] = json!(trouble.with_advice()),
        None => (),
    }
    body
}

impl Plane {
    /// Begins the import of a dump; `temporary` is removed when it ends.
    pub(crate) fn start_import(
        self: &Arc<Self>,
        path: PathBuf,
        temporary: Option<tempfile::TempPath>,
    ) -> Result<Value, Error> {
        let imports = &self.dumps.imports;
        let server = Server::new(&imports.own_address, imports.master_key.clone())
            .map_err(|trouble| Error::internal(trouble.to_string()))?;
        let progress = Arc::new(Progress::default());
        let started = imports.with(|last| {
            if last.as_ref().is_some_and(|import| import.ended.is_none()) {
                return false;
            }
            *last = Some(Import {
                path: path.clone(),
                progress: Arc::clone(&progress),
                started_at: now(),
                ended: None,
            });
            true
        });
        if !started {
            let message =
                "A dump is being imported; `GET /_miroir/dumps/import` says how far it is.";
            return Err(Error::system(409, "miroir_import_running", message));
        }
        let (plane, options) = (Arc::clone(self), imports.options);
        self.runtime.spawn(async move {
            // In a task of its own, so that a panic is an end, too.
            let run = async move { import_dump(&path, &server, options, &progress).await };
            let ended = match plane.runtime.spawn(run).await {
                Ok(ended) => ended,
                Err(crash) => Err(Trouble::crash(&crash)),
            };
            match &ended {
                Ok(indexes) => tracing::info!(indexes = indexes.len(), "dump imported"),
                Err(trouble) => tracing::error!(%trouble, "a dump was not imported"),
            }
            drop(temporary);
            plane.dumps.imports.with(|last| {
                if let Some(import) = last {
                    import.ended = Some((now(), ended));
                }
            });
        });
        Ok(imports.view())
    }

    /// A file for a dump that comes as a body.
    pub(crate) fn import_file(&self) -> Result<tempfile::NamedTempFile, Error> {
        let folder = &self.dumps.folder;
        std::fs::create_dir_all(folder)
            .and_then(|()| {
                tempfile::Builder::new()
                    .prefix("import-")
                    .tempfile_in(folder)
            })
            .map_err(|error| super::pack::failed(folder, &error))
    }
}
