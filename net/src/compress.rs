//! Content codings of answers: gzip and br, where the client takes them (RFC 9110, 12.5.3).
//!
//! The levels are low: an answer is written once and read once, and a core has other clients. A long answer is
//! compressed in steps, between which others get their turn.

use std::io::{self, Write};

use bytes::Bytes;
use miroir_rt::yield_now;

use crate::response::{Body, Response};

/// A coding that answers can be sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Brotli,
}

/// A body shorter than this is sent as it is: it fits a packet or two either way.
const COMPRESSED_BYTES_MIN: usize = 1024;
/// Bytes compressed before others get their turn; about a millisecond of work.
const STEP_BYTES: usize = 64 * 1024;
/// Brotli's own scale, 0 to 11. Past 4 it costs milliseconds for kilobytes.
const BROTLI_QUALITY: u32 = 3;
/// Base-2 logarithm of brotli's window, which is allocated for each answer: 256 KiB.
const BROTLI_WINDOW_LOG: u32 = 18;

impl Coding {
    /// The coding that the client likes best of those we have, by its q-values, in its order where they are equal.
    /// `None`: send it as it is. A `*` alone names nothing that a client need understand.
    pub fn negotiate(accept_encoding: &str) -> Option<Coding> {
        let mut best: Option<(u16, Option<Coding>)> = None;
        for item in accept_encoding.split(',') {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let coding = match name.trim() {
                name if name.eq_ignore_ascii_case("gzip")
                    || name.eq_ignore_ascii_case("x-gzip") =>
                {
                    Some(Coding::Gzip)
                }
                name if name.eq_ignore_ascii_case("br") => Some(Coding::Brotli),
                name if name.eq_ignore_ascii_case("identity") => None,
                _ => continue,
            };
            let weight = weight(parameters);
            if weight > 0 && best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, coding));
            }
        }
        best.and_then(|(_, coding)| coding)
    }

    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Brotli => "br",
        }
    }
}

/// A q-value in thousandths; 1 where there is none, 0 where it cannot be read.
fn weight(parameters: &str) -> u16 {
    let Some(value) = parameters
        .split(';')
        .filter_map(|parameter| parameter.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map(|(_, value)| value.trim())
    else {
        return 1000;
    };
    match value.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => (value * 1000.0) as u16,
        _ => 0,
    }
}

impl Response {
    /// This answer in `coding`. It stays as it is where it is short, where it has a coding already, or where compressing
    /// fails.
    pub async fn compressed(mut self, coding: Coding) -> Response {
        let (Body::Segments(pieces) | Body::Chunked(pieces)) = &self.body else {
            return self;
        };
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let coded = self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
        if length < COMPRESSED_BYTES_MIN || coded {
            return self;
        }
        match compress(coding, pieces).await {
            Ok(body) => {
                self.body = Body::Segments(vec![body]);
                self.header("content-encoding", coding.name())
            }
            Err(error) => {
                tracing::error!(%error, "an answer could not be compressed");
                self
            }
        }
    }
}

async fn compress(coding: Coding, pieces: &[Bytes]) -> io::Result<Bytes> {
    let mut encoder = Encoder::new(coding);
    let mut since_turn = 0;
    for piece in pieces {
        for step in piece.chunks(STEP_BYTES) {
            if since_turn + step.len() > STEP_BYTES {
                yield_now().await;
                since_turn = 0;
            }
            since_turn += step.len();
            encoder.write(step)?;
        }
    }
    encoder.finish().map(Bytes::from)
}

enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Encoder::Gzip(flate2::write::GzEncoder::new(
                Vec::new(),
                flate2::Compression::fast(),
            )),
            Coding::Brotli => Encoder::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                4096,
                BROTLI_QUALITY,
                BROTLI_WINDOW_LOG,
            ))),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Gzip(encoder) => encoder.write_all(bytes),
            Encoder::Brotli(encoder) => encoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish(),
            // Its end is written when it is taken apart.
            Encoder::Brotli(encoder) => Ok(encoder.into_inner()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_clients_wish_is_read_with_its_weights() {
        for (accept, coding) in [
            ("gzip, deflate, br, zstd", Some(Coding::Gzip)),
            ("br;q=1.0, gzip;q=0.8", Some(Coding::Brotli)),
            ("br;q=0.5, gzip;q=0.8", Some(Coding::Gzip)),
            ("gzip;q=0", None),
            ("GZIP", Some(Coding::Gzip)),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.1, gzip;q=0.5", Some(Coding::Gzip)),
            ("zstd", None),
            ("*", None),
            ("gzip;q=2", None),
            ("gzip;q=x, br", Some(Coding::Brotli)),
            ("", None),
        ] {
            assert_eq!(Coding::negotiate(accept), coding, "{accept}");
        }
    }

    #[test]
    fn what_is_compressed_comes_back() {
        let text = r#"{"hits":[1,2,3]}"#.repeat(20_000);
        let pieces: Vec<Bytes> = text
            .as_bytes()
            .chunks(100_000)
            .map(Bytes::copy_from_slice)
            .collect();
        for coding in [Coding::Gzip, Coding::Brotli] {
            let mut encoder = Encoder::new(coding);
            for piece in &pieces {
                encoder.write(piece).unwrap();
            }
            let body = encoder.finish().unwrap();
            assert!(body.len() < text.len() / 10);
            let mut back = String::new();
            match coding {
                Coding::Gzip => flate2::read::GzDecoder::new(&body[..])
                    .read_to_string(&mut back)
                    .unwrap(),
                Coding::Brotli => brotli::Decompressor::new(&body[..], 4096)
                    .read_to_string(&mut back)
                    .unwrap(),
            };
            assert_eq!(back, text);
        }
    }
}
