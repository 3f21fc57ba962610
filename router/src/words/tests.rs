use super::*;

const NONE: &[String] = &[];
const GONE: &str = "-zqxjk";

fn with(stop_words: &[&str], separators: &[&str], dictionary: &[&str]) -> WordSettings {
    let list = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
    WordSettings {
        stop_words: list(stop_words),
        separators: list(separators),
        dictionary: list(dictionary),
        ..WordSettings::default()
    }
}

/// The words of a query, phrases in brackets.
fn words(settings: &WordSettings, query: &str) -> Option<Vec<String>> {
    let read = settings.read(query, NONE)?;
    let told = |term: &Term| {
        let words: Vec<&str> = term
            .words
            .iter()
            .map(|w| w.as_deref().unwrap_or("*"))
            .collect();
        if term.is_phrase {
            format!("[{}]", words.join(" "))
        } else {
            words.concat()
        }
    };
    Some(read.terms.iter().map(told).collect())
}

#[test]
fn queries_are_read_as_the_engine_does() {
    let plain = WordSettings::default();
    for (query, expected) in [
        ("Red  fox ", "red fox"),
        (" été NASA", "ete nasa"),
        ("Spirit: fox, ... b!", "spirit fox b"),
        ("l'an U.S. a/b DragonBall", "l an u s a b dragonball"),
        ("\"a B\" c", "[a b] c"),
        ("a -b -\"c d\" e-f", "a e f"),
        ("a \"b. c", "a [b] [c]"),
        ("“a b” c", "a b c"),
        ("\"\" a \"b", "a [b]"),
        ("Жена и мир Ωδή", "жена и мир ωδη"),
        ("السلام عليكم", "ال سلام عليكم"),
        ("राम कथा שלום", "राम कथा שלום"),
        ("小蛇在北京 a", "小蛇 在 北京 a"),
        ("สวัสดีชาวโลก", "สวสด ชาวโลก"),
        ("1 2 3 4 5 6 7 8 9 10 11 12", "1 2 3 4 5 6 7 8 9 10"),
        ("a 東 1.5", "a 東 1 5"),
        ("", ""),
    ] {
        let read = words(&plain, query).map(|words| words.join(" "));
        assert_eq!(read.as_deref(), Some(expected), "{query}");
    }
    for unknown in ["東京へ行く a", "한국어 a", &"a".repeat(201)] {
        assert_eq!(words(&plain, unknown), None, "{unknown}");
    }
    let stops = with(&["the", "É", "с"], &[], &[]);
    assert_eq!(
        words(&stops, "the fox É с The the").unwrap(),
        ["fox", "the", "the"]
    );
    assert_eq!(words(&stops, "\"the fox\" a ").unwrap(), ["[* fox]", "a"]);
    let parts = with(&[], &["xx"], &["J. R. R."]);
    assert_eq!(
        words(&parts, "J. R. R. axxb").unwrap(),
        ["j. r. r.", "a", "b"]
    );
}

#[test]
fn words_of_languages_that_are_named() {
    let locale = |code: &str| [code.to_owned()];
    let count = |settings: &WordSettings, query: &str, locales: &[String]| {
        Some(settings.read(query, locales)?.terms.len())
    };
    let plain = WordSettings::default();
    let query = "Dampfschifffahrt ab Magdeburg";
    assert_eq!(count(&plain, query, NONE), Some(3));
    assert_eq!(count(&plain, query, &locale("de")), Some(4));
    assert_eq!(count(&plain, query, &locale("deu")), Some(4));
    assert_eq!(count(&plain, query, &locale("eng")), Some(3));
    assert_eq!(count(&plain, "東京", &locale("jpn")), None);
    assert_eq!(count(&plain, "北京", &locale("zh")), Some(1));
    assert_eq!(count(&plain, query, &locale("no such")), None);
    // Which languages a node goes by rests on the attributes that it knows,
    let localized = |pattern: &str| {
        let rule = serde_json::json!({"attributePatterns": [pattern], "locales": ["de"]});
        WordSettings::of(&serde_json::json!({"localizedAttributes": [rule]}))
    };
    let some = localized("*_de");
    assert_eq!(count(&some, query, NONE), None);
    assert_eq!(count(&some, "ab Berlin", NONE), Some(2));
    assert_eq!(count(&some, query, &locale("fra")), Some(3));
    // but for what goes for all of them.
    assert_eq!(count(&localized("*"), query, NONE), Some(4));
}

#[test]
fn a_word_that_is_replaced_changes_nothing_else() {
    let plain = WordSettings::default();
    let parts = with(&["le"], &["xx"], &["J. R. R."]);
    for (settings, query) in [
        (&plain, "the old fox"),
        (&plain, "l'an U.S. a/b, c. d!e ... f"),
        (&plain, "\"a b\" c -d \"e. f\" -\"g h\" i-j "),
        (&plain, "السلام عليكم السلام"),
        (&plain, "Война и мир Ωδή 東 a東b"),
        (&plain, "小蛇在北京"),
        (&plain, "สวัสดีชาวโลก a"),
        (&plain, "1 2 3 4 5 6 7 8 9 10 -11 \"12"),
        (&plain, "a-b--c -d-e"),
        (&plain, "(a)(b) «c» d"),
        (&parts, "J. R. R. axxb le vent le"),
    ] {
        let read = settings.read(query, NONE).unwrap();
        let words: Vec<usize> = read.words().collect();
        for set in 0..1u32 << words.len() {
            let set: Vec<usize> = words
                .iter()
                .enumerate()
                .filter(|(bit, _)| set & (1 << bit) != 0)
                .map(|(_, at)| *at)
                .collect();
            let replaced = settings.replace(&read, &set, GONE, NONE);
            assert!(replaced.is_some(), "{query} {set:?}");
            let replaced = settings.replace(&read, &set, "zqxjk", NONE);
            assert!(replaced.is_some(), "{query} {set:?}");
        }
        for at in words {
            assert!(
                read.part(at..at + 1, settings, NONE).is_some(),
                "{query} {at}"
            );
        }
    }
    let read = plain.read("a b, c", NONE).unwrap();
    assert_eq!(
        plain.replace(&read, &[0, 2], GONE, NONE).unwrap(),
        "-zqxjk b, -zqxjk"
    );
    assert_eq!(read.part(1..2, &plain, NONE).unwrap(), "b ");
    assert_eq!(read.part(2..3, &plain, NONE).unwrap(), "c");
}

