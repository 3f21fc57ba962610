//! Properties of planned layouts, over random fleets.

use std::collections::{BTreeMap, HashSet};

use miroir_router::{
    CopyState, Layout, LayoutError, LayoutNode, LayoutSpec, NodeIdx, Placement, Shard, SHARDS_MAX,
};
use proptest::prelude::*;

fn node(id: &str, group: u16, weight: u32, zone: Option<&str>) -> LayoutNode {
    LayoutNode {
        id: id.into(),
        group,
        weight,
        zone: zone.map(String::from),
    }
}

fn equal_nodes(count: usize, groups: u16) -> Vec<LayoutNode> {
    (0..count)
        .map(|i| node(&format!("n{i}"), i as u16 % groups, 1, None))
        .collect()
}

fn spec(
    shards: u16,
    replication_factor: u8,
    replica_groups: u16,
    nodes: Vec<LayoutNode>,
) -> LayoutSpec {
    LayoutSpec {
        shards,
        replication_factor,
        replica_groups,
        nodes,
    }
}

/// Any fleet that can be planned.
fn any_spec() -> impl Strategy<Value = LayoutSpec> {
    (1u8..4, 1u16..4, 1u16..80).prop_flat_map(|(rf, groups, shards)| {
        let weights = prop::collection::vec(
            prop::collection::vec(1u32..9, usize::from(rf)..9),
            usize::from(groups),
        );
        let zones = prop::option::of(1usize..5);
        (Just(rf), Just(groups), Just(shards), weights, zones).prop_map(
            |(rf, groups, shards, weights, zones)| {
                let mut nodes = Vec::new();
                for (group, weights) in weights.into_iter().enumerate() {
                    for (i, weight) in weights.into_iter().enumerate() {
                        let zone = zones.map(|zones| format!("z{}", i % zones));
                        nodes.push(node(
                            &format!("g{group}-n{i}"),
                            group as u16,
                            weight,
                            zone.as_deref(),
                        ));
                    }
                }
                spec(shards, rf, groups, nodes)
            },
        )
    })
}

/// The copies that a layout wants to have in the end.
fn wanted(layout: &Layout, shard: Shard) -> impl Iterator<Item = &Placement> {
    layout
        .copies_of(shard)
        .iter()
        .filter(|copy| !matches!(copy.state, CopyState::Leaving | CopyState::LeftOver))
}

fn load(layout: &Layout, node: usize) -> usize {
    let held = |shard: &Shard| wanted(layout, *shard).any(|copy| usize::from(copy.node.0) == node);
    layout.all_shards().filter(held).count()
}

/// Independent of the planner: the share of a node by repeatedly capping those that would hold more than every shard.
fn fair_share(spec: &LayoutSpec, node: usize) -> f64 {
    let shards = f64::from(spec.shards);
    let group: Vec<&LayoutNode> = spec
        .nodes
        .iter()
        .filter(|n| n.group == spec.nodes[node].group)
        .collect();
    let (mut low, mut high) = (0.0, 1e12);
    for _ in 0..200 {
        let level: f64 = (low + high) / 2.0;
        let total: f64 = group
            .iter()
            .map(|n| (level * f64::from(n.weight)).min(shards))
            .sum();
        match total < shards * f64::from(spec.replication_factor) {
            true => low = level,
            false => high = level,
        }
    }
    (low * f64::from(spec.nodes[node].weight)).min(shards)
}

fn check(spec: &LayoutSpec, layout: &Layout) {
    let expected = usize::from(spec.replication_factor) * usize::from(spec.replica_groups);
    assert_eq!(layout.copies_per_shard(), expected);
    assert_eq!(layout.copies.len(), usize::from(spec.shards));
    for shard in layout.all_shards() {
        let nodes: HashSet<NodeIdx> = layout
            .copies_of(shard)
            .iter()
            .map(|copy| copy.node)
            .collect();
        assert_eq!(
            nodes.len(),
            layout.copies_of(shard).len(),
            "two copies of {shard} on a node"
        );
        let mut by_group: BTreeMap<u16, usize> = BTreeMap::new();
        for copy in wanted(layout, shard) {
            *by_group
                .entry(layout.group_of(copy.node).unwrap())
                .or_default() += 1;
        }
        assert_eq!(by_group.len(), usize::from(spec.replica_groups));
        assert!(by_group
            .values()
            .all(|copies| *copies == usize::from(spec.replication_factor)));
    }
    for node in 0..spec.nodes.len() {
        let (load, share) = (load(layout, node), fair_share(spec, node));
        assert!(
            (load as f64 - share).abs() < 1.0 + 1e-6,
            "node {node} holds {load}, its share is {share}"
        );
    }
}

