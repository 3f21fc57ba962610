//! Delivery: one line of waiting payloads a webhook, each worked off by a thread that lives as long as something waits.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use flate2::write::GzEncoder;
use flate2::Compression;
use serde_json::Value;
use uuid::Uuid;

use crate::body::Webhook;
use crate::book::Book;
use crate::networks::Networks;
use crate::outgoing::{is_refused, outgoing};

/// How often a delivery is tried.
pub const ATTEMPTS: u32 = 5;
/// How much may wait for one webhook, compressed.
pub const WAITING_BYTES_MAX: usize = 16 << 20;

/// The pause after the first failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(30);

type Payload = Arc<[u8]>;
type Lines = Arc<Mutex<HashMap<Uuid, VecDeque<Payload>>>>;

/// The tasks as webhooks get them.
pub(crate) fn payload(tasks: &[Value]) -> Payload {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    let written = tasks.iter().try_for_each(|task| writeln!(packed, "{task}"));
    match written.and_then(|()| packed.finish()) {
        Ok(bytes) => bytes.into(),
        Err(error) => unreachable!("writing to memory does not fail: {error}"),
    }
}

pub(crate) struct Courier {
    agent: ureq::Agent,
    /// A webhook has a line exactly while a thread works it off.
    lines: Lines,
}

impl Courier {
    pub(crate) fn new(allowed: Networks) -> Courier {
        Courier {
            agent: outgoing(allowed, TIMEOUT),
            lines: Lines::default(),
        }
    }

    pub(crate) fn deliver(&self, book: &Arc<Book>, uuid: Uuid, payload: Payload) {
        let mut lines = lock(&self.lines);
        if let Some(line) = lines.get_mut(&uuid) {
            line.push_back(payload);
            shorten(line, uuid);
            return;
        }
        let (agent, book) = (self.agent.clone(), Arc::clone(book));
        let shared = Arc::clone(&self.lines);
        let started = thread::Builder::new()
            .name("webhook".to_owned())
            .spawn(move || work_off(&agent, &book, uuid, &shared));
        match started {
            Ok(_) => {
                lines.insert(uuid, VecDeque::from([payload]));
            }
            Err(error) => {
                tracing::error!(%uuid, %error, "no thread to call a webhook; its tasks are lost")
            }
        }
    }
}

/// Drops the oldest payloads of a line that is too long. The first one is on its way.
fn shorten(line: &mut VecDeque<Payload>, uuid: Uuid) {
    let mut waiting: usize = line.iter().map(|payload| payload.len()).sum();
    while waiting > WAITING_BYTES_MAX && line.len() > 2 {
        waiting -= line.remove(1).map_or(0, |payload| payload.len());
        tracing::warn!(%uuid, "a webhook is too slow; its oldest tasks are lost");
    }
}

fn work_off(agent: &ureq::Agent, book: &Book, uuid: Uuid, lines: &Lines) {
    loop {
        let next = lock(lines)
            .get(&uuid)
            .and_then(|line| line.front().cloned());
        if let Some(payload) = next {
            try_all(agent, book, uuid, &payload);
        }
        let mut lines = lock(lines);
        let line = lines.get_mut(&uuid);
        if line.is_none_or(|line| {
            line.pop_front();
            line.is_empty()
        }) {
            lines.remove(&uuid);
            return;
        }
    }
}

fn try_all(agent: &ureq::Agent, book: &Book, uuid: Uuid, payload: &[u8]) {
    let mut pause = FIRST_PAUSE;
    for attempt in 1..=ATTEMPTS {
        // As it is now: it may have been changed meanwhile, or deleted.
        let Some(hook) = book.find(uuid) else {
            return;
        };
        match send(agent, &hook, payload) {
            Ok(()) => return,
            Err(Failed { why, final_: true }) => {
                tracing::error!(%uuid, why, "a webhook was not called; these tasks are lost");
                return;
            }
            Err(Failed { why, .. }) if attempt == ATTEMPTS => {
                tracing::error!(%uuid, why, "a webhook cannot be called; these tasks are lost");
            }
            Err(Failed { why, .. }) => {
                tracing::warn!(%uuid, why, attempt, "a webhook cannot be called; trying again");
                thread::sleep(pause);
                pause *= 2;
            }
        }
    }
}

