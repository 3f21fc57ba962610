//! Judging one random search: do cluster and node agree, and if not, is it the engine's doing?
//!
//! Some effects of the engine show through any proxy and cannot be kept out by what is drawn (see [`crate::draw`]). Each is written
//! down in [`KNOWN`] as narrowly as the answer allows: which requests can show it, which members it may touch, and what must still hold
//! there. Everything else must agree as ever, the order of hits included. They are counted with their reason, never silent.

use serde_json::{json, Map, Value};

mod check;
mod groups;
mod known;
mod mixed;
mod walk;
mod words;

use check::Compared;
pub use known::{Known, KNOWN};
pub use walk::{walk, Walk};

use crate::agree::{agree, Leniency};
use crate::ask::Ask;
use crate::compare::Difference;
use crate::http::{Answer, Target};
use crate::volatile::TaskNames;

/// What came of one search.
#[derive(Debug)]
pub enum Verdict {
    Agree {
        with_hits: bool,
    },
    /// Both refuse the request alike: lawful, but nothing is shown by it.
    Refused,
    /// The cluster says that it cannot do this, as [`NOT_YET`] lists it.
    NotYet(&'static str),
    /// They differ in a way that only the engine could change.
    Known(&'static Known),
    Differ(Found),
}

/// How two answers differ.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which parts of the answers differ: two failures of one kind are probably one defect.
    pub kind: String,
    pub lines: Vec<String>,
}

impl Found {
    fn failed(kind: &str, lines: Vec<String>) -> Verdict {
        let kind = kind.to_string();
        Verdict::Differ(Found { kind, lines })
    }
}

/// Asks `node` and `cluster` the same question about an index that both were filled with alike.
pub fn judge(
    index: &str,
    settings: &Map<String, Value>,
    ask: &Ask,
    node: &Target,
    cluster: &Target,
) -> Verdict {
    let call = ask.call(index);
    let both = || (node.call(&call), cluster.call_when_whole(&call));
    let in_time = || {
        let mut asked = (1..CUT_SHORT_MAX).map(|_| both());
        let whole = |(left, right): &_| !is_cut_short(left) && !is_cut_short(right);
        asked.find(whole).unwrap_or_else(both)
    };
    let (left, right) = match in_time() {
        (Ok(left), Ok(right)) => (left, right),
        (left, right) => {
            let lines = [left.err(), right.err()].into_iter().flatten().collect();
            return Found::failed("no answer", lines);
        }
    };
    if right.status == 501 && right.code() == Some("miroir_not_implemented") {
        let message = right.body["message"].as_str().unwrap_or_default();
        return match NOT_YET.iter().find(|words| message.contains(**words)) {
            Some(words) => Verdict::NotYet(words),
            None => Found::failed("not there yet", vec![message.to_string()]),
        };
    }
    let question = Question {
        index,
        settings,
        node,
        cluster,
    };
    question.explain(ask, &left, &right)
}

/// What is asked about, and of whom.
struct Question<'a> {
    index: &'a str,
    settings: &'a Map<String, Value>,
    node: &'a Target,
    cluster: &'a Target,
}

impl Question<'_> {
    fn explain(&self, ask: &Ask, left: &Answer, right: &Answer) -> Verdict {
        let call = ask.call(self.index);
        let compare =
            |ignore: &[&str], ties_from: Option<&'static str>| -> Result<Vec<Difference>, String> {
                let leniency = Leniency {
                    ignore: ignore.iter().map(|p| p.to_string()).collect(),
                    ties_from,
                    in_order: false,
                };
                let names = [&mut TaskNames::default(), &mut TaskNames::default()];
                agree(&call, left, right, &leniency, names, self.node)
            };
        let explained = |ignore: &[&str], ties_from| {
            compare(ignore, ties_from).is_ok_and(|found| found.is_empty())
        };
        let strict = match compare(&[], None) {
            Ok(found) if found.is_empty() && left.status == 200 => {
                return Verdict::Agree {
                    with_hits: any_hits(&left.body),
                }
            }
            Ok(found) if found.is_empty() => return Verdict::Refused,
            Ok(found) => found,
            Err(reason) => return Found::failed("not comparable", vec![reason]),
        };
        let differ = || Verdict::Differ(Found::new(left, right, &strict));
        // each search of several has its own reasons
        if let Some(parts) = of_each_search(ask, left, right) {
            let mut known = None;
            for (ask, left, right) in &parts {
                match self.explain(ask, left, right) {
                    Verdict::Known(of_part) => known = known.or(Some(of_part)),
                    Verdict::Agree { .. } => {}
                    _ => return differ(),
                }
            }
            return match known {
                Some(known) if explained(&["results"], None) => Verdict::Known(known),
                _ => differ(),
            };
        }
        let compared = Compared {
            index: self.index,
            settings: self.settings,
            ask,
            left: &left.body,
            right: &right.body,
            node: self.node,
            cluster: self.cluster,
        };
        // two effects can meet in one answer: they are tried alone first, then together
        let applying: Vec<&'static Known> = KNOWN
            .iter()
            .filter(|known| (known.applies)(self.settings, ask) && (known.holds)(&compared))
            .collect();
        if let Some(known) = applying
            .iter()
            .find(|known| explained(known.ignoring, known.ties_from))
        {
            return Verdict::Known(known);
        }
        let together: Vec<&str> = applying
            .iter()
            .flat_map(|known| known.ignoring)
            .copied()
            .collect();
        let ties_from = applying.iter().find_map(|known| known.ties_from);
        match applying.first() {
            Some(first) if explained(&together, ties_from) => Verdict::Known(first),
            _ => differ(),
        }
    }
}

