use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Who is to blame, as Meilisearch's `type` field says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    InvalidRequest,
    Internal,
    Auth,
    System,
}

/// An error as a client sees it: an HTTP status and Meilisearch's error object.
///
/// The same object, without the status, stands in a failed task's `error` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// Meilisearch's snake_case code, or one of ours beginning with `miroir_`.
    pub code: Cow<'static, str>,
    pub kind: ErrorType,
    /// A sentence for a person; for our own codes it names the next step.
    pub message: String,
}

/// The object as it stands on the wire.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    message: Cow<'a, str>,
    code: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: ErrorType,
    link: Cow<'a, str>,
}

impl Error {
    pub fn new(
        status: u16,
        code: &'static str,
        kind: ErrorType,
        message: impl Into<String>,
    ) -> Self {
        Error {
            status,
            code: Cow::Borrowed(code),
            kind,
            message: message.into(),
        }
    }

    /// The client sent something wrong (type `invalid_request`).
    pub fn invalid(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(status, code, ErrorType::InvalidRequest, message)
    }

    /// The key is missing or not good enough (type `auth`).
    pub fn auth(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(status, code, ErrorType::Auth, message)
    }

    /// Our fault (type `internal`).
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "internal", ErrorType::Internal, message)
    }

    /// The fleet's state forbids it just now (type `system`).
    pub fn system(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(status, code, ErrorType::System, message)
    }

    /// 400 `bad_request`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::invalid(400, "bad_request", message)
    }

    /// 404 `index_not_found`.
    pub fn index_not_found(uid: &str) -> Self {
        Self::invalid(404, "index_not_found", format!("Index `{uid}` not found."))
    }

    /// 409 `index_already_exists`.
    pub fn index_already_exists(uid: &str) -> Self {
        let message = format!("Index `{uid}` already exists.");
        Self::invalid(409, "index_already_exists", message)
    }

    /// 404 `document_not_found`.
    pub fn document_not_found(id: &str) -> Self {
        Self::invalid(
            404,
            "document_not_found",
            format!("Document `{id}` not found."),
        )
    }

    /// 404 `task_not_found`.
    pub fn task_not_found(uid: impl fmt::Display) -> Self {
        Self::invalid(404, "task_not_found", format!("Task `{uid}` not found."))
    }

    /// 501 `miroir_not_implemented`: what is not there yet says so, and never answers wrongly.
    pub fn not_implemented(what: impl fmt::Display) -> Self {
        Self::new(
            501,
            "miroir_not_implemented",
            ErrorType::InvalidRequest,
            format!("Miroir does not do this yet: {what}. See \"Not there yet\" in the README."),
        )
    }

    /// Meilisearch's page about the code; our own codes have an anchor in this repository's `docs/errors.md`.
    pub fn link(&self) -> String {
        if self.code.starts_with("miroir_") {
            format!("docs/errors.md#{}", self.code)
        } else {
            format!("https://docs.meilisearch.com/errors#{}", self.code)
        }
    }

    /// The JSON error object as a value, for a task's `error` field.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::json!({
            "message": self.message,
            "code": self.code,
            "type": self.kind,
            "link": self.link(),
        })
    }

    /// The JSON error object as a response body.
    pub fn to_body(&self) -> Vec<u8> {
        let wire = Wire {
            message: Cow::Borrowed(&self.message),
            code: Cow::Borrowed(&self.code),
            kind: self.kind,
            link: Cow::Owned(self.link()),
        };
        // Strings and unit variants always serialise.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Reads an error object that a node sent; `None` when the body is not one.
    pub fn from_body(status: u16, body: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(body).ok()?;
        Some(Error {
            status,
            code: Cow::Owned(wire.code.into_owned()),
            kind: wire.kind,
            message: wire.message.into_owned(),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form_is_meilisearchs() {
        let body = Error::index_not_found("movies").to_body();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"message":"Index `movies` not found.","code":"index_not_found","type":"invalid_request","link":"https://docs.meilisearch.com/errors#index_not_found"}"#
        );
        assert_eq!(
            Error::from_body(404, &body),
            Some(Error::index_not_found("movies"))
        );
    }
}
