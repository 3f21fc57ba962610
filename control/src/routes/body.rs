//! Reading request bodies and queries with Meilisearch's error texts.

use axum::http::{header, HeaderMap};
use bytes::Bytes;
use miroir_api::Error;
use serde_json::Value;

/// The body as JSON. Checks what Meilisearch's extractor checks: content type, presence, syntax.
pub(crate) fn json(headers: &HeaderMap, body: &Bytes) -> Result<Value, Error> {
    const ACCEPTED: &str = "Accepted values for the Content-Type header are: `application/json`";
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        let message = format!("A Content-Type header is missing. {ACCEPTED}");
        return Err(Error::invalid(415, "missing_content_type", message));
    };
    let content_type = content_type.to_str().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let message = format!("The Content-Type `{essence}` is invalid. {ACCEPTED}");
        return Err(Error::invalid(415, "invalid_content_type", message));
    }
    if body.is_empty() {
        return Err(Error::invalid(
            400,
            "missing_payload",
            "A json payload is missing.",
        ));
    }
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("The json payload provided is malformed. `{error}`.");
        Error::invalid(400, "malformed_payload", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())])
    }

    #[test]
    fn bodies_are_refused_as_meilisearch_does() {
        let code = |headers: &HeaderMap, body: &'static str| {
            json(headers, &Bytes::from(body)).unwrap_err().code
        };
        assert_eq!(code(&HeaderMap::new(), "{}"), "missing_content_type");
        assert_eq!(code(&headers("text/plain"), "{}"), "invalid_content_type");
        assert_eq!(code(&headers("application/json"), ""), "missing_payload");
        assert_eq!(code(&headers("application/json"), "{"), "malformed_payload");
        assert_eq!(
            json(
                &headers("application/json; charset=utf-8"),
                &Bytes::from("1")
            )
            .unwrap(),
            1
        );
    }
}
