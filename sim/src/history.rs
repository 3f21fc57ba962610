//! What every document may be, given what clients were told.
//!
//! Writes of one document are ordered by when the first serving copy accepted them. An acknowledged write took effect
//! there. One that was not acknowledged may have taken effect at any time since it was sent, on some copies before a later
//! write and on others after it, or never: a client that got no answer, or 503, knows no more.

use std::collections::BTreeSet;

use crate::document::{Change, Id, Value, Write};
use crate::runtime::Time;

/// More unacknowledged writes of one document than this are not told apart: it is not checked until they are settled.
const MAYBE_MAX: usize = 7;

#[derive(Default)]
pub struct History {
    writes: Vec<Record>,
    documents: Vec<Vec<Entry>>,
}

struct Record {
    write: Write,
    acknowledged: bool,
    /// When the client was told that it has been applied.
    done: Option<Time>,
    /// The client knows as much as it ever will.
    told: bool,
    /// Requests that may still arrive somewhere.
    in_flight: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    Write(usize),
    /// At this time every serving copy had this value and nothing else was on its way.
    Settled(Value, Time),
    /// The last complete copy was lost: the document may be anything until it is settled.
    Lost,
    /// A node went back to before unacknowledged writes that had settled. Nobody was told their numbers, so nobody can
    /// notice: the document may be again what it was before.
    Doubted,
}

/// What a document may be after each of its entries, unacknowledged writes included; None: anything.
type Possible = Option<BTreeSet<Value>>;

impl History {
    pub fn new(documents: usize) -> History {
        History {
            writes: Vec::new(),
            documents: vec![Vec::new(); documents],
        }
    }

    pub fn begin(&mut self, write: Write) -> usize {
        self.writes.push(Record {
            write,
            acknowledged: false,
            done: None,
            told: false,
            in_flight: 0,
        });
        self.writes.len() - 1
    }

    /// A serving copy accepted the write of this document.
    pub fn accepted(&mut self, number: usize, id: Id) {
        let entries = &mut self.documents[usize::from(id)];
        if self.writes[number].write.change_of(id).is_some()
            && !entries.contains(&Entry::Write(number))
        {
            entries.push(Entry::Write(number));
        }
    }

    pub fn acknowledge(&mut self, number: usize) {
        for id in 0..self.documents.len() {
            self.accepted(number, id as Id);
        }
        self.writes[number].acknowledged = true;
    }

    /// The write has ended for its client, with an answer or without.
    pub fn told(&mut self, number: usize) {
        self.writes[number].told = true;
    }

    /// Whether a write of the document is being made.
    pub fn is_open(&self, id: Id) -> bool {
        let mut writes = self.writes.iter();
        writes.any(|record| !record.told && record.write.change_of(id).is_some())
    }

    pub fn done(&mut self, number: usize, now: Time) {
        self.writes[number].done = Some(now);
    }

    pub fn sent(&mut self, number: usize) {
        self.writes[number].in_flight += 1;
    }

    /// A request arrived, or it never will.
    pub fn landed(&mut self, number: usize) {
        self.writes[number].in_flight -= 1;
    }

    pub fn acknowledged(&self) -> usize {
        self.writes
            .iter()
            .filter(|record| record.acknowledged)
            .count()
    }

    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// Whether unacknowledged writes of the document are undecided, though none is on its way.
    pub fn may_settle(&self, id: Id) -> bool {
        let mut since = self.since_settled(id).iter().peekable();
        let record = |entry: &Entry| match entry {
            Entry::Write(number) => Some(&self.writes[*number]),
            Entry::Settled(..) | Entry::Lost | Entry::Doubted => None,
        };
        let mut undecided = false;
        let still = since.all(|entry| {
            undecided |= matches!(entry, Entry::Lost | Entry::Doubted);
            let Some(record) = record(entry) else {
                return true;
            };
            undecided |= !record.acknowledged;
            record.in_flight == 0
        });
        still && undecided
    }

    fn since_settled(&self, id: Id) -> &[Entry] {
        let entries = &self.documents[usize::from(id)];
        let last = entries
            .iter()
            .rposition(|entry| matches!(entry, Entry::Settled(..)));
        &entries[last.map_or(0, |last| last + 1)..]
    }

    /// Every serving copy has this value and nothing is on its way.
    pub fn settle(&mut self, id: Id, value: Value, now: Time) {
        self.documents[usize::from(id)].push(Entry::Settled(value, now));
    }

    /// The last complete copy of the document is gone.
    pub fn lose(&mut self, id: Id) {
        self.documents[usize::from(id)].push(Entry::Lost);
    }

    /// A node went back in time, and has another value of the document than before.
    pub fn doubt(&mut self, id: Id) {
        let acknowledged = |entry: &Entry| match entry {
            Entry::Write(number) => self.writes[*number].acknowledged,
            _ => false,
        };
        // A later write that was acknowledged was counted, and its loss is noticed.
        if !self.since_settled(id).iter().any(acknowledged) {
            self.documents[usize::from(id)].push(Entry::Doubted);
        }
    }

