//! Several byte ranges as one vectored write.
//!
//! monoio's own vectored buffer takes `Vec<Vec<u8>>`; answers here are cut out of nodes' buffers as `Bytes`, and copying
//! them together is what this crate avoids. The only unsafe code of the crate is the promise below.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use monoio::buf::IoVecBuf;

/// Ranges that one `writev` takes (IOV_MAX on Linux).
const RANGES_MAX: usize = 1024;

/// What is left to write.
pub(crate) struct Gather {
    segments: VecDeque<Bytes>,
    ranges: Vec<libc::iovec>,
}

impl Gather {
    pub(crate) fn new(segments: Vec<Bytes>) -> Self {
        let mut gather = Gather {
            segments: segments.into(),
            ranges: Vec::new(),
        };
        gather.advance(0);
        gather
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Forgets the first `written` bytes.
    pub(crate) fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.segments.front_mut() {
            if first.len() > written {
                first.advance(written);
                break;
            }
            written -= first.len();
            self.segments.pop_front();
        }
        self.ranges.clear();
        self.ranges.extend(
            self.segments
                .iter()
                .take(RANGES_MAX)
                .map(|segment| libc::iovec {
                    iov_base: segment.as_ptr().cast_mut().cast(),
                    iov_len: segment.len(),
                }),
        );
    }
}

// SAFETY: the pointer is to `ranges`, which changes only in `advance`, and that needs the `&mut` that nobody has while
// the runtime owns the value; moving a `Vec` does not move its heap block. Every range points into a `Bytes` of
// `segments`, whose memory neither moves nor goes away while that `Bytes` lives, and which is only read from
// (`iov_base` is mutable only because C has one type for both directions). `ranges` is made from `segments` whenever
// these change, so the length is that of valid entries.
unsafe impl IoVecBuf for Gather {
    fn read_iovec_ptr(&self) -> *const libc::iovec {
        self.ranges.as_ptr()
    }

    fn read_iovec_len(&self) -> usize {
        self.ranges.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(gather: &Gather) -> Vec<u8> {
        let bytes: Vec<u8> = gather
            .segments
            .iter()
            .flat_map(|segment| segment.to_vec())
            .collect();
        let listed: usize = gather.ranges.iter().map(|range| range.iov_len).sum();
        assert_eq!(listed, bytes.len());
        bytes
    }

    #[test]
    fn any_partial_write_leaves_the_rest() {
        let segments: Vec<Bytes> = [&b"head"[..], b"", b"b", b"ody and more"]
            .map(Bytes::from_static)
            .to_vec();
        let whole = segments.concat();
        for cut in 0..=whole.len() {
            let mut gather = Gather::new(segments.clone());
            gather.advance(cut);
            assert_eq!(shown(&gather), whole[cut..]);
            assert_eq!(gather.is_empty(), cut == whole.len());
        }
    }

    #[test]
    fn more_ranges_than_one_call_takes() {
        let mut gather = Gather::new(vec![Bytes::from_static(b"x"); RANGES_MAX + 5]);
        assert_eq!(gather.read_iovec_len(), RANGES_MAX);
        gather.advance(RANGES_MAX);
        assert_eq!(gather.read_iovec_len(), 5);
    }
}
