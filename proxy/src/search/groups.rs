//! Totals and facets of what `distinct` leaves, as one node counts them.
//!
//! One node counts what matches, without what it dropped on its way to the end of the page. Each of many nodes drops more or less, by its
//! own list. Once the whole list is known each is asked again, for as many hits as it gave and without documents that share a value with
//! those of others: then it drops what one node would, and the numbers add up.

use std::cell::Cell;

use bytes::Bytes;
use miroir_merge::{Merged, Taken};
use miroir_router::{and_also, ReadTarget, RoutingTable};

use super::counting::bare;
use super::request::{bytes_for, SearchBody};
use super::settling::without;
use super::{By, Collected, Search};
use crate::core::App;
use crate::scatter::{Ask, Leg};

impl Search<'_> {
    /// The answers that count; `None`: those that are there already do, or nodes cannot be asked so.
    pub(super) async fn count_groups(
        &self,
        app: &App,
        table: &RoutingTable,
        merged: &Merged,
        rounds: &[Collected],
    ) -> Option<Vec<Bytes>> {
        let taken = merged.taken.as_deref()?;
        let (first, later) = rounds.split_first()?;
        // Which node holds a hit goes by the shards that it answered for.
        let shards = &first.shards;
        let alike = later.iter().all(|round| round.shards == *shards);
        let whole = rounds.iter().all(|round| round.degraded.is_none());
        if !alike || !whole || self.planned.reveal.is_some() || !matches!(self.by, By::Words) {
            return None;
        }
        let searches: Option<Vec<SearchBody>> = (0..taken.len())
            .map(|node| self.counting_for(node, taken))
            .collect();
        let searches = searches.filter(|searches| searches.len() == shards.len())?;
        let others = Cell::new(false);
        let ask = |target: &ReadTarget, _| {
            let at = shards
                .iter()
                .position(|shards| shards[..] == target.shards[..]);
            others.set(others.get() || at.is_none());
            bytes_for(&searches[at.unwrap_or(0)], target)
        };
        let leg: Leg = self.leg(self.seed(), Ask::Search(Box::new(ask)));
        let mut gathered = app.run_legs(table, &[leg]).await.ok()?;
        let counted = gathered.pop().filter(|leg| leg.missing.is_empty())?;
        (!others.get()).then(|| super::bodies(counted))
    }

    /// What one of the nodes is asked.
    fn counting_for(&self, node: usize, taken: &[Taken]) -> Option<SearchBody> {
        let body = &self.planned.node_body;
        let others = taken.iter().enumerate().filter(|(other, _)| *other != node);
        let values: Vec<(bool, String)> = others
            .flat_map(|(_, taken)| taken.values.iter().cloned())
            .collect();
        let mut search = SearchBody {
            sort: body.sort.clone(),
            distinct: body.distinct.clone(),
            facets: body.facets.clone(),
            limit: Some(taken[node].hits),
            attributes_to_retrieve: Some(Vec::new()),
            ..bare(body)
        };
        if !values.is_empty() {
            let filter = without(self.planned.distinct.as_deref()?, &values)?;
            search.filter = Some(and_also(search.filter.take(), filter));
        }
        Some(search)
    }
}