/// The searches of a multi-search one by one, with what was answered to each.
fn of_each_search(ask: &Ask, left: &Answer, right: &Answer) -> Option<Vec<(Ask, Answer, Answer)>> {
    let queries = ask.body["queries"].as_array()?;
    let several = queries.len() > 1 && !ask.is_federated();
    let results = |answer: &Answer| answer.body["results"].as_array().cloned();
    let (ours, theirs) = (results(left)?, results(right)?);
    let complete = ours.len() == queries.len() && theirs.len() == queries.len();
    let part = |(query, (left_part, right_part)): (&Value, (Value, Value))| {
        let mut one = ask.clone();
        one.body["queries"] = json!([query]);
        let of = |answer: &Answer, part: Value| Answer {
            body: json!({ "results": [part] }),
            ..answer.clone()
        };
        (one, of(left, left_part), of(right, right_part))
    };
    let parts = queries.iter().zip(ours.into_iter().zip(theirs));
    (several && complete).then(|| parts.map(part).collect())
}

/// A node ranks no further after so long (`searchCutoffMs`), less what is taken for the rest.
const CUTOFF_MS: u64 = 1400;
/// So often a question is asked at most until no node was stopped: nodes are while the machine is held up, by other tests or a disk.
const CUT_SHORT_MAX: usize = 4;

/// Whether nodes may have been stopped before the list was ranked.
fn is_cut_short(answer: &Result<Answer, String>) -> bool {
    let took = |answer: &Value| answer["processingTimeMs"].as_u64() >= Some(CUTOFF_MS);
    answer
        .as_ref()
        .is_ok_and(|answer| answers(&answer.body).chain([&answer.body]).any(took))
}

/// What a cluster may answer 501 to, by its words. Whatever else it refuses so is a failure.
pub const NOT_YET: &[&str] = &[
    "similar documents where the index has a ranking rule that sorts before all words",
    "similar documents past `maxTotalHits`, on nodes of Meilisearch 1.34 or newer",
];

impl Found {
    fn new(left: &Answer, right: &Answer, found: &[Difference]) -> Found {
        let part = |d: &Difference| {
            let named = d
                .path
                .split(['.', ' '])
                .find(|s| !matches!(*s, "results" | "body") && s.parse::<usize>().is_err());
            named.unwrap_or_default().to_string()
        };
        let mut parts: Vec<String> = found.iter().map(part).collect();
        parts.sort();
        parts.dedup();
        let kind = format!("{}/{} {}", left.status, right.status, parts.join(" "));
        Found {
            kind,
            lines: found.iter().map(|d| d.to_string()).collect(),
        }
    }
}

fn any_search(ask: &Ask, test: impl Fn(&Value) -> bool) -> bool {
    ask.searches().into_iter().any(test)
}

/// The answers of a multi-search, or the one of a search.
fn answers(body: &Value) -> impl Iterator<Item = &Value> {
    let several = body["results"].as_array();
    let one = several.is_none().then_some(body);
    several.into_iter().flatten().chain(one)
}

fn any_hits(body: &Value) -> bool {
    let list = |a: &Value, name: &str| a[name].as_array().is_some_and(|hits| !hits.is_empty());
    // documents come as `results` themselves
    list(body, "facetHits")
        || (list(body, "results") && !body["total"].is_null())
        || answers(body).any(|a| list(a, "hits"))
}
