//! Changing and reading settings through the fleet.

use std::sync::Arc;

use miroir_api::Error;
use serde_json::{json, Value};

use super::displayed::{self, Displayed};
use super::embedders;
use super::rewrite::{for_task, rewrite, Asked, Change, Known};
use super::secrets::sent;
use super::{for_client, strip_filterable, typed, Sub, UserFaceting, SUBS};
use crate::catalogue::{Effect, IndexState};
use crate::indexes::{check_uid, failed_task, new_task};
use crate::nodes::broadcast;
use crate::plane::Plane;
use crate::tasks::{summary, Kind, Role};
use crate::types::TaskSummary;
use crate::writes::Hold;

impl Plane {
    /// Changes one setting (`sub`) or all of them; `body` `None` resets. `may_create`: the index, where it is missing.
    pub(crate) async fn change_settings(
        self: &Arc<Self>,
        index: &str,
        sub: Option<&'static Sub>,
        body: Option<Value>,
        may_create: bool,
    ) -> Result<TaskSummary, Error> {
        check_uid(index)?;
        let mut hold = self.hold(index).await;
        let keys = match (&body, sub) {
            (None, None) if hold.planned.is_some() => self.setting_names(&hold.node_uid).await?,
            _ => Vec::new(),
        };
        if body.is_none() && hold.planned.is_none() {
            // A reset does not create the index.
            let reset = self
                .reset_names()
                .filter(|(name, _)| sub.is_none_or(|sub| sub.key == name))
                .collect();
            let details = for_task(Value::Object(reset));
            return self
                .register_failed(
                    &hold,
                    Kind::SettingsUpdate,
                    details,
                    Error::index_not_found(index),
                )
                .await;
        }
        let creates = hold.planned.is_none();
        let before = hold
            .planned
            .as_ref()
            .map(|state| state.faceting.clone())
            .unwrap_or_default();
        let known = Known {
            names: &keys,
            embedders: self.known_embedders(&hold, sub, body.as_ref()).await?,
            displayed: self.known_displayed(&hold.node_uid, hold.planned.as_ref()),
            primary_key: hold
                .planned
                .as_ref()
                .and_then(|state| state.primary_key.as_deref()),
        };
        let resets_all = body.is_none() && sub.is_none();
        let asked = body.map_or(Asked::Reset, Asked::Set);
        let mut change = rewrite(&hold.node_uid, sub, asked, &before, &known)?;
        if let Value::Object(details) = &mut change.details {
            // Nodes do not list what they hide, and reset it.
            let hidden = self.reset_names().filter(|_| resets_all);
            details.extend(hidden.filter(|(name, _)| !known.names.contains(name)));
        }
        if creates && !may_create {
            let error = Error::index_not_found(index);
            return self
                .register_failed(&hold, Kind::SettingsUpdate, change.details, error)
                .await;
        }
        if creates {
            let node_uid = hold.node_uid.clone();
            self.plan_creation(index, &node_uid, IndexState::default(), &mut hold.counted)
                .await?;
        }
        match self
            .send_change(&hold, &change, creates)
            .await
            .map_err(|error| unshifted(of_sub(hold.in_clients_words(error), sub), sub))
        {
            Ok(parts) => {
                let mut task = new_task(&hold, Kind::SettingsUpdate, change.details);
                let body = change.request.body.as_ref();
                task.effect = Effect {
                    creates,
                    faceting: Some(change.faceting),
                    displayed: Some(change.displayed),
                    secrets: body.map_or_else(Vec::new, |body| sent(sub, body)),
                    ..Effect::default()
                };
                Ok(summary(&self.accept(task, parts, Vec::new()).await?))
            }
            Err(error) => {
                if creates {
                    self.undo_creation(&hold.node_uid).await;
                }
                Err(error)
            }
        }
    }

    /// What a reset of all settings resets, and to what.
    fn reset_names(&self) -> impl Iterator<Item = (String, Value)> {
        let version = self.publisher.current().lowest_version();
        let reset = SUBS.iter().filter(move |one| one.is_reset_in(version));
        reset.map(|one| (one.key.to_owned(), Value::Null))
    }

    async fn send_change(
        &self,
        hold: &Hold,
        change: &Change,
        creates: bool,
    ) -> Result<Vec<crate::tasks::Part>, Error> {
        let accepted = broadcast(
            &self.nodes(),
            &format!("Changing the settings of `{}`", hold.index),
            &change.request,
        )
        .await?;
        let mut parts = self.parts(&accepted, Role::Counted);
        if creates && !change.sets_filterable {
            // The request created the index on every node, with default settings.
            parts.extend(self.make_filterable(&hold.node_uid).await?);
        }
        Ok(parts)
    }

    /// The embedders that nodes have, where `body` changes them.
    async fn known_embedders(
        &self,
        hold: &Hold,
        sub: Option<&Sub>,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let changes = match sub {
            Some(sub) => sub.key == "embedders",
            None => body.is_some_and(|body| body.get("embedders").is_some()),
        };
        if !changes || hold.planned.is_none() {
            return Ok(Value::Null);
        }
        match self.node_settings(&hold.node_uid, "/embedders").await {
            // It is being created.
            Err(error) if error.code == "index_not_found" => Ok(Value::Null),
            known => known,
        }
    }

    /// What clients are shown, as planned; as it is, where it was set before that was kept.
    pub(crate) fn known_displayed(
        &self,
        node_uid: &str,
        planned: Option<&IndexState>,
    ) -> Displayed {
        let planned = planned.and_then(|state| state.displayed.clone());
        planned.unwrap_or_else(|| {
            let catalogue = self.catalogue();
            let entry = catalogue.get(node_uid);
            entry
                .map(|entry| Displayed::of(&entry.settings))
                .unwrap_or_default()
        })
    }

