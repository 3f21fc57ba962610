//! What the server does over time: slow clients, full houses, panics, shutdown. Every test runs on both drivers.

use std::io::{Read, Write};
use std::net::{Shutdown as Half, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Mutex;
use std::time::Duration;

use miroir_net::head::RequestHead;
use miroir_net::{bind, serve, Handler, Limits, Request, Response};
use miroir_rt::{start, usable_drivers, Cores, CoresConfig, DriverChoice};

/// Reached only when something hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const GET: &str = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";

/// A server of one core whose handler notes each path, and for `/wait` waits until it is released.
struct Server {
    cores: Cores,
    address: SocketAddr,
    notes: Receiver<String>,
    release: tokio::sync::watch::Sender<bool>,
}

impl Server {
    fn start(driver: DriverChoice, limits: Limits) -> Server {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (note, notes) = channel();
        // `Sender` is shared by the core's main function, which may run more than once.
        let note: Mutex<Sender<String>> = Mutex::new(note);
        let (release, released) = tokio::sync::watch::channel(false);
        let cores = start(
            CoresConfig {
                cores: 1,
                driver,
                pin: false,
                ..CoresConfig::default()
            },
            move |core| {
                let listener = listener.try_clone().unwrap();
                let (note, released) = (note.lock().unwrap().clone(), released.clone());
                async move {
                    let handler =
                        Rc::new(move |request| answer(request, note.clone(), released.clone()));
                    serve(listener, handler, Rc::new(limits), core.shutdown)
                        .await
                        .unwrap();
                }
            },
        )
        .unwrap();
        Server {
            cores,
            address,
            notes,
            release,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn note(&self) -> String {
        self.notes
            .recv_timeout(PATIENCE)
            .expect("the handler was never called")
    }
}

async fn answer(
    request: Request,
    note: Sender<String>,
    mut released: tokio::sync::watch::Receiver<bool>,
) -> Response {
    note.send(request.path().to_owned()).unwrap();
    match request.path() {
        "/wait" => {
            released.wait_for(|released| *released).await.unwrap();
            note.send("released".to_owned()).unwrap();
        }
        "/panic" => panic!("in a handler"),
        "/big" => return Response::json(200, vec![b' '; 64 << 20]),
        "/header" => {
            return Response::empty(202)
                .header("x-one", "1")
                .header("x-split", "a\r\nSet-Cookie: b")
        }
        _ => {}
    }
    Response::json(200, "{}")
}

fn on_both_drivers(limits: Limits, test: impl Fn(Server)) {
    for driver in usable_drivers() {
        test(Server::start(driver, limits));
    }
}

fn read_all(mut stream: &TcpStream) -> String {
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    String::from_utf8_lossy(&received).into_owned()
}

/// Reads one answer without a body of note.
fn read_answer(mut stream: &TcpStream) -> String {
    let mut received = Vec::new();
    let mut byte = [0];
    while !received.ends_with(b"{}") {
        stream
            .read_exact(&mut byte)
            .expect("the answer is cut short");
        received.push(byte[0]);
    }
    String::from_utf8(received).unwrap()
}

fn hasty() -> Limits {
    let short = Duration::from_millis(50);
    Limits {
        idle_timeout: short,
        read_timeout: short,
        write_timeout: short,
        linger_timeout: short,
        ..Limits::default()
    }
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    on_both_drivers(hasty(), |server| {
        assert_eq!(read_all(&server.connect()), "");
        let mut used = server.connect();
        used.write_all(GET.as_bytes()).unwrap();
        assert!(
            read_all(&used).ends_with("{}"),
            "one answer and nothing after it"
        );
    });
}

#[test]
fn a_head_or_body_that_stops_halfway_is_408() {
    on_both_drivers(hasty(), |server| {
        for part in [
            "G",
            "GET / HTTP/1.1\r\nHost: t\r\n",
            "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhell",
            "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        ] {
            let mut stream = server.connect();
            stream.write_all(part.as_bytes()).unwrap();
            assert!(read_all(&stream).starts_with("HTTP/1.1 408 "), "{part:?}");
        }
        assert!(
            server.notes.try_recv().is_err(),
            "nothing reached the handler"
        );
    });
}

/// A client that sends a byte now and then never runs into a pause, so the whole must have a limit.
#[test]
fn a_dribble_is_408() {
    let limits = Limits {
        read_timeout: Duration::from_millis(200),
        body_bytes_per_second_min: 1_000_000,
        linger_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    on_both_drivers(limits, |server| {
        for start in [
            "",
            "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n",
        ] {
            let mut stream = server.connect();
            stream.write_all(start.as_bytes()).unwrap();
            let mut sender = stream.try_clone().unwrap();
            let dribble = std::thread::spawn(move || {
                while sender.write_all(b"x").is_ok() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 408", "{start:?}");
            drop(stream);
            dribble.join().unwrap();
        }
        assert!(
            server.notes.try_recv().is_err(),
            "nothing reached the handler"
        );
    });
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    on_both_drivers(hasty(), |server| {
        let mut stream = server.connect();
        stream
            .write_all(b"GET /big HTTP/1.1\r\nHost: t\r\n\r\n")
            .unwrap();
        assert_eq!(server.note(), "/big");
        // Nothing is read until the server has given up: then the shutdown has nothing left to wait for.
        server.cores.shutdown(PATIENCE);
        assert!(read_all(&stream).len() < 64 << 20);
    });
}

#[test]
fn connections_beyond_the_limit_get_503() {
    on_both_drivers(
        Limits {
            connections_max: 2,
            ..Limits::default()
        },
        |server| {
            let mut held = [server.connect(), server.connect()];
            for stream in &mut held {
                stream.write_all(GET.as_bytes()).unwrap();
                read_answer(stream);
            }
            let refused = read_all(&server.connect());
            assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
            assert!(
                refused.contains("\"miroir_too_many_connections\""),
                "{refused}"
            );
            drop(held);
            // The places are given back when the server notices.
            loop {
                let mut stream = server.connect();
                stream
                    .write_all(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                    .unwrap();
                if read_all(&stream).starts_with("HTTP/1.1 200 ") {
                    break;
                }
            }
        },
    );
}

#[test]
fn a_panic_is_a_500_and_hurts_nobody_else() {
    on_both_drivers(Limits::default(), |server| {
        let mut bystander = server.connect();
        bystander.write_all(GET.as_bytes()).unwrap();
        read_answer(&bystander);
        let mut stream = server.connect();
        stream
            .write_all(format!("GET /panic HTTP/1.1\r\nHost: t\r\n\r\n{GET}").as_bytes())
            .unwrap();
        let received = read_all(&stream);
        assert!(received.starts_with("HTTP/1.1 500 "), "{received}");
        assert!(
            received.contains("connection: close") && received.contains("\"code\":\"internal\""),
            "{received}"
        );
        assert_eq!(
            received.matches("HTTP/1.1").count(),
            1,
            "what followed is not answered: {received}"
        );
        bystander.write_all(GET.as_bytes()).unwrap();
        read_answer(&bystander);
        assert_eq!(
            (
                server.cores.stats().panics,
                server.cores.stats().core_restarts
            ),
            (1, 0)
        );
    });
}

#[test]
fn expect_100_continue_is_answered_before_the_body_comes() {
    on_both_drivers(Limits::default(), |server| {
        let mut stream = server.connect();
        stream
            .write_all(
                b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
            )
            .unwrap();
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hi").unwrap();
        assert!(read_answer(&stream).starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_client_that_sent_everything_and_closed_its_half_is_answered() {
    on_both_drivers(Limits::default(), |server| {
        let mut stream = server.connect();
        stream.write_all(GET.repeat(3).as_bytes()).unwrap();
        stream.shutdown(Half::Write).unwrap();
        assert_eq!(read_all(&stream).matches("HTTP/1.1 200 OK").count(), 3);
    });
}

#[test]
fn the_handler_finishes_for_a_client_that_has_gone() {
    on_both_drivers(Limits::default(), |server| {
        let mut stream = server.connect();
        stream
            .write_all(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n")
            .unwrap();
        assert_eq!(server.note(), "/wait");
        drop(stream);
        server.release.send(true).unwrap();
        assert_eq!(server.note(), "released");
    });
}

#[test]
fn a_shutdown_closes_idle_connections_and_finishes_running_requests() {
    on_both_drivers(Limits::default(), |server| {
        let fresh = server.connect();
        let mut idle = server.connect();
        idle.write_all(GET.as_bytes()).unwrap();
        read_answer(&idle);
        let mut busy = server.connect();
        busy.write_all(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n")
            .unwrap();
        assert_eq!([server.note(), server.note()], ["/", "/wait"]);
        server.cores.begin_shutdown(PATIENCE);
        assert_eq!(read_all(&idle), "");
        assert_eq!(read_all(&fresh), "");
        server.release.send(true).unwrap();
        let last = read_all(&busy);
        assert!(
            last.starts_with("HTTP/1.1 200 ") && last.contains("connection: close"),
            "{last}"
        );
        drop(busy);
        server.cores.join();
    });
}

#[test]
fn a_head_cannot_be_split_by_a_header_value() {
    on_both_drivers(Limits::default(), |server| {
        let mut stream = server.connect();
        stream
            .write_all(b"GET /header HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            .unwrap();
        let received = read_all(&stream);
        assert!(
            received.starts_with("HTTP/1.1 202 ") && received.contains("x-one: 1\r\n"),
            "{received}"
        );
        assert!(
            !received.contains("Set-Cookie") && !received.contains("content-type"),
            "{received}"
        );
    });
}

/// A handler that lets nobody in.
struct Closed;

impl Handler for Closed {
    async fn handle(&self, _request: Request) -> Response {
        Response::json(200, "{}")
    }

    fn refuse(&self, head: &RequestHead) -> Option<Response> {
        head.headers
            .get("authorization")
            .is_none()
            .then(|| Response::json(401, "{}"))
    }
}

#[test]
fn a_body_can_be_refused_unread() {
    for driver in usable_drivers() {
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
                let listener = listener.try_clone().unwrap();
                async move {
                    serve(
                        listener,
                        Rc::new(Closed),
                        Rc::new(Limits::default()),
                        core.shutdown,
                    )
                    .await
                    .unwrap()
                }
            },
        )
        .unwrap();
        for (key, status) in [("", "401"), ("Authorization: Bearer k\r\n", "100")] {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = format!("POST / HTTP/1.1\r\nHost: t\r\n{key}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer[9..], status.as_bytes());
        }
        cores.shutdown(PATIENCE);
    }
}
