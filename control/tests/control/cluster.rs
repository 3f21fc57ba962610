//! A control plane over fake nodes, driven as a core drives it: with nothing but a waker.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use miroir_auth::Access;
use miroir_control::{Control, ControlConfig, NodeConfig, Running, StartError};
use serde_json::Value;

use crate::fake::{Fake, KEY};

pub struct Cluster {
    pub nodes: Vec<Fake>,
    pub config: ControlConfig,
    running: Option<Running>,
    _folder: tempfile::TempDir,
}

impl Cluster {
    pub fn new(nodes: usize, replication_factor: u8) -> Cluster {
        let mut cluster = Cluster::stopped(nodes, replication_factor);
        cluster.start().unwrap();
        cluster
    }

    pub fn stopped(nodes: usize, replication_factor: u8) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let nodes: Vec<Fake> = (0..nodes).map(|_| Fake::start("1.15.1")).collect();
        let config = ControlConfig {
            master_key: Some("client-key".into()),
            node_master_key: Some(KEY.into()),
            admin_key: None,
            shards: 4,
            replication_factor,
            replica_groups: 1,
            nodes: nodes
                .iter()
                .enumerate()
                .map(|(n, fake)| node_config(n, fake))
                .collect(),
            task_webhook: None,
            allowed_ip_networks: Default::default(),
            store_path: folder.path().join("miroir.db"),
            dumps_path: None,
            own_address: "http://127.0.0.1:1".to_owned(),
            body_bytes_max: 1 << 20,
            health: Default::default(),
            anti_entropy_interval: std::time::Duration::ZERO,
            driver: "test".into(),
        };
        Cluster {
            nodes,
            config,
            running: None,
            _folder: folder,
        }
    }

    pub fn start(&mut self) -> Result<(), StartError> {
        self.running = Some(miroir_control::start(self.config.clone())?);
        Ok(())
    }

    pub fn stop(&mut self) {
        self.running.take().unwrap().stop();
    }

    pub fn control(&self) -> &Control {
        &self.running.as_ref().unwrap().control
    }

    pub fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_with(method, path, body, None)
    }

    pub fn call_with(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        key: Option<&str>,
    ) -> (u16, Value) {
        let mut request = http::Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = body
            .map(|body| Bytes::from(body.to_string()))
            .unwrap_or_default();
        let response = block_on(
            self.control()
                .handle(Access::everything(), request.body(body).unwrap()),
        );
        let body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        (response.status().as_u16(), body)
    }

    /// Waits for a task to end and returns it.
    pub fn finished(&self, summary: &Value) -> Value {
        self.task_when(summary, |status| matches!(status, "succeeded" | "failed"))
    }

    pub fn task_when(&self, summary: &Value, wanted: impl Fn(&str) -> bool) -> Value {
        let uid = summary["taskUid"]
            .as_u64()
            .unwrap_or_else(|| panic!("no task: {summary}"));
        eventually(|| {
            let (_, task) = self.call("GET", &format!("/tasks/{uid}"), None);
            wanted(task["status"].as_str().unwrap()).then_some(task)
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

pub fn node_config(n: usize, fake: &Fake) -> NodeConfig {
    NodeConfig {
        id: format!("n{n}"),
        address: format!("http://{}", fake.address),
        replica_group: 0,
        weight: 1,
        zone: None,
    }
}

/// Asks until there is an answer.
pub fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..6000 {
        if let Some(found) = ask() {
            return found;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("it never happened");
}

/// An executor without any runtime: what a core promises, and no more.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// One poll: whether it is ready at once.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
