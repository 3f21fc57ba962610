//! Where does a message end? The cases are data, in `framing.json`; each goes through
//!
//! - a real connection, on both drivers, and
//! - an in-memory stream that splits it at every byte, which must change nothing.
//!
//! A case: `send` (text, or a list of texts, `{repeat, times}` and `{bytes}`), the `answers` in order, and how it `end`s:
//! `open` (a further request on the same connection is answered, so both sides agree about where the last one ended),
//! `close` (the server closes, and nothing after the last answer was handled) or `eof` (the client closes first).
//! The number of requests that reach the handler must be the number of answers that come from it.

#[path = "memory/stream.rs"]
mod memory;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown as Half, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use miroir_net::server::drive;
use miroir_net::{bind, serve, Handler, Limits, Request, Response};
use miroir_rt::{start, usable_drivers, Cores, CoresConfig, DriverChoice, Shutdown};
use serde::Deserialize;

use memory::{now, Memory};

#[derive(Deserialize)]
struct Case {
    name: String,
    send: Send,
    answers: Vec<Expected>,
    end: End,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Send {
    Text(String),
    Pieces(Vec<Piece>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Piece {
    Text(String),
    Repeat { repeat: String, times: usize },
    Bytes { bytes: Vec<u8> },
}

#[derive(Deserialize)]
struct Expected {
    status: u16,
    code: Option<String>,
    method: Option<String>,
    target: Option<String>,
    body: Option<String>,
    /// The exact body.
    raw: Option<String>,
    /// The body's length.
    length: Option<usize>,
    /// Answers a HEAD: a length is declared and no body follows.
    #[serde(default)]
    head: bool,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum End {
    Open,
    Close,
    Eof,
}

const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Cases longer than this are about limits and are not split at every byte.
const SPLIT_BYTES_MAX: usize = 1000;

#[test]
fn every_case_over_tcp_on_both_drivers() {
    for driver in usable_drivers() {
        let server = Server::start(driver, limits());
        for case in cases() {
            let before = server.handled();
            let mut stream = server.connect();
            // The server may refuse and close before everything is sent.
            let _ = stream.write_all(&case.bytes());
            if case.end == End::Eof {
                stream.shutdown(Half::Write).unwrap();
            }
            let mut received = Vec::new();
            let _ = stream.read_to_end(&mut received);
            case.check(&received, server.handled() - before, &format!("{driver:?}"));
        }
    }
}

#[test]
fn no_case_depends_on_how_its_bytes_are_split() {
    for case in cases() {
        let bytes = case.bytes();
        let (whole, handled) = in_memory(vec![&bytes]);
        case.check(&whole, handled, "in memory, whole");
        if bytes.len() > SPLIT_BYTES_MAX {
            continue;
        }
        for cut in 1..bytes.len() {
            let (split, handled) = in_memory(vec![&bytes[..cut], &bytes[cut..]]);
            case.check(&split, handled, &format!("split at {cut}"));
        }
        let (single, handled) = in_memory(bytes.chunks(1).collect());
        case.check(&single, handled, "byte by byte");
    }
}

/// The suite must be able to fail: a server that never refuses would be noticed.
#[test]
fn the_file_holds_both_kinds_of_cases() {
    let cases = cases();
    assert!(cases.len() > 200);
    assert!(cases.iter().filter(|case| case.end == End::Open).count() > 30);
    assert!(
        cases
            .iter()
            .filter(|case| case.answers.iter().any(|answer| answer.status == 400))
            .count()
            > 100
    );
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("framing.json")).unwrap()
}

fn limits() -> Limits {
    Limits {
        body_bytes_max: 1_000_000,
        ..Limits::default()
    }
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &self.send {
            Send::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Send::Pieces(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                        Piece::Repeat { repeat, times } => {
                            bytes.extend_from_slice(repeat.repeat(*times).as_bytes())
                        }
                        Piece::Bytes { bytes: raw } => bytes.extend_from_slice(raw),
                    }
                }
            }
        }
        if self.end == End::Open {
            bytes.extend_from_slice(LAST);
        }
        bytes
    }

