//! Payloads too large for a task's row: one file each under `update_files`, on disk before the task is registered.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use miroir_api::Error;
use uuid::Uuid;

use crate::error::io_error;
use crate::queue::Queue;
use crate::tasks::Payload;

/// Payloads up to this size stand in the task's row.
const INLINE_BYTES_MAX: usize = 16 * 1024;

pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Opens the folder and removes files of no waiting task: a crash may leave one behind, before its task was
    /// registered or after it had ended.
    pub fn open(folder: PathBuf, queue: &Queue) -> Result<Files, Error> {
        fs::create_dir_all(&folder).map_err(|e| io_error(&e))?;
        let used = queue.payloads()?;
        for found in fs::read_dir(&folder).map_err(|e| io_error(&e))? {
            let found = found.map_err(|e| io_error(&e))?;
            let id = found
                .file_name()
                .to_str()
                .and_then(|name| Uuid::parse_str(name).ok());
            if id.is_some_and(|id| !used.contains(&id)) {
                fs::remove_file(found.path()).map_err(|e| io_error(&e))?;
            }
        }
        Ok(Files { folder })
    }

    /// Keeps NDJSON for a task; durable when this returns, except for what stands in the task itself.
    pub fn keep(&self, ndjson: Vec<u8>) -> Result<Payload, Error> {
        if ndjson.len() <= INLINE_BYTES_MAX {
            if let Ok(text) = String::from_utf8(ndjson.clone()) {
                return Ok(Payload::Inline(text));
            }
        }
        let id = Uuid::new_v4();
        let write = || -> io::Result<()> {
            let mut file = File::create_new(self.path(id))?;
            file.write_all(&ndjson)?;
            file.sync_all()?;
            // The file's name has to be on disk, too.
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| {
            self.remove(id);
            io_error(&error)
        })?;
        Ok(Payload::File {
            id,
            bytes: ndjson.len() as u64,
        })
    }

    /// The NDJSON of a payload.
    pub fn read(&self, payload: &Payload) -> io::Result<Vec<u8>> {
        match payload {
            Payload::Inline(text) => Ok(text.clone().into_bytes()),
            Payload::File { id, .. } => fs::read(self.path(*id)),
        }
    }

    /// Removes a payload whose task has ended or was never registered.
    pub fn remove(&self, id: Uuid) {
        if let Err(error) = fs::remove_file(self.path(id)) {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%id, %error, "update file stays");
            }
        }
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.folder.join(id.to_string())
    }
}
