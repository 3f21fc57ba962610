//! One core's connections, by node address.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use miroir_api::unix_socket;
use miroir_metrics::Counter;
use miroir_rt::{sleep, sleep_until, spawn_background, Instant};
use monoio::net::{TcpStream, UnixStream};
use nix::sys::socket::{recv, MsgFlags};
use tokio::sync::{oneshot, OwnedSemaphorePermit, Semaphore};

use super::backoff::Backoff;
use super::exchange::{exchange, Failure, ReplyLimits};
use super::stream::Stream;
use super::{ClientError, ErrorKind, OutRequest, Reply};
use crate::wire::Wire;

pub(crate) static CONNECTS: Counter = Counter::new(
    "miroir_node_connects_total",
    "Connections made to nodes by the cores.",
);
pub(crate) static CONNECT_FAILURES: Counter = Counter::new(
    "miroir_node_connect_failures_total",
    "Attempts to connect to a node that failed or took too long.",
);

/// Limits and times of one core's pools.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// Connections to one node that may be in use at once; further requests wait.
    pub connections_max: usize,
    /// Requests that may wait for a connection to one node, and how long.
    pub waiting_max: usize,
    pub wait_timeout: Duration,
    /// Idle connections kept for one node.
    pub idle_max: usize,
    /// How long one is kept. Less than the node's own keep-alive, so that it is seldom the node that closes:
    /// Meilisearch's is actix's default of 5 s.
    pub idle_timeout: Duration,
    pub connect_timeout: Duration,
    /// First and longest pause after failed connects.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    pub head_bytes_max: usize,
    pub body_bytes_max: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        PoolConfig {
            connections_max: 256,
            waiting_max: 256,
            wait_timeout: Duration::from_secs(5),
            // As many as may be in use: with fewer, a load at the limit would reconnect all the time.
            idle_max: 256,
            idle_timeout: Duration::from_millis(4500),
            connect_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            head_bytes_max: 64 * 1024,
            body_bytes_max: 512 * 1024 * 1024,
        }
    }
}

/// Counted since the start, over all addresses of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Connections made.
    pub connects: u64,
    /// Attempts that failed or took too long.
    pub connect_failures: u64,
    /// Pooled connections that turned out to be closed, and requests sent again because of it.
    pub stale: u64,
    /// Connections that lie idle now.
    pub idle: usize,
}

/// One core's connections to nodes. Cheap to clone; stays on its core.
#[derive(Clone)]
pub struct Pools {
    inner: Rc<Inner>,
}

struct Inner {
    config: PoolConfig,
    pools: RefCell<HashMap<String, Rc<Pool>, ahash::RandomState>>,
    stats: Cell<PoolStats>,
}

impl Pools {
    /// Call it on a core: a task of the core closes idle connections whose time is over.
    pub fn new(config: PoolConfig) -> Self {
        let inner = Rc::new(Inner {
            config,
            pools: RefCell::default(),
            stats: Cell::default(),
        });
        spawn_background(sweep(Rc::downgrade(&inner), config.idle_timeout / 2));
        Pools { inner }
    }

    /// Sends a request to `address` (`host:port`, or `unix:/path`) and returns its whole answer, whatever its status.
    ///
    /// # Errors
    /// [`ClientError`] when there is no complete answer within `deadline`, connecting and waiting included.
    pub async fn send(
        &self,
        address: &str,
        request: &OutRequest,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        let until = Instant::now() + deadline;
        let pool = self.pool(address);
        let _permit = pool.permit(until).await?;
        // A request that must not be sent twice only goes on a connection that was looked at.
        if let Some(connection) = pool.take_idle(!request.idempotent) {
            match pool.exchange(connection, request, until).await {
                Err(failure) if failure.stale && request.idempotent => {
                    self.inner.count(|stats| stats.stale += 1)
                }
                outcome => return outcome.map_err(|failure| pool.error(failure)),
            }
        }
        let connection = pool.connect(until).await?;
        pool.exchange(connection, request, until)
            .await
            .map_err(|failure| pool.error(failure))
    }

    /// A connection that was alive a moment ago, held for the caller: writes to several nodes take all their connections
    /// first, so that a node that is down is known before anything is sent to the others.
    ///
    /// # Errors
    /// [`ClientError`] with [`ErrorKind::Connect`], [`ErrorKind::BackingOff`], [`ErrorKind::Busy`] or [`ErrorKind::Timeout`]; nothing was
    /// sent.
    pub async fn connect(&self, address: &str) -> Result<Lease, ClientError> {
        let pool = self.pool(address);
        let until = Instant::now() + self.inner.config.connect_timeout;
        let permit = pool.permit(until).await?;
        let (connection, reused) = match pool.take_idle(true) {
            Some(connection) => (connection, true),
            None => (pool.connect(until).await?, false),
        };
        Ok(Lease {
            pool,
            connection: Some(connection),
            reused,
            _permit: permit,
        })
    }

    pub fn stats(&self) -> PoolStats {
        let idle = self
            .inner
            .pools
            .borrow()
            .values()
            .map(|pool| pool.idle.borrow().len())
            .sum();
        PoolStats {
            idle,
            ..self.inner.stats.get()
        }
    }

