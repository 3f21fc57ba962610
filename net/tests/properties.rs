//! Properties of the codec: what is encoded comes back, however it is split; what is noise never panics.

#[path = "memory/stream.rs"]
mod memory;

use bytes::{Bytes, BytesMut};
use miroir_net::chunked::ChunkedDecoder;
use miroir_net::head::{parse_request_head, parse_response_head, Framing, HeadScanner};
use miroir_net::server::drive;
use miroir_net::{Limits, Request, Response};
use miroir_rt::Shutdown;
use proptest::collection::vec;
use proptest::prelude::*;

use memory::{now, Memory};

/// One request to encode: its body as the chunks to send it in, and whether chunked or under a length.
#[derive(Clone, Debug)]
struct Sent {
    chunks: Vec<Vec<u8>>,
    chunked: bool,
    trailers: bool,
    extension: bool,
    /// The answer comes chunked as well.
    answer_chunked: bool,
}

impl Sent {
    fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    fn encode(&self, wire: &mut Vec<u8>) {
        let target = if self.answer_chunked { "/chunked" } else { "/" };
        wire.extend_from_slice(format!("POST {target} HTTP/1.1\r\nHost: t\r\n").as_bytes());
        if !self.chunked {
            wire.extend_from_slice(
                format!("Content-Length: {}\r\n\r\n", self.body().len()).as_bytes(),
            );
            wire.extend_from_slice(&self.body());
            return;
        }
        wire.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        for chunk in self.chunks.iter().filter(|chunk| !chunk.is_empty()) {
            let extension = if self.extension { ";name=\"a b\"" } else { "" };
            wire.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(if self.trailers {
            b"0\r\nA: b\r\nC: d\r\n\r\n"
        } else {
            b"0\r\n\r\n"
        });
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let chunks = vec(vec(any::<u8>(), 0..300), 0..6);
    (chunks, any::<[bool; 4]>()).prop_map(
        |(chunks, [chunked, trailers, extension, answer_chunked])| Sent {
            chunks,
            chunked,
            trailers,
            extension,
            answer_chunked,
        },
    )
}

/// Cuts the bytes into pieces whose sizes repeat.
fn split<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Gives the body back, in pieces.
async fn echo(request: Request) -> Response {
    let pieces = request
        .body
        .chunks(70)
        .map(Bytes::copy_from_slice)
        .collect();
    match request.path() {
        "/chunked" => Response::chunked(200, pieces),
        _ => Response::segments(200, pieces),
    }
}

/// Reads the bodies of all answers with the client's own parsers.
fn bodies(mut received: BytesMut) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    while !received.is_empty() {
        let end = HeadScanner::default()
            .find(&received, 1 << 16)
            .unwrap()
            .expect("a whole head");
        let head = parse_response_head(&received.split_to(end).freeze(), false).unwrap();
        assert_eq!(head.status, 200);
        bodies.push(match head.framing {
            Framing::Length(length) => received.split_to(length as usize).to_vec(),
            Framing::Chunked => {
                let mut body = BytesMut::new();
                let progress = ChunkedDecoder::new(1 << 20)
                    .decode(&received, &mut body)
                    .unwrap();
                assert!(progress.done);
                let _ = received.split_to(progress.consumed);
                body.to_vec()
            }
            other => panic!("{other:?}"),
        });
    }
    bodies
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn pipelines_come_back_however_they_are_framed_and_split(
        requests in vec(sent(), 1..8),
        sizes in vec(1_usize..400, 1..20),
    ) {
        let mut wire = Vec::new();
        requests.iter().for_each(|request| request.encode(&mut wire));
        let (stream, written) = Memory::new(split(&wire, &sizes));
        now(drive(stream, &echo, &Limits::default(), &Shutdown::new()));
        let expected: Vec<Vec<u8>> = requests.iter().map(Sent::body).collect();
        prop_assert_eq!(bodies(BytesMut::from(&written.take()[..])), expected);
    }

    #[test]
    fn a_chunked_body_takes_exactly_its_own_bytes(
        request in sent(),
        sizes in vec(1_usize..50, 1..20),
        after in vec(any::<u8>(), 0..20),
    ) {
        let mut wire = Vec::new();
        Sent { chunked: true, ..request.clone() }.encode(&mut wire);
        let start = wire.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let coded = [&wire[start..], &after].concat();
        let mut decoder = ChunkedDecoder::new(1 << 20);
        let mut body = BytesMut::new();
        let mut consumed = 0;
        for piece in split(&coded, &sizes) {
            let progress = decoder.decode(piece, &mut body).unwrap();
            consumed += progress.consumed;
            if progress.done {
                break;
            }
        }
        prop_assert_eq!(body.to_vec(), request.body());
        prop_assert_eq!(consumed, wire.len() - start);
    }

    #[test]
    fn the_end_of_a_head_does_not_depend_on_splits(
        head in "(\r\n)?[A-Z]{1,4} /[ -~]{0,20} HTTP/1.1(\r\n|\n)([a-zA-Z]{1,5}: [ -~]{0,10}\r\n){0,5}\r\n.{0,10}",
        limit in 20_usize..200,
        step in 1_usize..30,
    ) {
        let head = head.as_bytes();
        let whole = HeadScanner::default().find(head, limit);
        let mut scanner = HeadScanner::default();
        let mut visible = 0;
        let split = loop {
            visible = (visible + step).min(head.len());
            match scanner.find(&head[..visible], limit) {
                Ok(None) if visible < head.len() => {}
                found => break found,
            }
        };
        prop_assert_eq!(whole, split);
    }

    #[test]
    fn noise_never_panics(noise in vec(any::<u8>(), 0..300), sizes in vec(1_usize..100, 1..5)) {
        let bytes = Bytes::from(noise.clone());
        let _ = parse_request_head(&bytes);
        let _ = parse_response_head(&bytes, false);
        let _ = ChunkedDecoder::new(100).decode(&noise, &mut BytesMut::new());
        let (stream, _) = Memory::new(split(&noise, &sizes));
        now(drive(stream, &echo, &Limits::default(), &Shutdown::new()));
    }

    /// Noise in the middle of what is nearly a request comes further than plain noise.
    #[test]
    fn a_damaged_request_is_refused_or_understood_but_never_panics(
        request in sent(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in vec(1_usize..100, 1..5),
    ) {
        let mut wire = Vec::new();
        request.encode(&mut wire);
        for (index, byte) in damage {
            let at = index.index(wire.len());
            wire[at] = byte;
        }
        // Whole and split must agree.
        let (stream, whole) = Memory::new(vec![&wire]);
        now(drive(stream, &echo, &Limits::default(), &Shutdown::new()));
        let (stream, pieces) = Memory::new(split(&wire, &sizes));
        now(drive(stream, &echo, &Limits::default(), &Shutdown::new()));
        prop_assert_eq!(whole.take(), pieces.take());
    }
}
