//! Letting a node judge a request that looks wrong.
//!
//! Meilisearch's messages for bad input are many and change between versions, and SDK tests compare them word for word.
//! So where a request does not fit what this program knows, one node gets it as the client wrote it and its refusal is
//! the client's answer. Nothing can be stored by that: writes are judged with an empty body, which no node accepts.

use bytes::Bytes;
use miroir_api::Error;
use miroir_net::client::OutRequest;
use miroir_net::Request;
use miroir_router::{told_of_filter, Index, RoutingTable};
use serde_json::Value;

use crate::core::App;
use crate::scatter::READ_DEADLINE;
use crate::scrub::{node_error, without_hidden};
use crate::search::filter_parameter;

mod names;
mod network;

pub use names::Names;
pub use network::REMOTE_SEARCH;

/// What part of the client's request the judge sees.
pub enum Shown {
    /// The request as it came: for reads only.
    Whole,
    /// Everything but the body: for writes, so that nothing can be stored.
    WithoutBody,
}

impl App {
    /// The refusal of a node, or `None` when the node found nothing wrong with the request.
    pub async fn judge(
        &self,
        table: &RoutingTable,
        request: &Request,
        shown: Shown,
    ) -> Result<Option<Error>, Error> {
        Ok(self.ask_any(table, request, shown).await?.refusal())
    }

    /// What a node says to the request.
    pub async fn ask_any<'t>(
        &self,
        table: &'t RoutingTable,
        request: &Request,
        shown: Shown,
    ) -> Result<Said<'t>, Error> {
        let (body, names) = match shown {
            Shown::Whole if matches!(request.path(), "/multi-search" | "/render-template") => {
                Names::translate(table, &request.body)
            }
            Shown::Whole => (request.body.clone(), Names::default()),
            Shown::WithoutBody => (Bytes::new(), Names::default()),
        };
        let index = index_of(table, request);
        let target = node_target(request, index);
        let content_type: Vec<_> = request
            .headers
            .get_str("content-type")
            .map(|value| ("content-type", value.to_owned()))
            .into_iter()
            .collect();
        let mut reason = "no node is up".to_owned();
        for node in table.nodes.iter().filter(|node| node.is_up()) {
            let out = OutRequest {
                method: static_method(&request.method),
                path: target.clone(),
                bearer: self.node_key.clone(),
                content_type: None,
                body: vec![body.clone()].into(),
                idempotent: true,
                headers: content_type.clone(),
            };
            match self.pools.send(&node.address, &out, READ_DEADLINE).await {
                Ok(reply) if reply.status < 500 => {
                    return Ok(Said {
                        status: reply.status,
                        body: reply.body,
                        names,
                        index,
                        table,
                    })
                }
                Ok(reply) => reason = format!("{} answered {}", node.id, reply.status),
                Err(error) => reason = format!("{}: {error}", node.id),
            }
        }
        Err(Error::system(
            503,
            "miroir_shard_unavailable",
            format!("No node can be asked: {reason}."),
        ))
    }

    /// A refusal in the words for the client's own request: nodes were asked in other ones.
    pub async fn retell(&self, table: &RoutingTable, request: &Request, error: Error) -> Error {
        let nodes_words = error.status < 500 && !error.code.starts_with("miroir_");
        if !nodes_words {
            return error;
        }
        match self.judge(table, request, Shown::Whole).await {
            Ok(Some(refusal)) => refusal,
            // This one has no document that brings it to what is wrong.
            Ok(None) | Err(_) => Error {
                message: told_of_filter(&error.message, &filters(request)),
                ..error
            },
        }
    }

    /// For a request that this program does not understand: the node's refusal, or 501 when the node understands it.
    pub async fn judged_refusal(
        &self,
        table: &RoutingTable,
        request: &Request,
        what: &str,
    ) -> Error {
        match self.judge(table, request, Shown::Whole).await {
            Ok(Some(refusal)) => refusal,
            Ok(None) => match self.network_is_off(request).await {
                Ok(Some(refusal)) | Err(refusal) => refusal,
                Ok(None) => Error::not_implemented(what),
            },
            Err(error) => error,
        }
    }
}

/// All filters of a client's request.
fn filters(request: &Request) -> Value {
    fn collect(body: Value, found: &mut Vec<Value>) {
        match body {
            Value::Array(items) => items.into_iter().for_each(|item| collect(item, found)),
            Value::Object(members) => {
                for (name, value) in members {
                    match name.as_str() {
                        "filter" => found.push(value),
                        _ => collect(value, found),
                    }
                }
            }
            _ => {}
        }
    }
    let parameters = form_urlencoded::parse(request.query().as_bytes());
    let mut found: Vec<Value> = parameters
        .filter(|(name, _)| name == "filter")
        .map(|(_, value)| filter_parameter(value.into_owned()))
        .collect();
    collect(
        serde_json::from_slice(&request.body).unwrap_or_default(),
        &mut found,
    );
    Value::Array(found)
}

/// A node's answer to a client's request.
pub struct Said<'t> {
    pub status: u16,
    pub body: Bytes,
    names: Names,
    /// Which the path names.
    index: Option<&'t Index>,
    table: &'t RoutingTable,
}

impl Said<'_> {
    /// What it refuses, in the client's words.
    pub fn refusal(&self) -> Option<Error> {
        if self.status < 400 {
            return None;
        }
        let said = node_error(self.status, &self.body, &Default::default());
        Some(
            match said.map(|error| named(self.without_hidden(error), self.index)) {
                Some(error) => Error {
                    message: self.names.in_clients_words(error.message),
                    ..error
                },
                None => Error::bad_request(format!(
                    "the request was refused with status {}",
                    self.status
                )),
            },
        )
    }

    /// Without what nodes display to Miroir alone: of the index that the path names, else of the one that the text names.
    fn without_hidden(&self, error: Error) -> Error {
        let told = |index: &&Index| {
            let named = format!("Index `{}`", index.node_uid);
            error.message.contains(&named)
        };
        let mut all = self.table.indexes.values().map(|index| &**index);
        match self.index.or_else(|| all.find(told)) {
            Some(index) => without_hidden(error, &index.settings),
            None => error,
        }
    }
}

/// The index that the path names.
fn index_of<'t>(table: &'t RoutingTable, request: &Request) -> Option<&'t Index> {
    let uid = request.path().strip_prefix("/indexes/")?;
    let uid = uid.split('/').next().unwrap_or_default();
    table.indexes.get(uid).map(|index| &**index)
}

/// The target with the index called as nodes call it.
fn node_target(request: &Request, index: Option<&Index>) -> String {
    let target = String::from_utf8_lossy(&request.target);
    match index.filter(|index| index.uid != index.node_uid) {
        Some(index) => {
            let rest = target.get("/indexes/".len() + index.uid.len()..);
            index.node_path(rest.unwrap_or_default())
        }
        None => target.into_owned(),
    }
}

fn named(error: Error, index: Option<&Index>) -> Error {
    match index {
        Some(index) => Error {
            message: index.in_clients_words(error.message),
            ..error
        },
        None => error,
    }
}

/// The methods of the hot list, as a request to a node wants them.
pub fn static_method(method: &miroir_net::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "POST",
    }
}
