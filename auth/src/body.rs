//! The bodies of `POST` and `PATCH /keys`, refused in Meilisearch's words (`meilisearch-types/src/keys.rs`).

use miroir_api::body::{
    immutable_field, invalid_value, missing_field, object, text, unknown_field, unknown_value,
    wrong_kind,
};
use miroir_api::Error;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, time};
use time::{Date, OffsetDateTime, PrimitiveDateTime};
use uuid::Uuid;

use crate::action::{Action, IndexScope, ACTIONS};
use crate::key::Key;
use crate::pattern::IndexPattern;

const FIELDS: [&str; 6] = [
    "description",
    "name",
    "uid",
    "actions",
    "indexes",
    "expiresAt",
];
const PATCHABLE: [&str; 2] = ["description", "name"];

/// What a patch says of a key's words: `None` leaves a word as it is.
#[derive(Clone, Debug, Default)]
pub struct KeyPatch {
    pub name: Option<Option<String>>,
    pub description: Option<Option<String>>,
}

/// The key of a `POST /keys` at the time `now`; `fresh`: its uid, where the client names none. Fields are judged in the
/// order in which they were sent, as Meilisearch does.
///
/// Errors: 400 with Meilisearch's code for the field.
pub fn parse_creation(body: &Value, now: OffsetDateTime, fresh: Uuid) -> Result<Key, Error> {
    let (mut description, mut name, mut uid) = (None, None, None);
    let (mut actions, mut indexes, mut expires_at) = (None, None, None);
    for (field, value) in object(body)? {
        match field.as_str() {
            "description" => {
                description = words(value, ".description", "invalid_api_key_description")?
            }
            "name" => name = words(value, ".name", "invalid_api_key_name")?,
            "uid" => uid = Some(parse_uid(value)?),
            "actions" => {
                actions = Some(list(value, ".actions", "invalid_api_key_actions", action)?)
            }
            "indexes" => {
                indexes = Some(list(value, ".indexes", "invalid_api_key_indexes", pattern)?)
            }
            "expiresAt" => expires_at = Some(expiry(value, now)?),
            _ => return Err(unknown_field(field, &FIELDS)),
        }
    }
    let actions = actions.ok_or_else(|| missing_field("actions", "missing_api_key_actions"))?;
    let indexes = indexes.ok_or_else(|| missing_field("indexes", "missing_api_key_indexes"))?;
    let expires_at =
        expires_at.ok_or_else(|| missing_field("expiresAt", "missing_api_key_expires_at"))?;
    check_scope(&actions, &indexes)?;
    Ok(Key {
        uid: uid.unwrap_or(fresh),
        name,
        description,
        actions,
        indexes,
        expires_at,
        created_at: now,
        updated_at: now,
    })
}

/// What a `PATCH /keys/{uid or key}` changes. Errors: 400, `immutable_api_key_*` for what stays.
pub fn parse_patch(body: &Value) -> Result<KeyPatch, Error> {
    let mut patch = KeyPatch::default();
    for (field, value) in object(body)? {
        let immutable = match field.as_str() {
            "description" => {
                patch.description =
                    Some(words(value, ".description", "invalid_api_key_description")?);
                continue;
            }
            "name" => {
                patch.name = Some(words(value, ".name", "invalid_api_key_name")?);
                continue;
            }
            "uid" => "immutable_api_key_uid",
            "actions" => "immutable_api_key_actions",
            "indexes" => "immutable_api_key_indexes",
            "expiresAt" => "immutable_api_key_expires_at",
            "createdAt" => "immutable_api_key_created_at",
            "updatedAt" => "immutable_api_key_updated_at",
            _ => return Err(unknown_field(field, &PATCHABLE)),
        };
        return Err(immutable_field(field, &PATCHABLE, immutable));
    }
    Ok(patch)
}

fn words(value: &Value, path: &str, code: &'static str) -> Result<Option<String>, Error> {
    match value {
        Value::Null => Ok(None),
        value => Ok(Some(text(value, path, code)?.to_owned())),
    }
}

fn parse_uid(value: &Value) -> Result<Uuid, Error> {
    let code = "invalid_api_key_uid";
    text(value, ".uid", code)?
        .parse()
        .map_err(|error| invalid_value(".uid", &error, code))
}

