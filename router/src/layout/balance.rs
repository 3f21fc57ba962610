//! Places the copies of one group: everyone's fair share, in as few moves as possible.
//!
//! A placement starts from what is there, gives missing copies to the nodes that their shards prefer, and is then
//! balanced by augmenting paths, as in a maximum flow (Ford and Fulkerson): a node with too many copies hands one to a
//! node with too few, where need be through nodes in between. Such a path always exists while a node is outside its
//! share, because a share never exceeds the number of shards. Zones yield to shares: a node that would overflow is
//! worse than two copies in one zone.

use std::cmp::Reverse;
use std::collections::VecDeque;

use crate::shard::Shard;

/// A node that may hold shards of the group; weight at least 1.
pub(super) struct GroupNode {
    pub(super) id: String,
    pub(super) weight: u32,
    pub(super) zone: usize,
    /// By shard: see `rendezvous::cost`.
    pub(super) costs: Vec<u64>,
}

/// A placement of one group in the making. Nodes go by their position in `nodes`.
pub(super) struct GroupPlan {
    copies: usize,
    nodes: Vec<GroupNode>,
    /// By node: the fair share rounded down and up.
    share: Vec<(usize, usize)>,
    load: Vec<usize>,
    /// By shard.
    holders: Vec<Vec<Holder>>,
    /// By shard: nodes that have the shard's data, though they are to give it up.
    leaving: Vec<Vec<usize>>,
    moves: Moves,
}

/// How many shards may move from one node to another, kept up to date while shards move: paths are looked for hundreds
/// of times, and looking at every shard for every step would take seconds.
#[derive(Default)]
struct Moves {
    nodes: usize,
    /// By `from * nodes + to`; of all shards, and of those that no zone forbids.
    any: Vec<u32>,
    in_zones: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Holder {
    node: usize,
    /// Whether its data are there already, so that moving it away costs a copy.
    carried_over: bool,
    serves: bool,
}

impl GroupPlan {
    /// An empty placement. There are at least `copies` nodes.
    pub(super) fn new(shards: u16, copies: usize, nodes: Vec<GroupNode>) -> GroupPlan {
        let shards = usize::from(shards);
        let weights: Vec<u32> = nodes.iter().map(|node| node.weight).collect();
        GroupPlan {
            copies,
            share: fair_shares(shards, copies, &weights),
            load: vec![0; nodes.len()],
            nodes,
            holders: vec![Vec::new(); shards],
            leaving: vec![Vec::new(); shards],
            moves: Moves::default(),
        }
    }

    /// A copy that exists already; `stays` unless it was about to be given up.
    pub(super) fn carry_over(&mut self, shard: Shard, node: usize, stays: bool, serves: bool) {
        let shard = usize::from(shard.0);
        if stays {
            self.holders[shard].push(Holder {
                node,
                carried_over: true,
                serves,
            });
            self.load[node] += 1;
        } else {
            self.leaving[shard].push(node);
        }
    }

    /// The nodes of each shard, in the shard's order of preference.
    pub(super) fn finish(mut self) -> Vec<Vec<usize>> {
        self.drop_surplus();
        self.place_missing();
        self.count_moves();
        self.relieve();
        self.fill_up();
        self.spread_over_zones();
        let (holders, nodes) = (self.holders, self.nodes);
        let sorted = holders.into_iter().enumerate().map(|(shard, holders)| {
            let mut holders: Vec<usize> = holders.into_iter().map(|holder| holder.node).collect();
            holders.sort_by_key(|node| (nodes[*node].costs[shard], &nodes[*node].id));
            holders
        });
        sorted.collect()
    }

    /// Fewer replicas than before: those go first that do not serve, then those whose zone has another one.
    fn drop_surplus(&mut self) {
        for shard in 0..self.holders.len() {
            while self.holders[shard].len() > self.copies {
                let worst = (0..self.holders[shard].len()).max_by_key(|position| {
                    let Holder { node, serves, .. } = self.holders[shard][*position];
                    let crowded = self.zone_taken(shard, node, Some(node));
                    let excess = self.load[node].saturating_sub(self.share[node].1);
                    (
                        !serves,
                        crowded,
                        excess,
                        self.nodes[node].costs[shard],
                        &self.nodes[node].id,
                    )
                });
                let Some(worst) = worst else { break };
                let gone = self.holders[shard].remove(worst);
                self.load[gone.node] -= 1;
            }
        }
    }

    /// Each missing copy goes to the node that its shard prefers among those with room.
    fn place_missing(&mut self) {
        for shard in 0..self.holders.len() {
            while self.holders[shard].len() < self.copies {
                let free = (0..self.nodes.len()).filter(|node| !self.holds(*node, shard));
                let best = free.min_by_key(|node| {
                    let full = self.load[*node] >= self.share[*node].1;
                    let data_missing = !self.leaving[shard].contains(node);
                    let cost = self.nodes[*node].costs[shard];
                    (
                        self.zone_taken(shard, *node, None),
                        full,
                        data_missing,
                        cost,
                        &self.nodes[*node].id,
                    )
                });
                let Some(node) = best else { break };
                let carried_over = self.leaving[shard].contains(&node);
                self.holders[shard].push(Holder {
                    node,
                    carried_over,
                    serves: carried_over,
                });
                self.load[node] += 1;
            }
        }
    }

