//! A recording stand-in for a server: forwards every request and keeps what was asked and answered.
//!
//! Put between an SDK and what it drives, it shows which routes the SDK really called and what came of each, whatever language it is
//! written in.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{to_bytes, Body};
use axum::extract::{Request, State};
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::Router;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::http::Target;

/// The largest body that passes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub method: String,
    /// Path and query, as sent.
    pub path: String,
    pub status: u16,
    /// `Null` for an empty body, a string for one that is not JSON.
    pub body: Value,
}

/// Forwards to one target, in the background, until dropped.
pub struct Recorder {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    to: String,
    http: reqwest::Client,
    seen: Mutex<Vec<Exchange>>,
}

impl Recorder {
    /// Listens on a free port and forwards to `target`; clients send their own keys.
    pub fn start(target: &Target) -> std::io::Result<Recorder> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            to: target.base.clone(),
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .map_err(std::io::Error::other)?,
            seen: Mutex::new(Vec::new()),
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let service = Router::new().fallback(pass).with_state(shared.clone());
        runtime.spawn(async move { axum::serve(listener, service).await });
        Ok(Recorder {
            address,
            shared,
            _runtime: runtime,
        })
    }

    /// What to give to an SDK as the server's address.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has passed since the last call of this, in the order in which answers came.
    pub fn take(&self) -> Vec<Exchange> {
        std::mem::take(&mut self.shared.seen.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match forward(&shared, request).await {
        Ok(response) => response,
        Err(why) => (StatusCode::BAD_GATEWAY, why).into_response(),
    }
}

async fn forward(shared: &Shared, request: Request) -> Result<Response, String> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|e| e.to_string())?;
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let answer = shared
        .http
        .request(parts.method.clone(), format!("{}{path}", shared.to))
        .headers(passed_on(&parts.headers))
        .body(body)
        .send()
        .await
        .map_err(|e| e.to_string())?;
    let (status, headers) = (answer.status(), passed_on(answer.headers()));
    let bytes = answer.bytes().await.map_err(|e| e.to_string())?;
    let body = match serde_json::from_slice(&bytes) {
        Ok(body) => body,
        Err(_) if bytes.is_empty() => Value::Null,
        Err(_) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
    };
    shared
        .seen
        .lock()
        .unwrap_or_else(|e| e.into_inner())
        .push(Exchange {
            method: parts.method.to_string(),
            path,
            status: status.as_u16(),
            body,
        });
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Everything but what belongs to one connection, and to the coding of bodies: they are read here.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for own in [
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::ACCEPT_ENCODING,
    ] {
        headers.remove(own);
    }
    headers
}
