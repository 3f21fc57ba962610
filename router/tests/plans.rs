//! Properties of read plans, write plans and verdicts, over random layouts in random states.

use std::collections::{BTreeMap, HashSet};

use miroir_router::{
    diverged, judge, read_plan, write_plan, CopyState, Fate, Layout, LayoutNode, LayoutSpec,
    NodeIdx, Placement, ReadPlan, Shard, Verdict,
};
use proptest::prelude::*;

fn layout(shards: u16, replication_factor: u8, replica_groups: u16, nodes_each: u16) -> Layout {
    let node = |i: u16| LayoutNode {
        id: format!("n{i}"),
        group: i % replica_groups,
        weight: 1,
        zone: None,
    };
    let nodes = (0..replica_groups * nodes_each).map(node).collect();
    Layout::plan(
        &LayoutSpec {
            shards,
            replication_factor,
            replica_groups,
            nodes,
        },
        None,
    )
    .unwrap()
}

/// A layout in which copies are in any state, with copies that are too many here and there.
fn any_layout() -> impl Strategy<Value = Layout> {
    (1u16..40, 1u8..4, 1u16..4, 0u16..4).prop_flat_map(|(shards, rf, groups, more)| {
        let layout = layout(shards, rf, groups, u16::from(rf) + more);
        let nodes = layout.nodes.len() as u16;
        let change = (0..shards, 0..nodes, prop::sample::select(STATES.to_vec()));
        prop::collection::vec(change, 0..20).prop_map(move |changes| {
            let apply = |layout: Layout, (shard, node, state)| {
                layout.with_state(Shard(shard), NodeIdx(node), state)
            };
            changes.into_iter().fold(layout.clone(), apply)
        })
    })
}

const STATES: [CopyState; 5] = [
    CopyState::Joining,
    CopyState::InSync,
    CopyState::Leaving,
    CopyState::OutOfSync,
    CopyState::LeftOver,
];

/// What is left over is no copy any more.
fn writers(layout: &Layout, shard: Shard) -> impl Iterator<Item = &Placement> {
    let copies = layout.copies_of(shard).iter();
    copies.filter(|copy| copy.state != CopyState::LeftOver)
}

