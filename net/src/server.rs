//! The server: accepts on one core's listener and drives each connection in a task of its own.
//!
//! Accepting never sits inside a timeout: a dropped accept can leak the descriptor that the kernel has already made. It
//! runs in a task of its own beside which the shutdown is awaited; the one accept that is pending then is cancelled and
//! awaited, and a connection that slipped in is still served its first answer's worth of drain.

mod connection;
mod read;

pub(crate) use connection::{RECEIVED, SENT};

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use miroir_metrics::{Counter, Gauge};
use miroir_rt::{sleep, Instant, Shutdown};
use monoio::io::Canceller;
use monoio::net::{TcpListener, TcpStream};
use nix::fcntl::{fcntl, FcntlArg, FdFlag};

pub use connection::drive;

use crate::head::RequestHead;
use crate::request::Request;
use crate::response::Response;
use crate::wire::Wire;

/// What turns requests into answers. One lives on each core and need not be `Send`.
///
/// A panic in it is caught: the client gets a 500 and the connection is closed.
pub trait Handler: 'static {
    fn handle(&self, request: Request) -> impl Future<Output = Response>;

    /// Asked when a request's body has still to be waited for: an answer refuses it unread and closes the connection,
    /// so that strangers cannot make us hold megabytes. [`Handler::handle`] must check again: bodies that came along
    /// with their head are not asked about.
    fn refuse(&self, _head: &RequestHead) -> Option<Response> {
        None
    }
}

impl<F, Fut> Handler for F
where
    F: Fn(Request) -> Fut + 'static,
    Fut: Future<Output = Response>,
{
    fn handle(&self, request: Request) -> impl Future<Output = Response> {
        self(request)
    }
}

pub(crate) static ACCEPTED: Counter = Counter::new(
    "miroir_client_connections_total",
    "Connections accepted from clients.",
);
pub(crate) static OPEN: Gauge = Gauge::new(
    "miroir_client_connections",
    "Connections of clients that are open.",
);

/// A limit on everything a client can make this server spend. One core's.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Request line and header fields together; beyond it 431.
    pub head_bytes_max: usize,
    /// A body as sent and, on its own, as decoded; beyond it 413. Meilisearch's default is 100 MB.
    pub body_bytes_max: usize,
    /// How long a connection may wait between requests; then it is closed.
    pub idle_timeout: Duration,
    /// How long a head may take from its first byte, and how long a body may pause; then 408.
    pub read_timeout: Duration,
    /// A body that comes slower than this over its whole length is a slow-loris attack; then 408.
    pub body_bytes_per_second_min: u64,
    /// How long a write may make no progress; then the connection is closed.
    pub write_timeout: Duration,
    /// How long a connection that is being closed may still send what nobody reads any more.
    pub linger_timeout: Duration,
    /// Connections of one core; further ones get 503 and are closed.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes_max: 64 * 1024,
            body_bytes_max: 100_000_000,
            idle_timeout: Duration::from_secs(75),
            read_timeout: Duration::from_secs(30),
            body_bytes_per_second_min: 1024,
            write_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(2),
            connections_max: 16 * 1024,
        }
    }
}

/// Serves connections until the shutdown begins, then returns; connections finish as tasks of the core, which its drain
/// waits for. Call it on a core.
///
/// # Errors
/// When the listener cannot be used by the core's reactor. Errors of single accepts are logged and survived.
pub async fn serve<H: Handler>(
    listener: std::net::TcpListener,
    handler: Rc<H>,
    limits: Rc<Limits>,
    shutdown: Shutdown,
) -> io::Result<()> {
    // The ring answers EAGAIN on a non-blocking descriptor instead of waiting; epoll needs one that does not block.
    listener.set_nonblocking(monoio::utils::is_legacy())?;
    let listener = TcpListener::from_std(listener)?;
    let open = Rc::new(Cell::new(0_usize));
    let mut pause = ACCEPT_PAUSE;
    while let Some(accepted) = accept(&listener, &shutdown).await {
        let stream = match accepted {
            Ok(stream) => {
                pause = ACCEPT_PAUSE;
                stream
            }
            Err(error) => {
                if out_of_resources(&error) {
                    tracing::warn!(%error, pause_ms = pause.as_millis() as u64, "cannot accept; backing off");
                    sleep_or_shutdown(pause, &shutdown).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                } else {
                    // The client was gone before we came to it.
                    tracing::debug!(%error, "a connection failed while it was accepted");
                }
                continue;
            }
        };
        if let Err(error) = set_up(&stream) {
            tracing::debug!(%error, "a connection failed while it was set up");
            continue;
        }
        let place = Place::take(&open);
        if open.get() > limits.connections_max {
            miroir_rt::spawn(async move {
                refuse(stream).await;
                drop(place);
            });
            continue;
        }
        let (handler, limits, shutdown) = (handler.clone(), limits.clone(), shutdown.clone());
        miroir_rt::spawn(async move {
            drive(stream, &*handler, &limits, &shutdown).await;
            drop(place);
        });
    }
    Ok(())
}

/// First pause when descriptors or memory run out; doubles up to [`ACCEPT_PAUSE_MAX`].
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a refused client is given to take its answer.
const REFUSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The next connection; `None` once the shutdown has begun and no accept is pending any more.
async fn accept(listener: &TcpListener, shutdown: &Shutdown) -> Option<io::Result<TcpStream>> {
    if shutdown.is_shutting_down() {
        return None;
    }
    let canceller = Canceller::new();
    let mut accept = pin!(listener.cancelable_accept(canceller.handle()));
    let mut ending = pin!(shutdown.wait());
    let first = std::future::poll_fn(|cx| match accept.as_mut().poll(cx) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        Poll::Pending => ending.as_mut().poll(cx).map(|()| None),
    })
    .await;
    match first {
        Some(accepted) => Some(accepted.map(|(stream, _)| stream)),
        None => {
            canceller.cancel();
            // The kernel may have been faster than the cancellation.
            accept.await.ok().map(|(stream, _)| Ok(stream))
        }
    }
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if !monoio::utils::is_legacy() {
        // monoio's accept on the ring leaves it out: a child process would inherit the connection and keep it open.
        fcntl(stream.as_raw_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    Ok(())
}

fn out_of_resources(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

async fn sleep_or_shutdown(pause: Duration, shutdown: &Shutdown) {
    let mut sleep = pin!(sleep(pause));
    let mut ending = pin!(shutdown.wait());
    std::future::poll_fn(|cx| match sleep.as_mut().poll(cx) {
        Poll::Pending => ending.as_mut().poll(cx),
        ready => ready,
    })
    .await;
}

async fn refuse(stream: TcpStream) {
    let error = miroir_api::Error::system(
        503,
        "miroir_too_many_connections",
        "This server holds as many connections as it may; close idle ones or try again later.",
    );
    let until = Instant::now() + REFUSE_TIMEOUT;
    let mut wire = Wire::new(stream);
    let answer: Vec<Bytes> = Response::error(&error).into_wire(false, false, false);
    if wire.write_all(answer, || until, &mut 0).await.is_ok() {
        connection::linger(&mut wire, until).await;
    }
}

/// A connection's place under the limit, given back however its task ends.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        ACCEPTED.add(1);
        OPEN.raise();
        Place(open.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
        OPEN.lower();
    }
}
