//! `/network`: the client's network, of which this cluster is one instance. Every node keeps it, judges changes of it, and
//! makes nothing of it: no search is passed on that asks for remotes. The fleet is never in it.

use std::sync::Arc;

use miroir_api::Error;
use reqwest::Method;
use serde_json::Value;

use crate::nodes::{tell_all, NodeClient, NodeRequest};
use crate::plane::Plane;
use crate::settings::no_node;

const PATH: &str = "/network";

/// Gives a node that comes up the network of another one: its data may be new. Error: it does not answer.
pub(crate) async fn restore(nodes: &[Arc<NodeClient>], client: &NodeClient) -> Result<(), String> {
    let mut others = nodes.iter().filter(|other| other.id() != client.id());
    let Some(other) = others.find(|other| other.node.is_up()) else {
        return Ok(());
    };
    let known = match other.get(PATH).await {
        Ok(reply) if reply.status == 200 => reply.json(),
        // It has no such route.
        _ => return Ok(()),
    };
    let mut change = known.clone();
    if let Some(members) = change.as_object_mut() {
        members
            .retain(|name, value| matches!(name.as_str(), "self" | "remotes") && !is_empty(value));
        if members.is_empty() {
            return Ok(());
        }
    }
    let request = NodeRequest::new(Method::PATCH, PATH, Some(change));
    let reply = client.send(&request).await;
    reply
        .map(drop)
        .map_err(|error| format!("PATCH {PATH}: {error}"))
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(|members| members.is_empty())
}

impl Plane {
    /// `GET /network`.
    pub(crate) async fn network(&self) -> Result<Value, Error> {
        let client = self.first_up().ok_or_else(no_node)?;
        let reply = client.get(PATH).await.map_err(|_| no_node())?;
        match reply.status {
            200 => Ok(reply.json()),
            _ => Err(reply.error()),
        }
    }

    /// `PATCH /network`.
    pub(crate) async fn change_network(&self, body: Value) -> Result<Value, Error> {
        let request = NodeRequest::new(Method::PATCH, PATH, Some(body));
        let reply = tell_all(&self.nodes(), "Changing the network", &request).await?;
        Ok(reply.json())
    }
}
