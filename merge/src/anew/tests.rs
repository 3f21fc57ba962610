use super::*;

const PLAIN: Telling<'static> = Telling {
    levels: &|_| None,
    weight: &|_| 1.0,
};

fn rank(rank: u64, max: u64) -> Rank {
    (rank, max)
}

#[test]
fn a_score_is_another_with_other_ranks() {
    // What stands within is 12,345 of 67,200.
    let of = |ranks: &[Rank]| {
        let (above, below) = ranks
            .iter()
            .rev()
            .fold((12_345, 67_200), |(above, below), rank| {
                ((rank.0 - 1) * below + above, rank.1 * below)
            });
        above as f64 / below as f64
    };
    for (told, anew) in [
        (vec![(2, 3)], vec![(2, 2)]),
        (vec![(1, 4)], vec![(3, 5)]),
        (vec![(1, 1)], vec![(7, 9)]),
        (vec![(2, 2), (3, 3)], vec![(2, 2), (6, 6)]),
        (vec![(9, 10), (19, 21)], vec![(4, 4), (20, 22)]),
        (vec![(1, 10), (1, 2)], vec![(1, 10), (3, 4)]),
    ] {
        let ranks: Vec<(Rank, Rank)> = told.iter().copied().zip(anew.iter().copied()).collect();
        assert_eq!(with_ranks(of(&told), &ranks), Some(of(&anew)), "{ranks:?}");
    }
    // Nothing stands within.
    let one = |told, anew| [(told, anew)];
    assert_eq!(
        with_ranks(2.0 / 3.0, &one(rank(2, 3), rank(1, 2))),
        Some(0.5)
    );
    for wrong in [f64::NAN, f64::INFINITY, 0.1, 7.0] {
        assert_eq!(
            with_ranks(wrong, &one(rank(2, 3), rank(1, 2))),
            None,
            "{wrong}"
        );
    }
    assert_eq!(with_ranks(0.5, &one(rank(1, 2), rank(1, 0))), None);
}

fn told(answers: &[&str], telling: &Telling) -> Vec<String> {
    let answers: Vec<Bytes> = answers
        .iter()
        .map(|answer| Bytes::copy_from_slice(answer.as_bytes()))
        .collect();
    let text = |answer: &Bytes| String::from_utf8(answer.to_vec()).unwrap();
    told_anew(&answers, telling).iter().map(text).collect()
}

/// An answer with one hit: two of two words, no typo of so many.
fn answer(max_typos: u64, sorted: &str) -> String {
    let max = max_typos + 1;
    // What stands within is a half.
    let score = ((max as f64 - 1.0) + 0.5 + max as f64) / (2.0 * max as f64);
    format!(
        r#"{{"hits":[{{"id":1,"_rankingScore":{score:?},"_rankingScoreDetails":{{{sorted}"words":{{"order":1,"matchingWords":2,"maxMatchingWords":2,"score":1.0}},"typo":{{"order":2,"typoCount":0,"maxTypoCount":{max_typos},"score":1.0}},"proximity":{{"order":3,"score":0.5}}}}}}],"query":"a b"}}"#
    )
}

