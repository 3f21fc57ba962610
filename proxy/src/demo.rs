//! `miroir demo`: a whole cluster from one command.
//!
//! Nodes are child processes, as they would be in life, so that a user can kill one and see what happens. They die with
//! this process even when it is killed hard (the embedded node asks the kernel for that, see its `--parent-pid`).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use argh::FromArgs;
use miroir_rt::{CoresConfig, DriverChoice};
use miroir_webhooks::Networks;

use crate::config::{Config, LogFormat, NodeAddress, Server, UnavailableShards, SLOW_SEARCH_MS};
use crate::serve::{self, ServeError};

mod films;
mod nodes;

/// The whole demo ends within two seconds of Ctrl-C: requests in flight get a part of that.
const DRAIN: Duration = Duration::from_millis(400);

/// Run a cluster of embedded nodes with 3,201 films in the index `movies`, to try Miroir with curl or any SDK.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "demo",
    example = "Two copies of everything, and then kill a node:\n  {command_name} --nodes 4 --replication-factor 2 --groups 2",
    note = "The key is MIROIR_MASTER_KEY where that is set; otherwise one is made and printed. Ctrl-C ends everything."
)]
pub struct Arguments {
    /// nodes to start (default 3)
    #[argh(option, default = "3")]
    nodes: u16,
    /// copies of each shard inside a group (default 1)
    #[argh(option, default = "1")]
    replication_factor: u8,
    /// replica groups: each holds every shard (default 1)
    #[argh(option, default = "1")]
    groups: u16,
    /// shards of an index (default 16)
    #[argh(option, default = "16")]
    shards: u16,
    /// port of the cluster on 127.0.0.1 (default 7700)
    #[argh(option, default = "7700")]
    port: u16,
    /// keep the data in this folder (default: a temporary one, removed at the end)
    #[argh(option)]
    data: Option<PathBuf>,
    /// a released `meilisearch` to use for the nodes instead of the embedded engine
    #[argh(option)]
    node_binary: Option<PathBuf>,
}

/// Why the demo cannot run; the text names the next step.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("port {port} on 127.0.0.1 is in use; choose another with `--port`")]
    PortInUse { port: u16 },
    #[error("{0}")]
    Arguments(String),
    #[error("cannot use the data folder {path}: {source}; choose another with `--data`")]
    Data {
        path: String,
        source: std::io::Error,
    },
    #[error("{0}")]
    Node(String),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("the films could not be loaded: {0}")]
    Films(String),
}

/// Starts the cluster, loads the films, prints the banner, waits for Ctrl-C.
pub fn run(arguments: Arguments) -> Result<(), DemoError> {
    arguments.check()?;
    // The banner is the output; only what goes wrong is logged beside it.
    crate::cli::start_logging("warn", LogFormat::from_environment());
    let started = Instant::now();
    let folder = Folder::open(arguments.data.clone())?;
    let key = std::env::var("MIROIR_MASTER_KEY")
        .ok()
        .filter(|key| !key.is_empty())
        .unwrap_or_else(random_key);
    let node_key = random_key_kept(folder.path())?;
    println!(
        "Starting {} nodes in {} ...",
        arguments.nodes,
        folder.path().display()
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| DemoError::Node(format!("cannot start: {error}")))?;
    let binary = arguments.node_binary.clone();
    // Ctrl-C must end the demo at any moment of its start, so the wait for it begins before the first node does.
    let mut nodes = nodes::Nodes::default();
    let result = runtime.block_on(async {
        tokio::select! {
            result = bring_up(&arguments, &folder, &key, &node_key, binary, &mut nodes, started) => result,
            interrupted = serve::interrupted() => interrupted.map(|()| None).map_err(DemoError::from),
        }
    });
    let ended = match result {
        Ok(Some(serving)) => {
            let waited = runtime
                .block_on(serve::interrupted())
                .map_err(DemoError::from);
            println!("\nStopping ...");
            serving.stop(DRAIN);
            waited
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    nodes.stop();
    folder.remove();
    ended
}

impl Arguments {
    fn check(&self) -> Result<(), DemoError> {
        let wrong = |text: String| Err(DemoError::Arguments(text));
        if self.nodes == 0 || self.groups == 0 || self.replication_factor == 0 {
            return wrong("`--nodes`, `--groups` and `--replication-factor` begin at 1".into());
        }
        if self.nodes < self.groups * u16::from(self.replication_factor) {
            return wrong(format!(
                "{} group(s) of {} copies need at least {} nodes; raise `--nodes`",
                self.groups,
                self.replication_factor,
                self.groups * u16::from(self.replication_factor)
            ));
        }
        TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))
            .map(drop)
            .map_err(|_| DemoError::PortInUse { port: self.port })
    }

    fn config(&self, folder: &Path, key: &str, node_key: &str, nodes: &nodes::Nodes) -> Config {
        Config {
            task_webhook: None,
            allowed_ip_networks: Networks::default(),
            master_key: Some(key.to_owned()),
            node_master_key: Some(node_key.to_owned()),
            admin_key: Some(key.to_owned()),
            shards: self.shards,
            replication_factor: self.replication_factor,
            replica_groups: self.groups,
            nodes: nodes
                .addresses()
                .enumerate()
                .map(|(position, address)| NodeAddress {
                    id: format!("meili-{position}"),
                    address: address.to_string(),
                    // At most `groups`, which is a u16.
                    replica_group: u16::try_from(position).unwrap_or_default() % self.groups,
                    weight: 1,
                    zone: None,
                })
                .collect(),
            store_path: folder.join("miroir.db"),
            dumps_path: None,
            anti_entropy_interval: std::time::Duration::ZERO,
            server: Server {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
                cores: CoresConfig {
                    driver: DriverChoice::from_env().unwrap_or_default(),
                    ..CoresConfig::default()
                },
                ..Server::default()
            },
            limits: crate::config::CoreLimits::default(),
            unavailable_shards: UnavailableShards::Error,
            coalescing: true,
            result_cache_bytes: 0,
            reads: Default::default(),
            health: Default::default(),
            log_format: LogFormat::from_environment(),
            slow_search: Some(std::time::Duration::from_millis(SLOW_SEARCH_MS)),
        }
    }
}

