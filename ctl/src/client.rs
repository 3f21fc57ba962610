//! Asking Miroir, and saying what is wrong when it does not answer.

use std::time::Duration;

use serde_json::Value;

/// Why there is no answer to show.
pub enum Failure {
    /// Miroir answered, and said no.
    Refused(String),
    /// Miroir could not be asked.
    Unreachable(String),
}

/// One Miroir and the key to it.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    url: String,
    key: Option<String>,
}

impl Client {
    /// `url`: `http://host:port`, with or without a slash at the end.
    pub fn new(url: &str, key: Option<String>) -> Result<Client, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start: {error}"))?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
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
        self.runtime.block_on(async {
            let mut request = self.http.get(format!("{}{path}", self.url));
            if let Some(key) = &self.key {
                request = request.bearer_auth(key);
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
                    "{} does not answer as Miroir does ({status}); check --url",
                    self.url
                ))
            })?;
            if status.is_success() {
                return Ok(value);
            }
            let message = value["message"].as_str().unwrap_or("no reason given");
            let next = match status.as_u16() {
                401 => "; give the admin key with --key or MIROIR_ADMIN_KEY",
                403 => "; check --key or MIROIR_ADMIN_KEY",
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
            "that is not an address"
        } else {
            "the connection broke"
        };
        Failure::Unreachable(format!(
            "cannot ask {}: {why}; check --url or MIROIR_URL",
            self.url
        ))
    }
}
