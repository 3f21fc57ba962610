//! Showing how far an import is while it runs: a bar on a terminal, a line now and then elsewhere.

use std::future::Future;
use std::io::IsTerminal;
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{interval, Interval};

use crate::progress::{Progress, Report, Stage};

/// How often a bar moves.
const MOVE: Duration = Duration::from_millis(100);

/// How often a line is written.
const SAY: Duration = Duration::from_secs(5);

/// Awaits `work` and shows its progress on standard error; `say` writes a line where that is no terminal.
pub async fn watch<T>(
    work: impl Future<Output = T>,
    progress: &Progress,
    say: impl Fn(&Report),
) -> T {
    let mut work = pin!(work);
    let bar = std::io::stderr().is_terminal().then(|| {
        // The template is a constant and a test reads it.
        let style =
            ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(0).with_style(style)
    });
    let mut tick: Interval = interval(if bar.is_some() { MOVE } else { SAY });
    // The first one comes at once.
    tick.tick().await;
    loop {
        tokio::select! {
            done = &mut work => {
                if let Some(bar) = bar {
                    bar.finish_and_clear();
                }
                return done;
            }
            _ = tick.tick() => {
                let report = progress.report();
                match &bar {
                    Some(bar) => draw(bar, &report),
                    None => say(&report),
                }
            }
        }
    }
}

const TEMPLATE: &str = "{msg:40!} {wide_bar} {human_pos}/{human_len} documents {eta}";

fn draw(bar: &ProgressBar, report: &Report) {
    bar.set_length(report.documents_total);
    bar.set_position(report.documents);
    bar.set_message(report.to_string());
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let doing = match self.stage {
            Stage::Checking => "checking",
            Stage::Keys => "keys",
            Stage::Settings => "settings",
            Stage::Documents => "documents",
            Stage::WaitingTasks => "waiting tasks",
            Stage::Counting => "counting",
            Stage::Done => "done",
        };
        match &self.index {
            Some(index) => write!(f, "{doing} of {index}"),
            None => f.write_str(doing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_can_be_drawn() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