async fn bring_up(
    arguments: &Arguments,
    folder: &Folder,
    key: &str,
    node_key: &str,
    binary: Option<PathBuf>,
    nodes: &mut nodes::Nodes,
    started: Instant,
) -> Result<Option<serve::Serving>, DemoError> {
    nodes
        .start(arguments.nodes, folder.path(), node_key, binary)
        .await?;
    let config = arguments.config(folder.path(), key, node_key, nodes);
    let address = config.server.listen;
    // Starting blocks until both planes are ready; it must not hold this runtime's only thread.
    let serving = tokio::task::spawn_blocking(move || serve::start(config, None))
        .await
        .map_err(|error| DemoError::Node(format!("the front tier did not start: {error}")))??;
    let films = films::load(address, key).await.map_err(DemoError::Films)?;
    banner(arguments, folder, key, address, films, started.elapsed());
    Ok(Some(serving))
}

fn banner(
    arguments: &Arguments,
    folder: &Folder,
    key: &str,
    address: SocketAddr,
    films: u64,
    took: Duration,
) {
    let kept = if folder.is_temporary() {
        "temporary, removed at the end; keep it with --data DIR"
    } else {
        "kept"
    };
    println!(
        "
  Miroir is running: {nodes} nodes, {shards} shards, {films} films, ready after {took:.1} s

    address   http://{address}
    key       {key}
    index     movies
    data      {folder} ({kept})

  Worth trying:

    curl 'http://{address}/indexes/movies/search?q=star+wras&limit=3' -H 'Authorization: Bearer {key}'

    curl 'http://{address}/indexes/movies/search' -H 'Authorization: Bearer {key}' \\
      -H 'Content-Type: application/json' \\
      -d '{{\"q\":\"love\",\"filter\":\"imdb_rating > 7.5\",\"sort\":[\"imdb_rating:desc\"],\"facets\":[\"major_genre\"],\"limit\":3}}'

    curl 'http://{address}/_miroir/topology' -H 'Authorization: Bearer {key}'

  Ctrl-C ends it.
",
        nodes = arguments.nodes,
        shards = arguments.shards,
        took = took.as_secs_f32(),
        folder = folder.path().display(),
    );
}

/// Where the data lies: the user's folder, or a temporary one that goes with the demo.
struct Folder {
    path: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl Folder {
    fn open(wanted: Option<PathBuf>) -> Result<Folder, DemoError> {
        match wanted {
            Some(path) => {
                // Absolute, because each node runs in its own folder.
                let path = std::fs::create_dir_all(&path)
                    .and_then(|()| path.canonicalize())
                    .map_err(|source| DemoError::Data {
                        path: path.display().to_string(),
                        source,
                    })?;
                Ok(Folder {
                    path,
                    temporary: None,
                })
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("miroir-demo-")
                    .tempdir()
                    .map_err(|source| DemoError::Data {
                        path: std::env::temp_dir().display().to_string(),
                        source,
                    })?;
                Ok(Folder {
                    path: temporary.path().to_owned(),
                    temporary: Some(temporary),
                })
            }
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    fn remove(self) {
        if let Some(temporary) = self.temporary {
            let path = temporary.path().to_owned();
            if let Err(error) = temporary.close() {
                eprintln!(
                    "miroir: the temporary folder {} could not be removed: {error}",
                    path.display()
                );
            }
        }
    }
}

fn random_key() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The nodes' key stays with the data: a demo with `--data` must be able to start again on it.
fn random_key_kept(folder: &Path) -> Result<String, DemoError> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = folder.join("node-key");
    let failed = |source| DemoError::Data {
        path: path.display().to_string(),
        source,
    };
    match std::fs::read_to_string(&path) {
        Ok(key) => Ok(key.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = random_key();
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(failed)?;
            std::io::Write::write_all(&mut file, key.as_bytes()).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}
