//! Load while things break: writers that remember what they were told, searchers that know what they may find.
//!
//! Each writer has documents of its own and sends one write at a time, so it knows in which order its writes took effect. A write that
//! was acknowledged (202) counts from then on; one that was not (an error, no answer) may have taken effect or not. What a search finds
//! of a document must be what one of the writes left there, none older than the last one whose task had succeeded when the search
//! began. In the end every node is looked at: each document on as many nodes as there are copies, equal on all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{json, Value};

use crate::fleet::Fleet;
use crate::http::{Answer, Target};

const INDEX: &str = "storm";
const WRITERS: u64 = 2;
/// Of each writer.
const DOCUMENTS: u64 = 60;
const KINDS: u64 = 4;
/// With so many acknowledged writes that have not ended, writers slow down.
const OPEN_MAX: usize = 20;
/// How long a fleet may take to be whole again when nothing fails any more.
const CONVERGES: Duration = Duration::from_secs(120);

/// What a run found, in numbers.
#[derive(Debug, Default)]
pub struct Figures {
    pub what: String,
    pub acknowledged: usize,
    /// Answered with an error, or not at all.
    pub refused: usize,
    /// Documents that are in the end what no acknowledged history allows.
    pub lost: Vec<String>,
    pub searches: usize,
    /// Answered with an error: the client knows.
    pub failed_searches: usize,
    /// Answered with 200 and a document that is not what it may be.
    pub wrong: Vec<String>,
    /// Answered with 200 without a document that must be there.
    pub short: Vec<String>,
    /// Copies that differ in the end.
    pub differing: Vec<String>,
    /// The longest time between two searches, and two writes, that succeeded.
    pub longest_search_pause: Duration,
    pub longest_write_pause: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} writes acknowledged, {} refused, {} lost; {} searches, {} failed, {} wrong, {} short; longest pause of searches {} ms, of writes {} ms; {} copies differ in the end",
            self.what,
            self.acknowledged,
            self.refused,
            self.lost.len(),
            self.searches,
            self.failed_searches,
            self.wrong.len(),
            self.short.len(),
            self.longest_search_pause.as_millis(),
            self.longest_write_pause.as_millis(),
            self.differing.len(),
        )
    }
}

impl Figures {
    /// Panics where something was lost, wrong, short, or differs. With `MIROIR_WRITE_DOCS=1` the numbers go into
    /// docs/reliability.md, in place of what it says of the same fault.
    pub fn check(&self) {
        println!("{self}");
        if std::env::var("MIROIR_WRITE_DOCS").is_ok_and(|v| v == "1") {
            self.write().expect("docs/reliability.md can be written");
        }
        let bad = [&self.lost, &self.wrong, &self.short, &self.differing];
        let first: Vec<&String> = bad.iter().flat_map(|list| list.iter().take(3)).collect();
        assert!(first.is_empty(), "{self}\n{first:#?}");
        assert!(
            self.acknowledged > 0 && self.searches > 0,
            "nothing happened: {self}"
        );
    }
}

impl Figures {
    fn write(&self) -> std::io::Result<()> {
        const END: &str = "<!-- end of figures -->";
        // Tests run beside each other.
        static PAGE: Mutex<()> = Mutex::new(());
        let _alone = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reliability.md");
        let text = std::fs::read_to_string(page)?;
        let name = format!("| {} |", self.what);
        let row = format!(
            "{name} {} | {} | {} | {} | {} | {} | {} | {} |\n",
            self.acknowledged,
            self.refused,
            self.lost.len(),
            self.searches,
            self.failed_searches,
            self.wrong.len() + self.short.len(),
            self.longest_search_pause.as_millis(),
            self.longest_write_pause.as_millis(),
        );
        let text = match text
            .split_inclusive('\n')
            .find(|line| line.starts_with(&name))
        {
            Some(before) => text.replacen(before, &row, 1),
            None => text.replacen(END, &format!("{row}{END}"), 1),
        };
        std::fs::write(page, text)
    }
}