    /// What a search may find that began at `begun` and ends now; None: anything.
    pub fn possible_since(&self, id: Id, begun: Time) -> Possible {
        let entries = &self.documents[usize::from(id)];
        let seen = |entry: &Entry| match entry {
            Entry::Write(number) => {
                let record = &self.writes[*number];
                record.acknowledged && record.done.is_some_and(|done| done < begun)
            }
            Entry::Settled(_, at) => *at < begun,
            Entry::Lost | Entry::Doubted => false,
        };
        let floor = entries
            .iter()
            .rposition(seen)
            .map_or(0, |position| position + 1);
        let mut union = BTreeSet::new();
        for possible in &self.possible(id)[floor..] {
            union.extend(possible.as_ref()?.iter().copied());
        }
        Some(union)
    }

    /// What the document may be in the end.
    pub fn possible_now(&self, id: Id) -> Possible {
        self.possible(id).pop().flatten()
    }

    /// Before the first entry, and after each.
    fn possible(&self, id: Id) -> Vec<Possible> {
        let entries = &self.documents[usize::from(id)];
        let mut maybe: Vec<Change> = Vec::new();
        let mut lost = false;
        let mut before_settled = None;
        // Writes that are in `maybe`.
        let mut known = BTreeSet::new();
        // A value with the undecided writes that have taken effect in it.
        let mut states: BTreeSet<(Value, u8)> = BTreeSet::from([(None, 0)]);
        let values =
            |states: &BTreeSet<(Value, u8)>| Some(states.iter().map(|(value, _)| *value).collect());
        let mut all = vec![values(&states)];
        for (position, entry) in entries.iter().enumerate() {
            if let Entry::Write(number) = entry {
                // Sent earlier, and first accepted later: another copy may have it in between.
                let overdue = entries[position + 1..]
                    .iter()
                    .filter_map(|later| match later {
                        Entry::Write(early) if early < number => Some(&self.writes[*early]),
                        _ => None,
                    });
                let unanswered = overdue.filter(|record| !record.acknowledged);
                maybe.extend(unanswered.filter_map(|record| record.write.change_of(id)));
                if maybe.len() <= MAYBE_MAX {
                    close(&mut states, &maybe);
                }
            }
            match entry {
                Entry::Lost => lost = true,
                Entry::Settled(value, _) => {
                    let settled = BTreeSet::from([(*value, 0)]);
                    let states = std::mem::replace(&mut states, settled);
                    known.clear();
                    before_settled = Some((states, std::mem::take(&mut maybe), lost));
                    lost = false;
                }
                Entry::Doubted => {
                    if let Some((more, undecided, was_lost)) = before_settled.take() {
                        let earlier = undecided.len();
                        maybe.splice(0..0, undecided);
                        lost |= was_lost;
                        if maybe.len() <= MAYBE_MAX {
                            let later = std::mem::take(&mut states).into_iter();
                            states.extend(later.map(|(value, taken)| (value, taken << earlier)));
                        }
                        states.extend(more);
                    }
                    if maybe.len() <= MAYBE_MAX {
                        close(&mut states, &maybe);
                    }
                }
                Entry::Write(number) => {
                    let record = &self.writes[*number];
                    let Some(change) = record.write.change_of(id) else {
                        continue;
                    };
                    if record.acknowledged {
                        states = states
                            .into_iter()
                            .map(|(value, taken)| (change.apply(value), taken))
                            .collect();
                    } else if known.insert(*number) {
                        maybe.push(change);
                    }
                    if maybe.len() <= MAYBE_MAX {
                        close(&mut states, &maybe);
                    }
                }
            }
            all.push(if maybe.len() <= MAYBE_MAX && !lost {
                values(&states)
            } else {
                None
            });
        }
        all
    }

    /// The entries of a document, for people.
    pub fn describe(&self, id: Id) -> String {
        let entry = |entry: &Entry| match entry {
            Entry::Settled(value, at) => format!("  settled at {at} as {value:?}"),
            Entry::Lost => "  its last complete copy was lost".to_owned(),
            Entry::Doubted => "  a copy went back to before it settled".to_owned(),
            Entry::Write(number) => {
                let record = &self.writes[*number];
                let fate = match (record.acknowledged, record.done) {
                    (false, _) => "not acknowledged".to_owned(),
                    (true, None) => "acknowledged".to_owned(),
                    (true, Some(done)) => format!("applied at {done}"),
                };
                format!("  write {number} {fate}: {:?}", record.write.change_of(id))
            }
        };
        let entries = self.documents[usize::from(id)].iter().map(entry);
        entries.collect::<Vec<_>>().join("\n")
    }
}

/// Lets undecided writes take effect in every order, each once at most.
fn close(states: &mut BTreeSet<(Value, u8)>, maybe: &[Change]) {
    let mut open: Vec<(Value, u8)> = states.iter().copied().collect();
    while let Some((value, taken)) = open.pop() {
        for (bit, change) in maybe.iter().enumerate() {
            if taken & (1 << bit) == 0 {
                let next = (change.apply(value), taken | 1 << bit);
                if states.insert(next) {
                    open.push(next);
                }
            }
        }
    }
}