#[test]
fn all_nodes_have_the_most_typos_of_any() {
    let (few, many) = (answer(1, ""), answer(3, ""));
    let both = told(&[&few, &many, "{"], &PLAIN);
    assert_eq!(both, [many.clone(), many.clone(), "{".to_owned()]);
    // Another bucket has another graph.
    let at = |value: u8| format!(r#""a:asc":{{"order":0,"value":{value}}},"#);
    let apart = [answer(1, &at(1)), answer(3, &at(2))];
    assert_eq!(told(&[&apart[0], &apart[1]], &PLAIN), apart);
    let hidden = r#""<hidden-rule-0>":{"order":0,"value":"<hidden>"},"#;
    let apart = [answer(1, hidden), answer(3, hidden)];
    assert_eq!(told(&[&apart[0], &apart[1]], &PLAIN), apart);
    // A rule that sorts behind the words goes on with their graph.
    for sorted in [
        [
            r#""a:asc":{"order":1,"value":1},"#,
            r#""a:asc":{"order":1,"value":2},"#,
        ],
        [r#""<hidden-rule-0>":{"order":1,"value":"<hidden>"},"#; 2],
    ] {
        let behind = |max_typos, sorted| {
            let answer = answer(max_typos, sorted);
            answer.replace(r#""order":1,"matching"#, r#""order":0,"matching"#)
        };
        let (few, many) = (behind(1, sorted[0]), behind(3, sorted[1]));
        let both = told(&[&few, &many], &PLAIN);
        assert!(both[0].contains(r#""maxTypoCount":3"#), "{}", both[0]);
        assert_eq!(both[1], many);
    }
}

const LEVEL: Level = Level {
    missing: 0,
    max: 3,
    most_typos: None,
    steps_before: 0,
    threshold: None,
};

fn told_of(hit: &str, level: Level) -> String {
    let answer = format!(r#"{{"hits":[{hit}],"query":"a b"}}"#);
    let telling = Telling {
        levels: &|_| Some(level),
        ..PLAIN
    };
    let told = told(&[&answer], &telling).remove(0);
    let hit = told.strip_prefix(r#"{"hits":["#).unwrap();
    hit.strip_suffix(r#"],"query":"a b"}"#).unwrap().to_owned()
}

fn words(matching: u64, max: u64) -> String {
    let score = matching as f64 / max as f64;
    format!(
        r#""words":{{"order":0,"matchingWords":{matching},"maxMatchingWords":{max},"score":{score:?}}}"#
    )
}

fn hit(score: f64, words: &str, order: u64) -> String {
    format!(
        r#"{{"id":1,"_rankingScore":{score:?},"_rankingScoreDetails":{{{words}"exactness":{{"order":{order}}}}}}}"#
    )
}

#[test]
fn words_match_of_those_that_may_be_missing() {
    let expected = hit(2.5 / 3.0, &(words(3, 3) + ","), 1);
    assert_eq!(
        told_of(&hit(0.75, &(words(2, 2) + ","), 1), LEVEL),
        expected
    );
    // A node that does not tell them.
    let node = hit(0.5, "", 0);
    assert_eq!(told_of(&node, LEVEL), expected);
    let two_missing = Level {
        missing: 2,
        ..LEVEL
    };
    let expected = hit(0.5 / 3.0, &(words(1, 3) + ","), 1);
    assert_eq!(told_of(&node, two_missing), expected);
    // Another search's hit.
    let other = hit(0.75, &(words(2, 2) + ","), 1);
    assert_eq!(told_of(&other, two_missing), other);
    let bare = r#"{"_rankingScore":1.0,"_rankingScoreDetails":{}}"#;
    let expected = format!(
        r#"{{"_rankingScore":{:?},"_rankingScoreDetails":{{{}}}}}"#,
        1.0 / 3.0,
        words(1, 3)
    );
    assert_eq!(told_of(bare, two_missing), expected);
}

#[test]
fn words_stand_behind_what_sorts() {
    let level = Level {
        missing: 1,
        steps_before: 1,
        ..LEVEL
    };
    let sorted = r#"{"_rankingScore":1.0,"_rankingScoreDetails":{"a:asc":{"order":0,"value":1},"typo":{"order":1}}}"#;
    let expected = r#"{"_rankingScore":0.6666666666666666,"_rankingScoreDetails":{"a:asc":{"order":0,"value":1},"words":{"order":1,"matchingWords":2,"maxMatchingWords":3,"score":0.6666666666666666},"typo":{"order":2}}}"#;
    assert_eq!(told_of(sorted, level), expected);
    let hidden = sorted.replace("a:asc", "<hidden-rule-0>");
    let expected = expected.replace("a:asc", "<hidden-rule-0>");
    assert_eq!(told_of(&hidden, level), expected);
    // The score ends with the words.
    let sorted = r#"{"_rankingScore":0.5,"_rankingScoreDetails":{"b:asc":{"order":0,"value":1},"typo":{"order":1}}}"#;
    let expected = format!(
        r#"{{"_rankingScore":0.6666666666666666,"_rankingScoreDetails":{{{},"b:asc":{{"order":1,"value":1}},"typo":{{"order":2}}}}}}"#,
        words(2, 3)
    );
    let level = Level {
        steps_before: 0,
        ..level
    };
    assert_eq!(told_of(sorted, level), expected);
}

#[test]
fn words_that_could_be_one_are_no_typos_where_none_are() {
    let level = Level {
        most_typos: Some(2),
        steps_before: 1,
        max: 2,
        ..LEVEL
    };
    let hit = |score: f64, words: &str, order: u64, most: u64| {
        format!(
            r#"{{"_rankingScore":{score:?},"_rankingScoreDetails":{{"a:asc":{{"order":0,"value":1}},{words}"typo":{{"order":{order},"typoCount":0,"maxTypoCount":{most},"score":1.0}},"proximity":{{"order":{},"score":0.5}}}}}}"#,
            order + 1
        )
    };
    let words = words(2, 2).replace("\"order\":0", "\"order\":1") + ",";
    let anew = hit(5.5 / 6.0, &words, 2, 2);
    assert_eq!(told_of(&hit(3.5 / 4.0, "", 1, 3), level), anew);
}

#[test]
fn hits_below_a_threshold_are_left_out() {
    let level = Level {
        threshold: Some(2.5 / 3.0),
        ..LEVEL
    };
    let hit = |score: f64| hit(score, &(words(2, 2) + ","), 1);
    let high = told_of(&hit(0.75), level);
    for (hits, expected) in [
        (vec![0.75, 0.74, 0.6], high.clone()),
        (vec![0.6, 0.75, 0.75], format!("{high},{high}")),
        (vec![0.74, 0.6], String::new()),
        (vec![0.75, 0.6, 0.75], format!("{high},{high}")),
    ] {
        let hits: Vec<String> = hits.into_iter().map(hit).collect();
        assert_eq!(told_of(&hits.join(","), level), expected);
    }
}

#[test]
fn weighted_scores_are_told_too() {
    let hit = |score: f64, words: &str| {
        format!(
            r#"{{"hits":[{{"_federation":{{"queriesPosition":1,"weightedRankingScore":{score:?},"weightedScoreValues":[{{"sort":{{"asc":true,"value":1}}}},{{"weightedScore":{score:?}}}]}},"_rankingScoreDetails":{{"a:asc":{{"order":0,"value":1}},"words":{{"order":1,{words},"score":1.0}}}}}}]}}"#
        )
    };
    let level = Level {
        max: 2,
        steps_before: 1,
        ..LEVEL
    };
    let telling = Telling {
        levels: &|_| Some(level),
        weight: &|query| if query == 1 { 2.0 } else { 1.0 },
    };
    let answer = hit(2.0 * 0.75, r#""matchingWords":1,"maxMatchingWords":1"#);
    let anew = hit(2.0 * 0.875, r#""matchingWords":2,"maxMatchingWords":2"#);
    assert_eq!(told(&[&answer], &telling), [anew]);
}

#[test]
fn the_score_of_words_alone_is_a_weighted_value_too() {
    let telling = Telling {
        levels: &|_| {
            Some(Level {
                missing: 1,
                max: 2,
                steps_before: 1,
                ..LEVEL
            })
        },
        weight: &|_| 2.0,
    };
    let sorted = r#"{"sort":{"asc":true,"value":1}}"#;
    let hit = |score: f64, values: &str, details: &str| {
        format!(
            r#"{{"hits":[{{"_federation":{{"weightedRankingScore":{score:?},"weightedScoreValues":[{values}]}},"_rankingScoreDetails":{{"a:asc":{{"order":0,"value":1}}{details}}}}}]}}"#
        )
    };
    let words = r#","words":{"order":1,"matchingWords":1,"maxMatchingWords":2,"score":0.5}"#;
    // Nothing stands behind.
    let answer = hit(2.0, sorted, "");
    let anew = hit(1.0, &format!(r#"{sorted},{{"weightedScore":1.0}}"#), words);
    assert_eq!(told(&[&answer], &telling), [anew]);
    // What sorts, and a score of its own behind that.
    let behind = |order: u64| {
        let next = order + 1;
        format!(r#","b:asc":{{"order":{order},"value":1}},"attribute":{{"order":{next}}}"#)
    };
    let rest = format!(r#"{sorted},{{"weightedScore":1.8}}"#);
    let answer = hit(1.8, &format!("{sorted},{rest}"), &behind(1));
    let anew = hit(
        1.0,
        &format!(r#"{sorted},{{"weightedScore":1.0}},{rest}"#),
        &(words.to_owned() + &behind(2)),
    );
    assert_eq!(told(&[&answer], &telling), [anew]);
}
