//! The thread that writes a dump: compression and the disk would hold up everything else on the control thread.
//!
//! It is told what to do through a channel of two places, so that at most a few pages of documents are in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use miroir_api::{Error, SHARD_FIELD};
use miroir_dump::{DumpFile, IndexInfo, Metadata};
use miroir_webhooks::Registered;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::gather::Pages;

type Work = dyn FnOnce(&mut DumpFile) -> io::Result<()> + Send;

/// What the thread is told.
enum Order {
    Write(Box<Work>),
    /// The dump is whole.
    Finish,
}

/// A dump being written.
pub(super) struct Packer {
    orders: mpsc::Sender<Order>,
    thread: Option<JoinHandle<io::Result<()>>>,
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Page {
    results: Vec<Map<String, Value>>,
}

impl Packer {
    /// Begins the dump `uid` in `folder`.
    pub(super) fn start(
        folder: &Path,
        uid: &str,
        metadata: Metadata,
        instance: &str,
    ) -> Result<Packer, Error> {
        let (orders, inbox) = mpsc::channel(2);
        let (path, uid, instance) = (folder.to_owned(), uid.to_owned(), instance.to_owned());
        let write = move || {
            let file = DumpFile::create(&path, &uid, &metadata, Some(&instance));
            write(file, inbox)
        };
        let thread = thread::Builder::new()
            .name("miroir-dump".to_owned())
            .spawn(write)
            .map_err(|error| failed(folder, &error))?;
        Ok(Packer {
            orders,
            thread: Some(thread),
            folder: folder.to_owned(),
        })
    }

    pub(super) async fn keys(&mut self, keys: Vec<Value>) -> Result<(), Error> {
        self.order(move |file| file.keys(&keys)).await
    }

    pub(super) async fn features(&mut self, features: Value) -> Result<(), Error> {
        self.order(move |file| file.features(&features)).await
    }

    pub(super) async fn webhooks(&mut self, webhooks: Registered) -> Result<(), Error> {
        self.order(move |file| file.webhooks(&webhooks)).await
    }

    pub(super) async fn network(&mut self, network: Value) -> Result<(), Error> {
        self.order(move |file| file.network(&network)).await
    }

    /// Some of the tasks, or of the rules.
    pub(super) async fn lines(&mut self, lines: Vec<Value>) -> Result<(), Error> {
        self.order(move |file| lines.iter().try_for_each(|line| file.line(line)))
            .await
    }

    pub(super) async fn end_tasks(&mut self) -> Result<(), Error> {
        self.order(|file| file.end_tasks()).await
    }

    /// The documents since the last index are this one's.
    pub(super) async fn end_index(
        &mut self,
        info: IndexInfo,
        settings: Value,
    ) -> Result<(), Error> {
        self.order(move |file| file.end_index(&info, &settings))
            .await
    }

    /// The documents since the last index are nobody's.
    pub(super) async fn discard(&mut self) -> Result<(), Error> {
        self.order(|file| file.discard()).await
    }

    /// Puts the dump in its place.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        match self.orders.send(Order::Finish).await {
            Ok(()) => self.join().await,
            Err(_) => Err(self.fault().await),
        }
    }

    async fn order(
        &mut self,
        order: impl FnOnce(&mut DumpFile) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        match self.orders.send(Order::Write(Box::new(order))).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.fault().await),
        }
    }

    /// Why the thread takes no more orders.
    async fn fault(&mut self) -> Error {
        match self.join().await {
            Ok(()) => Error::internal("the dump's thread has ended early"),
            Err(error) => error,
        }
    }

    async fn join(&mut self) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else {
            return Err(Error::internal("the dump's thread has ended"));
        };
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        match ended {
            Ok(Ok(written)) => written.map_err(|error| failed(&self.folder, &error)),
            _ => Err(Error::internal("the dump's thread panicked; see the log")),
        }
    }
}

/// They are of the index at hand.
impl Pages for Packer {
    async fn documents(&mut self, answer: Bytes) -> Result<(), Error> {
        self.order(move |file| {
            let documents = documents_of(&answer)?;
            documents
                .iter()
                .try_for_each(|document| file.line(document))
        })
        .await
    }
}

pub(super) fn failed(folder: &Path, error: &io::Error) -> Error {
    let folder = folder.display();
    if error.kind() == io::ErrorKind::StorageFull {
        let message = format!("There is no space left for a dump in {folder}.");
        return Error::invalid(422, "no_space_left_on_device", message);
    }
    Error::internal(format!(
        "the dump cannot be written in {folder} (`dumps.dir`): {error}"
    ))
}

/// Carries orders out until the dump is whole.
fn write(file: io::Result<DumpFile>, mut orders: mpsc::Receiver<Order>) -> io::Result<()> {
    let mut file = file?;
    loop {
        match orders.blocking_recv() {
            Some(Order::Write(write)) => write(&mut file)?,
            Some(Order::Finish) => return file.finish().map(drop),
            None => return Err(io::Error::other("it was given up")),
        }
    }
}

/// The documents of a node's list, each as its user wrote it.
pub(crate) fn documents_of(answer: &[u8]) -> serde_json::Result<Vec<Map<String, Value>>> {
    let mut page: Page = serde_json::from_slice(answer)?;
    page.results.iter_mut().for_each(restore);
    Ok(page.results)
}

/// A document as its user wrote it: without the shard field, and without vectors where it has none.
fn restore(document: &mut Map<String, Value>) {
    document.shift_remove(SHARD_FIELD);
    let vectors = document.get("_vectors").and_then(Value::as_object);
    if vectors.is_some_and(Map::is_empty) {
        document.shift_remove("_vectors");
    }
}
