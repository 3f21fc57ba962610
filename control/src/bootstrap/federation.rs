//! Does a node speak Meilisearch's protocol between nodes? It tells what public answers hide: the values of fields that
//! `displayedAttributes` leaves out, by which hits are sorted or told apart (MEILISEARCH C).
//!
//! It is behind the experimental feature `network`, which is switched on; a node without a network object behaves no
//! differently for it. The protocol is internal to Meilisearch and grows with its versions, so what we use of it is
//! tried out instead of concluded from the version. A node that does not have it serves everything else.

use reqwest::Method;
use serde_json::json;

use crate::nodes::{NodeClient, NodeRequest};

/// Tries it, and notes the result in the routing table's node. To be called before the node is said to be up.
pub(crate) async fn learn_federation(client: &NodeClient) {
    let fault = attempt(client).await.err();
    client.node.set_federates(fault.is_none());
    if let Some(why) = fault {
        tracing::info!(
            node = client.id(),
            %why,
            "the node does not speak the protocol between nodes: searches that rank by fields which displayedAttributes \
             hides are refused"
        );
    }
}

async fn attempt(client: &NodeClient) -> Result<(), String> {
    let feature = NodeRequest::new(
        Method::PATCH,
        "/experimental-features",
        Some(json!({ "network": true })),
    );
    expect_success(client, feature).await?;
    // A search of nothing, with every member that ours will have.
    let federation = json!({ "page": 1, "hitsPerPage": 0, "distinct": "id", "facetsByIndex": {} });
    let mut search = NodeRequest::new(
        Method::POST,
        "/multi-search",
        Some(json!({ "queries": [], "federation": federation })),
    );
    search.header = Some(miroir_api::PROXY_SEARCH_HEADER);
    expect_success(client, search).await
}

async fn expect_success(client: &NodeClient, request: NodeRequest) -> Result<(), String> {
    let (method, path) = (request.method.clone(), request.path.clone());
    match client.send(&request).await {
        Ok(reply) if reply.status == 200 => Ok(()),
        Ok(reply) => Err(format!("{method} {path} answered {}", reply.status)),
        Err(error) => Err(format!("{method} {path}: {error}")),
    }
}