    /// Closes what lies idle and forgets the back-off of an address: for a node that was removed or just came up.
    pub fn forget(&self, address: &str) {
        self.inner.pools.borrow_mut().remove(address);
    }

    fn pool(&self, address: &str) -> Rc<Pool> {
        if let Some(pool) = self.inner.pools.borrow().get(address) {
            return pool.clone();
        }
        let pool = Rc::new(Pool::new(address, self.inner.clone()));
        self.inner
            .pools
            .borrow_mut()
            .insert(address.to_owned(), pool.clone());
        pool
    }
}

impl Inner {
    fn count(&self, change: impl FnOnce(&mut PoolStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }
}

/// A connection that is checked out. Dropped unused, it goes back to its pool.
pub struct Lease {
    pool: Rc<Pool>,
    connection: Option<Connection>,
    reused: bool,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Sends the request on this connection and reads its answer; never a second time.
    ///
    /// # Errors
    /// As [`Pools::send`].
    pub async fn send(
        mut self,
        request: &OutRequest,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        let Some(connection) = self.connection.take() else {
            // Only `send` and dropping take it, and both end the lease.
            return Err(self.pool.error(Failure::new(
                ErrorKind::Closed,
                false,
                "the lease is spent",
            )));
        };
        let until = Instant::now() + deadline;
        self.pool
            .exchange(connection, request, until)
            .await
            .map_err(|failure| self.pool.error(failure))
    }

    /// The connection was used before (and was alive when it was taken).
    pub fn is_reused(&self) -> bool {
        self.reused
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.give_back(connection);
        }
    }
}

/// Counts a request that waits, however that ends.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn begin(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

type Connection = Wire<Stream>;

struct Idle {
    connection: Connection,
    since: Instant,
}

/// The connections to one address.
struct Pool {
    address: String,
    owner: Weak<Inner>,
    config: PoolConfig,
    permits: Arc<Semaphore>,
    /// Requests that wait for a permit.
    waiting: Cell<usize>,
    /// Oldest first; taken from the back.
    idle: RefCell<VecDeque<Idle>>,
    backoff: RefCell<Backoff>,
    /// Connects that run in the background; each may outlive who asked for it.
    connecting: Cell<usize>,
    resolved: RefCell<Vec<SocketAddr>>,
}

impl Pool {
    fn new(address: &str, owner: Rc<Inner>) -> Self {
        let config = owner.config;
        // Any seed does; different ones on different cores keep their retries apart.
        let seed = ahash::RandomState::new().hash_one(address);
        Pool {
            address: address.to_owned(),
            owner: Rc::downgrade(&owner),
            config,
            permits: Arc::new(Semaphore::new(config.connections_max)),
            waiting: Cell::new(0),
            idle: RefCell::default(),
            backoff: RefCell::new(Backoff::new(config.backoff_min, config.backoff_max, seed)),
            connecting: Cell::new(0),
            resolved: RefCell::new(address.parse().into_iter().collect()),
        }
    }

    /// One request on a connection that nobody else has: a caller that drops the future closes it.
    async fn exchange(
        &self,
        mut connection: Connection,
        request: &OutRequest,
        until: Instant,
    ) -> Result<Reply, Failure> {
        let limits = ReplyLimits {
            head_bytes_max: self.config.head_bytes_max,
            body_bytes_max: self.config.body_bytes_max,
        };
        let (reply, reusable) =
            exchange(&mut connection, self.host(), request, until, limits).await?;
        if reusable {
            self.give_back(connection);
        }
        Ok(reply)
    }

    /// As the node is called in requests.
    fn host(&self) -> &str {
        unix_socket(&self.address).map_or(&self.address, |_| "localhost")
    }

