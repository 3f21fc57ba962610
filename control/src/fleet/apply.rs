//! Making a change of the fleet come true: staged, looked at, applied as one version.

use std::sync::Arc;

use miroir_api::Error;
use miroir_router::NodeIdx;

use super::changes::{Change, Target};
use super::plan::Plan;
use super::Fleet;
use crate::handle::watch_node;
use crate::layouts::NewFleet;
use crate::nodes::NodeClient;
use crate::plane::Plane;
use crate::store::Version;

impl Plane {
    /// What is staged.
    pub(crate) async fn staged(&self) -> Result<Vec<Change>, Error> {
        Ok(self.store.staged().await?)
    }

    /// Every version of the layout so far, the newest first.
    pub(crate) async fn versions(&self) -> Result<Vec<Version>, Error> {
        Ok(self.store.versions().await?)
    }

    /// Adds to what is staged; nothing moves yet.
    ///
    /// # Errors
    /// The changes cannot be made, alone or together with what is staged already; then nothing more is staged.
    pub(crate) async fn stage(&self, changes: Vec<Change>) -> Result<Vec<Change>, Error> {
        let _alone = self.changing_fleet.lock().await;
        let mut staged = self.staged().await?;
        staged.extend(changes);
        let target = self.target(&staged).await?;
        Plan::new(&target, &self.layout(), &self.catalogue())?;
        self.store.set_staged(staged.clone()).await?;
        Ok(staged)
    }

    /// Forgets what is staged.
    pub(crate) async fn revert(&self) -> Result<(), Error> {
        let _alone = self.changing_fleet.lock().await;
        Ok(self.store.set_staged(Vec::new()).await?)
    }

    /// What the fleet is to look like with these changes.
    pub(crate) async fn target(&self, changes: &[Change]) -> Result<Target, Error> {
        Target::new(&self.layout(), &self.store.nodes().await?, changes)
    }

    /// Applies what is staged, as layout `version`.
    ///
    /// # Errors
    /// Another version would come next, nothing is staged, or as [`Plane::change_now`].
    pub(crate) async fn apply_staged(self: &Arc<Self>, version: u64) -> Result<(), Error> {
        let _alone = self.changing_fleet.lock().await;
        let staged = self.staged().await?;
        if staged.is_empty() {
            return Err(conflict(
                "Nothing is staged. Stage changes first: `miroir-ctl layout stage --help`."
                    .to_owned(),
            ));
        }
        let next = self.layout().version + 1;
        if version != next {
            return Err(conflict(format!(
                "The next version is {next}, not {version}: the layout has changed since you looked at it. Look at \
                 `miroir-ctl layout diff` again, and apply what it names."
            )));
        }
        self.make(staged).await
    }

    /// Applies changes without staging them.
    ///
    /// # Errors
    /// Other changes are staged; a node cannot be used; the layout cannot be made; an index is busy; the store failed.
    /// Nothing has changed then.
    pub(crate) async fn change_now(self: &Arc<Self>, changes: Vec<Change>) -> Result<(), Error> {
        let _alone = self.changing_fleet.lock().await;
        let staged = self.staged().await?.len();
        if staged > 0 {
            return Err(conflict(format!(
                "{staged} change(s) are staged. Apply them (`miroir-ctl layout diff`, then `layout apply`), or drop them \
                 (`layout revert`), before you make another one directly."
            )));
        }
        self.make(changes).await
    }

    async fn make(self: &Arc<Self>, changes: Vec<Change>) -> Result<(), Error> {
        let before = self.fleet();
        let target = self.target(&changes).await?;
        // What cannot be is refused before a node is asked anything.
        Plan::new(&target, &before.layout, &self.catalogue())?;
        let mut seats = before.seats().to_vec();
        let mut added = Vec::new();
        for idx in &target.added {
            let client = self.client_of(&target, *idx)?;
            self.admit(&client).await?;
            seat(&mut seats, &client);
            added.push(client);
        }
        let mut started = added.clone();
        for idx in &target.moved {
            let client = self.client_of(&target, *idx)?;
            self.reach(&client).await?;
            seat(&mut seats, &client);
            started.push(client);
        }
        let mut furnished = added.clone();
        for idx in &target.trusted {
            // A node that was emptied has no index yet: nothing was there to fill it from.
            let client = self.client_of(&target, *idx)?;
            self.reach(&client).await?;
            // What is being found out about it would be news of before it was furnished, and put it out of sync again.
            if !self.node(*idx).is_some_and(|known| known.node.is_up()) {
                return Err(conflict(format!(
                    "Node `{}` is not up yet: what it holds is still being looked at. Try again once \
                     `miroir-ctl nodes list` shows it up.",
                    client.id()
                )));
            }
            furnished.push(client);
        }
        let mut ready = self.prepare(&furnished).await?;
        let (rows, removed) = (target.rows.clone(), target.removed.clone());
        let is_removed = |idx: NodeIdx| {
            target
                .rows
                .get(usize::from(idx.0))
                .is_none_or(|row| row.removed)
        };
        self.change_fleet(|catalogue| {
            ready.check(catalogue)?;
            let plan = Plan::new(&target, &before.layout, catalogue)?;
            let indexes = plan.indexes.into_iter();
            Ok(NewFleet {
                fleet: Fleet::new(seats, plan.layout, is_removed),
                nodes: rows,
                changes,
                indexes: indexes
                    .map(|index| (index.node_uid, index.layout))
                    .collect(),
                lanes: ready.take(),
            })
        })
        .await?;
        for client in &started {
            watch_node(self, client);
        }
        let replaced = started.iter().map(|client| client.idx);
        for idx in replaced.chain(removed.iter().map(|removal| removal.node)) {
            if let Some(old) = before.seats().get(usize::from(idx.0)) {
                old.retire();
            }
        }
        for removal in removed {
            if let Some(client) = self.node(removal.node) {
                self.flights.dismiss(client.id());
            }
        }
        Ok(())
    }

    /// A client for a node as the target has it.
    fn client_of(&self, target: &Target, idx: NodeIdx) -> Result<Arc<NodeClient>, Error> {
        let position = usize::from(idx.0);
        let (row, planned) = (&target.rows[position], &target.spec.nodes[position]);
        let node = crate::bootstrap::routing_node(&row.id, &row.address, planned.group)
            .map_err(|error| super::changes::refused(error.to_string()))?;
        let fleet = self.fleet();
        // There is always one: a cluster is founded with nodes.
        let any = fleet.seats().first().ok_or_else(crate::settings::no_node)?;
        Ok(Arc::new(any.successor(idx, node)))
    }
}

/// A new node comes last, a known one back to its place.
fn seat(seats: &mut Vec<Arc<NodeClient>>, client: &Arc<NodeClient>) {
    match seats.get_mut(usize::from(client.idx.0)) {
        Some(seat) => *seat = Arc::clone(client),
        None => seats.push(Arc::clone(client)),
    }
}

fn conflict(message: String) -> Error {
    Error::invalid(409, "miroir_layout_conflict", message)
}