fn list<T>(
    value: &Value,
    path: &str,
    code: &'static str,
    item: impl Fn(&Value, &str, &'static str) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let Value::Array(items) = value else {
        return Err(wrong_kind(path, "an array", value, code));
    };
    items
        .iter()
        .enumerate()
        .map(|(position, value)| item(value, &format!("{path}[{position}]"), code))
        .collect()
}

fn action(value: &Value, path: &str, code: &'static str) -> Result<Action, Error> {
    let name = text(value, path, code)?;
    Action::parse(name)
        .ok_or_else(|| unknown_value(name, path, &ACTIONS.map(|(_, name, ..)| name), code))
}

fn pattern(value: &Value, path: &str, code: &'static str) -> Result<IndexPattern, Error> {
    IndexPattern::parse(text(value, path, code)?).map_err(|why| invalid_value(path, &why, code))
}

/// A time to come, in one of four forms; without an offset it is UTC.
fn expiry(value: &Value, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, Error> {
    let code = "invalid_api_key_expires_at";
    if value.is_null() {
        return Ok(None);
    }
    let given = text(value, ".expiresAt", code)?;
    match parse_time(given).filter(|time| *time > now) {
        Some(time) => Ok(Some(time)),
        None => {
            let why = format!(
                "`{given}` is not a valid date. It should follow the RFC 3339 format to represents a date or datetime in \
                 the future or specified as a null value. e.g. 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'."
            );
            // Meilisearch's sentence ends with a line of its own.
            Err(invalid_value(".expiresAt", &format!("{why}\n"), code))
        }
    }
}

fn parse_time(text: &str) -> Option<OffsetDateTime> {
    let day = format_description!("[year repr:full base:calendar]-[month repr:numerical]-[day]");
    let with_t = format_description!(
        "[year repr:full base:calendar]-[month repr:numerical]-[day]T[hour]:[minute]:[second]"
    );
    let with_space = format_description!(
        "[year repr:full base:calendar]-[month repr:numerical]-[day] [hour]:[minute]:[second]"
    );
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(time);
    }
    PrimitiveDateTime::parse(text, with_t)
        .or_else(|_| PrimitiveDateTime::parse(text, with_space))
        .or_else(|_| Date::parse(text, day).map(|date| date.with_time(time!(00:00))))
        .ok()
        .map(PrimitiveDateTime::assume_utc)
}

