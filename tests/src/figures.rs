//! What the random comparison found, in numbers: on the screen, and in docs/exactness.md.
//!
//! The page holds two parts between markers. The *exceptions* are the list in [`KNOWN`] with its measured frequency; a run that finds
//! the page's list to be another one than the code's fails, so that neither can change alone. The *figures* are those of the last run
//! with `MIROIR_WRITE_DOCS=1`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::judge::{Found, Verdict, KNOWN};
use crate::page::Page;

const PAGE: &str = "exactness.md";
/// Failures that are said again at the end; and disturbed walks that mean nothing.
const FEW: usize = 8;
/// Characters kept of a failure.
const NOTE_MAX: usize = 2500;

/// Counts by corpus and cluster.
#[derive(Default)]
pub struct Tally {
    rows: BTreeMap<(String, String), Row>,
    /// Walks through pages that joined, and those that other copies disturbed.
    walks: [usize; 2],
    /// The first failures, for who has only the end of a log.
    notes: Vec<String>,
}

/// What came of the answers of one cluster about one corpus.
#[derive(Default, Deserialize, Serialize)]
pub struct Row {
    pub compared: usize,
    pub agreed: usize,
    pub with_hits: usize,
    pub refused: usize,
    /// By the cluster's words.
    pub not_yet: BTreeMap<String, usize>,
    /// By [`crate::judge::Known::what`].
    pub known: BTreeMap<String, usize>,
    /// By kind.
    pub failed: BTreeMap<String, usize>,
}

impl Row {
    fn add(&mut self, other: &Row) {
        self.compared += other.compared;
        self.agreed += other.agreed;
        self.with_hits += other.with_hits;
        self.refused += other.refused;
        for (words, count) in &other.not_yet {
            *self.not_yet.entry(words.clone()).or_default() += count;
        }
        for (what, count) in &other.known {
            *self.known.entry(what.clone()).or_default() += count;
        }
        for (kind, count) in &other.failed {
            *self.failed.entry(kind.clone()).or_default() += count;
        }
    }

    fn known(&self) -> usize {
        self.known.values().sum()
    }
}

impl Tally {
    /// Counts a verdict. Whether it is a failure of a kind that was not met before.
    pub fn count(&mut self, corpus: &str, cluster: &str, verdict: &Verdict) -> bool {
        let new = match verdict {
            Verdict::Differ(found) => !self
                .rows
                .values()
                .any(|row| row.failed.contains_key(&found.kind)),
            _ => false,
        };
        let row = self
            .rows
            .entry((corpus.to_string(), cluster.to_string()))
            .or_default();
        row.compared += 1;
        match verdict {
            Verdict::Agree { with_hits } => {
                row.agreed += 1;
                row.with_hits += usize::from(*with_hits);
            }
            Verdict::Refused => row.refused += 1,
            Verdict::NotYet(words) => *row.not_yet.entry(words.to_string()).or_default() += 1,
            Verdict::Known(known) => *row.known.entry(known.what.to_string()).or_default() += 1,
            Verdict::Differ(found) => *row.failed.entry(found.kind.clone()).or_default() += 1,
        }
        new
    }

    /// Counts a failure that no single answer shows.
    pub fn fail(&mut self, corpus: &str, cluster: &str, found: Found) {
        let row = self.rows.entry((corpus.to_string(), cluster.to_string()));
        *row.or_default().failed.entry(found.kind).or_default() += 1;
    }

    /// Counts a walk through pages: whether it joined even inside ties.
    pub fn walked(&mut self, joined: bool) {
        self.walks[usize::from(!joined)] += 1;
    }

    /// Whether walks were disturbed by chance only.
    pub fn most_walks_join(&self) -> bool {
        let [joined, disturbed] = self.walks;
        disturbed < FEW.max(joined)
    }

    /// Keeps what is said of a failure, cut to what a log's end can hold.
    pub fn note(&mut self, what: &str) {
        if self.notes.len() < FEW {
            self.notes.push(what.chars().take(NOTE_MAX).collect());
        }
    }

    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Searches that were drawn: each cluster is asked all of its corpus.
    pub fn searches(&self) -> usize {
        let most = |corpus: &String| {
            let rows = self.rows.iter().filter(|((name, _), _)| name == corpus);
            rows.map(|(_, row)| row.compared).max().unwrap_or(0)
        };
        self.corpora().into_iter().map(most).sum()
    }