fn can_answer(layout: &Layout, shard: Shard, down: &HashSet<u16>, group: Option<u16>) -> bool {
    layout.copies_of(shard).iter().any(|copy| {
        copy.state.serves()
            && !down.contains(&copy.node.0)
            && group.is_none_or(|group| layout.group_of(copy.node) == Some(group))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_read_plan_asks_for_every_shard_exactly_once(
        layout in any_layout(),
        down in prop::collection::hash_set(0u16..18, 0..6),
        some in prop::option::of(prop::collection::vec(0u16..40, 0..10)),
        seed: u64,
    ) {
        let only: Option<Vec<Shard>> =
            some.map(|some| some.into_iter().map(|shard| Shard(shard % layout.shards)).collect());
        let usable = |node: NodeIdx| !down.contains(&node.0);
        let plan = read_plan(&layout, only.as_deref(), seed, usable);
        prop_assert_eq!(&read_plan(&layout, only.as_deref(), seed, usable), &plan);

        let mut wanted = only.unwrap_or_else(|| layout.all_shards().collect());
        wanted.sort();
        wanted.dedup();
        let mut seen: Vec<Shard> = plan.targets.iter().flat_map(|target| target.shards.iter().copied()).collect();
        seen.extend(&plan.uncovered);
        seen.sort();
        prop_assert_eq!(&seen, &wanted);

        let uncovered: Vec<Shard> =
            wanted.iter().copied().filter(|shard| !can_answer(&layout, *shard, &down, None)).collect();
        prop_assert_eq!(&plan.uncovered, &uncovered);

        for target in &plan.targets {
            prop_assert!(usable(target.node));
            prop_assert!(target.shards.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(target.whole, layout.shards_of(target.node) == target.shards.to_vec());
            for shard in &target.shards {
                let serves = layout.copies_of(*shard).iter().any(|c| c.node == target.node && c.state.serves());
                prop_assert!(serves);
            }
        }
        prop_assert!(plan.targets.windows(2).all(|pair| pair[0].shards[0] < pair[1].shards[0]));
        let nodes: HashSet<NodeIdx> = plan.targets.iter().map(|target| target.node).collect();
        prop_assert_eq!(nodes.len(), plan.targets.len());

        // One group answers where one can, the first from the seeded one on.
        let groups = layout.replica_groups;
        let able = (0..groups).map(|turn| ((seed % u64::from(groups)) as u16 + turn) % groups)
            .find(|group| wanted.iter().all(|shard| can_answer(&layout, *shard, &down, Some(*group))));
        if let Some(group) = able {
            prop_assert!(plan.targets.iter().all(|target| layout.group_of(target.node) == Some(group)));
        }
    }

    #[test]
    fn a_write_plan_reaches_every_copy_of_the_shards(layout in any_layout(), some in prop::collection::vec(0u16..40, 0..10)) {
        let shards: Vec<Shard> = some.into_iter().map(|shard| Shard(shard % layout.shards)).collect();
        let unwritable = |shard: &Shard| writers(&layout, *shard).next().is_none();
        if shards.iter().any(unwritable) {
            let mut expected: Vec<Shard> = shards.into_iter().filter(unwritable).collect();
            expected.sort();
            expected.dedup();
            prop_assert_eq!(write_plan(&layout, &expected.clone()), Err(expected));
            return Ok(());
        }
        let planned: Vec<(Shard, NodeIdx)> = write_plan(&layout, &shards)
            .unwrap()
            .iter()
            .flat_map(|target| target.shards.iter().map(|shard| (*shard, target.node)).collect::<Vec<_>>())
            .collect();
        let planned_once: HashSet<_> = planned.iter().copied().collect();
        prop_assert_eq!(planned.len(), planned_once.len());
        let copies: HashSet<(Shard, NodeIdx)> =
            shards.iter().flat_map(|shard| writers(&layout, *shard).map(|copy| (*shard, copy.node))).collect();
        prop_assert_eq!(planned_once, copies);
    }

    #[test]
    fn a_write_counts_when_one_group_has_a_majority_of_each_shard(layout in any_layout(), took in prop::collection::vec(any::<bool>(), 18)) {
        let all: Vec<Shard> = layout.all_shards().filter(|shard| writers(&layout, *shard).next().is_some()).collect();
        let targets = write_plan(&layout, &all).unwrap();
        let took = &took[..targets.len()];
        let accepted_by = |node: NodeIdx| targets.iter().zip(took).any(|(target, took)| target.node == node && *took);
        let mut without = Vec::new();
        let mut missed = Vec::new();
        for shard in all {
            let mut by_group: BTreeMap<u16, usize> = BTreeMap::new();
            for copy in writers(&layout, shard) {
                match accepted_by(copy.node) {
                    true if copy.state.serves() => *by_group.entry(layout.group_of(copy.node).unwrap()).or_default() += 1,
                    true => {}
                    false => missed.push((shard, copy.node)),
                }
            }
            let majority = |group: u16, took: usize| {
                let complete_once = writers(&layout, shard).filter(|copy| {
                    copy.state != CopyState::Joining && layout.group_of(copy.node) == Some(group)
                });
                took * 2 > complete_once.count().min(usize::from(layout.replication_factor))
            };
            if !by_group.iter().any(|(group, took)| majority(*group, *took)) {
                without.push(shard);
            }
        }
        missed.sort();
        let expected =
            if without.is_empty() { Verdict::Accepted { missed } } else { Verdict::NoQuorum { shards: without } };
        prop_assert_eq!(judge(&layout, &targets, took), expected);
    }

    /// What serves afterwards surely has the same documents, and something serves that did before.
    #[test]
    fn copies_that_differ_after_a_failed_write_do_not_serve(layout in any_layout(), fates in prop::collection::vec(any_fate(), 18)) {
        let all: Vec<Shard> = layout.all_shards().filter(|shard| writers(&layout, *shard).next().is_some()).collect();
        let targets = write_plan(&layout, &all).unwrap();
        let fates = &fates[..targets.len()];
        let gone = diverged(&layout, &targets, fates);
        let fate = |node: NodeIdx| targets.iter().zip(fates).find(|(target, _)| target.node == node).map(|(_, fate)| *fate);
        for shard in all {
            let serving = || layout.copies_of(shard).iter().filter(|copy| copy.state.serves());
            let left: Vec<Fate> =
                serving().filter(|copy| !gone.contains(&(shard, copy.node))).filter_map(|copy| fate(copy.node)).collect();
            prop_assert_eq!(left.is_empty(), serving().next().is_none());
            let nobody = |fate: Fate| matches!(fate, Fate::NotTaken | Fate::Unreachable);
            if writers(&layout, shard).filter_map(|copy| fate(copy.node)).all(nobody) {
                prop_assert_eq!(left.len(), serving().count());
                continue;
            }
            prop_assert!(left.len() <= 1 || left.iter().all(|fate| *fate == left[0] && *fate != Fate::Unknown));
            let any = |wanted: Fate| serving().any(|copy| fate(copy.node) == Some(wanted));
            prop_assert!(!any(Fate::Taken) || left[0] == Fate::Taken);
            // Never only what cannot be reached, while another may serve.
            let reachable = serving().any(|copy| fate(copy.node) != Some(Fate::Unreachable));
            prop_assert!(!reachable || left[0] != Fate::Unreachable);
        }
    }
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop::sample::select(vec![
        Fate::Taken,
        Fate::NotTaken,
        Fate::Unreachable,
        Fate::Unknown,
    ])
}

fn nodes_of(plan: &ReadPlan) -> Vec<u16> {
    plan.targets.iter().map(|target| target.node.0).collect()
}

#[test]
fn the_seed_chooses_the_group_and_spreads_over_copies() {
    let three_groups = layout(16, 1, 3, 1);
    for seed in 0..9 {
        assert_eq!(
            nodes_of(&read_plan(&three_groups, None, seed, |_| true)),
            [(seed % 3) as u16]
        );
    }
    let copies = layout(1, 2, 1, 2);
    let asked: HashSet<Vec<u16>> = (0..32)
        .map(|seed| nodes_of(&read_plan(&copies, None, seed, |_| true)))
        .collect();
    assert_eq!(asked, HashSet::from([vec![0], vec![1]]));
}

#[test]
fn a_node_is_asked_without_a_filter_only_for_all_that_it_holds() {
    let simple = layout(16, 1, 1, 3);
    let plan = read_plan(&simple, None, 0, |_| true);
    assert_eq!(plan.targets.len(), 3);
    assert!(plan.targets.iter().all(|target| target.whole));
    // A copy that is being filled is on the node too, and must not be counted.
    let shard = *plan.targets[0].shards.first().unwrap();
    let moving = simple.with_state(shard, plan.targets[1].node, CopyState::Joining);
    let left_over = simple.with_state(shard, plan.targets[1].node, CopyState::LeftOver);
    for layout in [moving, left_over] {
        let plan = read_plan(&layout, None, 0, |_| true);
        let whole: Vec<bool> = plan.targets.iter().map(|target| target.whole).collect();
        assert_eq!(whole, [true, false, true]);
    }
    let one = read_plan(&simple, Some(&[shard]), 0, |_| true);
    assert!(!one.targets[0].whole);
}

#[test]
fn a_node_that_may_be_down_is_asked_for_its_shards_alone() {
    let simple = layout(16, 1, 1, 3);
    let mut plan = read_plan(&simple, None, 0, |node| node.0 != 1);
    let more = read_plan(&simple, Some(&plan.uncovered), 0, |_| true);
    assert!(more.targets[0].whole);
    plan.complete(more, true);
    assert!(plan.uncovered.is_empty());
    assert_eq!(plan.targets.len(), 3);
    assert!(plan.targets.is_sorted_by_key(|target| target.shards[0]));
    for target in &plan.targets {
        assert_eq!(target.whole, target.node.0 != 1);
    }
}

#[test]
fn one_of_several_complete_nodes_is_enough() {
    let copies = layout(16, 3, 1, 3);
    assert_eq!(read_plan(&copies, None, 7, |_| true).targets.len(), 1);
    assert_eq!(
        nodes_of(&read_plan(&copies, None, 7, |node| node.0 == 2)),
        [2]
    );
    let nobody = read_plan(&copies, None, 7, |_| false);
    assert!(nobody.targets.is_empty());
    assert_eq!(nobody.uncovered.len(), 16);
}

#[test]
fn groups_help_each_other_out_when_none_is_complete() {
    let groups = layout(8, 1, 2, 2);
    let of_group = |group| {
        (0..4)
            .map(NodeIdx)
            .filter(|n| groups.group_of(*n) == Some(group))
            .collect::<Vec<_>>()
    };
    let down = [of_group(0)[0], of_group(1)[0]];
    let plan = read_plan(&groups, None, 0, |node| !down.contains(&node));
    let both_gone = |shard: &Shard| {
        groups
            .copies_of(*shard)
            .iter()
            .all(|copy| down.contains(&copy.node))
    };
    assert_eq!(
        plan.uncovered,
        groups.all_shards().filter(both_gone).collect::<Vec<_>>()
    );
    assert_eq!(plan.targets.len(), 2);
}

#[test]
fn a_write_that_only_an_incomplete_copy_took_does_not_count() {
    let shard = Shard(0);
    let one = layout(1, 1, 1, 2);
    let holder = one.copies_of(shard)[0].node;
    let other = NodeIdx(1 - holder.0);
    let moving = one
        .with_state(shard, holder, CopyState::Leaving)
        .with_state(shard, other, CopyState::Joining);
    let targets = write_plan(&moving, &[shard]).unwrap();
    let took = |node: NodeIdx| {
        targets
            .iter()
            .map(|target| target.node == node)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        judge(&moving, &targets, &took(other)),
        Verdict::NoQuorum {
            shards: vec![shard]
        }
    );
    assert_eq!(
        judge(&moving, &targets, &took(holder)),
        Verdict::Accepted {
            missed: vec![(shard, other)]
        }
    );
}
