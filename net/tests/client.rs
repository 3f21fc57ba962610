//! The client against a node that is played from a script: truncation, resets, garbage, silence, stale connections.
//! Every test runs on both drivers.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::Duration;

use bytes::Bytes;
use miroir_net::client::{
    Body, ClientError, ErrorKind, MadeBody, OutRequest, PoolConfig, Pools, Reply,
};
use miroir_rt::{block_on, sleep, usable_drivers};

/// Reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// For answers that never come.
const IMPATIENCE: Duration = Duration::from_millis(50);

/// What the node does with one connection, step by step; then it closes.
#[derive(Clone)]
enum Step {
    /// Reads one request and notes it.
    Read,
    Send(Vec<u8>),
    /// Reads until the client closes and notes that.
    Wait,
    /// Closes with a reset.
    Reset,
}

use Step::{Read as Request, Reset, Wait};

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

fn answer(body: &str) -> Step {
    send(&format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A node that plays one script a connection, in order, and notes what happens.
struct Node {
    address: String,
    notes: Receiver<String>,
}

impl Node {
    fn play(scripts: Vec<Vec<Step>>) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (note, notes) = channel();
        std::thread::spawn(move || {
            for script in scripts {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                let note = note.clone();
                // In a thread of its own: a later connection may come while an earlier one waits.
                std::thread::spawn(move || play(stream, script, &note));
            }
            // Further connections are refused, which no script expects.
        });
        Node { address, notes }
    }

    fn note(&self) -> String {
        self.notes
            .recv_timeout(PATIENCE)
            .expect("the node saw nothing")
    }

    fn quiet(&self) -> bool {
        self.notes.try_recv().is_err()
    }
}

fn play(mut stream: TcpStream, script: Vec<Step>, note: &Sender<String>) {
    for step in script {
        match step {
            Step::Read => match read_request(&mut stream) {
                Some(request) => note.send(request).unwrap(),
                None => break,
            },
            Step::Send(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    break;
                }
            }
            Step::Wait => {
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
                let _ = note.send("the client closed".to_owned());
            }
            Step::Reset => {
                socket2::SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                drop(stream);
                let _ = note.send("reset".to_owned());
                return;
            }
        }
    }
    drop(stream);
    let _ = note.send("closed".to_owned());
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

fn config() -> PoolConfig {
    PoolConfig {
        idle_timeout: PATIENCE,
        connect_timeout: PATIENCE,
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(40),
        head_bytes_max: 16 * 1024,
        body_bytes_max: 1_000_000,
        ..PoolConfig::default()
    }
}

/// Runs the test on each driver.
fn on_both_drivers<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for driver in usable_drivers() {
        block_on(driver, test()).unwrap();
    }
}

async fn get(pools: &Pools, node: &Node) -> Result<Reply, ClientError> {
    pools
        .send(&node.address, &OutRequest::get("/x"), PATIENCE)
        .await
}

async fn write(pools: &Pools, node: &Node) -> Result<Reply, ClientError> {
    let request = OutRequest::post_json("/w", vec![Bytes::from_static(b"[1]")], false);
    pools.send(&node.address, &request, PATIENCE).await
}

#[test]
fn a_request_is_written_as_it_should_be() {
    on_both_drivers(|| async {
        let node = Node::play(vec![vec![Request, answer("{}"), Request, answer("{}")]]);
        let pools = Pools::new(config());
        let body = vec![
            Bytes::from_static(b"{\"q\":"),
            Bytes::new(),
            Bytes::from_static(b"\"x\"}"),
        ];
        let mut request =
            OutRequest::post_json("/indexes/a/search?x=1", body, true).bearer(Some("key".into()));
        request.headers.push(("x-other", "a\r\nb".to_owned()));
        pools.send(&node.address, &request, PATIENCE).await.unwrap();
        let address = &node.address;
        assert_eq!(
            node.note(),
            format!(
                "POST /indexes/a/search?x=1 HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer key\r\n\
                 content-type: application/json\r\nx-other: ab\r\ncontent-length: 9\r\n\r\n{{\"q\":\"x\"}}"
            )
        );
        get(&pools, &node).await.unwrap();
        assert_eq!(
            node.note(),
            format!("GET /x HTTP/1.1\r\nhost: {address}\r\n\r\n")
        );
        assert_eq!(pools.stats().connects, 1);
    });
}

