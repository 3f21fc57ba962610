//! Webhooks of the cluster: kept in the store, told of our tasks (never of the nodes' own) once their ends are stored.

use miroir_api::Error;
use miroir_webhooks::{Change, Registered, Webhooks};
use serde_json::Value;
use uuid::Uuid;

use crate::config::ControlConfig;
use crate::plane::Plane;
use crate::store::{Store, StoreError};
use crate::tasks::{view, Task};

/// The webhooks, and the order of their changes.
pub(crate) struct Hooks {
    hooks: Webhooks,
    /// Held from the plan of a change until it is true.
    changing: tokio::sync::Mutex<()>,
}

impl Hooks {
    pub(crate) async fn open(store: &Store, config: &ControlConfig) -> Result<Hooks, StoreError> {
        let registered = store.webhooks().await?;
        let allowed = config.allowed_ip_networks.clone();
        Ok(Hooks {
            hooks: Webhooks::new(config.task_webhook.clone(), registered, allowed),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// Those that clients have made, with their secrets.
    pub(crate) fn registered(&self) -> Registered {
        self.hooks.registered()
    }

    /// Tells of tasks that have ended. Returns at once.
    pub(crate) fn tell<'t>(&self, ended: impl Iterator<Item = &'t Task>) {
        if self.hooks.any() {
            let views: Vec<Value> = ended.map(view).collect();
            self.hooks.notify(&views);
        }
    }
}

impl Plane {
    /// `GET /webhooks`.
    pub(crate) fn list_webhooks(&self) -> Value {
        self.webhooks.hooks.list()
    }

    /// `GET /webhooks/{uuid}`.
    pub(crate) fn show_webhook(&self, uuid: &str) -> Result<Value, Error> {
        self.webhooks.hooks.show(uuid)
    }

    /// `POST /webhooks`.
    pub(crate) async fn create_webhook(&self, body: &Value) -> Result<Value, Error> {
        self.change_webhooks(|hooks| hooks.create(body, Uuid::new_v4()))
            .await
    }

    /// `PATCH /webhooks/{uuid}`.
    pub(crate) async fn update_webhook(&self, uuid: &str, body: &Value) -> Result<Value, Error> {
        self.change_webhooks(|hooks| hooks.update(uuid, body)).await
    }

    /// `DELETE /webhooks/{uuid}`.
    pub(crate) async fn delete_webhook(&self, uuid: &str) -> Result<(), Error> {
        self.change_webhooks(|hooks| hooks.delete(uuid)).await?;
        Ok(())
    }

    /// Makes a change durable, then true.
    async fn change_webhooks(
        &self,
        plan: impl FnOnce(&Webhooks) -> Result<Change, Error>,
    ) -> Result<Value, Error> {
        let _order = self.webhooks.changing.lock().await;
        let change = plan(&self.webhooks.hooks)?;
        self.store.set_webhooks(change.registered.clone()).await?;
        self.webhooks.hooks.adopt(change.registered);
        Ok(change.answer)
    }
}
