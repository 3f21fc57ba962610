//! Ambiguous framing against the real program: an answer of RFC 9112's kind, a closed connection, and nothing of it at any node.
//!
//! Request smuggling needs two parties that disagree about where a request ends. The proxy is one, the nodes are the other, so what
//! counts is not only the status but that the bytes never arrive: a relay between proxy and node keeps everything that passes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use miroir_tests::fleet::{Fleet, Plan, MASTER_KEY};
use miroir_tests::http::until;
use serde_json::json;

/// Name, the statuses allowed, and the request: `{K}` is the authorization header's value, `{M}` a mark that must not pass.
const REFUSED: &[(&str, &[u16], &str)] = &[
    ("two lengths that differ", &[400], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nContent-Length: 13\r\nContent-Length: 5\r\n\r\n{\"q\": \"{M}\"}"),
    ("a list of lengths that differ", &[400], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nContent-Length: 13, 5\r\n\r\n{\"q\": \"{M}\"}"),
    ("a signed length", &[400], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nContent-Length: +19\r\n\r\n{\"q\": \"{M}\"}"),
    ("a negative length", &[400], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nContent-Length: -1\r\n\r\n{\"q\": \"{M}\"}"),
    ("a length in hex", &[400], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nContent-Length: 0x13\r\n\r\n{\"q\": \"{M}\"}"),
    ("a length past 64 bits", &[400, 413], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nContent-Length: 18446744073709551635\r\n\r\n{\"q\": \"{M}\"}"),
    ("length and chunked", &[400], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nGET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\n{A}\r\n"),
    ("chunked and length", &[400], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}GET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\n{A}\r\n"),
    ("an encoding that is not chunked", &[400, 501], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nTransfer-Encoding: xchunked\r\n\r\n13\r\n{\"q\": \"{M}\"}\r\n0\r\n\r\n"),
    ("chunked twice", &[400], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nGET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\n{A}\r\n"),
    ("two encodings", &[400, 501], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\nGET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\n{A}\r\n"),
    ("chunked is not last", &[400, 501], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\n{}\r\n0\r\n\r\nGET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\n{A}\r\n"),
    ("chunked in HTTP/1.0", &[400], "POST /indexes/films/search HTTP/1.0\r\nHost: x\r\n{A}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nGET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\n{A}\r\n"),
    ("a chunk size that is no number", &[400], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{\"q\": \"{M}\"}\r\n0\r\n\r\n"),
    ("a chunk size past 64 bits", &[400, 413], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{\"q\": \"{M}\"}\r\n0\r\n\r\n"),
    ("a chunk longer than it says", &[400], "POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\"q\": \"{M}\"}\r\n0\r\n\r\n"),
    ("lines ended by LF alone", &[400], "GET /indexes/films/search?q={M} HTTP/1.1\nHost: x\n{A}\n\n"),
    ("one header ended by LF alone", &[400], "GET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\n{A}\r\n"),
    ("a CR inside a header", &[400], "GET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\nX-A: a\rb\r\n{A}\r\n"),
    ("a folded header", &[400], "GET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\n{A}\r\n"),
    ("a space before the colon", &[400], "GET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\nX-A : a\r\n{A}\r\n"),
    ("a header that begins with a space", &[400], "GET /indexes/films/search?q={M} HTTP/1.1\r\n Host: x\r\n{A}\r\n"),
    ("a header without a colon", &[400], "GET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\nnonsense\r\n{A}\r\n"),
    ("a NUL in a header", &[400], "GET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n{A}\r\n"),
    ("no host", &[400], "GET /indexes/films/search?q={M} HTTP/1.1\r\n{A}\r\n"),
    ("two hosts", &[400], "GET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\nHost: y\r\n{A}\r\n"),
    ("a space in the target", &[400], "GET /indexes/films/search?q={M} and more HTTP/1.1\r\nHost: x\r\n{A}\r\n"),
    ("another protocol", &[400, 505], "GET /indexes/films/search?q={M} HTTP/3.7\r\nHost: x\r\n{A}\r\n"),
    ("no protocol", &[400, 505], "GET /indexes/films/search?q={M}\r\n\r\n"),
    ("garbage", &[400], "\u{1}\u{2}{M}\r\n\r\n"),
];

#[test]
fn ambiguous_requests_are_refused_and_reach_no_node() {
    let fleet = fleet();
    for (i, (name, statuses, request)) in REFUSED.iter().enumerate() {
        let mark = format!("smuggled{i}x");
        let text = fill(request, &mark);
        let answer = speak(&fleet, text.as_bytes());
        let got = statuses_of(&answer);
        assert!(
            got.len() == 1 && statuses.contains(&got[0]),
            "{name}: expected {statuses:?} and the end, got {got:?}\n{answer}"
        );
        assert!(
            answer.contains("\"code\":"),
            "{name}: the answer has no error object\n{answer}"
        );
        assert!(
            !fleet.relays.iter().any(|r| r.saw(mark.as_bytes())),
            "{name}: it reached a node"
        );
    }
    // the same test would be worthless if marks never showed
    let answer = speak(
        &fleet,
        fill(
            "GET /indexes/films/search?q={M} HTTP/1.1\r\nHost: x\r\n{A}Connection: close\r\n\r\n",
            "control",
        )
        .as_bytes(),
    );
    assert_eq!(statuses_of(&answer), [200], "{answer}");
    assert!(
        fleet.relays.iter().any(|r| r.saw(b"control")),
        "a lawful search is not seen at the relay"
    );
    println!("framing: {} requests refused", REFUSED.len());
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let fleet = fleet();
    let filler = "a".repeat(70 * 1024);
    let request = fill(&format!("GET /indexes/films/search?q={{M}} HTTP/1.1\r\nHost: x\r\nX-Filler: {filler}\r\n{{A}}\r\n"), "hugehead");
    let answer = speak(&fleet, request.as_bytes());
    assert!(matches!(statuses_of(&answer)[..], [400 | 431]), "{answer}");
    assert!(!fleet.relays.iter().any(|r| r.saw(b"hugehead")));
}

#[test]
fn a_request_cut_short_reaches_no_node() {
    let fleet = fleet();
    let whole = fill("POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"q\": \"cutshort0\"}", "");
    let mut stream = connect(&fleet);
    stream
        .write_all(&whole.as_bytes()[..whole.len() - 1])
        .expect("written");
    stream.shutdown(Shutdown::Both).expect("closed");
    // the server has seen the end once it answers somebody who came later on every core
    for _ in 0..8 {
        assert_eq!(
            statuses_of(&speak(
                &fleet,
                b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )),
            [200]
        );
    }
    assert!(!fleet.relays.iter().any(|r| r.saw(b"cutshort")));
}

#[test]
fn pipelined_requests_are_answered_in_order_wherever_they_are_split() {
    let fleet = fleet();
    let pipeline = fill(
        "GET /health HTTP/1.1\r\nHost: x\r\n\r\n\
         POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"q\": \"salt\"}\
         POST /indexes/films/search HTTP/1.1\r\nHost: x\r\n{A}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"q\": \"\r\n6\r\nsalt\"}\r\n0\r\n\r\n\
         GET /nothing HTTP/1.1\r\nHost: x\r\n{A}Connection: close\r\n\r\n",
        "",
    );
    for at in 1..pipeline.len() {
        let mut stream = connect(&fleet);
        stream
            .write_all(&pipeline.as_bytes()[..at])
            .expect("written");
        stream
            .write_all(&pipeline.as_bytes()[at..])
            .expect("written");
        let answer = read(&mut stream);
        assert_eq!(
            statuses_of(&answer),
            [200, 200, 200, 404],
            "split at {at}: {answer}"
        );
    }
}

fn fleet() -> Fleet {
    let fleet = Fleet::start(Plan {
        relayed: true,
        nodes: 2,
        ..Plan::default()
    });
    let target = fleet.target("proxy");
    let documents = json!([{"id": 1, "title": "salt"}, {"id": 2, "title": "smoke"}]);
    target
        .write("POST", "/indexes/films/documents?primaryKey=id", &documents)
        .expect("documents are added");
    until("the search to find them", Duration::from_secs(10), || {
        target
            .get("/indexes/films/search?q=salt")
            .is_ok_and(|a| a.body["estimatedTotalHits"] == 1)
    });
    fleet
}

fn fill(request: &str, mark: &str) -> String {
    request
        .replace("{A}", &format!("Authorization: Bearer {MASTER_KEY}\r\n"))
        .replace("{M}", mark)
}

fn connect(fleet: &Fleet) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", fleet.port)).expect("the proxy listens");
    stream.set_nodelay(true).expect("nodelay");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream
}

/// Sends bytes and reads until the server closes.
fn speak(fleet: &Fleet, bytes: &[u8]) -> String {
    let mut stream = connect(fleet);
    // a server that has seen enough may close before everything is written
    let _ = stream.write_all(bytes);
    read(&mut stream)
}

fn read(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(e) => panic!(
                "the server neither answered nor closed: {e}; so far: {}",
                String::from_utf8_lossy(&all)
            ),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The statuses of all answers in a stream.
fn statuses_of(answers: &str) -> Vec<u16> {
    answers
        .split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|a| a.get(..3)?.parse().ok())
        .collect()
}