/// Copies that have to be made to get from one layout to the other.
fn moved(before: &Layout, after: &Layout) -> usize {
    let holders = |layout: &Layout, shard| -> HashSet<String> {
        wanted(layout, shard)
            .map(|copy| layout.nodes[usize::from(copy.node.0)].id.clone())
            .collect()
    };
    after
        .all_shards()
        .map(|shard| {
            holders(after, shard)
                .difference(&holders(before, shard))
                .count()
        })
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_node_gets_its_share_and_no_shard_twice(spec in any_spec()) {
        let layout = Layout::plan(&spec, None).unwrap();
        check(&spec, &layout);
        prop_assert!(layout.copies.iter().flatten().all(|copy| copy.state == CopyState::InSync));
        prop_assert_eq!(layout.version, 1);
        prop_assert_eq!(&Layout::plan(&spec, None).unwrap(), &layout);
    }

    #[test]
    fn nothing_moves_when_nothing_changes(spec in any_spec()) {
        let before = Layout::plan(&spec, None).unwrap();
        let after = Layout::plan(&spec, Some(&before)).unwrap();
        prop_assert_eq!(&after.copies, &before.copies);
        prop_assert_eq!(after.version, 2);
    }

    #[test]
    fn one_more_equal_node_takes_no_more_than_its_part(
        n in 1usize..9, rf in 1u8..4, shards in 1u16..200, at in 0usize..9
    ) {
        prop_assume!(usize::from(rf) <= n);
        let mut nodes = equal_nodes(n, 1);
        let before = Layout::plan(&spec(shards, rf, 1, nodes.clone()), None).unwrap();
        nodes.insert(at.min(n), node("new", 0, 1, None));
        let grown = spec(shards, rf, 1, nodes);
        let after = Layout::plan(&grown, Some(&before)).unwrap();
        check(&grown, &after);
        let copies = usize::from(shards) * usize::from(rf);
        let moves = moved(&before, &after);
        prop_assert!(moves <= copies.div_ceil(n + 1), "{} moves of {} copies onto one more than {} nodes", moves, copies, n);
        // And all of them to the new node.
        prop_assert_eq!(moves, load(&after, at.min(n)));
    }

    #[test]
    fn removing_a_node_moves_only_what_it_held(n in 3usize..9, rf in 2u8..4, shards in 1u16..120, gone in 0usize..9) {
        prop_assume!(usize::from(rf) < n);
        let mut nodes = equal_nodes(n, 1);
        let before = Layout::plan(&spec(shards, rf, 1, nodes.clone()), None).unwrap();
        let held = load(&before, gone % n);
        nodes.remove(gone % n);
        let shrunk = spec(shards, rf, 1, nodes);
        let after = Layout::plan(&shrunk, Some(&before)).unwrap();
        check(&shrunk, &after);
        // A copy may have to make room where the only node with room holds the shard already.
        prop_assert!(moved(&before, &after) <= held + n, "{} moves for {} copies", moved(&before, &after), held);
    }

    #[test]
    fn any_change_ends_in_a_good_layout_that_serves_throughout(first in any_spec(), second in any_spec()) {
        let before = Layout::plan(&first, None).unwrap();
        let second = LayoutSpec { shards: first.shards, ..second };
        match Layout::plan(&second, Some(&before)) {
            Ok(after) => {
                check(&second, &after);
                for shard in after.all_shards() {
                    prop_assert!(after.copies_of(shard).iter().any(|copy| copy.state.serves()));
                }
                let settled = settle(&after);
                check(&second, &settled);
                prop_assert_eq!(&Layout::plan(&second, Some(&settled)).unwrap().copies, &settled.copies);
            }
            Err(LayoutError::LastCopies { shards, .. }) => prop_assert!(!shards.is_empty()),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn zones_are_kept_apart_where_they_are_equal(rf in 1u8..4, zones in 3usize..5, each in 1usize..4, shards in 1u16..80) {
        let nodes = (0..zones * each).map(|i| node(&format!("n{i}"), 0, 1, Some(&format!("z{}", i % zones)))).collect();
        let spec = spec(shards, rf, 1, nodes);
        let layout = Layout::plan(&spec, None).unwrap();
        for shard in layout.all_shards() {
            let in_zones: HashSet<_> =
                layout.copies_of(shard).iter().map(|copy| &layout.nodes[usize::from(copy.node.0)].zone).collect();
            prop_assert_eq!(in_zones.len(), usize::from(rf));
        }
    }
}

/// The end of a change: what joined is in sync, what was leaving is gone.
fn settle(layout: &Layout) -> Layout {
    let mut settled = layout.clone();
    for shard in layout.all_shards() {
        for copy in layout.copies_of(shard) {
            settled = match copy.state {
                CopyState::Leaving | CopyState::LeftOver => settled.without_copy(shard, copy.node),
                _ => settled.with_state(shard, copy.node, CopyState::InSync),
            };
        }
    }
    settled
}

#[test]
fn weights_share_the_copies() {
    let nodes = vec![node("small", 0, 1, None), node("big", 0, 3, None)];
    let layout = Layout::plan(&spec(64, 1, 1, nodes), None).unwrap();
    assert_eq!((load(&layout, 0), load(&layout, 1)), (16, 48));
}

#[test]
fn a_node_too_heavy_for_its_group_holds_everything_once() {
    let nodes = vec![
        node("a", 0, 1, None),
        node("b", 0, 1, None),
        node("huge", 0, 100, None),
    ];
    let layout = Layout::plan(&spec(64, 2, 1, nodes), None).unwrap();
    assert_eq!(
        (load(&layout, 0), load(&layout, 1), load(&layout, 2)),
        (32, 32, 64)
    );
}

#[test]
fn uneven_zones_yield_to_shares() {
    // One node is alone in its zone: it holds its share, so a part of the shards lies twice in the other zone.
    let nodes = vec![
        node("a", 0, 1, Some("x")),
        node("b", 0, 1, Some("y")),
        node("c", 0, 1, Some("y")),
        node("d", 0, 1, Some("y")),
    ];
    let wanted = spec(60, 2, 1, nodes);
    let layout = Layout::plan(&wanted, None).unwrap();
    check(&wanted, &layout);
    let apart = |shard: &Shard| {
        layout
            .copies_of(*shard)
            .iter()
            .map(|copy| layout.nodes[usize::from(copy.node.0)].zone.clone())
            .collect::<HashSet<_>>()
            .len()
            == 2
    };
    assert_eq!(layout.all_shards().filter(apart).count(), 30);
}

#[test]
fn a_copy_that_moves_serves_until_its_successor_can() {
    let before = Layout::plan(&spec(12, 1, 1, equal_nodes(2, 1)), None).unwrap();
    let after = Layout::plan(&spec(12, 1, 1, equal_nodes(3, 1)), Some(&before)).unwrap();
    let moving: Vec<Shard> = after
        .all_shards()
        .filter(|shard| after.copies_of(*shard).len() > 1)
        .collect();
    assert_eq!(moving.len(), 4);
    for shard in moving {
        let states: HashSet<String> = after
            .copies_of(shard)
            .iter()
            .map(|copy| format!("{:?}", copy.state))
            .collect();
        assert_eq!(
            states,
            HashSet::from(["Joining".to_string(), "Leaving".to_string()])
        );
    }
    // Planned back before it has happened: nothing needs to be copied.
    let back = Layout::plan(&spec(12, 1, 1, equal_nodes(2, 1)), Some(&after)).unwrap();
    assert_eq!(moved(&before, &back), 0);
    assert!(back
        .copies
        .iter()
        .flatten()
        .all(|copy| copy.state == CopyState::InSync));
}

#[test]
fn a_node_without_weight_is_emptied() {
    let mut nodes = equal_nodes(3, 1);
    let before = Layout::plan(&spec(12, 1, 1, nodes.clone()), None).unwrap();
    nodes[1].weight = 0;
    let after = Layout::plan(&spec(12, 1, 1, nodes), Some(&before)).unwrap();
    assert_eq!(load(&after, 1), 0);
    assert_eq!(moved(&before, &after), 4);
    assert!(settle(&after).shards_of(NodeIdx(1)).is_empty());
}

#[test]
fn a_layout_survives_storage() {
    let layout = Layout::plan(&spec(3, 1, 1, equal_nodes(2, 1)), None)
        .unwrap()
        .with_state(Shard(0), NodeIdx(0), CopyState::OutOfSync);
    let stored = serde_json::to_string(&layout).unwrap();
    assert!(
        stored.contains(r#"{"node":0,"state":"out_of_sync"}"#),
        "{stored}"
    );
    assert_eq!(serde_json::from_str::<Layout>(&stored).unwrap(), layout);
}

#[test]
fn where_the_demo_puts_its_shards_is_frozen() {
    // Planned layouts are stored, but a plan that changed with a release would move data for nothing.
    let nodes = ["meili-0", "meili-1", "meili-2"]
        .map(|id| node(id, 0, 1, None))
        .to_vec();
    let layout = Layout::plan(&spec(16, 1, 1, nodes), None).unwrap();
    let owners: Vec<u16> = layout
        .copies
        .iter()
        .map(|copies| copies[0].node.0)
        .collect();
    assert_eq!(owners, FROZEN);
}

const FROZEN: [u16; 16] = [0, 0, 2, 1, 1, 2, 1, 2, 2, 2, 0, 1, 2, 0, 0, 1];

#[test]
fn the_largest_layout_is_planned() {
    let wanted = spec(SHARDS_MAX, 3, 1, equal_nodes(12, 1));
    check(&wanted, &Layout::plan(&wanted, None).unwrap());
}

#[test]
fn errors_say_what_to_do() {
    #[track_caller]
    fn refuses(spec: LayoutSpec, previous: Option<&Layout>, message: &str) {
        let error = Layout::plan(&spec, previous).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    refuses(
        spec(0, 1, 1, equal_nodes(1, 1)),
        None,
        "`shards` is 0: choose a number from 1 to 4096",
    );
    refuses(
        spec(4097, 1, 1, equal_nodes(1, 1)),
        None,
        "choose a number from 1 to 4096",
    );
    refuses(
        spec(4, 0, 1, equal_nodes(1, 1)),
        None,
        "`replication_factor` is 0",
    );
    refuses(spec(4, 1, 0, vec![]), None, "`replica_groups` is 0");
    refuses(
        spec(4, 1, 2, equal_nodes(1, 1)),
        None,
        "replica group 1 has no node with a weight above 0: add a node with `replica_group: 1`",
    );
    refuses(spec(4, 1, 1, vec![]), None, "replica group 0 has no node");
    refuses(spec(4, 3, 2, equal_nodes(5, 2)), None, "replica group 1 has only 2 node(s): add 1 node(s) to the group, or lower `replication_factor` to 2");
    let twice = vec![node("a", 0, 1, None), node("a", 0, 1, None)];
    refuses(spec(4, 1, 1, twice), None, "two nodes have the id `a`");
    refuses(
        spec(4, 1, 1, vec![node("a", 3, 1, None)]),
        None,
        "node `a` is in replica group 3, but `replica_groups` is 1: use a group from 0 to 0",
    );
    let before = Layout::plan(&spec(4, 1, 1, equal_nodes(2, 1)), None).unwrap();
    refuses(spec(8, 1, 1, equal_nodes(2, 1)), Some(&before), "keep 4");
    refuses(
        spec(4, 1, 1, equal_nodes(1, 1)),
        Some(&before),
        "without node(s) n1 no copy of 2 shard(s) would be left",
    );
}

#[test]
fn an_incomplete_copy_that_is_not_wanted_any_more_is_left_over() {
    let two = |weight| {
        spec(
            4,
            1,
            1,
            vec![node("a", 0, 1, None), node("b", 0, weight, None)],
        )
    };
    let only_a = Layout::plan(&two(0), None).unwrap();
    let joining = Layout::plan(&two(1), Some(&only_a)).unwrap();
    assert_eq!(load(&joining, 1), 2);
    let back = Layout::plan(&two(0), Some(&joining)).unwrap();
    let state = |layout: &Layout, shard| {
        let copies = layout.copies_of(shard).iter();
        let on_b = copies.copied().find(|copy| copy.node == NodeIdx(1));
        on_b.map(|copy| copy.state)
    };
    for shard in joining.all_shards() {
        let was = state(&joining, shard);
        assert_eq!(state(&back, shard), was.map(|_| CopyState::LeftOver));
        assert_eq!(back.copies_of(shard)[0].state, CopyState::InSync);
    }
    // What is left over missed writes since: it is filled like a new copy, and stays left over while it is not wanted.
    let again = Layout::plan(&two(1), Some(&back)).unwrap();
    let still = Layout::plan(&two(0), Some(&back)).unwrap();
    for shard in joining.all_shards() {
        assert_eq!(state(&again, shard), state(&joining, shard));
        assert_eq!(state(&still, shard), state(&back, shard));
    }
}
