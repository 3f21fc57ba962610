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

/// A time (RFC 3339) to the second.
fn moment(value: &Value) -> String {
    let whole = text(value);
    match whole.split_once('.') {
        Some((second, fraction)) if fraction.ends_with('Z') => format!("{second}Z"),
        _ => whole,
    }
}

/// An ISO 8601 duration such as `PT0.579484083S`, where it is one of seconds alone.
fn seconds(value: &Value) -> String {
    let whole = text(value);
    let number = whole
        .strip_prefix("PT")
        .and_then(|rest| rest.strip_suffix('S'));
    match number.and_then(|number| number.parse::<f64>().ok()) {
        Some(seconds) => format!("{seconds:.2} s"),
        None => whole,
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
    fn times_are_for_people() {
        let at = json!("2026-11-21T17:45:38.545813008Z");
        assert_eq!(moment(&at), "2026-11-21T17:45:38Z");
        assert_eq!(moment(&json!(null)), "-");
        assert_eq!(seconds(&json!("PT0.579484083S")), "0.58 s");
        assert_eq!(seconds(&json!("PT1M2S")), "PT1M2S");
        assert_eq!(seconds(&json!(null)), "-");
    }

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
