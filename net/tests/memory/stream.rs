//! A connection in memory: reads come in prepared pieces, writes are short. It shows that the codec needs no socket.
#![allow(unsafe_code)] // owned buffers are handed over as pointers

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::BufResult;

/// Polls a future that is ready at once, but for the turns that it gives to others.
pub fn now<F: std::future::Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..10_000 {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the connection waits for something that never comes");
}

/// A stream whose reads return the pieces, one each, then the end; and whose writes are short.
pub struct Memory {
    pieces: VecDeque<Vec<u8>>,
    at: usize,
    written: Rc<RefCell<Vec<u8>>>,
}

impl Memory {
    /// The stream, and where what is written to it ends up.
    pub fn new(pieces: Vec<&[u8]>) -> (Memory, Rc<RefCell<Vec<u8>>>) {
        let written = Rc::new(RefCell::new(Vec::new()));
        let pieces = pieces
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        (
            Memory {
                pieces,
                at: 0,
                written: written.clone(),
            },
            written,
        )
    }
}

impl AsyncReadRent for Memory {
    async fn read<T: IoBufMut>(&mut self, buf: T) -> BufResult<usize, T> {
        let Some(piece) = self.pieces.front() else {
            return (Ok(0), buf);
        };
        let (result, buf) = AsyncReadRent::read(&mut &piece[self.at..], buf).await;
        self.at += result.as_ref().unwrap();
        if self.at == piece.len() {
            self.pieces.pop_front();
            self.at = 0;
        }
        (result, buf)
    }

    async fn readv<T: IoVecBufMut>(&mut self, _buf: T) -> BufResult<usize, T> {
        unimplemented!("the codec reads into one buffer")
    }
}

impl AsyncWriteRent for Memory {
    async fn write<T: IoBuf>(&mut self, buf: T) -> BufResult<usize, T> {
        // SAFETY: `IoBuf` promises that many initialised bytes behind its pointer while we hold it.
        let bytes = unsafe { std::slice::from_raw_parts(buf.read_ptr(), buf.bytes_init()) };
        let taken = bytes.len().min(100);
        self.written.borrow_mut().extend_from_slice(&bytes[..taken]);
        (Ok(taken), buf)
    }

    async fn writev<T: IoVecBuf>(&mut self, buf: T) -> BufResult<usize, T> {
        let mut room = 1000;
        // SAFETY: `IoVecBuf` promises that many valid ranges behind its pointer while we hold it.
        for range in
            unsafe { std::slice::from_raw_parts(buf.read_iovec_ptr(), buf.read_iovec_len()) }
        {
            // SAFETY: and each of them describes initialised bytes.
            let bytes =
                unsafe { std::slice::from_raw_parts(range.iov_base.cast::<u8>(), range.iov_len) };
            let taken = bytes.len().min(room);
            self.written.borrow_mut().extend_from_slice(&bytes[..taken]);
            room -= taken;
        }
        (Ok(1000 - room), buf)
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
