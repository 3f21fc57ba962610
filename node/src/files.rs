//! Files: payloads too large for a task's row (one each under `update_files`, on disk before the task is registered),
//! and small ones that are read and replaced whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use miroir_api::Error;
use serde::de::DeserializeOwned;
use serde::Serialize;
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

/// Reads a JSON file; `None` where there is none.
pub fn read_whole<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::internal(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(&error)),
    }
}

/// Writes a JSON file in the place of an older one, so that a crash leaves the old content or the new one.
pub fn replace<T: Serialize>(path: &Path, content: &T) -> Result<(), Error> {
    let text = serde_json::to_vec(content).map_err(|error| Error::internal(error.to_string()))?;
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| io_error(&error))
}
