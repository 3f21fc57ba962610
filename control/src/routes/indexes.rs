//! `/indexes` and `/indexes/{uid}` and its statistics.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::Router;
use bytes::Bytes;
use miroir_api::body::{paging, wrong_kind};
use miroir_api::Error;
use serde_json::Value;

use super::{accepted, body, json_response, ok, Answer, Shared, Who};
use crate::indexes::check_uid;
use crate::plane::Plane;
use crate::renames::Swap;

/// Renaming an index came to Meilisearch with this version; before it, `uid` was an immutable field.
const RENAMING_SINCE: (u32, u32, u32) = (1, 18, 0);

/// Compacting an index came with this version.
const COMPACTING_SINCE: (u32, u32, u32) = (1, 23, 0);

pub(super) fn router() -> Router<Arc<Plane>> {
    Router::new()
        .route("/indexes", get(list).post(create))
        .route("/indexes/{uid}", get(show).patch(update).delete(delete))
        .route("/indexes/{uid}/stats", get(stats))
        .route("/indexes/{uid}/fields", post(fields))
        .route("/indexes/{uid}/compact", post(compact))
        .route("/swap-indexes", post(swap))
}

async fn list(State(plane): Shared, access: Who, RawQuery(query): RawQuery) -> Answer {
    let codes = ("invalid_index_offset", "invalid_index_limit");
    let (offset, limit) = paging(query.as_deref(), codes)?;
    ok(&plane.list_indexes(&access, offset, limit))
}

async fn create(State(plane): Shared, access: Who, headers: HeaderMap, bytes: Bytes) -> Answer {
    let (uid, primary_key) = parse_creation(&body::json(&headers, &bytes)?)?;
    access.check_creation(&uid)?;
    accepted(&plane.create_index(&uid, primary_key).await?)
}

async fn show(State(plane): Shared, Path(uid): Path<String>) -> Answer {
    ok(&plane.show_index(&uid)?)
}

async fn update(
    State(plane): Shared,
    Path(uid): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    check_uid(&uid)?;
    let body = body::json(&headers, &bytes)?;
    let (primary_key, new_uid) = parse_update(&body, plane.has_routes_since(RENAMING_SINCE))?;
    accepted(&plane.update_index(&uid, primary_key, new_uid).await?)
}

async fn delete(State(plane): Shared, Path(uid): Path<String>) -> Answer {
    accepted(&plane.delete_index(&uid).await?)
}

async fn stats(State(plane): Shared, Path(uid): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let wanted = super::sizes_wanted(&plane, query).await?;
    Ok(json_response(200, &plane.index_stats(&uid, wanted).await?))
}

async fn fields(
    State(plane): Shared,
    Path(uid): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let body = body::json(&headers, &bytes)?;
    match plane.fields(&uid, body).await? {
        Some(fields) => ok(&fields),
        None => Ok(StatusCode::NOT_FOUND.into_response()),
    }
}

