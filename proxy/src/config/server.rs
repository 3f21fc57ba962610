//! `server`: where clients are listened to, and how the cores run.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use miroir_net::Listening;
use miroir_rt::{CoresConfig, DriverChoice, RingFlags};
use serde::Deserialize;
use serde_json::Value;

use super::{byte_count, ConfigError};

#[derive(Clone, Copy, Debug)]
pub struct Server {
    pub listen: SocketAddr,
    pub listening: Listening,
    pub cores: CoresConfig,
    /// Largest request body after decompression, in bytes.
    pub body_bytes_max: usize,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileServer {
    bind: Option<IpAddr>,
    port: Option<u16>,
    cores: Option<usize>,
    driver: Option<String>,
    pin: Option<bool>,
    ring_flags: Option<Vec<String>>,
    backlog: Option<u16>,
    busy_poll_us: Option<u32>,
    http_payload_size_limit: Option<Value>,
}

impl Default for Server {
    fn default() -> Self {
        Server {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7700)),
            listening: Listening::default(),
            cores: CoresConfig::default(),
            // Meilisearch's: 100 MB, in decimal units.
            body_bytes_max: 100_000_000,
        }
    }
}

impl FileServer {
    pub(super) fn decide(self) -> Result<Server, ConfigError> {
        let usual = Server::default();
        let flags = |names: Vec<String>| {
            let wrong = |why| ConfigError::Invalid(format!("server.ring_flags: {why}"));
            RingFlags::of(&names).map_err(wrong)
        };
        Ok(Server {
            listen: SocketAddr::new(
                self.bind.unwrap_or(usual.listen.ip()),
                self.port.unwrap_or(usual.listen.port()),
            ),
            listening: Listening {
                backlog: self.backlog.unwrap_or(usual.listening.backlog),
                busy_poll_us: self.busy_poll_us.unwrap_or(usual.listening.busy_poll_us),
            },
            cores: CoresConfig {
                cores: self.cores.unwrap_or(usual.cores.cores),
                driver: self
                    .driver
                    .as_deref()
                    .map_or(Ok(usual.cores.driver), driver)?,
                pin: self.pin.unwrap_or(usual.cores.pin),
                ring: self.ring_flags.map_or(Ok(usual.cores.ring), flags)?,
            },
            body_bytes_max: match self.http_payload_size_limit {
                None => usual.body_bytes_max,
                Some(value) => byte_count("server.http_payload_size_limit", &value)?,
            },
        })
    }
}

/// Reads `auto`, `io_uring` or `epoll`.
fn driver(name: &str) -> Result<DriverChoice, ConfigError> {
    match name {
        "auto" => Ok(DriverChoice::Auto),
        "io_uring" => Ok(DriverChoice::IoUring),
        "epoll" => Ok(DriverChoice::Epoll),
        other => Err(ConfigError::Invalid(format!(
            "server.driver is `{other}`; it can be auto, io_uring or epoll"
        ))),
    }
}
