//! Reading one request off a connection, within every limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use miroir_api::Error;
use miroir_rt::{yield_now, Instant, Shutdown};
use monoio::io::{AsyncReadRent, AsyncWriteRent};

use super::{Handler, Limits};
use crate::chunked::{ChunkError, ChunkedDecoder};
use crate::encoding::{Encoding, Inflate, InflateError};
use crate::head::{parse_request_head, Framing, HeadError, HeadScanner, RequestHead};
use crate::request::Request;
use crate::response::Response;
use crate::wire::{Stop, Wire, READ_BYTES};

/// Bytes that one read throws away when a connection ends.
pub(super) const LINGER_READ_BYTES: usize = 64 * 1024;

/// A request and what its answer has to know of it.
pub(super) struct Incoming {
    pub request: Request,
    pub http_10: bool,
}

/// A last answer before the connection is closed.
pub(super) struct Refusal {
    pub response: Response,
    /// The request was a HEAD: its answer has no body.
    pub to_head: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal {
            response: Response::error(&error),
            to_head: false,
        }
    }
}

/// The next request; `None` when the connection is over and nobody waits for an answer.
pub(super) async fn next_request<S: AsyncReadRent + AsyncWriteRent, H: Handler>(
    wire: &mut Wire<S>,
    handler: &H,
    limits: &Limits,
    shutdown: &Shutdown,
) -> Result<Option<Incoming>, Refusal> {
    let Some(head) = read_head(wire, limits, shutdown).await? else {
        return Ok(None);
    };
    let head = parse_request_head(&head).map_err(refuse_head)?;
    let to_head = head.method == Method::HEAD;
    let http_10 = head.http_10;
    if !has_come(&wire.buffer, head.framing) {
        if let Some(response) = handler.refuse(&head) {
            return Err(Refusal { response, to_head });
        }
    }
    match read_body(wire, &head, limits).await {
        Ok(Some(body)) => {
            let RequestHead {
                method,
                target,
                headers,
                keep_alive,
                ..
            } = head;
            Ok(Some(Incoming {
                request: Request {
                    method,
                    target,
                    headers,
                    body,
                    keep_alive,
                },
                http_10,
            }))
        }
        Ok(None) => Ok(None),
        Err(error) => Err(Refusal {
            response: Response::error(&error),
            to_head,
        }),
    }
}

/// The bytes of one whole head.
async fn read_head<S: AsyncReadRent + AsyncWriteRent>(
    wire: &mut Wire<S>,
    limits: &Limits,
    shutdown: &Shutdown,
) -> Result<Option<Bytes>, Refusal> {
    let mut scanner = HeadScanner::default();
    let mut until = None;
    loop {
        if let Some(end) = scanner
            .find(&wire.buffer, limits.head_bytes_max)
            .map_err(refuse_head)?
        {
            return Ok(Some(wire.buffer.split_to(end).freeze()));
        }
        // Between requests a connection is idle and may be closed without a word; from the first byte on, a client is
        // owed an answer and is on the clock.
        let idle = wire.buffer.is_empty();
        if idle && shutdown.is_shutting_down() {
            return Ok(None);
        }
        let until = if idle {
            Instant::now() + limits.idle_timeout
        } else {
            *until.get_or_insert_with(|| Instant::now() + limits.read_timeout)
        };
        match wire.fill(READ_BYTES, until, idle.then_some(shutdown)).await {
            Ok(()) => {}
            Err(Stop::Deadline) if !idle => return Err(timed_out().into()),
            Err(_) => return Ok(None),
        }
    }
}

/// True when the body needs no waiting. Of a chunked one that is not known before it is decoded.
fn has_come(buffer: &[u8], framing: Framing) -> bool {
    match framing {
        Framing::Length(length) => buffer.len() as u64 >= length,
        Framing::Chunked => false,
        Framing::None | Framing::UntilClose => true,
    }
}

