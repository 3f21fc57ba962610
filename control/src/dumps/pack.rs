//! The thread that writes a dump: compression and the disk would hold up everything else on the control thread.
//!
//! It is told what to do through a channel of two places, so that at most a few pages of documents are in memory. The
//! file has its final name only when it is whole and on disk.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use miroir_api::{Error, SHARD_FIELD};
use miroir_dump::{IndexInfo, Metadata, Writer};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

/// How a dump that is not whole is called.
const UNFINISHED: &str = ".unfinished";

type Work = dyn FnOnce(&mut Making) -> io::Result<()> + Send;

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

/// What the thread works on.
struct Making {
    writer: Writer<BufWriter<File>>,
    /// Lines of the member at hand: an archive says how long a member is before it comes.
    lines: BufWriter<File>,
    bytes: u64,
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
        let (path, instance) = (folder.join(format!("{uid}.dump")), instance.to_owned());
        let spool_folder = folder.to_owned();
        let write = move || {
            fs::create_dir_all(&spool_folder)?;
            write(&path, &spool_folder, &metadata, &instance, inbox)
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
        self.order(move |making| making.writer.keys(&keys)).await
    }

    pub(super) async fn features(&mut self, features: Value) -> Result<(), Error> {
        self.order(move |making| making.writer.features(&features))
            .await
    }

    /// Some of the tasks.
    pub(super) async fn tasks(&mut self, lines: Vec<Value>) -> Result<(), Error> {
        self.order(move |making| lines.iter().try_for_each(|line| making.line(line)))
            .await
    }

    pub(super) async fn end_tasks(&mut self) -> Result<(), Error> {
        self.order(|making| making.member(|writer, lines, bytes| writer.tasks(lines, bytes)))
            .await
    }

    /// Documents of the index at hand: a node's answer.
    pub(super) async fn documents(&mut self, answer: Bytes) -> Result<(), Error> {
        self.order(move |making| {
            let page: Page = serde_json::from_slice(&answer)?;
            for mut document in page.results {
                restore(&mut document);
                making.line(&document)?;
            }
            Ok(())
        })
        .await
    }

    /// The documents since the last index are this one's.
    pub(super) async fn end_index(
        &mut self,
        info: IndexInfo,
        settings: Value,
    ) -> Result<(), Error> {
        self.order(move |making| {
            making.member(|writer, lines, bytes| writer.index(&info, &settings, lines, bytes))
        })
        .await
    }

    /// The documents since the last index are nobody's.
    pub(super) async fn discard(&mut self) -> Result<(), Error> {
        self.order(|making| making.member(|_, _, _| Ok(()))).await
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
        order: impl FnOnce(&mut Making) -> io::Result<()> + Send + 'static,
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

fn write(
    path: &Path,
    folder: &Path,
    metadata: &Metadata,
    instance: &str,
    mut orders: mpsc::Receiver<Order>,
) -> io::Result<()> {
    let unfinished = path.with_extension(format!("dump{UNFINISHED}"));
    let written = (|| {
        let file = File::create_new(&unfinished)?;
        let mut making = Making {
            writer: Writer::new(BufWriter::new(file), metadata, Some(instance))?,
            lines: BufWriter::new(tempfile::tempfile_in(folder)?),
            bytes: 0,
        };
        loop {
            match orders.blocking_recv() {
                Some(Order::Write(write)) => write(&mut making)?,
                Some(Order::Finish) => break,
                None => return Err(io::Error::other("it was given up")),
            }
        }
        making.writer.finish()?.into_inner()?.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // What is left of it is removed at the next start, too.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

impl Making {
    fn line(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        let line = serde_json::to_vec(value)?;
        self.lines.write_all(&line)?;
        self.lines.write_all(b"\n")?;
        self.bytes += line.len() as u64 + 1;
        Ok(())
    }

    /// Ends a member: `put` writes the lines so far and their number of bytes.
    fn member(
        &mut self,
        put: impl FnOnce(&mut Writer<BufWriter<File>>, &File, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        self.lines.flush()?;
        let mut file = self.lines.get_ref();
        file.rewind()?;
        put(&mut self.writer, file, std::mem::take(&mut self.bytes))?;
        file.set_len(0)?;
        file.rewind()
    }
}

/// A document as its user wrote it: without the shard field, and without vectors where it has none.
fn restore(document: &mut Map<String, Value>) {
    document.shift_remove(SHARD_FIELD);
    let vectors = document.get("_vectors").and_then(Value::as_object);
    if vectors.is_some_and(Map::is_empty) {
        document.shift_remove("_vectors");
    }
}

/// Removes what a process that was killed has left.
pub(super) fn tidy(folder: &Path) {
    for found in fs::read_dir(folder).into_iter().flatten().flatten() {
        if found.file_name().to_string_lossy().ends_with(UNFINISHED) {
            tracing::warn!(file = %found.path().display(), "removing a dump that was not finished");
            let _ = fs::remove_file(found.path());
        }
    }
}
