//! A way to a node by a Unix-domain socket, for nodes that listen on a port only.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

/// Whether proxies reach their nodes by Unix-domain sockets in this run.
pub fn wanted() -> bool {
    std::env::var_os("MIROIR_UNIX").is_some_and(|value| value == "1")
}

/// A socket whose connections are passed on to a port of this machine. Its thread ends with the process.
pub struct UnixRelay {
    path: PathBuf,
}

impl UnixRelay {
    /// Listens at `path`, which must not exist.
    pub fn start(path: PathBuf, port: u16) -> std::io::Result<UnixRelay> {
        let listener = UnixListener::bind(&path)?;
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(node) = TcpStream::connect(("127.0.0.1", port)) {
                    let _ = join(client, node);
                }
            }
        });
        Ok(UnixRelay { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn join(client: UnixStream, node: TcpStream) -> std::io::Result<()> {
    node.set_nodelay(true)?;
    let (mut client_back, mut node_back) = (client.try_clone()?, node.try_clone()?);
    let (mut client, mut node) = (client, node);
    thread::spawn(move || {
        pass(&mut client, &mut node);
        let _ = node.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        pass(&mut node_back, &mut client_back);
        let _ = client_back.shutdown(Shutdown::Both);
    });
    Ok(())
}

fn pass(from: &mut impl Read, to: &mut impl Write) {
    // Whatever ends one direction ends it for the other side, too.
    let _ = std::io::copy(from, to);
}