/// Why a delivery failed. Addresses may hold secrets: they are not named.
struct Failed {
    why: String,
    /// Trying again would change nothing.
    final_: bool,
}

fn send(agent: &ureq::Agent, hook: &Webhook, payload: &[u8]) -> Result<(), Failed> {
    let mut request = agent
        .post(&hook.url)
        .set("Content-Encoding", "gzip")
        .set("Content-Type", "application/x-ndjson");
    for (name, value) in &hook.headers {
        request = request.set(name, value);
    }
    match request.send_bytes(payload) {
        Ok(answer) if answer.status() < 300 => Ok(()),
        Ok(answer) => Err(Failed {
            why: format!(
                "it answered {}, and redirections are not followed",
                answer.status()
            ),
            final_: true,
        }),
        Err(ureq::Error::Status(status, _)) => Err(Failed {
            why: format!("it answered {status}"),
            final_: status < 500 && !matches!(status, 408 | 429),
        }),
        Err(ureq::Error::Transport(error)) => {
            use ureq::ErrorKind;
            let denied = is_refused(&error);
            let unusable = matches!(
                error.kind(),
                ErrorKind::InvalidUrl | ErrorKind::UnknownScheme
            );
            Err(Failed {
                why: match denied {
                    true => "its address is not public (see `allowed_ip_networks`)".to_owned(),
                    false => error.kind().to_string(),
                },
                final_: denied || unusable,
            })
        }
    }
}

fn lock(lines: &Lines) -> MutexGuard<'_, HashMap<Uuid, VecDeque<Payload>>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;

    use super::*;
    use crate::{Registered, Webhooks};
    use serde_json::json;

    /// Reads one request, answers with a status, and gives its head and its unpacked body.
    fn receive(connection: TcpStream, status: u16) -> (String, String) {
        let mut reader = BufReader::new(connection);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..])
            .read_to_string(&mut text)
            .unwrap();
        let answer =
            format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
        (head, text)
    }

    /// A receiver that answers with these statuses, one connection each.
    fn receiver(statuses: &'static [u16]) -> (String, mpsc::Receiver<(String, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, received) = mpsc::channel();
        thread::spawn(move || {
            for status in statuses {
                let (connection, _) = listener.accept().unwrap();
                sender.send(receive(connection, *status)).unwrap();
            }
        });
        (url, received)
    }

    fn hooks(url: &str, allowed: &str) -> Webhooks {
        let allowed = Networks(allowed.parse().into_iter().collect());
        let reserved = Some((url.to_owned(), Some("Bearer secret".to_owned())));
        Webhooks::new(reserved, Registered::new(), allowed)
    }

    #[test]
    fn tasks_arrive_in_order_and_again_after_a_failure() {
        let (url, received) = receiver(&[503, 200, 204]);
        let hooks = hooks(&url, "127.0.0.0/8");
        hooks.notify(&[json!({"uid": 1}), json!({"uid": 2})]);
        hooks.notify(&[json!({"uid": 3})]);
        let (head, first) = received.recv().unwrap();
        assert!(head.starts_with("post /hook http/1.1\r\n"), "{head}");
        for line in [
            "content-type: application/x-ndjson\r\n",
            "content-encoding: gzip\r\n",
            "authorization: bearer secret\r\n",
        ] {
            assert!(head.contains(line), "{head}");
        }
        assert_eq!(first, "{\"uid\":1}\n{\"uid\":2}\n");
        assert_eq!(received.recv().unwrap().1, first);
        assert_eq!(received.recv().unwrap().1, "{\"uid\":3}\n");
    }

    #[test]
    fn what_is_not_public_or_redirects_is_not_spoken_to() {
        let (url, received) = receiver(&[301, 200]);
        hooks(&url, "10.0.0.0/8").notify(&[json!({"uid": 1})]);
        let allowed = hooks(&url, "any");
        allowed.notify(&[json!({"uid": 2})]);
        allowed.notify(&[json!({"uid": 3})]);
        assert_eq!(received.recv().unwrap().1, "{\"uid\":2}\n");
        assert_eq!(received.recv().unwrap().1, "{\"uid\":3}\n");
    }
}
