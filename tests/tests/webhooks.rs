//! Webhooks of a cluster: who is told, of what, and what does not stop them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{channel, Receiver};
use std::time::Duration;

use miroir_tests::fleet::{Fleet, Plan};
use miroir_tests::http::{until, Target};
use serde_json::{json, Value};

const LIMIT: Duration = Duration::from_secs(60);

/// One call of a webhook.
struct Called {
    /// In lower case.
    head: String,
    tasks: Vec<Value>,
}

/// Somebody who is told; answers 200 to everything.
fn receiver() -> (String, Receiver<Called>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/told", listener.local_addr().expect("a port"));
    let (sender, called) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            if sender.send(receive(connection)).is_err() {
                return;
            }
        }
    });
    (url, called)
}

fn receive(connection: TcpStream) -> Called {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("a head"), 0, "{head}");
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).expect("a length");
    let length = length.lines().next().expect("a line");
    let mut body = vec![0; length.parse().expect("a number")];
    reader.read_exact(&mut body).expect("a body");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..])
        .read_to_string(&mut text)
        .expect("gzip");
    let tasks = text.lines().map(|line| line.parse().expect("JSON"));
    let tasks = tasks.collect();
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    reader
        .get_mut()
        .write_all(answer.as_bytes())
        .expect("an answer");
    Called { head, tasks }
}

/// Waits until every one of these tasks was told, and returns them.
fn told(called: &Receiver<Called>, uids: &[u64]) -> Vec<Value> {
    let mut tasks: Vec<Value> = Vec::new();
    while !uids
        .iter()
        .all(|uid| tasks.iter().any(|task| task["uid"] == *uid))
    {
        tasks.extend(called.recv_timeout(LIMIT).expect("a call").tasks);
    }
    tasks
}

fn ask(proxy: &Target, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let answer = proxy.send_json(method, path, body).expect("an answer");
    (answer.status, answer.body)
}

#[test]
fn everybody_is_told_what_clients_are_shown() {
    let (reserved, ops) = receiver();
    let (url, own) = receiver();
    let mut fleet = Fleet::start(Plan {
        extra: format!(
            "task_webhook_url: \"{reserved}\"\ntask_webhook_authorization_header: Bearer ops-secret-0123456789\n\
             allowed_ip_networks: [127.0.0.0/8]"
        ),
        ..Plan::default()
    });
    let proxy = fleet.target("proxy");
    let body = json!({ "url": url, "headers": { "X-Colour": "red" } });
    let (status, made) = ask(&proxy, "POST", "/webhooks", &body);
    assert_eq!((status, &made["isEditable"]), (201, &json!(true)), "{made}");
    let list = ask(&proxy, "GET", "/webhooks", &Value::Null).1;
    let results = list["results"].as_array().expect("a list");
    assert_eq!(results.len(), 2, "{list}");
    assert_eq!(results[0]["isEditable"], false);
    assert_eq!(results[0]["headers"]["Authorization"], "Bearer opsXXXXX...");

    let documents: Vec<Value> = (0..30).map(|id| json!({ "id": id })).collect();
    let task = proxy
        .write("POST", "/indexes/films/documents", &json!(documents))
        .expect("documents");
    let uid = task["uid"].as_u64().expect("a uid");
    let failed = proxy
        .write("POST", "/indexes/films/documents", &json!([{ "id": "?" }]))
        .expect("a task");
    assert_eq!(failed["status"], "failed");
    let next = failed["uid"].as_u64().expect("a uid");
    for (who, called) in [("ops", &ops), ("own", &own)] {
        let tasks = told(called, &[uid, next]);
        assert_eq!(tasks, [task.clone(), failed.clone()], "{who}");
    }

    // What is registered outlives a crash, and so do the tasks that end after it.
    fleet.kill_proxy();
    fleet.start_proxy();
    let path = format!("/webhooks/{}", made["uuid"].as_str().expect("a uuid"));
    let (status, changed) = ask(
        &proxy,
        "PATCH",
        &path,
        &json!({ "headers": { "X-Colour": null, "X-Size": "9" } }),
    );
    assert_eq!(
        (status, &changed["headers"]),
        (200, &json!({ "X-Size": "9" }))
    );
    let cleared = proxy
        .write("DELETE", "/indexes/films/documents", &Value::Null)
        .expect("a task");
    let call = own.recv_timeout(LIMIT).expect("a call");
    assert!(call.head.contains("\r\nx-size: 9\r\n"), "{}", call.head);
    assert!(!call.head.contains("x-colour"), "{}", call.head);
    assert_eq!(call.tasks, std::slice::from_ref(&cleared));
    assert_eq!(
        told(&ops, &[cleared["uid"].as_u64().expect("a uid")]),
        [cleared]
    );

    // The reserved one stays; a deleted one hears nothing more.
    let nil = "/webhooks/00000000-0000-0000-0000-000000000000";
    assert_eq!(
        ask(&proxy, "DELETE", nil, &Value::Null).1["code"],
        "immutable_webhook"
    );
    assert_eq!(ask(&proxy, "DELETE", &path, &Value::Null).0, 204);
    let gone = proxy
        .write("DELETE", "/indexes/films", &Value::Null)
        .expect("a task");
    told(&ops, &[gone["uid"].as_u64().expect("a uid")]);
    assert!(own.try_recv().is_err(), "a deleted webhook was called");
    let log = fleet.proxy_log();
    assert!(!log.contains("ops-secret"), "a secret is in the log");
}

#[test]
fn private_addresses_are_not_spoken_to_and_stop_nothing() {
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (url, called) = receiver();
    let fleet = Fleet::start(Plan::default());
    let proxy = fleet.target("proxy");
    let private = [
        format!("http://{}/", deaf.local_addr().expect("a port")),
        url,
    ];
    let uuids = private.map(|url| {
        let (status, made) = ask(&proxy, "POST", "/webhooks", &json!({ "url": url }));
        assert_eq!(status, 201, "{made}");
        made["uuid"].as_str().expect("a uuid").to_owned()
    });
    for id in 0..5 {
        let task = proxy
            .write("POST", "/indexes/films/documents", &json!([{ "id": id }]))
            .expect("a task");
        assert_eq!(task["status"], "succeeded");
    }
    // Nothing but public addresses is allowed here.
    let refused = |log: &str, uuid: &str| {
        let mut lines = log.lines();
        lines.any(|line| line.contains(uuid) && line.contains("its address is not public"))
    };
    until("the refusals to be logged", LIMIT, || {
        let log = fleet.proxy_log();
        uuids.iter().all(|uuid| refused(&log, uuid))
    });
    assert!(called.try_recv().is_err());
}
