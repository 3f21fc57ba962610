//! One fill: carries out the commands of [`miroir_movement::Fill`] on the nodes.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use miroir_movement::{Command, Event, Job, Step, Transition};
use miroir_router::{CopyState, Layout, NodeIdx, Shard};
use reqwest::Method;
use tokio::time::Instant;

use super::node::{Chunks, Side};
use super::{Ticket, LANE_MAX};
use crate::catalogue::Entry;
use crate::nodes::NodeClient;
use crate::plane::Plane;
use crate::settings::revealed;
use crate::writes::Hold;

type Copy = (Shard, NodeIdx);

/// What a fill works with.
struct Filling<'a> {
    ticket: &'a Ticket,
    plane: &'a Arc<Plane>,
    node_uid: &'a str,
    job: Job,
    source: Arc<NodeClient>,
    target: Arc<NodeClient>,
    primary_key: Option<String>,
    shards: u16,
    /// The lane, once it is taken.
    hold: Option<Hold>,
    /// How often source and target had lost data when the fill began.
    losses: u64,
    /// Tasks by which the target was mended.
    mended: Vec<u32>,
}

/// Runs the fill of `ticket` to its end. Errors are for people.
pub(super) async fn run(ticket: &Ticket, node_uid: &str) -> Result<(), String> {
    let plane = &ticket.plane;
    let gone = || "it is not to be filled any more".to_owned();
    let job = ticket.fill(|fill| fill.job().clone()).ok_or_else(gone)?;
    let (primary_key, shards) = {
        let catalogue = plane.catalogue();
        let entry = catalogue.get(node_uid).ok_or_else(gone)?;
        let state = entry.planned.as_ref().ok_or_else(gone)?;
        (state.primary_key.clone(), entry.layouts.published.shards)
    };
    let mut filling = Filling {
        ticket,
        plane,
        node_uid,
        source: plane.node(job.source).ok_or_else(gone)?,
        target: plane.node(job.target).ok_or_else(gone)?,
        job,
        primary_key,
        shards,
        hold: None,
        losses: 0,
        mended: Vec::new(),
    };
    let result = filling.go().await;
    filling.close();
    result?;
    let failure = ticket
        .fill(|fill| fill.failure().map(str::to_owned))
        .flatten();
    if failure.is_none() {
        tracing::info!(
            index = node_uid,
            target = filling.target.id(),
            shards = filling.job.shards.len(),
            copied_in = filling.mended.len(),
            "copies are in sync"
        );
    }
    failure.map_or(Ok(()), Err)
}