/// So many pieces of so many bytes, each made when it is asked for.
#[derive(Debug)]
struct Made {
    pieces: usize,
    bytes: usize,
}

impl MadeBody for Made {
    fn bytes(&self) -> usize {
        self.pieces * self.bytes
    }

    fn pieces(&self) -> Box<dyn Iterator<Item = Bytes> + '_> {
        let letters = (b'a'..=b'z').cycle().take(self.pieces);
        Box::new(letters.map(|letter| Bytes::from(vec![letter; self.bytes])))
    }
}

#[test]
fn a_body_made_while_it_is_sent_arrives_whole_and_a_second_time_too() {
    on_both_drivers(|| async {
        for (pieces, bytes) in [(0, 1), (1, 10), (3, 10), (40, 100_000)] {
            let node = Node::play(vec![vec![Request], vec![Request, answer("{}")]]);
            let pools = Pools::new(config());
            let made = Made { pieces, bytes };
            let body: Vec<u8> = made.pieces().collect::<Vec<_>>().concat();
            let request = OutRequest {
                body: Body::Made(Rc::new(made)),
                ..OutRequest::post_json("/", vec![], true)
            };
            for answered in [false, true] {
                let sent = pools.send(&node.address, &request, PATIENCE).await;
                assert_eq!(sent.is_ok(), answered);
                let note = node.note();
                let (head, got) = note.split_once("\r\n\r\n").unwrap();
                assert!(head.ends_with(&format!("content-length: {}", body.len())));
                assert!(got.as_bytes() == body, "{pieces} pieces, {answered}");
                if !answered {
                    assert_eq!(node.note(), "closed");
                }
            }
        }
    });
}

#[test]
fn every_framing_of_an_answer_is_understood() {
    on_both_drivers(|| async {
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
            ("HTTP/1.1 202 Accepted\r\ncontent-length:0\r\n\r\n", 202, ""),
            ("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: b\r\n\r\n", 200, "hello"),
            ("HTTP/1.1 200 OK\r\n\r\nup to the end", 200, "up to the end"),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi"),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 404 N\r\nContent-Length: 1\r\n\r\n!", 404, "!"),
        ] {
            for cut in [0, 1, text.len() / 2, text.len() - 1] {
                let node = Node::play(vec![vec![Request, send(&text[..cut]), send(&text[cut..])]]);
                let reply = get(&Pools::new(config()), &node).await.unwrap();
                assert_eq!((reply.status, &reply.body[..]), (status, body.as_bytes()), "{text:?}");
            }
        }
    });
}

#[test]
fn a_head_answer_has_no_body() {
    on_both_drivers(|| async {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let node = Node::play(vec![vec![Request, send(head), Request, answer("1")]]);
        let pools = Pools::new(config());
        let request = OutRequest {
            method: "HEAD",
            ..OutRequest::get("/")
        };
        assert!(pools
            .send(&node.address, &request, PATIENCE)
            .await
            .unwrap()
            .body
            .is_empty());
        assert_eq!(get(&pools, &node).await.unwrap().body, "1");
    });
}

#[test]
fn what_is_not_an_answer_is_malformed() {
    on_both_drivers(|| async {
        for text in [
            "garbage\r\n\r\n",
            "\x16\x03\x01\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nContent-Length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n",
            "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
            &"HTTP/1.1 100 Continue\r\n\r\n".repeat(20),
        ] {
            let node = Node::play(vec![vec![Request, send(text), Wait]]);
            let pools = Pools::new(config());
            let error = get(&pools, &node).await.expect_err(text);
            assert_eq!(
                (error.kind, error.sent),
                (ErrorKind::Malformed, true),
                "{text:?}"
            );
            assert_eq!(
                pools.stats().idle,
                0,
                "a connection out of step must not be used again: {text:?}"
            );
        }
    });
}