#[test]
fn where_a_dash_parts_no_words_a_query_is_parted() {
    let undashed = |none: &[&str]| WordSettings {
        non_separators: none.iter().map(|none| none.to_string()).collect(),
        ..WordSettings::default()
    };
    let settings = undashed(&["-"]);
    let read = |text: &str| settings.read(text, NONE).unwrap();
    let query = read("a-1 b c");
    assert!(!settings.has_negatives(&query, NONE));
    assert_eq!(settings.replace(&query, &[0], GONE, NONE), None);
    let left = |words: &[usize]| settings.leave_out(&query, words, NONE).unwrap();
    for (words, text) in [
        (&[0][..], ".  b c"),
        (&[1], "a-1 .  c"),
        (&[2], "a-1 b . "),
        (&[0, 2], ".  b . "),
        (&[1, 2], "a-1 .  . "),
    ] {
        assert_eq!(left(words), text);
    }
    let positions = |text: &str| -> Vec<u16> {
        read(text)
            .terms
            .iter()
            .map(|term| term.positions.0)
            .collect()
    };
    assert_eq!(positions(&left(&[2])), [0, 1]);
    let apart = positions(&left(&[1]));
    assert!(apart[1] > apart[0] + 1, "they are no neighbours: {apart:?}");
    // What stood apart still does.
    let query = read("a \"b c\" d");
    let text = settings.leave_out(&query, &[2], NONE).unwrap();
    assert_eq!(text, "a \"b c\" . ");
    assert_eq!(
        settings.make_unknown(&read("a b"), &[0], NONE).unwrap(),
        format!("{UNKNOWN} b")
    );
    // Another end of a sentence, and none.
    let settings = undashed(&["-", ".", ". "]);
    let query = settings.read("a b c", NONE).unwrap();
    assert_eq!(settings.leave_out(&query, &[1], NONE).unwrap(), "a ;  c");
    let ends = ["-", ".", ". ", ";", "; ", "!", "! "];
    assert_eq!(undashed(&ends).leave_out(&query, &[1], NONE), None);
    let plain = WordSettings::default();
    assert!(plain.has_negatives(&query, NONE));
    assert_eq!(
        plain.leave_out(&query, &[1], NONE).unwrap(),
        format!("a {MISSING} c")
    );
}

#[test]
fn words_that_stand_together_may_be_one() {
    let plain = WordSettings::default();
    let joinable = |settings: &WordSettings, query: &str| -> Vec<(usize, usize)> {
        let read = settings.read(query, NONE).unwrap();
        read.joinable()
            .map(|terms| (terms.start, terms.end))
            .collect()
    };
    assert_eq!(joinable(&plain, "a b c"), [(0, 2), (1, 3), (0, 3)]);
    assert_eq!(joinable(&plain, "a, b c"), [(1, 3)]);
    assert!(joinable(&plain, "a \"b c\" d -e f").is_empty());
    assert_eq!(joinable(&with(&["of"], &[], &[]), "a of b c "), [(1, 3)]);
    let read = plain.read("the l'an Dor", NONE).unwrap();
    let joined = |terms: Range<usize>| read.joined(terms, &plain, NONE).unwrap();
    assert_eq!(joined(1..3), "-\"l'an\" lan ");
    assert_eq!(joined(1..4), "-\"l'an Dor\" landor");
    let beside = |text: &str, terms: Range<usize>| {
        let query = plain.read(text, NONE).unwrap();
        query.beside_joined(&read, terms, &plain, NONE)
    };
    assert_eq!(beside("-x l'an Dor", 1..3).unwrap(), "\"lan\" -x l'an Dor");
    // No more than ten words are looked for.
    assert_eq!(beside("a b c d e f g h i j", 1..3), None);
    assert_eq!(read.part(1..3, &plain, NONE).unwrap(), "l'an ");
    assert_eq!(read.part(0..4, &plain, NONE).unwrap(), "the l'an Dor");
    let undashed = WordSettings {
        non_separators: vec!["-".into()],
        ..WordSettings::default()
    };
    let read_undashed = undashed.read("the l'an Dor", NONE).unwrap();
    assert_eq!(read_undashed.joined(1..3, &undashed, NONE).unwrap(), "lan ");
    let synonyms = serde_json::json!({"synonyms": {"New-York": ["nyc"], "town": ["city"]}});
    let settings = WordSettings::of(&synonyms);
    let read = settings.read("new york town", NONE).unwrap();
    assert_eq!(read.joined(0..2, &settings, NONE), None);
    assert!(read.joined(1..3, &settings, NONE).is_some());
    // A phrase does without its stop words.
    let stops = with(&["la"], &[], &[]);
    assert_eq!(joinable(&stops, "de la"), [(0, 2)]);
    let read = stops.read("de la", NONE).unwrap();
    assert_eq!(read.joined(0..2, &stops, NONE), None);
    assert_eq!(read.part(0..2, &stops, NONE).unwrap(), "de la");
}
