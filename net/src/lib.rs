//! Strict HTTP/1.1 on `rt`: the server that clients talk to, and the pooled client that talks to nodes.
//!
//! The codec is our own because the one that comes with monoio accepts duplicate lengths, reads past bare line feeds
//! and has no limits (DESIGN 3). The rule here is RFC 9112's strictest reading: where two parsers could disagree about
//! where a message ends, it is refused with a 400 and the connection is closed. A proxy that guesses is a proxy that can
//! be made to smuggle.
//!
//! - [`head`], [`chunked`] and [`encoding`] are pure functions over bytes: fuzzed, benchmarked, no I/O.
//! - [`Coding`] and [`Response::compressed`] compress answers where the client takes that.
//! - [`server`] reads requests, calls a [`server::Handler`] and gather-writes its answers.
//! - [`client`] keeps connections to nodes, one set a core, with back-off and deadlines.
//!
//! Both sides work on any stream with owned buffers (monoio's `AsyncReadRent` and `AsyncWriteRent`), so that TLS,
//! Unix sockets and a simulated network can take the place of TCP.
//!
//! One rule about the ring shapes the code: a read or write that was begun is never dropped on a connection that lives
//! on, because its bytes would be lost. Every deadline that strikes here closes its connection.
#![deny(unsafe_code)]

pub mod chunked;
pub mod client;
mod compress;
pub mod encoding;
#[allow(unsafe_code)]
mod gather;
pub mod head;
mod headers;
mod listen;
pub mod metrics;
mod request;
mod response;
pub mod server;
mod wire;

pub use compress::Coding;
pub use headers::Headers;
pub use http::Method;
pub use listen::{bind, Listening};
pub use request::Request;
pub use response::{Body, Response};
pub use server::{serve, Handler, Limits};
