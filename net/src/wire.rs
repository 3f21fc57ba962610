//! A stream with a read buffer, deadlines, and gathered writes: what server and client share.
//!
//! A deadline that strikes drops the operation, and with it its bytes; whoever gets [`Stop::Deadline`] or
//! [`Stop::Shutdown`] may therefore only write a last word and close. On the ring the dropped operation is cancelled and
//! keeps its buffer and descriptor until the kernel has let go of them.

use std::future::Future;
use std::io;
use std::pin::{pin, Pin};
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};
use miroir_rt::{sleep_until, Instant, Shutdown};
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent};

use crate::gather::Gather;

/// Bytes that a fresh read buffer holds: what an idle connection costs. Most requests fit.
pub(crate) const READ_BYTES: usize = 4 * 1024;
/// Room that is made for what is said to be on its way before any of it came.
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Later, room is made for so many times what did come. A large message then moves once or twice while it grows, not at every
/// doubling: each move leaves a hole of the size that it had.
const GROWTH: usize = 16;
/// Up to here it is cheaper to copy the pieces together than to describe them to the kernel.
pub(crate) const COPY_BYTES_MAX: usize = 8 * 1024;
/// An idle connection keeps no buffer larger than this.
const IDLE_BYTES_MAX: usize = 16 * 1024;

/// Why reading or writing ended.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The other side closed; for writes also: it took nothing any more.
    Closed,
    Deadline,
    Shutdown,
    Io(io::Error),
}

pub(crate) struct Wire<S> {
    pub stream: S,
    /// What was read and not yet used.
    pub buffer: BytesMut,
    /// Bytes of the last message, where the next is likely to be as long.
    pub last_bytes: usize,
}

impl<S: AsyncReadRent + AsyncWriteRent> Wire<S> {
    pub fn new(stream: S) -> Self {
        Wire {
            stream,
            buffer: BytesMut::new(),
            last_bytes: 0,
        }
    }

    /// Reads once, appending at least one byte to the buffer. `room`: bytes that are known to be on their way; the
    /// buffer is made to hold them, but only so far as what came already makes it likely ([`READ_BYTES_MAX`], [`GROWTH`]).
    pub async fn fill(
        &mut self,
        room: usize,
        until: Instant,
        shutdown: Option<&Shutdown>,
    ) -> Result<(), Stop> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let filled = buffer.len();
        let left = buffer.capacity() - filled;
        if left < room.min(READ_BYTES) || (filled == 0 && left < room.min(READ_BYTES_MAX)) {
            let likely = READ_BYTES_MAX.max(filled.saturating_mul(GROWTH));
            buffer.reserve(room.clamp(READ_BYTES, likely));
        }
        let end = buffer.capacity();
        let slice = buffer.slice_mut(filled..end);
        let (result, slice) = bounded(self.stream.read(slice), until, shutdown).await?;
        self.buffer = slice.into_inner();
        match result {
            Ok(0) => Err(Stop::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(Stop::Io(error)),
        }
    }

    /// Writes all segments, in order. `deadline` is asked anew before each write: a fixed time for a whole exchange, or
    /// one that moves on with progress. `written` counts what the kernel took, also when it ends early.
    pub async fn write_all(
        &mut self,
        segments: Vec<Bytes>,
        deadline: impl Fn() -> Instant,
        written: &mut usize,
    ) -> Result<(), Stop> {
        let total: usize = segments.iter().map(Bytes::len).sum();
        if let [_] = segments.as_slice() {
            return self
                .write_one(
                    segments.into_iter().next().unwrap_or_default(),
                    deadline,
                    written,
                )
                .await;
        }
        if total <= COPY_BYTES_MAX {
            return self
                .write_one(segments.concat().into(), deadline, written)
                .await;
        }
        let mut gather = Gather::new(segments);
        while !gather.is_empty() {
            let (result, left) = bounded(self.stream.writev(gather), deadline(), None).await?;
            gather = left;
            let taken = progress(result)?;
            *written += taken;
            gather.advance(taken);
        }
        Ok(())
    }

    /// The same for one segment.
    pub async fn write_one(
        &mut self,
        mut bytes: Bytes,
        deadline: impl Fn() -> Instant,
        written: &mut usize,
    ) -> Result<(), Stop> {
        while !bytes.is_empty() {
            let (result, left) = bounded(self.stream.write(bytes), deadline(), None).await?;
            bytes = left;
            let taken = progress(result)?;
            *written += taken;
            bytes.advance(taken);
        }
        Ok(())
    }

    /// Gives memory back that a large message needed and an idle connection does not.
    pub fn shrink(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > IDLE_BYTES_MAX {
            self.buffer = BytesMut::new();
        }
    }
}

fn progress(result: io::Result<usize>) -> Result<usize, Stop> {
    match result {
        Ok(0) => Err(Stop::Closed),
        Ok(taken) => Ok(taken),
        Err(error) => Err(Stop::Io(error)),
    }
}

/// The operation's result, unless the deadline or the shutdown comes first. A timer is only set up when the operation
/// has to wait.
async fn bounded<T>(
    operation: impl Future<Output = T>,
    until: Instant,
    shutdown: Option<&Shutdown>,
) -> Result<T, Stop> {
    let mut operation = pin!(operation);
    if let Poll::Ready(done) =
        std::future::poll_fn(|cx| Poll::Ready(operation.as_mut().poll(cx))).await
    {
        return Ok(done);
    }
    let mut timer = pin!(sleep_until(until));
    let mut ending = shutdown.map(Shutdown::wait);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = operation.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Stop::Deadline));
        }
        match ending.as_mut().map(|ending| Pin::new(ending).poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(Stop::Shutdown)),
            _ => Poll::Pending,
        }
    })
    .await
}
