//! `miroir-bench`: puts load on anything that speaks Meilisearch's HTTP API, and says how long answers took.
//!
//! Two ways of asking, for two questions. *Closed loop*: so many connections, each asks again as soon as it has its
//! answer: how much can the server do? *Open loop* (`--rate`): requests start at fixed times whatever the server does,
//! and an answer's latency counts from when its request should have started: what would users at that rate see? Timing
//! from when a request could start at last leaves out just those that a stall made wait (Gil Tene's "coordinated
//! omission").

mod compare;
mod ingest;
mod load;
mod page;
mod process;
mod queries;
mod relay;
mod report;
mod stub;
mod target;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use argh::FromArgs;
use miroir_rt::{block_on, DriverChoice};

use compare::{Course, Side};
use ingest::Delivery;
use target::Target;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load generator for Miroir and Meilisearch, and what to compare them with.
#[derive(FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Search(Search),
    Compare(Compare),
    Ingest(Ingest),
    Stub(Stub),
    Relay(Relay),
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

/// Searches several servers in turns (A B A B) with the same queries, and prints their figures side by side: throughput,
/// latency percentiles, errors, CPU time and system calls a request.
#[derive(FromArgs)]
#[argh(subcommand, name = "compare")]
#[argh(
    example = "{command_name} node=http://127.0.0.1:7701 miroir=http://127.0.0.1:7700 --pid miroir=4711 --index movies --queries bench/queries/movies.txt --rates 200,1000,closed --html compare.html"
)]
#[argh(
    note = "Ratios are to the first server. System calls are counted by `perf`, in turns of their own; without it that column is empty."
)]
struct Compare {
    /// servers: URL or NAME=URL
    #[argh(positional)]
    servers: Vec<String>,
    /// a process of a server, whose CPU time and system calls are told: NAME=PID (can be repeated)
    #[argh(option)]
    pid: Vec<String>,
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
    /// requests a second of each step, separated by commas; `closed` is the closed loop (default closed)
    #[argh(option, default = "String::from(\"closed\")")]
    rates: String,
    /// turns of each server at each rate (default 3)
    #[argh(option, default = "3")]
    rounds: usize,
    /// seconds of a turn (default 3)
    #[argh(option, default = "3.0")]
    duration: f64,
    /// print JSON rather than a table
    #[argh(switch)]
    json: bool,
    /// file to write a page with latency curves to
    #[argh(option)]
    html: Option<PathBuf>,
}

/// Adds made-up documents to an index of several servers in turns, and prints how many a second each accepts and indexes.
#[derive(FromArgs)]
#[argh(subcommand, name = "ingest")]
#[argh(
    example = "{command_name} node=http://127.0.0.1:7701 miroir=http://127.0.0.1:7700 --index made-up --documents 20000"
)]
#[argh(
    note = "The documents stay: name an index that may be thrown away. Ratios are to the first server."
)]
struct Ingest {
    /// servers: URL or NAME=URL
    #[argh(positional)]
    servers: Vec<String>,
    /// a process of a server, whose CPU time is told: NAME=PID (can be repeated)
    #[argh(option)]
    pid: Vec<String>,
    /// index to add to; it is created
    #[argh(option)]
    index: String,
    /// API key (default: the environment's MIROIR_MASTER_KEY)
    #[argh(option)]
    key: Option<String>,
    /// documents a round, of about 400 bytes (default 10000)
    #[argh(option, default = "10_000")]
    documents: usize,
    /// documents in one request (default 1000)
    #[argh(option, default = "1000")]
    batch: usize,
    /// connections, and so requests at a time (default 4)
    #[argh(option, default = "4")]
    connections: usize,
    /// rounds (default 2)
    #[argh(option, default = "2")]
    rounds: usize,
    /// print JSON rather than a table
    #[argh(switch)]
    json: bool,
}