impl Filling<'_> {
    async fn go(&mut self) -> Result<(), String> {
        self.prepare().await?;
        self.losses = self.losses();
        self.open().await;
        while let Some((step, command)) = self.next() {
            let event = match self.carry_out(command).await {
                Ok(event) => event,
                Err(why) => Event::Failed(why),
            };
            self.ticket.fill(|fill| fill.on(step, event));
        }
        Ok(())
    }

    fn losses(&self) -> u64 {
        let nodes = [&self.source, &self.target].into_iter();
        nodes.map(|node| node.losses.load(Ordering::Relaxed)).sum()
    }

    fn next(&self) -> Option<(Step, Command)> {
        self.ticket
            .fill(|fill| {
                fill.command()
                    .map(|(step, command)| (step, command.clone()))
            })
            .flatten()
    }

    fn side<'a>(&'a self, client: &'a NodeClient) -> Side<'a> {
        Side {
            client,
            index: self.node_uid,
            primary_key: self.primary_key.as_deref(),
            shards: self.shards,
        }
    }

    async fn carry_out(&mut self, command: Command) -> Result<Event, String> {
        match command {
            Command::AwaitGracePeriod => self.plane.quiesced().await,
            Command::AwaitApplied => self.applied().await?,
            Command::TakeLane => self.hold = Some(take_lane(self.plane, self.node_uid).await?),
            Command::List { keys } => return self.list(keys.as_deref()).await,
            Command::Mend { copy, delete } => self.mend(&copy, &delete).await?,
            Command::Switch => {
                // A node that lost its data before it was listed must not have been copied from, or to.
                for node in [&self.source, &self.target] {
                    self.plane.recognise(node).await?;
                }
                // Asked while the catalogue is locked, as losses are noted.
                let switch = |layout: &Layout| match self.losses() == self.losses {
                    true => Transition::switch(layout, &self.job),
                    false => Err("a node lost data meanwhile".to_owned()),
                };
                self.plane.transit(self.node_uid, switch).await?;
            }
        }
        Ok(Event::Done)
    }

    async fn applied(&self) -> Result<(), String> {
        let deadline = self.hold.as_ref().map(|_| Instant::now() + LANE_MAX);
        let (source, target) = (self.side(&self.source), self.side(&self.target));
        tokio::try_join!(source.applied(deadline), target.applied(deadline))?;
        if let Some(deadline) = deadline {
            let source = [self.job.source];
            self.plane
                .fared_well(self.node_uid, &source, deadline)
                .await?;
        }
        target.succeeded(&self.mended).await
    }

    async fn list(&self, keys: Option<&[String]>) -> Result<Event, String> {
        let (source, target) = (self.side(&self.source), self.side(&self.target));
        let mut of_source = Chunks::new(self.pace(), Some(self.ticket));
        let mut of_target = Chunks::new(self.pace(), None);
        let (source, target) = tokio::try_join!(
            source.list(&self.job.shards, keys, &mut of_source),
            target.list(&self.job.shards, keys, &mut of_target),
        )?;
        Ok(Event::Listed { source, target })
    }

    async fn mend(&mut self, copy: &[String], delete: &[String]) -> Result<(), String> {
        let mut chunks = Chunks::new(self.pace(), Some(self.ticket));
        let (source, target) = (self.side(&self.source), self.side(&self.target));
        let mut tasks = Vec::new();
        if !delete.is_empty() {
            tasks.push(target.delete(delete).await?);
        }
        tasks.extend(target.copy_from(&source, copy, &mut chunks).await?);
        let mended = copy.len() + delete.len();
        let counted = &self.plane.movements.moved;
        counted.fetch_add(mended as u64, Ordering::Relaxed);
        self.mended.extend(tasks);
        Ok(())
    }

    /// None while writes wait.
    fn pace(&self) -> Option<&super::Pace> {
        self.hold.is_none().then_some(&self.plane.movements.pace)
    }

    /// Sees to it that the target has the index, with the source's settings. A node that came back empty has none; one
    /// that got writes since has it with default settings.
    async fn prepare(&mut self) -> Result<(), String> {
        if self.alike().await? {
            return Ok(());
        }
        // A change of settings may be on its way to both: it must not be undone, so none may begin, and those that
        // have begun must have ended, before the two are compared for good.
        self.applied().await?;
        let hold = take_lane(self.plane, self.node_uid).await?;
        self.hold = Some(hold);
        self.applied().await?;
        if !self.alike().await? {
            self.furnish().await?;
        }
        self.hold = None;
        Ok(())
    }

    async fn alike(&self) -> Result<bool, String> {
        let (source, target) = (self.side(&self.source), self.side(&self.target));
        let (wanted, found) = tokio::try_join!(source.settings(), target.settings())?;
        let wanted = wanted
            .ok_or_else(|| format!("node `{}` has no index to copy from", self.source.id()))?;
        Ok(found.is_some_and(|found| found == wanted))
    }

    /// Makes the index and its settings on the target.
    async fn furnish(&self) -> Result<(), String> {
        let (source, target) = (self.side(&self.source), self.side(&self.target));
        tracing::info!(
            index = self.node_uid,
            node = self.target.id(),
            "giving the node its index and settings"
        );
        let mut tasks = Vec::new();
        let was_there = target.about().await?.is_some();
        if !was_there {
            tasks.push(target.create().await?);
        }
        let settings = source.settings().await?.unwrap_or_default();
        let settings = revealed(&self.plane.store, self.node_uid, settings).await?;
        let settings = Some(settings).filter(|settings| !settings.is_null());
        tasks.push(target.change(Method::PATCH, "/settings", settings).await?);
        if was_there {
            // Made behind our back, by a write into an emptied node: it may hold what belongs elsewhere.
            let held = self
                .plane
                .catalogue()
                .get(self.node_uid)
                .map(|entry| entry.layouts.published.shards_of(self.job.target));
            tasks.push(target.delete_all_but(&held.unwrap_or_default()).await?);
        }
        target.applied(Some(Instant::now() + LANE_MAX)).await?;
        target.succeeded(&tasks).await?;
        self.plane.identify_on(&self.target, self.node_uid).await;
        match self.alike().await? {
            true => Ok(()),
            false => Err("the nodes' settings differ; send the settings again".to_owned()),
        }
    }

    /// New copies get writes from here on. They are published first as copies that get none, until no search works on a
    /// table in which the target has no documents of these shards: such a search might ask the target without a filter.
    async fn open(&self) {
        let opened = self.copies();
        let is_new = |entry: &Entry| {
            let joining = |(shard, node): &Copy| {
                let mut copies = entry.layouts.published.copies_of(*shard).iter();
                copies.any(|copy| copy.node == *node && copy.state == CopyState::Joining)
            };
            opened.iter().any(joining)
        };
        if !self
            .plane
            .catalogue()
            .get(self.node_uid)
            .is_some_and(is_new)
        {
            return;
        }
        self.plane.quiesced().await;
        let mut catalogue = self.plane.catalogue();
        if let Some(entry) = catalogue.get_mut(self.node_uid) {
            entry.layouts.opened.extend(opened);
        }
        self.plane.publish(&catalogue);
    }

    /// Undoes [`Filling::open`]; of copies that are in sync by now nothing changes.
    fn close(&self) {
        let mut catalogue = self.plane.catalogue();
        let Some(entry) = catalogue.get_mut(self.node_uid) else {
            return;
        };
        let before = entry.layouts.opened.len();
        for copy in self.copies() {
            entry.layouts.opened.remove(&copy);
        }
        if entry.layouts.opened.len() != before {
            self.plane.publish(&catalogue);
        }
    }

    fn copies(&self) -> Vec<Copy> {
        let shards = self.job.shards.iter();
        shards.map(|shard| (*shard, self.job.target)).collect()
    }
}

impl Plane {
    /// Waits until no request works on a table older than the one that is published now.
    pub(super) async fn quiesced(&self) {
        let epoch = self.publisher.current().epoch;
        self.publisher.quiesced(epoch).await;
    }
}

/// Holds the lane of the index that nodes call `node_uid`, whatever clients call it by then.
pub(super) async fn take_lane(plane: &Arc<Plane>, node_uid: &str) -> Result<Hold, String> {
    loop {
        let name = plane
            .catalogue()
            .get(node_uid)
            .map(|entry| entry.planned_name.clone());
        let name = name
            .filter(|name| !name.is_empty())
            .ok_or("the index is about to go")?;
        let hold = plane.hold(&name).await;
        if hold.node_uid == node_uid {
            return match hold.planned {
                Some(_) => Ok(hold),
                None => Err("the index is about to go".to_owned()),
            };
        }
    }
}
