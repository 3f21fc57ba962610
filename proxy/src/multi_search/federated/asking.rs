//! How nodes are asked, and what they answer.

use bytes::Bytes;
use miroir_api::{Error, PROXY_SEARCH_HEADER};
use miroir_merge::{counts_by_words, spec_of_mixed, ByWords, Levelled, Mixed};
use miroir_net::client::OutRequest;
use miroir_router::{ReadTarget, RoutingTable};
use serde_json::json;

use super::plan::{Planned, Search, Way};
use super::request::{append, Federation};
use crate::scatter::{multi_search_body, Ask, Gathered, Leg, Wanted};
use crate::search::{degraded, merge_error, Frequency, Part, PlannedSearch, SearchBody};

/// What the nodes answered.
#[derive(Default)]
pub(super) struct Answers {
    /// To queries together, and to single ones.
    pub lists: Vec<Bytes>,
    /// To queries by position, for each set of words that may be missing.
    pub levels: Vec<(usize, Vec<Vec<Bytes>>)>,
    /// To hybrid queries, by position: by words, by meaning.
    pub halves: Vec<(usize, Vec<Vec<Bytes>>, Vec<Bytes>)>,
    /// To all queries together, where some were asked apart.
    pub counted: Option<Vec<Bytes>>,
    /// What the answer's header says of shards that nobody answered for.
    pub short: Vec<String>,
}

impl Answers {
    pub fn mixed<'a>(&'a self, search: &'a Search) -> Vec<Mixed<'a>> {
        let halves = self.halves.iter().filter_map(|(position, words, meaning)| {
            let query = search.queries.get(*position)?;
            let Way::Halves(halves) = &query.way else {
                return None;
            };
            Some(Mixed {
                query: *position,
                words: query.answered(words),
                meaning,
                mix: halves.mix(search.version, query.weight),
            })
        });
        halves.collect()
    }

    pub fn levelled<'a>(&'a self, search: &'a Search) -> Vec<Levelled<'a>> {
        let levels = self.levels.iter().map(|(query, searches)| Levelled {
            query: *query,
            words: search.queries[*query].answered(searches),
        });
        levels.collect()
    }
}

impl Planned {
    /// The answers to what nodes were asked by words.
    fn answered<'a>(&'a self, searches: &'a [Vec<Bytes>]) -> ByWords<'a> {
        ByWords {
            searches,
            levels: self.levels().map(Frequency::levels),
        }
    }
}

/// What a request to a node is for.
#[derive(Clone, Copy)]
enum Purpose<'s> {
    /// Hits of the queries that are asked together.
    Hits,
    /// The totals and facets of all queries; of these hybrid ones, by position, the words are good enough.
    Totals { by_words: &'s [usize] },
}

