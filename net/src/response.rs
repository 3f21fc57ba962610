//! An answer: a status, a few headers, and a body in as many pieces as it was found in.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

/// A body and how it is framed.
#[derive(Clone, Debug, Default)]
pub enum Body {
    #[default]
    Empty,
    /// Pieces that are written one after the other, without being copied together, under one Content-Length.
    Segments(Vec<Bytes>),
    /// Each piece is a chunk. For HTTP/1.0 clients the end of the connection ends the body.
    Chunked(Vec<Bytes>),
}

/// Any page may read any answer, as Meilisearch has it (its actix-cors, with the wildcard sent); and what an answer depends
/// on beside its URL.
const ON_EVERY_ANSWER: &[u8] = b"access-control-allow-origin: *\r\n\
vary: accept-encoding, Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n";

/// One answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Further fields; Content-Type, Content-Length, Transfer-Encoding and Connection are written by the codec.
    pub headers: SmallVec<[(Cow<'static, str>, Cow<'static, str>); 2]>,
    /// Not sent when empty.
    pub content_type: Cow<'static, str>,
    pub body: Body,
    /// Close the connection after this answer.
    pub close: bool,
}

impl Response {
    const JSON: Cow<'static, str> = Cow::Borrowed("application/json");

    /// A JSON body in one piece.
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::segments(status, vec![body.into()])
    }

    /// A JSON body in several pieces.
    pub fn segments(status: u16, segments: Vec<Bytes>) -> Self {
        Self::new(status, Self::JSON, Body::Segments(segments))
    }

    /// A JSON body sent in the chunked coding, one chunk a piece.
    pub fn chunked(status: u16, chunks: Vec<Bytes>) -> Self {
        Self::new(status, Self::JSON, Body::Chunked(chunks))
    }

    /// Meilisearch's error object; with every 503 it says when to come again.
    pub fn error(error: &miroir_api::Error) -> Self {
        let response = Self::json(error.status, error.to_body());
        match error.status {
            503 => response.header("retry-after", "10"),
            _ => response,
        }
    }

    /// No body, as 202 or 204 have none.
    pub fn empty(status: u16) -> Self {
        Self::new(status, Cow::Borrowed(""), Body::Empty)
    }

    /// A text body; `content_type` as in `text/plain; charset=utf-8`.
    pub fn text(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(
            status,
            Cow::Borrowed(content_type),
            Body::Segments(vec![body.into()]),
        )
    }

    /// Adds a field. One that is not well formed is left out when the head is written, so that no value can split it.
    #[must_use]
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// An answer of code that speaks the `http` crate.
    pub fn from_http(response: http::Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        let mut ours = Self::new(
            parts.status.as_u16(),
            Cow::Borrowed(""),
            Body::Segments(vec![body]),
        );
        if ours.status == 503 {
            ours = ours.header("retry-after", "10");
        }
        for (name, value) in &parts.headers {
            let Ok(value) = value.to_str() else { continue };
            match name.as_str() {
                "content-type" => ours.content_type = Cow::Owned(value.to_owned()),
                "content-length" | "transfer-encoding" | "connection" => {}
                name => ours
                    .headers
                    .push((Cow::Owned(name.to_owned()), Cow::Owned(value.to_owned()))),
            }
        }
        ours
    }

    fn new(status: u16, content_type: Cow<'static, str>, body: Body) -> Self {
        Response {
            status,
            headers: SmallVec::new(),
            content_type,
            body,
            close: false,
        }
    }

    /// The bytes to write, head first. `to_head`: the request was a HEAD, so the body stays here.
    pub fn into_wire(self, to_head: bool, http_10: bool, keep_alive: bool) -> Vec<Bytes> {
        let bodiless = matches!(self.status, 100..=199 | 204 | 304);
        let mut head = BytesMut::with_capacity(256);
        head.put_slice(b"HTTP/1.1 ");
        put_number(&mut head, u64::from(self.status));
        head.put_u8(b' ');
        head.put_slice(reason(self.status).as_bytes());
        head.put_slice(b"\r\n");
        if !self.content_type.is_empty() {
            put_field(&mut head, "content-type", &self.content_type);
        }
        head.put_slice(ON_EVERY_ANSWER);
        for (name, value) in &self.headers {
            put_field(&mut head, name, value);
        }
        let segments = match self.body {
            _ if bodiless => Vec::new(),
            Body::Empty => {
                head.put_slice(b"content-length: 0\r\n");
                Vec::new()
            }
            Body::Segments(segments) => {
                head.put_slice(b"content-length: ");
                put_number(
                    &mut head,
                    segments.iter().map(|segment| segment.len() as u64).sum(),
                );
                head.put_slice(b"\r\n");
                segments
            }
            // Without a length and without chunks only the close can end it.
            Body::Chunked(chunks) if http_10 => chunks,
            Body::Chunked(chunks) => {
                head.put_slice(b"transfer-encoding: chunked\r\n");
                frame_chunks(chunks)
            }
        };
        match (keep_alive, http_10) {
            (false, _) => head.put_slice(b"connection: close\r\n"),
            (true, true) => head.put_slice(b"connection: keep-alive\r\n"),
            (true, false) => {}
        }
        head.put_slice(b"\r\n");
        let mut wire = Vec::with_capacity(1 + segments.len());
        wire.push(head.freeze());
        if !to_head {
            wire.extend(segments.into_iter().filter(|segment| !segment.is_empty()));
        }
        wire
    }

    /// True when only the end of the connection can end the body.
    pub(crate) fn ends_by_close(&self, http_10: bool) -> bool {
        http_10 && matches!(self.body, Body::Chunked(_))
    }
}

fn frame_chunks(chunks: Vec<Bytes>) -> Vec<Bytes> {
    let mut framed = Vec::with_capacity(chunks.len() * 3 + 1);
    for chunk in chunks {
        // An empty chunk would end the body.
        if !chunk.is_empty() {
            framed.push(Bytes::from(format!("{:x}\r\n", chunk.len())));
            framed.push(chunk);
            framed.push(Bytes::from_static(b"\r\n"));
        }
    }
    framed.push(Bytes::from_static(b"0\r\n\r\n"));
    framed
}

fn put_field(head: &mut BytesMut, name: &str, value: &str) {
    let well_formed = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && value
            .bytes()
            .all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    if !well_formed {
        tracing::error!(
            name,
            "a header that is not well formed was left out of an answer"
        );
        return;
    }
    head.put_slice(name.as_bytes());
    head.put_slice(b": ");
    head.put_slice(value.as_bytes());
    head.put_slice(b"\r\n");
}

/// Decimal digits, without the machinery of `fmt`.
pub(crate) fn put_number(head: &mut BytesMut, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    head.put_slice(&digits[at..]);
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Unknown")
}
