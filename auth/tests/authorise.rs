//! The whole decision: header, route, key or token, and the words of every refusal.

use miroir_auth::routes::Needs::{Both, One};
use miroir_auth::Action::*;
use miroir_auth::{bearer, check_single_key, derive, Access, Action, IndexPattern, Key, Keyring};
use proptest::prelude::*;
use serde_json::Value;
use time::macros::datetime;
use time::OffsetDateTime;
use uuid::Uuid;

const MASTER: &str = "MASTER_KEY";
/// 1 800 000 000 seconds after 1970.
const NOW: OffsetDateTime = datetime!(2027-01-15 08:00 UTC);

fn key(uid: Uuid, actions: &[Action], indexes: &[&str]) -> Key {
    Key {
        uid,
        name: None,
        description: None,
        actions: actions.to_vec(),
        indexes: indexes
            .iter()
            .map(|text| IndexPattern::parse(text).unwrap())
            .collect(),
        expires_at: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// A ring with one key, and the header that presents it.
fn ring_with(actions: &[Action], indexes: &[&str]) -> (Keyring, String) {
    let key = key(Uuid::new_v4(), actions, indexes);
    let header = format!("Bearer {}", derive(MASTER, key.uid));
    (Keyring::new(Some(MASTER.to_owned()), [&key]), header)
}

fn words(result: Result<Access, miroir_api::Error>) -> (u16, String, String) {
    let error = result.unwrap_err();
    (error.status, error.code.into_owned(), error.message)
}

const INVALID: &str = "The provided API key is invalid.";

#[test]
fn the_header_is_read_as_meilisearch_reads_it() {
    assert_eq!(bearer(None).unwrap(), None);
    assert_eq!(bearer(Some("Bearer k")).unwrap(), Some("k"));
    assert_eq!(bearer(Some("Bearer  k")).unwrap(), Some(" k"));
    assert_eq!(bearer(Some("Bearer ")).unwrap(), Some(""));
    let code = |header| bearer(Some(header)).unwrap_err().code;
    assert_eq!(code("Bearer"), "invalid_api_key");
    assert_eq!(code("bearer k"), "missing_authorization_header");
    assert_eq!(code("Basic k"), "missing_authorization_header");
    assert_eq!(code(""), "missing_authorization_header");
}

#[test]
fn one_key_guards_the_operators_routes() {
    assert!(check_single_key(None, Some("anything")).is_ok());
    assert!(check_single_key(Some("k"), Some("Bearer k")).is_ok());
    assert_eq!(check_single_key(Some("k"), None).unwrap_err().status, 401);
    assert_eq!(
        check_single_key(Some("k"), Some("Bearer kk"))
            .unwrap_err()
            .status,
        403
    );
}

#[test]
fn without_a_master_key_all_is_open_but_the_keys() {
    let ring = Keyring::default();
    let ask = |action, header: Option<&str>| ring.authorise(One(action), None, header, NOW);
    assert!(ask(Search, None).unwrap().sees_all());
    assert!(ask(DumpsCreate, Some("Bearer anything"))
        .unwrap()
        .may_create("x"));
    for action in [KeysGet, KeysCreate, KeysUpdate, KeysDelete] {
        let (status, code, _) = words(ask(action, None));
        assert_eq!((status, code.as_str()), (401, "missing_master_key"));
    }
    assert_eq!(
        words(ask(Search, Some("Basic x"))).1,
        "missing_authorization_header"
    );
}

#[test]
fn the_master_key_opens_all_and_nothing_else_does() {
    let (ring, _) = ring_with(&[Search], &["*"]);
    let ask = |header: Option<&str>| ring.authorise(One(KeysDelete), None, header, NOW);
    assert!(ask(Some("Bearer MASTER_KEY")).unwrap().sees_all());
    assert_eq!(words(ask(None)).1, "missing_authorization_header");
    for wrong in [
        "MASTER_KE",
        "MASTER_KEY ",
        "master_key",
        "",
        &"0".repeat(64),
    ] {
        let header = format!("Bearer {wrong}");
        assert_eq!(
            words(ask(Some(&header))),
            (403, "invalid_api_key".into(), INVALID.into())
        );
    }
}

#[test]
fn a_key_opens_its_actions_on_its_indexes() {
    let (ring, header) = ring_with(&[DocumentsAll, IndexesCreate], &["film*", "songs", "songs"]);
    let ask = |action, index| ring.authorise(One(action), index, Some(header.as_str()), NOW);
    let access = ask(DocumentsAdd, Some("films")).unwrap();
    assert!(access.may_create("films") && !access.may_create("books") && !access.sees_all());
    assert_eq!(words(ask(Search, Some("films"))).2, INVALID);
    assert_eq!(
        words(ask(DocumentsAdd, Some("books"))).2,
        "The API key cannot acces the index `books`, authorized indexes are [\"film*\", \"songs\"]."
    );
    // Routes without an index: those that look for themselves what may be seen, and no others.
    assert!(ask(IndexesCreate, None).is_ok());
    assert!(ask(DocumentsGet, None).is_ok());
    assert_eq!(words(ask(DocumentsAdd, None)).2, INVALID);
    // Editing by function is asked for by the wildcard's own name, which only `*` holds.
    assert_eq!(words(ask(DocumentsAll, Some("films"))).2, INVALID);
}

#[test]
fn a_key_in_capitals_is_the_same_key() {
    let (ring, header) = ring_with(&[Search], &["*"]);
    let capitals = format!("Bearer {}", header["Bearer ".len()..].to_uppercase());
    assert!(ring
        .authorise(One(Search), Some("a"), Some(&capitals), NOW)
        .is_ok());
}

#[test]
fn two_actions_are_both_needed() {
    let ask = |actions: &[Action]| {
        let (ring, header) = ring_with(actions, &["a"]);
        ring.authorise(Both(SettingsGet, DocumentsGet), None, Some(&header), NOW)
    };
    assert!(ask(&[SettingsGet, DocumentsGet]).is_ok());
    assert_eq!(words(ask(&[SettingsGet])).2, INVALID);
    assert_eq!(words(ask(&[DocumentsGet])).2, INVALID);
}

#[test]
fn an_expired_key_and_one_for_no_index_open_nothing() {
    let mut old = key(Uuid::new_v4(), &[All], &["*"]);
    old.expires_at = Some(NOW);
    let header = format!("Bearer {}", derive(MASTER, old.uid));
    let ring = Keyring::new(Some(MASTER.to_owned()), [&old]);
    let at = |now| ring.authorise(One(Search), Some("a"), Some(&header), now);
    assert_eq!(words(at(NOW)).2, INVALID);
    assert!(at(NOW - time::Duration::nanoseconds(1)).is_ok());

    let (ring, header) = ring_with(&[All], &[]);
    let ask = |action, index| ring.authorise(One(action), index, Some(header.as_str()), NOW);
    assert_eq!(
        words(ask(Search, Some("a"))).2,
        "The API key cannot acces the index `a`, authorized indexes are []."
    );
    assert_eq!(words(ask(TasksGet, None)).2, INVALID);
}

/// The tokens were made by PyJWT (`testdata/tokens.py`), the words stand in Meilisearch's tests.
#[test]
fn tokens_of_another_implementation() {
    let vectors: Value = serde_json::from_str(include_str!("../testdata/tokens.json")).unwrap();
    let parent = key(Uuid::nil(), &[Search], &["*"]);
    assert_eq!(derive(MASTER, parent.uid), vectors["key"]);
    let ring = Keyring::new(Some(MASTER.to_owned()), [&parent]);
    let ask = |token: &str, action| {
        ring.authorise(One(action), None, Some(&format!("Bearer {token}")), NOW)
    };
    for (name, token) in vectors["valid"].as_object().unwrap() {
        let token = token.as_str().unwrap();
        assert!(ask(token, Search).is_ok(), "{name}");
        // On other routes a token is not even read.
        assert_eq!(words(ask(token, DocumentsGet)).2, INVALID, "{name}");
    }
    for (name, case) in vectors["refused"].as_object().unwrap() {
        let (status, code, message) = words(ask(case[0].as_str().unwrap(), Search));
        assert_eq!((status, code.as_str()), (403, "invalid_api_key"), "{name}");
        if let Some(expected) = case[1].as_str() {
            assert_eq!(message, expected, "{name}");
        }
    }
}

#[test]
fn a_token_opens_what_both_it_and_its_key_allow() {
    let vectors: Value = serde_json::from_str(include_str!("../testdata/tokens.json")).unwrap();
    let parent = key(Uuid::nil(), &[Search], &["films", "tunes"]);
    let ring = Keyring::new(Some(MASTER.to_owned()), [&parent]);
    let header = |name: &str| format!("Bearer {}", vectors["valid"][name].as_str().unwrap());
    let ask = |name, index| ring.authorise(One(Search), Some(index), Some(&header(name)), NOW);
    assert!(ask("a list", "films").unwrap().sees("films"));
    assert_eq!(
        words(ask("a list", "tunes")).2,
        "The provided tenant token cannot acces the index `tunes`, allowed indexes are [\"films\", \"song*\"]."
    );
    assert_eq!(
        words(ask("a list", "songs")).2,
        "The API key used to generate this tenant token cannot acces the index `songs`."
    );
    let mut filter = Some("year > 2000".into());
    ask("a map", "films")
        .unwrap()
        .restrict("films", &mut filter);
    assert_eq!(filter, Some(serde_json::json!(["year > 2000", "user = 1"])));
    // A token for all indexes of a key for some.
    let all = ring
        .authorise(One(Search), None, Some(&header("512 bits")), NOW)
        .unwrap();
    assert!(all.sees("films") && !all.sees("songs") && !all.sees_all());
}

proptest! {
    /// Nothing but the key itself and what it signed is let in, and nothing panics.
    #[test]
    fn no_other_text_is_a_key(text in "[ -~]{0,80}|[a-zA-Z0-9_-]{0,40}\\.[a-zA-Z0-9_-]{0,60}\\.[a-zA-Z0-9_-]{0,50}") {
        let (ring, _) = ring_with(&[All], &["*"]);
        let header = format!("Bearer {text}");
        prop_assert!(ring.authorise(One(Search), Some("a"), Some(&header), NOW).is_err());
    }

    /// A token of which one byte was changed is another text, and no token.
    #[test]
    fn a_changed_token_is_refused(at in 0_usize..100, byte in "[A-Za-z0-9_.-]") {
        let vectors: Value = serde_json::from_str(include_str!("../testdata/tokens.json")).unwrap();
        let token = vectors["valid"]["a list"].as_str().unwrap();
        let at = at % token.len();
        let changed = format!("{}{byte}{}", &token[..at], &token[at + 1..]);
        let parent = key(Uuid::nil(), &[Search], &["*"]);
        let ring = Keyring::new(Some(MASTER.to_owned()), [&parent]);
        let result = ring.authorise(One(Search), None, Some(&format!("Bearer {changed}")), NOW);
        prop_assert_eq!(result.is_ok(), changed == token);
    }
}