/// Writes and searches while `faults` runs; waits until the fleet is whole again, and looks at every node.
///
/// `copies`: of each document in the end. `faults` must leave every node running.
pub fn storm(
    what: &str,
    fleet: &mut Fleet,
    copies: usize,
    faults: impl FnOnce(&mut Fleet, &Ledger),
) -> Figures {
    let proxy = fleet.target("proxy");
    let settings = json!({ "filterableAttributes": ["owner", "kind"] });
    let created = json!({ "uid": INDEX, "primaryKey": "id" });
    proxy.write("POST", "/indexes", &created).expect("an index");
    let path = format!("/indexes/{INDEX}/settings");
    proxy.write("PATCH", &path, &settings).expect("settings");
    let ledger = Ledger::default();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (ledger, proxy) = (&ledger, &proxy);
            scope.spawn(move || ledger.writes(proxy, writer));
            scope.spawn(move || ledger.searches(proxy, writer));
        }
        scope.spawn(|| ledger.tasks(&proxy));
        // A panic must end the load, or the scope would wait for it for ever.
        let ended = End(&ledger.ended);
        ledger.await_load();
        faults(fleet, &ledger);
        // Something must have been written and found after the last fault, too.
        ledger.await_load();
        drop(ended);
    });
    ledger.conclude(what, fleet, &proxy, copies)
}

/// Sets its flag when dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Who wrote what, and was told what.
#[derive(Default)]
pub struct Ledger {
    state: Mutex<State>,
    ended: AtomicBool,
    next: AtomicU64,
}

#[derive(Default)]
struct State {
    /// By document, in the order of its writer.
    documents: BTreeMap<u64, Vec<Entry>>,
    /// Acknowledged, not ended as far as we know.
    open: BTreeSet<u64>,
    /// Task -> when it was seen to have succeeded.
    succeeded: BTreeMap<u64, Instant>,
    figures: Figures,
    last_search: Option<Instant>,
    last_write: Option<Instant>,
}

struct Entry {
    /// The write's number; what a document holds as `v`. None: it deletes the document.
    value: Option<u64>,
    /// None: not acknowledged.
    task: Option<u64>,
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runs(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }

