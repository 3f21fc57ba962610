//! The known keys, and the nearest one to a key that is not among them.

use serde_json::Value;

use super::ConfigError;

/// Every key that a file may hold, as a dotted path; `nodes[]` stands for each entry of the list.
pub const KNOWN: &[&str] = &[
    "master_key",
    "node_master_key",
    "shards",
    "replication_factor",
    "replica_groups",
    "nodes",
    "nodes[].id",
    "nodes[].address",
    "nodes[].replica_group",
    "nodes[].weight",
    "nodes[].zone",
    "log",
    "log.format",
    "log.slow_search_ms",
    "task_store",
    "task_store.backend",
    "task_store.path",
    "dumps",
    "dumps.dir",
    "admin",
    "admin.api_key",
    "server",
    "server.bind",
    "server.port",
    "server.cores",
    "server.driver",
    "server.pin",
    "server.ring_flags",
    "server.backlog",
    "server.busy_poll_us",
    "server.http_payload_size_limit",
    "limits",
    "limits.searches",
    "limits.writes",
    "limits.others",
    "limits.connections",
    "limits.node_connections",
    "limits.delay_ms",
    "unavailable_shard_policy",
    "reads",
    "reads.hedging",
    "reads.avoid_slow_nodes",
    "reads.coalescing",
    "reads.result_cache_size",
    "health",
    "health.interval_ms",
    "health.timeout_ms",
    "health.failures_to_fall",
    "health.successes_to_rise",
    "anti_entropy",
    "anti_entropy.interval",
    "task_webhook_url",
    "task_webhook_authorization_header",
    "allowed_ip_networks",
];

/// Refuses a tree that holds an unknown key.
pub fn check(tree: &Value, shown: &str) -> Result<(), ConfigError> {
    let Value::Object(_) = tree else {
        return Err(ConfigError::Invalid(format!(
            "{shown} is not a mapping of keys to values"
        )));
    };
    walk(tree, "", "", shown)
}

/// `path` is written as the user would find it (`nodes[0].id`), `pattern` as [`KNOWN`] has it (`nodes[].id`).
fn walk(tree: &Value, path: &str, pattern: &str, shown: &str) -> Result<(), ConfigError> {
    match tree {
        Value::Object(members) => {
            for (key, value) in members {
                let join = |prefix: &str| {
                    if prefix.is_empty() {
                        key.clone()
                    } else {
                        format!("{prefix}.{key}")
                    }
                };
                let (path, pattern) = (join(path), join(pattern));
                if !KNOWN.contains(&pattern.as_str()) {
                    let hint = nearest(&pattern, KNOWN.iter().copied());
                    return Err(ConfigError::Invalid(format!(
                        "{shown}: unknown key `{path}`; {hint}"
                    )));
                }
                walk(value, &path, &pattern, shown)?;
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                walk(
                    item,
                    &format!("{path}[{position}]"),
                    &format!("{pattern}[]"),
                    shown,
                )?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// "did you mean `x`?", or the whole list when nothing is near.
pub fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|candidate| {
            (
                strsim::normalized_damerau_levenshtein(unknown, candidate),
                candidate,
            )
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, candidate)| {
            format!("did you mean `{candidate}`?")
        })
}
