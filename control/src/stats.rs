//! Statistics of the whole cluster: each shard counted once, the shard field hidden.
//!
//! A node counts what it holds, not shard by shard. Where a set of nodes can be found that holds every shard exactly
//! once, their numbers add up. Otherwise documents are counted with the shard filter, which is exact, and what a node
//! cannot count so (sizes, fields) is the sum over all copies divided by their number, which is close.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use miroir_api::{Error, SHARD_FIELD};
use miroir_auth::Access;
use miroir_router::{read_plan, shard_filter, Index, ReadPlan};
use reqwest::Method;
use serde_json::{json, Map, Value};

use crate::clock::{rfc3339, Nanos};
use crate::indexes::check_uid;
use crate::nodes::NodeRequest;
use crate::plane::Plane;

/// What a client wants to know of sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SizesWanted {
    /// As text with a unit instead of a number of bytes.
    human: bool,
    /// Those of the databases inside an index, too.
    internal: bool,
}

impl SizesWanted {
    /// From a query string that a node has accepted.
    pub(crate) fn parse(query: &str) -> Self {
        let mut wanted = SizesWanted::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "sizeFormat" => wanted.human = value == "human",
                "showInternalDatabaseSizes" => wanted.internal = value == "true",
                _ => {}
            }
        }
        wanted
    }

    /// What nodes are asked: in bytes, which can be added.
    fn query(self) -> &'static str {
        match self.internal {
            true => "?showInternalDatabaseSizes=true",
            false => "",
        }
    }

    /// One node's or index's statistics with sizes as they are wanted.
    fn present(self, stats: &mut Value) {
        if !self.human {
            return;
        }
        for field in SIZES {
            if let Some(size) = stats.get_mut(field) {
                humanise(size);
            }
        }
        let databases = stats.get_mut(INTERNAL).and_then(Value::as_object_mut);
        databases
            .into_iter()
            .flat_map(|databases| databases.values_mut())
            .for_each(humanise);
    }
}

/// The fields that are sizes.
const SIZES: [&str; 5] = [
    "databaseSize",
    "usedDatabaseSize",
    "rawDocumentDbSize",
    "maxDocumentSize",
    "avgDocumentSize",
];
const INTERNAL: &str = "internalDatabaseSizes";

/// Bytes as Meilisearch writes them for people: `1.5 MiB`, two decimals at most.
fn humanise(size: &mut Value) {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let Some(bytes) = size.as_u64() else { return };
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    let hundredths = (bytes as f64 / 1024_f64.powi(unit as i32) * 100.0).round();
    *size = json!(format!("{} {}", hundredths / 100.0, UNITS[unit]));
}

impl Plane {
    /// `GET /indexes/{uid}/stats`.
    pub(crate) async fn index_stats(&self, uid: &str, wanted: SizesWanted) -> Result<Value, Error> {
        check_uid(uid)?;
        let index = self
            .visible(uid)
            .ok_or_else(|| Error::index_not_found(uid))?;
        let path = index.node_path("/stats") + wanted.query();
        let mut stats = self
            .merged_stats(&index, &self.ask_all(&path).await)
            .await?;
        wanted.present(&mut stats);
        Ok(stats)
    }

    /// `GET /stats`: sizes of all, details of the indexes that may be seen.
    pub(crate) async fn stats(&self, access: &Access, wanted: SizesWanted) -> Result<Value, Error> {
        let answers = self.ask_all(&format!("/stats{}", wanted.query())).await;
        let sum = |field: &str| -> u64 {
            answers
                .iter()
                .flatten()
                .filter_map(|answer| answer[field].as_u64())
                .sum()
        };
        let mut body = json!({ "databaseSize": sum("databaseSize") });
        if answers
            .iter()
            .flatten()
            .any(|answer| answer.get("usedDatabaseSize").is_some())
        {
            body["usedDatabaseSize"] = json!(sum("usedDatabaseSize"));
        }
        body["lastUpdate"] = json!(self.last_update(access).map(rfc3339));
        let mut indexes = Map::new();
        for uid in self.visible_uids(access) {
            let Some(index) = self.visible(&uid) else {
                continue;
            };
            let own: Vec<Option<Value>> = answers
                .iter()
                .map(|answer| {
                    answer
                        .as_ref()
                        .and_then(|answer| answer["indexes"].get(&index.node_uid).cloned())
                })
                .collect();
            let mut stats = self.merged_stats(&index, &own).await?;
            wanted.present(&mut stats);
            indexes.insert(uid, stats);
        }
        wanted.present(&mut body);
        body["indexes"] = Value::Object(indexes);
        Ok(body)
    }