#[test]
fn answers_over_the_limits() {
    on_both_drivers(|| async {
        for text in [
            format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(20_000)),
            "HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nF4241\r\n".to_owned(),
            format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1_000_001)),
        ] {
            let node = Node::play(vec![vec![Request, send(&text), Wait]]);
            let error = get(&Pools::new(config()), &node).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::TooLarge, "{:?}", &text[..40]);
        }
    });
}

#[test]
fn an_answer_that_is_cut_short_is_no_answer() {
    on_both_drivers(|| async {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ] {
            let node = Node::play(vec![vec![Request, send(text)], vec![Request, send(text)]]);
            let error = get(&Pools::new(config()), &node).await.expect_err(text);
            assert_eq!(
                (error.kind, error.sent),
                (ErrorKind::Closed, true),
                "closed after {text:?}"
            );
            let node = Node::play(vec![
                vec![Request, send(text), Reset],
                vec![Request, send(text), Reset],
            ]);
            let error = get(&Pools::new(config()), &node).await.expect_err(text);
            assert_eq!(
                (error.kind, error.sent),
                (ErrorKind::Closed, true),
                "reset after {text:?}"
            );
        }
    });
}

#[test]
fn a_deadline_closes_the_connection_and_its_late_answer_is_nobodys() {
    on_both_drivers(|| async {
        for before in ["", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nla"] {
            let node = Node::play(vec![
                vec![Request, send(before), Wait],
                vec![Request, answer("fresh")],
            ]);
            let pools = Pools::new(config());
            let error = pools
                .send(&node.address, &OutRequest::get("/slow"), IMPATIENCE)
                .await
                .unwrap_err();
            assert_eq!((error.kind, error.sent), (ErrorKind::Timeout, true));
            assert!(node.note().starts_with("GET /slow"));
            // The next request also gives the reactor its turn to cancel and close.
            assert_eq!(get(&pools, &node).await.unwrap().body, "fresh");
            while node.note() != "the client closed" {}
        }
    });
}

#[test]
fn a_deadline_while_sending_counts_as_sent() {
    on_both_drivers(|| async {
        // The node never reads, so the body gets stuck in the kernel's buffers.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pools = Pools::new(config());
        let request = OutRequest::post_json("/", vec![Bytes::from(vec![b' '; 32 << 20])], false);
        let address = listener.local_addr().unwrap().to_string();
        let error = pools
            .send(&address, &request, IMPATIENCE)
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.sent), (ErrorKind::Timeout, true));
    });
}

#[test]
fn a_stale_connection_is_replaced_once_for_a_request_that_may_be_sent_twice() {
    on_both_drivers(|| async {
        let node = Node::play(vec![
            vec![Request, answer("1")],
            vec![Request, answer("2"), Request],
        ]);
        let pools = Pools::new(config());
        assert_eq!(get(&pools, &node).await.unwrap().body, "1");
        assert!(node.note().starts_with("GET"));
        assert_eq!(node.note(), "closed");
        assert_eq!(get(&pools, &node).await.unwrap().body, "2");
        assert_eq!((pools.stats().stale, pools.stats().connects), (1, 2));
        assert!(node.note().starts_with("GET"));
        drop(pools);
    });
}

#[test]
fn a_retry_that_fails_too_is_an_error() {
    on_both_drivers(|| async {
        let node = Node::play(vec![
            vec![Request, answer("1")],
            vec![Request],
            vec![Request, answer("too many")],
        ]);
        let pools = Pools::new(config());
        get(&pools, &node).await.unwrap();
        assert!(node.note().starts_with("GET"));
        assert_eq!(node.note(), "closed");
        let error = get(&pools, &node).await.unwrap_err();
        assert_eq!((error.kind, error.sent), (ErrorKind::Closed, true));
        assert!(node.note().starts_with("GET"));
        assert_eq!(node.note(), "closed");
        assert!(node.quiet());
    });
}