    async fn permit(&self, until: Instant) -> Result<OwnedSemaphorePermit, ClientError> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let busy = || {
            let reason = "all connections to the node are in use";
            self.error(Failure::new(ErrorKind::Busy, false, reason))
        };
        if self.waiting.get() >= self.config.waiting_max {
            return Err(busy());
        }
        let _waiting = Waiting::begin(&self.waiting);
        let until = until.min(Instant::now() + self.config.wait_timeout);
        match before(self.permits.clone().acquire_owned(), until).await {
            Some(Ok(permit)) => Ok(permit),
            // The semaphore is never closed.
            Some(Err(_)) | None => Err(busy()),
        }
    }

    /// The connection that was used last and is not too old. `verified`: and was not closed by the node meanwhile.
    fn take_idle(&self, verified: bool) -> Option<Connection> {
        let now = Instant::now();
        loop {
            let idle = self.idle.borrow_mut().pop_back()?;
            if now.saturating_duration_since(idle.since) > self.config.idle_timeout {
                // The ones below are older still.
                self.idle.borrow_mut().clear();
                return None;
            }
            if verified && !is_open(&idle.connection) {
                self.count(|stats| stats.stale += 1);
                continue;
            }
            return Some(idle.connection);
        }
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.config.idle_max {
            idle.pop_front();
        }
        idle.push_back(Idle {
            connection,
            since: Instant::now(),
        });
    }

    /// A fresh connection. The attempt runs in a task of its own: dropping a connect that is under way can leak its
    /// descriptor, so an attempt that nobody waits for any more ends by itself and fills the pool.
    async fn connect(self: &Rc<Self>, until: Instant) -> Result<Connection, ClientError> {
        let refuse = |kind, reason: &str| Err(self.error(Failure::new(kind, false, reason)));
        let now = Instant::now();
        let until = until.min(now + self.config.connect_timeout);
        if self.connecting.get() >= self.config.connections_max {
            return refuse(
                ErrorKind::BackingOff,
                "too many connects to the node are under way",
            );
        }
        if !self
            .backoff
            .borrow_mut()
            .admit(now, self.config.connect_timeout)
        {
            return refuse(
                ErrorKind::BackingOff,
                "the node could not be reached a moment ago",
            );
        }
        let (done, outcome) = oneshot::channel();
        self.connecting.set(self.connecting.get() + 1);
        let pool = self.clone();
        spawn_background(async move {
            let connected = pool.open().await;
            pool.connecting.set(pool.connecting.get() - 1);
            if let Ok(connection) = &connected {
                pool.backoff.borrow_mut().succeeded();
                CONNECTS.add(1);
                pool.count(|stats| stats.connects += 1);
                let _ = connection.stream.set_nodelay();
            }
            if let Err(Ok(unwanted)) = done.send(connected) {
                pool.give_back(unwanted);
            }
        });
        match before(outcome, until).await {
            Some(Ok(Ok(connection))) => Ok(connection),
            Some(Ok(Err(error))) => {
                self.failed();
                refuse(ErrorKind::Connect, &format!("cannot connect: {error}"))
            }
            Some(Err(_)) => {
                self.failed();
                refuse(
                    ErrorKind::Connect,
                    "cannot connect: the attempt was given up",
                )
            }
            None => {
                self.failed();
                refuse(ErrorKind::Timeout, "connecting took too long")
            }
        }
    }

    async fn open(&self) -> std::io::Result<Connection> {
        if let Some(path) = unix_socket(&self.address) {
            let stream = UnixStream::connect(path).await?;
            return Ok(Wire::new(Stream::Unix(stream)));
        }
        let known = self.resolved.borrow().clone();
        let candidates = if known.is_empty() {
            resolve(&self.address).await?
        } else {
            known
        };
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
        for candidate in candidates {
            match TcpStream::connect_addr(candidate).await {
                Ok(stream) => {
                    // Keep what worked; a name is looked up again once it no longer does.
                    *self.resolved.borrow_mut() = vec![candidate];
                    return Ok(Wire::new(Stream::Tcp(stream)));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn failed(&self) {
        CONNECT_FAILURES.add(1);
        self.count(|stats| stats.connect_failures += 1);
        self.backoff.borrow_mut().failed(Instant::now());
        if self.address.parse::<SocketAddr>().is_err() {
            self.resolved.borrow_mut().clear();
        }
    }

    fn count(&self, change: impl FnOnce(&mut PoolStats)) {
        if let Some(owner) = self.owner.upgrade() {
            owner.count(change);
        }
    }

    fn error(&self, failure: Failure) -> ClientError {
        let Failure {
            kind, sent, reason, ..
        } = failure;
        ClientError {
            kind,
            sent,
            address: self.address.clone(),
            reason,
        }
    }
}

/// Closes idle connections whose time is over or that the node has closed, until the pools are gone.
async fn sweep(pools: Weak<Inner>, every: Duration) {
    loop {
        sleep(every.max(Duration::from_millis(10))).await;
        let Some(inner) = pools.upgrade() else { return };
        let now = Instant::now();
        for pool in inner.pools.borrow().values() {
            pool.idle.borrow_mut().retain(|idle| {
                now.saturating_duration_since(idle.since) <= inner.config.idle_timeout
                    && is_open(&idle.connection)
            });
        }
    }
}

/// Looks at the socket without waiting. Anything readable on an idle connection is its end, or noise that would be taken
/// for an answer.
fn is_open(connection: &Connection) -> bool {
    let mut byte = [0];
    let peeked = recv(
        connection.stream.as_raw_fd(),
        &mut byte,
        MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
    );
    connection.buffer.is_empty() && matches!(peeked, Err(nix::errno::Errno::EAGAIN))
}

/// Looks a name up on a thread of its own: the system's resolver blocks.
async fn resolve(address: &str) -> std::io::Result<Vec<SocketAddr>> {
    let (done, outcome) = oneshot::channel();
    let address = address.to_owned();
    std::thread::Builder::new()
        .name("resolve".to_owned())
        .spawn(move || {
            let _ = done.send(address.to_socket_addrs().map(Iterator::collect));
        })?;
    outcome.await.map_err(std::io::Error::other)?
}

/// The future's output, or `None` when the time comes first. Only for futures that may be dropped.
async fn before<T>(future: impl Future<Output = T>, until: Instant) -> Option<T> {
    let mut future = pin!(future);
    if let Poll::Ready(done) =
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
    {
        return Some(done);
    }
    let mut timer = pin!(sleep_until(until));
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}
