//! The table of docs/compatibility.md: what every route of Meilisearch did on one node and on a cluster.
//!
//! `tests/sdk/routes.yaml` says how each route is treated and where a cluster rightly differs; what was really answered is recorded
//! while the SDKs run. A difference without a reason, a route that nobody called and a route without a line are failures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use miroir_auth::routes;
use serde::Deserialize;
use serde_json::{json, Value};

use crate::compare::{canonical, diff, remove, shorten};
use crate::record::Exchange;
use crate::scenario::{Differs, Step};
use crate::volatile::{settle, TaskNames};

/// One route, as `routes.yaml` has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `METHOD /path`, as in `auth/src/routes.rs`.
    pub route: String,
    /// Who answers it: see the head of the page.
    pub treatment: String,
    /// What is worth knowing although nothing differs.
    #[serde(default)]
    pub note: String,
    /// `at`: paths in `{status, body}`.
    pub differs: Option<Differs>,
    /// Requests beside those of the SDKs, played in the order of the file.
    #[serde(default)]
    pub also: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    routes: Vec<Row>,
}

/// Reads `routes.yaml`; it has to list exactly the routes that Miroir knows. The first line that fits a call is its line.
pub fn load(path: &Path) -> Result<Vec<Row>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let file: File =
        serde_saphyr::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    let known: BTreeSet<String> = routes::all()
        .map(|(method, pattern)| format!("{method} {pattern}"))
        .collect();
    // A line of its own for a part of a route is fine.
    let is_part = |row: &Row| {
        !known.contains(&row.route)
            && routes::all().any(|(method, pattern)| {
                row.route
                    .strip_prefix(method)
                    .is_some_and(|path| routes::has_pattern(path.trim_start(), pattern))
            })
    };
    let whole: Vec<&Row> = file.routes.iter().filter(|row| !is_part(row)).collect();
    let listed: BTreeSet<String> = whole.iter().map(|row| row.route.clone()).collect();
    if listed == known && listed.len() == whole.len() {
        return Ok(file.routes);
    }
    Err(format!(
        "{} and auth/src/routes.rs list other routes: {:?}",
        path.display(),
        listed.symmetric_difference(&known).collect::<Vec<_>>()
    ))
}

/// What came of all calls, by route.
pub struct Table {
    rows: Vec<Row>,
    seen: BTreeMap<String, Seen>,
    /// What makes the test fail.
    pub failures: Vec<String>,
}

#[derive(Default)]
struct Seen {
    callers: BTreeSet<String>,
    node: BTreeSet<String>,
    cluster: BTreeSet<String>,
    differed: bool,
}

