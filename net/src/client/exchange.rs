//! One request and its answer on one connection.

use bytes::{BufMut, Bytes, BytesMut};
use miroir_metrics::Counter;
use miroir_rt::Instant;
use monoio::io::{AsyncReadRent, AsyncWriteRent};

use super::{Body, ErrorKind, OutRequest, Reply};
use crate::chunked::{ChunkError, ChunkedDecoder};
use crate::head::{parse_response_head, Framing, HeadError, HeadScanner, ResponseHead};
use crate::response::put_number;
use crate::wire::{Stop, Wire, COPY_BYTES_MAX, READ_BYTES};

pub(crate) static SENT: Counter = Counter::new(
    "miroir_node_sent_bytes_total",
    "Bytes of requests sent to nodes by the cores.",
);
pub(crate) static RECEIVED: Counter = Counter::new(
    "miroir_node_received_bytes_total",
    "Bytes of the bodies of nodes' answers to the cores.",
);

/// Interim answers (1xx) that may precede the real one.
const INTERIM_MAX: usize = 8;
/// What a head is taken to have.
const HEAD_BYTES: usize = 512;
/// The most that is made ready for an answer because the last one was long.
const ROOM_BYTES_MAX: usize = 256 * 1024;
/// Bytes that a read asks for when nobody knows how many will come.
const BODY_READ_BYTES: usize = 64 * 1024;

/// Limits on an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyLimits {
    pub head_bytes_max: usize,
    pub body_bytes_max: usize,
}

/// Why an exchange failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub kind: ErrorKind,
    pub sent: bool,
    /// The connection was closed before a single byte of an answer: on a pooled connection that means that it was stale.
    pub stale: bool,
    pub reason: String,
}

/// Sends the request and reads the answer. The flag says that the connection may be used again; on an error it must be
/// closed.
pub(crate) async fn exchange<S: AsyncReadRent + AsyncWriteRent>(
    wire: &mut Wire<S>,
    host: &str,
    request: &OutRequest,
    until: Instant,
    limits: ReplyLimits,
) -> Result<(Reply, bool), Failure> {
    debug_assert!(
        wire.buffer.is_empty(),
        "a connection with unread bytes must not be reused"
    );
    let mut written = 0;
    let sending = send(wire, host, request, until, &mut written).await;
    let sent = match sending {
        Ok(()) => true,
        // The write may have been under way in the kernel.
        Err(Stop::Deadline | Stop::Shutdown) => {
            return Err(Failure::new(
                ErrorKind::Timeout,
                true,
                "the deadline passed while sending",
            ));
        }
        // A node may refuse a body early, answer and close: look for the answer before giving up.
        Err(Stop::Closed | Stop::Io(_)) if written > 0 => true,
        Err(stop) => return Err(closed(&stop, false)),
    };
    SENT.add(written);
    let unfinished = sending.is_err();
    let head = read_head(wire, request, until, limits)
        .await
        .map_err(|failure| Failure { sent, ..failure })?;
    let (body, reusable) = read_body(wire, &head, until, limits).await?;
    let reusable = reusable && head.keep_alive && !unfinished && wire.buffer.is_empty();
    RECEIVED.add(body.len());
    wire.last_bytes = HEAD_BYTES + body.len();
    wire.shrink();
    Ok((
        Reply {
            status: head.status,
            headers: head.headers,
            body,
        },
        reusable,
    ))
}

/// Sends head and body. `written`: as for [`Wire::write_all`].
async fn send<S: AsyncReadRent + AsyncWriteRent>(
    wire: &mut Wire<S>,
    host: &str,
    request: &OutRequest,
    until: Instant,
    written: &mut usize,
) -> Result<(), Stop> {
    let mut head = encode_head(host, request);
    match &request.body {
        Body::Ready(pieces) if head.len() + request.body.bytes() <= COPY_BYTES_MAX => {
            pieces.iter().for_each(|piece| head.put_slice(piece));
            wire.write_one(head.freeze(), || until, written).await
        }
        Body::Ready(pieces) => {
            let mut segments = Vec::with_capacity(1 + pieces.len());
            segments.push(head.freeze());
            segments.extend(pieces.iter().filter(|piece| !piece.is_empty()).cloned());
            wire.write_all(segments, || until, written).await
        }
        Body::Made(made) => {
            let mut pieces = made.pieces();
            let mut segments: Vec<Bytes> =
                [head.freeze()].into_iter().chain(pieces.next()).collect();
            while !segments.is_empty() {
                wire.write_all(segments, || until, written).await?;
                segments = pieces.next().into_iter().collect();
            }
            Ok(())
        }
    }
}

fn encode_head(host: &str, request: &OutRequest) -> BytesMut {
    let length = request.body.bytes();
    // A short body comes behind it.
    let body = Some(length).filter(|length| *length <= COPY_BYTES_MAX);
    let mut head = BytesMut::with_capacity(256 + body.unwrap_or(0));
    head.put_slice(request.method.as_bytes());
    head.put_u8(b' ');
    head.put_slice(request.path.as_bytes());
    head.put_slice(b" HTTP/1.1\r\n");
    put_field(&mut head, "host", host);
    if let Some(key) = &request.bearer {
        head.put_slice(b"authorization: Bearer ");
        put_value(&mut head, key);
    }
    if let Some(content_type) = request.content_type {
        put_field(&mut head, "content-type", content_type);
    }
    for (name, value) in &request.headers {
        put_field(&mut head, name, value);
    }
    if length > 0 || !matches!(request.method, "GET" | "HEAD" | "DELETE") {
        head.put_slice(b"content-length: ");
        put_number(&mut head, length as u64);
        head.put_slice(b"\r\n");
    }
    head.put_slice(b"\r\n");
    head
}

