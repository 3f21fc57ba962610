//! A node: a queue of tasks that is durable when a write is answered, and documents that follow the queue later.

use std::collections::VecDeque;

use miroir_movement::Document;
use miroir_router::Shard;

use crate::document::{digest, shard, text, Documents, Fields, Id, Write};
use crate::runtime::Time;

#[derive(Clone, Debug)]
pub enum Task {
    /// A client's write, as far as it concerns these shards where it names documents.
    Write {
        number: usize,
        write: Write,
        shards: Vec<Shard>,
    },
    /// A fill's whole documents and deletions.
    Mend {
        copy: Vec<(Id, Fields)>,
        delete: Vec<Id>,
    },
    /// All documents of these shards: what is left over.
    Clear(Vec<Shard>),
    CreateIndex,
}

#[derive(Clone, Debug)]
pub enum Request {
    Enqueue(Task),
    /// The documents of these shards; None: the request has no filter.
    Search(Option<Vec<Shard>>),
    /// Answered once every task accepted up to now is applied.
    AwaitApplied,
    List {
        shards: Vec<Shard>,
        keys: Option<Vec<Id>>,
    },
    Read(Vec<Id>),
    /// Says when the index was created.
    Probe,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Accepted(u64),
    Found(Vec<(Id, Fields)>),
    Applied,
    Listed(Vec<Document>),
    Alive {
        created: Option<u64>,
        newest_task: Option<u32>,
    },
    /// There is no such index.
    NoIndex,
}

/// What is on a node's disk.
#[derive(Clone, Default)]
pub struct Node {
    pub alive: bool,
    pub paused: bool,
    /// Nothing reaches it, nothing comes from it.
    pub cut_off: bool,
    /// It was taken away and does not come back.
    pub gone: bool,
    /// Milliseconds a task, at most.
    pub slowness: Time,
    /// Identifies the index's data; None: there is no index.
    pub created: Option<u64>,
    pub documents: Documents,
    pub queue: VecDeque<(u64, Task)>,
    pub next_uid: u64,
    stored: u64,
    /// What can be put back some day.
    backup: Option<Backup>,
    /// It lost data, and that is not durable with the proxy yet.
    pub unnoticed: bool,
}

#[derive(Clone)]
struct Backup {
    created: Option<u64>,
    documents: Documents,
    next_uid: u64,
}

impl Node {
    /// A running node with an empty index of this identity.
    pub fn new(created: Option<u64>) -> Node {
        Node {
            created,
            alive: true,
            slowness: 10,
            ..Node::default()
        }
    }

    /// Loses everything.
    pub fn wipe(&mut self) {
        self.documents.clear();
        self.queue.clear();
        self.created = None;
        self.next_uid = 0;
        self.unnoticed = true;
    }

    /// Keeps what is there now for [`Node::restore`].
    pub fn back_up(&mut self) {
        if self.queue.is_empty() && self.created.is_some() {
            self.backup = Some(Backup {
                created: self.created,
                documents: self.documents.clone(),
                next_uid: self.next_uid,
            });
        }
    }

    /// Goes back in time; false: there is no backup of this index, or nothing was done since.
    pub fn restore(&mut self) -> bool {
        let Some(backup) = self.backup.clone() else {
            return false;
        };
        if backup.created != self.created || backup.next_uid == self.next_uid {
            return false;
        }
        self.documents = backup.documents;
        self.next_uid = backup.next_uid;
        self.queue.clear();
        self.unnoticed = true;
        true
    }

    pub fn newest_task(&self) -> Option<u32> {
        u32::try_from(self.next_uid).ok().filter(|uid| *uid > 0)
    }

    pub fn enqueue(&mut self, task: Task) -> u64 {
        self.next_uid += 1;
        self.queue.push_back((self.next_uid, task));
        self.next_uid
    }

    pub fn has_applied(&self, uid: u64) -> bool {
        self.queue.front().is_none_or(|(next, _)| *next > uid)
    }

    /// Runs the oldest task. `identity` is for the index, should there be none.
    pub fn apply_next(&mut self, shards: u16, identity: u64) {
        let Some((_, task)) = self.queue.pop_front() else {
            return;
        };
        let creates = match &task {
            Task::CreateIndex => true,
            Task::Write { write, .. } => matches!(write, Write::Documents(_)),
            Task::Mend { copy, .. } => !copy.is_empty(),
            Task::Clear(_) => false,
        };
        if self.created.is_none() {
            if !creates {
                return;
            }
            self.created = Some(identity);
        }
        match task {
            Task::CreateIndex => {}
            Task::Write {
                write: Write::Documents(changes),
                shards: mine,
                ..
            } => {
                for (id, change) in changes {
                    if mine.contains(&shard(id, shards)) {
                        let old = self.documents.get(&id).map(|(_, fields)| *fields);
                        self.put(id, change.apply(old));
                    }
                }
            }
            Task::Write { write, .. } => {
                for id in self.documents.keys().copied().collect::<Vec<_>>() {
                    let old = self.documents.get(&id).map(|(_, fields)| *fields);
                    let change = write.change_of(id);
                    self.put(id, change.map_or(old, |change| change.apply(old)));
                }
            }
            Task::Mend { copy, delete } => {
                copy.into_iter()
                    .for_each(|(id, fields)| self.put(id, Some(fields)));
                delete.into_iter().for_each(|id| self.put(id, None));
            }
            Task::Clear(cleared) => {
                self.documents
                    .retain(|id, _| !cleared.contains(&shard(*id, shards)));
            }
        }
    }

    /// The documents once every task is applied.
    pub fn eventually(&self, shards: u16) -> Documents {
        let mut node = self.clone();
        while !node.queue.is_empty() {
            node.apply_next(shards, 0);
        }
        node.documents
    }

    fn put(&mut self, id: Id, value: Option<Fields>) {
        match value {
            None => drop(self.documents.remove(&id)),
            Some(fields) => {
                self.stored += 1;
                let stored = self.stored;
                self.documents.entry(id).or_insert((stored, fields)).1 = fields;
            }
        }
    }

    pub fn found(&self, wanted: Option<&[Shard]>, shards: u16) -> Vec<(Id, Fields)> {
        let inside = |id: Id| wanted.is_none_or(|wanted| wanted.contains(&shard(id, shards)));
        let found = self.documents.iter().filter(|(id, _)| inside(**id));
        found.map(|(id, (_, fields))| (*id, *fields)).collect()
    }

    pub fn list(&self, wanted: &[Shard], keys: Option<&[Id]>, shards: u16) -> Vec<Document> {
        let mut found = self.found(Some(wanted), shards);
        found.retain(|(id, _)| keys.is_none_or(|keys| keys.contains(id)));
        found.sort_by_key(|(id, _)| self.documents.get(id).map(|(stored, _)| *stored));
        let line = |(id, fields): (Id, Fields)| Document {
            key: text(id),
            shard: shard(id, shards),
            digest: digest(&fields),
        };
        found.into_iter().map(line).collect()
    }
}