impl Search<'_> {
    /// Asks the nodes. Errors: what they say of the request, 503.
    pub async fn ask(&self, table: &RoutingTable) -> Result<Answers, Error> {
        let mut answers = self.ask_for_hits(table).await?;
        if self.is_asked_together() {
            return Ok(answers);
        }
        let by_words = self.counted_by_words(&answers)?;
        let all: Vec<usize> = (0..self.indexes.len()).collect();
        let purpose = Purpose::Totals {
            by_words: &by_words,
        };
        let legs = match self.is_counted_by_index() {
            true => all
                .iter()
                .map(|index| self.counting_leg(*index, purpose))
                .collect(),
            false => self.joint_legs(&all, purpose),
        };
        let gathered = self.run(table, &legs).await?;
        let mut counted = Vec::new();
        for (index, gathered) in all.iter().zip(gathered) {
            answers.take(self, *index, gathered, &mut counted)?;
        }
        answers.counted = Some(counted);
        Ok(answers)
    }

    async fn ask_for_hits(&self, table: &RoutingTable) -> Result<Answers, Error> {
        let together = |index: &usize| {
            let mut queries = self.queries.iter();
            queries.any(|query| query.index == *index && query.is_together())
        };
        let joint: Vec<usize> = (0..self.indexes.len()).filter(together).collect();
        let mut legs = self.joint_legs(&joint, Purpose::Hits);
        for (position, query) in self.queries.iter().enumerate() {
            let halves = match &query.way {
                Way::Together => continue,
                Way::Alone => None,
                Way::Halves(halves) => Some(&halves.meaning),
            };
            let by_words = query.by_words().into_iter();
            let by_meaning = halves.map(|meaning| (meaning, meaning.body()));
            let searches = by_words.map(|body| (&query.search, body)).chain(by_meaning);
            legs.extend(searches.map(|search| self.single_leg(position, query, search)));
        }
        let mut gathered = self.run(table, &legs).await?.into_iter();
        let mut answers = Answers::default();
        let mut lists = Vec::new();
        for (index, gathered) in joint.iter().zip(gathered.by_ref()) {
            answers.take(self, *index, gathered, &mut lists)?;
        }
        for (position, query) in self.queries.iter().enumerate() {
            let mut next = || -> Result<Vec<Bytes>, Error> {
                let mut bodies = Vec::new();
                answers.take(
                    self,
                    query.index,
                    gathered.next().unwrap_or_default(),
                    &mut bodies,
                )?;
                Ok(bodies)
            };
            if query.is_together() {
                continue;
            }
            let by_words: Result<Vec<_>, Error> = query.by_words().iter().map(|_| next()).collect();
            match &query.way {
                Way::Halves(_) => {
                    let meaning = next()?;
                    answers.halves.push((position, by_words?, meaning));
                }
                _ if query.levels().is_some() => answers.levels.push((position, by_words?)),
                _ => lists.extend(by_words?.into_iter().flatten()),
            }
        }
        answers.lists = lists;
        Ok(answers)
    }

    fn is_asked_together(&self) -> bool {
        self.queries.iter().all(Planned::is_together)
    }

    async fn run(&self, table: &RoutingTable, legs: &[Leg<'_>]) -> Result<Vec<Gathered>, Error> {
        let gathered = self.app.run_legs(table, legs).await;
        gathered.map_err(|(_, error)| error)
    }

    /// The hybrid queries that count what is found by words, as one node decides it.
    fn counted_by_words(&self, answers: &Answers) -> Result<Vec<usize>, Error> {
        let mut by_words = Vec::new();
        for mixed in answers.mixed(self) {
            let query = &self.queries[mixed.query].search;
            let distinct = query.distinct.as_deref();
            let spec = spec_of_mixed(
                distinct.or(self.federation.distinct.as_deref()),
                mixed.mix.primary_key,
            );
            let reach = self.federation.last_hit();
            let counts = counts_by_words(&mixed.words, mixed.meaning, reach, &mixed.mix, &spec);
            if counts.map_err(merge_error)? {
                by_words.push(mixed.query);
            }
        }
        Ok(by_words)
    }

    /// One leg for each of these indexes; what they ask of one node is one request.
    fn joint_legs<'s>(&'s self, indexes: &'s [usize], purpose: Purpose<'s>) -> Vec<Leg<'s>> {
        let seed = self.seed();
        let leg = |index: &usize| Leg {
            wanted: Wanted {
                index: self.indexes[*index],
                only: None,
                seed,
            },
            ask: Ask::Together(Box::new(move |targets| {
                let part = |index: usize| {
                    let target = targets.iter().find(|(leg, _)| indexes[*leg] == index);
                    Some(target.map_or(Part::Nothing, |(_, target)| Part::Of(target)))
                };
                let federation = match purpose {
                    Purpose::Hits if self.is_asked_together() => self.federation.reach(),
                    Purpose::Hits => self.federation.hits_only(),
                    Purpose::Totals { .. } => self.federation.counting(self.counted_hits()),
                };
                self.request(self.body(federation, purpose, part))
            })),
        };
        indexes.iter().map(leg).collect()
    }

    /// What counts in one index.
    fn counting_leg<'s>(&'s self, index: usize, purpose: Purpose<'s>) -> Leg<'s> {
        let build = move |target: &ReadTarget| {
            let federation = self.federation.counting(self.counted_hits());
            let part = |place| (place == index).then_some(Part::Of(target));
            self.request(self.body(federation, purpose, part))
        };
        Leg {
            wanted: Wanted {
                index: self.indexes[index],
                only: None,
                seed: self.seed(),
            },
            ask: Ask::Request(Box::new(build)),
        }
    }

    /// Up to where nodes look for duplicates that do not count.
    fn counted_hits(&self) -> usize {
        let mut queries = self.queries.iter();
        let distinct = self.federation.distinct.is_some()
            || queries.any(|query| query.search.distinct.is_some());
        if distinct {
            self.federation.last_hit()
        } else {
            1
        }
    }

    /// One query, or half of one, by itself.
    fn single_leg<'s>(
        &'s self,
        position: usize,
        query: &'s Planned,
        (search, body): (&'s PlannedSearch, &'s SearchBody),
    ) -> Leg<'s> {
        let build = move |target: &ReadTarget| {
            let (body, distinct) = search.alone_body(body, Part::Of(target));
            let mut federation = self.federation.hits_only();
            if let Some(distinct) = distinct {
                federation.distinct = Some(distinct.to_owned());
            }
            let uid = self.indexes[query.index].node_uid.as_str();
            let body = with_options(body, query.weight, Some(position));
            let mut body = multi_search_body(std::iter::once((uid, body)));
            append(&mut body, "federation", &json!(federation).to_string());
            self.request(body)
        };
        Leg {
            wanted: Wanted {
                index: self.indexes[query.index],
                only: None,
                seed: self.seed(),
            },
            ask: Ask::Request(Box::new(build)),
        }
    }

    fn request(&self, body: Vec<u8>) -> OutRequest {
        let (name, value) = PROXY_SEARCH_HEADER;
        OutRequest {
            headers: vec![(name, value.to_owned())],
            ..self.app.ask("POST", "/multi-search", Some(body), true)
        }
    }

    /// What picks the copies: everything but the page, so that page 2 comes from the same copies as page 1.
    fn seed(&self) -> u64 {
        let purpose = Purpose::Totals { by_words: &[] };
        let body = self.body(self.federation.unpaged(), purpose, |_| {
            Some(Part::Everything)
        });
        xxhash_rust::xxh3::xxh3_64(&body)
    }

    /// The body for a node; `part` says by an index's position what of it is wanted. `None`: its queries are not asked.
    fn body<'r>(
        &self,
        mut federation: Federation,
        purpose: Purpose,
        part: impl Fn(usize) -> Option<Part<'r>>,
    ) -> Vec<u8> {
        let all_together = self.is_asked_together();
        let numbered = self.queries.iter().enumerate();
        let asked =
            numbered.filter_map(|(position, query)| Some((position, query, part(query.index)?)));
        let queries = asked.flat_map(|(position, query, part)| {
            let bodies = match (purpose, &query.way) {
                (Purpose::Hits, Way::Alone | Way::Halves(_)) => Vec::new(),
                (Purpose::Totals { by_words }, Way::Halves(halves))
                    if !by_words.contains(&position) =>
                {
                    vec![halves.counting_body(part)]
                }
                (Purpose::Totals { .. }, _) => query.counting_bodies(part),
                _ => vec![query.search.body().federated_body(part)],
            };
            // Where queries are left out the others keep their position.
            let position = (!all_together).then_some(position);
            let uid = self.indexes[query.index].node_uid.as_str();
            let bodies = bodies.into_iter();
            bodies.map(move |body| (uid, with_options(body, query.weight, position)))
        });
        let mut body = multi_search_body(queries);
        let facets = std::mem::take(&mut federation.facets_by_index);
        let asked = |uid: &str| {
            let place = self.indexes.iter().position(|index| index.uid == uid);
            place.is_none_or(|place| part(place).is_some())
        };
        let facets = facets.into_iter().filter(|(uid, _)| asked(uid));
        federation.facets_by_index = facets
            .map(|(uid, names)| (self.node_uid(uid), names))
            .collect();
        append(&mut body, "federation", &json!(federation).to_string());
        body
    }

    /// What nodes call an index of `facetsByIndex`, which need not be searched.
    fn node_uid(&self, uid: String) -> String {
        let known = self.counted.iter().find(|index| index.uid == uid);
        known.map_or(uid, |index| index.node_uid.clone())
    }
}

impl Answers {
    /// Takes what came back for a leg.
    fn take(
        &mut self,
        search: &Search,
        index: usize,
        gathered: Gathered,
        bodies: &mut Vec<Bytes>,
    ) -> Result<(), Error> {
        if let Some(shards) = degraded(search.app, &gathered, gathered.answers.is_empty())? {
            let note = format!("{}:{shards}", search.indexes[index].uid);
            if !self.short.contains(&note) {
                self.short.push(note);
            }
        }
        for (_, body) in gathered.answers {
            // An answer may be about several indexes, and stands at each of them.
            if !bodies.iter().any(|known| known.as_ptr() == body.as_ptr()) {
                bodies.push(body);
            }
        }
        Ok(())
    }
}

fn with_options(mut query: Vec<u8>, weight: f64, position: Option<usize>) -> Vec<u8> {
    let mut options = json!({ "weight": weight });
    if let Some(position) = position {
        options["queryPosition"] = json!(position);
    }
    append(&mut query, "federationOptions", &options.to_string());
    query
}
