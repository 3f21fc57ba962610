//! Meilisearch's dump files (format V6: 1.0 and later), read and written as streams.
//!
//! A dump is a gzipped tar archive of small JSON files and, for each index, one file with a document a line. Two things
//! shape this crate. The members of an archive come in any order (Meilisearch packs a folder as the file system lists
//! it), so documents may stand before the settings that they need. And a dump is as large as all indexes together. So
//! it is read twice, without a copy on disk: [`Dump::survey`] checks the whole archive and keeps what is small, then
//! [`Dump::documents`] hands out one document after the other. Nothing is ever unpacked: names in an archive choose
//! what a member is taken for, never where anything is written.
//!
//! Format and names follow Meilisearch's `crates/dump` (`writer.rs`, `reader/v6/mod.rs`, `lib.rs`).
#![forbid(unsafe_code)]

mod archive;
mod file;
mod keys;
mod lines;
mod member;
mod read;
mod rules;
mod tasks;
mod write;

pub use file::DumpFile;
pub use keys::{key_line, key_view};
pub use read::{Dump, Index};
pub use rules::{rule_change, rule_line, rules_settings, RULES_INDEX, RULES_KEY};
pub use tasks::{finished_task, Waiting};
pub use write::{dump_uid, IndexInfo, Metadata, Writer};

/// What a dump may ask of whoever reads it. All sizes are bytes after decompression.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole archive: how long reading may take.
    pub archive_bytes_max: u64,
    /// One line: a document, a task or a key. It is in memory whole.
    pub line_bytes_max: usize,
    /// All that a survey keeps: settings, keys, waiting tasks.
    pub kept_bytes_max: usize,
    /// Members of the archive, and so indexes.
    pub members_max: usize,
}

impl Default for Limits {
    /// 8 TiB, documents of 256 MiB, 256 MiB of settings, a hundred thousand members.
    fn default() -> Self {
        Limits {
            archive_bytes_max: 8 << 40,
            line_bytes_max: 256 << 20,
            kept_bytes_max: 256 << 20,
            members_max: 100_000,
        }
    }
}

/// Why a dump cannot be read. Each text names the place, and the next step where there is one.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the file is no dump, or it is damaged: {0}")]
    Damaged(#[from] std::io::Error),
    #[error(
        "the dump is of version {0}; only V6, of Meilisearch 1.0 and later, is read. Import it into a current \
         Meilisearch (`meilisearch --import-dump FILE`), make a new dump there, and import that one"
    )]
    Version(String),
    #[error("the dump has no `{0}`")]
    Missing(String),
    #[error("`{member}` in the dump, line {line}: {why}")]
    Line {
        member: String,
        line: u64,
        why: String,
    },
    #[error("the dump holds a member that no dump has: {0}")]
    Hostile(String),
    #[error("the dump passes a limit: {what} has more than {max}")]
    TooLarge { what: String, max: u64 },
}