/// The whole body, decoded; `None` when the client went away in the middle.
async fn read_body<S: AsyncReadRent + AsyncWriteRent>(
    wire: &mut Wire<S>,
    head: &RequestHead,
    limits: &Limits,
) -> Result<Option<Bytes>, Error> {
    let encoding = content_encoding(head);
    if matches!(head.framing, Framing::Length(length) if length > limits.body_bytes_max as u64) {
        return Err(payload_too_large(limits.body_bytes_max));
    }
    let bodiless = matches!(
        head.framing,
        Framing::None | Framing::Length(0) | Framing::UntilClose
    );
    if bodiless {
        return Ok(Some(Bytes::new()));
    }
    // A client that has begun to send does not wait (RFC 9110, 10.1.1).
    if head.expect_continue && wire.buffer.is_empty() {
        let go_on = vec![Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n")];
        if wire
            .write_all(go_on, || Instant::now() + limits.write_timeout, &mut 0)
            .await
            .is_err()
        {
            return Ok(None);
        }
    }
    let pace = Pace {
        begun: Instant::now(),
        limits,
    };
    let body = match head.framing {
        Framing::Length(length) => read_length(wire, length as usize, &pace).await?,
        _ => read_chunked(wire, limits, &pace).await?,
    };
    match (body, encoding) {
        (Some(body), Some(encoding)) => inflate(body, encoding, limits).await.map(Some),
        (body, _) => Ok(body),
    }
}

async fn read_length<S: AsyncReadRent + AsyncWriteRent>(
    wire: &mut Wire<S>,
    length: usize,
    pace: &Pace<'_>,
) -> Result<Option<Bytes>, Error> {
    while wire.buffer.len() < length {
        let have = wire.buffer.len();
        if !more(wire, length - have, pace, have).await? {
            return Ok(None);
        }
    }
    Ok(Some(wire.buffer.split_to(length).freeze()))
}

async fn read_chunked<S: AsyncReadRent + AsyncWriteRent>(
    wire: &mut Wire<S>,
    limits: &Limits,
    pace: &Pace<'_>,
) -> Result<Option<Bytes>, Error> {
    let mut decoder = ChunkedDecoder::new(limits.body_bytes_max);
    let mut body = BytesMut::new();
    loop {
        let progress = decoder
            .decode(&wire.buffer, &mut body)
            .map_err(|error| match error {
                ChunkError::TooLarge => payload_too_large(limits.body_bytes_max),
                error => Error::bad_request(format!("The request body is malformed: {error}.")),
            })?;
        let _ = wire.buffer.split_to(progress.consumed);
        if progress.done {
            return Ok(Some(body.freeze()));
        }
        if !more(wire, LINGER_READ_BYTES, pace, body.len()).await? {
            return Ok(None);
        }
    }
}

/// Reads once more; false when the client went away.
async fn more<S: AsyncReadRent + AsyncWriteRent>(
    wire: &mut Wire<S>,
    room: usize,
    pace: &Pace<'_>,
    have: usize,
) -> Result<bool, Error> {
    match wire.fill(room, pace.deadline(have), None).await {
        Ok(()) => Ok(true),
        Err(Stop::Deadline) => Err(timed_out()),
        Err(_) => Ok(false),
    }
}

/// How slowly a body may come.
struct Pace<'a> {
    begun: Instant,
    limits: &'a Limits,
}

impl Pace<'_> {
    /// A pause is forgiven up to the read timeout, but not again and again: the whole must keep up the least rate.
    fn deadline(&self, have: usize) -> Instant {
        let rate = self.limits.body_bytes_per_second_min.max(1);
        let earned = Duration::from_millis((have as u64).saturating_mul(1000) / rate);
        let whole = self.begun + self.limits.read_timeout + earned;
        whole.min(Instant::now() + self.limits.read_timeout)
    }
}

/// As Meilisearch's server (actix), which takes a body as it stands where it does not know the coding.
fn content_encoding(head: &RequestHead) -> Option<Encoding> {
    let coding = head.headers.get_all("content-encoding").next()?;
    Encoding::parse(coding).ok().flatten()
}

async fn inflate(body: Bytes, encoding: Encoding, limits: &Limits) -> Result<Bytes, Error> {
    let explain = |error| match error {
        InflateError::TooLarge => payload_too_large(limits.body_bytes_max),
        InflateError::Corrupt => {
            Error::bad_request("The provided payload is incomplete and cannot be parsed")
        }
    };
    let mut inflate = Inflate::new(encoding, body, limits.body_bytes_max).map_err(explain)?;
    while !inflate.step().map_err(explain)? {
        yield_now().await;
    }
    Ok(inflate.finish())
}

fn refuse_head(error: HeadError) -> Refusal {
    Error::invalid(
        error.status,
        "bad_request",
        format!("The request is malformed: {}.", error.reason),
    )
    .into()
}

fn timed_out() -> Error {
    Error::invalid(408, "bad_request", "The request did not arrive in time.")
}

/// Meilisearch's words, its unit included: binary where the limit is a multiple of 1024, else decimal.
fn payload_too_large(limit: usize) -> Error {
    let (step, units) = if limit.is_multiple_of(1024) {
        (1024.0, ["B", "KiB", "MiB", "GiB"])
    } else {
        (1000.0, ["B", "KB", "MB", "GB"])
    };
    let mut size = limit as f64;
    let mut unit = 0;
    while size >= step && unit + 1 < units.len() {
        size /= step;
        unit += 1;
    }
    // Two digits after the point at most, as few as will do.
    let size = (size * 100.0).round() / 100.0;
    Error::invalid(
        413,
        "payload_too_large",
        format!(
            "The provided payload reached the size limit. The maximum accepted payload size is {size} {}.",
            units[unit]
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_limit_is_worded_as_meilisearch_words_it() {
        for (limit, words) in [
            (100_000_000, "100 MB."),
            (10 << 20, "10 MiB."),
            (3, "3 B."),
            (1_500_000, "1.5 MB."),
        ] {
            let error = payload_too_large(limit);
            assert_eq!((error.status, &*error.code), (413, "payload_too_large"));
            assert!(
                error.message.ends_with(&format!("payload size is {words}")),
                "{}",
                error.message
            );
        }
    }
}