    fn check(&self, received: &[u8], handled: usize, how: &str) {
        let context = format!(
            "{:?}, {how}: {}",
            self.name,
            received[..received.len().min(600)].escape_ascii()
        );
        let mut rest = received;
        let mut from_handler = 0;
        for expected in &self.answers {
            let answer = Answer::take(&mut rest, expected.head)
                .unwrap_or_else(|| panic!("no answer; {context}"));
            assert_eq!(answer.status, expected.status, "{context}");
            if expected.status >= 400 {
                let error: serde_json::Value =
                    serde_json::from_slice(&answer.body).expect(&context);
                assert_eq!(
                    error["code"].as_str(),
                    expected.code.as_deref(),
                    "{context}"
                );
                assert!(answer.head.contains("connection: close"), "{context}");
            } else {
                from_handler += 1;
            }
            if let Some(method) = &expected.method {
                let body = serde_json::json!({"method": method, "target": expected.target, "body": expected.body});
                assert_eq!(
                    serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap(),
                    body,
                    "{context}"
                );
            }
            if let Some(raw) = &expected.raw {
                assert_eq!(answer.body, raw.as_bytes(), "{context}");
            }
            if let Some(length) = expected.length {
                assert_eq!(answer.body.len(), length, "{context}");
            }
            if matches!(expected.status, 204 | 304) {
                assert!(
                    answer.body.is_empty() && !answer.head.contains("content-length"),
                    "{context}"
                );
            }
        }
        if self.end == End::Open {
            let last = Answer::take(&mut rest, false)
                .unwrap_or_else(|| panic!("not in step any more; {context}"));
            let body: serde_json::Value = serde_json::from_slice(&last.body).expect(&context);
            assert_eq!(body["target"], "/last", "{context}");
            from_handler += 1;
        }
        assert!(rest.is_empty(), "more answers than expected; {context}");
        assert_eq!(
            handled, from_handler,
            "requests that reached the handler; {context}"
        );
    }
}

/// One answer, cut off the front of what was received; interim answers are skipped.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn take(rest: &mut &[u8], to_head: bool) -> Option<Answer> {
        while let Some(after) = rest.strip_prefix(CONTINUE) {
            *rest = after;
        }
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(rest[..end].to_vec())
            .ok()?
            .to_ascii_lowercase();
        *rest = &rest[end..];
        let status: u16 = head.get(9..12)?.parse().ok()?;
        let body = if to_head || matches!(status, 204 | 304) {
            Vec::new()
        } else if head.contains("transfer-encoding: chunked") {
            take_chunks(rest)?
        } else if let Some(at) = head.find("content-length: ") {
            let length: usize = head[at + 16..].split('\r').next()?.parse().ok()?;
            let body = rest.get(..length)?.to_vec();
            *rest = &rest[length..];
            body
        } else {
            std::mem::take(rest).to_vec()
        };
        Some(Answer { status, head, body })
    }
}

fn take_chunks(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        *rest = &rest[line + 2..];
        body.extend_from_slice(rest.get(..size)?);
        *rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some(body);
        }
    }
}

async fn echo(request: Request) -> Response {
    match request.path() {
        "/empty" => Response::empty(204),
        "/unchanged" => Response::empty(304),
        "/chunked" => Response::chunked(
            200,
            vec![
                Bytes::from_static(b"[1,"),
                Bytes::new(),
                Bytes::from_static(b"2]"),
            ],
        ),
        "/big" => Response::segments(200, vec![Bytes::from_static(&[b' '; 3]); 100_000]),
        _ => {
            let echo = serde_json::json!({
                "method": request.method.as_str(),
                "target": String::from_utf8_lossy(&request.target),
                "body": String::from_utf8_lossy(&request.body),
            });
            Response::json(200, echo.to_string())
        }
    }
}

struct Server {
    _cores: Cores,
    address: SocketAddr,
    handled: Arc<AtomicUsize>,
}

impl Server {
    fn start(driver: DriverChoice, limits: Limits) -> Self {
        let handled = Arc::new(AtomicUsize::new(0));
        let counter = handled.clone();
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let cores = start(
            CoresConfig {
                cores: 1,
                driver,
                pin: false,
                ..CoresConfig::default()
            },
            move |core| {
                let (listener, counter) = (listener.try_clone().unwrap(), counter.clone());
                async move {
                    let handler = Rc::new(move |request| {
                        counter.fetch_add(1, Ordering::SeqCst);
                        echo(request)
                    });
                    serve(listener, handler, Rc::new(limits), core.shutdown)
                        .await
                        .unwrap();
                }
            },
        )
        .unwrap();
        Server {
            _cores: cores,
            address,
            handled,
        }
    }

    fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        // Only bounds a failure.
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }
}

/// What the server answers, and how many requests it handled, when its input comes in these pieces.
fn in_memory(pieces: Vec<&[u8]>) -> (Vec<u8>, usize) {
    struct Counting(Rc<Cell<usize>>);
    impl Handler for Counting {
        async fn handle(&self, request: Request) -> Response {
            self.0.set(self.0.get() + 1);
            echo(request).await
        }
    }
    let handled = Rc::new(Cell::new(0));
    let (stream, written) = Memory::new(pieces);
    let handler = Counting(handled.clone());
    now(drive(stream, &handler, &limits(), &Shutdown::new()));
    (written.take(), handled.get())
}
