//! One client connection: request, handler, answer, and again.
//!
//! While the handler runs nothing is read, so a client that goes away is noticed when its answer is written; the handler
//! always finishes. That also means that no read is ever pending when the connection goes on to the next request.

use bytes::Bytes;
use http::Method;
use miroir_metrics::Counter;
use miroir_rt::{catch_panic, yield_now, Instant, Shutdown};
use monoio::io::{AsyncReadRent, AsyncWriteRent};

use super::read::{next_request, Incoming, Refusal};
use super::{Handler, Limits};
use crate::response::Response;
use crate::wire::Wire;

pub(crate) static RECEIVED: Counter = Counter::new(
    "miroir_client_received_bytes_total",
    "Bytes of the bodies of clients' requests, decoded.",
);
pub(crate) static SENT: Counter = Counter::new(
    "miroir_client_sent_bytes_total",
    "Bytes of answers sent to clients.",
);

/// Requests that a connection whose client never lets us wait may have answered before others get their turn.
const REQUESTS_PER_TURN: usize = 16;
/// What is read and thrown away after a last answer, so that it is not destroyed by a reset.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Serves one connection until either side ends it.
pub async fn drive<S, H>(stream: S, handler: &H, limits: &Limits, shutdown: &Shutdown)
where
    S: AsyncReadRent + AsyncWriteRent,
    H: Handler,
{
    let mut wire = Wire::new(stream);
    let mut served = 0_usize;
    loop {
        let incoming = match next_request(&mut wire, handler, limits, shutdown).await {
            Ok(Some(incoming)) => incoming,
            Ok(None) => return,
            Err(refusal) => return answer_refusal(&mut wire, refusal, limits).await,
        };
        let Incoming { request, http_10 } = incoming;
        RECEIVED.add(request.body.len());
        let (to_head, keep_alive) = (request.method == Method::HEAD, request.keep_alive);
        let response = match catch_panic(async { handler.handle(request).await }).await {
            Ok(response) => response,
            Err(panic) => {
                tracing::error!(panic, "a request's handler panicked");
                let mut response = Response::error(&miroir_api::Error::internal(
                    "An internal error has occurred.",
                ));
                response.close = true;
                response
            }
        };
        let keep_alive = keep_alive
            && !response.close
            && !response.ends_by_close(http_10)
            && !shutdown.is_shutting_down();
        let answer = response.into_wire(to_head, http_10, keep_alive);
        if !write_answer(&mut wire, answer, limits).await {
            return;
        }
        if !keep_alive {
            return linger(&mut wire, Instant::now() + limits.linger_timeout).await;
        }
        wire.shrink();
        served += 1;
        if served.is_multiple_of(REQUESTS_PER_TURN) && !wire.buffer.is_empty() {
            yield_now().await;
        }
    }
}

/// Ends a connection whose peer may still be sending: closing with unread bytes would reset it, and the reset can
/// overtake our answer (RFC 9112, 9.6).
pub(super) async fn linger<S: AsyncReadRent + AsyncWriteRent>(wire: &mut Wire<S>, until: Instant) {
    if wire.stream.shutdown().await.is_err() {
        return;
    }
    let mut thrown_away = 0;
    while thrown_away < LINGER_BYTES_MAX {
        wire.buffer.clear();
        if wire
            .fill(super::read::LINGER_READ_BYTES, until, None)
            .await
            .is_err()
        {
            return;
        }
        thrown_away += wire.buffer.len();
    }
}

async fn answer_refusal<S: AsyncReadRent + AsyncWriteRent>(
    wire: &mut Wire<S>,
    refusal: Refusal,
    limits: &Limits,
) {
    let answer = refusal.response.into_wire(refusal.to_head, false, false);
    if write_answer(wire, answer, limits).await {
        linger(wire, Instant::now() + limits.linger_timeout).await;
    }
}

async fn write_answer<S: AsyncReadRent + AsyncWriteRent>(
    wire: &mut Wire<S>,
    answer: Vec<Bytes>,
    limits: &Limits,
) -> bool {
    let mut taken = 0;
    let written = wire
        .write_all(answer, || Instant::now() + limits.write_timeout, &mut taken)
        .await;
    SENT.add(taken);
    if let Err(stop) = &written {
        tracing::debug!(?stop, "an answer could not be written");
    }
    written.is_ok()
}
