//! A dump on its way to its file: whoever makes one hands over lines, and says whose they were.
//!
//! An archive says how long a member is before the member comes, so lines are collected in a nameless file first. The
//! dump has its final name only when it is whole and on disk.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::write::{IndexInfo, Metadata, Writer};

/// How the file of a dump that is not whole ends.
const UNFINISHED: &str = ".unfinished";

/// A dump under way. Dropped before [`DumpFile::finish`], it is removed.
pub struct DumpFile {
    writer: Option<Writer<BufWriter<File>>>,
    lines: BufWriter<File>,
    bytes: u64,
    folder: PathBuf,
    path: PathBuf,
}

impl DumpFile {
    /// Begins the dump `uid` in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// The folder cannot be written to, or a dump of that name is being made.
    pub fn create(
        folder: &Path,
        uid: &str,
        metadata: &Metadata,
        instance_uid: Option<&str>,
    ) -> io::Result<DumpFile> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{uid}.dump"));
        let file = File::create_new(unfinished(&path))?;
        Ok(DumpFile {
            writer: Some(Writer::new(BufWriter::new(file), metadata, instance_uid)?),
            lines: BufWriter::new(tempfile::tempfile_in(folder)?),
            bytes: 0,
            folder: folder.to_owned(),
            path,
        })
    }

    /// One task or one document.
    ///
    /// # Errors
    /// The disk is full.
    pub fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let line = serde_json::to_vec(value)?;
        self.lines.write_all(&line)?;
        self.lines.write_all(b"\n")?;
        self.bytes += line.len() as u64 + 1;
        Ok(())
    }

    /// The lines so far were tasks, as [`crate::finished_task`] makes them.
    ///
    /// # Errors
    /// The disk is full.
    pub fn end_tasks(&mut self) -> io::Result<()> {
        self.member(|writer, lines, bytes| writer.tasks(lines, bytes))
    }

    /// The lines so far were the documents of this index.
    ///
    /// # Errors
    /// The disk is full.
    pub fn end_index(&mut self, info: &IndexInfo, settings: &Value) -> io::Result<()> {
        self.member(|writer, lines, bytes| writer.index(info, settings, lines, bytes))
    }

    /// The lines so far were nothing.
    ///
    /// # Errors
    /// The disk fails.
    pub fn discard(&mut self) -> io::Result<()> {
        self.member(|_, _, _| Ok(()))
    }

    /// See [`Writer::keys`].
    ///
    /// # Errors
    /// The disk is full.
    pub fn keys(&mut self, keys: &[Value]) -> io::Result<()> {
        self.writer()?.keys(keys)
    }

    /// See [`Writer::features`].
    ///
    /// # Errors
    /// The disk is full.
    pub fn features(&mut self, features: &Value) -> io::Result<()> {
        self.writer()?.features(features)
    }

    /// See [`Writer::webhooks`].
    ///
    /// # Errors
    /// The disk is full.
    pub fn webhooks(&mut self, webhooks: &impl Serialize) -> io::Result<()> {
        self.writer()?.webhooks(webhooks)
    }

    /// See [`Writer::network`].
    ///
    /// # Errors
    /// The disk is full.
    pub fn network(&mut self, network: &Value) -> io::Result<()> {
        self.writer()?.network(network)
    }

    /// Puts the dump in its place.
    ///
    /// # Errors
    /// The disk is full.
    pub fn finish(mut self) -> io::Result<PathBuf> {
        let writer = self.writer.take().ok_or_else(over)?;
        let placed = (|| {
            writer.finish()?.into_inner()?.sync_all()?;
            fs::rename(unfinished(&self.path), &self.path)?;
            File::open(&self.folder)?.sync_all()
        })();
        if placed.is_err() {
            let _ = fs::remove_file(unfinished(&self.path));
        }
        placed.map(|()| self.path.clone())
    }

    fn writer(&mut self) -> io::Result<&mut Writer<BufWriter<File>>> {
        self.writer.as_mut().ok_or_else(over)
    }

    fn member(
        &mut self,
        put: impl FnOnce(&mut Writer<BufWriter<File>>, &File, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        self.lines.flush()?;
        let mut file = self.lines.get_ref();
        file.rewind()?;
        let bytes = std::mem::take(&mut self.bytes);
        put(self.writer.as_mut().ok_or_else(over)?, file, bytes)?;
        file.set_len(0)?;
        file.rewind()
    }

    /// Removes what a process that was killed has left in `folder`.
    pub fn tidy(folder: &Path) {
        for found in fs::read_dir(folder).into_iter().flatten().flatten() {
            if found.file_name().to_string_lossy().ends_with(UNFINISHED) {
                // What cannot be removed is in nobody's way.
                let _ = fs::remove_file(found.path());
            }
        }
    }
}

impl Drop for DumpFile {
    fn drop(&mut self) {
        if self.writer.is_some() {
            let _ = fs::remove_file(unfinished(&self.path));
        }
    }
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(format!("dump{UNFINISHED}"))
}

fn over() -> io::Error {
    io::Error::other("the dump has ended")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dump, Limits};
    use serde_json::json;

    #[test]
    fn lines_become_the_members_that_they_are_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let dumps = folder.path().join("dumps");
        let metadata = Metadata {
            db_version: "1.15.1".into(),
            dump_date: "2026-01-02T03:04:05Z".into(),
        };
        let info = |uid: &str| IndexInfo {
            uid: uid.into(),
            primary_key: None,
            created_at: String::new(),
            updated_at: String::new(),
        };
        let mut file = DumpFile::create(&dumps, "x", &metadata, None).unwrap();
        file.keys(&[]).unwrap();
        file.end_tasks().unwrap();
        for id in 0..3 {
            file.line(&json!({ "id": id })).unwrap();
        }
        file.end_index(&info("a"), &json!({})).unwrap();
        file.line(&json!({ "id": 9 })).unwrap();
        file.discard().unwrap();
        file.line(&json!({ "id": 1 })).unwrap();
        file.end_index(&info("b"), &json!({})).unwrap();
        let path = file.finish().unwrap();
        let dump = Dump::survey(File::open(path).unwrap(), &Limits::default()).unwrap();
        let counts: Vec<_> = dump.indexes.iter().map(|index| index.documents).collect();
        assert_eq!(counts, [3, 1]);

        drop(DumpFile::create(&dumps, "y", &metadata, None).unwrap());
        std::fs::write(dumps.join("z.dump.unfinished"), "").unwrap();
        DumpFile::tidy(&dumps);
        assert_eq!(std::fs::read_dir(&dumps).unwrap().count(), 1);
    }
}
