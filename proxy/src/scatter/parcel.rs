//! What is sent to one node in one round, and what its reply says of each leg in it.

use bytes::Bytes;
use miroir_api::Error;
use miroir_merge::split_results;
use miroir_net::client::{ClientError, ErrorKind, OutRequest, Reply};
use miroir_router::{NodeIdx, ReadTarget};
use smallvec::{smallvec, SmallVec};

use super::{Ask, Leg};
use crate::core::App;
use crate::scrub::node_error;
use crate::shed::{too_many_searches, BUSY, IN_PROGRESS};

/// One request to one node.
pub(super) struct Parcel {
    pub node: NodeIdx,
    pub request: OutRequest,
    /// Places in the round's list of what it asks for, in the order of the queries.
    pub places: SmallVec<[usize; 4]>,
    /// Whether it is a multi-search, whose answer is a list.
    shared: bool,
}

/// What a reply says of one leg.
#[derive(Debug)]
pub(super) enum Outcome {
    Answer(Bytes),
    /// The request itself is wrong: every node says the same.
    Refused(Error),
    /// This copy cannot answer; another may.
    Failed {
        reason: String,
        /// What it said, where that may be told to the client.
        fault: Option<Error>,
        /// It does not have what it must have, or not our key: it is not the node that we know.
        lost: bool,
    },
    /// Not answered because of another leg in the same parcel: to be asked again.
    Held,
}

/// Packs a round: `asked` are legs (by their positions) with their targets; `alone`: those that get one answer only.
pub(super) fn parcels(
    app: &App,
    legs: &[Leg],
    asked: &[(usize, ReadTarget)],
    alone: &dyn Fn(usize) -> bool,
) -> Vec<Parcel> {
    let mut parcels: Vec<Parcel> = Vec::with_capacity(asked.len());
    let (mut shared, mut together) = (Vec::new(), Vec::new());
    for (place, (leg, target)) in asked.iter().enumerate() {
        match &legs[*leg].ask {
            Ask::Request(build) => parcels.push(Parcel {
                node: target.node,
                request: build(target),
                places: smallvec![place],
                shared: false,
            }),
            Ask::Search(_) => add(&mut shared, target.node, place),
            Ask::Together(_) => add(&mut together, target.node, place),
        }
    }
    parcels.extend(
        together
            .into_iter()
            .map(|(node, places)| joint_parcel(legs, asked, node, places)),
    );
    parcels.extend(
        shared
            .into_iter()
            .map(|(node, places)| search_parcel(app, legs, asked, alone, node, places)),
    );
    parcels
}

/// The places of each node.
type ByNode = Vec<(NodeIdx, SmallVec<[usize; 4]>)>;

fn add(by_node: &mut ByNode, node: NodeIdx, place: usize) {
    match by_node.iter_mut().find(|(known, _)| *known == node) {
        Some((_, places)) => places.push(place),
        None => by_node.push((node, smallvec![place])),
    }
}

/// One request for all legs, which share its answer.
fn joint_parcel(
    legs: &[Leg],
    asked: &[(usize, ReadTarget)],
    node: NodeIdx,
    places: SmallVec<[usize; 4]>,
) -> Parcel {
    let targets: SmallVec<[(usize, &ReadTarget); 4]> = places
        .iter()
        .map(|&place| (asked[place].0, &asked[place].1))
        .collect();
    let request = match &legs[targets[0].0].ask {
        Ask::Together(build) => build(&targets),
        Ask::Search(_) | Ask::Request(_) => OutRequest::get("/"),
    };
    Parcel {
        node,
        request,
        places,
        shared: false,
    }
}

