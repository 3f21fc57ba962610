//! Tasks through the queue and the engine, without HTTP.

use std::path::Path;
use std::thread::{self, JoinHandle};

use miroir_webhooks::Webhooks;
use serde_json::{json, Value};

use super::*;
use crate::documents::{browse, Browse};
use crate::features::Flags;
use crate::tasks::{Method, Payload};

/// A queue that is worked off while this lives.
struct Worker {
    scheduler: Arc<Scheduler>,
    thread: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Worker {
    fn start() -> Worker {
        let folder = tempfile::tempdir().unwrap();
        let scheduler = open(folder.path());
        let thread = thread::spawn({
            let scheduler = scheduler.clone();
            move || scheduler.run()
        });
        Worker {
            scheduler,
            thread: Some(thread),
            folder,
        }
    }

    /// Runs a task to its end.
    fn run(&self, uid: Option<&str>, work: Work) -> Task {
        let task = self.scheduler.register(uid, &work).unwrap();
        loop {
            let task = self.scheduler.queue.get(task.uid).unwrap().unwrap();
            if task.finished_at.is_some() {
                return task;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn add(&self, uid: &str, documents: Value) {
        let lines = documents.as_array().unwrap().iter();
        let text: String = lines.map(|document| format!("{document}\n")).collect();
        let work = Work::AddDocuments {
            method: Method::Replace,
            payload: Payload::Inline(text),
            documents: documents.as_array().unwrap().len() as u64,
            primary_key: Some("id".to_owned()),
            creates: true,
            skips_new: false,
        };
        let task = self.run(Some(uid), work);
        assert_eq!(task.error, None);
    }

    fn documents(&self, uid: &str) -> Value {
        let index = self.scheduler.indexes.get(uid).unwrap();
        let all = Browse {
            offset: 0,
            limit: 20,
            fields: None,
            vectors: false,
            ids: None,
            filter: None,
            sort: None,
            proxied: false,
        };
        browse(&index, &all, None, Flags::default())
            .unwrap()
            .1
            .into_iter()
            .map(Value::Object)
            .collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.scheduler.stop();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn open(path: &Path) -> Arc<Scheduler> {
    let queue = Queue::open(&path.join("tasks.db")).unwrap();
    let indexes = Indexes::open(path.join("indexes"), &queue).unwrap();
    let files = Files::open(path.join("update_files"), &queue).unwrap();
    let hooks = Webhooks::new(None, Default::default(), Default::default());
    let engine = Engine::new(1, None).unwrap();
    Scheduler::new(queue, indexes, files, engine, Arc::new(hooks))
}

fn edit(function: &str, filter: Option<Value>) -> Work {
    Work::EditDocuments {
        function: function.to_owned(),
        context: json!({"by": 10}).as_object().cloned(),
        filter,
    }
}

#[test]
fn a_function_edits_documents() {
    let worker = Worker::start();
    worker.add(
        "films",
        json!([{"id": 1, "year": 1979}, {"id": 2, "year": 1986}]),
    );
    let task = worker.run(Some("films"), edit("doc.year += context.by", None));
    assert_eq!((task.status, &task.error), (Status::Succeeded, &None));
    assert_eq!(
        task.details.unwrap(),
        json!({"editedDocuments": 2, "deletedDocuments": 2, "originalFilter": null, "context": {"by": 10},
               "function": "doc.year += context.by"})
    );
    assert_eq!(
        worker.documents("films"),
        json!([{"id": 1, "year": 1989}, {"id": 2, "year": 1996}])
    );
    // A function that takes the document away deletes it.
    let task = worker.run(Some("films"), edit("if doc.id == 1 { doc = () }", None));
    assert_eq!((task.status, task.error), (Status::Succeeded, None));
    assert_eq!(worker.documents("films"), json!([{"id": 2, "year": 1996}]));

    let failed = |work| {
        let task = worker.run(Some("films"), work);
        let details = task.details.unwrap();
        assert_eq!(
            (task.status, &details["editedDocuments"]),
            (Status::Failed, &json!(0))
        );
        task.error.unwrap()["code"].clone()
    };
    assert_eq!(
        failed(edit("doc.id = 9", None)),
        "edit_documents_by_function_error"
    );
    assert_eq!(
        failed(edit("doc.year = 1", Some(json!("year = 1996")))),
        "invalid_document_filter"
    );
    let task = worker.run(Some("nope"), edit("doc.x = 1", None));
    assert_eq!(task.error.unwrap()["code"], "index_not_found");
}

#[test]
fn swapped_indexes_stay_swapped() {
    let worker = Worker::start();
    worker.add("a", json!([{"id": 1}]));
    worker.add("b", json!([{"id": 2}]));
    worker.add("c", json!([{"id": 3}]));
    let swap = |pairs: &[(&str, &str)]| {
        let own = |&(one, other): &(&str, &str)| Swap {
            indexes: (one.to_owned(), other.to_owned()),
            rename: false,
        };
        let swaps = pairs.iter().map(own).collect();
        worker.run(None, Work::SwapIndexes { swaps })
    };
    let task = swap(&[("a", "b")]);
    assert_eq!(
        (task.status, task.details),
        (
            Status::Succeeded,
            Some(json!({"swaps": [{"indexes": ["a", "b"], "rename": false}]}))
        )
    );
    assert_eq!(worker.documents("a"), json!([{"id": 2}]));
    assert_eq!(worker.documents("b"), json!([{"id": 1}]));
    let failed = |pairs| swap(pairs).error.unwrap()["message"].clone();
    assert_eq!(failed(&[("a", "x")]), "Index `x` not found.");
    assert_eq!(
        failed(&[("a", "y"), ("x", "c")]),
        "Indexes `x`, `y` not found."
    );
    assert_eq!(worker.documents("a"), json!([{"id": 2}]));
    // What a restart would read.
    let queue = Queue::open(&worker.folder.path().join("tasks.db")).unwrap();
    let map = queue.map().unwrap();
    assert_eq!(map.len(), 3);
    assert_eq!(
        queue.get(0).unwrap().unwrap().index_uid.as_deref(),
        Some("b")
    );
}

#[test]
fn an_index_gets_another_name_and_its_own() {
    let worker = Worker::start();
    worker.add("a", json!([{"id": 1}]));
    let rename = |uid: &str, new_uid: &str| {
        let new_uid = Some(new_uid.to_owned());
        let primary_key = None;
        let work = Work::UpdateIndex {
            primary_key,
            new_uid,
        };
        worker.run(Some(uid), work)
    };
    assert_eq!(rename("a", "a").status, Status::Succeeded);
    assert_eq!(rename("a", "b").status, Status::Succeeded);
    assert_eq!(worker.documents("b"), json!([{"id": 1}]));
    worker.add("a", json!([{"id": 2}]));
    let failed = rename("a", "b").error.unwrap();
    assert_eq!(failed["message"], "Index `b` already exists.");
    assert_eq!(
        worker.run(Some("b"), Work::CompactIndex).status,
        Status::Succeeded
    );
    worker.add("b", json!([{"id": 3}]));
    assert_eq!(worker.documents("b"), json!([{"id": 1}, {"id": 3}]));
    // What a restart would read.
    let queue = Queue::open(&worker.folder.path().join("tasks.db")).unwrap();
    assert_eq!(queue.map().unwrap().len(), 2);
}
