//! The command line: what the user asked for, told apart from what the program runs with (`config`).

use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

use crate::config::{Config, LogFormat};
use crate::serve;
use miroir_import::AtStart;

/// Miroir: RAID for Meilisearch. One address in front of a fleet of small, unmodified Meilisearch nodes.
#[derive(FromArgs)]
#[argh(
    example = "A whole cluster to try, with 3,201 films in it:\n  {command_name} demo",
    example = "In front of your own nodes, first only checking the file:\n  {command_name} serve --config miroir.yaml --check\n  {command_name} serve --config miroir.yaml",
    note = "`{command_name} COMMAND --help` tells more of each command."
)]
struct Arguments {
    /// print the version and end
    #[argh(switch, short = 'V')]
    version: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
#[allow(
    clippy::large_enum_variant,
    reason = "one value, made once; argh boxes no subcommands"
)]
enum Command {
    Serve(ServeArguments),
    #[cfg(feature = "embedded")]
    Demo(crate::demo::Arguments),
    #[cfg(feature = "embedded")]
    Node(miroir_node::Options),
}

/// Run the front tier in front of Meilisearch nodes that are already running.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "serve",
    note = "Every key of the file can be given in the environment too, which wins: MIROIR_MASTER_KEY, MIROIR_NODE_MASTER_KEY, MIROIR_ADMIN_API_KEY, MIROIR_SHARDS, MIROIR_SERVER_PORT and so on.",
    note = "MIROIR_DRIVER=io_uring or epoll forces a driver, MIROIR_LOG sets the log filter (default `info`), MIROIR_LOG_FORMAT=json writes logs as JSON (`log.format` in the file)."
)]
struct ServeArguments {
    /// the configuration, in YAML (see configs/dev.yaml)
    #[argh(option, short = 'c')]
    config: PathBuf,
    /// check the configuration, print what was understood, and end
    #[argh(switch)]
    check: bool,
    /// import this dump before clients are let in; the cluster must have no indexes
    #[argh(option)]
    import_dump: Option<PathBuf>,
    /// go on where the dump is not there
    #[argh(switch)]
    ignore_missing_dump: bool,
    /// go on without the dump where the cluster has indexes
    #[argh(switch)]
    ignore_dump_if_db_exists: bool,
}

/// Parses the arguments and runs the command; the exit code is 0, or 1 with one clear sentence on standard error.
pub fn run() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    if arguments.version {
        println!("miroir {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let Some(command) = arguments.command else {
        eprintln!("miroir: which command? Try `miroir demo`, or `miroir --help`.");
        return ExitCode::from(2);
    };
    let result = match command {
        Command::Serve(arguments) => serve_command(&arguments),
        #[cfg(feature = "embedded")]
        Command::Demo(arguments) => crate::demo::run(arguments).map_err(|error| error.to_string()),
        #[cfg(feature = "embedded")]
        Command::Node(options) => node_command(options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("miroir: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve_command(arguments: &ServeArguments) -> Result<(), String> {
    let config = Config::load(&arguments.config).map_err(|error| error.to_string())?;
    if arguments.check {
        println!("the configuration is good\n{}", config.summary());
        return Ok(());
    }
    start_logging("info", config.log_format);
    let import = arguments.import_dump.clone().map(|path| AtStart {
        path,
        ignore_missing: arguments.ignore_missing_dump,
        ignore_existing: arguments.ignore_dump_if_db_exists,
    });
    serve::run(config, import).map_err(|error| error.to_string())
}

#[cfg(feature = "embedded")]
fn node_command(options: miroir_node::Options) -> Result<(), String> {
    start_logging(
        &options.log_level.to_ascii_lowercase(),
        LogFormat::from_environment(),
    );
    miroir_node::run(options).map_err(|error| error.to_string())
}

/// Logs go to standard error: for people, or as JSON for programs. `default`: the filter where `MIROIR_LOG` says none.
pub fn start_logging(default: &str, format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MIROIR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    if format == LogFormat::Json {
        logs.json().init();
    } else {
        use std::io::IsTerminal;
        logs.with_ansi(std::io::stderr().is_terminal()).init();
    }
}