/// Nodes that answer canned replies with next to no CPU, so that the cost of the proxy before them can be seen.
#[derive(FromArgs)]
#[argh(subcommand, name = "stub")]
#[argh(example = "{command_name} --listen 127.0.0.1:7801 --nodes 3 --hits 20")]
#[argh(
    note = "Each node has a port of its own, from the first one on. Every search gets the same hits, with scores and ranking details where it asks for them (`\"showRankingScoreDetails\":true`, without spaces); tasks succeed at once, settings are kept in memory, documents are forgotten. It says that it is Meilisearch 1.15.1. What it has no answer for is a 501."
)]
struct Stub {
    /// address of the first node
    #[argh(option, default = "SocketAddr::from(([127, 0, 0, 1], 7801))")]
    listen: SocketAddr,
    /// nodes (default 1)
    #[argh(option, default = "1")]
    nodes: u16,
    /// hits in an answer (default 20)
    #[argh(option, default = "20")]
    hits: usize,
    /// bytes of the text in a hit, beside about 150 of other members and 430 of ranking details (default 250)
    #[argh(option, default = "250")]
    text_bytes: usize,
    /// folder for Unix-domain sockets, `PORT.sock` for each node besides its port
    #[argh(option)]
    sockets: Option<PathBuf>,
    /// send ranking details unasked too: what a relay before several nodes sends on is then as much as what Miroir merges
    #[argh(switch)]
    details: bool,
}

