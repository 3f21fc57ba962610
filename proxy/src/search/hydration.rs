//! Foreign keys: where a hit names a document of another index, that document stands in its place.
//!
//! The documents may be anywhere, so nodes are asked in the form in which they leave the keys as they are (`reveal`), and the
//! places are filled here once the hits are merged (Meilisearch `search/hydration.rs`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use miroir_api::Error;
use miroir_merge::{id_text, Merged};
use miroir_router::{ForeignKey, RoutingTable};
use serde_json::value::{to_raw_value, RawValue};
use serde_json::Value;

use super::raw::Object;
use crate::core::{visible_index, App};
use crate::documents::read::by_ids;

/// Documents of other indexes, by index and id.
type Found = HashMap<(String, String), Box<RawValue>>;

/// Fills in the documents that the hits of an answer name; `keys` are those of a hit's index. Errors: a foreign index that
/// is named and is not there, shards that do not answer.
pub async fn hydrate<'k>(
    app: &App,
    table: &RoutingTable,
    merged: Merged,
    keys: impl Fn(&Object) -> &'k [ForeignKey],
) -> Result<Merged, Error> {
    let unreadable = |error: serde_json::Error| Error::internal(format!("hits: {error}"));
    let mut answer: Object = serde_json::from_slice(&merged.to_bytes()).map_err(unreadable)?;
    let mut hits: Vec<Object> = answer.read("hits").unwrap_or_default();
    let mut named: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for hit in &mut hits {
        for key in keys(hit) {
            let ids = named.entry(&key.index_uid).or_default();
            fill(hit, &key.field, &mut |leaf| {
                ids.extend(id(leaf));
                None
            });
        }
    }
    let mut found = Found::new();
    for (uid, ids) in named.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        let index = visible_index(table, uid)?;
        for (id, document) in by_ids(app, table, index, ids).await? {
            let document = to_raw_value(&document).map_err(unreadable)?;
            found.insert((uid.to_owned(), id), document);
        }
    }
    for hit in &mut hits {
        for key in keys(hit) {
            let mut put = |leaf: &RawValue| document(leaf, key, &found);
            fill(hit, &key.field, &mut put);
            if let Some(mut formatted) = hit.read::<Object>("_formatted") {
                fill(&mut formatted, &key.field, &mut put);
                hit.set("_formatted", &formatted);
            }
        }
    }
    answer.set("hits", &hits);
    Ok(Merged::from(answer.to_bytes()))
}

/// What stands in the place of a key. A document that is not there is an empty one.
fn document(leaf: &RawValue, key: &ForeignKey, found: &Found) -> Option<Box<RawValue>> {
    let document = found.get(&(key.index_uid.clone(), id(leaf)?));
    document
        .cloned()
        .or_else(|| to_raw_value(&Object::default()).ok())
}

fn id(leaf: &RawValue) -> Option<String> {
    let leaf: Value = serde_json::from_str(leaf.get()).ok()?;
    id_text(&leaf).filter(|_| leaf.is_string() || leaf.is_number())
}

type Put<'p> = dyn FnMut(&RawValue) -> Option<Box<RawValue>> + 'p;

/// Offers every value that is no list and no object, at a path or below it, to `put`, and takes what it returns instead.
fn fill(object: &mut Object, path: &str, put: &mut Put) {
    for (name, value) in &mut object.0 {
        let rest = match path.strip_prefix(name.as_str()) {
            _ if path.is_empty() => "",
            Some("") => "",
            Some(rest) => match rest.strip_prefix('.') {
                Some(rest) => rest,
                None => continue,
            },
            None => continue,
        };
        if let Some(filled) = filled(value, rest, put) {
            *value = filled;
        }
    }
}

/// The same for a value; `None`: it stays as it is.
fn filled(value: &RawValue, path: &str, put: &mut Put) -> Option<Box<RawValue>> {
    match value.get().as_bytes().first() {
        Some(b'[') => {
            let mut items: Vec<Box<RawValue>> = serde_json::from_str(value.get()).ok()?;
            for item in &mut items {
                if let Some(filled) = filled(item, path, put) {
                    *item = filled;
                }
            }
            to_raw_value(&items).ok()
        }
        Some(b'{') => {
            let mut object: Object = serde_json::from_str(value.get()).ok()?;
            fill(&mut object, path, put);
            to_raw_value(&object).ok()
        }
        _ if path.is_empty() => put(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_filled_wherever_a_path_leads() {
        let key = ForeignKey {
            index_uid: "authors".into(),
            field: "rel.ated".into(),
        };
        let a = to_raw_value(&serde_json::json!({"name": "A"})).unwrap();
        let found = Found::from([(("authors".to_owned(), "1".to_owned()), a)]);
        let hit = r#"{"ated":1,"rel":{"ated":[1,"1",2,null,1.50,true,{"x":"1"}],"other":0.98484848484848480},"relic":1}"#;
        let mut hit: Object = serde_json::from_str(hit).unwrap();
        fill(&mut hit, &key.field, &mut |leaf| {
            document(leaf, &key, &found)
        });
        assert_eq!(
            String::from_utf8(hit.to_bytes()).unwrap(),
            r#"{"ated":1,"rel":{"ated":[{"name":"A"},{"name":"A"},{},null,1.50,true,{"x":{"name":"A"}}],"other":0.98484848484848480},"relic":1}"#
        );
    }
}
