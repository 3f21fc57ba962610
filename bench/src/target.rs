//! The server under load: one search route.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};

use crate::Error;

/// Where searches go.
#[derive(Clone)]
pub struct Target {
    pub url: String,
    pub index: String,
    authorization: Option<String>,
}

/// How one search ended.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Answer {
    Ok {
        /// The server said that shards were missing (`X-Miroir-Degraded`).
        degraded: bool,
    },
    /// Any other HTTP status.
    Status(u16),
    /// No answer at all.
    Failed(&'static str),
}

impl Target {
    pub fn new(url: &str, index: &str, key: Option<String>) -> Target {
        Target {
            url: url.trim_end_matches('/').to_owned(),
            index: index.to_owned(),
            authorization: key.map(|key| format!("Bearer {key}")),
        }
    }

    /// A client that keeps exactly one connection.
    pub fn connection(&self) -> Result<reqwest::Client, Error> {
        let client = reqwest::Client::builder()
            .pool_max_idle_per_host(1)
            .no_proxy()
            .timeout(TIMEOUT)
            .build()?;
        Ok(client)
    }

    /// Asks once, so that a wrong address, key or index is a message and not ten seconds of errors.
    pub async fn check(&self, body: &str) -> Result<(), Error> {
        let response = self
            .request(&self.connection()?, body.to_owned())
            .send()
            .await;
        let response = response.map_err(|error| Error::Unreachable {
            url: self.url.clone(),
            reason: root_cause(&error),
        })?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(());
        }
        let hint = match status {
            401 | 403 => " (pass the key with --key)",
            404 => " (name an existing index with --index)",
            _ => "",
        };
        let body = response.text().await.unwrap_or_default();
        Err(Error::Refused {
            url: self.url.clone(),
            status,
            body,
            hint,
        })
    }

    /// Sends one search and reads its answer to the end.
    pub async fn search(&self, connection: &reqwest::Client, body: String) -> Answer {
        let failed = |error: reqwest::Error| {
            Answer::Failed(match () {
                () if error.is_timeout() => "timeout",
                () if error.is_connect() => "connect",
                () => "broken connection",
            })
        };
        let response = match self.request(connection, body).send().await {
            Ok(response) => response,
            Err(error) => return failed(error),
        };
        let status = response.status().as_u16();
        let degraded = response.headers().contains_key("x-miroir-degraded");
        match response.bytes().await {
            Err(error) => failed(error),
            Ok(_) if status == 200 => Answer::Ok { degraded },
            Ok(_) => Answer::Status(status),
        }
    }

    fn request(&self, connection: &reqwest::Client, body: String) -> reqwest::RequestBuilder {
        let url = format!("{}/indexes/{}/search", self.url, self.index);
        let request = connection
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }
}

/// reqwest's own text repeats the address; what is behind it says why.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

const TIMEOUT: Duration = Duration::from_secs(30);
