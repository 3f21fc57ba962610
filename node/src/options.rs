//! The command line of the node: names and variables are Meilisearch's own.

use std::path::PathBuf;
use std::str::FromStr;

use argh::FromArgs;
use miroir_webhooks::Network;

/// An embedded Meilisearch-compatible node.
#[derive(Clone, FromArgs)]
#[argh(subcommand, name = "node")]
pub struct Options {
    /// where to listen: host:port or unix:/path (MEILI_HTTP_ADDR, else localhost:7700)
    #[argh(
        option,
        default = "env(\"MEILI_HTTP_ADDR\").unwrap_or_else(|| \"localhost:7700\".to_owned())"
    )]
    pub http_addr: String,

    /// the folder of the data (MEILI_DB_PATH, else ./data.ms)
    #[argh(
        option,
        default = "env(\"MEILI_DB_PATH\").unwrap_or_else(|| \"data.ms\".to_owned()).into()"
    )]
    pub db_path: PathBuf,

    /// what clients have to present (MEILI_MASTER_KEY); without it everybody may do everything
    #[argh(option)]
    pub master_key: Option<String>,

    /// the largest body, decompressed, in bytes or with a unit (MEILI_HTTP_PAYLOAD_SIZE_LIMIT, else 100 MB)
    #[argh(
        option,
        default = "env_size(\"MEILI_HTTP_PAYLOAD_SIZE_LIMIT\").unwrap_or(Size(100_000_000))"
    )]
    pub http_payload_size_limit: Size,

    /// where dumps are written (MEILI_DUMP_DIR, else ./dumps)
    #[argh(
        option,
        default = "env(\"MEILI_DUMP_DIR\").unwrap_or_else(|| \"dumps\".to_owned()).into()"
    )]
    pub dump_dir: PathBuf,

    /// import this dump before clients are let in; there must be no indexes (MEILI_IMPORT_DUMP)
    #[argh(option)]
    pub import_dump: Option<PathBuf>,

    /// go on where the dump is not there
    #[argh(switch)]
    pub ignore_missing_dump: bool,

    /// go on without the dump where there are indexes
    #[argh(switch)]
    pub ignore_dump_if_db_exists: bool,

    /// memory for indexing, in bytes or with a unit (MEILI_MAX_INDEXING_MEMORY, else the engine's small default)
    #[argh(option)]
    pub max_indexing_memory: Option<Size>,

    /// threads for indexing (MEILI_MAX_INDEXING_THREADS, else half the cores)
    #[argh(option)]
    pub max_indexing_threads: Option<usize>,

    /// how much to log: ERROR, WARN, INFO, DEBUG, TRACE or OFF (MEILI_LOG_LEVEL, else INFO); read by the program that
    /// sets logging up
    #[argh(
        option,
        default = "env(\"MEILI_LOG_LEVEL\").unwrap_or_else(|| \"INFO\".to_owned())"
    )]
    pub log_level: String,

    /// a webhook that clients cannot change: called with every finished task (MEILI_TASK_WEBHOOK_URL)
    #[argh(option)]
    pub task_webhook_url: Option<String>,

    /// the Authorization header of that webhook (MEILI_TASK_WEBHOOK_AUTHORIZATION_HEADER)
    #[argh(option)]
    pub task_webhook_authorization_header: Option<String>,

    /// a network, such as 10.0.0.0/8, that webhooks may be in besides the public internet, or any; may be given several
    /// times
    #[argh(option)]
    pub experimental_allowed_ip_networks: Vec<Network>,

    /// end when this process is gone; for a parent that starts nodes, such as `miroir demo`
    #[argh(option)]
    pub parent_pid: Option<i32>,
}

impl Options {
    /// The options with what stands in the environment where the command line says nothing.
    pub fn with_environment(mut self) -> Options {
        self.master_key = self.master_key.or_else(|| env("MEILI_MASTER_KEY"));
        let texts = [
            (&mut self.task_webhook_url, "MEILI_TASK_WEBHOOK_URL"),
            (
                &mut self.task_webhook_authorization_header,
                "MEILI_TASK_WEBHOOK_AUTHORIZATION_HEADER",
            ),
        ];
        for (value, name) in texts {
            *value = value.take().or_else(|| env(name));
        }
        self.import_dump = self
            .import_dump
            .or_else(|| env("MEILI_IMPORT_DUMP").map(PathBuf::from));
        self.max_indexing_memory = self
            .max_indexing_memory
            .or_else(|| env_size("MEILI_MAX_INDEXING_MEMORY"));
        self.max_indexing_threads = self
            .max_indexing_threads
            .or_else(|| env_parsed("MEILI_MAX_INDEXING_THREADS"));
        self
    }
}

// The master key is not for logs.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("http_addr", &self.http_addr)
            .field("db_path", &self.db_path)
            .field("http_payload_size_limit", &self.http_payload_size_limit)
            .field("max_indexing_memory", &self.max_indexing_memory)
            .field("max_indexing_threads", &self.max_indexing_threads)
            .field("log_level", &self.log_level)
            .finish_non_exhaustive()
    }
}

/// A number of bytes: `100000000`, `100 MB`, `95 MiB`, `2Gb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let text = text.trim();
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            other => {
                return Err(format!(
                    "unknown unit `{other}`, expected one of B, KB, MB, GB, KiB, MiB, GiB"
                ))
            }
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("`{text}` is not a size such as `100 MB`"))?;
        Ok(Size((number * scale as f64) as usize))
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn env_parsed<T: FromStr>(name: &str) -> Option<T> {
    env(name)?.parse().ok()
}

fn env_size(name: &str) -> Option<Size> {
    env_parsed(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!("100 MB".parse(), Ok(Size(100_000_000)));
        assert_eq!("1.5KiB".parse(), Ok(Size(1536)));
        assert_eq!("12".parse(), Ok(Size(12)));
        assert!("12 stones".parse::<Size>().is_err());
        assert!("MB".parse::<Size>().is_err());
    }
}