/// A bare relay on the runtime of Miroir: sends what it reads to every node, and their bodies back one after the other.
#[derive(FromArgs)]
#[argh(subcommand, name = "relay")]
#[argh(example = "{command_name} --listen 127.0.0.1:7799 --nodes 127.0.0.1:7801,127.0.0.1:7802")]
#[argh(
    note = "It is the least that a proxy can cost, to compare with, and no proxy: it reads nothing but lengths and believes everything."
)]
struct Relay {
    /// address to listen on
    #[argh(option)]
    listen: SocketAddr,
    /// addresses of nodes, separated by commas
    #[argh(option)]
    nodes: String,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let done = match arguments.command {
        Command::Search(search) => run_search(search),
        Command::Compare(compare) => run_compare(compare),
        Command::Ingest(ingest) => run_ingest(ingest),
        Command::Stub(stub) => run_stub(stub),
        Command::Relay(relay) => run_relay(relay),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("miroir-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether there was at least one answer.
fn run_search(search: Search) -> Result<bool, Error> {
    let key = key(search.key);
    let plan = load::Plan {
        connections: at_least_one("--connections", search.connections)?,
        rate: search.rate,
        duration: positive_seconds("--duration", search.duration)?,
        requests: target::searches(
            &search.index,
            key.as_deref(),
            queries::read(&search.queries)?,
        ),
        once: false,
    };
    if let Some(rate) = plan.rate {
        positive_seconds("--rate", rate)?;
    }
    let target = Target::parse(&search.url)?;
    let outcome = on_a_core(async {
        target.check(&plan.requests[0]).await?;
        Ok(load::run(&target, &plan).await)
    })?;
    match search.json {
        true => println!("{:#}", report::json(&target, &plan, &outcome)),
        false => print!("{}", report::table(&target, &plan, &outcome)),
    }
    Ok(outcome.succeeded() > 0)
}

/// Whether every server answered something at every step.
fn run_compare(compare: Compare) -> Result<bool, Error> {
    let key = key(compare.key);
    let bodies = queries::read(&compare.queries)?;
    let course = Course {
        requests: target::searches(&compare.index, key.as_deref(), bodies),
        connections: at_least_one("--connections", compare.connections)?,
        rates: rates(&compare.rates)?,
        rounds: at_least_one("--rounds", compare.rounds)?,
        duration: positive_seconds("--duration", compare.duration)?,
    };
    let sides = sides(&compare.servers, &compare.pid)?;
    let steps = on_a_core(compare::run(&sides, &course))?;
    let table = report::comparison_table(&course, &steps, &sides);
    match compare.json {
        true => println!("{:#}", report::comparison_json(&course, &steps, &sides)),
        false => print!("{table}"),
    }
    if let Some(path) = compare.html {
        std::fs::write(&path, page::html(&sides, &steps, &table))?;
    }
    let mut figures = steps.iter().flat_map(|step| &step.figures);
    Ok(figures.all(|figures| figures.outcome.succeeded() > 0))
}

/// Whether everything was accepted.
fn run_ingest(ingest: Ingest) -> Result<bool, Error> {
    let delivery = Delivery {
        index: ingest.index,
        key: key(ingest.key),
        documents: at_least_one("--documents", ingest.documents)?,
        batch: at_least_one("--batch", ingest.batch)?,
        connections: at_least_one("--connections", ingest.connections)?,
        rounds: at_least_one("--rounds", ingest.rounds)?,
    };
    let sides = sides(&ingest.servers, &ingest.pid)?;
    let delivered = on_a_core(ingest::run(&sides, &delivery))?;
    match ingest.json {
        true => println!("{:#}", ingest::json(&sides, &delivery, &delivered)),
        false => print!("{}", ingest::table(&sides, &delivery, &delivered)),
    }
    Ok(delivered
        .iter()
        .all(|figures| figures.outcome.failed() == 0))
}

fn run_stub(stub: Stub) -> Result<bool, Error> {
    if stub.listen.port().checked_add(stub.nodes).is_none() {
        return Err(Error::Argument(format!(
            "{} nodes from port {} on are more than there are ports",
            stub.nodes,
            stub.listen.port()
        )));
    }
    let shape = stub::Shape {
        hits: stub.hits,
        text_bytes: stub.text_bytes,
        details: stub.details,
    };
    let sockets = stub.sockets.as_deref();
    on_a_core(stub::run(stub.listen, stub.nodes, shape, sockets))?;
    Ok(false)
}

fn run_relay(relay: Relay) -> Result<bool, Error> {
    let nodes = relay.nodes.split(',').map(|node| {
        node.parse().map_err(|_| {
            Error::Argument(format!("`{node}` is not an address such as 127.0.0.1:7801"))
        })
    });
    on_a_core(relay::run(relay.listen, nodes.collect::<Result<_, _>>()?))?;
    Ok(false)
}

/// Runs it on this thread, on the runtime of Miroir. `MIROIR_DRIVER` chooses the driver, as there.
fn on_a_core<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let driver = std::env::var("MIROIR_DRIVER").ok();
    let driver = driver
        .as_deref()
        .map_or(Ok(DriverChoice::Auto), str::parse)?;
    block_on(driver, future)?
}

fn key(option: Option<String>) -> Option<String> {
    option
        .or_else(|| std::env::var("MIROIR_MASTER_KEY").ok())
        .filter(|key| !key.is_empty())
}

/// Servers, each with its processes.
fn sides(servers: &[String], pids: &[String]) -> Result<Vec<Side>, Error> {
    if servers.len() < 2 {
        return Err(Error::Argument(
            "name at least two servers to compare".into(),
        ));
    }
    let mut sides = Vec::new();
    for server in servers {
        sides.push(Side {
            target: Target::parse(server)?,
            pids: Vec::new(),
        });
    }
    for text in pids {
        let wrong = || {
            Error::Argument(format!(
                "`--pid {text}`: write NAME=PID, with the name of a server"
            ))
        };
        let (name, pid) = text.rsplit_once('=').ok_or_else(wrong)?;
        let mut named = sides.iter_mut().filter(|side| side.target.name == name);
        let side = named.next().ok_or_else(wrong)?;
        side.pids.push(pid.parse().map_err(|_| wrong())?);
    }
    Ok(sides)
}

fn rates(text: &str) -> Result<Vec<Option<f64>>, Error> {
    let step = |text: &str| match text {
        "closed" => Ok(None),
        rate => {
            let rate = rate.parse().unwrap_or(0.0);
            positive_seconds("--rates", rate).map(|_| Some(rate))
        }
    };
    text.split(',').map(step).collect()
}

fn at_least_one(option: &str, value: usize) -> Result<usize, Error> {
    match value {
        0 => Err(Error::Argument(format!(
            "`{option}` is 0: choose at least 1"
        ))),
        value => Ok(value),
    }
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
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("the runtime does not start: {0}")]
    Runtime(#[from] miroir_rt::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