async fn compact(State(plane): Shared, Path(uid): Path<String>) -> Answer {
    if !plane.has_routes_since(COMPACTING_SINCE) {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    accepted(&plane.compact(&uid).await?)
}

fn parse_creation(body: &Value) -> Result<(String, Option<String>), Error> {
    let map = body
        .as_object()
        .ok_or_else(|| wrong_kind("", "an object", body, "bad_request"))?;
    let mut uid = None;
    let mut primary_key = None;
    for (name, value) in map {
        match name.as_str() {
            "uid" => {
                let text = value.as_str();
                let text =
                    text.ok_or_else(|| wrong_kind(".uid", "a string", value, "invalid_index_uid"))?;
                check_uid(text).map_err(|mut error| {
                    error.message = format!("Invalid value at `.uid`: {}", error.message);
                    error
                })?;
                uid = Some(text.to_owned());
            }
            "primaryKey" => primary_key = parse_primary_key(value)?,
            _ => {
                let message =
                    format!("Unknown field `{name}`: expected one of `uid`, `primaryKey`");
                return Err(Error::bad_request(message));
            }
        }
    }
    let uid = uid.ok_or_else(|| Error::invalid(400, "missing_index_uid", "Missing field `uid`"))?;
    Ok((uid, primary_key))
}

/// The primary key and the new uid.
type Update = (Option<String>, Option<String>);

fn parse_update(body: &Value, renaming: bool) -> Result<Update, Error> {
    let map = body
        .as_object()
        .ok_or_else(|| wrong_kind("", "an object", body, "bad_request"))?;
    let expected = if renaming {
        "`primaryKey`, `uid`"
    } else {
        "`primaryKey`"
    };
    let (mut primary_key, mut uid) = (None, None);
    for (name, value) in map {
        let immutable = match name.as_str() {
            "primaryKey" => {
                primary_key = parse_primary_key(value)?;
                continue;
            }
            "uid" if renaming => {
                uid = optional_text(".uid", value, "invalid_index_uid")?;
                continue;
            }
            "uid" => "immutable_index_uid",
            "createdAt" => "immutable_index_created_at",
            "updatedAt" => "immutable_index_updated_at",
            _ => {
                let message = format!("Unknown field `{name}`: expected one of {expected}");
                return Err(Error::bad_request(message));
            }
        };
        let message = format!("Immutable field `{name}`: expected one of {expected}");
        return Err(Error::invalid(400, immutable, message));
    }
    Ok((primary_key, uid))
}

fn parse_primary_key(value: &Value) -> Result<Option<String>, Error> {
    optional_text(".primaryKey", value, "invalid_index_primary_key")
}

fn optional_text(path: &str, value: &Value, code: &'static str) -> Result<Option<String>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(wrong_kind(path, "a string", value, code)),
    }
}

async fn swap(State(plane): Shared, access: Who, headers: HeaderMap, bytes: Bytes) -> Answer {
    let renaming = plane.has_routes_since(RENAMING_SINCE);
    let swaps = parse_swaps(&body::json(&headers, &bytes)?, renaming)?;
    for uid in swaps.iter().flat_map(|swap| [&swap.left, &swap.right]) {
        access.check_named(uid)?;
    }
    accepted(&plane.swap_indexes(swaps, renaming).await?)
}

fn parse_swaps(body: &Value, renaming: bool) -> Result<Vec<Swap>, Error> {
    let list = body
        .as_array()
        .ok_or_else(|| wrong_kind("", "an array", body, "bad_request"))?;
    let swap = |(position, item): (usize, &Value)| parse_swap(position, item, renaming);
    list.iter().enumerate().map(swap).collect()
}

