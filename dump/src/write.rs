//! Writing a dump, member after member.
//!
//! A tar archive says how long a member is before the member, so the documents of an index must be counted first: they
//! come from a file. Everything else is small.

use std::io::{self, Read, Write};

use flate2::write::GzEncoder;
use flate2::Compression;
use serde::Serialize;
use serde_json::{json, Value};
use tar::{Builder, EntryType, Header};
use time::OffsetDateTime;

/// What a dump says of itself.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The Meilisearch version whose behaviour the data come from.
    pub db_version: String,
    /// RFC 3339.
    pub dump_date: String,
}

/// The name of a dump begun at this moment (UTC), which is its uid: `20261121-215800123`.
pub fn dump_uid(begun: OffsetDateTime) -> String {
    let (date, time) = (begun.date(), begun.time());
    format!(
        "{:04}{:02}{:02}-{:02}{:02}{:02}{:03}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}

/// What a dump says of an index.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexInfo {
    pub uid: String,
    pub primary_key: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// A dump under way. Without [`Writer::finish`] it is cut off and nobody reads it.
pub struct Writer<W: Write> {
    archive: Builder<GzEncoder<W>>,
}

impl<W: Write> Writer<W> {
    /// Begins a dump: who made it, and the folders that a reader expects even where they are empty.
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub fn new(out: W, metadata: &Metadata, instance_uid: Option<&str>) -> io::Result<Writer<W>> {
        let mut writer = Writer {
            archive: Builder::new(GzEncoder::new(out, Compression::default())),
        };
        let mut own = json!({ "dumpVersion": "V6" });
        own["dbVersion"] = json!(metadata.db_version);
        own["dumpDate"] = json!(metadata.dump_date);
        writer.json("metadata.json", &own)?;
        if let Some(uid) = instance_uid {
            writer.bytes("instance_uid.uuid", uid.as_bytes())?;
        }
        for folder in [
            "indexes/",
            "tasks/",
            "tasks/update_files/",
            "batches/",
            "chat-completions-settings/",
        ] {
            writer.member(EntryType::Directory, folder, 0, io::empty())?;
        }
        writer.bytes("batches/queue.jsonl", b"")?;
        Ok(writer)
    }

    /// The API keys, each as [`crate::Dump::keys`] has it.
    ///
    /// # Errors
    /// The output cannot be written to.
    pub fn keys(&mut self, keys: &[Value]) -> io::Result<()> {
        let mut lines = Vec::new();
        keys.iter().try_for_each(|key| line(&mut lines, key))?;
        self.bytes("keys.jsonl", &lines)
    }

    /// The tasks, one a line: `lines` has `bytes` bytes.
    ///
    /// # Errors
    /// The output cannot be written to, or `lines` is shorter.
    pub fn tasks(&mut self, lines: impl Read, bytes: u64) -> io::Result<()> {
        self.member(EntryType::Regular, "tasks/queue.jsonl", bytes, lines)
    }

    /// Experimental features by name.
    ///
    /// # Errors
    /// The output cannot be written to.
    pub fn features(&mut self, features: &Value) -> io::Result<()> {
        self.json("experimental-features.json", features)
    }

    /// Webhooks by their uuid.
    ///
    /// # Errors
    /// The output cannot be written to.
    pub fn webhooks(&mut self, webhooks: &impl Serialize) -> io::Result<()> {
        self.json("webhooks.json", &json!({ "webhooks": webhooks }))
    }

    /// The network that the instance is one of.
    ///
    /// # Errors
    /// The output cannot be written to.
    pub fn network(&mut self, network: &Value) -> io::Result<()> {
        self.json("network.json", network)
    }

    /// An index: its settings, and its documents, one a line: `documents` has `bytes` bytes.
    ///
    /// # Errors
    /// The output cannot be written to, or `documents` is shorter.
    pub fn index(
        &mut self,
        info: &IndexInfo,
        settings: &Value,
        documents: impl Read,
        bytes: u64,
    ) -> io::Result<()> {
        let folder = format!("indexes/{}", info.uid);
        self.member(EntryType::Directory, &format!("{folder}/"), 0, io::empty())?;
        self.json(&format!("{folder}/metadata.json"), info)?;
        self.json(&format!("{folder}/settings.json"), settings)?;
        let name = format!("{folder}/documents.jsonl");
        self.member(EntryType::Regular, &name, bytes, documents)
    }

    /// Ends the dump and gives the output back.
    ///
    /// # Errors
    /// The output cannot be written to.
    pub fn finish(self) -> io::Result<W> {
        self.archive.into_inner()?.finish()
    }

    fn json(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.bytes(name, &serde_json::to_vec(value)?)
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.member(EntryType::Regular, name, bytes.len() as u64, bytes)
    }

    fn member(
        &mut self,
        kind: EntryType,
        name: &str,
        bytes: u64,
        content: impl Read,
    ) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_size(bytes);
        // The archive pads a member that is cut short, and nobody would notice.
        let mut exact = Exact {
            inner: content.take(bytes),
            left: bytes,
        };
        self.archive.append_data(&mut header, name, &mut exact)?;
        match exact.left {
            0 => Ok(()),
            left => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("`{name}` ended {left} bytes early"),
            )),
        }
    }
}

/// Appends a value as one line.
fn line(lines: &mut Vec<u8>, value: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, value)?;
    lines.push(b'\n');
    Ok(())
}

/// Counts down what was read.
struct Exact<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left -= read as u64;
        Ok(read)
    }
}
