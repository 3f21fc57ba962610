//! The demo's nodes: child processes on free loopback ports.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::DemoError;

/// A node that takes longer than this to answer `/health` has failed.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// A node that does not end by itself within this time is killed; the whole demo must end in two seconds.
const STOP_DEADLINE: Duration = Duration::from_millis(1200);

/// The running nodes, in the order of their ids.
#[derive(Default)]
pub struct Nodes {
    running: Vec<Node>,
}

struct Node {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Nodes {
    /// Starts them all, then waits until each answers.
    pub async fn start(
        &mut self,
        count: u16,
        folder: &Path,
        key: &str,
        binary: Option<PathBuf>,
    ) -> Result<(), DemoError> {
        let own = std::env::current_exe()
            .map_err(|error| DemoError::Node(format!("cannot find the own program: {error}")))?;
        for (position, address) in free_addresses(count)?.into_iter().enumerate() {
            let home = folder.join(format!("meili-{position}"));
            std::fs::create_dir_all(&home).map_err(|source| DemoError::Data {
                path: home.display().to_string(),
                source,
            })?;
            let log = home.join("node.log");
            let mut command = match &binary {
                Some(binary) => {
                    let mut command = Command::new(binary);
                    command.arg("--no-analytics");
                    command
                }
                None => {
                    let mut command = Command::new(&own);
                    command
                        .arg("node")
                        .args(["--parent-pid", &std::process::id().to_string()]);
                    command
                }
            };
            let output = std::fs::File::create(&log)
                .and_then(|file| Ok((file.try_clone()?, file)))
                .map_err(|source| DemoError::Data {
                    path: log.display().to_string(),
                    source,
                })?;
            // The key goes through the environment: arguments can be read by every user of the machine.
            let child = command
                .args(["--http-addr", &address.to_string()])
                .args(["--db-path".as_ref(), home.join("data.ms").as_os_str()])
                .env("MEILI_MASTER_KEY", key)
                .current_dir(&home)
                .stdin(Stdio::null())
                .stdout(output.0)
                .stderr(output.1)
                .spawn()
                .map_err(|error| {
                    let program = binary.as_ref().unwrap_or(&own).display();
                    DemoError::Node(format!(
                        "cannot start a node with {program}: {error}; check `--node-binary`"
                    ))
                })?;
            self.running.push(Node {
                child,
                address,
                log,
            });
        }
        self.wait_until_healthy().await
    }

    /// Where they listen.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.running.iter().map(|node| node.address)
    }

    /// Ends them all: asked first, killed when they do not go.
    pub fn stop(&mut self) {
        for node in &mut self.running {
            interrupt(&node.child);
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        for node in &mut self.running {
            while matches!(node.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            // Both fail only when the child has already ended.
            let _ = node.child.kill();
            let _ = node.child.wait();
        }
        self.running.clear();
    }

    async fn wait_until_healthy(&mut self) -> Result<(), DemoError> {
        let client = reqwest::Client::new();
        let deadline = Instant::now() + START_DEADLINE;
        for node in &mut self.running {
            loop {
                let health = client
                    .get(format!("http://{}/health", node.address))
                    .send()
                    .await;
                if health.is_ok_and(|answer| answer.status().is_success()) {
                    break;
                }
                if let Ok(Some(status)) = node.child.try_wait() {
                    let log = std::fs::read_to_string(&node.log).unwrap_or_default();
                    return Err(DemoError::Node(format!(
                        "a node ended at its start ({status}):\n{}",
                        log.trim()
                    )));
                }
                if Instant::now() > deadline {
                    return Err(DemoError::Node(format!(
                        "a node did not answer within {} s; its log is {}",
                        START_DEADLINE.as_secs(),
                        node.log.display()
                    )));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ctrl-C in a terminal reaches the children too; a `kill` of the demo alone does not, so they are told.
fn interrupt(child: &Child) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // A child that has ended already cannot be told; that is what is wanted.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    }
}

/// Ports that were free a moment ago; all are held at once so that no two are equal.
fn free_addresses(count: u16) -> Result<Vec<SocketAddr>, DemoError> {
    let held: Result<Vec<TcpListener>, _> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect();
    held.and_then(|listeners| listeners.iter().map(TcpListener::local_addr).collect())
        .map_err(|error| DemoError::Node(format!("no free port for a node: {error}")))
}
