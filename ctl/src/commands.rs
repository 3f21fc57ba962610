//! What each command asks and shows.

pub mod completions;
pub mod config;
pub mod copies;
pub mod layout;
pub mod nodes;
pub mod rebalance;
pub mod shards;
pub mod status;
pub mod tasks;

use std::io::{IsTerminal, Write};

use serde_json::Value;

use crate::client::{Client, Failure};

/// Whom to ask, and how to show it.
pub struct Context {
    pub client: Client,
    pub json: bool,
}

/// What the exit code says.
pub enum Health {
    Well,
    Unwell,
}

impl Context {
    /// Shows an answer: as it is to programs, by `table` to people.
    fn show(&self, answer: &Value, table: impl FnOnce(&Value)) -> Result<Health, Failure> {
        match self.json {
            true => println!("{answer}"),
            false => table(answer),
        }
        Ok(Health::Well)
    }
}

/// Asks whether to go on. Who is no person has to have said so before.
fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Unreachable(
            "nobody is there to be asked; nothing was changed. Look with --dry-run, then say --yes"
                .to_owned(),
        ));
    }
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::Refused("nothing was changed".to_owned()))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// A value as a person reads it: text without quotes, a dash for nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A number of bytes, in binary units.
fn bytes(value: &Value) -> String {
    let Some(number) = value.as_u64() else {
        return "-".to_owned();
    };
    let mut size = number as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return match unit {
                "B" => format!("{number} B"),
                unit => format!("{size:.1} {unit}"),
            };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_are_for_people() {
        for (number, shown) in [
            (json!(null), "-"),
            (json!(12), "12 B"),
            (json!(2048), "2.0 KiB"),
            (json!(5_u64 << 30), "5.0 GiB"),
        ] {
            assert_eq!(bytes(&number), shown);
        }
    }
}
