//! An embedded node: milli, Meilisearch's own engine, behind Meilisearch 1.15's HTTP API.
//!
//! No package registry has a Meilisearch binary, and a cluster that can only be tried after installing one is not
//! tried. So this crate is a node: the released engine, a durable task queue, and the routes that the proxy and the
//! tests call. It follows what Meilisearch 1.15.1 does towards clients (statuses, bodies, codes, messages), not what
//! would be convenient for the proxy: everything that works with it must work with the released server too. Routes that
//! came later (renames, compaction, fields, webhooks) are those of 1.50; a proxy knows by `miroir_api::EMBEDDED`.
//!
//! The path of a write: `http` checks it and keeps its payload as a file, `queue` records the task (durable before
//! the 202 is sent), `scheduler` takes consecutive compatible tasks of one index as one batch and applies it to the
//! index that `indexes` keeps open. A read goes from `http` straight to a snapshot of the index.
#![forbid(unsafe_code)]

mod batch;
mod deserialize;
mod documents;
mod dumps;
mod engine;
mod error;
mod features;
mod fields;
mod files;
mod http;
mod indexes;
mod keys;
mod options;
mod payload;
mod queue;
mod scheduler;
mod search;
mod settings;
mod tasks;
mod webhooks;

use std::io;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use miroir_api::{check_unix_socket, unix_socket};
use tokio::signal::unix::{signal, SignalKind};

use engine::Engine;
use features::Features;
use files::Files;
use http::App;
use indexes::Indexes;
use keys::Keys;
use miroir_import::AtStart;
use queue::Queue;
use scheduler::Scheduler;
use webhooks::Hooks;

pub use options::{Options, Size};

/// How long requests under way may take once a stop is asked for.
const DRAIN: Duration = Duration::from_millis(800);

/// How long the batch under way may take to give up.
const GIVE_UP: Duration = Duration::from_millis(800);

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Listen { address: String, source: io::Error },
    #[error("cannot use the folder {}: {source} (choose another with --db-path)", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot open the data in {}: {source}", path.display())]
    Data {
        path: PathBuf,
        source: miroir_api::Error,
    },
    #[error("another node uses the data in {} (choose another folder with --db-path)", path.display())]
    Taken { path: PathBuf },
    #[error("{0}")]
    Import(String),
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => " (choose another address with --http-addr)",
        _ => "",
    }
}

/// Runs a node until SIGINT or SIGTERM, then stops within two seconds.
///
/// A batch that is being indexed is given up and runs again at the next start.
pub fn run(options: Options) -> Result<(), RunError> {
    let options = options.with_environment();
    if let Some(parent) = options.parent_pid {
        follow(parent)?;
    }
    let listener = listen(&options.http_addr)?;
    let Opened {
        scheduler,
        features,
        keys,
        webhooks,
        _lock,
    } = open(&options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let worker = {
        let scheduler = scheduler.clone();
        thread::Builder::new()
            .name("scheduler".to_owned())
            .spawn(move || scheduler.run())?
    };
    let app = Arc::new(App {
        scheduler: scheduler.clone(),
        features,
        keys,
        webhooks,
        body_bytes_max: options.http_payload_size_limit.0,
        dump_folder: options.dump_dir.clone(),
    });
    if let Some(path) = options.import_dump {
        let import = AtStart {
            path,
            ignore_missing: options.ignore_missing_dump,
            ignore_existing: options.ignore_dump_if_db_exists,
        };
        let imported = runtime.block_on(dumps::import(
            &import,
            app.clone(),
            options.master_key.clone(),
        ));
        if let Err(trouble) = imported {
            scheduler.stop();
            return Err(RunError::Import(trouble.with_advice()));
        }
    }
    tracing::info!(address = %options.http_addr, data = %options.db_path.display(), "node listens");
    let served = runtime.block_on(serve(listener, app));
    scheduler.stop();
    runtime.shutdown_timeout(Duration::from_millis(100));
    let asked = Instant::now();
    while !worker.is_finished() && asked.elapsed() < GIVE_UP {
        thread::sleep(Duration::from_millis(5));
    }
    if !worker.is_finished() {
        tracing::warn!("a batch did not give up in time; it runs again at the next start");
    }
    Ok(served?)
}

/// Asks the kernel for an interrupt when the parent dies. A parent that died before this call is noticed too.
fn follow(parent: i32) -> Result<(), RunError> {
    use rustix::process::{getppid, set_parent_process_death_signal, Signal};
    set_parent_process_death_signal(Some(Signal::INT)).map_err(io::Error::from)?;
    if getppid().map(|pid| pid.as_raw_nonzero().get()) == Some(parent) {
        Ok(())
    } else {
        Err(RunError::System(io::Error::other(
            "the process given with --parent-pid is gone",
        )))
    }
}

/// Where clients come in.
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// `address`: `host:port`, or `unix:/path` for clients on the same machine.
fn listen(address: &str) -> Result<Listening, RunError> {
    let bind = || match unix_socket(address) {
        Some(path) => {
            check_unix_socket(path)
                .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, format!("it {why}")))?;
            let listener = bind_socket(path)?;
            listener.set_nonblocking(true)?;
            Ok(Listening::Unix(listener))
        }
        None => {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(Listening::Tcp(listener))
        }
    };
    bind().map_err(|source| RunError::Listen {
        address: address.to_owned(),
        source,
    })
}