#[test]
fn a_write_goes_on_a_living_connection_and_is_never_sent_twice() {
    on_both_drivers(|| async {
        let node = Node::play(vec![
            vec![Request, answer("1")],
            vec![Request, answer("2"), Request],
            vec![Request, answer("twice")],
        ]);
        let pools = Pools::new(config());
        assert_eq!(write(&pools, &node).await.unwrap().body, "1");
        assert!(node.note().starts_with("POST"));
        assert_eq!(node.note(), "closed");
        // The closed one is seen before anything is sent.
        assert_eq!(write(&pools, &node).await.unwrap().body, "2");
        assert!(node.note().starts_with("POST"));
        // This one is alive until it has read the request.
        let error = write(&pools, &node).await.unwrap_err();
        assert_eq!((error.kind, error.sent), (ErrorKind::Closed, true));
        assert!(node.note().starts_with("POST"));
        assert_eq!(node.note(), "closed");
        assert!(node.quiet());
        assert_eq!(pools.stats().connects, 2);
    });
}

#[test]
fn a_connection_with_bytes_to_spare_is_not_used_again() {
    on_both_drivers(|| async {
        for extra in ["HTTP/1.1 200 OK\r\n", "x"] {
            let mut both = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1".to_vec();
            both.extend_from_slice(extra.as_bytes());
            let node = Node::play(vec![
                vec![Request, Step::Send(both), Wait],
                vec![Request, answer("2")],
            ]);
            let pools = Pools::new(config());
            assert_eq!(get(&pools, &node).await.unwrap().body, "1");
            assert_eq!(pools.stats().idle, 0);
            assert_eq!(get(&pools, &node).await.unwrap().body, "2");
        }
    });
}

#[test]
fn connection_close_is_heeded() {
    on_both_drivers(|| async {
        let close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1";
        let node = Node::play(vec![
            vec![Request, send(close), Wait],
            vec![Request, answer("2")],
        ]);
        let pools = Pools::new(config());
        get(&pools, &node).await.unwrap();
        assert_eq!(pools.stats().idle, 0);
        assert_eq!(get(&pools, &node).await.unwrap().body, "2");
    });
}

#[test]
fn a_dead_node_is_left_alone_for_a_while_and_found_again() {
    on_both_drivers(|| async {
        // Taken and given back, so that nobody else has the port.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let slow = PoolConfig {
            backoff_min: PATIENCE,
            backoff_max: PATIENCE,
            ..config()
        };
        let pools = Pools::new(slow);
        let error = pools
            .send(&address, &OutRequest::get("/"), PATIENCE)
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.sent), (ErrorKind::Connect, false));
        let error = pools.connect(&address).await.err().unwrap();
        assert_eq!((error.kind, error.sent), (ErrorKind::BackingOff, false));
        assert_eq!(pools.stats().connect_failures, 1);
        pools.forget(&address);
        let error = pools.connect(&address).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Connect);

        let pools = Pools::new(config());
        assert!(pools.connect(&address).await.is_err());
        let _listener = TcpListener::bind(&address).unwrap();
        while pools.connect(&address).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(pools.connect(&address).await.is_ok());
    });
}

#[test]
fn a_lease_is_alive_and_goes_back_when_it_is_not_used() {
    on_both_drivers(|| async {
        let node = Node::play(vec![
            vec![Request, answer("1")],
            vec![Request, answer("2"), Wait],
        ]);
        let pools = Pools::new(config());
        let lease = pools.connect(&node.address).await.unwrap();
        assert!(!lease.is_reused());
        drop(lease);
        let lease = pools.connect(&node.address).await.unwrap();
        assert!(lease.is_reused());
        let request = OutRequest::post_json("/", vec![], false);
        assert_eq!(lease.send(&request, PATIENCE).await.unwrap().body, "1");
        assert!(node.note().contains("content-length: 0"));
        assert_eq!(node.note(), "closed");
        let lease = pools.connect(&node.address).await.unwrap();
        assert!(
            !lease.is_reused(),
            "the closed connection must not be handed out"
        );
        assert_eq!(lease.send(&request, PATIENCE).await.unwrap().body, "2");
    });
}

#[test]
fn an_early_refusal_of_a_large_body_is_heard() {
    on_both_drivers(|| async {
        let refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
        let node = Node::play(vec![vec![send(refusal), Wait]]);
        let pools = Pools::new(config());
        let request = OutRequest::post_json("/", vec![Bytes::from(vec![b' '; 8 << 20])], false);
        let reply = pools.send(&node.address, &request, PATIENCE).await.unwrap();
        assert_eq!((reply.status, &reply.body[..]), (413, &b"no"[..]));
    });
}

