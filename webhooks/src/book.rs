//! Which webhooks there are: those that clients have made, and the one of the configuration, whose uuid is nil.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miroir_api::Error;
use serde_json::{json, Value};
use uuid::Uuid;

use crate::body::{Registered, Webhook};
use crate::courier::{payload, Courier};
use crate::networks::Networks;

const WEBHOOKS_MAX: usize = 20;

/// The webhooks of an instance.
pub struct Webhooks {
    book: Arc<Book>,
    courier: Courier,
}

pub(crate) struct Book {
    reserved: Option<Webhook>,
    own: Mutex<Registered>,
}

/// A change that its caller makes durable before [`Webhooks::adopt`] makes it true.
pub struct Change {
    /// All of the clients' webhooks afterwards.
    pub registered: Registered,
    /// What the client is answered.
    pub answer: Value,
}

impl Webhooks {
    /// `reserved`: the URL of the configuration's webhook and the value of its `Authorization` header.
    pub fn new(
        reserved: Option<(String, Option<String>)>,
        own: Registered,
        allowed: Networks,
    ) -> Self {
        let reserved = reserved.map(|(url, authorization)| Webhook {
            url,
            headers: authorization
                .map(|value| ("Authorization".to_owned(), value))
                .into_iter()
                .collect(),
        });
        let own = Mutex::new(own);
        Webhooks {
            book: Arc::new(Book { reserved, own }),
            courier: Courier::new(allowed),
        }
    }

    /// All of the clients' webhooks, with their secrets.
    pub fn registered(&self) -> Registered {
        self.book.own().clone()
    }

    /// `GET /webhooks`: by uuid.
    pub fn list(&self) -> Value {
        let all = self.book.all();
        let results: Vec<Value> = all.iter().map(|(uuid, hook)| hook.view(*uuid)).collect();
        json!({ "results": results })
    }

    /// `GET /webhooks/{uuid}`. Errors: 400 `invalid_webhook_uuid`, 404 `webhook_not_found`.
    pub fn show(&self, name: &str) -> Result<Value, Error> {
        let uuid = parse(name)?;
        let hook = self.book.find(uuid).ok_or_else(|| not_found(uuid))?;
        Ok(hook.view(uuid))
    }

    /// `POST /webhooks`; `fresh`: the uuid of the new one. Errors: 400 for the body, `invalid_webhooks` past 20.
    pub fn create(&self, body: &Value, fresh: Uuid) -> Result<Change, Error> {
        let mut registered = self.book.own().clone();
        let made = Webhook::create(body, fresh)?;
        if registered.len() >= WEBHOOKS_MAX {
            return Err(Error::invalid(
                400,
                "invalid_webhooks",
                "Defining too many webhooks would crush the server. Please limit the number of webhooks to 20. You may \
                 use a third-party proxy server to dispatch events to more than 20 endpoints.",
            ));
        }
        let answer = made.view(fresh);
        registered.insert(fresh.to_string(), made);
        Ok(Change { registered, answer })
    }

    /// `PATCH /webhooks/{uuid}`. Errors: 400 for the body, 400 `immutable_webhook`, 404 `webhook_not_found`.
    pub fn update(&self, name: &str, body: &Value) -> Result<Change, Error> {
        let (uuid, mut registered, old) = self.editable(name)?;
        let changed = old.changed(body, uuid)?;
        let answer = changed.view(uuid);
        registered.insert(uuid.to_string(), changed);
        Ok(Change { registered, answer })
    }

    /// `DELETE /webhooks/{uuid}`. Errors: 400 `immutable_webhook`, 404 `webhook_not_found`.
    pub fn delete(&self, name: &str) -> Result<Change, Error> {
        let (_, registered, _) = self.editable(name)?;
        let answer = Value::Null;
        Ok(Change { registered, answer })
    }

    /// Makes a stored change true. Between the plan of a change and this, its caller lets no other one in.
    pub fn adopt(&self, registered: Registered) {
        *self.book.own() = registered;
    }

    /// Whether anybody wants to know.
    pub fn any(&self) -> bool {
        self.book.reserved.is_some() || !self.book.own().is_empty()
    }

    /// Tells every webhook that these tasks (their views) have ended. Returns at once.
    pub fn notify(&self, tasks: &[Value]) {
        if tasks.is_empty() || !self.any() {
            return;
        }
        let payload = payload(tasks);
        for (uuid, _) in self.book.all() {
            self.courier.deliver(&self.book, uuid, payload.clone());
        }
    }

    fn editable(&self, name: &str) -> Result<(Uuid, Registered, Webhook), Error> {
        let uuid = parse(name)?;
        if uuid.is_nil() {
            let message = format!(
                "Webhook `{uuid}` is immutable. The webhook defined from the command line cannot be modified using the \
                 API."
            );
            return Err(Error::invalid(400, "immutable_webhook", message));
        }
        let mut registered = self.book.own().clone();
        match registered.remove(&uuid.to_string()) {
            Some(old) => Ok((uuid, registered, old)),
            None => Err(not_found(uuid)),
        }
    }
}

impl Book {
    /// The webhook as it is now.
    pub(crate) fn find(&self, uuid: Uuid) -> Option<Webhook> {
        match uuid.is_nil() {
            true => self.reserved.clone(),
            false => self.own().get(&uuid.to_string()).cloned(),
        }
    }

    fn all(&self) -> Vec<(Uuid, Webhook)> {
        let own = self.own();
        let named = own
            .iter()
            .filter_map(|(uuid, hook)| Some((uuid.parse().ok()?, hook.clone())));
        let reserved = self.reserved.clone().map(|hook| (Uuid::nil(), hook));
        reserved.into_iter().chain(named).collect()
    }

    fn own(&self) -> MutexGuard<'_, Registered> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(name: &str) -> Result<Uuid, Error> {
    name.parse().map_err(|error| {
        Error::invalid(
            400,
            "invalid_webhook_uuid",
            format!("Invalid UUID: {error}"),
        )
    })
}

fn not_found(uuid: Uuid) -> Error {
    let message = format!("Webhook `{uuid}` not found.");
    Error::invalid(404, "webhook_not_found", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_are_enough_and_the_reserved_one_stays() {
        let reserved = Some(("https://ops.example".to_owned(), Some("secret".to_owned())));
        let hooks = Webhooks::new(reserved, Registered::new(), Networks::default());
        let body = json!({"url": "https://a.example"});
        for number in 1..=20 {
            let change = hooks.create(&body, Uuid::from_u128(number)).unwrap();
            hooks.adopt(change.registered);
        }
        let refused = hooks.create(&body, Uuid::from_u128(99)).err().unwrap();
        assert_eq!(refused.code, "invalid_webhooks");
        let list = hooks.list();
        assert_eq!(list["results"].as_array().unwrap().len(), 21);
        assert_eq!(list["results"][0]["isEditable"], false);
        assert_eq!(list["results"][0]["headers"]["Authorization"], "XXX...");
        let nil = Uuid::nil().to_string();
        assert_eq!(hooks.delete(&nil).err().unwrap().code, "immutable_webhook");
        assert_eq!(hooks.show("x").unwrap_err().code, "invalid_webhook_uuid");
        let first = Uuid::from_u128(1).to_string();
        hooks.adopt(hooks.delete(&first).unwrap().registered);
        assert_eq!(hooks.show(&first).unwrap_err().code, "webhook_not_found");
        assert_eq!(hooks.update(&first, &body).err().unwrap().status, 404);
    }
}
