//! `/indexes` and `/indexes/{uid}` and its statistics.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::routing::get;
use axum::Router;
use bytes::Bytes;
use miroir_api::Error;
use serde_json::Value;

use super::{accepted, body, json_response, ok, Answer, Shared};
use crate::indexes::check_uid;
use crate::plane::Plane;

/// Renaming an index came to Meilisearch with this version; before it, `uid` was an immutable field.
const RENAMING_SINCE: (u32, u32, u32) = (1, 18, 0);

pub(super) fn router() -> Router<Arc<Plane>> {
    Router::new()
        .route("/indexes", get(list).post(create))
        .route("/indexes/{uid}", get(show).patch(update).delete(delete))
        .route("/indexes/{uid}/stats", get(stats))
}

async fn list(State(plane): Shared, RawQuery(query): RawQuery) -> Answer {
    let (mut offset, mut limit) = (0, 20);
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "offset" => offset = body::count(&name, &value, "invalid_index_offset")?,
            "limit" => limit = body::count(&name, &value, "invalid_index_limit")?,
            _ => {
                let message =
                    format!("Unknown parameter `{name}`: expected one of `offset`, `limit`");
                return Err(Error::bad_request(message).into());
            }
        }
    }
    ok(&plane.list_indexes(offset, limit))
}

async fn create(State(plane): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let (uid, primary_key) = parse_creation(&body::json(&headers, &bytes)?)?;
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
    let primary_key = parse_update(&body, plane.lowest_version() >= RENAMING_SINCE)?;
    accepted(&plane.update_index(&uid, primary_key).await?)
}

async fn delete(State(plane): Shared, Path(uid): Path<String>) -> Answer {
    accepted(&plane.delete_index(&uid).await?)
}

async fn stats(State(plane): Shared, Path(uid): Path<String>) -> Answer {
    Ok(json_response(200, &plane.index_stats(&uid).await?))
}

fn parse_creation(body: &Value) -> Result<(String, Option<String>), Error> {
    let map = body
        .as_object()
        .ok_or_else(|| body::wrong_kind("", "an object", body, "bad_request"))?;
    let mut uid = None;
    let mut primary_key = None;
    for (name, value) in map {
        match name.as_str() {
            "uid" => {
                let text = value.as_str();
                let text = text.ok_or_else(|| {
                    body::wrong_kind(".uid", "a string", value, "invalid_index_uid")
                })?;
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

fn parse_update(body: &Value, renaming: bool) -> Result<Option<String>, Error> {
    let map = body
        .as_object()
        .ok_or_else(|| body::wrong_kind("", "an object", body, "bad_request"))?;
    let expected = if renaming {
        "`primaryKey`, `uid`"
    } else {
        "`primaryKey`"
    };
    let mut primary_key = None;
    for (name, value) in map {
        let immutable = match name.as_str() {
            "primaryKey" => {
                primary_key = parse_primary_key(value)?;
                continue;
            }
            "uid" if renaming => return Err(Error::not_implemented("renaming an index")),
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
    Ok(primary_key)
}

fn parse_primary_key(value: &Value) -> Result<Option<String>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(body::wrong_kind(
            ".primaryKey",
            "a string",
            value,
            "invalid_index_primary_key",
        )),
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
            parse_update(&json!({"uid": "b"}), true).unwrap_err().status,
            501
        );
        assert_eq!(
            parse_update(&json!({"createdAt": "x"}), true)
                .unwrap_err()
                .code,
            "immutable_index_created_at"
        );
        assert_eq!(
            parse_update(&json!({"primaryKey": "sku"}), true).unwrap(),
            Some("sku".to_owned())
        );
    }
}