    /// When one of the indexes that may be seen last changed; of others nothing is told.
    fn last_update(&self, access: &Access) -> Option<Nanos> {
        let catalogue = self.catalogue();
        let seen = catalogue.listed().into_iter();
        seen.filter(|entry| access.sees(&entry.name))
            .map(|entry| entry.updated_at)
            .max()
    }

    fn visible_uids(&self, access: &Access) -> Vec<String> {
        self.catalogue()
            .listed()
            .into_iter()
            .filter(|entry| access.sees(&entry.name))
            .map(|entry| entry.name.clone())
            .collect()
    }

    fn visible(&self, uid: &str) -> Option<std::sync::Arc<Index>> {
        self.publisher
            .current()
            .indexes
            .get(uid)
            .filter(|index| index.visible)
            .cloned()
    }

    /// Every node's answer, by position; `None` where there is none.
    async fn ask_all(&self, path: &str) -> Vec<Option<Value>> {
        let fleet = self.fleet();
        join_all(fleet.seats().iter().map(|client| async move {
            // A removed node is not up.
            if !client.node.is_up() {
                return None;
            }
            let reply = client.get(path).await.ok()?;
            (reply.status == 200).then(|| reply.json())
        }))
        .await
    }

    /// One index's numbers from every node's own.
    async fn merged_stats(&self, index: &Index, own: &[Option<Value>]) -> Result<Value, Error> {
        let answered = |position: usize| own.get(position).is_some_and(Option::is_some);
        let plan = read_plan(&index.layout, None, 0, |node| answered(usize::from(node.0)));
        if !plan.uncovered.is_empty() {
            let shards = plan
                .uncovered
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            let message = format!(
                "No node that is up holds shards {shards} of index `{}` in sync.",
                index.uid
            );
            return Err(Error::system(503, "miroir_shard_unavailable", message));
        }
        let busy = self.flights.lock().values().any(|flight| {
            !flight.ended && flight.task.node_uid.as_deref() == Some(&index.node_uid)
        });
        let whole = plan.targets.iter().all(|target| target.whole);
        let (chosen, divisor): (Vec<&Value>, u64) = if whole {
            let chosen = plan
                .targets
                .iter()
                .filter_map(|target| own.get(usize::from(target.node.0))?.as_ref());
            (chosen.collect(), 1)
        } else {
            (
                own.iter().flatten().collect(),
                index.layout.copies_per_shard().max(1) as u64,
            )
        };
        let mut body = add_up(&chosen, divisor);
        if !whole {
            body["numberOfDocuments"] = json!(self.count_documents(index, &plan).await?);
        }
        body["isIndexing"] = json!(busy);
        Ok(body)
    }

    /// Counts an index's documents with the shard filter.
    async fn count_documents(&self, index: &Index, plan: &ReadPlan) -> Result<u64, Error> {
        let counts = join_all(plan.targets.iter().map(|target| async move {
            let client = self.node(target.node)?;
            let body = json!({ "limit": 0, "filter": shard_filter(&target.shards) });
            let path = index.node_path("/documents/fetch");
            let reply = client
                .send(&NodeRequest::new(Method::POST, path, Some(body)))
                .await
                .ok()?;
            reply.json()["total"].as_u64()
        }))
        .await;
        counts.into_iter().sum::<Option<u64>>().ok_or_else(|| {
            let message = format!(
                "A node did not count its documents of index `{}`; see the log.",
                index.uid
            );
            Error::system(503, "miroir_shard_unavailable", message)
        })
    }
}

