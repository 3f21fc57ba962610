//! `miroir-ctl config check`. What a configuration means is `miroir`'s to say, so the program beside this one is asked.

use std::process::Command;

use super::Health;
use crate::arguments::ConfigCommand;
use crate::client::Failure;

pub fn run(command: ConfigCommand) -> Result<Health, Failure> {
    let ConfigCommand::Check(check) = command;
    let here = std::env::current_exe().ok();
    let beside = here.and_then(|here| Some(here.parent()?.join("miroir")));
    let program = beside
        .filter(|path| path.is_file())
        .unwrap_or_else(|| "miroir".into());
    let status = Command::new(&program)
        .args(["serve", "--check", "--config"])
        .arg(&check.file)
        .status();
    match status {
        Ok(status) if status.success() => Ok(Health::Well),
        Ok(_) => Ok(Health::Unwell),
        Err(error) => Err(Failure::Unreachable(format!(
            "cannot run {}: {error}; put miroir beside miroir-ctl or on the PATH, or run `miroir serve --check --config \
             {}` where it is",
            program.display(),
            check.file
        ))),
    }
}
