//! The servers under load: where they are, and the requests that they are sent.

use std::time::Duration;

use bytes::Bytes;
use miroir_net::client::{ErrorKind, OutRequest, PoolConfig, Pools};

use crate::Error;

/// A server.
#[derive(Clone, Debug)]
pub struct Target {
    /// What the report calls it.
    pub name: String,
    pub url: String,
    /// `host:port`.
    address: String,
}

/// How one request ended.
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
    /// `URL` or `NAME=URL`.
    ///
    /// # Errors
    /// What is no `http://` address of a server.
    pub fn parse(text: &str) -> Result<Target, Error> {
        let (name, url) = match text.split_once('=') {
            Some((name, url)) => (name, url),
            None => (text, text),
        };
        let url = url.trim_end_matches('/');
        let address = url
            .strip_prefix("http://")
            .filter(|address| !address.is_empty() && !address.contains('/'))
            .ok_or_else(|| {
                Error::Argument(format!(
                    "`{url}` is not an address such as http://127.0.0.1:7700"
                ))
            })?;
        let port = if address.contains(':') { "" } else { ":80" };
        Ok(Target {
            name: name.to_owned(),
            url: url.to_owned(),
            address: format!("{address}{port}"),
        })
    }

    /// Connections of this core, at most so many. Call it on a core.
    pub fn connections(most: usize) -> Pools {
        Pools::new(PoolConfig {
            connections_max: most,
            idle_max: most,
            // A server that is slow to accept is to be measured, not to be spared.
            connect_timeout: TIMEOUT,
            backoff_max: PoolConfig::default().backoff_min,
            ..PoolConfig::default()
        })
    }

    /// Asks once, so that a wrong address, key or index is a message and not ten seconds of errors.
    pub async fn check(&self, request: &OutRequest) -> Result<(), Error> {
        let pools = Target::connections(1);
        let reply = pools.send(&self.address, request, TIMEOUT).await;
        let reply = reply.map_err(|error| Error::Unreachable {
            url: self.url.clone(),
            reason: error.reason,
        })?;
        if reply.is_success() {
            return Ok(());
        }
        Err(Error::Refused {
            url: self.url.clone(),
            status: reply.status,
            body: String::from_utf8_lossy(&reply.body).into_owned(),
            hint: match reply.status {
                401 | 403 => " (pass the key with --key)",
                404 => " (name an existing index with --index)",
                _ => "",
            },
        })
    }

    /// Sends one request and reads its answer to the end.
    pub async fn send(&self, pools: &Pools, request: &OutRequest) -> Answer {
        match pools.send(&self.address, request, TIMEOUT).await {
            Ok(reply) if reply.is_success() => Answer::Ok {
                degraded: reply.headers.get_str("x-miroir-degraded").is_some(),
            },
            Ok(reply) => Answer::Status(reply.status),
            Err(error) => Answer::Failed(match error.kind {
                ErrorKind::Timeout => "timeout",
                ErrorKind::Connect | ErrorKind::BackingOff => "connect",
                ErrorKind::Closed => "broken connection",
                ErrorKind::Busy => "no connection was free",
                ErrorKind::Malformed | ErrorKind::TooLarge => "not an answer",
            }),
        }
    }

    /// Reads something of the server as JSON; null where there is none.
    pub async fn get(&self, pools: &Pools, path: &str, key: Option<&str>) -> serde_json::Value {
        let request = OutRequest::get(path).bearer(key.map(Into::into));
        let reply = pools.send(&self.address, &request, TIMEOUT).await;
        let body = reply.map(|reply| reply.body).unwrap_or_default();
        serde_json::from_slice(&body).unwrap_or_default()
    }
}

/// One search request a body.
pub fn searches(index: &str, key: Option<&str>, bodies: Vec<String>) -> Vec<OutRequest> {
    let path = format!("/indexes/{index}/search");
    posts(&path, key, bodies, true)
}

/// One request a payload of documents, to be sent once.
pub fn additions(index: &str, key: Option<&str>, payloads: Vec<String>) -> Vec<OutRequest> {
    let path = format!("/indexes/{index}/documents");
    posts(&path, key, payloads, false)
}

fn posts(path: &str, key: Option<&str>, bodies: Vec<String>, idempotent: bool) -> Vec<OutRequest> {
    let post = |body: String| {
        OutRequest::post_json(path, vec![Bytes::from(body)], idempotent).bearer(key.map(Into::into))
    };
    bodies.into_iter().map(post).collect()
}

const TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_named_or_not() {
        let target = Target::parse("ours=http://localhost/").unwrap();
        assert_eq!((&*target.name, &*target.url), ("ours", "http://localhost"));
        assert_eq!(target.address, "localhost:80");
        assert_eq!(Target::parse("http://[::1]:7").unwrap().address, "[::1]:7");
        for wrong in ["https://a", "a=b", "http://", "http://a/b"] {
            let error = Target::parse(wrong).unwrap_err().to_string();
            assert!(error.contains("is not an address"), "{error}");
        }
    }
}