    /// Adds what earlier parts of a run left in `file`, and leaves the sum there. Parts are of one run where they have other searches.
    pub fn add_up(&mut self, file: &Path) -> Result<(), String> {
        let trouble = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
        if file.exists() {
            let text = std::fs::read(file).map_err(|e| trouble(&e))?;
            let rows: Vec<((String, String), Row)> =
                serde_json::from_slice(&text).map_err(|e| trouble(&e))?;
            for (of, row) in rows {
                self.rows.entry(of).or_default().add(&row);
            }
        }
        let rows: Vec<_> = self.rows.iter().collect();
        let text = serde_json::to_vec(&rows).map_err(|e| trouble(&e))?;
        std::fs::write(file, text).map_err(|e| trouble(&e))
    }

    /// Everything together.
    pub fn whole(&self) -> Row {
        let mut whole = Row::default();
        self.rows.values().for_each(|row| whole.add(row));
        whole
    }

    /// How many kinds of failures there are.
    pub fn kinds(&self) -> usize {
        self.whole().failed.len()
    }

    /// For the screen.
    pub fn print(&self) {
        for ((corpus, cluster), row) in &self.rows {
            println!(
                "random: {corpus}, {cluster}: {} answers compared, {} equal up to ties ({} of them with hits), {} refused alike, {} differ as listed, {} failed",
                row.compared,
                row.agreed,
                row.with_hits,
                row.refused,
                row.known(),
                row.failed.values().sum::<usize>()
            );
        }
        let [joined, disturbed] = self.walks;
        println!("random: {joined} walks through pages joined, {disturbed} did so up to ties");
        let whole = self.whole();
        for (words, count) in &whole.not_yet {
            println!("  {count} not there yet: {words}");
        }
        for (what, count) in &whole.known {
            println!("  {count} differ as listed: {what}");
        }
        for (kind, count) in &whole.failed {
            println!("  {count} failed in {kind}");
        }
    }

    fn corpora(&self) -> Vec<&String> {
        let mut names: Vec<&String> = self.rows.keys().map(|(corpus, _)| corpus).collect();
        names.dedup();
        names
    }

    fn of_corpus(&self, corpus: &str) -> Row {
        let mut sum = Row::default();
        let rows = self.rows.iter().filter(|((name, _), _)| name == corpus);
        rows.for_each(|(_, row)| sum.add(row));
        sum
    }

    fn figures(&self, how: &str) -> String {
        let mut text = format!(
            "{how}\n\n| corpus | cluster | answers compared | equal up to ties | of them with hits | refused alike | differ as listed | not there yet | differ otherwise |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        );
        for ((corpus, cluster), row) in &self.rows {
            let not_yet: usize = row.not_yet.values().sum();
            let otherwise: usize = row.failed.values().sum();
            text += &format!(
                "| {corpus} | {cluster} | {} | {} | {} | {} | {} | {not_yet} | {otherwise} |\n",
                row.compared,
                row.agreed,
                row.with_hits,
                row.refused,
                row.known(),
            );
        }
        text
    }

    fn exceptions(&self) -> String {
        let corpora = self.corpora();
        let names: String = corpora.iter().map(|name| format!(" {name} |")).collect();
        let mut text = format!(
            "| what | why |{names}\n| --- | --- |{}\n",
            " --- |".repeat(corpora.len())
        );
        for known in KNOWN {
            text += &format!("| {} | {} |", known.what, known.why);
            for corpus in &corpora {
                let row = self.of_corpus(corpus);
                let count = row.known.get(known.what).copied().unwrap_or(0);
                let percent = 100.0 * count as f64 / row.compared.max(1) as f64;
                text += &format!(" {count} ({percent:.2} %) |");
            }
            text.push('\n');
        }
        text
    }

    /// Puts the numbers into the page; `how` says what they were measured on.
    pub fn write(&self, how: &str) -> Result<(), String> {
        let mut page = Page::read(PAGE)?;
        page.set("figures", &self.figures(how))?;
        page.set("exceptions", &self.exceptions())?;
        page.write()
    }
}

/// Whether the page lists exactly what [`KNOWN`] lists; the error says what to do.
pub fn check_page() -> Result<(), String> {
    let page = Page::read(PAGE)?;
    let listed: Vec<(&str, &str)> = page
        .part("exceptions")?
        .lines()
        .skip_while(|line| !line.starts_with("| --- "))
        .skip(1)
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split(" | ");
            Some((cells.next()?.trim(), cells.next()?.trim()))
        })
        .collect();
    let known: Vec<(&str, &str)> = KNOWN.iter().map(|k| (k.what, k.why)).collect();
    if listed == known {
        return Ok(());
    }
    Err(format!(
        "docs/exactness.md lists other exceptions than tests/src/judge.rs; run this test with MIROIR_WRITE_DOCS=1\n  page: {listed:#?}\n  code: {known:#?}"
    ))
}