    /// Waits until writes and searches have succeeded from now on.
    pub fn await_load(&self) {
        let counts = || {
            let state = self.state();
            (state.figures.acknowledged, state.figures.searches)
        };
        let (writes, searches) = counts();
        let until = Instant::now() + CONVERGES;
        while counts().0 < writes + 20 || counts().1 < searches + 20 {
            assert!(
                Instant::now() < until,
                "no writes or no searches succeed any more: {}",
                self.state().figures
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn writes(&self, proxy: &Target, writer: u64) {
        let mut random = StdRng::seed_from_u64(writer);
        let documents = format!("/indexes/{INDEX}/documents");
        while self.runs() {
            let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
            let mut ids: Vec<u64> = (0..random.gen_range(1..6))
                .map(|_| writer * 1_000 + random.gen_range(0..DOCUMENTS))
                .collect();
            ids.sort_unstable();
            ids.dedup();
            let kind = random.gen_range(0..KINDS);
            let whole = |id: &u64| json!({ "id": id, "v": number, "owner": writer, "kind": id % KINDS, "text": format!("text of {id}") });
            let (method, path, body, deletes) = match random.gen_range(0..20) {
                0..11 => (
                    "POST",
                    documents.clone(),
                    json!(ids.iter().map(whole).collect::<Vec<_>>()),
                    false,
                ),
                11..16 => (
                    "PUT",
                    documents.clone(),
                    json!(ids.iter().map(whole).collect::<Vec<_>>()),
                    false,
                ),
                16..19 => (
                    "POST",
                    format!("{documents}/delete-batch"),
                    json!(ids),
                    true,
                ),
                _ => {
                    ids = (0..DOCUMENTS)
                        .map(|id| writer * 1_000 + id)
                        .filter(|id| id % KINDS == kind)
                        .collect();
                    let filter = format!("owner = {writer} AND kind = {kind}");
                    (
                        "POST",
                        format!("{documents}/delete"),
                        json!({ "filter": filter }),
                        true,
                    )
                }
            };
            let value = (!deletes).then_some(number);
            let places = self.begin(&ids, value);
            let answer = proxy.send_json(method, &path, &body);
            let refused = answer.as_ref().map_or(true, |answer| answer.status != 202);
            self.told(&places, answer);
            // A client that is refused does not hammer, and none runs far ahead of the nodes.
            let behind = self.state().open.len() >= OPEN_MAX;
            thread::sleep(Duration::from_millis(if refused || behind {
                50
            } else {
                3
            }));
        }
    }

    fn begin(&self, ids: &[u64], value: Option<u64>) -> Vec<(u64, usize)> {
        let mut state = self.state();
        let mut places = Vec::new();
        for id in ids {
            let entries = state.documents.entry(*id).or_default();
            places.push((*id, entries.len()));
            entries.push(Entry { value, task: None });
        }
        places
    }

    fn told(&self, places: &[(u64, usize)], answer: Result<Answer, String>) {
        let task = answer
            .ok()
            .filter(|answer| answer.status == 202)
            .and_then(|answer| answer.body["taskUid"].as_u64());
        let mut state = self.state();
        let Some(task) = task else {
            state.figures.refused += 1;
            return;
        };
        state.figures.acknowledged += 1;
        state.open.insert(task);
        for (id, place) in places {
            if let Some(entry) = state
                .documents
                .get_mut(id)
                .and_then(|entries| entries.get_mut(*place))
            {
                entry.task = Some(task);
            }
        }
        let now = Instant::now();
        let pause = state
            .last_write
            .replace(now)
            .map_or(Duration::ZERO, |last| now - last);
        state.figures.longest_write_pause = state.figures.longest_write_pause.max(pause);
    }

    /// Notes which tasks have succeeded.
    fn tasks(&self, proxy: &Target) {
        while self.runs() {
            self.look_at_tasks(proxy);
            thread::sleep(Duration::from_millis(30));
        }
    }

    fn look_at_tasks(&self, proxy: &Target) {
        let open: Vec<String> = self
            .state()
            .open
            .iter()
            .take(100)
            .map(u64::to_string)
            .collect();
        if open.is_empty() {
            return;
        }
        let path = format!(
            "/tasks?limit=100&statuses=succeeded,failed,canceled&uids={}",
            open.join(",")
        );
        let Ok(answer) = proxy.get(&path) else { return };
        let now = Instant::now();
        let mut state = self.state();
        for task in answer.body["results"].as_array().into_iter().flatten() {
            let Some(uid) = task["uid"].as_u64().filter(|uid| state.open.remove(uid)) else {
                continue;
            };
            match task["status"].as_str() {
                Some("succeeded") => drop(state.succeeded.insert(uid, now)),
                _ => state
                    .figures
                    .lost
                    .push(format!("an acknowledged write failed: {task}")),
            }
        }
    }

    fn searches(&self, proxy: &Target, owner: u64) {
        let path = format!("/indexes/{INDEX}/search");
        let body = json!({ "q": "", "filter": format!("owner = {owner}"), "limit": 1_000 });
        while self.runs() {
            let begun = Instant::now();
            let answer = proxy.send_json("POST", &path, &body);
            let hits = answer.ok().filter(|answer| answer.status == 200);
            let hits = hits.and_then(|answer| answer.body["hits"].as_array().cloned());
            match hits {
                Some(hits) => self.found(owner, begun, &hits),
                None => self.state().figures.failed_searches += 1,
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn found(&self, owner: u64, begun: Instant, hits: &[Value]) {
        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        let mut state = self.state();
        for hit in hits {
            let (id, v) = (
                hit["id"].as_u64().unwrap_or_default(),
                hit["v"].as_u64().unwrap_or_default(),
            );
            if found.insert(id, v).is_some() {
                state
                    .figures
                    .wrong
                    .push(format!("document {id} was found twice"));
            }
        }
        for id in (0..DOCUMENTS).map(|id| owner * 1_000 + id) {
            let value = found.get(&id).copied();
            let allowed = state.allowed(id, |at| at < begun);
            if !allowed.contains(&value) {
                let text = format!("document {id} was found as {value:?}, allowed was {allowed:?}");
                match value {
                    None => state.figures.short.push(text),
                    Some(_) => state.figures.wrong.push(text),
                }
            }
        }
        state.figures.searches += 1;
        let now = Instant::now();
        let pause = state
            .last_search
            .replace(now)
            .map_or(Duration::ZERO, |last| now - last);
        state.figures.longest_search_pause = state.figures.longest_search_pause.max(pause);
    }

    /// Waits until nothing is on its way and the copies are equal, then looks at every node.
    fn conclude(self, what: &str, fleet: &Fleet, proxy: &Target, copies: usize) -> Figures {
        let until = Instant::now() + CONVERGES;
        let mut differing;
        loop {
            self.look_at_tasks(proxy);
            differing = self.differing(fleet, copies);
            let open = self.state().open.len();
            if (differing.is_empty() && open == 0) || Instant::now() > until {
                if open > 0 {
                    differing.push(format!("{open} acknowledged tasks have not ended"));
                }
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let body = json!({ "q": "", "limit": 1_000 });
        let answer = proxy
            .send_json("POST", &format!("/indexes/{INDEX}/search"), &body)
            .expect("a search in the end");
        let hits = answer.body["hits"].as_array().cloned().unwrap_or_default();
        let found: BTreeMap<u64, u64> = hits
            .iter()
            .filter_map(|hit| Some((hit["id"].as_u64()?, hit["v"].as_u64()?)))
            .collect();
        let mut state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for id in state.documents.keys().copied().collect::<Vec<_>>() {
            let (value, allowed) = (found.get(&id).copied(), state.allowed(id, |_| true));
            if !allowed.contains(&value) {
                state.figures.lost.push(format!(
                    "document {id} is {value:?} in the end, allowed is {allowed:?}"
                ));
            }
        }
        Figures {
            what: what.into(),
            differing,
            ..state.figures
        }
    }

    /// Documents that are not on as many nodes as there are copies, or not equal there.
    fn differing(&self, fleet: &Fleet, copies: usize) -> Vec<String> {
        let mut held: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
        let mut differing = Vec::new();
        for (at, node) in fleet
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.runs())
        {
            let path = format!("/indexes/{INDEX}/documents?limit=1000&fields=id,v");
            let answer = node.target("node").get(&path);
            let documents = answer
                .ok()
                .and_then(|answer| answer.body["results"].as_array().cloned());
            let Some(documents) = documents else {
                // A node that holds nothing need not have the index.
                continue;
            };
            for document in documents {
                let id = document["id"].as_u64().unwrap_or_default();
                held.entry(id)
                    .or_default()
                    .push((at, document["v"].as_u64().unwrap_or_default()));
            }
        }
        for (id, holders) in held {
            if holders.len() != copies || holders.iter().any(|(_, v)| *v != holders[0].1) {
                differing.push(format!("document {id} on (node, v): {holders:?}"));
            }
        }
        differing
    }
}

impl State {
    /// What a document may be when the tasks are done of which `done` says so; None: it may not be there.
    fn allowed(&self, id: u64, done: impl Fn(Instant) -> bool) -> BTreeSet<Option<u64>> {
        let Some(entries) = self.documents.get(&id) else {
            return BTreeSet::from([None]);
        };
        let is_done = |entry: &Entry| {
            let ended = entry.task.and_then(|task| self.succeeded.get(&task));
            ended.is_some_and(|at| done(*at))
        };
        let floor = entries.iter().rposition(is_done);
        let mut allowed: BTreeSet<Option<u64>> = entries[floor.unwrap_or(0)..]
            .iter()
            .map(|entry| entry.value)
            .collect();
        // Nobody knows when such a write takes effect.
        allowed.extend(
            entries
                .iter()
                .filter(|entry| entry.task.is_none())
                .map(|entry| entry.value),
        );
        if floor.is_none() {
            allowed.insert(None);
        }
        allowed
    }
}
