//! The indexes on disk, kept open.
//!
//! An index is a folder with the engine's LMDB file, named by a random id: a name that is deleted and made again gets
//! a fresh folder, so a crash between the two steps of a deletion can only leave a folder that nobody names, and those
//! are removed at the next start. Indexes are opened when first used and stay open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::{fs, io};

use milli_core as milli;
use milli_core::heed::CompactionOption;
use milli_core::Index;
use miroir_api::Error;
use uuid::Uuid;

use crate::error::{io_error, milli_error};
use crate::queue::{MapChange, Queue};

/// How far an index's file may grow, in bytes. It is address space, of which a process has 128 TiB, not disk: the file
/// is as long as its content. So 64 GiB leaves room for a thousand open indexes in each of many nodes.
const MAP_BYTES: usize = 64 << 30;

/// Readers of one index at a time.
const READERS_MAX: u32 = 1024;

pub struct Indexes {
    folder: PathBuf,
    entries: RwLock<BTreeMap<String, Entry>>,
}

struct Entry {
    folder: Uuid,
    index: OnceLock<Index>,
}

impl Indexes {
    /// Reads the map and removes the folders that nobody names.
    pub fn open(folder: PathBuf, queue: &Queue) -> Result<Indexes, Error> {
        fs::create_dir_all(&folder).map_err(|e| io_error(&e))?;
        let map = queue.map()?;
        for found in fs::read_dir(&folder).map_err(|e| io_error(&e))? {
            let found = found.map_err(|e| io_error(&e))?;
            let named = found
                .file_name()
                .to_str()
                .and_then(|name| Uuid::parse_str(name).ok());
            if named.is_some_and(|id| !map.values().any(|used| *used == id)) {
                fs::remove_dir_all(found.path()).map_err(|e| io_error(&e))?;
            }
        }
        let entries = map
            .into_iter()
            .map(|(uid, folder)| {
                (
                    uid,
                    Entry {
                        folder,
                        index: OnceLock::new(),
                    },
                )
            })
            .collect();
        Ok(Indexes {
            folder,
            entries: RwLock::new(entries),
        })
    }

    /// The index, or 404 `index_not_found`.
    pub fn get(&self, uid: &str) -> Result<Index, Error> {
        self.find(uid)?.ok_or_else(|| Error::index_not_found(uid))
    }

    /// The index, or `None` when there is none of that name.
    pub fn find(&self, uid: &str) -> Result<Option<Index>, Error> {
        {
            let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
            match entries.get(uid) {
                None => return Ok(None),
                Some(entry) => {
                    if let Some(index) = entry.index.get() {
                        return Ok(Some(index.clone()));
                    }
                }
            }
        }
        // An LMDB environment must be open only once in a process: whoever opens it holds the map.
        let entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.get(uid) else {
            return Ok(None);
        };
        if let Some(index) = entry.index.get() {
            return Ok(Some(index.clone()));
        }
        let index = open(&self.path(entry.folder), false)?;
        Ok(Some(entry.index.get_or_init(|| index).clone()))
    }

    /// Makes an index on disk that nobody names yet; [`Self::insert`] names it.
    pub fn create(&self) -> Result<(Uuid, Index), Error> {
        let folder = Uuid::new_v4();
        let path = self.path(folder);
        fs::create_dir_all(&path).map_err(|e| io_error(&e))?;
        Ok((folder, open(&path, true)?))
    }

    /// Copies an index without the room that it no longer uses, as [`Self::create`] makes one.
    pub fn compacted(&self, index: &Index) -> Result<(Uuid, Index), Error> {
        let folder = Uuid::new_v4();
        let path = self.path(folder);
        fs::create_dir_all(&path).map_err(|e| io_error(&e))?;
        let copied = index.copy_to_path(path.join("data.mdb"), CompactionOption::Enabled);
        let opened = copied.map_err(milli_error).and_then(|file| {
            file.sync_all().map_err(|e| io_error(&e))?;
            open(&path, false)
        });
        let opened = opened.inspect_err(|_| {
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "what was copied of an index stays");
            }
        });
        Ok((folder, opened?))
    }

    /// Names an index.
    pub fn insert(&self, uid: &str, folder: Uuid, index: Index) {
        let entry = Entry {
            folder,
            index: OnceLock::from(index),
        };
        self.entries
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid.to_owned(), entry);
    }

    /// The index, made and named durably where it is missing.
    pub fn get_or_create(&self, uid: &str, queue: &Queue) -> Result<Index, Error> {
        if let Some(index) = self.find(uid)? {
            return Ok(index);
        }
        let (folder, index) = self.create()?;
        queue.change_map(&MapChange::Insert {
            uid: uid.to_owned(),
            folder,
        })?;
        self.insert(uid, folder, index.clone());
        Ok(index)
    }

    /// Exchanges names where `change` is a swap.
    pub fn swap(&self, change: &MapChange) {
        let MapChange::Swap { pairs, .. } = change else {
            return;
        };
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for (one, other) in pairs {
            let (first, second) = (entries.remove(one), entries.remove(other));
            entries.extend(first.map(|entry| (other.clone(), entry)));
            entries.extend(second.map(|entry| (one.clone(), entry)));
        }
    }

    /// Takes the name away; the folder goes when [`Self::discard`] is called after the map on disk has changed.
    pub fn remove(&self, uid: &str) -> Option<Removed> {
        let entry = self
            .entries
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid)?;
        Some(Removed {
            path: self.path(entry.folder),
            index: entry.index.into_inner(),
        })
    }

    /// Removes a deleted index's folder. Searches that still read it keep its file until they end.
    pub fn discard(&self, removed: Removed) {
        // An open file outlives its name, so there is nobody to wait for.
        drop(removed.index);
        if let Err(error) = fs::remove_dir_all(&removed.path) {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %removed.path.display(), %error, "folder of a deleted index stays");
            }
        }
    }

    /// The names, in order.
    pub fn names(&self) -> Vec<String> {
        self.entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    fn path(&self, folder: Uuid) -> PathBuf {
        self.folder.join(folder.to_string())
    }
}

/// An index without a name.
pub struct Removed {
    path: PathBuf,
    index: Option<Index>,
}

fn open(path: &Path, creation: bool) -> Result<Index, Error> {
    let mut options = milli::heed::EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_BYTES);
    options.max_readers(READERS_MAX);
    Index::new(options, path, creation).map_err(milli_error)
}