    /// The names of all settings that a node knows.
    async fn setting_names(&self, node_uid: &str) -> Result<Vec<String>, Error> {
        let settings = self.node_settings(node_uid, "").await?;
        Ok(settings
            .as_object()
            .map(|map| map.keys().cloned().collect())
            .unwrap_or_default())
    }

    /// What a client reads: the whole, or one setting.
    pub(crate) async fn settings(
        &self,
        index: &str,
        sub: Option<&'static Sub>,
    ) -> Result<Value, Error> {
        check_uid(index)?;
        let (node_uid, faceting): (String, UserFaceting) = {
            let catalogue = self.catalogue();
            let visible = catalogue
                .visible(index)
                .and_then(|entry| Some((entry.node_uid.clone(), entry.visible.as_ref()?)));
            let (node_uid, state) = visible.ok_or_else(|| Error::index_not_found(index))?;
            (node_uid, state.faceting.clone())
        };
        let Some(sub) = sub else {
            return Ok(for_client(
                self.node_settings(&node_uid, "").await?,
                &faceting,
            ));
        };
        let mut value = self
            .node_settings(&node_uid, &format!("/{}", sub.path))
            .await?;
        match sub.key {
            "filterableAttributes" => strip_filterable(&mut value),
            "displayedAttributes" => displayed::for_client(&mut value),
            "embedders" => embedders::for_client(&mut value),
            "faceting" => value["maxValuesPerFacet"] = json!(faceting.user_max()),
            _ => {}
        }
        Ok(value)
    }

    /// Reads the settings of all indexes anew, where nodes show others than before without a task.
    pub(crate) async fn relearn_settings(&self) -> Result<(), Error> {
        let indexes: Vec<String> = {
            let catalogue = self.catalogue();
            let visible = catalogue.iter().filter(|entry| entry.visible.is_some());
            visible.map(|entry| entry.node_uid.clone()).collect()
        };
        for node_uid in indexes {
            // It may be gone by now.
            let Ok(settings) = self.node_settings(&node_uid, "").await else {
                continue;
            };
            let mut catalogue = self.catalogue();
            if let Some(entry) = catalogue.get_mut(&node_uid) {
                if let Some(visible) = &entry.visible {
                    entry.settings = Arc::new(typed(&settings, &visible.faceting));
                }
            }
        }
        self.publish(&self.catalogue());
        Ok(())
    }

    async fn node_settings(&self, node_uid: &str, rest: &str) -> Result<Value, Error> {
        let holders = self.holders(node_uid);
        let mut up = holders.iter().filter(|client| client.node.is_up());
        let client = up.next().ok_or_else(no_node)?;
        let reply = client
            .get(&format!("/indexes/{node_uid}/settings{rest}"))
            .await
            .map_err(|error| {
                tracing::warn!(node = client.id(), %error, "reading settings failed");
                no_node()
            })?;
        match reply.status {
            200 => Ok(reply.json()),
            _ => Err(reply.error()),
        }
    }

    /// Registers a task that has failed before anything was sent.
    pub(crate) async fn register_failed(
        &self,
        hold: &Hold,
        kind: Kind,
        details: Value,
        error: Error,
    ) -> Result<TaskSummary, Error> {
        Ok(summary(
            &self
                .accept(
                    failed_task(hold, kind, details, &error),
                    Vec::new(),
                    Vec::new(),
                )
                .await?,
        ))
    }
}

/// One setting may be sent to nodes with another one, as a part of the whole; the client sent it alone.
fn of_sub(error: Error, sub: Option<&Sub>) -> Error {
    let Some(sub) = sub else {
        return error;
    };
    let message = error.message.replace(&format!(" at `.{}`", sub.key), "");
    let message = message.replace(&format!("`.{}[", sub.key), "`[");
    Error { message, ..error }
}

/// Our rule stands first among the filterable attributes, so a node counts the client's from one.
fn unshifted(mut error: Error, sub: Option<&Sub>) -> Error {
    let before = match sub {
        None => "filterableAttributes[",
        Some(sub) if sub.key == "filterableAttributes" => "`[",
        Some(_) => return error,
    };
    let Some(start) = error.message.find(before).map(|at| at + before.len()) else {
        return error;
    };
    let Some(end) = error.message[start..]
        .find(']')
        .map(|length| start + length)
    else {
        return error;
    };
    if let Some(position) = error.message[start..end]
        .parse::<usize>()
        .ok()
        .and_then(|position| position.checked_sub(1))
    {
        error
            .message
            .replace_range(start..end, &position.to_string());
    }
    error
}

/// No node can be asked.
pub(crate) fn no_node() -> Error {
    Error::system(
        503,
        "miroir_no_node",
        "No node answers. Look at GET /_miroir/topology and at the nodes' logs.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_in_an_error_is_the_clients() {
        let shifted =
            |message: &str, sub: Option<&Sub>| unshifted(Error::bad_request(message), sub).message;
        let filterable = super::super::SUBS
            .iter()
            .find(|sub| sub.key == "filterableAttributes");
        let other = super::super::SUBS
            .iter()
            .find(|sub| sub.key == "sortableAttributes");
        assert_eq!(
            shifted("Invalid value at `.filterableAttributes[2]`: no", None),
            "Invalid value at `.filterableAttributes[1]`: no"
        );
        assert_eq!(
            shifted("Invalid value at `[1].features`: no", filterable),
            "Invalid value at `[0].features`: no"
        );
        assert_eq!(
            shifted("Invalid value at `[1]`: no", other),
            "Invalid value at `[1]`: no"
        );
    }
}
