//! The bodies that make and change webhooks, refused in Meilisearch's words (`meilisearch/src/routes/webhooks.rs` at
//! 1.50), and how a webhook is shown.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderName, HeaderValue};
use miroir_api::body::{immutable_field, object, text, unknown_field, wrong_kind};
use miroir_api::{hide_secret, Error};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use url::Url;
use uuid::Uuid;

const FIELDS: [&str; 2] = ["url", "headers"];
const HEADERS_MAX: usize = 200;
const URL_CODE: &str = "invalid_webhook_url";
const HEADERS_CODE: &str = "invalid_webhook_headers";

/// Where to send ended tasks, and with which headers. These hold secrets, so `Debug` leaves them out.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    pub url: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// The webhooks that clients have made, by uuid as text.
pub type Registered = BTreeMap<String, Webhook>;

/// What a body says; outside `None`: nothing.
#[derive(Default)]
struct Asked {
    url: Option<Option<String>>,
    /// A header that is `None` is taken away.
    headers: Option<Option<BTreeMap<String, Option<String>>>>,
}

impl Webhook {
    /// The webhook of a `POST /webhooks`. Errors: 400 `invalid_webhook_*`, `immutable_webhook_*`.
    pub(crate) fn create(body: &Value, uuid: Uuid) -> Result<Webhook, Error> {
        let asked = Asked::read(body)?;
        let headers = asked.headers.flatten().unwrap_or_default();
        let headers = headers
            .into_iter()
            .map(|(name, value)| (name, value.unwrap_or_default()))
            .collect();
        let url = asked.url.flatten().ok_or_else(|| missing_url(uuid))?;
        Webhook { url, headers }.checked(uuid)
    }

    /// The webhook after a `PATCH /webhooks/{uuid}`: headers are merged, `null` takes away. Errors: as for creation.
    pub(crate) fn changed(&self, body: &Value, uuid: Uuid) -> Result<Webhook, Error> {
        let asked = Asked::read(body)?;
        let mut changed = self.clone();
        if let Some(url) = asked.url {
            changed.url = url.ok_or_else(|| missing_url(uuid))?;
        }
        match asked.headers {
            None => {}
            Some(None) => changed.headers.clear(),
            Some(Some(headers)) => {
                for (name, value) in headers {
                    match value {
                        Some(value) => changed.headers.insert(name, value),
                        None => changed.headers.remove(&name),
                    };
                }
            }
        }
        changed.checked(uuid)
    }

    /// As clients see it: credentials are masked.
    pub(crate) fn view(&self, uuid: Uuid) -> Value {
        let shown = |(name, value): (&String, &String)| {
            let value = match name.eq_ignore_ascii_case("authorization") {
                false => value.clone(),
                true => match value.strip_prefix("Bearer ") {
                    Some(secret) => format!("Bearer {}", hide_secret(secret)),
                    None => hide_secret(value),
                },
            };
            (name.clone(), value)
        };
        let headers: BTreeMap<String, String> = self.headers.iter().map(shown).collect();
        json!({
            "uuid": uuid.to_string(),
            "isEditable": !uuid.is_nil(),
            "url": self.url,
            "headers": headers,
        })
    }

