//! Asking Miroir, and saying what is wrong when it does not answer.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

/// Why there is no answer to show.
pub enum Failure {
    /// Miroir answered, and said no.
    Refused(String),
    /// Miroir could not be asked, or the command was wrong.
    Unreachable(String),
}

/// One Miroir and the key to it.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    url: String,
    key: Option<String>,
}

/// How long an answer may take: a node that is added gets every index first.
const PATIENCE: Duration = Duration::from_secs(120);

impl Client {
    /// `url`: `http://host:port`, with or without a slash at the end.
    pub fn new(url: &str, key: Option<String>) -> Result<Client, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start: {error}"))?;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(PATIENCE)
            .build()
            .map_err(|error| format!("cannot start: {error}"))?;
        Ok(Client {
            runtime,
            http,
            url: url.trim_end_matches('/').to_owned(),
            key,
        })
    }

    /// `GET path`, as JSON.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, None)
    }

    /// `POST path`, with a body where there is one.
    pub fn post(&self, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        self.send(Method::POST, path, body)
    }

    /// `DELETE path`.
    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::DELETE, path, None)
    }

    fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        self.runtime.block_on(async {
            let mut request = self.http.request(method, format!("{}{path}", self.url));
            if let Some(key) = &self.key {
                request = request.bearer_auth(key);
            }
            if let Some(body) = &body {
                request = request.json(body);
            }
            let answer = request
                .send()
                .await
                .map_err(|error| self.unreachable(&error))?;
            let status = answer.status();
            let body = answer
                .bytes()
                .await
                .map_err(|error| self.unreachable(&error))?;
            let value: Value = serde_json::from_slice(&body).map_err(|_| {
                Failure::Unreachable(format!(
                    "{} does not answer as this Miroir would ({status}); check --url, and that miroir is as new as \
                     miroir-ctl",
                    self.url
                ))
            })?;
            if status.is_success() {
                return Ok(value);
            }
            let message = value["message"].as_str().unwrap_or("no reason given");
            let next = match (status.as_u16(), value["code"].as_str()) {
                (401, _) => " Give the admin key with --key or MIROIR_ADMIN_KEY.",
                (403, _) => " Check --key or MIROIR_ADMIN_KEY.",
                (_, Some("index_not_found")) => " See what there is with: miroir-ctl status",
                (_, Some("task_not_found")) => " See what there is with: miroir-ctl tasks list",
                _ => "",
            };
            Err(Failure::Refused(format!("{message}{next}")))
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = if error.is_connect() {
            "nothing listens there"
        } else if error.is_timeout() {
            "it does not answer"
        } else if error.is_builder() {
            "that is not an address such as http://127.0.0.1:7700"
        } else {
            "the connection broke"
        };
        Failure::Unreachable(format!(
            "cannot ask {}: {why}; check that miroir runs, and --url or MIROIR_URL",
            self.url
        ))
    }
}

/// Text as part of a path or query.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_are_encoded() {
        assert_eq!(super::encoded("a b/é&"), "a%20b%2F%C3%A9%26");
    }
}
