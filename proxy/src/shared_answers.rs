//! One answer for several searches that ask the same: while it is being made (coalescing), and for a while after (the result
//! cache, which is off unless it is given memory).
//!
//! An answer is shared as of a point in time: the table it was made with and the index's count of changes, both read before
//! the first node is asked. Whoever comes later gets it only while both still hold. The count goes up before a task is reported
//! as ended, and a table is published before the state of a copy, settings or names change answers; so nobody who
//! knows that a task has succeeded is given an answer from before it ([`miroir_router::Changes`]).
//!
//! Not shared are searches whose answers hold more than the index: where search rules pin documents, or where fields name
//! documents of other indexes. Everything here is one core's, so nothing is locked.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use memchr::memmem;
use miroir_api::Error;
use miroir_auth::Access;
use miroir_metrics::{Counter, Gauge};
use miroir_net::{Body, Request, Response};
use miroir_router::RoutingTable;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::core::{is_json, visible_index, App};
use crate::search::sends_request_uid;

pub static COALESCED: Counter = Counter::new(
    "miroir_searches_coalesced_total",
    "Searches that were given the answer to the same search, which another client was waiting for already.",
);
pub static HITS: Counter = Counter::new(
    "miroir_result_cache_hits_total",
    "Searches that were answered from the result cache.",
);
pub static MISSES: Counter = Counter::new(
    "miroir_result_cache_misses_total",
    "Searches whose answer the result cache did not have, or not of now.",
);
pub static KEPT: Gauge = Gauge::new(
    "miroir_result_cache_bytes",
    "Bytes of answers in the result cache, their searches included.",
);

/// What an entry of the cache costs besides its search and its answer.
const ENTRY_BYTES: usize = 160;
/// No answer may take more than this part of the cache.
const SHARE_MAX: usize = 8;

/// A search, with all that its answer depends on.
pub struct Question {
    /// Index, rights, and what is asked.
    text: Rc<[u8]>,
    as_of: AsOf,
    /// Answers to different clients have names of their own.
    named: bool,
}

/// A point in an index's life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct AsOf {
    epoch: u64,
    changes: u64,
}

impl Question {
    /// `None`: its answer is not shared.
    pub fn of(
        app: &App,
        table: &RoutingTable,
        access: &Access,
        request: &Request,
        uid: &str,
    ) -> Option<Question> {
        let posted = request.method.as_str() == "POST";
        if !app.shared_answers.is_on() || table.search_rules || (posted && !is_json(request)) {
            return None;
        }
        let index = visible_index(table, uid).ok()?;
        if !index.settings.foreign_keys.is_empty() {
            return None;
        }
        let demanded = access.demanded(uid).map(|filter| filter.to_string());
        let demanded = demanded.unwrap_or_default();
        let asked = match posted {
            true => &request.body[..],
            false => request.query().as_bytes(),
        };
        let lengths = [uid.len(), demanded.len()].map(usize::to_le_bytes).concat();
        let parts: [&[u8]; 5] = [
            &[u8::from(posted)],
            &lengths,
            uid.as_bytes(),
            demanded.as_bytes(),
            asked,
        ];
        Some(Question {
            text: parts.concat().into(),
            as_of: AsOf {
                epoch: table.epoch,
                changes: index.changes.count(),
            },
            named: sends_request_uid(table.lowest_version()),
        })
    }
}

type Answered = Result<Response, Error>;
type Waiting = Rc<RefCell<Vec<oneshot::Sender<Answered>>>>;
type Flights = HashMap<(Rc<[u8]>, AsOf), Waiting, ahash::RandomState>;

/// What one core shares.
pub struct SharedAnswers {
    coalescing: bool,
    /// Searches under way, with those who wait for the same.
    flights: RefCell<Flights>,
    cache: RefCell<Cache>,
}

impl SharedAnswers {
    /// `cache_bytes`: memory for answers that are kept; 0: none are.
    pub fn new(coalescing: bool, cache_bytes: usize) -> Self {
        SharedAnswers {
            coalescing,
            flights: RefCell::default(),
            cache: RefCell::new(Cache::new(cache_bytes)),
        }
    }

    fn is_on(&self) -> bool {
        self.coalescing || self.cache.borrow().bytes_max > 0
    }

    /// The answer to a question: a kept one, that of the same question under way, or that which `make` makes.
    pub async fn get<F>(&self, question: Question, make: impl Fn() -> F) -> Answered
    where
        F: Future<Output = Answered>,
    {
        if let Some(body) = self.cache.borrow().find(&question) {
            return Ok(question.rename(Response::json(200, body)));
        }
        if !self.coalescing {
            let answer = make().await;
            self.cache.borrow_mut().keep(&question, &answer);
            return answer;
        }
        loop {
            let joined = self.join(&question);
            let Some(answer) = joined else { break };
            if let Ok(answer) = answer.await {
                COALESCED.add(1);
                return answer.map(|response| question.rename(response));
            }
            // Whoever made it was cut off: one of those who waited makes it now.
        }
        let flight = Flight::begin(self, &question);
        let answer = make().await;
        self.cache.borrow_mut().keep(&question, &answer);
        flight.end(&answer);
        answer
    }

