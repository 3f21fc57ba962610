//! `GET /tasks/{uid}/documents`: the payload of an addition that has not ended. It was split and sent on, so the nodes have
//! it, in parts: what comes is the documents by node, each once.

use std::collections::BTreeSet;

use miroir_api::{Error, SHARD_FIELD};
use serde_json::{Map, Value};

use crate::plane::Plane;
use crate::settings::no_node;
use crate::tasks::{Kind, Role, Task, TaskUid};

impl Plane {
    /// NDJSON. Errors: 404 once a node is done with its part, and for tasks that bring no documents.
    pub(crate) async fn task_documents(&self, task: &Task) -> Result<Vec<u8>, Error> {
        let over = || over(task.uid);
        if task.kind != Kind::DocumentAdditionOrUpdate || task.status.is_finished() {
            return Err(over());
        }
        let parts = self.store.parts(task.uid).await?;
        let nodes = self.nodes();
        let mut payload = Vec::new();
        let mut seen: BTreeSet<u64> = BTreeSet::new();
        for part in parts.iter().filter(|part| part.role == Role::Counted) {
            // Other copies of the same shards have the same documents.
            if part
                .shards
                .iter()
                .all(|shard| seen.contains(&u64::from(shard.0)))
            {
                continue;
            }
            let client = nodes.iter().find(|client| client.id() == part.node);
            let path = format!("/tasks/{}/documents", part.node_task);
            let reply = client.ok_or_else(no_node)?.get(&path).await;
            let reply = reply.map_err(|_| no_node())?;
            match reply.status {
                200 => append(&mut payload, &reply.body, &seen)
                    .map_err(|error| Error::internal(format!("a node's payload: {error}")))?,
                404 => return Err(over()),
                _ => return Err(reply.error()),
            }
            seen.extend(part.shards.iter().map(|shard| u64::from(shard.0)));
        }
        Ok(payload)
    }
}

/// Adds the documents of shards that are not there yet.
fn append(payload: &mut Vec<u8>, part: &[u8], seen: &BTreeSet<u64>) -> serde_json::Result<()> {
    for document in serde_json::Deserializer::from_slice(part).into_iter::<Map<String, Value>>() {
        let mut document = document?;
        let shard = document.shift_remove(SHARD_FIELD);
        let shard = shard.and_then(|shard| shard.as_u64());
        if !shard.is_some_and(|shard| seen.contains(&shard)) {
            serde_json::to_writer(&mut *payload, &document)?;
            payload.push(b'\n');
        }
    }
    Ok(())
}

fn over(uid: TaskUid) -> Error {
    let message = format!(
        "Task `{uid}` does not contain any documents. Only `documentAdditionOrUpdate` tasks with the statuses `enqueued` or \
         `processing` contain documents"
    );
    Error::invalid(404, "task_file_not_found", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_once_and_without_their_shard() {
        let mut payload = Vec::new();
        let part = br#"{"id":1,"_miroir_shard":3}{"_miroir_shard":4,"id":2}
            {"id":3}"#;
        append(&mut payload, part, &BTreeSet::from([4])).unwrap();
        assert_eq!(payload, b"{\"id\":1}\n{\"id\":3}\n");
        assert!(append(&mut payload, b"[1]", &BTreeSet::new()).is_err());
    }
}
