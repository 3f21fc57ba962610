//! What is sent to a node.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;

/// A request to a node.
#[derive(Clone, Debug)]
pub struct OutRequest {
    pub method: &'static str,
    /// Path and query, percent-encoded.
    pub path: String,
    /// Sent as `Authorization: Bearer`.
    pub bearer: Option<Rc<str>>,
    pub content_type: Option<&'static str>,
    pub body: Body,
    /// Sending it twice does no harm: a stale connection is replaced and the request sent again.
    pub idempotent: bool,
    /// Further fields; ones that are not well formed are left out.
    pub headers: Vec<(&'static str, String)>,
}

impl OutRequest {
    /// A GET without a body.
    pub fn get(path: impl Into<String>) -> Self {
        OutRequest {
            method: "GET",
            path: path.into(),
            bearer: None,
            content_type: None,
            body: Body::default(),
            idempotent: true,
            headers: Vec::new(),
        }
    }

    /// A POST of JSON. `idempotent`: true for searches, false for writes.
    pub fn post_json(path: impl Into<String>, body: impl Into<Body>, idempotent: bool) -> Self {
        OutRequest {
            method: "POST",
            content_type: Some("application/json"),
            body: body.into(),
            idempotent,
            ..OutRequest::get(path)
        }
    }

    /// The same request with a key.
    #[must_use]
    pub fn bearer(mut self, key: Option<Rc<str>>) -> Self {
        self.bearer = key;
        self
    }
}

/// A request's body, sent under one Content-Length.
#[derive(Clone, Debug)]
pub enum Body {
    /// Pieces that are there.
    Ready(Vec<Bytes>),
    /// Made while it is sent.
    Made(Rc<dyn MadeBody>),
}

/// A body that need not be in memory as a whole.
pub trait MadeBody: fmt::Debug {
    /// Bytes of all pieces together.
    fn bytes(&self) -> usize;
    /// The pieces, from the beginning: each is asked for when those before it are sent.
    fn pieces(&self) -> Box<dyn Iterator<Item = Bytes> + '_>;
}

impl Default for Body {
    fn default() -> Self {
        Body::Ready(Vec::new())
    }
}

impl From<Vec<Bytes>> for Body {
    fn from(pieces: Vec<Bytes>) -> Self {
        Body::Ready(pieces)
    }
}

impl Body {
    pub fn bytes(&self) -> usize {
        match self {
            Body::Ready(pieces) => pieces.iter().map(Bytes::len).sum(),
            Body::Made(made) => made.bytes(),
        }
    }
}
