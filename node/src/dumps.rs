//! Dumps: the node's indexes in one file (`crates/index-scheduler/src/scheduler/process_dump_creation.rs` at 1.15.1),
//! and such a file into a node without indexes.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use milli_core::Index;
use miroir_api::Error;
use miroir_dump::{dump_uid, finished_task, DumpFile, IndexInfo, Metadata};
use miroir_import::{AtStart, Options, Server, Trouble};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::OffsetDateTime;

use crate::documents;
use crate::error::{heed_error, io_error, milli_error};
use crate::http::{self, App};
use crate::indexes::Indexes;
use crate::queue::{Filter, Queue};
use crate::settings::revealed;
use crate::tasks::TaskView;

/// Documents that are in memory at a time.
const DOCUMENTS_AT_A_TIME: usize = 100;

/// Tasks that are in memory at a time.
const TASKS_AT_A_TIME: u32 = 1000;

/// Makes a dump in `folder` and gives its uid. Tasks that wait are behind it in the queue and not in it.
pub fn make(
    folder: &Path,
    keys: &[Value],
    features: &Value,
    indexes: &Indexes,
    queue: &Queue,
) -> Result<String, Error> {
    let started = OffsetDateTime::now_utc();
    let uid = dump_uid(started);
    let metadata = Metadata {
        db_version: "1.15.1".to_owned(),
        dump_date: rfc3339(started),
    };
    let failed = |error: std::io::Error| io_error(&error);
    let mut file = DumpFile::create(folder, &uid, &metadata, None).map_err(failed)?;
    file.keys(keys).map_err(failed)?;
    tasks(&mut file, queue)?;
    for uid in indexes.names() {
        if let Some(index) = indexes.find(&uid)? {
            one_index(&mut file, &uid, &index)?;
        }
    }
    file.features(features).map_err(failed)?;
    file.finish().map_err(failed)?;
    Ok(uid)
}

fn tasks(file: &mut DumpFile, queue: &Queue) -> Result<(), Error> {
    let mut from = 0;
    loop {
        let page = Filter {
            limit: Some(TASKS_AT_A_TIME),
            from: Some(from),
            reverse: true,
            ..Filter::default()
        };
        let tasks = queue.list(&page)?.tasks;
        let Some(last) = tasks.last() else {
            return file.end_tasks().map_err(|error| io_error(&error));
        };
        from = last.uid + 1;
        for task in tasks {
            let view = serde_json::to_value(TaskView::from(task));
            let line = view.ok().as_ref().and_then(finished_task);
            if let Some(line) = line {
                file.line(&line).map_err(|error| io_error(&error))?;
            }
        }
    }
}

fn one_index(file: &mut DumpFile, uid: &str, index: &Index) -> Result<(), Error> {
    let rtxn = index.read_txn().map_err(heed_error)?;
    let ids = index.documents_ids(&rtxn).map_err(heed_error)?;
    let ids: Vec<_> = ids.iter().collect();
    for ids in ids.chunks(DOCUMENTS_AT_A_TIME) {
        for mut document in documents::read(index, &rtxn, ids.iter().copied(), None, true)? {
            let vectors = document.get("_vectors").and_then(Value::as_object);
            if vectors.is_some_and(|vectors| vectors.is_empty()) {
                document.shift_remove("_vectors");
            }
            file.line(&document).map_err(|error| io_error(&error))?;
        }
    }
    let primary_key = index.primary_key(&rtxn).map_err(heed_error)?;
    let info = IndexInfo {
        uid: uid.to_owned(),
        primary_key: primary_key.map(str::to_owned),
        created_at: rfc3339(index.created_at(&rtxn).map_err(milli_error)?),
        updated_at: rfc3339(index.updated_at(&rtxn).map_err(milli_error)?),
    };
    let settings = revealed(index, &rtxn).map_err(milli_error)?;
    let settings = serde_json::to_value(settings).map_err(|e| Error::internal(e.to_string()))?;
    file.end_index(&info, &settings)
        .map_err(|error| io_error(&error))
}

fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

/// Imports a dump before anybody else is let in: the importer speaks HTTP to an address that only it knows.
pub async fn import(
    dump: &AtStart,
    app: Arc<App>,
    master_key: Option<String>,
) -> Result<(), Trouble> {
    if !dump.is_wanted()? {
        return Ok(());
    }
    let doing = "listening for the import";
    let trouble = |error: std::io::Error| Trouble::new(doing, error.to_string());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(trouble)?;
    listener.set_nonblocking(true).map_err(trouble)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(trouble)?;
    let address = listener.local_addr().map_err(trouble)?;
    let options = Options::within(app.body_bytes_max);
    let serving = axum::serve(listener, http::router(app));
    let serving = tokio::spawn(async move { serving.await });
    let server = Server::new(&format!("http://{address}"), master_key)?;
    let imported = dump.run(&server, options).await;
    serving.abort();
    imported
}