impl Table {
    /// An empty one.
    pub fn new(rows: Vec<Row>) -> Table {
        Table {
            rows,
            seen: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    /// Takes in what `caller` did on one node and on a cluster, call by call.
    pub fn compare(&mut self, caller: &str, node: Vec<Exchange>, cluster: Vec<Exchange>) {
        let (node, cluster) = (without_polls(node), without_polls(cluster));
        let mut names = [TaskNames::default(), TaskNames::default()];
        let mut pairs = node.iter().zip(&cluster);
        for (mine, theirs) in pairs.by_ref() {
            let (a, b) = (settled(mine, &mut names[0]), settled(theirs, &mut names[1]));
            if a["request"] != b["request"] {
                let text = format!("{caller}: {} here, {} there", a["request"], b["request"]);
                self.failures.push(text);
                return;
            }
            self.note(caller, mine, theirs, a, b);
        }
        if node.len() != cluster.len() {
            let text = format!(
                "{caller}: {} calls of one node, {} of a cluster",
                node.len(),
                cluster.len()
            );
            self.failures.push(text);
        }
    }

    fn note(&mut self, caller: &str, mine: &Exchange, theirs: &Exchange, a: Value, b: Value) {
        let Some(row) = self.rows.iter().find(|row| row.is_of(mine)) else {
            let text = format!("{caller}: no route for {} {}", mine.method, mine.path);
            return self.failures.push(text);
        };
        let seen = self.seen.entry(row.route.clone()).or_default();
        seen.callers.insert(caller.to_string());
        seen.node.insert(outcome(mine));
        seen.cluster.insert(outcome(theirs));
        if diff(&a, &b).is_empty() {
            return;
        }
        seen.differed = true;
        let (mut left, mut right) = (a, b);
        for pattern in row.differs.iter().flat_map(|differs| &differs.at) {
            remove(&mut left, pattern);
            remove(&mut right, pattern);
        }
        let found = diff(&left, &right);
        if !found.is_empty() {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            self.failures.push(format!(
                "{caller}: {} {}\n    {}\n    one node: {}\n    cluster:  {}",
                mine.method,
                mine.path,
                found.join("\n    "),
                shorten(&left.to_string()),
                shorten(&right.to_string())
            ));
        }
    }

    /// The table; routes that nobody called are failures.
    pub fn page(&mut self) -> String {
        let mut text = String::from(
            "| route | treatment | called by | one node | cluster | same, or why not |\n| --- | --- | --- | --- | --- | --- |\n",
        );
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        for row in &self.rows {
            let Some(seen) = self.seen.get(&row.route) else {
                self.failures.push(format!("nobody called {}", row.route));
                continue;
            };
            let mut same = match &row.differs {
                Some(differs) if seen.differed => differs.reason.clone(),
                _ => "same".to_string(),
            };
            if !row.note.is_empty() {
                same += &format!("; {}", row.note);
            }
            text += &format!(
                "| `{}` | {} | {} | {} | {} | {same} |\n",
                row.route,
                row.treatment,
                list(&seen.callers),
                list(&seen.node),
                list(&seen.cluster),
            );
        }
        text
    }
}

impl Row {
    fn is_of(&self, exchange: &Exchange) -> bool {
        self.route.split_once(' ').is_some_and(|(method, pattern)| {
            method == exchange.method && routes::has_pattern(bare(&exchange.path), pattern)
        })
    }
}

fn bare(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// The status, and the code of an error.
fn outcome(exchange: &Exchange) -> String {
    match exchange.body["code"].as_str() {
        Some(code) => format!("{} {code}", exchange.status),
        None => exchange.status.to_string(),
    }
}

/// Without the looks at a task that had not ended: how many there are is a matter of time.
fn without_polls(exchanges: Vec<Exchange>) -> Vec<Exchange> {
    let is_poll = |exchange: &Exchange| {
        exchange.method == "GET"
            && routes::has_pattern(&exchange.path, "/tasks/{}")
            && matches!(
                exchange.body["status"].as_str(),
                Some("enqueued" | "processing")
            )
    };
    exchanges.into_iter().filter(|e| !is_poll(e)).collect()
}

/// What is compared: volatile values replaced by their kind, tasks by the order of their meeting, lists of documents in one order.
fn settled(exchange: &Exchange, names: &mut TaskNames) -> Value {
    let path = bare(&exchange.path);
    let segments: Vec<String> = path
        .split('/')
        .map(|segment| match segment.parse::<u64>() {
            // A cluster's batches are its tasks, one node's have numbers of their own.
            Ok(_) if path.starts_with("/batches/") => "<batch>".to_string(),
            Ok(uid) if path.starts_with("/tasks/") => names
                .place(uid)
                .map_or(segment.to_string(), |place| format!("task#{place}")),
            _ => unnamed(segment),
        })
        .collect();
    let mut body = settle(&exchange.body, names);
    anonymous(&mut body);
    if routes::has_pattern(path, "/indexes/{index}/documents")
        || routes::has_pattern(path, "/indexes/{index}/documents/fetch")
    {
        if let Some(documents) = body.get_mut("results").and_then(Value::as_array_mut) {
            documents.sort_by_key(canonical);
        }
    }
    json!({ "request": format!("{} {}", exchange.method, segments.join("/")), "status": exchange.status, "body": body })
}

/// Uuids are drawn at random.
fn anonymous(value: &mut Value) {
    match value {
        Value::String(text) => *text = unnamed(text),
        Value::Array(items) => items.iter_mut().for_each(anonymous),
        Value::Object(members) => members.values_mut().for_each(anonymous),
        _ => {}
    }
}

fn unnamed(text: &str) -> String {
    let groups: Vec<&str> = text.split('-').collect();
    let is_uuid = groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12])
        && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    if is_uuid { "<uuid>" } else { text }.to_string()
}
