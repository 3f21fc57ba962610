//! Listening sockets, one a core on the same port.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How a core listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Connections that the kernel holds for us while the core is busy; at most `net.core.somaxconn`.
    pub backlog: u16,
    /// How long the kernel polls a network card's queue for a connection that waits for bytes (`SO_BUSY_POLL`), in
    /// microseconds; 0: not at all. More than `net.core.busy_read` needs CAP_NET_ADMIN.
    pub busy_poll_us: u32,
}

impl Default for Listening {
    fn default() -> Self {
        Listening {
            backlog: 1024,
            busy_poll_us: 0,
        }
    }
}

/// [`Listening::bind`] as it comes.
///
/// # Errors
/// As there.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    Listening::default().bind(addr)
}

impl Listening {
    /// A non-blocking listener that shares its port with others of this process (SO_REUSEPORT): each core has its own and
    /// the kernel spreads connections over them.
    ///
    /// # Errors
    /// What the system says, `AddrInUse` when another program has the port.
    pub fn bind(self, addr: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        if self.busy_poll_us > 0 {
            // Connections inherit it from their listener.
            if let Err(error) = socket.set_busy_poll(self.busy_poll_us) {
                tracing::warn!(%error, busy_poll_us = self.busy_poll_us, "no busy polling: it needs CAP_NET_ADMIN");
            }
        }
        socket.bind(&addr.into())?;
        socket.listen(self.backlog.into())?;
        Ok(socket.into())
    }
}
