//! `/dumps`, `/snapshots`, `/export`, and `/_miroir/dumps/import`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{header, HeaderMap};
use axum::routing::post;
use axum::Router;
use bytes::Bytes;
use miroir_api::body::{missing_field, object, text, unknown_field};
use miroir_api::Error;

use super::{accepted, body, json_response, ok, Answer, Shared};
use crate::plane::Plane;

pub(super) fn router() -> Router<Arc<Plane>> {
    Router::new()
        .route("/dumps", post(create))
        .route("/snapshots", post(snapshot))
        .route("/export", post(export))
}

async fn create(State(plane): Shared) -> Answer {
    accepted(&plane.create_dump().await?)
}

async fn snapshot(State(plane): Shared) -> Answer {
    accepted(&plane.create_snapshots().await?)
}

/// 200, not 202, as Meilisearch says.
async fn export(State(plane): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let task = plane.export(&body::json(&headers, &bytes)?).await?;
    Ok(json_response(200, &task))
}

/// How the import is doing. Guarded with the other routes of `/_miroir/`.
pub(super) async fn import_state(State(plane): Shared) -> Answer {
    ok(&plane.dumps.imports.view())
}

/// Begins an import: of a file on this machine (`{"path": "..."}`), or of the body itself.
pub(super) async fn import(State(plane): Shared, headers: HeaderMap, bytes: Bytes) -> Answer {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"));
    let started = if is_json {
        let body = body::json(&headers, &bytes)?;
        let members = object(&body)?;
        if let Some(name) = members.keys().find(|name| *name != "path") {
            return Err(unknown_field(name, &["path"]).into());
        }
        let path = members
            .get("path")
            .ok_or_else(|| missing_field("path", "bad_request"))?;
        let path = PathBuf::from(text(path, ".path", "bad_request")?);
        if !path.is_file() {
            let message = format!(
                "There is no file {} on the machine that Miroir runs on; send the dump itself as the body, or copy it there.",
                path.display()
            );
            return Err(Error::bad_request(message).into());
        }
        plane.start_import(path, None)?
    } else if bytes.is_empty() {
        let message =
            "Send the dump as the body, or `{\"path\": \"/file/on/the/server\"}` as JSON.";
        return Err(Error::invalid(400, "missing_payload", message).into());
    } else {
        let mut file = plane.import_file()?;
        file.write_all(&bytes)
            .and_then(|()| file.flush())
            .map_err(|error| Error::internal(format!("the dump cannot be kept: {error}")))?;
        let path = file.into_temp_path();
        plane.start_import(path.to_path_buf(), Some(path))?
    };
    Ok(json_response(202, &started))
}