#[test]
fn requests_beyond_the_limit_wait_their_turn() {
    on_both_drivers(|| async {
        let node = Node::play(vec![vec![Request, answer("1"), Request, answer("2"), Wait]]);
        let pools = Pools::new(PoolConfig {
            connections_max: 1,
            waiting_max: 1,
            ..config()
        });
        let lease = pools.connect(&node.address).await.unwrap();
        let error = pools
            .send(&node.address, &OutRequest::get("/"), IMPATIENCE)
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.sent), (ErrorKind::Busy, false));
        {
            let mut first = std::pin::pin!(get(&pools, &node));
            std::future::poll_fn(|cx| {
                assert!(first.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            // One waits already: nobody else may, however patient.
            let error = get(&pools, &node).await.unwrap_err();
            assert_eq!((error.kind, error.sent), (ErrorKind::Busy, false));
        }
        let (waiting, second) = tokio::sync::oneshot::channel();
        let (pools_too, address) = (pools.clone(), node.address.clone());
        miroir_rt::spawn(async move {
            let _ = waiting.send(
                pools_too
                    .send(&address, &OutRequest::get("/2"), PATIENCE)
                    .await,
            );
        });
        assert_eq!(
            lease
                .send(&OutRequest::get("/1"), PATIENCE)
                .await
                .unwrap()
                .body,
            "1"
        );
        assert_eq!(second.await.unwrap().unwrap().body, "2");
        assert_eq!(pools.stats().connects, 1);
    });
}

#[test]
fn a_request_that_is_given_up_takes_its_connection_along() {
    on_both_drivers(|| async {
        let node = Node::play(vec![vec![Request, Wait], vec![Request, answer("2")]]);
        let pools = Pools::new(config());
        {
            let mut given_up = std::pin::pin!(get(&pools, &node));
            let mut tick = std::pin::pin!(sleep(IMPATIENCE));
            std::future::poll_fn(|cx| {
                assert!(given_up.as_mut().poll(cx).is_pending());
                tick.as_mut().poll(cx)
            })
            .await;
        }
        assert_eq!(pools.stats().idle, 0);
        assert_eq!(get(&pools, &node).await.unwrap().body, "2");
        assert!(node.note().starts_with("GET"));
    });
}

#[test]
fn idle_connections_expire() {
    on_both_drivers(|| async {
        let node = Node::play(vec![vec![Request, answer("1"), Wait]]);
        let pools = Pools::new(PoolConfig {
            idle_timeout: Duration::from_millis(30),
            ..config()
        });
        get(&pools, &node).await.unwrap();
        assert_eq!(pools.stats().idle, 1);
        while pools.stats().idle > 0 {
            sleep(Duration::from_millis(5)).await;
        }
        // The close needs a turn of the reactor.
        sleep(Duration::from_millis(1)).await;
        assert!(node.note().starts_with("GET"));
        assert_eq!(node.note(), "the client closed");
    });
}

#[test]
fn a_name_is_looked_up() {
    on_both_drivers(|| async {
        let node = Node::play(vec![vec![Request, answer("1")]]);
        let pools = Pools::new(config());
        let address = node.address.replace("127.0.0.1", "localhost");
        let reply = pools
            .send(&address, &OutRequest::get("/"), PATIENCE)
            .await
            .unwrap();
        assert_eq!(reply.content_type(), Some("application/json"));
        let error = pools
            .send("no-such-host.invalid:1", &OutRequest::get("/"), PATIENCE)
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.sent), (ErrorKind::Connect, false));
    });
}

#[test]
fn large_bodies_come_through_both_ways() {
    on_both_drivers(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let echo = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream).unwrap();
            let body = request.split("\r\n\r\n").nth(1).unwrap();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let pieces: Vec<Bytes> = (0..3000)
            .map(|piece| Bytes::from(format!("{piece:0300}")))
            .collect();
        let whole = pieces.concat();
        let pools = Pools::new(config());
        let reply = pools
            .send(
                &address,
                &OutRequest::post_json("/", pieces, false),
                PATIENCE,
            )
            .await
            .unwrap();
        assert!(reply.body == whole, "the echoed body differs");
        echo.join().unwrap();
    });
}
