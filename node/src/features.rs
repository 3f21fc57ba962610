//! Experimental features: switches that clients set at run time and that outlive a restart.
//!
//! Names, order and texts are those of `crates/meilisearch/src/routes/features.rs` and
//! `crates/index-scheduler/src/features.rs` at 1.15.1. A switch changes what is allowed, never what exists: a route
//! that an embedded node does not have stays 501 with its feature on.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use deserr::Deserr;
use miroir_api::Error;
use serde::{Deserialize, Serialize};

use crate::deserialize::JsonRejection;
use crate::error::coded;
use crate::files::{read_whole, replace};

macro_rules! flags {
    ($($field:ident),* $(,)?) => {
        /// Which features are on.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct Flags {
            $(pub $field: bool),*
        }

        /// The body of a PATCH: what is absent or `null` stays as it is.
        #[derive(Debug, Default, Deserr)]
        #[deserr(error = JsonRejection, rename_all = camelCase, deny_unknown_fields)]
        pub struct Change {
            $(#[deserr(default)] pub $field: Option<bool>),*
        }

        impl Flags {
            fn with(self, change: &Change) -> Flags {
                Flags { $($field: change.$field.unwrap_or(self.$field)),* }
            }
        }
    };
}

flags! {
    metrics,
    logs_route,
    edit_documents_by_function,
    contains_filter,
    network,
    get_task_documents_route,
    composite_embedders,
}

impl Flags {
    /// Whether the feature is on that refusals call by this name.
    pub fn is_on(self, name: &str) -> bool {
        match name {
            "metrics" => self.metrics,
            "logs route" => self.logs_route,
            "network" => self.network,
            "get task documents route" => self.get_task_documents_route,
            _ => false,
        }
    }

    /// Errors: 400 `feature_not_enabled`; `action` is what the client wanted to do, in Meilisearch's words.
    pub fn check_network(self, action: &str) -> Result<(), Error> {
        check(self.network, action, "network", "805")
    }

    /// As [`Self::check_network`], for settings that combine two embedders.
    pub fn check_composite_embedders(self, action: &str) -> Result<(), Error> {
        check(
            self.composite_embedders,
            action,
            "composite embedders",
            "816",
        )
    }

    /// As [`Self::check_network`], for editing documents by a function.
    pub fn check_edit_documents(self, action: &str) -> Result<(), Error> {
        check(
            self.edit_documents_by_function,
            action,
            "edit documents by function",
            "762",
        )
    }
}

fn check(on: bool, action: &str, feature: &str, discussion: &str) -> Result<(), Error> {
    if on {
        return Ok(());
    }
    Err(coded(
        "feature_not_enabled",
        not_enabled(action, feature, discussion),
    ))
}

/// Meilisearch's words for a feature that is off.
pub fn not_enabled(action: &str, feature: &str, discussion: &str) -> String {
    format!(
        "{action} requires enabling the `{feature}` experimental feature. See \
         https://github.com/orgs/meilisearch/discussions/{discussion}"
    )
}

/// The switches, kept in a file.
pub struct Features {
    path: PathBuf,
    flags: Mutex<Flags>,
}

impl Features {
    /// Reads the file, or starts with everything off where there is none.
    pub fn open(path: PathBuf) -> Result<Features, Error> {
        let flags = read_whole(&path)?.unwrap_or_default();
        Ok(Features {
            path,
            flags: Mutex::new(flags),
        })
    }

    pub fn flags(&self) -> Flags {
        *self.flags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the switches; durable when this returns.
    pub fn change(&self, change: &Change) -> Result<Flags, Error> {
        let mut flags = self.flags.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = flags.with(change);
        replace(&self.path, &changed)?;
        *flags = changed;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deserialize::read_json;

    #[test]
    fn switches_outlive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("features.json");
        let features = Features::open(path.clone()).unwrap();
        assert_eq!(features.flags(), Flags::default());
        let change = |body: &str| read_json::<Change>(body.as_bytes()).unwrap();
        let on = features
            .change(&change(r#"{"network": true, "metrics": null}"#))
            .unwrap();
        assert!(on.network && !on.metrics);
        let again = Features::open(path).unwrap();
        assert_eq!(again.flags(), on);
        let off = again
            .change(&change(r#"{"network": false, "containsFilter": true}"#))
            .unwrap();
        assert!(!off.network && off.contains_filter);
        assert_eq!(
            serde_json::to_string(&off).unwrap(),
            r#"{"metrics":false,"logsRoute":false,"editDocumentsByFunction":false,"containsFilter":true,"network":false,"getTaskDocumentsRoute":false,"compositeEmbedders":false}"#
        );
    }

    #[test]
    fn unknown_features_are_refused() {
        let error = read_json::<Change>(br#"{"vectorStor": true}"#).unwrap_err();
        assert_eq!((error.status, error.code.as_ref()), (400, "bad_request"));
        assert!(error
            .message
            .starts_with("Unknown field `vectorStor`: expected one of `metrics`, `logsRoute`,"));
        let error = read_json::<Change>(br#"{"network": 1}"#).unwrap_err();
        assert_eq!(
            (error.code.as_ref(), error.message.as_str()),
            ("bad_request", "Invalid value type at `.network`: expected a boolean, but found a positive integer: `1`")
        );
        let error = Flags::default()
            .check_network("Performing a remote federated search")
            .unwrap_err();
        assert_eq!(
            (error.status, error.code.as_ref(), error.message.as_str()),
            (
                400,
                "feature_not_enabled",
                "Performing a remote federated search requires enabling the `network` \
             experimental feature. See https://github.com/orgs/meilisearch/discussions/805"
            )
        );
    }
}
