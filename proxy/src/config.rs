//! Configuration: what a file and the environment say, checked, as one value that the rest of the program can trust.
//!
//! Two types, on purpose: [`File`] is what may be written (every key optional, in YAML or in `MIROIR_*` variables), and
//! [`Config`] is what has been decided. A key that nobody knows is an error that names the nearest known one, because a
//! misspelt `replication_factor` that is silently ignored costs data.

use std::path::{Path, PathBuf};
use std::time::Duration;

use miroir_api::{check_unix_socket, unix_socket};
use miroir_router::{HealthRules, Layout, LayoutNode, LayoutSpec, Policy};
use miroir_webhooks::Networks;
use serde::Deserialize;
use serde_json::Value;

mod environment;
mod keys;
mod limits;
mod server;

pub use limits::CoreLimits;
use server::FileServer;
pub use server::Server;

/// What the program runs with.
#[derive(Clone)]
pub struct Config {
    /// What clients send as `Authorization: Bearer`; `None`: every route is open, as in Meilisearch without a master key.
    pub master_key: Option<String>,
    /// What the nodes were started with.
    pub node_master_key: Option<String>,
    /// Key of `/_miroir/*`; the master key where none was given.
    pub admin_key: Option<String>,
    pub shards: u16,
    pub replication_factor: u8,
    pub replica_groups: u16,
    pub nodes: Vec<NodeAddress>,
    pub store_path: PathBuf,
    /// Where dumps are written; `None`: next to the store.
    pub dumps_path: Option<PathBuf>,
    /// URL and `Authorization` header of the webhook that clients cannot change.
    pub task_webhook: Option<(String, Option<String>)>,
    /// Networks that webhooks and exports may go to besides the public internet.
    pub allowed_ip_networks: Networks,
    pub server: Server,
    pub log_format: LogFormat,
    /// Searches that take longer are logged.
    pub slow_search: Option<Duration>,
    /// What one core takes on at once.
    pub limits: CoreLimits,
    pub unavailable_shards: UnavailableShards,
    /// What may override the choice of copies that searches are answered from.
    pub reads: Policy,
    /// Identical searches that wait at the same time are asked once.
    pub coalescing: bool,
    /// Bytes of answers that each core keeps to give them again; 0: none.
    pub result_cache_bytes: usize,
    /// How nodes are asked whether they are there, and how many answers decide.
    pub health: HealthRules,
    /// How often all copies are compared; zero: never.
    pub anti_entropy_interval: Duration,
}

/// A node as the configuration names it.
#[derive(Clone, Debug)]
pub struct NodeAddress {
    pub id: String,
    /// `host:port` or `unix:/path`.
    pub address: String,
    pub replica_group: u16,
    /// Relative to the other nodes of its group; from 0.
    pub weight: u32,
    /// What fails together with it.
    pub zone: Option<String>,
}

/// What a search answers when no copy of some shard can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnavailableShards {
    /// 503 `miroir_shard_unavailable`.
    Error,
    /// The hits of the other shards, with the header `X-Miroir-Degraded`.
    Partial,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: an object a line.
    Json,
}

impl LogFormat {
    /// For programs that have no configuration.
    #[cfg(feature = "embedded")]
    pub fn from_environment() -> Self {
        match std::env::var("MIROIR_LOG_FORMAT").as_deref() {
            Ok("json") => LogFormat::Json,
            _ => LogFormat::Text,
        }
    }
}

/// Why a configuration cannot be used; the text names the key and the next step.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        path: String,
        source: std::io::Error,
    },
    #[error("the configuration {path} is not valid YAML: {reason}")]
    Syntax { path: String, reason: String },
    #[error("{0}")]
    Invalid(String),
}