/// A key for some indexes cannot have an action that is about the whole instance.
fn check_scope(actions: &[Action], indexes: &[IndexPattern]) -> Result<(), Error> {
    if indexes.is_empty() || indexes.iter().any(IndexPattern::is_all) {
        return Ok(());
    }
    let global = actions
        .iter()
        .find(|action| action.scope() == IndexScope::Global);
    match global {
        None => Ok(()),
        Some(action) => Err(Error::invalid(
            400,
            "index_scoped_api_key_with_global_action",
            format!(
                "cannot create index-scoped API key with global action `\"{action}\"`\n  - Hint: remove action \
                 `\"{action}\"` from the action list, or remove `indexes` to make the key global"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> OffsetDateTime {
        time::macros::datetime!(2026-11-21 12:00 UTC)
    }

    fn refused(body: Value) -> (String, String) {
        let error = parse_creation(&body, now(), Uuid::nil()).unwrap_err();
        (error.code.into_owned(), error.message)
    }

    /// The texts are those of Meilisearch's own tests (`crates/meilisearch/tests/auth/errors.rs` and `api_keys.rs`).
    #[test]
    fn creations_are_refused_in_meilisearchs_words() {
        let expected = [
            (json!({"description": ["doggo"]}), "invalid_api_key_description",
             "Invalid value type at `.description`: expected a string, but found an array: `[\"doggo\"]`"),
            (json!({"name": 13}), "invalid_api_key_name",
             "Invalid value type at `.name`: expected a string, but found a positive integer: `13`"),
            (json!({"uid": "aaaaabbbbbccc"}), "invalid_api_key_uid",
             "Invalid value at `.uid`: invalid length: found 13"),
            (json!({"uid": "doggo"}), "invalid_api_key_uid",
             "Invalid value at `.uid`: invalid character: found `o` at 1"),
            (json!({"actions": "doggo"}), "invalid_api_key_actions",
             "Invalid value type at `.actions`: expected an array, but found a string: `\"doggo\"`"),
            (json!({"indexes": ["good doggo"]}), "invalid_api_key_indexes",
             "Invalid value at `.indexes[0]`: `good doggo` is not a valid index uid pattern. Index uid patterns can be an \
              integer or a string containing only alphanumeric characters, hyphens (-), underscores (_), and optionally \
              end with a star (*)."),
            (json!({"expires_at": "doggo"}), "bad_request",
             "Unknown field `expires_at`: did you mean `expiresAt`? expected one of `description`, `name`, `uid`, \
              `actions`, `indexes`, `expiresAt`"),
            (json!({"doggo": "bork"}), "bad_request",
             "Unknown field `doggo`: expected one of `description`, `name`, `uid`, `actions`, `indexes`, `expiresAt`"),
            (json!({}), "missing_api_key_actions", "Missing field `actions`"),
            (json!({"actions": ["*"]}), "missing_api_key_indexes", "Missing field `indexes`"),
            (json!({"actions": ["*"], "indexes": ["*"]}), "missing_api_key_expires_at", "Missing field `expiresAt`"),
            (json!({"actions": ["*"], "indexes": ["*"], "expiresAt": "2010-11-13T00:00:00Z"}), "invalid_api_key_expires_at",
             "Invalid value at `.expiresAt`: `2010-11-13T00:00:00Z` is not a valid date. It should follow the RFC 3339 format \
              to represents a date or datetime in the future or specified as a null value. e.g. 'YYYY-MM-DD' or 'YYYY-MM-DD \
              HH:MM:SS'.\n"),
            (json!({"actions": ["search", "version"], "indexes": ["a"], "expiresAt": null}),
             "index_scoped_api_key_with_global_action",
             "cannot create index-scoped API key with global action `\"version\"`\n  - Hint: remove action `\"version\"` from \
              the action list, or remove `indexes` to make the key global"),
        ];
        for (body, code, message) in expected {
            assert_eq!(refused(body), (code.to_owned(), message.to_owned()));
        }
        let (code, message) = refused(json!({"actions": ["doggo"]}));
        assert_eq!(code, "invalid_api_key_actions");
        assert!(message.starts_with(
            "Unknown value `doggo` at `.actions[0]`: expected one of `*`, `search`, `documents.*`, `documents.add`"
        ));
        assert!(message.ends_with("`dynamicSearchRules.delete`, `dynamicSearchRules.*`"));
    }

    #[test]
    fn dates_have_four_forms() {
        let key = |text: &str| {
            let body = json!({"actions": ["*"], "indexes": ["*"], "expiresAt": text});
            crate::key::rfc3339(
                parse_creation(&body, now(), Uuid::nil())
                    .unwrap()
                    .expires_at
                    .unwrap(),
            )
        };
        assert_eq!(key("2050-11-13T00:00:00Z"), "2050-11-13T00:00:00Z");
        assert_eq!(
            key("2050-11-13T01:02:03.5+02:00"),
            "2050-11-13T01:02:03.5+02:00"
        );
        assert_eq!(key("2050-11-13T01:02:03"), "2050-11-13T01:02:03Z");
        assert_eq!(key("2050-11-13 01:02:03"), "2050-11-13T01:02:03Z");
        assert_eq!(key("2050-11-13"), "2050-11-13T00:00:00Z");
    }

    #[test]
    fn patches_know_what_may_change() {
        let code = |body: Value| {
            parse_patch(&body)
                .err()
                .map(|error| error.code.into_owned())
        };
        for (field, snake) in [
            ("uid", "uid"),
            ("actions", "actions"),
            ("expiresAt", "expires_at"),
        ] {
            let mut body = json!({});
            body[field] = json!("doggo");
            assert_eq!(code(body), Some(format!("immutable_api_key_{snake}")));
        }
        assert_eq!(code(json!({"key": "x"})).as_deref(), Some("bad_request"));
        let given = parse_patch(&json!({"name": null, "description": "d"}))
            .ok()
            .unwrap();
        assert_eq!(
            (given.name, given.description),
            (Some(None), Some(Some("d".to_owned())))
        );
        assert!(parse_patch(&json!({})).ok().unwrap().name.is_none());
    }
}
