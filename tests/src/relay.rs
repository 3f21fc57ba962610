//! A TCP relay that keeps a copy of what passes: put between a proxy and a node, it proves what did and did not reach the node.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Forwards every connection to one address, in the background, until dropped.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<u8>>,
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

    /// Connections made so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Whether these bytes ever went towards the node.
    pub fn saw(&self, bytes: &[u8]) -> bool {
        let seen = self.shared.seen.lock().unwrap_or_else(|e| e.into_inner());
        seen.windows(bytes.len()).any(|w| w == bytes)
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
    let shared = shared.clone();
    std::thread::spawn(move || {
        copy(client, server, |bytes| {
            shared
                .seen
                .lock()
                .unwrap_or_else(|e| e.into_inner())
                .extend_from_slice(bytes)
        })
    });
    std::thread::spawn(move || copy(server_back, client_back, |_| {}));
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        note(&buffer[..n]);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
