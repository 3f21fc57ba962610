//! Content codings of request bodies: gzip, deflate, br, zstd.
//!
//! The limit counts what comes out, because a kilobyte of gzip can hold a megabyte of zeros; decoding stops at the
//! first byte too many. It goes in steps, so that a caller on a core can let others run in between.
//!
//! Pure: bytes in, bytes out.

use std::io::{Cursor, Read};

use bytes::{Buf, Bytes};

/// A content coding (RFC 9110, 8.4.1; zstd: RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Why a body could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    #[error("the body is not what its Content-Encoding says")]
    Corrupt,
    #[error("the decoded body is too large")]
    TooLarge,
}

impl Encoding {
    /// Reads a Content-Encoding value; `Ok(None)` for `identity`.
    ///
    /// # Errors
    /// `Err(())` for an unknown coding or a list of several, which Meilisearch does not take either.
    #[allow(clippy::result_unit_err)] // there is nothing more to say than "unknown"
    pub fn parse(value: &[u8]) -> Result<Option<Encoding>, ()> {
        const NAMES: [(&[u8], Option<Encoding>); 7] = [
            (b"gzip", Some(Encoding::Gzip)),
            (b"x-gzip", Some(Encoding::Gzip)),
            (b"deflate", Some(Encoding::Deflate)),
            (b"br", Some(Encoding::Brotli)),
            (b"zstd", Some(Encoding::Zstd)),
            (b"identity", None),
            (b"", None),
        ];
        NAMES
            .iter()
            .find(|(name, _)| value.eq_ignore_ascii_case(name))
            .map(|(_, coding)| *coding)
            .ok_or(())
    }
}

/// Bytes that one [`Inflate::step`] produces at most; about a millisecond of work.
const STEP_BYTES: usize = 256 * 1024;

/// Base-2 logarithm of zstd's window: 8 MiB, as RFC 9659 demands of content codings. It bounds memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A body being decoded.
pub struct Inflate {
    decoder: Box<dyn Read>,
    output: Vec<u8>,
    output_bytes_max: usize,
}

impl Inflate {
    /// # Errors
    /// [`InflateError::Corrupt`] when the decoder cannot be set up.
    pub fn new(
        encoding: Encoding,
        body: Bytes,
        output_bytes_max: usize,
    ) -> Result<Self, InflateError> {
        let decoder: Box<dyn Read> = match encoding {
            Encoding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(body.reader())),
            Encoding::Deflate => Box::new(flate2::bufread::ZlibDecoder::new(body.reader())),
            Encoding::Brotli => Box::new(brotli::Decompressor::new(Cursor::new(body), 4096)),
            Encoding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(body.reader())
                    .map_err(|_| InflateError::Corrupt)?;
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG_MAX)
                    .map_err(|_| InflateError::Corrupt)?;
                Box::new(decoder)
            }
        };
        Ok(Inflate {
            decoder,
            output: Vec::new(),
            output_bytes_max,
        })
    }

    /// Decodes some more; true when the body is complete.
    ///
    /// # Errors
    /// [`InflateError`]; the decoder is of no further use then.
    pub fn step(&mut self) -> Result<bool, InflateError> {
        // One byte past the limit is enough to know.
        let room = (self.output_bytes_max - self.output.len()).saturating_add(1);
        let wanted = room.min(STEP_BYTES);
        let read = (&mut self.decoder)
            .take(wanted as u64)
            .read_to_end(&mut self.output)
            .map_err(|_| InflateError::Corrupt)?;
        if self.output.len() > self.output_bytes_max {
            return Err(InflateError::TooLarge);
        }
        Ok(read < wanted)
    }

    /// What was decoded.
    pub fn finish(self) -> Bytes {
        Bytes::from(self.output)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn encode(encoding: Encoding, text: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut encoder =
                    flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Brotli => {
                let mut out = Vec::new();
                brotli::CompressorWriter::new(&mut out, 4096, 3, 18)
                    .write_all(text)
                    .unwrap();
                out
            }
            Encoding::Zstd => zstd::encode_all(text, 1).unwrap(),
        }
    }

    fn inflate(encoding: Encoding, body: Vec<u8>, limit: usize) -> Result<Bytes, InflateError> {
        let mut inflate = Inflate::new(encoding, body.into(), limit)?;
        while !inflate.step()? {}
        Ok(inflate.finish())
    }

    const ALL: [Encoding; 4] = [
        Encoding::Gzip,
        Encoding::Deflate,
        Encoding::Brotli,
        Encoding::Zstd,
    ];

    #[test]
    fn every_coding_comes_back() {
        for text in [
            &b""[..],
            b"{}",
            &vec![b'x'; 3 * STEP_BYTES],
            &vec![b'y'; STEP_BYTES],
        ] {
            for encoding in ALL {
                assert_eq!(
                    inflate(encoding, encode(encoding, text), 1 << 20).unwrap(),
                    text,
                    "{encoding:?}"
                );
            }
        }
    }

    #[test]
    fn the_limit_counts_decoded_bytes() {
        let bomb = vec![0; 1 << 20];
        for encoding in ALL {
            let body = encode(encoding, &bomb);
            assert!(body.len() < 16 << 10);
            assert_eq!(
                inflate(encoding, body.clone(), (1 << 20) - 1),
                Err(InflateError::TooLarge),
                "{encoding:?}"
            );
            assert!(inflate(encoding, body, 1 << 20).is_ok(), "{encoding:?}");
        }
    }

    #[test]
    fn truncated_and_foreign_bodies_are_corrupt() {
        for encoding in ALL {
            let mut body = encode(
                encoding,
                b"some text that is long enough to be cut, some text",
            );
            body.truncate(body.len() - 6);
            assert_eq!(
                inflate(encoding, body, 1 << 20),
                Err(InflateError::Corrupt),
                "{encoding:?}"
            );
            let foreign = b"[{\"id\":1,\"title\":\"plain\"}]".to_vec();
            assert_eq!(
                inflate(encoding, foreign, 1 << 20),
                Err(InflateError::Corrupt),
                "{encoding:?}"
            );
        }
    }

    #[test]
    fn names() {
        assert_eq!(Encoding::parse(b"GZIP"), Ok(Some(Encoding::Gzip)));
        assert_eq!(Encoding::parse(b"identity"), Ok(None));
        assert_eq!(Encoding::parse(b"gzip, br"), Err(()));
        assert_eq!(Encoding::parse(b"lzma"), Err(()));
    }
}
