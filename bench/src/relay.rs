//! The least that a proxy with this fan-out can cost: bytes in, the same bytes to k nodes, their bodies one after the other
//! out. It reads nothing but lengths, so it is no HTTP server for the world; what Miroir spends beyond it is what Miroir does.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use monoio::buf::{IoBufMut, SliceMut};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};

use crate::Error;

/// Relays until the listener fails. Each client connection has a connection of its own to every node. Call it on a core.
///
/// # Errors
/// A port that cannot be had.
pub async fn run(listen: SocketAddr, nodes: Vec<SocketAddr>) -> Result<(), Error> {
    let listen_error = |source| Error::Listen {
        address: listen,
        source,
    };
    let listener = miroir_net::bind(listen).map_err(listen_error)?;
    listener.set_nonblocking(monoio::utils::is_legacy())?;
    let listener = TcpListener::from_std(listener)?;
    println!("relay listens on http://{listen}");
    let nodes = Rc::new(nodes);
    loop {
        let (client, _) = listener.accept().await?;
        let nodes = nodes.clone();
        miroir_rt::spawn_background(async move {
            // What ends it is the client's end, or a node's: there is nobody to tell.
            let _ = connection(client, &nodes).await;
        });
    }
}

async fn connection(client: TcpStream, nodes: &[SocketAddr]) -> std::io::Result<()> {
    let mut client = Side::new(client)?;
    let mut upstream = Vec::with_capacity(nodes.len());
    for node in nodes {
        upstream.push(Side::new(TcpStream::connect_addr(*node).await?)?);
    }
    loop {
        let (head, body) = client.message().await?;
        let request = Bytes::from([head, body].concat());
        let answers = upstream.iter_mut().map(|node| {
            let request = request.clone();
            async move {
                node.stream.write_all(request).await.0?;
                node.message().await
            }
        });
        let answers: Vec<(Bytes, Bytes)> = join_all(answers)
            .await
            .into_iter()
            .collect::<std::io::Result<_>>()?;
        let length: usize = answers.iter().map(|(_, body)| body.len()).sum();
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
        .into_bytes();
        answer.reserve(length);
        answers
            .iter()
            .for_each(|(_, body)| answer.extend_from_slice(body));
        client.stream.write_all(answer).await.0?;
    }
}

/// One connection and what was read of it.
struct Side {
    stream: TcpStream,
    read: BytesMut,
}

impl Side {
    fn new(stream: TcpStream) -> std::io::Result<Side> {
        stream.set_nodelay(true)?;
        let read = BytesMut::new();
        Ok(Side { stream, read })
    }

    /// The next message: its head and its body, by its Content-Length.
    async fn message(&mut self) -> std::io::Result<(Bytes, Bytes)> {
        let end = loop {
            match memchr::memmem::find(&self.read, b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.fill(READ_BYTES).await?,
            }
        };
        let length = content_length(&self.read[..end]);
        while self.read.len() < end + length {
            self.fill(end + length - self.read.len()).await?;
        }
        let head = self.read.split_to(end).freeze();
        Ok((head, self.read.split_to(length).freeze()))
    }

    async fn fill(&mut self, room: usize) -> std::io::Result<()> {
        let mut buffer = std::mem::take(&mut self.read);
        let filled = buffer.len();
        buffer.reserve(room.max(READ_BYTES));
        let end = buffer.capacity();
        let (result, slice): (_, SliceMut<BytesMut>) =
            self.stream.read(buffer.slice_mut(filled..end)).await;
        self.read = slice.into_inner();
        match result? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let fields = head.split(|byte| *byte == b'\n');
    let length = fields
        .filter_map(|field| std::str::from_utf8(field).ok()?.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.map_or(0, |(_, value)| value.trim().parse().unwrap_or(0))
}

const READ_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_found_in_any_case() {
        assert_eq!(
            content_length(b"GET / HTTP/1.1\r\nContent-LENGTH: 12\r\n\r\n"),
            12
        );
        assert_eq!(content_length(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"), 0);
    }
}