/// A search that is alone goes the cheaper way: its answer needs no taking apart.
fn search_parcel(
    app: &App,
    legs: &[Leg],
    asked: &[(usize, ReadTarget)],
    alone: &dyn Fn(usize) -> bool,
    node: NodeIdx,
    places: SmallVec<[usize; 4]>,
) -> Parcel {
    let query = |place: usize| {
        let (position, target) = &asked[place];
        let leg = &legs[*position];
        let body = match &leg.ask {
            Ask::Search(build) => build(target, alone(*position)),
            Ask::Request(_) | Ask::Together(_) => Vec::new(),
        };
        (leg.wanted.index, body)
    };
    let request = if let [place] = places[..] {
        let (index, body) = query(place);
        app.ask("POST", &index.node_path("/search"), Some(body), true)
    } else {
        let queries = places.iter().map(|&place| {
            let (index, body) = query(place);
            (index.node_uid.as_str(), body)
        });
        app.ask(
            "POST",
            "/multi-search",
            Some(multi_search_body(queries)),
            true,
        )
    };
    Parcel {
        node,
        request,
        shared: places.len() > 1,
        places,
    }
}

/// `{"queries":[{"indexUid":"a", ...}, ...]}`; each body is a JSON object. An index's name needs no escapes.
pub fn multi_search_body<'a>(queries: impl Iterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let mut body = b"{\"queries\":[".to_vec();
    for (position, (uid, query)) in queries.enumerate() {
        if position > 0 {
            body.push(b',');
        }
        body.extend_from_slice(b"{\"indexUid\":\"");
        body.extend_from_slice(uid.as_bytes());
        body.push(b'"');
        let members = query.get(1..).unwrap_or(b"}");
        if members != b"}" {
            body.push(b',');
        }
        body.extend_from_slice(members);
    }
    body.extend_from_slice(b"]}");
    body
}

impl Parcel {
    /// One outcome for each place in the parcel.
    pub fn judge(
        &self,
        legs: &[Leg],
        asked: &[(usize, ReadTarget)],
        reply: Result<Reply, ClientError>,
    ) -> Vec<(usize, Outcome)> {
        let reply = match reply {
            Ok(reply) if reply.status < 300 => return self.answers(reply.body),
            Ok(reply) => reply,
            Err(error) if error.kind == ErrorKind::Busy => return self.busy(error.to_string()),
            Err(error) => return self.all_failed(error.to_string()),
        };
        let leg = |position: usize| &legs[asked[self.places[position]].0];
        // Which of the indexes it is about shows in the text only, and the text is read by that index's names and settings.
        let read = |position| {
            let index = leg(position).wanted.index;
            let mut error = node_error(reply.status, &reply.body, &index.settings)?;
            error.message = index.in_clients_words(error.message);
            Some(error)
        };
        let Some(mut error) = read(0) else {
            let reason = format!("it answered {} without an error object", reply.status);
            return self.all_failed(reason);
        };
        let mut named = None;
        if self.shared {
            named = query_named(&error.message).filter(|named| *named < self.places.len());
            error = alone(named.and_then(read).unwrap_or(error));
        }
        // A node that refuses our key or does not know an index that it must hold is a node in trouble, not a bad request.
        let own_fault = matches!(
            error.code.as_ref(),
            "index_not_found" | "invalid_api_key" | "missing_authorization_header"
        );
        self.each(|position| {
            if named.is_some_and(|named| named != position) {
                Outcome::Held
            } else if reply.status >= 500 || own_fault {
                Outcome::Failed {
                    reason: format!("it answered {} {}", reply.status, error.code),
                    fault: Some(error.clone()).filter(|_| !own_fault),
                    lost: own_fault,
                }
            } else {
                Outcome::Refused(error.clone())
            }
        })
    }

    fn answers(&self, body: Bytes) -> Vec<(usize, Outcome)> {
        if !self.shared {
            return self.each(|_| Outcome::Answer(body.clone()));
        }
        match split_results(&body) {
            Ok(results) if results.len() == self.places.len() => {
                self.each(|position| Outcome::Answer(results[position].clone()))
            }
            Ok(results) => self.all_failed(format!(
                "it gave {} results for {} searches",
                results.len(),
                self.places.len()
            )),
            Err(error) => self.all_failed(error.to_string()),
        }
    }

