//! `POST /export`: indexes with their settings and documents into another Meilisearch, as a node does it
//! (`crates/index-scheduler/src/scheduler/process_export.rs`): what is sent there are tasks there, and the export has
//! succeeded once they were taken.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `order` | what a client asks for, and how its task shows it |
//! | `target` | the other Meilisearch |

mod order;
mod target;

use bytes::Bytes;
use miroir_api::Error;
use miroir_webhooks::Networks;
use serde_json::{json, Map, Value};

use crate::clock::now;
use crate::dumps::{documents_of, Pages, Source};
use crate::indexes::bare_task;
use crate::plane::Plane;
use crate::settings::revealed;
use crate::tasks::{Kind, Task};
use crate::types::TaskSummary;

pub(crate) use order::Order;
use order::Wanted;
use target::{Parcel, Target};

/// What the plane keeps for exports.
pub(crate) struct Exports {
    /// Addresses that may be exported to besides public ones.
    allowed: Networks,
}

impl Exports {
    pub(crate) fn new(allowed: Networks) -> Exports {
        Exports { allowed }
    }
}

impl Plane {
    /// `POST /export`.
    pub(crate) async fn export(&self, body: &Value) -> Result<TaskSummary, Error> {
        let order = Order::parse(body)?;
        let mut task = bare_task(Kind::Export, order.details(None), now());
        task.effect.export = Some(order);
        self.accept_job(task).await
    }
}

/// Carries an export out; what its task shows then.
pub(crate) async fn run(plane: &Plane, task: &Task) -> Result<Value, Error> {
    let order = task.effect.export.as_ref();
    let order = order.ok_or_else(|| Error::internal("what was to be exported is not known"))?;
    let target = Target::new(order, &plane.exports.allowed);
    let mut exported = Map::new();
    for source in Source::all(plane) {
        let Some(wanted) = order.wanted(&source.name) else {
            continue;
        };
        let mut parcel = Parcel::new(&target, &source.name, order.payload_bytes());
        let documents = one_index(plane, &target, &source, wanted, &mut parcel).await?;
        exported.insert(source.name.clone(), wanted.shown(Some(documents)));
    }
    Ok(order.details(Some(exported)))
}

async fn one_index(
    plane: &Plane,
    target: &Target,
    source: &Source,
    wanted: &Wanted,
    parcel: &mut Parcel<'_>,
) -> Result<u64, Error> {
    let path = format!("/indexes/{}", source.name);
    let exists = target.has_index(&path).await?;
    let key = &source.primary_key;
    if !exists {
        let body = json!({ "uid": source.name, "primaryKey": key });
        target.send("POST", "/indexes", &body).await?;
    } else if wanted.override_settings {
        let body = json!({ "primaryKey": key });
        target.send("PATCH", &path, &body).await?;
    }
    if !exists || wanted.override_settings {
        let shown = plane.settings(&source.name, None).await?;
        let whole = revealed(&plane.store, &source.node_uid, shown).await;
        let mut settings = whole.map_err(Error::internal)?;
        miroir_import::without_masked_secrets(&mut settings);
        target
            .send("PATCH", &format!("{path}/settings"), &settings)
            .await?;
    }
    let documents = match key {
        Some(key) => {
            let filter = wanted.filter.as_ref();
            let gathered = source.gather(plane, key, filter, parcel).await;
            gathered.map_err(|error| of_index(error, &source.name))?
        }
        None => 0,
    };
    parcel.finish().await?;
    Ok(documents)
}

/// What a node says of a filter, as a task of no index has it.
fn of_index(mut error: Error, index: &str) -> Error {
    if error.code == "invalid_document_filter" {
        error.message = format!("Index `{index}`: {}", error.message);
    }
    error
}

impl Pages for Parcel<'_> {
    async fn documents(&mut self, answer: Bytes) -> Result<(), Error> {
        let documents = documents_of(&answer)
            .map_err(|error| Error::internal(format!("a node's documents: {error}")))?;
        for document in &documents {
            self.add(document).await?;
        }
        Ok(())
    }
}