    fn join(&self, question: &Question) -> Option<oneshot::Receiver<Answered>> {
        let flights = self.flights.borrow();
        let waiting = flights.get(&(question.text.clone(), question.as_of))?;
        let (sender, receiver) = oneshot::channel();
        waiting.borrow_mut().push(sender);
        Some(receiver)
    }
}

impl Question {
    /// An answer that was made for somebody else, with a `requestUid` of its own.
    fn rename(&self, mut response: Response) -> Response {
        if let Body::Segments(segments) = &mut response.body {
            if self.named {
                let found = segments.iter_mut().rev().find_map(|segment| {
                    let at = memmem::rfind(segment, REQUEST_UID)? + REQUEST_UID.len();
                    Some((segment, at))
                });
                if let Some((segment, at)) = found {
                    let mut text = segment.to_vec();
                    let uid = Uuid::now_v7().to_string();
                    if let Some(old) = text.get_mut(at..at + uid.len()) {
                        old.copy_from_slice(uid.as_bytes());
                    }
                    *segment = text.into();
                }
            }
        }
        response
    }
}

/// Stands behind the hits, where no text of a document does.
const REQUEST_UID: &[u8] = b",\"requestUid\":\"";

/// A search under way. Dropped before its end, it sends those who wait away without an answer.
struct Flight<'a> {
    shared: &'a SharedAnswers,
    key: (Rc<[u8]>, AsOf),
    waiting: Waiting,
}

impl<'a> Flight<'a> {
    fn begin(shared: &'a SharedAnswers, question: &Question) -> Self {
        let key = (question.text.clone(), question.as_of);
        let waiting = Waiting::default();
        shared
            .flights
            .borrow_mut()
            .insert(key.clone(), waiting.clone());
        Flight {
            shared,
            key,
            waiting,
        }
    }

    fn end(self, answer: &Answered) {
        for waiting in self.waiting.take() {
            let _ = waiting.send(answer.clone());
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.shared.flights.borrow_mut().remove(&self.key);
        self.waiting.take();
    }
}

/// Answers that are kept, at most so many bytes of them. What is not asked for again goes first (second chance: Corbató, 1968).
struct Cache {
    bytes_max: usize,
    bytes: usize,
    kept: HashMap<Rc<[u8]>, Kept, ahash::RandomState>,
    /// Oldest first.
    order: VecDeque<Rc<[u8]>>,
}

struct Kept {
    as_of: AsOf,
    body: Bytes,
    asked_again: std::cell::Cell<bool>,
}

impl Cache {
    fn new(bytes_max: usize) -> Self {
        Cache {
            bytes_max,
            bytes: 0,
            kept: HashMap::default(),
            order: VecDeque::new(),
        }
    }

    fn find(&self, question: &Question) -> Option<Bytes> {
        if self.bytes_max == 0 {
            return None;
        }
        let kept = self.kept.get(&question.text);
        let Some(kept) = kept.filter(|kept| kept.as_of == question.as_of) else {
            MISSES.add(1);
            return None;
        };
        kept.asked_again.set(true);
        HITS.add(1);
        Some(kept.body.clone())
    }

    /// Keeps an answer, if it is whole and not too long.
    fn keep(&mut self, question: &Question, answer: &Answered) {
        let Ok(response) = answer else { return };
        let Body::Segments(segments) = &response.body else {
            return;
        };
        let length: usize = segments.iter().map(Bytes::len).sum();
        let size = size(&question.text, length);
        // A header says that shards were missing.
        let whole = response.status == 200 && response.headers.is_empty();
        if !whole || size > self.bytes_max / SHARE_MAX {
            return;
        }
        // One piece of its own, so that no node's buffer is held for a part of it.
        let kept = Kept {
            as_of: question.as_of,
            body: segments.concat().into(),
            asked_again: false.into(),
        };
        let before = self.bytes;
        self.bytes += size;
        match self.kept.entry(question.text.clone()) {
            Entry::Occupied(mut entry) => {
                self.bytes -= self::size(&question.text, entry.get().body.len());
                entry.insert(kept);
            }
            Entry::Vacant(entry) => {
                entry.insert(kept);
                self.order.push_back(question.text.clone());
            }
        }
        while self.bytes > self.bytes_max {
            self.drop_one();
        }
        KEPT.change(self.bytes as isize - before as isize);
    }

    fn drop_one(&mut self) {
        let Some(oldest) = self.order.pop_front() else {
            self.bytes = 0;
            return;
        };
        let Entry::Occupied(entry) = self.kept.entry(oldest.clone()) else {
            return;
        };
        if entry.get().asked_again.take() {
            self.order.push_back(oldest);
            return;
        }
        self.bytes -= size(&oldest, entry.remove().body.len());
    }
}

fn size(text: &[u8], body_bytes: usize) -> usize {
    // The search is there once, the pointer to it twice.
    text.len() + body_bytes + ENTRY_BYTES
}
