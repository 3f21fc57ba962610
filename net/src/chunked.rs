//! The chunked transfer coding, decoded strictly (RFC 9112, 7.1).
//!
//! Chunk sizes are where parsers disagree most: signs, `0x`, blanks, overflow, bare line feeds, extensions of any
//! length. Each of these is an error here. Extensions are skipped and trailers dropped, both within limits.
//!
//! Pure: the decoder is fed bytes in pieces of any size and appends the body to a buffer.

use bytes::BytesMut;

/// Bytes of extensions and trailers together that one body may carry.
pub const OVERHEAD_BYTES_MAX: usize = 16 * 1024;

/// Why a chunked body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a chunk size is malformed")]
    Size,
    #[error("a chunk extension is malformed")]
    Extension,
    #[error("a chunk does not end in a line break")]
    End,
    #[error("a trailer field is malformed")]
    Trailer,
    #[error("chunk extensions and trailers are too large")]
    Overhead,
    #[error("the body is too large")]
    TooLarge,
}

/// What one call of [`ChunkedDecoder::decode`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that belong to this body and were taken.
    pub consumed: usize,
    /// The body and its trailers are complete.
    pub done: bool,
}

/// A decoder for one body.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Size of the chunk being read, then what is left of it.
    chunk_bytes: u64,
    overhead_bytes: usize,
    body_bytes: usize,
    body_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { digits: u8 },
    ExtensionStart,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

impl ChunkedDecoder {
    /// A decoder that refuses more than `body_bytes_max` bytes of body.
    pub fn new(body_bytes_max: usize) -> Self {
        ChunkedDecoder {
            state: State::Size { digits: 0 },
            chunk_bytes: 0,
            overhead_bytes: 0,
            body_bytes: 0,
            body_bytes_max,
        }
    }

    /// Takes what it can from `input` and appends the body's bytes to `body`.
    ///
    /// # Errors
    /// [`ChunkError`]; the decoder is of no further use then.
    pub fn decode(&mut self, input: &[u8], body: &mut BytesMut) -> Result<Progress, ChunkError> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let left = usize::try_from(self.chunk_bytes).unwrap_or(usize::MAX);
                let taken = left.min(input.len() - at);
                body.extend_from_slice(&input[at..at + taken]);
                self.chunk_bytes -= taken as u64;
                at += taken;
                if self.chunk_bytes == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(input[at])?;
                at += 1;
            }
        }
        Ok(Progress {
            consumed: at,
            done: self.state == State::Done,
        })
    }

    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        match (self.state, byte) {
            (State::Size { digits: 1.. }, b'\r') => Ok(State::SizeLf),
            (State::Size { digits: 1.. }, b';') => self.overhead(State::ExtensionStart),
            (State::Size { digits }, _) => self.size_digit(digits, byte),
            (State::ExtensionStart, _) if is_token(byte) => self.overhead(State::Extension),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.overhead(State::Extension),
            (State::ExtensionStart | State::Extension, _) => Err(ChunkError::Extension),
            (State::SizeLf, b'\n') => self.begin_chunk(),
            (State::SizeLf, _) => Err(ChunkError::Size),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.chunk_bytes = 0;
                Ok(State::Size { digits: 0 })
            }
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => {
                self.overhead(State::TrailerName)
            }
            (State::TrailerName, b':') => self.overhead(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => {
                self.overhead(State::TrailerValue)
            }
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::DataCr | State::DataLf, _) => Err(ChunkError::End),
            // `Data` and `Done` never come here.
            _ => Err(ChunkError::Trailer),
        }
    }

    fn size_digit(&mut self, digits: u8, byte: u8) -> Result<State, ChunkError> {
        let digit = (byte as char).to_digit(16).ok_or(ChunkError::Size)?;
        if digits == 16 {
            return Err(ChunkError::Size);
        }
        self.chunk_bytes = self.chunk_bytes << 4 | u64::from(digit);
        Ok(State::Size { digits: digits + 1 })
    }

    fn begin_chunk(&mut self) -> Result<State, ChunkError> {
        if self.chunk_bytes == 0 {
            return Ok(State::TrailerStart);
        }
        let chunk = usize::try_from(self.chunk_bytes).map_err(|_| ChunkError::TooLarge)?;
        self.body_bytes = self
            .body_bytes
            .checked_add(chunk)
            .filter(|total| *total <= self.body_bytes_max)
            .ok_or(ChunkError::TooLarge)?;
        Ok(State::Data)
    }

    fn overhead(&mut self, next: State) -> Result<State, ChunkError> {
        self.overhead_bytes += 1;
        if self.overhead_bytes > OVERHEAD_BYTES_MAX {
            return Err(ChunkError::Overhead);
        }
        Ok(next)
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8]) -> Result<(Vec<u8>, Progress), ChunkError> {
        let mut body = BytesMut::new();
        let progress = ChunkedDecoder::new(1 << 20).decode(input, &mut body)?;
        Ok((body.to_vec(), progress))
    }

    #[test]
    fn body_extensions_and_trailers() {
        let input = b"4\r\nWiki\r\n05;a=b;c=\"d e\"\r\npedia\r\n0\r\nX-Sum: 1\r\n\r\nGET /next";
        let (body, progress) = decode(input).unwrap();
        assert_eq!(body, b"Wikipedia");
        assert_eq!(
            progress,
            Progress {
                consumed: input.len() - 9,
                done: true
            }
        );
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for (input, error) in [
            (&b"+5\r\n"[..], ChunkError::Size),
            (b"0x5\r\n", ChunkError::Size),
            (b" 5\r\n", ChunkError::Size),
            (b"5 \r\n", ChunkError::Size),
            (b"5\n", ChunkError::Size),
            (b"\r\n", ChunkError::Size),
            (b"5\rX", ChunkError::Size),
            (b"00000000000000005\r\n", ChunkError::Size),
            (b"10000000000000000\r\n", ChunkError::Size),
            (b"ffffffffffffffff\r\n", ChunkError::TooLarge),
            (b"5;\r\n", ChunkError::Extension),
            (b"5;a\nb\r\n", ChunkError::Extension),
            (b"1\r\nab\r\n", ChunkError::End),
            (b"1\r\na\n", ChunkError::End),
            (b"0\r\nbad header: 1\r\n\r\n", ChunkError::Trailer),
            (b"0\r\n folded\r\n\r\n", ChunkError::Trailer),
            (b"0\r\na: b\n\r\n", ChunkError::Trailer),
            (b"0\r\n\n", ChunkError::Trailer),
        ] {
            assert_eq!(
                decode(input).unwrap_err(),
                error,
                "{}",
                input.escape_ascii()
            );
        }
    }

    #[test]
    fn extensions_and_trailers_are_limited() {
        let mut input = b"1;a=".to_vec();
        input.resize(OVERHEAD_BYTES_MAX + 10, b'x');
        assert_eq!(decode(&input).unwrap_err(), ChunkError::Overhead);
        let mut input = b"0\r\na:".to_vec();
        input.resize(OVERHEAD_BYTES_MAX + 10, b'x');
        assert_eq!(decode(&input).unwrap_err(), ChunkError::Overhead);
    }

    #[test]
    fn the_limit_counts_all_chunks() {
        let mut body = BytesMut::new();
        let mut decoder = ChunkedDecoder::new(5);
        assert_eq!(
            decoder.decode(b"3\r\nabc\r\n3\r\n", &mut body),
            Err(ChunkError::TooLarge)
        );
    }
}
