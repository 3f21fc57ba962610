//! Prometheus's text format, version 0.0.4.

use std::fmt::{Display, Write};

/// What kind of series a family has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A metric's name and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    /// Names of the labels, separated by commas.
    pub labels: &'static str,
}

impl Family {
    pub const fn counter(name: &'static str, help: &'static str, labels: &'static str) -> Self {
        Self::new(name, Kind::Counter, help, labels)
    }

    pub const fn gauge(name: &'static str, help: &'static str, labels: &'static str) -> Self {
        Self::new(name, Kind::Gauge, help, labels)
    }

    pub const fn histogram(name: &'static str, help: &'static str, labels: &'static str) -> Self {
        Self::new(name, Kind::Histogram, help, labels)
    }

    const fn new(name: &'static str, kind: Kind, help: &'static str, labels: &'static str) -> Self {
        Family {
            name,
            kind,
            help,
            labels,
        }
    }
}

/// A page that is being written: a family, then its samples, then the next family.
#[derive(Default)]
pub struct Page {
    text: String,
    name: &'static str,
}

// Writing into a string cannot fail.
impl Page {
    pub fn family(&mut self, family: &Family) {
        let Family {
            name, kind, help, ..
        } = family;
        self.name = name;
        let kind = kind.as_str();
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample of the last family; `labels` as [`Page::label`] makes them, joined by commas.
    pub fn sample(&mut self, labels: &str, value: impl Display) {
        self.line("", labels, value);
    }

    /// `buckets` are upper ends and counts of what lies below.
    pub(crate) fn histogram(&mut self, labels: &str, buckets: &[(f64, u64)], sum: f64) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (end, below) in buckets {
            let end = match end.is_finite() {
                true => end.to_string(),
                false => "+Inf".to_owned(),
            };
            self.line("_bucket", &format!("{labels}{comma}le=\"{end}\""), below);
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, buckets.last().map_or(0, |last| last.1));
    }

    /// `key="value"`, the value escaped.
    pub fn label(key: &str, value: &str) -> String {
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        format!("{key}=\"{value}\"")
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn line(&mut self, suffix: &str, labels: &str, value: impl Display) {
        let name = self.name;
        let _ = match labels {
            "" => writeln!(self.text, "{name}{suffix} {value}"),
            labels => writeln!(self.text, "{name}{suffix}{{{labels}}} {value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped() {
        assert_eq!(Page::label("a", "x\"y\\z\n"), r#"a="x\"y\\z\n""#);
    }
}
