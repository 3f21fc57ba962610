//! What is to be exported: the body of `POST /export`, read with Meilisearch's refusals.

use std::collections::BTreeMap;

use miroir_api::body::{
    invalid_value, object, text, unknown_field, unknown_field_inside, wrong_kind,
};
use miroir_api::{appropriate_size, hide_secret, parse_size, Error};
use miroir_auth::IndexPattern;
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

/// How many bytes of documents are sent at a time where the client does not say
/// (`--experimental-max-export-payload-size` of a node).
const PAYLOAD_BYTES: u64 = 20 << 20;

/// Kept with its task until that has ended. It holds a key, so it has no `Debug` of its own fields.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub url: String,
    pub api_key: Option<String>,
    payload_size: Option<u64>,
    /// The first pattern that an index matches, in the order of their texts, says how it is exported.
    indexes: BTreeMap<IndexPattern, Wanted>,
}

/// How the indexes of one pattern are exported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub filter: Option<Value>,
    pub override_settings: bool,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Order").finish_non_exhaustive()
    }
}

impl Order {
    /// Reads the body, member by member in its order.
    pub(super) fn parse(body: &Value) -> Result<Order, Error> {
        let mut order = Order {
            url: String::new(),
            api_key: None,
            payload_size: None,
            indexes: BTreeMap::from([(IndexPattern::all(), Wanted::default())]),
        };
        for (name, value) in object(body)? {
            match name.as_str() {
                "url" => order.url = text(value, ".url", "invalid_export_url")?.to_owned(),
                "apiKey" if value.is_null() => (),
                "apiKey" => {
                    let key = text(value, ".apiKey", "invalid_export_api_key")?;
                    order.api_key = Some(key.to_owned());
                }
                "payloadSize" if value.is_null() => (),
                "payloadSize" => order.payload_size = Some(payload_size(value)?),
                "indexes" if value.is_null() => (),
                "indexes" => order.indexes = indexes(value)?,
                _ => {
                    let known = ["url", "apiKey", "payloadSize", "indexes"];
                    return Err(unknown_field(name, &known));
                }
            }
        }
        Ok(order)
    }

    /// How an index is to be exported, if it is.
    pub(super) fn wanted(&self, index: &str) -> Option<&Wanted> {
        let mut all = self.indexes.iter();
        all.find(|(pattern, _)| pattern.matches(index))
            .map(|(_, wanted)| wanted)
    }

    /// About so many bytes of documents go at a time.
    pub(super) fn payload_bytes(&self) -> usize {
        let bytes = self.payload_size.unwrap_or(PAYLOAD_BYTES);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// What the task shows: as it was asked for, or what was `exported`.
    pub(super) fn details(&self, exported: Option<Map<String, Value>>) -> Value {
        let mut details = json!({ "url": self.url });
        if let Some(key) = &self.api_key {
            details["apiKey"] = json!(hide_secret(key));
        }
        if let Some(bytes) = self.payload_size {
            details["payloadSize"] = json!(appropriate_size(bytes));
        }
        let asked = || {
            let all = self.indexes.iter();
            all.map(|(pattern, wanted)| (pattern.as_str().to_owned(), wanted.shown(None)))
                .collect()
        };
        details["indexes"] = Value::Object(exported.unwrap_or_else(asked));
        details
    }
}

impl Wanted {
    /// As the task shows it, with how many documents were found.
    pub(super) fn shown(&self, documents: Option<u64>) -> Value {
        let mut shown = json!({
            "filter": self.filter,
            "overrideSettings": self.override_settings,
        });
        if let Some(documents) = documents {
            // So spelled by Meilisearch.
            shown["matched_documents"] = json!(documents);
        }
        shown
    }