    fn all_failed(&self, reason: String) -> Vec<(usize, Outcome)> {
        self.each(|_| Outcome::Failed {
            reason: reason.clone(),
            fault: None,
            lost: false,
        })
    }

    /// Its node has more to do than it can: another copy may answer, or the client may come again.
    fn busy(&self, reason: String) -> Vec<(usize, Outcome)> {
        BUSY.add(1);
        self.each(|_| Outcome::Failed {
            reason: reason.clone(),
            fault: Some(too_many_searches(IN_PROGRESS.level())),
            lost: false,
        })
    }

    fn each(&self, outcome: impl Fn(usize) -> Outcome) -> Vec<(usize, Outcome)> {
        self.places
            .iter()
            .enumerate()
            .map(|(position, &place)| (place, outcome(position)))
            .collect()
    }
}

/// Which query of a multi-search a refusal is about: "Inside `.queries[3]`: ..." or "... at `.queries[3].limit`: ...".
pub fn query_named(message: &str) -> Option<usize> {
    let rest = message.split_once("`.queries[")?.1;
    rest.split_once(']')?.0.parse().ok()
}

/// The refusal of a query of a multi-search in the words for the same query as a search of its own.
pub fn alone(mut error: Error) -> Error {
    let Some(query) = query_named(&error.message) else {
        return error;
    };
    let inside = format!("Inside `.queries[{query}]`: ");
    error.message = match error.message.strip_prefix(&inside) {
        Some(rest) => rest.to_owned(),
        None => error
            .message
            .replacen(&format!(" inside `.queries[{query}]`"), "", 1)
            .replacen(&format!("`.queries[{query}]."), "`.", 1),
    };
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use miroir_api::ErrorType;

    #[test]
    fn queries_travel_together() {
        let queries = [("a", b"{}".to_vec()), ("b", b"{\"q\":\"x\"}".to_vec())];
        assert_eq!(
            multi_search_body(queries.into_iter()),
            br#"{"queries":[{"indexUid":"a"},{"indexUid":"b","q":"x"}]}"#
        );
    }

    #[test]
    fn a_refusal_loses_its_place() {
        for (text, place, bare) in [
            (
                "Inside `.queries[3]`: Attribute `.queries[1].x` is not filterable.",
                Some(3),
                "Attribute `.queries[1].x` is not filterable.",
            ),
            (
                "Invalid value type at `.queries[12].facets`: expected an array",
                Some(12),
                "Invalid value type at `.facets`: expected an array",
            ),
            (
                "Unknown field `x` inside `.queries[0]`: expected one of `q`",
                Some(0),
                "Unknown field `x`: expected one of `q`",
            ),
            ("Index `x` not found.", None, "Index `x` not found."),
        ] {
            assert_eq!(query_named(text), place);
            let error = Error {
                status: 400,
                code: "x".into(),
                kind: ErrorType::InvalidRequest,
                message: text.into(),
            };
            assert_eq!(alone(error).message, bare);
        }
    }

    fn parcel(places: &[usize]) -> Parcel {
        Parcel {
            node: NodeIdx(0),
            request: OutRequest::get("/"),
            places: SmallVec::from_slice(places),
            shared: places.len() > 1,
        }
    }

    #[test]
    fn a_wrong_number_of_results_is_a_failure_of_all() {
        let results =
            |text: &'static str| parcel(&[4, 2]).answers(Bytes::from_static(text.as_bytes()));
        assert!(matches!(
            &results(r#"{"results":[{"a":1},{"a":2}]}"#)[..],
            [(4, Outcome::Answer(first)), (2, Outcome::Answer(second))]
                if first == r#"{"a":1}"# && second == r#"{"a":2}"#
        ));
        for text in [r#"{"results":[{"a":1}]}"#, "{}", "x"] {
            assert!(results(text)
                .iter()
                .all(|(_, outcome)| matches!(outcome, Outcome::Failed { .. })));
        }
    }
}
