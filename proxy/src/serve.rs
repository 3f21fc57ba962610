//! `miroir serve`: the control plane first, then the cores, then wait to be told to stop.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miroir_api::unix_socket;
use miroir_control::{ControlConfig, NodeConfig, Running, StartError};
use miroir_import::{AtStart, Trouble};
use miroir_net::client::{PoolConfig, Pools};
use miroir_net::Limits;
use miroir_rt::{Core, Cores, CoresConfig};

use crate::config::Config;
use crate::core::{App, Shared};
use crate::import;

/// How long requests in flight may take to end at a shutdown; a write may be waiting for a slow node.
const DRAIN: Duration = Duration::from_secs(10);

/// How long a port may stay taken by a killed process's ring.
const GHOST: Duration = Duration::from_secs(2);

/// Why the front tier cannot run; the text names the next step.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {source}; choose another with `server.port` (or `--port` of the demo)")]
    Listen {
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Control(#[from] StartError),
    #[error("cannot start the cores: {0}")]
    Cores(#[from] miroir_rt::Error),
    #[error("{0}")]
    Import(String),
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// A front tier that runs: dropping it without [`Serving::stop`] leaves its threads running.
pub struct Serving {
    cores: Cores,
    running: Running,
}

/// Runs until SIGINT or SIGTERM; a dump is imported before clients are let in.
pub fn run(config: Config, import: Option<AtStart>) -> Result<(), ServeError> {
    let listen = config.server.listen;
    warn_of_short_key(&config);
    let serving = start(config, import)?;
    tracing::info!(address = %listen, "miroir is ready");
    wait_for_signal()?;
    tracing::info!("stopping: no new connections, requests in flight may end");
    serving.stop(DRAIN);
    Ok(())
}

/// Meilisearch refuses such keys in its production mode, which this program has no mode for.
fn warn_of_short_key(config: &Config) {
    const BYTES_MIN: usize = 16;
    let key = config.master_key.as_deref();
    if key.is_some_and(|key| key.len() < BYTES_MIN) {
        tracing::warn!(
            "master_key is shorter than {BYTES_MIN} bytes; `openssl rand -hex 24` makes a good one"
        );
    }
}

fn wanted(import: &AtStart) -> Result<bool, ServeError> {
    let missing = |trouble: Trouble| ServeError::Import(trouble.to_string());
    import.is_wanted().map_err(missing)
}

/// Starts both planes; returns when clients can be served.
pub fn start(config: Config, import: Option<AtStart>) -> Result<Serving, ServeError> {
    let import = match import {
        Some(import) if wanted(&import)? => Some(import),
        _ => None,
    };
    // Taken first and kept by no one else: a port in use must be known before nodes are asked and a store is opened.
    probe_port(&config)?;
    let running = miroir_control::start(control_config(&config))?;
    let listen = config.server.listen;
    let shared = Arc::new(Shared {
        control: running.control.clone(),
        config,
    });
    if let Some(import) = import {
        let listen = import::private_address().map_err(ServeError::Signals)?;
        let cores = start_cores(&shared, 1, listen)?;
        let imported = import::run(&import, &shared.config, listen);
        cores.shutdown(import::DRAIN);
        if let Err(error) = imported {
            running.stop();
            return Err(error);
        }
    }
    let cores = start_cores(&shared, shared.config.server.cores.cores, listen)?;
    Ok(Serving { cores, running })
}

fn start_cores(
    shared: &Arc<Shared>,
    cores: usize,
    listen: SocketAddr,
) -> Result<Cores, miroir_rt::Error> {
    let config = CoresConfig {
        cores,
        ..shared.config.server.cores
    };
    let shared = Arc::clone(shared);
    miroir_rt::start(config, move |core| serve_core(shared.clone(), core, listen))
}

impl Serving {
    /// Stops accepting, lets requests end for at most `drain`, closes the store.
    pub fn stop(self, drain: Duration) {
        self.cores.shutdown(drain);
        self.running.stop();
    }
}

/// One core: its own listener, its own connections to the nodes.
async fn serve_core(shared: Arc<Shared>, core: Core, listen: std::net::SocketAddr) {
    let listener = match shared.config.server.listening.bind(listen) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(core = core.id, %error, "a core cannot listen");
            return;
        }
    };
    let limits = Limits {
        body_bytes_max: shared.config.server.body_bytes_max,
        connections_max: shared.config.limits.connections.unwrap_or(usize::MAX),
        ..Limits::default()
    };
    let connections = shared.config.limits.node_connections;
    let pools = Pools::new(PoolConfig {
        connections_max: connections,
        idle_max: connections,
        waiting_max: connections,
        ..PoolConfig::default()
    });
    let app = Rc::new(App::new(shared, pools));
    if let Err(error) = miroir_net::serve(listener, app, Rc::new(limits), core.shutdown).await {
        tracing::error!(core = core.id, %error, "a core cannot accept");
    }
}

/// Cores share the port with SO_REUSEPORT, which would also let a second miroir in; a plain bind tells.
///
/// The kernel takes a ring down some time after its process was killed, and keeps the listeners until then: a miroir
/// that is started again at once waits for its own ghost.
fn probe_port(config: &Config) -> Result<(), ServeError> {
    let deadline = Instant::now() + GHOST;
    loop {
        match std::net::TcpListener::bind(config.server.listen) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(source) => {
                return Err(ServeError::Listen {
                    address: config.server.listen,
                    source,
                })
            }
        }
    }
}

fn control_config(config: &Config) -> ControlConfig {
    ControlConfig {
        master_key: config.master_key.clone(),
        node_master_key: config.node_master_key.clone(),
        admin_key: config.admin_key.clone(),
        shards: config.shards,
        replication_factor: config.replication_factor,
        replica_groups: config.replica_groups,
        nodes: config
            .nodes
            .iter()
            .map(|node| NodeConfig {
                id: node.id.clone(),
                address: match unix_socket(&node.address) {
                    Some(_) => node.address.clone(),
                    None => format!("http://{}", node.address),
                },
                replica_group: node.replica_group,
                weight: node.weight,
                zone: node.zone.clone(),
            })
            .collect(),
        store_path: config.store_path.clone(),
        dumps_path: config.dumps_path.clone(),
        body_bytes_max: config.server.body_bytes_max,
        own_address: format!("http://{}", reachable(config.server.listen)),
        health: config.health,
        anti_entropy_interval: config.anti_entropy_interval,
        task_webhook: config.task_webhook.clone(),
        allowed_ip_networks: config.allowed_ip_networks.clone(),
        driver: match miroir_rt::probe(config.server.cores.driver) {
            Ok((driver, _)) => format!("{driver:?}"),
            Err(_) => "none".to_owned(),
        },
    }
}

/// Where this machine reaches what listens at `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => (),
    }
    address
}

/// Blocks this thread until SIGINT or SIGTERM.
fn wait_for_signal() -> Result<(), ServeError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Signals)?
        .block_on(interrupted())
}

/// Resolves at SIGINT or SIGTERM.
pub async fn interrupted() -> Result<(), ServeError> {
    use tokio::signal::unix::{signal, SignalKind};
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