/// Adds up nodes' numbers: counts and sizes are sums over `divisor`, averages are weighted, maxima are maxima.
fn add_up(own: &[&Value], divisor: u64) -> Value {
    let sum = |field: &str| {
        own.iter()
            .filter_map(|stats| stats[field].as_u64())
            .sum::<u64>()
    };
    let has = |field: &str| {
        own.iter()
            .any(|stats| stats.get(field).is_some_and(|value| !value.is_null()))
    };
    let documents = sum("numberOfDocuments");
    let mut body = json!({ "numberOfDocuments": documents / divisor });
    for field in ["rawDocumentDbSize", "maxDocumentSize", "avgDocumentSize"] {
        if !has(field) {
            continue;
        }
        let numbers = own.iter().map(|stats| {
            (
                stats[field].as_u64().unwrap_or(0),
                stats["numberOfDocuments"].as_u64(),
            )
        });
        body[field] = json!(match field {
            "maxDocumentSize" => numbers.map(|(size, _)| size).max().unwrap_or(0),
            "avgDocumentSize" => {
                let weighted: u64 = numbers
                    .map(|(size, count)| size.saturating_mul(count.unwrap_or(0)))
                    .sum();
                weighted.checked_div(documents).unwrap_or(0)
            }
            _ => sum(field) / divisor,
        });
    }
    body["isIndexing"] = json!(false);
    if has(INTERNAL) {
        body[INTERNAL] = json!(sums_by_name(own, INTERNAL, |sum| sum / divisor));
    }
    for field in ["numberOfEmbeddings", "numberOfEmbeddedDocuments"] {
        if has(field) {
            body[field] = json!(sum(field) / divisor);
        }
    }
    body["fieldDistribution"] =
        json!(sums_by_name(own, "fieldDistribution", |sum| sum.div_ceil(divisor)));
    body
}

/// The sums of an object's numbers, name by name, without the shard field.
fn sums_by_name<'a>(
    own: &[&'a Value],
    field: &str,
    share: impl Fn(u64) -> u64,
) -> BTreeMap<&'a str, u64> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in own
        .iter()
        .filter_map(|stats| stats[field].as_object())
        .flatten()
    {
        if name != SHARD_FIELD {
            *sums.entry(name).or_default() += count.as_u64().unwrap_or(0);
        }
    }
    sums.into_iter()
        .map(|(name, sum)| (name, share(sum)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_add_up_and_the_shard_field_is_hidden() {
        let a = json!({"numberOfDocuments": 2, "rawDocumentDbSize": 10, "avgDocumentSize": 4, "numberOfEmbeddings": 0,
            "fieldDistribution": {"_miroir_shard": 2, "id": 2, "title": 1}});
        let b = json!({"numberOfDocuments": 6, "rawDocumentDbSize": 30, "avgDocumentSize": 8, "numberOfEmbeddings": 0,
            "fieldDistribution": {"_miroir_shard": 6, "id": 6}});
        let sum = add_up(&[&a, &b], 1);
        assert_eq!(sum["numberOfDocuments"], 8);
        assert_eq!(sum["avgDocumentSize"], 7);
        assert_eq!(sum["fieldDistribution"], json!({"id": 8, "title": 1}));
        assert!(sum.get("maxDocumentSize").is_none());
        assert_eq!(add_up(&[&b, &b], 2)["rawDocumentDbSize"], 30);
    }

    #[test]
    fn sizes_for_people() {
        let wanted = SizesWanted::parse("sizeFormat=human&showInternalDatabaseSizes=true");
        assert_eq!(wanted.query(), "?showInternalDatabaseSizes=true");
        let mut stats = json!({"numberOfDocuments": 5000, "databaseSize": 1_593_344, "avgDocumentSize": 0,
            "internalDatabaseSizes": {"main": 1023, "documents": 16_384}});
        wanted.present(&mut stats);
        let expected = json!({"numberOfDocuments": 5000, "databaseSize": "1.52 MiB", "avgDocumentSize": "0 B",
            "internalDatabaseSizes": {"main": "1023 B", "documents": "16 KiB"}});
        assert_eq!(stats, expected);
        assert_eq!(SizesWanted::parse("sizeFormat=raw"), SizesWanted::default());
    }
}
