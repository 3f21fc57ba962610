//! A request as a handler sees it: complete, checked, decoded.

use bytes::Bytes;
use http::Method;

use crate::headers::Headers;

/// One request. Its body is whole: framing and content coding are gone.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// Path and query as sent, percent-encoding untouched.
    pub target: Bytes,
    pub headers: Headers,
    pub body: Bytes,
    /// The connection stays open after the answer.
    pub keep_alive: bool,
}

impl Request {
    /// The target up to the query, percent-encoded as it came.
    pub fn path(&self) -> &str {
        let target = self.target_str();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// What follows the first `?`; empty when there is none.
    pub fn query(&self) -> &str {
        self.target_str()
            .split_once('?')
            .map_or("", |(_, query)| query)
    }

    /// The same request for code that speaks the `http` crate. Fields that it refuses (none that our parser lets pass
    /// are known) are left out.
    pub fn into_http(self) -> Result<http::Request<Bytes>, http::Error> {
        let mut request = http::Request::builder()
            .method(self.method)
            .uri(http::Uri::from_maybe_shared(self.target)?);
        if let Some(headers) = request.headers_mut() {
            for (name, value) in self.headers.iter() {
                let name = http::HeaderName::from_bytes(name.as_bytes());
                if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(value)) {
                    headers.append(name, value);
                }
            }
        }
        request.body(self.body)
    }

    fn target_str(&self) -> &str {
        // The head parser lets only UTF-8 targets pass.
        std::str::from_utf8(&self.target).unwrap_or_default()
    }
}
