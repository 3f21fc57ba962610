//! The chunked coding: the same body however the bytes are cut, within its limit, and nothing taken past its end.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use miroir_net::chunked::{ChunkError, ChunkedDecoder};

const BODY_BYTES_MAX: usize = 1024;

fuzz_target!(|input: &[u8]| {
    let Some((step, input)) = input.split_first() else {
        return;
    };
    let whole = decode(input, usize::MAX);
    assert_eq!(whole, decode(input, usize::from(*step).max(1)));
    if let Ok((body, _, _)) = whole {
        assert!(body.len() <= BODY_BYTES_MAX && body.len() <= input.len());
    }
});

/// The body, how many bytes it took of the input, and whether it is complete.
fn decode(mut input: &[u8], step: usize) -> Result<(BytesMut, usize, bool), ChunkError> {
    let mut decoder = ChunkedDecoder::new(BODY_BYTES_MAX);
    let mut body = BytesMut::new();
    let mut taken = 0;
    while !input.is_empty() {
        let piece = &input[..step.min(input.len())];
        let progress = decoder.decode(piece, &mut body)?;
        taken += progress.consumed;
        if progress.done {
            return Ok((body, taken, true));
        }
        assert_eq!(progress.consumed, piece.len());
        input = &input[piece.len()..];
    }
    Ok((body, taken, false))
}
