//! Running fleets: nodes, and a proxy in front of them.
//!
//! Everything lives in a temporary folder, listens on 127.0.0.1 and ends with the value. Readiness is polled, never waited for with a
//! clock. When a test panics, the last lines of every process's log are printed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use rand::Rng;
use tempfile::TempDir;

use crate::http::{until, Target};
use crate::process::{command, Process, Signal};
use crate::relay::Relay;
use crate::unix::{self, UnixRelay};

/// What clients send, to a proxy and to a lone node alike.
pub const MASTER_KEY: &str = "test-master-key-0123456789";
/// What the proxy sends to its nodes.
pub const NODE_KEY: &str = "test-node-key-0123456789";

const READY: Duration = Duration::from_secs(60);

/// The program under test: `MIROIR_BIN`, else `target/release/miroir`.
pub fn miroir() -> PathBuf {
    match std::env::var_os("MIROIR_BIN") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/miroir"),
    }
}

/// `miroir-ctl`: `MIROIR_CTL_BIN`, else beside the program under test.
pub fn miroir_ctl() -> PathBuf {
    let given = std::env::var_os("MIROIR_CTL_BIN").map(PathBuf::from);
    let ctl = given.unwrap_or_else(|| miroir().with_file_name("miroir-ctl"));
    assert!(
        ctl.is_file(),
        "miroir-ctl is not built; run `cargo build --release -p miroir-ctl`"
    );
    ctl
}

/// One node process and where its data lies; it can be killed and started again on the same port.
pub struct Node {
    pub port: u16,
    key: String,
    dir: PathBuf,
    /// Further arguments.
    extra: Vec<OsString>,
    /// With `MIROIR_UNIX=1`, once it was started.
    socket: Option<UnixRelay>,
    process: Option<Process>,
}

impl Node {
    /// Prepares a node in `dir`; nothing runs yet.
    pub fn new(dir: &Path, key: &str) -> Node {
        Node {
            port: free_port(),
            key: key.to_string(),
            dir: dir.to_path_buf(),
            extra: Vec::new(),
            socket: None,
            process: None,
        }
    }

    /// Starts the process and waits until it answers.
    pub fn start(&mut self) {
        std::fs::create_dir_all(&self.dir).expect("a folder for the node");
        if unix::wanted() && self.socket.is_none() {
            let path = self.dir.join("socket");
            self.socket = Some(UnixRelay::start(path, self.port).expect("a socket"));
        }
        self.process = Some(
            Process::start(
                &format!("node {}", self.port),
                self.command(),
                &self.dir.join("log"),
            )
            .expect("the node starts"),
        );
        let target = self.target("node");
        let process = self.process.as_mut().expect("just set");
        until(&format!("node {} to be healthy", self.port), READY, || {
            assert!(
                process.ended().is_none(),
                "a node ended at start\n{}",
                process.tail()
            );
            target.healthy()
        });
    }

    /// With `MIROIR_UNIX=1`: where proxies reach it. Tests reach it at its port all the same.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_ref().map(UnixRelay::path)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Throws its data away: it must not run.
    pub fn forget(&self) {
        std::fs::remove_dir_all(self.data()).expect("the data of a node that has run");
    }

    /// Where its data lies.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// No file of it may grow beyond so many bytes, from now on; None: any may.
    pub fn limit_files(&self, bytes_max: Option<u64>) {
        if let Some(process) = &self.process {
            process.limit_files(bytes_max);
        }
    }

    /// Whether it was started and not killed.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Sends a signal, where it runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// How to speak to it directly.
    pub fn target(&self, name: &str) -> Target {
        Target {
            name: name.to_string(),
            base: format!("http://127.0.0.1:{}", self.port),
            key: self.key.clone(),
        }
    }

    fn command(&self) -> Command {
        let mut c = match std::env::var_os("MEILISEARCH_BIN") {
            Some(released) => {
                let mut c = command(released);
                c.args([
                    "--no-analytics",
                    "--max-indexing-memory",
                    "200MiB",
                    "--experimental-max-number-of-batched-tasks",
                    "100",
                ]);
                c
            }
            None => {
                let mut c = command(miroir());
                c.arg("node");
                c
            }
        };
        c.args([
            "--http-addr",
            &format!("127.0.0.1:{}", self.port),
            "--db-path",
        ]);
        c.arg(self.data());
        c.args(["--master-key", &self.key]);
        c.args(&self.extra);
        c.current_dir(&self.dir);
        c
    }
}

/// What a fleet looks like.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: usize,
    pub shards: u16,
    pub replication_factor: u8,
    pub replica_groups: u16,
    /// Further lines for the configuration file.
    pub extra: String,
    /// Put a [`Relay`] between the proxy and each node.
    pub relayed: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            nodes: 3,
            shards: 16,
            replication_factor: 1,
            replica_groups: 1,
            extra: String::new(),
            relayed: false,
        }
    }
}

/// Nodes and a proxy.
pub struct Fleet {
    pub nodes: Vec<Node>,
    pub relays: Vec<Relay>,
    pub port: u16,
    proxy: Option<Process>,
    plan: Plan,
    dir: TempDir,
}

impl Fleet {
    /// Starts everything and waits until the proxy is ready.
    pub fn start(plan: Plan) -> Fleet {
        Fleet::start_with(plan, &[])
    }