/// The keys as they may be written.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct File {
    master_key: Option<String>,
    node_master_key: Option<String>,
    shards: Option<u16>,
    replication_factor: Option<u8>,
    replica_groups: Option<u16>,
    nodes: Vec<FileNode>,
    log: FileLog,
    task_store: FileStore,
    dumps: FileDumps,
    admin: FileAdmin,
    server: FileServer,
    limits: limits::FileLimits,
    unavailable_shard_policy: Option<UnavailableShards>,
    reads: FileReads,
    health: FileHealth,
    anti_entropy: FileAntiEntropy,
    task_webhook_url: Option<String>,
    task_webhook_authorization_header: Option<String>,
    allowed_ip_networks: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct FileReads {
    hedging: Option<bool>,
    avoid_slow_nodes: Option<bool>,
    coalescing: Option<bool>,
    result_cache_size: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct FileHealth {
    interval_ms: Option<u64>,
    timeout_ms: Option<u64>,
    failures_to_fall: Option<u32>,
    successes_to_rise: Option<u32>,
}

impl FileHealth {
    /// Shorter times load the nodes for nothing, longer ones leave a dead node unseen; so do more checks.
    fn resolve(&self) -> Result<HealthRules, ConfigError> {
        let time = |key: &str, millis: Option<u64>, usual| match millis {
            None => Ok(usual),
            Some(millis @ 100..=60_000) => Ok(Duration::from_millis(millis)),
            Some(millis) => Err(ConfigError::Invalid(format!(
                "health.{key} is {millis}; write milliseconds from 100 to 60000"
            ))),
        };
        let checks = |key: &str, checks: Option<u32>, usual| match checks {
            None => Ok(usual),
            Some(checks @ 1..=100) => Ok(checks),
            Some(checks) => Err(ConfigError::Invalid(format!(
                "health.{key} is {checks}; write a number of checks in a row, from 1 to 100"
            ))),
        };
        let usual = HealthRules::default();
        Ok(HealthRules {
            interval: time("interval_ms", self.interval_ms, usual.interval)?,
            timeout: time("timeout_ms", self.timeout_ms, usual.timeout)?,
            failures_to_fall: checks(
                "failures_to_fall",
                self.failures_to_fall,
                usual.failures_to_fall,
            )?,
            successes_to_rise: checks(
                "successes_to_rise",
                self.successes_to_rise,
                usual.successes_to_rise,
            )?,
        })
    }
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct FileAntiEntropy {
    interval: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNode {
    id: String,
    address: String,
    #[serde(default)]
    replica_group: u16,
    weight: Option<u32>,
    zone: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct FileLog {
    format: Option<LogFormat>,
    slow_search_ms: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct FileStore {
    backend: Option<String>,
    path: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct FileDumps {
    dir: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct FileAdmin {
    api_key: Option<String>,
}

impl Config {
    /// Reads a file, lets the environment win, and checks the whole.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: shown.clone(),
            source,
        })?;
        Self::parse(&text, &shown, std::env::vars())
    }

    /// The same from text; `environment` is an argument so that tests own it.
    pub fn parse(
        text: &str,
        shown: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut tree: Value = if text.trim().is_empty() {
            Value::Object(serde_json::Map::new())
        } else {
            serde_saphyr::from_str(text).map_err(|error| ConfigError::Syntax {
                path: shown.to_owned(),
                reason: first_line(&error.to_string()),
            })?
        };
        if tree.is_null() {
            tree = Value::Object(serde_json::Map::new());
        }
        keys::check(&tree, shown)?;
        environment::overlay(&mut tree, environment)?;
        let file: File = serde_path(tree, shown)?;
        file.decide()
    }

    /// The text printed by `miroir serve --check`: what was understood, without a secret in it.
    pub fn summary(&self) -> String {
        let key = |key: &Option<String>| if key.is_some() { "set" } else { "not set" };
        let mut text = format!(
            "listen {}, {} nodes, {} shards, replication factor {}, {} replica group(s), store {}\n\
             master key {}, node master key {}, admin key {}",
            self.server.listen,
            self.nodes.len(),
            self.shards,
            self.replication_factor,
            self.replica_groups,
            self.store_path.display(),
            key(&self.master_key),
            key(&self.node_master_key),
            key(&self.admin_key),
        );
        for node in &self.nodes {
            text.push_str(&format!(
                "\nnode {} at {} in group {}",
                node.id, node.address, node.replica_group
            ));
        }
        text
    }
}

/// Types are checked after the names, so an error here is a wrong value; say which key holds it.
fn serde_path(tree: Value, shown: &str) -> Result<File, ConfigError> {
    serde_path_to_error::deserialize(tree).map_err(|error| {
        ConfigError::Invalid(format!("{shown}: `{}`: {}", error.path(), error.inner()))
    })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

impl File {
    fn decide(self) -> Result<Config, ConfigError> {
        let invalid = |text: String| Err(ConfigError::Invalid(text));
        if let Some(backend) = &self.task_store.backend {
            if backend != "sqlite" {
                return invalid(format!(
                    "task_store.backend is `{backend}`, but only `sqlite` exists so far; write `backend: sqlite`"
                ));
            }
        }
        if self.nodes.is_empty() {
            return invalid(
                "no nodes: name at least one under `nodes:` with its id and address".into(),
            );
        }
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            nodes.push(NodeAddress {
                id: node.id.clone(),
                address: host_port(&node.id, &node.address)?,
                replica_group: node.replica_group,
                weight: node.weight.unwrap_or(1),
                zone: non_empty(node.zone.clone()),
            });
        }
        let (shards, replication_factor, replica_groups) = (
            self.shards.unwrap_or(16),
            self.replication_factor.unwrap_or(1),
            self.replica_groups.unwrap_or(1),
        );
        let node = |node: &NodeAddress| LayoutNode {
            id: node.id.clone(),
            group: node.replica_group,
            weight: node.weight,
            zone: node.zone.clone(),
        };
        let spec = LayoutSpec {
            shards,
            replication_factor,
            replica_groups,
            nodes: nodes.iter().map(node).collect(),
        };
        if let Err(error) = Layout::plan(&spec, None) {
            return invalid(error.to_string());
        }
        let master_key = non_empty(self.master_key);
        let server = self.server.decide()?;
        Ok(Config {
            admin_key: non_empty(self.admin.api_key).or_else(|| master_key.clone()),
            master_key,
            node_master_key: non_empty(self.node_master_key),
            shards,
            replication_factor,
            replica_groups,
            nodes,
            store_path: self
                .task_store
                .path
                .unwrap_or_else(|| PathBuf::from("./miroir.db")),
            dumps_path: self.dumps.dir,
            task_webhook: non_empty(self.task_webhook_url)
                .map(|url| (url, non_empty(self.task_webhook_authorization_header))),
            allowed_ip_networks: networks(&self.allowed_ip_networks)?,
            server,
            log_format: self.log.format.unwrap_or_default(),
            slow_search: match self.log.slow_search_ms {
                Some(0) => None,
                limit => Some(Duration::from_millis(limit.unwrap_or(SLOW_SEARCH_MS))),
            },
            limits: self.limits.decide(),
            unavailable_shards: self
                .unavailable_shard_policy
                .unwrap_or(UnavailableShards::Error),
            reads: Policy {
                hedging: self.reads.hedging.unwrap_or(true),
                avoid_slow_nodes: self.reads.avoid_slow_nodes.unwrap_or(true),
            },
            coalescing: self.reads.coalescing.unwrap_or(true),
            result_cache_bytes: match self.reads.result_cache_size {
                None => 0,
                Some(value) => byte_count("reads.result_cache_size", &value)?,
            },
            health: self.health.resolve()?,
            anti_entropy_interval: match self.anti_entropy.interval {
                None => DEFAULT_ANTI_ENTROPY_INTERVAL,
                Some(value) => interval(&value)?,
            },
        })
    }
}

fn non_empty(key: Option<String>) -> Option<String> {
    key.filter(|key| !key.is_empty())
}

fn networks(texts: &[String]) -> Result<Networks, ConfigError> {
    let all: Result<_, String> = texts.iter().map(|text| text.parse()).collect();
    all.map(Networks)
        .map_err(|why| ConfigError::Invalid(format!("allowed_ip_networks: {why}")))
}

fn host_port(id: &str, address: &str) -> Result<String, ConfigError> {
    let bad = |why: &str| {
        ConfigError::Invalid(format!(
            "the address `{address}` of node `{id}` {why}; write it as \"http://host:7701\", or as \"unix:/path\" on the same machine"
        ))
    };
    if let Some(path) = unix_socket(address) {
        check_unix_socket(path).map_err(bad)?;
        return Ok(address.to_owned());
    }
    if address.starts_with("https://") {
        return Err(bad("uses TLS, which is not there yet"));
    }
    let rest = address
        .strip_prefix("http://")
        .ok_or_else(|| bad("does not begin with http://"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() || rest.contains(['/', '?', '#', '@']) {
        return Err(bad("holds more than a host and a port"));
    }
    let with_port = if rest
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        rest.to_owned()
    } else if rest.contains(':') && !rest.ends_with(']') {
        return Err(bad("has a port that is not a number"));
    } else {
        format!("{rest}:7700")
    };
    Ok(with_port)
}

/// `104857600`, `"100MB"`, `"100 MiB"`: as Meilisearch's option of the same name, in decimal and binary units.
fn byte_count(key: &str, value: &Value) -> Result<usize, ConfigError> {
    let bad = || {
        ConfigError::Invalid(format!(
            "{key} is `{value}`; write bytes as a number, or as \"100MB\" or \"100MiB\""
        ))
    };
    if let Some(bytes) = value.as_u64() {
        return usize::try_from(bytes).map_err(|_| bad());
    }
    let text = value.as_str().ok_or_else(bad)?.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: usize = text[..digits].parse().map_err(|_| bad())?;
    let unit: usize = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(bad()),
    };
    number.checked_mul(unit).ok_or_else(bad)
}

/// `21600`, `"90s"`, `"30m"`, `"6h"`.
fn interval(value: &Value) -> Result<Duration, ConfigError> {
    let bad = || {
        ConfigError::Invalid(format!(
            "anti_entropy.interval is `{value}`; write seconds as a number, or \"90s\", \"30m\" or \"6h\"; 0 turns it off"
        ))
    };
    if let Some(seconds) = value.as_u64() {
        return Ok(Duration::from_secs(seconds));
    }
    let text = value.as_str().ok_or_else(bad)?.trim();
    let (digits, unit) = text.split_at(text.len() - usize::from(text.ends_with(['s', 'm', 'h'])));
    let seconds = match unit {
        "m" => 60,
        "h" => 3600,
        _ => 1,
    };
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(bad)
}

const DEFAULT_ANTI_ENTROPY_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// `log.slow_search_ms` where it is not given.
pub const SLOW_SEARCH_MS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::parse(text, "miroir.yaml", environment).map_err(|error| error.to_string())
    }

    const FULL: &str = r#"
master_key: "dev-key"
node_master_key: "dev-node-key"
shards: 16
replication_factor: 1
replica_groups: 1
nodes:
  - id: "meili-0"
    address: "http://127.0.0.1:7701"
    replica_group: 0
task_store: { backend: sqlite, path: ./miroir.db }
admin: { api_key: "" }
server: { bind: 127.0.0.1, port: 7700, cores: 0 }
"#;

    #[test]
    fn the_documented_file_is_read() {
        let config = parse(FULL, &[]).unwrap();
        assert_eq!(config.nodes[0].address, "127.0.0.1:7701");
        assert_eq!(config.admin_key.as_deref(), Some("dev-key"));
        assert_eq!(config.server.listen.port(), 7700);
        assert_eq!(config.server.body_bytes_max, 100_000_000);
        let summary = config.summary();
        assert!(
            !summary.contains("dev-key") && !summary.contains("dev-node-key"),
            "{summary}"
        );
    }

    #[test]
    fn intervals_are_read() {
        let parsed = |text: &str| {
            let file = format!("{FULL}\nanti_entropy: {{ interval: {text} }}");
            parse(&file, &[]).map(|config| config.anti_entropy_interval.as_secs())
        };
        assert_eq!(
            parse(FULL, &[]).unwrap().anti_entropy_interval.as_secs(),
            21600
        );
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("90s", 90),
            ("30m", 1800),
            ("6h", 21600),
        ] {
            assert_eq!(parsed(text), Ok(seconds));
        }
        for text in ["6d", "h", "-1", "\"\"", "[1]"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn checks_of_nodes_can_be_set() {
        let usual = parse(FULL, &[]).unwrap();
        assert_eq!(usual.health.interval, Duration::from_secs(1));
        assert_eq!(
            (
                usual.health.failures_to_fall,
                usual.health.successes_to_rise
            ),
            (2, 2)
        );
        let file = format!("{FULL}\nhealth: {{ interval_ms: 500, failures_to_fall: 3 }}");
        let set = parse(&file, &[("MIROIR_HEALTH_TIMEOUT_MS", "2000")]).unwrap();
        assert_eq!(set.health.interval, Duration::from_millis(500));
        assert_eq!(set.health.timeout, Duration::from_secs(2));
        assert_eq!(
            (set.health.failures_to_fall, set.health.successes_to_rise),
            (3, 2)
        );
        let never = format!("{FULL}\nhealth: {{ successes_to_rise: 0 }}");
        let error = parse(&never, &[]).map(|_| ()).unwrap_err();
        assert!(error.contains("health.successes_to_rise"), "{error}");
        for text in ["0", "99", "60001", "fast"] {
            let file = format!("{FULL}\nhealth: {{ interval_ms: {text} }}");
            let error = parse(&file, &[]).map(|_| ()).unwrap_err();
            assert!(error.contains("health.interval_ms"), "{error}");
        }
    }

    #[test]
    fn limits_can_be_set_and_taken_away() {
        let usual = parse(FULL, &[]).unwrap().limits;
        assert_eq!(usual, CoreLimits::default());
        let file = format!("{FULL}\nlimits: {{ searches: 7, writes: 0, delay_ms: 0 }}");
        let set = parse(&file, &[("MIROIR_LIMITS_OTHERS", "3")])
            .unwrap()
            .limits;
        let expected = CoreLimits {
            searches: Some(7),
            writes: None,
            others: Some(3),
            delay: None,
            ..usual
        };
        assert_eq!(set, expected);
    }

    #[test]
    fn the_environment_wins() {
        let config = parse(
            FULL,
            &[
                ("MIROIR_MASTER_KEY", "other"),
                ("MIROIR_ADMIN_API_KEY", "admin"),
                ("MIROIR_SERVER_PORT", "8800"),
                ("MIROIR_DRIVER", "epoll"),
                ("MIROIR_NODES", r#"[{id: a, address: "http://10.0.0.1"}]"#),
                ("PATH", "/bin"),
                ("MIROIR_SERVICE_HOST", "10.0.0.7"),
            ],
        )
        .unwrap();
        assert_eq!(config.master_key.as_deref(), Some("other"));
        assert_eq!(config.admin_key.as_deref(), Some("admin"));
        assert_eq!(config.server.listen.port(), 8800);
        assert!(matches!(
            config.server.cores.driver,
            miroir_rt::DriverChoice::Epoll
        ));
        assert_eq!(config.nodes[0].address, "10.0.0.1:7700");
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        let error = parse("replicaton_factor: 2\n", &[]).err().unwrap();
        assert!(
            error.contains("`replicaton_factor`") && error.contains("`replication_factor`"),
            "{error}"
        );
        let error = parse("server: { prot: 1 }\n", &[]).err().unwrap();
        assert!(
            error.contains("`server.prot`") && error.contains("`server.port`"),
            "{error}"
        );
        let error = parse("nodes: [{ id: a, adress: x }]\n", &[]).err().unwrap();
        assert!(
            error.contains("`nodes[0].adress`") && error.contains("address"),
            "{error}"
        );
        let error = parse(FULL, &[("MIROIR_MASTER_KEYS", "x")]).err().unwrap();
        assert!(
            error.contains("MIROIR_MASTER_KEYS") && error.contains("`MIROIR_MASTER_KEY`"),
            "{error}"
        );
        assert!(!error.contains("\"x\""), "{error}");
    }

    #[test]
    fn wrong_values_say_what_to_write() {
        for (text, part) in [
            ("nodes: []\n", "no nodes"),
            ("nodes: [{id: a, address: \"127.0.0.1:1\"}]\n", "http://"),
            ("nodes: [{id: a, address: \"https://x\"}]\n", "TLS"),
            ("nodes: [{id: a, address: \"unix:x\"}]\n", "from the root"),
            ("nodes: [{id: a, address: \"http://x:y\"}]\n", "port"),
            ("nodes: [{id: a, address: \"http://x\"}]\ntask_store: {backend: redis}\n", "sqlite"),
            ("nodes: [{id: a, address: \"http://x\"}]\nserver: {driver: kqueue}\n", "epoll"),
            ("nodes: [{id: a, address: \"http://x\"}]\nserver: {http_payload_size_limit: lots}\n", "100MB"),
            ("shards: many\n", "shards"),
            ("nodes: [{id: a, address: \"http://x\"}]\nshards: 0\n", "`shards`"),
            ("nodes: [{id: a, address: \"http://x\"}]\nreplication_factor: 2\n", "`replication_factor`"),
            ("a: [\n", "YAML"),
        ] {
            let error = parse(text, &[]).err().unwrap();
            assert!(error.contains(part), "{text} gave {error}");
        }
    }
}
