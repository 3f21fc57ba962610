//! `miroir-ctl import`: everything of a running Meilisearch into this cluster.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argh::{ArgsInfo, FromArgs};
use miroir_import::{copy, watch, Copied, Options, Progress, Server, State, Trouble};
use serde_json::json;

use crate::table;

/// Copy indexes, settings, documents and keys from a running Meilisearch into the cluster; exit code 1 when the numbers
/// of documents differ at the end. Nothing on the old server changes.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "import",
    note = "--key must be the cluster's master key here (default: MIROIR_MASTER_KEY): API keys are copied, too.",
    note = "Stop writing to the old server before the last run: what is written while it is read may be missed."
)]
pub struct Import {
    /// the old server, as http://host:7700
    #[argh(option)]
    from: String,
    /// its master key (default: MIROIR_FROM_KEY); prefer the variable, arguments are visible
    #[argh(option)]
    from_key: Option<String>,
    /// only this index; may be given several times
    #[argh(option)]
    index: Vec<String>,
    /// keep in this file how far it is: the same command goes on from there when it was interrupted
    #[argh(option)]
    state: Option<PathBuf>,
}

/// Runs the import into the cluster at `url`.
pub fn run(import: Import, url: &str, key: Option<String>, json: bool) -> ExitCode {
    let progress = Progress::default();
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::new("starting", error.to_string()))
        .and_then(|runtime| runtime.block_on(import.copy(url, key, &progress)));
    let copied = match done {
        Ok(copied) => copied,
        Err(trouble) => {
            eprintln!("miroir-ctl: {trouble}");
            if import.state.is_some() {
                eprintln!("Run the same command again: it goes on from there.");
            }
            return ExitCode::from(1);
        }
    };
    show(&copied, &progress.report().notes, json);
    match copied.indexes.iter().all(|index| index.there == index.here) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    }
}

impl Import {
    async fn copy(
        &self,
        url: &str,
        key: Option<String>,
        progress: &Progress,
    ) -> Result<Copied, Trouble> {
        let given = self.from_key.clone();
        let from_key = given.or_else(|| std::env::var("MIROIR_FROM_KEY").ok());
        let from = Server::new(&self.from, from_key)?;
        let to = Server::new(url, key)?;
        let mut state = self.resumed(from.base(), to.base())?;
        let mut save = |state: &State| match &self.state {
            Some(path) => keep(path, state),
            None => Ok(()),
        };
        let options = Options::default();
        let work = copy(
            &from,
            &to,
            &self.index,
            options,
            progress,
            &mut state,
            &mut save,
        );
        watch(work, progress, |report| {
            eprintln!(
                "{report}: {} of {} documents",
                report.documents, report.documents_total
            );
        })
        .await
    }

    /// The state that an interrupted run has left, or a new one.
    fn resumed(&self, from: &str, to: &str) -> Result<State, Trouble> {
        let new = State {
            from: from.to_owned(),
            to: to.to_owned(),
            ..State::default()
        };
        let Some(path) = &self.state else {
            return Ok(new);
        };
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(new),
            Err(error) => return Err(faulty(path, &error.to_string())),
        };
        let state: State =
            serde_json::from_slice(&text).map_err(|error| faulty(path, &error.to_string()))?;
        if (&*state.from, &*state.to) != (from, to) {
            let why = format!(
                "it is about a copy from {} to {}; name another file",
                state.from, state.to
            );
            return Err(faulty(path, &why));
        }
        Ok(state)
    }
}

fn faulty(path: &Path, why: &str) -> Trouble {
    Trouble::new(format!("the state file {}", path.display()), why)
}

/// Replaces the state file: a crash leaves the old one or the new one.
fn keep(path: &Path, state: &State) -> Result<(), Trouble> {
    let write = || {
        let next = path.with_extension("next");
        std::fs::write(&next, serde_json::to_vec_pretty(state)?)?;
        std::fs::rename(next, path)
    };
    write().map_err(|error: std::io::Error| faulty(path, &error.to_string()))
}

fn show(copied: &Copied, notes: &[String], json: bool) {
    if json {
        println!(
            "{}",
            json!({ "indexes": copied.indexes, "keys": copied.keys, "notes": notes })
        );
        return;
    }
    let rows: Vec<Vec<String>> = copied
        .indexes
        .iter()
        .map(|index| {
            let verdict = match index.there == index.here {
                true => "same",
                false => "DIFFERENT: run it again with another --state, or ask why",
            };
            vec![
                index.uid.clone(),
                index.there.to_string(),
                index.here.to_string(),
                verdict.to_owned(),
            ]
        })
        .collect();
    table::print(&["index", "there", "here", ""], &rows);
    println!("\n{} API key(s) made", copied.keys);
    for note in notes {
        println!("note: {note}");
    }
}