    /// Takes from nodes that hold more than their share, for those below theirs first.
    fn relieve(&mut self) {
        while let Some(from) = self.most_loaded(|plan, node| plan.load[node] > plan.share[node].1) {
            let below: fn(&GroupPlan, usize) -> bool =
                |plan, node| plan.load[node] < plan.share[node].0;
            let room: fn(&GroupPlan, usize) -> bool =
                |plan, node| plan.load[node] < plan.share[node].1;
            let attempts = [(below, true), (room, true), (below, false), (room, false)];
            if !attempts
                .into_iter()
                .any(|(to, zones)| self.shift(from, to, zones))
            {
                debug_assert!(false, "a path exists while a node is above its share");
                return;
            }
        }
    }

    /// Gives to nodes that hold less than their share, from those that can spare one.
    fn fill_up(&mut self) {
        while let Some(to) =
            (0..self.nodes.len()).find(|node| self.load[*node] < self.share[*node].0)
        {
            let mut givers: Vec<usize> = (0..self.nodes.len())
                .filter(|node| self.load[*node] > self.share[*node].0)
                .collect();
            givers.sort_by_key(|node| (Reverse(self.load[*node]), *node));
            let attempts = [true, false]
                .into_iter()
                .flat_map(|zones| givers.iter().map(move |from| (*from, zones)));
            let attempts: Vec<(usize, bool)> = attempts.collect();
            if !attempts
                .into_iter()
                .any(|(from, zones)| self.shift(from, |_, node| node == to, zones))
            {
                debug_assert!(false, "a path exists while a node is below its share");
                return;
            }
        }
    }

    fn most_loaded(&self, which: impl Fn(&GroupPlan, usize) -> bool) -> Option<usize> {
        let nodes = (0..self.nodes.len()).filter(|node| which(self, *node));
        nodes.max_by_key(|node| (self.load[*node] - self.share[*node].1, Reverse(*node)))
    }

    /// Moves one copy from `from` towards a node that `to` accepts, along a shortest path. Returns whether it could.
    fn shift(&mut self, from: usize, to: impl Fn(&GroupPlan, usize) -> bool, zones: bool) -> bool {
        let Some(path) = self.shortest_path(from, &to, zones) else {
            return false;
        };
        // From the far end, so that no node overflows on the way.
        for step in path.windows(2).rev() {
            let Some(shard) = self.movable(step[0], step[1], zones) else {
                return false;
            };
            self.relocate(shard, step[0], step[1]);
        }
        true
    }

    fn shortest_path(
        &self,
        from: usize,
        to: impl Fn(&GroupPlan, usize) -> bool,
        zones: bool,
    ) -> Option<Vec<usize>> {
        let mut came_from: Vec<Option<usize>> = vec![None; self.nodes.len()];
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            if node != from && to(self, node) {
                let mut path = vec![node];
                while let Some(before) = came_from[path[path.len() - 1]] {
                    path.push(before);
                }
                path.reverse();
                return Some(path);
            }
            let mut next: Vec<usize> = (0..self.nodes.len())
                .filter(|next| {
                    *next != from
                        && came_from[*next].is_none()
                        && self.moves.are_there(node, *next, zones)
                })
                .collect();
            // The emptiest first, in proportion.
            next.sort_by_key(|next| (self.load[*next] * 1024 / self.share[*next].1.max(1), *next));
            for next in next {
                came_from[next] = Some(node);
                queue.push_back(next);
            }
        }
        None
    }

    /// The shard that is best moved from one node to the other: one whose data are not there yet, else the one that
    /// prefers its new node most.
    fn movable(&self, from: usize, to: usize, zones: bool) -> Option<usize> {
        let shards = (0..self.holders.len()).filter(|shard| self.may_move(*shard, from, to, zones));
        shards.min_by_key(|shard| {
            let carried_over = self.holders[*shard]
                .iter()
                .any(|holder| holder.node == from && holder.carried_over);
            (carried_over, self.nodes[to].costs[*shard], *shard)
        })
    }

    fn may_move(&self, shard: usize, from: usize, to: usize, zones: bool) -> bool {
        self.holds(from, shard)
            && !self.holds(to, shard)
            && (!zones
                || !self.zone_taken(shard, to, Some(from))
                || self.zone_taken(shard, from, Some(from)))
    }

    fn count_moves(&mut self) {
        let nodes = self.nodes.len();
        self.moves = Moves {
            nodes,
            any: vec![0; nodes * nodes],
            in_zones: vec![0; nodes * nodes],
        };
        (0..self.holders.len()).for_each(|shard| self.count_shard(shard, u32::wrapping_add));
    }

