//! `miroir-ctl`: the operator's program. It speaks HTTP only, to one Miroir.
//!
//! Tables are for people, `--json` for programs. Exit codes: 0 done, 1 the cluster is not well or said no, 2 the command
//! itself was wrong or the cluster could not be asked.
#![forbid(unsafe_code)]

mod arguments;
mod client;
mod commands;
mod import;
mod table;

use std::process::ExitCode;

use argh::FromArgs;
use arguments::{Arguments, Command, TasksCommand};
use client::{Client, Failure};
use commands::{Context, Health};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let url = arguments
        .url
        .or_else(|| variable("MIROIR_URL"))
        .unwrap_or_else(|| "http://127.0.0.1:7700".to_owned());
    if let Command::Import(import) = arguments.command {
        // It copies API keys, which take the master key.
        let key = arguments
            .key
            .or_else(|| variable("MIROIR_MASTER_KEY"))
            .or_else(|| variable("MIROIR_ADMIN_KEY"));
        return import::run(import, &url, key, arguments.json);
    }
    let key = arguments
        .key
        .or_else(|| variable("MIROIR_ADMIN_KEY"))
        .or_else(|| variable("MIROIR_MASTER_KEY"));
    let client = match Client::new(&url, key) {
        Ok(client) => client,
        Err(error) => return refuse(&error),
    };
    let context = Context {
        client,
        json: arguments.json,
    };
    match run(&context, arguments.command) {
        Ok(Health::Well) => ExitCode::SUCCESS,
        Ok(Health::Unwell) => ExitCode::from(1),
        Err(Failure::Refused(message)) => {
            eprintln!("miroir-ctl: {message}");
            ExitCode::from(1)
        }
        Err(Failure::Unreachable(message)) => refuse(&message),
    }
}

/// Reads the command line. Help is what was asked for; what cannot be read is a wrong command.
fn parse() -> Result<Arguments, ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words = globals_first(words.iter().map(String::as_str));
    Arguments::from_args(&["miroir-ctl"], &words).map_err(|early| match early.status {
        Ok(()) => {
            println!("{}", early.output);
            ExitCode::SUCCESS
        }
        Err(()) => {
            eprintln!(
                "{}\nRun miroir-ctl --help for more information.",
                early.output
            );
            ExitCode::from(2)
        }
    })
}

/// `--url`, `--key` and `--json` may stand anywhere: argh knows them before the command only.
fn globals_first<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut words = words.peekable();
    let (mut globals, mut others) = (Vec::new(), Vec::new());
    while let Some(word) = words.next() {
        match word {
            "--json" => globals.push(word),
            "--url" | "--key" => {
                globals.push(word);
                globals.extend(words.next());
            }
            // What follows is no option, whatever it looks like.
            "--" => {
                others.push(word);
                others.extend(words.by_ref());
            }
            _ => others.push(word),
        }
    }
    globals.extend(others);
    globals
}

fn run(context: &Context, command: Command) -> Result<Health, Failure> {
    match command {
        Command::Status(_) => commands::status::show(context),
        Command::Nodes(nodes) => commands::nodes::run(context, nodes.command),
        Command::Layout(layout) => commands::layout::run(context, layout.command),
        Command::Shards(shards) => commands::shards::run(context, shards.command),
        Command::Rebalance(rebalance) => commands::rebalance::run(context, rebalance.command),
        Command::Tasks(tasks) => match tasks.command {
            TasksCommand::List(list) => commands::tasks::list(context, &list),
            TasksCommand::Get(get) => commands::tasks::get(context, get.uid),
            TasksCommand::Wait(wait) => commands::tasks::wait(context, &wait),
        },
        Command::Verify(verify) => commands::copies::verify(context, verify.index.as_deref()),
        Command::Repair(repair) => commands::copies::repair(context, repair.index.as_deref()),
        Command::Config(config) => commands::config::run(config.command),
        // It speaks to two servers and was run before.
        Command::Import(_) => Ok(Health::Well),
        Command::Completions(completions) => commands::completions::print(&completions.shell),
    }
}

fn refuse(message: &str) -> ExitCode {
    eprintln!("miroir-ctl: {message}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::globals_first;

    #[test]
    fn options_for_every_command_may_stand_anywhere() {
        let sorted = |line: &str| globals_first(line.split(' ')).join(" ");
        assert_eq!(
            sorted("nodes list --json --url http://x --key k"),
            "--json --url http://x --key k nodes list"
        );
        assert_eq!(sorted("shards where -- --json"), "shards where -- --json");
        assert_eq!(sorted("status --url"), "--url status");
    }
}
