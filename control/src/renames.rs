//! Swapping and renaming indexes: no node hears of it, because only the clients' names move.
//!
//! The lanes of all indexes concerned are held while the task is accepted: writes accepted before it go to the old bearer
//! of a name, writes after it to the new one. What clients see changes, in one step for all pairs, once every earlier
//! task of these indexes has ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use miroir_api::Error;
use serde_json::{json, Value};

use crate::catalogue::{Catalogue, Effect, Entry, Naming};
use crate::clock::now;
use crate::indexes::bare_task;
use crate::plane::Plane;
use crate::tasks::{summary, Kind};
use crate::types::TaskSummary;
use crate::writes::Hold;

/// One pair of `POST /swap-indexes`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Swap {
    pub left: String,
    pub right: String,
    /// Give the left one the right one's name, which must be free.
    pub rename: bool,
}

impl Plane {
    /// `POST /swap-indexes`. The uids have been checked.
    pub(crate) async fn swap_indexes(
        self: &Arc<Self>,
        swaps: Vec<Swap>,
        shows_rename: bool,
    ) -> Result<TaskSummary, Error> {
        refuse_duplicates(&swaps)?;
        let names: BTreeSet<&str> = swaps
            .iter()
            .flat_map(|swap| [swap.left.as_str(), &swap.right])
            .collect();
        // In the order of the names, so that two swaps never wait for each other.
        let mut holds = Vec::with_capacity(names.len());
        for name in names {
            holds.push(self.hold(name).await);
        }
        let view = |swap: &Swap| {
            let mut view = json!({ "indexes": [swap.left, swap.right] });
            if shows_rename {
                view["rename"] = json!(swap.rename);
            }
            view
        };
        let details = json!({ "swaps": swaps.iter().map(view).collect::<Vec<Value>>() });
        let mut task = bare_task(Kind::IndexSwap, details, now());
        match names_after(&self.catalogue(), &swaps) {
            Ok(names) => {
                task.effect = Effect {
                    names,
                    swaps: swaps
                        .into_iter()
                        .map(|swap| (swap.left, swap.right))
                        .collect(),
                    ..Effect::default()
                };
            }
            Err(error) => task.doom = Some(error.to_value()),
        }
        let accepted = self.accept(task, Vec::new(), Vec::new()).await?;
        drop(holds);
        Ok(summary(&accepted))
    }

    /// What giving the held index the name of `target` (held as well) changes. It is planned to be there.
    pub(crate) fn renaming(&self, hold: &Hold, target: &Hold) -> Result<Effect, Error> {
        if target.planned.is_some() {
            return Err(Error::index_already_exists(&target.index));
        }
        let catalogue = self.catalogue();
        let mut names = vec![Naming {
            node_uid: hold.node_uid.clone(),
            name: target.index.clone(),
        }];
        names.extend(loser(&catalogue, &target.index));
        Ok(Effect {
            names,
            swaps: vec![(hold.index.clone(), target.index.clone())],
            ..Effect::default()
        })
    }
}

/// The names afterwards, or why the task fails.
fn names_after(catalogue: &Catalogue, swaps: &[Swap]) -> Result<Vec<Naming>, Error> {
    let there = |name: &str| -> Option<&Entry> {
        catalogue
            .planned(name)
            .filter(|entry| entry.planned.is_some())
    };
    let mut missing: BTreeSet<&str> = BTreeSet::new();
    let mut taken: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut names = Vec::new();
    for Swap {
        left,
        right,
        rename,
    } in swaps
    {
        let mut named = |entry: &Entry, name: &str| {
            names.push(Naming {
                node_uid: entry.node_uid.clone(),
                name: name.to_owned(),
            });
        };
        match there(left) {
            Some(entry) => named(entry, right),
            None => {
                missing.insert(left);
            }
        }
        match there(right) {
            Some(_) if *rename => {
                taken.insert((left, right));
            }
            Some(entry) => named(entry, left),
            None if *rename => names.extend(loser(catalogue, right)),
            None => {
                missing.insert(right);
            }
        }
    }
    let listed = |names: &mut dyn Iterator<Item = &str>| -> String {
        names
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let (Some(name), 1) = (missing.first(), missing.len()) {
        return Err(Error::index_not_found(name));
    }
    if !missing.is_empty() {
        let message = format!("Indexes {} not found.", listed(&mut missing.into_iter()));
        return Err(Error::invalid(404, "index_not_found", message));
    }
    if taken.is_empty() {
        return Ok(names);
    }
    let message = match (taken.first(), taken.len()) {
        (Some((left, right)), 1) => format!(
            "Cannot rename `{left}` to `{right}` as the index already exists. Hint: You can remove `{right}` first \
             and then do your remove."
        ),
        _ => format!(
            "The following indexes are being renamed but cannot because their new name conflicts with an already \
             existing index: {}. Renaming doesn't overwrite the other index name.",
            listed(&mut taken.iter().map(|(_, right)| *right))
        ),
    };
    Err(Error::invalid(409, "index_already_exists", message))
}

/// An index that is on its way out under the name that another one gets.
fn loser(catalogue: &Catalogue, name: &str) -> Option<Naming> {
    catalogue.planned(name).map(|entry| Naming {
        node_uid: entry.node_uid.clone(),
        name: String::new(),
    })
}

/// Refused at once, without a task.
fn refuse_duplicates(swaps: &[Swap]) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for name in swaps.iter().flat_map(|swap| [&swap.left, &swap.right]) {
        if !seen.insert(name) {
            twice.insert(format!("`{name}`"));
        }
    }
    if twice.is_empty() {
        return Ok(());
    }
    let verb = if twice.len() == 1 { "was" } else { "were" };
    let names = twice.into_iter().collect::<Vec<_>>().join(", ");
    Err(Error::invalid(
        400,
        "invalid_swap_duplicate_index_found",
        format!(
            "Indexes must be declared only once during a swap. {names} {verb} specified several times."
        ),
    ))
}