    /// Adds, or takes away, the moves that one shard allows.
    fn count_shard(&mut self, shard: usize, change: fn(u32, u32) -> u32) {
        let mut moves = std::mem::take(&mut self.moves);
        for from in self.holders[shard].iter().map(|holder| holder.node) {
            for to in (0..moves.nodes).filter(|to| !self.holds(*to, shard)) {
                let at = from * moves.nodes + to;
                moves.any[at] = change(moves.any[at], 1);
                if self.may_move(shard, from, to, true) {
                    moves.in_zones[at] = change(moves.in_zones[at], 1);
                }
            }
        }
        self.moves = moves;
    }

    fn relocate(&mut self, shard: usize, from: usize, to: usize) {
        self.count_shard(shard, u32::wrapping_sub);
        self.change_holder(shard, from, to);
        self.count_shard(shard, u32::wrapping_add);
    }

    fn change_holder(&mut self, shard: usize, from: usize, to: usize) {
        let carried_over = self.leaving[shard].contains(&to);
        if let Some(holder) = self.holders[shard]
            .iter_mut()
            .find(|holder| holder.node == from)
        {
            if holder.carried_over {
                // Should it come back, its data are still there.
                self.leaving[shard].push(from);
            }
            *holder = Holder {
                node: to,
                carried_over,
                serves: carried_over,
            };
            self.load[from] -= 1;
            self.load[to] += 1;
        }
    }

    /// Mends shards with two copies in one zone where another zone has none, keeping every load in its share.
    fn spread_over_zones(&mut self) {
        for shard in 0..self.holders.len() {
            for position in 0..self.holders[shard].len() {
                let from = self.holders[shard][position].node;
                if self.zone_taken(shard, from, Some(from)) {
                    self.leave_zone(shard, from);
                }
            }
        }
    }

    fn leave_zone(&mut self, shard: usize, from: usize) {
        let mut others: Vec<usize> = (0..self.nodes.len())
            .filter(|node| !self.holds(*node, shard) && !self.zone_taken(shard, *node, None))
            .collect();
        others.sort_by_key(|node| (self.nodes[*node].costs[shard], *node));
        for to in others {
            if self.load[from] > self.share[from].0 && self.load[to] < self.share[to].1 {
                return self.relocate(shard, from, to);
            }
            let swap = (0..self.holders.len()).filter(|other| {
                self.holds(to, *other)
                    && !self.holds(from, *other)
                    && !self.zone_taken(*other, from, Some(to))
            });
            if let Some(other) = swap.min_by_key(|other| (self.nodes[from].costs[*other], *other)) {
                self.relocate(shard, from, to);
                return self.relocate(other, to, from);
            }
        }
    }

    fn holds(&self, node: usize, shard: usize) -> bool {
        self.holders[shard].iter().any(|holder| holder.node == node)
    }

    /// Whether a copy other than that of `except` is in the zone of `node`.
    fn zone_taken(&self, shard: usize, node: usize, except: Option<usize>) -> bool {
        let zone = self.nodes[node].zone;
        self.holders[shard]
            .iter()
            .any(|holder| Some(holder.node) != except && self.nodes[holder.node].zone == zone)
    }
}

impl Moves {
    fn are_there(&self, from: usize, to: usize, zones: bool) -> bool {
        let counts = if zones { &self.in_zones } else { &self.any };
        counts[from * self.nodes + to] > 0
    }
}

/// Each node's part of the copies in proportion to its weight, rounded down and up. Nobody can hold a shard twice, so
/// a part beyond the number of shards is cut, and the rest shared out among the others.
fn fair_shares(shards: usize, copies: usize, weights: &[u32]) -> Vec<(usize, usize)> {
    let mut shares = vec![None; weights.len()];
    loop {
        let open = || {
            shares
                .iter()
                .zip(weights)
                .filter(|(share, _)| share.is_none())
        };
        let weight: u128 = open().map(|(_, weight)| u128::from(*weight)).sum();
        let rest = (shards * copies - (shares.len() - open().count()) * shards) as u128;
        let full: Vec<usize> = (0..weights.len())
            .filter(|node| {
                shares[*node].is_none()
                    && rest * u128::from(weights[*node]) > weight * shards as u128
            })
            .collect();
        for node in &full {
            shares[*node] = Some((shards, shards));
        }
        if full.is_empty() {
            let part = |own: u32| {
                let product = rest * u128::from(own);
                (
                    (product / weight) as usize,
                    product.div_ceil(weight) as usize,
                )
            };
            return shares
                .into_iter()
                .zip(weights)
                .map(|(share, own)| share.unwrap_or_else(|| part(*own)))
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_proportional_and_never_exceed_the_shards() {
        assert_eq!(fair_shares(16, 1, &[1, 1, 1]), [(5, 6), (5, 6), (5, 6)]);
        assert_eq!(fair_shares(16, 1, &[2, 1, 1]), [(8, 8), (4, 4), (4, 4)]);
        assert_eq!(fair_shares(16, 2, &[100, 1, 1]), [(16, 16), (8, 8), (8, 8)]);
        assert_eq!(fair_shares(16, 2, &[5, 5]), [(16, 16), (16, 16)]);
        assert_eq!(fair_shares(1, 1, &[1, 1]), [(0, 1), (0, 1)]);
    }
}
