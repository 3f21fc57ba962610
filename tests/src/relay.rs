//! A TCP relay that keeps a copy of what passes: put between a proxy and a node, it proves what did and did not reach the node.
//! It can also be the network, or the node, at its worst: see [`Trouble`].

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;

/// Forwards every connection to one address, in the background, until dropped.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What happens to what the node says, from now on and on every connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    #[default]
    None,
    /// Each piece comes this much later.
    Delay(Duration),
    /// The connection is reset in the middle of a piece.
    Reset,
    /// The connection is closed in the middle of a piece.
    Truncate,
    /// Bytes that are no answer.
    Garbage,
    /// Nothing comes, and nothing ends.
    Hang,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<u8>>,
    trouble: Mutex<Trouble>,
    connections: AtomicUsize,
    closed: AtomicBool,
}

impl Relay {
    /// Listens on a free port and forwards to `to`.
    pub fn start(to: SocketAddr) -> std::io::Result<Relay> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let inner = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if inner.closed.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(to)) else {
                    continue;
                };
                inner.connections.fetch_add(1, Ordering::Relaxed);
                pass(client, server, &inner);
            }
        });
        Ok(Relay { address, shared })
    }

    /// Where to connect to instead of the node.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happens from now on.
    pub fn set_trouble(&self, trouble: Trouble) {
        *self
            .shared
            .trouble
            .lock()
            .unwrap_or_else(|e| e.into_inner()) = trouble;
    }

    /// Connections made so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Whether these bytes ever went towards the node.
    pub fn saw(&self, bytes: &[u8]) -> bool {
        let seen = self.shared.seen.lock().unwrap_or_else(|e| e.into_inner());
        seen.windows(bytes.len()).any(|w| w == bytes)
    }

    /// How often they did.
    pub fn count(&self, bytes: &[u8]) -> usize {
        let seen = self.shared.seen.lock().unwrap_or_else(|e| e.into_inner());
        seen.windows(bytes.len()).filter(|w| *w == bytes).count()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // wakes the accept loop so that it sees the flag
        let _ = TcpStream::connect(self.address);
    }
}

fn pass(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) {
    let (Ok(client_back), Ok(server_back)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let (out, back) = (shared.clone(), shared.clone());
    std::thread::spawn(move || {
        copy(client, server, |bytes, to| {
            let mut seen = out.seen.lock().unwrap_or_else(|e| e.into_inner());
            seen.extend_from_slice(bytes);
            to.write_all(bytes)
        })
    });
    std::thread::spawn(move || {
        copy(server_back, client_back, |bytes, to| {
            let trouble = || *back.trouble.lock().unwrap_or_else(|e| e.into_inner());
            spoil(bytes, to, trouble)
        })
    });
}

/// Passes a piece of an answer on as the trouble has it. Errors end the connection.
fn spoil(bytes: &[u8], to: &mut TcpStream, trouble: impl Fn() -> Trouble) -> std::io::Result<()> {
    let half = &bytes[..bytes.len() / 2];
    let ended = Err(ErrorKind::ConnectionAborted.into());
    match trouble() {
        Trouble::None => to.write_all(bytes),
        Trouble::Delay(by) => {
            std::thread::sleep(by);
            to.write_all(bytes)
        }
        Trouble::Reset => {
            to.write_all(half)?;
            // Closed with bytes to send and no time to send them: the kernel resets it, once both directions have let go.
            SockRef::from(&*to).set_linger(Some(Duration::ZERO))?;
            to.shutdown(Shutdown::Read)?;
            Err(ErrorKind::ConnectionReset.into())
        }
        Trouble::Truncate => {
            to.write_all(half)?;
            ended
        }
        Trouble::Garbage => to.write_all(&[b'x'; 64]),
        Trouble::Hang => {
            while trouble() == Trouble::Hang {
                std::thread::sleep(Duration::from_millis(5));
            }
            ended
        }
    }
}

fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    mut pass: impl FnMut(&[u8], &mut TcpStream) -> std::io::Result<()>,
) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        match pass(&buffer[..n], &mut to) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