fn put_field(head: &mut BytesMut, name: &str, value: &str) {
    head.put_slice(name.as_bytes());
    head.put_slice(b": ");
    put_value(head, value);
}

/// A value comes from configuration or from a client's header: what could split the head is not sent.
fn put_value(head: &mut BytesMut, value: &str) {
    let fits = |byte: &u8| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t';
    if value.as_bytes().iter().all(fits) {
        head.put_slice(value.as_bytes());
    } else {
        head.extend(value.bytes().filter(fits));
    }
    head.put_slice(b"\r\n");
}

async fn read_head<S: AsyncReadRent + AsyncWriteRent>(
    wire: &mut Wire<S>,
    request: &OutRequest,
    until: Instant,
    limits: ReplyLimits,
) -> Result<ResponseHead, Failure> {
    let mut answered = false;
    for _ in 0..=INTERIM_MAX {
        let mut scanner = HeadScanner::default();
        let end = loop {
            if let Some(end) = scanner
                .find(&wire.buffer, limits.head_bytes_max)
                .map_err(malformed_head)?
            {
                break end;
            }
            // Most answers then come with one read, into a buffer that is not moved.
            let room = READ_BYTES.max(wire.last_bytes + wire.last_bytes / 4);
            match wire.fill(room.min(ROOM_BYTES_MAX), until, None).await {
                Ok(()) => answered = true,
                Err(Stop::Deadline | Stop::Shutdown) => {
                    return Err(Failure::new(
                        ErrorKind::Timeout,
                        true,
                        "the deadline passed before the answer",
                    ));
                }
                Err(stop) => {
                    let stale = !answered && wire.buffer.is_empty();
                    return Err(Failure {
                        stale,
                        ..closed(&stop, true)
                    });
                }
            }
        };
        let head = wire.buffer.split_to(end).freeze();
        let head = parse_response_head(&head, request.method == "HEAD").map_err(malformed_head)?;
        match head.status {
            101 => break,
            100..=199 => {}
            _ => return Ok(head),
        }
    }
    Err(Failure::new(
        ErrorKind::Malformed,
        true,
        "interim answers without an end, or a switch of protocols",
    ))
}

/// The body, and whether the connection is still in step afterwards.
async fn read_body<S: AsyncReadRent + AsyncWriteRent>(
    wire: &mut Wire<S>,
    head: &ResponseHead,
    until: Instant,
    limits: ReplyLimits,
) -> Result<(Bytes, bool), Failure> {
    match head.framing {
        Framing::None => Ok((Bytes::new(), true)),
        Framing::Length(length) => {
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length <= limits.body_bytes_max)
                .ok_or_else(too_large)?;
            while wire.buffer.len() < length {
                let missing = length - wire.buffer.len();
                wire.fill(missing, until, None).await.map_err(cut_short)?;
            }
            Ok((wire.buffer.split_to(length).freeze(), true))
        }
        Framing::Chunked => {
            let mut decoder = ChunkedDecoder::new(limits.body_bytes_max);
            let mut body = BytesMut::new();
            loop {
                let progress =
                    decoder
                        .decode(&wire.buffer, &mut body)
                        .map_err(|error| match error {
                            ChunkError::TooLarge => too_large(),
                            error => Failure::new(ErrorKind::Malformed, true, error.to_string()),
                        })?;
                let _ = wire.buffer.split_to(progress.consumed);
                if progress.done {
                    return Ok((body.freeze(), true));
                }
                wire.fill(BODY_READ_BYTES, until, None)
                    .await
                    .map_err(cut_short)?;
            }
        }
        Framing::UntilClose => loop {
            if wire.buffer.len() > limits.body_bytes_max {
                return Err(too_large());
            }
            match wire.fill(BODY_READ_BYTES, until, None).await {
                Ok(()) => {}
                Err(Stop::Closed) => return Ok((wire.buffer.split().freeze(), false)),
                Err(stop) => return Err(cut_short(stop)),
            }
        },
    }
}

impl Failure {
    pub fn new(kind: ErrorKind, sent: bool, reason: impl Into<String>) -> Self {
        Failure {
            kind,
            sent,
            stale: false,
            reason: reason.into(),
        }
    }
}

fn malformed_head(error: HeadError) -> Failure {
    let kind = if error.status == 431 {
        ErrorKind::TooLarge
    } else {
        ErrorKind::Malformed
    };
    Failure::new(kind, true, format!("malformed answer: {error}"))
}

fn too_large() -> Failure {
    Failure::new(
        ErrorKind::TooLarge,
        true,
        "the answer's body is over the limit",
    )
}

fn cut_short(stop: Stop) -> Failure {
    match stop {
        Stop::Deadline | Stop::Shutdown => Failure::new(
            ErrorKind::Timeout,
            true,
            "the deadline passed in the middle of the answer",
        ),
        stop => closed(&stop, true),
    }
}

fn closed(stop: &Stop, sent: bool) -> Failure {
    let reason = match stop {
        Stop::Io(error) => format!("the node broke the connection: {error}"),
        _ => "the node closed the connection".to_owned(),
    };
    Failure {
        kind: ErrorKind::Closed,
        sent,
        stale: !sent,
        reason,
    }
}
