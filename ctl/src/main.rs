//! `miroir-ctl`: the operator's program. It speaks HTTP only, to one Miroir.
//!
//! Tables are for people, `--json` for programs. Exit codes: 0 done, 1 the cluster is not well or said no, 2 the command
//! itself was wrong or the cluster could not be asked.
#![forbid(unsafe_code)]

mod client;
mod commands;
mod table;

use std::process::ExitCode;

use argh::FromArgs;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Look at a Miroir cluster: its nodes, shards and tasks.
#[derive(FromArgs)]
struct Arguments {
    /// where Miroir listens (default: MIROIR_URL, else http://127.0.0.1:7700)
    #[argh(option)]
    url: Option<String>,
    /// the admin key (default: MIROIR_ADMIN_KEY, else MIROIR_MASTER_KEY); prefer the variable, arguments are visible
    #[argh(option)]
    key: Option<String>,
    /// print JSON for programs instead of tables
    #[argh(switch)]
    json: bool,
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Status(Status),
    Tasks(Tasks),
}

/// Nodes, shards, copies that do not serve; exit code 1 when something is wrong.
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
struct Status {}

/// List, show or wait for tasks.
#[derive(FromArgs)]
#[argh(subcommand, name = "tasks")]
struct Tasks {
    #[argh(subcommand)]
    command: TasksCommand,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum TasksCommand {
    List(TasksList),
    Get(TasksGet),
    Wait(TasksWait),
}

/// The newest tasks first.
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct TasksList {
    /// how many (default 20)
    #[argh(option, default = "20")]
    limit: u32,
    /// only these statuses, separated by commas: enqueued, processing, succeeded, failed, canceled
    #[argh(option)]
    status: Option<String>,
    /// only tasks of this index
    #[argh(option)]
    index: Option<String>,
}

/// One task, whole.
#[derive(FromArgs)]
#[argh(subcommand, name = "get")]
struct TasksGet {
    /// the task's uid
    #[argh(positional)]
    uid: u32,
}

/// Wait until a task has ended; exit code 1 when it failed.
#[derive(FromArgs)]
#[argh(subcommand, name = "wait")]
struct TasksWait {
    /// the task's uid
    #[argh(positional)]
    uid: u32,
    /// give up after so many seconds (default 300), with exit code 2
    #[argh(option, default = "300")]
    timeout: u64,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let url = arguments
        .url
        .or_else(|| variable("MIROIR_URL"))
        .unwrap_or_else(|| "http://127.0.0.1:7700".to_owned());
    let key = arguments
        .key
        .or_else(|| variable("MIROIR_ADMIN_KEY"))
        .or_else(|| variable("MIROIR_MASTER_KEY"));
    let client = match client::Client::new(&url, key) {
        Ok(client) => client,
        Err(error) => return refuse(&error),
    };
    let output = commands::Output {
        json: arguments.json,
    };
    let result = match arguments.command {
        Command::Status(_) => commands::status(&client, output),
        Command::Tasks(tasks) => match tasks.command {
            TasksCommand::List(list) => {
                commands::tasks_list(&client, output, list.limit, list.status, list.index)
            }
            TasksCommand::Get(get) => commands::task_get(&client, output, get.uid),
            TasksCommand::Wait(wait) => {
                commands::task_wait(&client, output, wait.uid, wait.timeout)
            }
        },
    };
    match result {
        Ok(commands::Health::Well) => ExitCode::SUCCESS,
        Ok(commands::Health::Unwell) => ExitCode::from(1),
        Err(client::Failure::Refused(message)) => {
            eprintln!("miroir-ctl: {message}");
            ExitCode::from(1)
        }
        Err(client::Failure::Unreachable(message)) => refuse(&message),
    }
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("miroir-ctl: {message}");
    ExitCode::from(2)
}