    fn parse(place: &str, value: &Value) -> Result<Wanted, Error> {
        let Value::Object(members) = value else {
            return Err(wrong_kind(place, "an object", value, "bad_request"));
        };
        let mut wanted = Wanted::default();
        for (name, value) in members {
            match name.as_str() {
                "filter" => wanted.filter = Some(value).filter(|value| !value.is_null()).cloned(),
                "overrideSettings" => {
                    let code = "invalid_export_index_override_settings";
                    let place = format!("{place}.overrideSettings");
                    wanted.override_settings = value
                        .as_bool()
                        .ok_or_else(|| wrong_kind(&place, "a boolean", value, code))?;
                }
                _ => {
                    let known = ["filter", "overrideSettings"];
                    return Err(unknown_field_inside(name, place, &known));
                }
            }
        }
        Ok(wanted)
    }
}

fn indexes(value: &Value) -> Result<BTreeMap<IndexPattern, Wanted>, Error> {
    let Value::Object(members) = value else {
        return Err(wrong_kind(".indexes", "an object", value, "bad_request"));
    };
    let one = |(name, value): (&String, &Value)| {
        let pattern = IndexPattern::parse(name).map_err(|_| {
            let why = format!(
                "the key {name:?} could not be deserialized into the key type \
                 `meilisearch_types::index_uid_pattern::IndexUidPattern`"
            );
            invalid_value(".indexes", &why, "bad_request")
        })?;
        Ok((pattern, Wanted::parse(&format!(".indexes.{name}"), value)?))
    };
    members.iter().map(one).collect()
}

fn payload_size(value: &Value) -> Result<u64, Error> {
    const CODE: &str = "invalid_export_payload_size";
    if let Some(bytes) = value.as_u64() {
        return Ok(bytes);
    }
    let Some(text) = value.as_str() else {
        let expected = "a positive integer or a string";
        return Err(wrong_kind(".payloadSize", expected, value, CODE));
    };
    parse_size(text).map_err(|why| invalid_value(".payloadSize", &why, CODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_shown_as_meilisearch_does() {
        let body = json!({
            "url": "http://there:7700",
            "apiKey": "masterKey",
            "payloadSize": "12 MiB",
            "indexes": { "fi*": { "filter": "a = 1" }, "films": {}, "z": { "overrideSettings": true } },
        });
        let order = Order::parse(&body).unwrap();
        // `fi*` comes before `films`.
        assert_eq!(order.wanted("films").unwrap().filter, Some(json!("a = 1")));
        assert!(order.wanted("z").unwrap().override_settings);
        assert_eq!(order.wanted("other"), None);
        assert_eq!(order.payload_bytes(), 12 << 20);
        assert_eq!(
            order.details(None),
            json!({
                "url": "http://there:7700", "apiKey": "XXX...", "payloadSize": "12 MiB",
                "indexes": {
                    "fi*": { "filter": "a = 1", "overrideSettings": false },
                    "films": { "filter": null, "overrideSettings": false },
                    "z": { "filter": null, "overrideSettings": true },
                },
            })
        );
        let all = Order::parse(&json!({})).unwrap();
        assert_eq!(all.wanted("any"), Some(&Wanted::default()));
        assert!(!format!("{order:?}").contains("masterKey"));
    }

    /// Words of a real Meilisearch 1.50.
    #[test]
    fn bad_orders_are_refused_in_meilisearchs_words() {
        let refused = |body: Value| {
            let error = Order::parse(&body).unwrap_err();
            (error.message, error.code.to_string())
        };
        for (body, message, code) in [
            (json!({"url": null}), "Invalid value type at `.url`: expected a string, but found null", "invalid_export_url"),
            (json!({"y": 4}), "Unknown field `y`: expected one of `url`, `apiKey`, `payloadSize`, `indexes`", "bad_request"),
            (json!({"payloadSize": "x"}), "Invalid value at `.payloadSize`: the character 'x' is not a number", "invalid_export_payload_size"),
            (json!({"payloadSize": -4}), "Invalid value type at `.payloadSize`: expected a positive integer or a string, but found a negative integer: `-4`", "invalid_export_payload_size"),
            (json!({"indexes": []}), "Invalid value type at `.indexes`: expected an object, but found an array: `[]`", "bad_request"),
            (json!({"indexes": {"fi!": {}}}), "Invalid value at `.indexes`: the key \"fi!\" could not be deserialized into the key type `meilisearch_types::index_uid_pattern::IndexUidPattern`", "bad_request"),
            (json!({"indexes": {"films": null}}), "Invalid value type at `.indexes.films`: expected an object, but found null", "bad_request"),
            (json!({"indexes": {"films": {"x": 1}}}), "Unknown field `x` inside `.indexes.films`: expected one of `filter`, `overrideSettings`", "bad_request"),
            (json!({"indexes": {"films": {"overrideSettings": 1}}}), "Invalid value type at `.indexes.films.overrideSettings`: expected a boolean, but found a positive integer: `1`", "invalid_export_index_override_settings"),
        ] {
            assert_eq!(refused(body), (message.to_owned(), code.to_owned()));
        }
    }
}
