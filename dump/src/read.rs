//! What a dump holds: the survey, then the documents.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use miroir_api::is_index_uid;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::archive::{too_large, walk};
use crate::lines::Lines;
use crate::member::{IndexFile, Member};
use crate::rules::RULES_INDEX;
use crate::tasks::{TaskLine, Waiting};
use crate::{Limits, ReadError};

/// A checked dump without its documents.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// The version of the Meilisearch that made it.
    pub db_version: String,
    /// When it was made, RFC 3339.
    pub date: String,
    pub instance_uid: Option<String>,
    /// API keys as the file has them: `uid`, `name`, `description`, `actions`, `indexes`, `expires_at`, `created_at`,
    /// `updated_at`.
    pub keys: Vec<Map<String, Value>>,
    /// Experimental features by name.
    pub features: Map<String, Value>,
    /// Webhooks by their uuid: `url`, `headers`.
    pub webhooks: Map<String, Value>,
    /// By uid.
    pub indexes: Vec<Index>,
    /// Accepted but not run when the dump was made, in their order.
    pub waiting: Vec<Waiting>,
    /// How many tasks had ended.
    pub tasks_finished: u64,
    /// Workspaces of chat completions.
    pub chats: usize,
    /// The network that the instance was one of, as `GET /network` shows it.
    pub network: Map<String, Value>,
    /// Dynamic search rules, as their documents.
    pub rules: Vec<Map<String, Value>>,
    /// Position in `indexes` by the folder in the archive.
    folders: BTreeMap<String, usize>,
}

