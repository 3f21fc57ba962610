//! Running out of descriptors: the server backs off and comes back. In a test program of its own, because the limit is
//! the whole process's.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use miroir_net::{bind, serve, Limits, Request, Response};
use miroir_rt::{start, usable_drivers, CoresConfig};
use nix::fcntl::{fcntl, FcntlArg, FdFlag};
use nix::sys::resource::{getrlimit, setrlimit, Resource};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn the_server_survives_running_out_of_descriptors() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .init();
    for driver in usable_drivers() {
        log.0.lock().unwrap().clear();
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
                    let handler = Rc::new(|_: Request| async { Response::json(200, "{}") });
                    serve(listener, handler, Rc::new(Limits::default()), core.shutdown)
                        .await
                        .unwrap();
                }
            },
        )
        .unwrap();
        // The server is up; this connection stays, so that no descriptor comes free behind our back.
        let mut held = connect(address);
        held.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            .unwrap();
        held.read_exact(&mut [0; 12]).unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 200, hard).unwrap();
        let mut fillers: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        // Room for the client's end and not for the server's.
        fillers.pop();
        let stream = connect(address);
        let begun = Instant::now();
        while !log.text().contains("cannot accept; backing off") {
            assert!(
                begun.elapsed() < PATIENCE,
                "the server never noticed: {}",
                log.text()
            );
            std::thread::yield_now();
        }
        drop(fillers);
        let answer = ask(&stream);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{driver:?}: {answer}");
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        no_descriptor_is_inherited();
        drop((held, stream));
        cores.shutdown(PATIENCE);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(mut stream: &TcpStream) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What a child process would inherit, it would keep open after we have closed it.
fn no_descriptor_is_inherited() {
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let Ok(target) = std::fs::read_link(entry.path()) else {
            continue;
        };
        let fd: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
        if fd > 2 && target.to_string_lossy().starts_with("socket:") {
            let Ok(flags) = fcntl(fd, FcntlArg::F_GETFD) else {
                continue;
            };
            assert!(
                FdFlag::from_bits_truncate(flags).contains(FdFlag::FD_CLOEXEC),
                "{fd} {target:?}"
            );
        }
    }
}

/// The log, kept to be searched.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
