//! `miroir-bench`: puts load on anything that speaks Meilisearch's HTTP API, and says how long answers took.
//!
//! Two ways of asking, for two questions. *Closed loop*: so many connections, each asks again as soon as it has its
//! answer: how much can the server do? *Open loop* (`--rate`): requests start at fixed times whatever the server does,
//! and an answer's latency counts from when its request should have started: what would users at that rate see? Timing
//! from when a request could start at last leaves out just those that a stall made wait (Gil Tene's "coordinated
//! omission").

mod load;
mod queries;
mod report;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use argh::FromArgs;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load generator for Miroir and Meilisearch.
#[derive(FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Search(Search),
}

/// Searches one index with the queries of a file, in turn, and prints latency percentiles.
#[derive(FromArgs)]
#[argh(subcommand, name = "search")]
#[argh(
    example = "{command_name} --url http://127.0.0.1:7700 --index movies --queries bench/queries/movies.txt"
)]
#[argh(
    note = "Each line of the file is the text of a query, or a whole search body if it begins with a brace."
)]
#[argh(
    note = "Without --rate the loop is closed: each connection asks again as soon as it has its answer."
)]
struct Search {
    /// address of the server, such as http://127.0.0.1:7700
    #[argh(option)]
    url: String,
    /// index to search
    #[argh(option)]
    index: String,
    /// file of queries
    #[argh(option)]
    queries: PathBuf,
    /// API key (default: the environment's MIROIR_MASTER_KEY)
    #[argh(option)]
    key: Option<String>,
    /// connections, and so requests at a time (default 16)
    #[argh(option, default = "16")]
    connections: usize,
    /// open loop: requests started a second, all connections together
    #[argh(option)]
    rate: Option<f64>,
    /// seconds (default 10)
    #[argh(option, default = "10.0")]
    duration: f64,
    /// print JSON rather than a table
    #[argh(switch)]
    json: bool,
}

fn main() -> ExitCode {
    let Arguments {
        command: Command::Search(search),
    } = argh::from_env();
    match run(&search) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("miroir-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether there was at least one answer.
fn run(search: &Search) -> Result<bool, Error> {
    let key = search
        .key
        .clone()
        .or_else(|| std::env::var("MIROIR_MASTER_KEY").ok())
        .filter(|key| !key.is_empty());
    let plan = load::Plan {
        connections: search.connections,
        rate: search.rate,
        duration: positive_seconds("--duration", search.duration)?,
        bodies: queries::read(&search.queries)?,
    };
    if plan.connections == 0 {
        return Err(Error::Argument(
            "`--connections` is 0: choose at least 1".into(),
        ));
    }
    if let Some(rate) = plan.rate {
        positive_seconds("--rate", rate)?;
    }
    let target = target::Target::new(&search.url, &search.index, key);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        target.check(&plan.bodies[0]).await?;
        load::run(&target, &plan).await
    })?;
    match search.json {
        true => println!("{:#}", report::json(&target, &plan, &outcome)),
        false => print!("{}", report::table(&target, &plan, &outcome)),
    }
    Ok(outcome.succeeded() > 0)
}

/// Both durations and rates have to be above zero and not out of this world.
fn positive_seconds(option: &str, value: f64) -> Result<Duration, Error> {
    match value > 0.0 && value <= 1e7 {
        true => Ok(Duration::from_secs_f64(value)),
        false => Err(Error::Argument(format!(
            "`{option}` is {value}: choose a number above 0"
        ))),
    }
}

/// Why there are no figures, and what to do.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Argument(String),
    #[error("cannot read the queries in {path}: {source}")]
    Queries {
        path: String,
        source: std::io::Error,
    },
    #[error("{path}, line {line}: not a JSON object: {source}")]
    Body {
        path: String,
        line: usize,
        source: serde_json::Error,
    },
    #[error("{path} has no queries: write one a line")]
    NoQueries { path: String },
    #[error(
        "{url} does not answer ({reason}): is a server running there? `miroir demo` starts one"
    )]
    Unreachable { url: String, reason: String },
    #[error("{url} answers {status}: {body}{hint}")]
    Refused {
        url: String,
        status: u16,
        body: String,
        hint: &'static str,
    },
    #[error("the client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
    #[error("the runtime does not start: {0}")]
    Runtime(#[from] std::io::Error),
}
