//! What a killed node still knows when it starts again. The node under test is this crate's example, built beside it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{json, Value};

/// A node as a process of its own; killed when dropped.
struct Node {
    process: Child,
    address: SocketAddr,
}

impl Node {
    fn start(data: &Path) -> Node {
        let address = free_address();
        let process = Command::new(program())
            .args([
                "node",
                "--master-key",
                "key",
                "--http-addr",
                &address.to_string(),
                "--db-path",
            ])
            .arg(data)
            .spawn()
            .expect("the example `node` is built with the tests");
        let node = Node { process, address };
        node.until("it listens", || TcpStream::connect(address).is_ok());
        node
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer key\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..12_000 {
            if done() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("two minutes passed before {what}");
    }

    fn settle(&self) {
        let waiting =
            || self.call("GET", "/tasks?statuses=enqueued,processing&limit=1", None)["total"] == 0;
        self.until("every task has ended", waiting);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The node cannot say which port it got, so it is told one. Each is given to one node only, and none is of those that the system
/// gives to connections: the other test's node was taken for this one's, or a connection for a listener.
fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = std::process::id() + GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from(next % 20_000).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// `target/<profile>/examples/node`, two folders up from the test's own program in `deps`.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples/node")
}

/// `count` documents whose ids begin with `round`; enough of them go to a file, few stand in the task.
fn documents(round: usize, count: usize) -> Value {
    (0..count)
        .map(|i| json!({"id": format!("{round}-{i}"), "text": "a red fox ".repeat(i % 20)}))
        .collect()
}

#[test]
fn a_kill_loses_no_accepted_task() {
    let data = tempfile::tempdir().unwrap();
    let mut expected = 0;
    let mut accepted = Vec::new();
    for round in 0..3 {
        let node = Node::start(data.path());
        for count in [2000, 1, 500] {
            let round = round * 10 + accepted.len();
            let task = node.call(
                "POST",
                "/indexes/foxes/documents?primaryKey=id",
                Some(&documents(round, count)),
            );
            accepted.push(task["taskUid"].as_u64().unwrap());
            expected += count;
        }
        // At once: the first batch is being indexed, the others wait.
        node.kill();
    }

    let node = Node::start(data.path());
    node.settle();
    for uid in accepted {
        let task = node.call("GET", &format!("/tasks/{uid}"), None);
        assert_eq!(task["status"], "succeeded", "{task}");
        assert_eq!(
            task["details"]["receivedDocuments"],
            task["details"]["indexedDocuments"]
        );
    }
    assert_eq!(
        node.call("GET", "/indexes/foxes/stats", None)["numberOfDocuments"],
        expected
    );
    // A file goes a moment after the end of its task is on disk.
    let files = || {
        std::fs::read_dir(data.path().join("update_files"))
            .unwrap()
            .count()
    };
    node.until("the payloads are gone", || files() == 0);
}

#[test]
fn indexes_and_ends_survive_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path());
    node.call(
        "POST",
        "/indexes",
        Some(&json!({"uid": "a", "primaryKey": "id"})),
    );
    node.call("POST", "/indexes", Some(&json!({"uid": "b"})));
    node.call("POST", "/indexes", Some(&json!({"uid": "a"})));
    node.call("DELETE", "/indexes/b", None);
    node.settle();
    node.kill();

    let node = Node::start(data.path());
    let indexes = node.call("GET", "/indexes", None);
    assert_eq!(indexes["total"], 1);
    assert_eq!(indexes["results"][0]["primaryKey"], "id");
    let statuses: Vec<Value> = (0..4)
        .map(|uid| node.call("GET", &format!("/tasks/{uid}"), None)["status"].clone())
        .collect();
    assert_eq!(statuses, ["succeeded", "succeeded", "failed", "succeeded"]);
    assert_eq!(
        std::fs::read_dir(data.path().join("indexes"))
            .unwrap()
            .count(),
        1
    );
}