    fn checked(self, uuid: Uuid) -> Result<Webhook, Error> {
        let invalid = |code, message: String| Err(Error::invalid(400, code, message));
        if self.url.is_empty() {
            return Err(missing_url(uuid));
        }
        if self.headers.len() > HEADERS_MAX {
            return invalid(
                HEADERS_CODE,
                format!(
                    "Too many headers for the webhook `{uuid}`. Please limit the number of headers to 200. Hint: To \
                     remove an already defined header set its value to `null`"
                ),
            );
        }
        for (name, value) in &self.headers {
            if let Err(error) = HeaderName::from_bytes(name.as_bytes()) {
                return invalid(
                    HEADERS_CODE,
                    format!("Invalid header name `{name}`: {error}"),
                );
            }
            if let Err(error) = HeaderValue::from_str(value) {
                return invalid(
                    HEADERS_CODE,
                    format!("Invalid header value `{name}`: {error}"),
                );
            }
        }
        match Url::parse(&self.url) {
            Ok(_) => Ok(self),
            Err(error) => invalid(URL_CODE, format!("Invalid URL `{}`: {error}", self.url)),
        }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

impl Asked {
    fn read(body: &Value) -> Result<Asked, Error> {
        let mut asked = Asked::default();
        for (field, value) in object(body)? {
            match field.as_str() {
                "url" => asked.url = Some(optional(value, ".url", URL_CODE)?),
                "headers" => {
                    asked.headers = Some(match value {
                        Value::Null => None,
                        Value::Object(headers) => Some(
                            headers
                                .iter()
                                .map(|(name, value)| {
                                    let path = format!(".headers.{name}");
                                    Ok((name.clone(), optional(value, &path, HEADERS_CODE)?))
                                })
                                .collect::<Result<_, Error>>()?,
                        ),
                        other => {
                            return Err(wrong_kind(".headers", "an object", other, HEADERS_CODE))
                        }
                    })
                }
                "uuid" => return Err(immutable_field(field, &FIELDS, "immutable_webhook_uuid")),
                "isEditable" => {
                    let code = "immutable_webhook_is_editable";
                    return Err(immutable_field(field, &FIELDS, code));
                }
                _ => return Err(unknown_field(field, &FIELDS)),
            }
        }
        Ok(asked)
    }
}

fn optional(value: &Value, path: &str, code: &'static str) -> Result<Option<String>, Error> {
    match value {
        Value::Null => Ok(None),
        value => Ok(Some(text(value, path, code)?.to_owned())),
    }
}

fn missing_url(uuid: Uuid) -> Error {
    let message = format!("The URL for the webhook `{uuid}` is missing.");
    Error::invalid(400, URL_CODE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Uuid = Uuid::from_u128(7);

    fn refused(body: Value) -> (String, String) {
        let error = Webhook::create(&body, SOME).unwrap_err();
        (error.code.into_owned(), error.message)
    }

    /// The texts are those of Meilisearch's own tests (`crates/meilisearch/tests/tasks/webhook.rs`).
    #[test]
    fn bodies_are_refused_in_meilisearchs_words() {
        let url = "https://example.com/hook";
        let cases = [
            (
                json!({"headers": {}}),
                URL_CODE,
                "The URL for the webhook `00000000-0000-0000-0000-000000000007` is missing.",
            ),
            (
                json!({"url": "not-a-valid-url"}),
                URL_CODE,
                "Invalid URL `not-a-valid-url`: relative URL without a base",
            ),
            (
                json!({"url": url, "headers": {"invalid header name": "v"}}),
                HEADERS_CODE,
                "Invalid header name `invalid header name`: invalid HTTP header name",
            ),
            (
                json!({"url": url, "headers": {"a": "b\nc"}}),
                HEADERS_CODE,
                "Invalid header value `a`: failed to parse header value",
            ),
            (
                json!({"url": 1}),
                URL_CODE,
                "Invalid value type at `.url`: expected a string, but found a positive integer: `1`",
            ),
            (
                json!({"url": url, "uuid": "x"}),
                "immutable_webhook_uuid",
                "Immutable field `uuid`: expected one of `url`, `headers`",
            ),
            (
                json!({"url": url, "colour": 1}),
                "bad_request",
                "Unknown field `colour`: expected one of `url`, `headers`",
            ),
        ];
        for (body, code, message) in cases {
            assert_eq!(refused(body), (code.to_owned(), message.to_owned()));
        }
        let many: BTreeMap<String, &str> = (0..201).map(|i| (format!("h{i}"), "v")).collect();
        assert_eq!(
            refused(json!({"url": url, "headers": many})).0,
            HEADERS_CODE
        );
    }

    #[test]
    fn headers_are_merged_and_secrets_masked() {
        let body = json!({"url": "https://a.b", "headers": {"Authorization": "Bearer a-secret-token", "X": "1"}});
        let made = Webhook::create(&body, SOME).unwrap();
        let view = made.view(SOME);
        assert_eq!(view["headers"]["Authorization"], "Bearer a-XXXX...");
        assert_eq!(view["isEditable"], true);
        let changed = made
            .changed(&json!({"headers": {"X": null, "Y": "2"}}), SOME)
            .unwrap();
        assert_eq!(
            changed.headers.keys().collect::<Vec<_>>(),
            ["Authorization", "Y"]
        );
        assert_eq!(changed.url, made.url);
        assert!(made
            .changed(&json!({"headers": null}), SOME)
            .unwrap()
            .headers
            .is_empty());
        assert_eq!(
            made.changed(&json!({"url": null}), SOME).unwrap_err().code,
            URL_CODE
        );
    }
}
