//! Listening sockets, one a core on the same port.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds for us while a core is busy.
const BACKLOG: i32 = 1024;

/// A non-blocking listener that shares its port with others of this process (SO_REUSEPORT): each core has its own and
/// the kernel spreads connections over them.
///
/// # Errors
/// What the system says, `AddrInUse` when another program has the port.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