/// A node that was killed leaves its socket behind, which nobody answers at.
fn bind_socket(path: &str) -> io::Result<UnixListener> {
    let deserted = || {
        let reached = UnixStream::connect(path);
        reached.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && deserted() => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// What a folder holds, and the lock on it.
struct Opened {
    scheduler: Arc<Scheduler>,
    features: Features,
    keys: Keys,
    webhooks: Hooks,
    _lock: std::fs::File,
}

fn open(options: &Options) -> Result<Opened, RunError> {
    let path = &options.db_path;
    let folder_error = |source| RunError::Folder {
        path: path.clone(),
        source,
    };
    std::fs::create_dir_all(path).map_err(folder_error)?;
    // Two nodes on one folder would each remove what the other writes.
    let lock = std::fs::File::create(path.join("lock")).map_err(folder_error)?;
    lock.try_lock()
        .map_err(|_| RunError::Taken { path: path.clone() })?;
    let threads = options
        .max_indexing_threads
        .filter(|threads| *threads > 0)
        .unwrap_or_else(|| {
            let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
            (cores / 2).max(1)
        });
    let open = || {
        let queue = Queue::open(&path.join("tasks.db"))?;
        let indexes = Indexes::open(path.join("indexes"), &queue)?;
        let files = Files::open(path.join("update_files"), &queue)?;
        let engine = Engine::new(threads, options.max_indexing_memory.map(|size| size.0))?;
        let features = Features::open(path.join("features.json"))?;
        let keys = Keys::open(path.join("keys.json"), options.master_key.clone())?;
        let webhooks = Hooks::open(path.join("webhooks.json"), options)?;
        let hooks = Arc::clone(webhooks.hooks());
        let scheduler = Scheduler::new(queue, indexes, files, engine, hooks);
        Ok((scheduler, features, keys, webhooks))
    };
    let (scheduler, features, keys, webhooks) = open().map_err(|source| RunError::Data {
        path: path.clone(),
        source,
    })?;
    Ok(Opened {
        scheduler,
        features,
        keys,
        webhooks,
        _lock: lock,
    })
}

/// Serves until it is told to stop.
async fn serve(listening: Listening, app: Arc<App>) -> io::Result<()> {
    match listening {
        Listening::Tcp(listener) => {
            serve_on(tokio::net::TcpListener::from_std(listener)?, app).await
        }
        Listening::Unix(listener) => {
            serve_on(tokio::net::UnixListener::from_std(listener)?, app).await
        }
    }
}

async fn serve_on<L>(listener: L, app: Arc<App>) -> io::Result<()>
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let mut draining = stopped.clone();
    let server = axum::serve(listener, http::router(app)).with_graceful_shutdown(async move {
        // An error means that the sender is gone: a stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
    });
    let drained = async move {
        let _ = draining.wait_for(|stop| *stop).await;
        tokio::time::sleep(DRAIN).await;
    };
    let asked = async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
        let _ = stop.send(true);
        std::future::pending::<()>().await
    };
    tokio::select! {
        ended = async { server.await } => ended,
        () = drained => Ok(()),
        () = asked => Ok(()),
    }
}
