//! `/chats`: workspaces and their settings, which every node keeps and judges. Nobody asks the nodes for completions: each
//! would search its own part of an index only.

use std::sync::Arc;

use miroir_api::Error;
use reqwest::Method;
use serde_json::{json, Value};

use crate::nodes::{tell_all, NodeClient, NodeRequest, Reply};
use crate::plane::Plane;
use crate::settings::no_node;

const PATH: &str = "/chats";

/// Gives a node that comes up the workspaces of another one: its data may be new. Nodes show keys masked, and nothing
/// here makes use of them, so they are left out. Error: it does not answer.
pub(crate) async fn restore(nodes: &[Arc<NodeClient>], client: &NodeClient) -> Result<(), String> {
    let mut others = nodes.iter().filter(|other| other.id() != client.id());
    let Some(other) = others.find(|other| other.node.is_up()) else {
        return Ok(());
    };
    let (known, own) = (workspaces(other).await, workspaces(client).await);
    for name in known.iter().filter(|name| !own.contains(name)) {
        let path = format!("{PATH}/{name}/settings");
        let Ok(reply) = other.get(&path).await else {
            continue;
        };
        let mut settings = reply.json();
        if let Some(members) = settings.as_object_mut() {
            members.retain(|name, value| name != "apiKey" && !value.is_null());
        }
        let request = NodeRequest::new(Method::PATCH, path, Some(settings));
        let told = client.send(&request).await;
        told.map_err(|error| format!("PATCH {}: {error}", request.path))?;
    }
    Ok(())
}

/// None where the node has no such route, or the feature is off.
async fn workspaces(client: &NodeClient) -> Vec<String> {
    let path = format!("{PATH}?limit={}", u32::MAX);
    let listed = match client.get(&path).await {
        Ok(reply) if reply.status == 200 => reply.json(),
        _ => json!({}),
    };
    let all = listed["results"].as_array().into_iter().flatten();
    all.filter_map(|one| Some(one["uid"].as_str()?.to_owned()))
        .collect()
}

impl Plane {
    /// `GET` of the list or of a part of a workspace; `rest` is what follows `/chats`, with the query.
    pub(crate) async fn read_chats(&self, rest: &str) -> Result<Value, Error> {
        let client = self.first_up().ok_or_else(no_node)?;
        let reply = client.get(&format!("{PATH}{rest}")).await;
        let reply = reply.map_err(|_| no_node())?;
        match reply.status {
            200 => Ok(reply.json()),
            _ => Err(reply.error()),
        }
    }

    /// Changes or deletes a workspace, or its settings, on every node.
    pub(crate) async fn change_chats(
        &self,
        method: Method,
        rest: &str,
        body: Option<Value>,
    ) -> Result<Reply, Error> {
        let request = NodeRequest::new(method, format!("{PATH}{rest}"), body);
        tell_all(&self.nodes(), "Changing a workspace of chats", &request).await
    }
}