fn parse_swap(position: usize, item: &Value, renaming: bool) -> Result<Swap, Error> {
    const CODE: &str = "invalid_swap_indexes";
    let at = format!("[{position}]");
    let map = item
        .as_object()
        .ok_or_else(|| wrong_kind(&at, "an object", item, "bad_request"))?;
    let mut indexes = None;
    let mut rename = false;
    for (name, value) in map {
        match name.as_str() {
            "indexes" => {
                let list = value
                    .as_array()
                    .ok_or_else(|| wrong_kind(&format!("{at}.indexes"), "an array", value, CODE))?;
                let uid = |(place, item): (usize, &Value)| {
                    let at = format!("{at}.indexes[{place}]");
                    let text = item
                        .as_str()
                        .ok_or_else(|| wrong_kind(&at, "a string", item, CODE))?;
                    check_uid(text).map_err(|error| {
                        let message = format!("Invalid value at `{at}`: {}", error.message);
                        Error::invalid(400, CODE, message)
                    })?;
                    Ok(text.to_owned())
                };
                indexes = Some(
                    list.iter()
                        .enumerate()
                        .map(uid)
                        .collect::<Result<Vec<String>, Error>>()?,
                );
            }
            "rename" if renaming => {
                rename = value.as_bool().ok_or_else(|| {
                    let at = format!("{at}.rename");
                    wrong_kind(&at, "a boolean", value, "invalid_swap_rename")
                })?;
            }
            _ => {
                let known = if renaming {
                    "`indexes`, `rename`"
                } else {
                    "`indexes`"
                };
                let message =
                    format!("Unknown field `{name}` inside `{at}`: expected one of {known}");
                return Err(Error::bad_request(message));
            }
        }
    }
    let indexes = indexes.ok_or_else(|| {
        let message = format!("Missing field `indexes` inside `{at}`");
        Error::invalid(400, "missing_swap_indexes", message)
    })?;
    match <[String; 2]>::try_from(indexes) {
        Ok([left, right]) => Ok(Swap {
            left,
            right,
            rename,
        }),
        Err(indexes) => {
            let listed: Vec<String> = indexes.iter().map(|uid| format!("\"{uid}\"")).collect();
            let message = format!(
                "Two indexes must be given for each swap. The list `[{}]` contains {} indexes.",
                listed.join(", "),
                indexes.len()
            );
            Err(Error::invalid(400, CODE, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn creations_are_parsed_as_meilisearch_does() {
        let good = json!({"uid": "movies", "primaryKey": "id"});
        assert_eq!(
            parse_creation(&good).unwrap(),
            ("movies".to_owned(), Some("id".to_owned()))
        );
        for (bad, code) in [
            (json!({}), "missing_index_uid"),
            (json!({"uid": true}), "invalid_index_uid"),
            (json!({"uid": "the best doggo"}), "invalid_index_uid"),
            (
                json!({"uid": "a", "primaryKey": ["doggo"]}),
                "invalid_index_primary_key",
            ),
            (json!({"uid": "a", "doggo": 1}), "bad_request"),
            (json!(null), "bad_request"),
        ] {
            assert_eq!(parse_creation(&bad).unwrap_err().code, code, "{bad}");
        }
    }

    #[test]
    fn updates_depend_on_the_nodes_version() {
        assert_eq!(
            parse_update(&json!({"uid": "b"}), false).unwrap_err().code,
            "immutable_index_uid"
        );
        assert_eq!(
            parse_update(&json!({"uid": "b"}), true).unwrap(),
            (None, Some("b".to_owned()))
        );
        assert_eq!(
            parse_update(&json!({"createdAt": "x"}), true)
                .unwrap_err()
                .code,
            "immutable_index_created_at"
        );
        assert_eq!(
            parse_update(&json!({"primaryKey": "sku"}), true).unwrap(),
            (Some("sku".to_owned()), None)
        );
    }

    #[test]
    fn swaps_are_parsed_as_meilisearch_does() {
        let good = json!([{"indexes": ["a", "b"]}, {"indexes": ["c", "d"], "rename": true}]);
        let swaps = parse_swaps(&good, true).unwrap();
        assert_eq!(
            (
                &*swaps[1].left,
                &*swaps[1].right,
                swaps[0].rename,
                swaps[1].rename
            ),
            ("c", "d", false, true)
        );
        for (bad, message) in [
            (json!("x"), "Invalid value type: expected an array, but found a string: `\"x\"`"),
            (json!(["x"]), "Invalid value type at `[0]`: expected an object, but found a string: `\"x\"`"),
            (json!([{"indexes": "x"}]), "Invalid value type at `[0].indexes`: expected an array, but found a string: `\"x\"`"),
            (json!([{"indexes": ["x"]}]), "Two indexes must be given for each swap. The list `[\"x\"]` contains 1 indexes."),
            (json!([{"indexes": ["a", "b"], "rename": 1}]), "Invalid value type at `[0].rename`: expected a boolean, but found a positive integer: `1`"),
            (json!([{}]), "Missing field `indexes` inside `[0]`"),
        ] {
            assert_eq!(parse_swaps(&bad, true).unwrap_err().message, message);
        }
        assert_eq!(parse_swaps(&good, false).unwrap_err().code, "bad_request");
    }
}