/// An index without its documents.
#[derive(Clone, Debug)]
pub struct Index {
    pub uid: String,
    pub primary_key: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    pub settings: Map<String, Value>,
    pub documents: u64,
    /// Of all documents, as JSON.
    pub bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetadataFile {
    dump_version: String,
    #[serde(default)]
    db_version: String,
    #[serde(default)]
    dump_date: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexMetadata {
    uid: String,
    primary_key: Option<String>,
    created_at: String,
    updated_at: String,
}

#[derive(Deserialize)]
struct WebhooksFile {
    #[serde(default)]
    webhooks: Map<String, Value>,
}

/// An index whose members have come in part.
#[derive(Default)]
struct Parts {
    metadata: Option<IndexMetadata>,
    settings: Option<Map<String, Value>>,
    documents: Option<(u64, u64)>,
}

impl Dump {
    /// Reads a dump to its end, checks every part of it and keeps all but the documents.
    ///
    /// # Errors
    /// What is missing, damaged, hostile or too large; nothing of it has been used then.
    pub fn survey(dump: impl Read, limits: &Limits) -> Result<Dump, ReadError> {
        let mut survey = Survey {
            found: Dump::default(),
            metadata: None,
            keys: false,
            tasks: false,
            parts: BTreeMap::new(),
            left: limits.kept_bytes_max,
            limits: *limits,
        };
        let walked = walk(dump, limits, &mut |member, reader| {
            survey.take(member, reader)
        });
        // An older dump has other members; its version says more than what they lack.
        if let Some(metadata) = &survey.metadata {
            if metadata.dump_version != "V6" {
                return Err(ReadError::Version(metadata.dump_version.clone()));
            }
        }
        walked?;
        survey.finish()
    }

    /// Reads the same dump again and hands every document to `each`: the position of its index in [`Dump::indexes`]
    /// and the document as JSON on one line. The documents of one index come together, the indexes in any order.
    ///
    /// # Errors
    /// Those of `each`, and of the reader where the file has changed since the survey.
    pub fn documents<E: From<ReadError>>(
        &self,
        dump: impl Read,
        limits: &Limits,
        mut each: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        walk(dump, limits, &mut |member, reader| {
            let Member::Index {
                folder,
                file: IndexFile::Documents,
            } = member
            else {
                return Ok(());
            };
            let missing = || ReadError::Missing(format!("indexes/{folder}/metadata.json"));
            let index = *self.folders.get(folder).ok_or_else(missing)?;
            let name = documents_name(folder);
            let mut lines = Lines::new(reader, &name, limits.line_bytes_max);
            while let Some(line) = lines.next()? {
                each(index, line)?;
            }
            Ok(())
        })
    }

    /// Reads the same dump again and hands out the payloads of waiting tasks: a task's uid and one document.
    ///
    /// # Errors
    /// As [`Dump::documents`].
    pub fn payloads<E: From<ReadError>>(
        &self,
        dump: impl Read,
        limits: &Limits,
        mut each: impl FnMut(u32, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        walk(dump, limits, &mut |member, reader| {
            let Member::UpdateFile(task) = member else {
                return Ok(());
            };
            let name = format!("tasks/update_files/{task}.jsonl");
            let mut lines = Lines::new(reader, &name, limits.line_bytes_max);
            while let Some(line) = lines.next()? {
                each(*task, line)?;
            }
            Ok(())
        })
    }

    /// How many documents there are in all indexes.
    pub fn documents_total(&self) -> u64 {
        self.indexes.iter().map(|index| index.documents).sum()
    }
}

fn documents_name(folder: &str) -> String {
    format!("indexes/{folder}/documents.jsonl")
}

/// A survey under way.
struct Survey {
    found: Dump,
    metadata: Option<MetadataFile>,
    keys: bool,
    tasks: bool,
    parts: BTreeMap<String, Parts>,
    /// Bytes that may still be kept.
    left: usize,
    limits: Limits,
}

impl Survey {
    fn take(&mut self, member: &Member, reader: &mut dyn BufRead) -> Result<(), ReadError> {
        match member {
            Member::Metadata => self.metadata = Some(self.json("metadata.json", reader)?),
            Member::InstanceUid => {
                let text = self.kept("instance_uid.uuid", reader)?;
                self.found.instance_uid = Some(String::from_utf8_lossy(&text).trim().to_owned());
            }
            Member::Keys => {
                self.keys = true;
                self.found.keys = self.lines("keys.jsonl", reader)?;
            }
            Member::Rules => self.found.rules = self.lines(&documents_name(RULES_INDEX), reader)?,
            Member::Tasks => self.tasks(reader)?,
            Member::UpdateFile(task) => {
                check_documents(
                    &format!("tasks/update_files/{task}.jsonl"),
                    reader,
                    &self.limits,
                )?;
            }
            Member::Features => {
                self.found.features = self.json("experimental-features.json", reader)?;
            }
            Member::Network => self.found.network = self.json("network.json", reader)?,
            Member::Webhooks => {
                let file: WebhooksFile = self.json("webhooks.json", reader)?;
                self.found.webhooks = file.webhooks;
            }
            Member::Chat => self.found.chats += 1,
            Member::Index { folder, file } => self.index(folder, *file, reader)?,
            Member::Other => (),
        }
        Ok(())
    }

    fn tasks(&mut self, reader: &mut dyn BufRead) -> Result<(), ReadError> {
        self.tasks = true;
        let mut lines = Lines::new(reader, "tasks/queue.jsonl", self.limits.line_bytes_max);
        while let Some(line) = lines.next()? {
            let length = line.len();
            let task: TaskLine =
                serde_json::from_slice(line).map_err(|error| lines.wrong(error))?;
            if task.has_ended() {
                self.found.tasks_finished += 1;
                continue;
            }
            self.left = keep(self.left, length, &self.limits)?;
            let waiting = task.waiting().map_err(|why| lines.wrong(why))?;
            self.found.waiting.push(waiting);
        }
        Ok(())
    }

    fn index(
        &mut self,
        folder: &str,
        file: IndexFile,
        reader: &mut dyn BufRead,
    ) -> Result<(), ReadError> {
        match file {
            IndexFile::Metadata => {
                let name = format!("indexes/{folder}/metadata.json");
                let metadata: IndexMetadata = self.json(&name, reader)?;
                if !is_index_uid(&metadata.uid) {
                    return Err(ReadError::Line {
                        member: name,
                        line: 1,
                        why: "the uid is none that an index can have".to_owned(),
                    });
                }
                self.parts_of(folder).metadata = Some(metadata);
            }
            IndexFile::Settings => {
                let settings = self.json(&format!("indexes/{folder}/settings.json"), reader)?;
                self.parts_of(folder).settings = Some(settings);
            }
            IndexFile::Documents => {
                let counted = check_documents(&documents_name(folder), reader, &self.limits)?;
                self.parts_of(folder).documents = Some(counted);
            }
        }
        Ok(())
    }

    fn parts_of(&mut self, folder: &str) -> &mut Parts {
        self.parts.entry(folder.to_owned()).or_default()
    }

    /// A small member with an object a line, whole.
    fn lines(
        &mut self,
        member: &str,
        reader: &mut dyn BufRead,
    ) -> Result<Vec<Map<String, Value>>, ReadError> {
        let mut found = Vec::new();
        let mut lines = Lines::new(reader, member, self.limits.line_bytes_max);
        while let Some(line) = lines.next()? {
            self.left = keep(self.left, line.len(), &self.limits)?;
            found.push(serde_json::from_slice(line).map_err(|error| lines.wrong(error))?);
        }
        Ok(found)
    }

    /// A small member, whole.
    fn kept(&mut self, member: &str, reader: &mut dyn BufRead) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        reader.take(self.left as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > self.left {
            return Err(too_large(
                format!("`{member}` with what came before it"),
                self.limits.kept_bytes_max as u64,
            ));
        }
        self.left -= bytes.len();
        Ok(bytes)
    }

    fn json<T: DeserializeOwned>(
        &mut self,
        member: &str,
        reader: &mut dyn BufRead,
    ) -> Result<T, ReadError> {
        let bytes = self.kept(member, reader)?;
        serde_json::from_slice(&bytes).map_err(|error| ReadError::Line {
            member: member.to_owned(),
            line: error.line() as u64,
            why: error.to_string(),
        })
    }

    fn finish(mut self) -> Result<Dump, ReadError> {
        let missing = |name: &str| ReadError::Missing(name.to_owned());
        let metadata = self.metadata.ok_or_else(|| missing("metadata.json"))?;
        self.found.db_version = metadata.db_version;
        self.found.date = metadata.dump_date;
        if !self.keys {
            return Err(missing("keys.jsonl"));
        }
        if !self.tasks {
            return Err(missing("tasks/queue.jsonl"));
        }
        let mut found: Vec<(String, Index)> = Vec::with_capacity(self.parts.len());
        for (folder, parts) in self.parts {
            let lacks = |file: &str| ReadError::Missing(format!("indexes/{folder}/{file}"));
            let metadata = parts.metadata.ok_or_else(|| lacks("metadata.json"))?;
            let (documents, bytes) = parts.documents.ok_or_else(|| lacks("documents.jsonl"))?;
            let index = Index {
                settings: parts.settings.ok_or_else(|| lacks("settings.json"))?,
                uid: metadata.uid,
                primary_key: metadata.primary_key,
                created_at: metadata.created_at,
                updated_at: metadata.updated_at,
                documents,
                bytes,
            };
            found.push((folder, index));
        }
        found.sort_by(|(_, a), (_, b)| a.uid.cmp(&b.uid));
        for pair in found.windows(2) {
            if pair[0].1.uid == pair[1].1.uid {
                return Err(ReadError::Hostile(format!(
                    "index `{}` stands in it twice",
                    pair[0].1.uid
                )));
            }
        }
        for (position, (folder, index)) in found.into_iter().enumerate() {
            self.found.folders.insert(folder, position);
            self.found.indexes.push(index);
        }
        self.found.waiting.sort_by_key(|task| task.uid);
        Ok(self.found)
    }
}

/// What is left to keep after `bytes` more.
fn keep(left: usize, bytes: usize, limits: &Limits) -> Result<usize, ReadError> {
    left.checked_sub(bytes).ok_or_else(|| {
        too_large(
            "what is kept of keys, tasks and settings",
            limits.kept_bytes_max as u64,
        )
    })
}

/// Number and bytes of the documents of a member; each must be a JSON object.
fn check_documents(
    member: &str,
    reader: &mut dyn BufRead,
    limits: &Limits,
) -> Result<(u64, u64), ReadError> {
    let mut lines = Lines::new(reader, member, limits.line_bytes_max);
    let (mut count, mut bytes) = (0, 0);
    while let Some(line) = lines.next()? {
        let checked = match line.first() {
            Some(b'{') => serde_json::from_slice::<IgnoredAny>(line)
                .map(drop)
                .map_err(|error| error.to_string()),
            _ => Err("a document must be an object".to_owned()),
        };
        let length = line.len() as u64;
        checked.map_err(|why| lines.wrong(why))?;
        count += 1;
        bytes += length;
    }
    Ok((count, bytes))
}
