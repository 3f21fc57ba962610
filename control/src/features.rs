//! Experimental features: what clients switched on, kept here and passed on to every node.
//!
//! One is not passed on as it is: `network` stays on at nodes, because the merge reads values that only it shows
//! (MEILISEARCH C); clients see what they said themselves. Which features there are is the nodes' to say.

use miroir_api::Error;
use reqwest::Method;
use serde_json::{Map, Value};

use crate::nodes::{tell_all, NodeClient, NodeRequest};
use crate::plane::Plane;
use crate::settings::no_node;
use crate::store::Store;

const PATH: &str = "/experimental-features";
/// Nodes show this setting only while its feature is on.
const FOREIGN_KEYS: &str = "foreignKeys";
/// Ours on the nodes, the client's own here.
const NETWORK: &str = "network";

/// Tells a node that comes up what clients switched on and off: its data may be new. A feature that it does not know it
/// refuses, which changes nothing. Error: it does not answer.
pub(crate) async fn restore(store: &Store, client: &NodeClient) -> Result<(), String> {
    let recorded = store.features().await.map_err(|error| error.to_string())?;
    for (name, on) in recorded.into_iter().filter(|(name, _)| name != NETWORK) {
        let change = Map::from_iter([(name, Value::Bool(on))]);
        let request = NodeRequest::new(Method::PATCH, PATH, Some(Value::Object(change)));
        let reply = client.send(&request).await;
        reply.map_err(|error| format!("PATCH {PATH}: {error}"))?;
    }
    Ok(())
}

impl Plane {
    /// `GET /experimental-features`.
    pub(crate) async fn features(&self) -> Result<Value, Error> {
        let client = self.first_up().ok_or_else(no_node)?;
        let reply = client.get(PATH).await.map_err(|_| no_node())?;
        match reply.status {
            200 => self.as_clients_set_them(reply.json()).await,
            _ => Err(reply.error()),
        }
    }

    /// `PATCH /experimental-features`: on every node, then here, then answered.
    pub(crate) async fn change_features(&self, body: Value) -> Result<Value, Error> {
        let mut asked = body.clone();
        if let Some(network) = asked.get_mut(NETWORK).filter(|value| value.is_boolean()) {
            *network = Value::Bool(true);
        }
        let request = NodeRequest::new(Method::PATCH, PATH, Some(asked));
        let told = tell_all(&self.nodes(), "Changing experimental features", &request).await;
        // Answers that cores share hold for one table, and these were made with the features as they were.
        self.publish(&self.catalogue());
        let reply = told?;
        let own = body.as_object().into_iter().flatten();
        let own = own.filter_map(|(name, value)| Some((name.clone(), value.as_bool()?)));
        self.store.set_features(own.collect()).await?;
        if body.get(FOREIGN_KEYS).is_some() {
            self.relearn_settings().await?;
        }
        self.as_clients_set_them(reply.json()).await
    }

    /// Whether a client has switched the feature on.
    pub(crate) async fn has_feature(&self, name: &str) -> Result<bool, Error> {
        let own = self.store.features().await?;
        Ok(own.iter().any(|(known, on)| known == name && *on))
    }

    async fn as_clients_set_them(&self, nodes: Value) -> Result<Value, Error> {
        let own = self.store.features().await?;
        let Value::Object(mut features) = nodes else {
            return Ok(Value::Object(Map::new()));
        };
        if let Some(network) = features.get_mut(NETWORK) {
            *network = Value::Bool(false);
        }
        for (name, on) in own {
            if let Some(value) = features.get_mut(&name) {
                *value = Value::Bool(on);
            }
        }
        Ok(Value::Object(features))
    }
}
