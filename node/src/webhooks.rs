//! Webhooks of the node: kept in a file, told of tasks by the scheduler once their ends are stored.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use miroir_api::Error;
use miroir_webhooks::{Change, Networks, Webhooks};
use serde_json::Value;

use crate::files::{read_whole, replace};
use crate::options::Options;

/// The webhooks and where they are kept.
pub struct Hooks {
    path: PathBuf,
    hooks: Arc<Webhooks>,
    /// Held from the plan of a change until it is true.
    changing: Mutex<()>,
}

impl Hooks {
    /// Reads the file, if there is one.
    pub fn open(path: PathBuf, options: &Options) -> Result<Hooks, Error> {
        let registered = read_whole(&path)?.unwrap_or_default();
        let authorization = options.task_webhook_authorization_header.clone();
        let reserved = options.task_webhook_url.clone();
        let reserved = reserved.map(|url| (url, authorization));
        let allowed = Networks(options.experimental_allowed_ip_networks.clone());
        Ok(Hooks {
            path,
            hooks: Arc::new(Webhooks::new(reserved, registered, allowed)),
            changing: Mutex::default(),
        })
    }

    /// To look at them, and to tell them.
    pub fn hooks(&self) -> &Arc<Webhooks> {
        &self.hooks
    }

    /// Makes a change durable, then true; returns what the client is answered.
    pub fn change(
        &self,
        plan: impl FnOnce(&Webhooks) -> Result<Change, Error>,
    ) -> Result<Value, Error> {
        let _order = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let change = plan(&self.hooks)?;
        replace(&self.path, &change.registered)?;
        self.hooks.adopt(change.registered);
        Ok(change.answer)
    }
}
