//! The client for nodes: keep-alive connections, pooled per core and address.
//!
//! Requests go out on the connection that was used last, so that few stay warm and the rest can expire. A node that
//! cannot be reached is left alone for a growing, jittered while, in which requests fail at once instead of queueing up
//! behind timeouts. A deadline that strikes closes its connection: the answer may still be on its way, and nobody must
//! mistake it for the next one's.
//!
//! What a failure means for a retry is in [`ClientError::sent`]. A request that is safe to send twice gets one retry by
//! itself, on a fresh connection, when the pooled one turned out to be stale.

mod backoff;
mod exchange;
mod outgoing;
mod pool;
mod stream;

use std::fmt;

use bytes::Bytes;

pub(crate) use exchange::{RECEIVED, SENT};
pub use outgoing::{Body, MadeBody, OutRequest};
pub use pool::{Lease, PoolConfig, PoolStats, Pools};
pub(crate) use pool::{CONNECTS, CONNECT_FAILURES};

use crate::headers::Headers;

/// A node's answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    pub headers: Headers,
    /// Whole and in one piece.
    pub body: Bytes,
}

impl Reply {
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get_str("content-type")
    }

    /// Status 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection could be made.
    Connect,
    /// Not tried: the last attempts failed and the pause is not over.
    BackingOff,
    /// Nothing was sent: as many requests as may wait for one of the connections to the node, or this one did for too long.
    Busy,
    /// The deadline passed.
    Timeout,
    /// The node closed or reset the connection before its answer was complete.
    Closed,
    /// The answer is not HTTP, or its framing is ambiguous.
    Malformed,
    /// The answer's head or body is over the limit.
    TooLarge,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub struct ClientError {
    pub kind: ErrorKind,
    /// Bytes of the request may have reached the node: whether it acted on them is unknown.
    pub sent: bool,
    pub address: String,
    /// For a log; lowercase, no trailing stop.
    pub reason: String,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.reason)
    }
}

impl std::error::Error for ClientError {}