    /// The same with further arguments for this first start of the proxy.
    pub fn start_with(plan: Plan, arguments: &[&OsStr]) -> Fleet {
        let dir = tempfile::Builder::new()
            .prefix("miroir-fleet-")
            .tempdir()
            .expect("a temporary folder");
        let nodes = (0..plan.nodes)
            .map(|i| Node::new(&dir.path().join(format!("node-{i}")), NODE_KEY))
            .collect();
        let mut fleet = Fleet {
            nodes,
            relays: Vec::new(),
            port: free_port(),
            proxy: None,
            plan,
            dir,
        };
        for node in &mut fleet.nodes {
            node.start();
            if fleet.plan.relayed {
                fleet
                    .relays
                    .push(Relay::start(([127, 0, 0, 1], node.port).into()).expect("a relay"));
            }
        }
        fleet.write_config();
        fleet.start_proxy_with(arguments);
        fleet
    }

    /// Starts the proxy and waits until it is ready.
    pub fn start_proxy(&mut self) {
        self.start_proxy_with(&[]);
    }

    fn start_proxy_with(&mut self, arguments: &[&OsStr]) {
        let mut serve = self.serve_command();
        serve.args(arguments);
        let mut process = Process::start("proxy", serve, &self.dir.path().join("proxy.log"))
            .expect("the proxy starts");
        let target = self.target("proxy");
        until("the proxy to be healthy", READY, || {
            assert!(
                process.ended().is_none(),
                "the proxy ended at start\n{}",
                process.tail()
            );
            target.healthy()
        });
        self.proxy = Some(process);
    }

    /// SIGKILL, as a power cut would.
    pub fn kill_proxy(&mut self) {
        if let Some(mut process) = self.proxy.take() {
            process.kill();
        }
    }

    /// SIGTERM, and waits for its end; whether that came within `limit`.
    pub fn stop_proxy(&mut self, limit: Duration) -> bool {
        let Some(mut process) = self.proxy.take() else {
            return true;
        };
        process.signal(Signal::Terminate);
        process.wait(limit).is_some()
    }

    /// How to speak to the proxy.
    pub fn target(&self, name: &str) -> Target {
        Target {
            name: name.to_string(),
            base: format!("http://127.0.0.1:{}", self.port),
            key: MASTER_KEY.to_string(),
        }
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("miroir.yaml")
    }

    /// Where the proxy's files lie.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// What the proxy has logged.
    pub fn proxy_log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("proxy.log")).unwrap_or_default()
    }

    fn serve_command(&self) -> Command {
        let mut c = command(miroir());
        c.arg("serve")
            .arg("--config")
            .arg(self.config())
            .current_dir(self.dir.path());
        c
    }

    fn write_config(&self) {
        let mut nodes = String::new();
        for (i, node) in self.nodes.iter().enumerate() {
            let address = match (self.relays.get(i), node.socket()) {
                (Some(relay), _) => format!("http://{}", relay.address()),
                (None, Some(socket)) => format!("unix:{}", socket.display()),
                (None, None) => format!("http://127.0.0.1:{}", node.port),
            };
            let group = i as u16 % self.plan.replica_groups;
            nodes += &format!(
                "  - id: \"meili-{i}\"\n    address: \"{address}\"\n    replica_group: {group}\n"
            );
        }
        let Plan {
            shards,
            replication_factor,
            replica_groups,
            extra,
            ..
        } = &self.plan;
        let store = self.dir.path().join("miroir.db");
        let text = format!(
            "master_key: \"{MASTER_KEY}\"\nnode_master_key: \"{NODE_KEY}\"\nshards: {shards}\nreplication_factor: {replication_factor}\n\
             replica_groups: {replica_groups}\nnodes:\n{nodes}task_store: {{ backend: sqlite, path: \"{}\" }}\n\
             admin: {{ api_key: \"\" }}\nserver: {{ bind: 127.0.0.1, port: {}, cores: 2 }}\n{extra}\n",
            store.display(),
            self.port,
        );
        std::fs::write(self.config(), text).expect("a configuration file");
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(proxy) = &self.proxy {
                eprintln!("{}", proxy.tail());
            }
            for process in self.nodes.iter().filter_map(|n| n.process.as_ref()) {
                eprintln!("{}", process.tail());
            }
        }
    }
}

/// One node on its own: the reference that clusters are compared with.
pub struct Lone {
    pub node: Node,
    dir: TempDir,
}

impl Lone {
    /// Starts it and waits until it is ready.
    pub fn start() -> Lone {
        Lone::start_with(&[])
    }

    /// The same with further arguments.
    pub fn start_with(arguments: &[&OsStr]) -> Lone {
        let dir = tempfile::Builder::new()
            .prefix("miroir-lone-")
            .tempdir()
            .expect("a temporary folder");
        let mut node = Node::new(dir.path(), MASTER_KEY);
        node.extra = arguments.iter().map(|argument| argument.into()).collect();
        node.start();
        Lone { node, dir }
    }

    /// Where its files lie.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// How to speak to it.
    pub fn target(&self) -> Target {
        self.node.target("one node")
    }
}

/// A port nobody listens on, outside the range from which the kernel takes ports for outgoing connections: one from that range could be
/// taken between this check and the moment the server binds it.
pub fn free_port() -> u16 {
    // A port that was given is taken only once its process has started; until then nobody else may get it.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let given = &GIVEN;
    let mut rng = rand::thread_rng();
    loop {
        let port = rng.gen_range(12_000..32_000);
        let fresh = given
            .lock()
            .expect("nothing panics while it holds the lock")
            .insert(port);
        if fresh && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
