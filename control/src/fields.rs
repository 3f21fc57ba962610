//! `POST /indexes/{uid}/fields` and `POST /indexes/{uid}/compact`.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use miroir_api::{binary_size, Error, SHARD_FIELD};
use miroir_router::displays;
use reqwest::Method;
use serde_json::{json, Value};

use crate::indexes::{check_uid, new_task};
use crate::nodes::{broadcast, NodeRequest};
use crate::plane::Plane;
use crate::settings::no_node;
use crate::tasks::{summary, Kind, Part, Role, Status};
use crate::types::TaskSummary;

impl Plane {
    /// The fields that any document has, with what the settings make of them: the union of the nodes' lists, by name,
    /// paged here. `None` where the nodes do not have the route.
    pub(crate) async fn fields(&self, uid: &str, mut body: Value) -> Result<Option<Value>, Error> {
        const DEFAULT_LIMIT: u64 = 20;
        check_uid(uid)?;
        let index = self.publisher.current().indexes.get(uid).cloned();
        let index = index.filter(|index| index.visible);
        let index = index.ok_or_else(|| Error::index_not_found(uid))?;
        // A value of another type is left for the nodes to refuse.
        let page = |name: &str, default: u64| match &body[name] {
            Value::Null => Some(default),
            value => value.as_u64(),
        };
        let window = page("offset", 0).zip(page("limit", DEFAULT_LIMIT));
        if let (Some(_), Value::Object(map)) = (window, &mut body) {
            map.insert("offset".to_owned(), json!(0));
            map.insert("limit".to_owned(), json!(u32::MAX));
        }
        // Nodes display more than clients see.
        let filter = body.get_mut("filter").and_then(Value::as_object_mut);
        let filter = filter.filter(|filter| filter.get("displayed").is_some_and(Value::is_boolean));
        let shown = filter.and_then(|filter| filter.remove("displayed")?.as_bool());
        let (offset, limit) = window.unwrap_or((0, DEFAULT_LIMIT));
        let request = NodeRequest::new(Method::POST, index.node_path("/fields"), Some(body));
        let nodes = self.nodes();
        let up = nodes.iter().filter(|client| client.node.is_up());
        let mut fields: BTreeMap<String, Value> = BTreeMap::new();
        let mut answered = false;
        for reply in join_all(up.map(|client| client.send(&request))).await {
            let reply = reply.map_err(|_| no_node())?;
            if reply.status == 404 && reply.body.is_empty() {
                return Ok(None);
            }
            if reply.status != 200 {
                let error = reply.error();
                let message = index.in_clients_words(error.message);
                return Err(Error { message, ..error });
            }
            answered = true;
            let listed = reply.json();
            for field in listed["results"].as_array().into_iter().flatten() {
                match field["name"].as_str() {
                    Some(name) if name != SHARD_FIELD => {
                        let mut field = field.clone();
                        let hidden = displays(&index.settings.also_displayed, name)
                            && !index.settings.displays(name);
                        if hidden {
                            field["displayed"]["enabled"] = json!(false);
                        }
                        let is_shown = field["displayed"]["enabled"].as_bool();
                        if shown.is_none() || shown == is_shown {
                            fields.insert(name.to_owned(), field);
                        }
                    }
                    _ => {}
                }
            }
        }
        if !answered {
            return Err(no_node());
        }
        let as_count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let total = fields.len();
        let results: Vec<Value> = fields
            .into_values()
            .skip(as_count(offset))
            .take(as_count(limit))
            .collect();
        Ok(Some(
            json!({ "results": results, "offset": offset, "limit": limit, "total": total }),
        ))
    }

    /// Compacts an index on every node: one task.
    pub(crate) async fn compact(self: &Arc<Self>, uid: &str) -> Result<TaskSummary, Error> {
        check_uid(uid)?;
        let hold = self.hold(uid).await;
        let kind = Kind::IndexCompaction;
        if hold.planned.is_none() {
            let error = Error::index_not_found(uid);
            return self.register_failed(&hold, kind, json!({}), error).await;
        }
        let path = format!("/indexes/{}/compact", hold.node_uid);
        let request = NodeRequest::new(Method::POST, path, None);
        let accepted = broadcast(
            &self.nodes(),
            &format!("Compacting index `{uid}`"),
            &request,
        )
        .await
        .map_err(|error| hold.in_clients_words(error))?;
        let task = new_task(&hold, kind, json!({}));
        let parts = self.parts(&accepted, Role::Counted);
        Ok(summary(&self.accept(task, parts, Vec::new()).await?))
    }
}

/// What a finished compaction shows: the sums of the nodes' sizes, in their own form (`1.25 MiB`).
pub(crate) fn compaction_details(parts: &[Part], status: Status) -> Value {
    let mut details = json!({});
    if status != Status::Succeeded {
        return details;
    }
    for field in ["preCompactionSize", "postCompactionSize"] {
        let sizes = parts
            .iter()
            .filter_map(|part| bytes_of(part.details.as_ref()?[field].as_str()?));
        details[field] = Value::from(binary_size(sizes.sum::<f64>() as u64));
    }
    details
}

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

fn bytes_of(text: &str) -> Option<f64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let binary = UNITS.iter().position(|known| *known == unit);
    let scale = match binary {
        Some(power) => 1024_f64.powi(i32::try_from(power).ok()?),
        None => {
            let power = ["B", "KB", "MB", "GB", "TB"]
                .iter()
                .position(|known| *known == unit)?;
            1000_f64.powi(i32::try_from(power).ok()?)
        }
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_any_unit() {
        assert_eq!(bytes_of("1.50 KiB"), Some(1536.0));
        assert_eq!(bytes_of("2 MB"), Some(2_000_000.0));
        assert_eq!(bytes_of("12"), None);
    }
}
