//! The routes: who may call them, how a body arrives, how an answer leaves.
//!
//! Handlers read a request, then do the work on tokio's blocking pool, because everything below reads memory maps or
//! writes to disk. An unknown path is 404 with an empty body and a known one with a wrong method 405, as Meilisearch's
//! server answers them.

mod batches;
mod body;
mod documents;
mod indexes;
mod keys;
mod query;
mod search;
mod settings;
mod system;
mod tasks;
mod webhooks;

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{header, StatusCode};
use axum::middleware::{from_fn_with_state, map_request, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, patch, post, put};
use axum::Extension;
use axum::Router;
use miroir_api::features::ROUTES;
use miroir_api::{plain_target, Error};
use miroir_auth::routes::{find, Found};
use miroir_auth::Access;
use serde::Serialize;
use time::OffsetDateTime;

use crate::features::Features;
use crate::keys::Keys;
use crate::scheduler::Scheduler;
use crate::settings::{Verb, PARTS};
use crate::tasks::{TaskSummary, Work};
use crate::webhooks::Hooks;

/// What every handler has.
pub struct App {
    pub scheduler: Arc<Scheduler>,
    pub features: Features,
    pub keys: Keys,
    pub webhooks: Hooks,
    /// The largest body, decompressed.
    pub body_bytes_max: usize,
    pub dump_folder: PathBuf,
}

type Shared = State<Arc<App>>;

/// What the one who asks may see.
type Who = Extension<Access>;

/// The outcome of a handler.
type Answer = Result<Response, Refusal>;

/// An error on its way to the client.
#[derive(Debug)]
pub struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (
            status,
            [(header::CONTENT_TYPE, "application/json")],
            self.0.to_body(),
        )
            .into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, header::HeaderValue::from_static("10"));
        }
        response
    }
}

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let mut guarded = Router::new()
        .route("/indexes", get(indexes::list).post(indexes::create))
        .route(
            "/indexes/{uid}",
            get(indexes::one)
                .patch(indexes::update)
                .delete(indexes::delete),
        )
        .route("/indexes/{uid}/stats", get(indexes::stats))
        .route("/indexes/{uid}/compact", post(indexes::compact))
        .route("/indexes/{uid}/fields", post(indexes::fields))
        .route(
            "/indexes/{uid}/documents",
            get(documents::list)
                .post(documents::replace)
                .put(documents::update)
                .delete(documents::clear),
        )
        .route(
            "/indexes/{uid}/documents/delete-batch",
            post(documents::delete_batch),
        )
        .route(
            "/indexes/{uid}/documents/delete",
            post(documents::delete_by_filter),
        )
        .route("/indexes/{uid}/documents/fetch", post(documents::fetch))
        .route("/indexes/{uid}/documents/edit", post(documents::edit))
        .route(
            "/indexes/{uid}/documents/{id}",
            get(documents::one).delete(documents::delete),
        )
        .route("/indexes/{uid}/search", get(search::get).post(search::post))
        .route(
            "/indexes/{uid}/similar",
            get(search::similar_get).post(search::similar_post),
        )
        .route("/indexes/{uid}/facet-search", post(search::facets))
        .route("/batches", get(batches::list))
        .route("/batches/{uid}", get(batches::one))
        .route("/swap-indexes", post(indexes::swap))
        .route("/multi-search", post(search::multi))
        .route(
            "/indexes/{uid}/settings",
            get(settings::all)
                .patch(settings::update)
                .delete(settings::reset),
        )
        .route("/keys", get(keys::list).post(keys::create))
        .route(
            "/keys/{key}",
            get(keys::one).patch(keys::update).delete(keys::delete),
        )
        .route("/webhooks", get(webhooks::list).post(webhooks::create))
        .route(
            "/webhooks/{uuid}",
            get(webhooks::one)
                .patch(webhooks::update)
                .delete(webhooks::delete),
        )
        .route("/tasks", get(tasks::list).delete(tasks::delete))
        .route("/tasks/cancel", post(tasks::cancel))
        .route("/tasks/{uid}", get(tasks::one))
        .route("/", get(system::root))
        .route("/health", get(system::health))
        .route("/stats", get(system::stats))
        .route("/dumps", post(system::dump))
        .route("/version", get(system::version))
        .route(
            "/experimental-features",
            get(system::features).patch(system::switch_features),
        );
    for part in PARTS {
        let path = format!("/indexes/{{uid}}/settings/{}", part.route);
        let update = move |state, access, path, headers, body| {
            settings::update_part(part, state, access, path, headers, body)
        };
        let methods = match part.verb {
            Verb::Put => put(update),
            Verb::Patch => patch(update),
        };
        let methods = methods
            .merge(get(move |state, path| settings::part(part, state, path)))
            .merge(delete(move |state, path| {
                settings::reset_part(part, state, path)
            }));
        guarded = guarded.route(&path, methods);
    }
    for path in system::NOT_HERE {
        guarded = guarded.route(path, any(system::unwilling));
    }
    for (path, action, feature) in ROUTES {
        let refuse = move |state, path| system::disabled(state, path, action, feature);
        guarded = guarded.route(path, any(refuse));
    }
    let routes = guarded
        .route_layer(from_fn_with_state(app.clone(), authorize))
        .with_state(app);
    // A layer runs after the route is found: what changes the path stands around the routes.
    Router::new()
        .fallback_service(routes)
        .layer(map_request(plain))
}

/// The request with slashes as Meilisearch reads them.
async fn plain(mut request: Request) -> Request {
    let query = request.uri().query().unwrap_or_default();
    let target = plain_target(request.uri().path(), query);
    if let Some(uri) = target.and_then(|target| target.parse().ok()) {
        *request.uri_mut() = uri;
    }
    request
}

/// Lets a request pass whose key may do what the route needs, with what it may see; what is no route of Meilisearch is
/// not served, as behind the proxy.
async fn authorize(State(app): Shared, mut request: Request, next: Next) -> Response {
    let (needs, index) = match find(request.method().as_str(), request.uri().path()) {
        Found::Route { needs, index } => (needs, index),
        Found::WrongMethod => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
        Found::Unknown => return StatusCode::NOT_FOUND.into_response(),
    };
    let header = request.headers().get(header::AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok());
    let now = OffsetDateTime::now_utc();
    match app
        .keys
        .ring()
        .authorise(needs, index.as_deref(), header, now)
    {
        Ok(access) => {
            request.extensions_mut().insert(access);
            next.run(request).await
        }
        Err(error) => Refusal(error).into_response(),
    }
}

/// A body as JSON.
fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let body = serde_json::to_vec(value).map_err(|error| Error::internal(error.to_string()))?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Runs `work` on the blocking pool.
async fn blocking<T, F>(app: &Arc<App>, work: F) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: FnOnce(&App) -> Result<T, Error> + Send + 'static,
{
    let app = app.clone();
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    done.unwrap_or_else(|crash| Err(Error::internal(crash.to_string())))
        .map_err(Refusal)
}

/// Registers a task and answers with its summary.
async fn enqueue(
    app: &Arc<App>,
    status: StatusCode,
    index_uid: Option<String>,
    work: Work,
) -> Answer {
    let task = blocking(app, move |app| {
        app.scheduler.register(index_uid.as_deref(), &work)
    })
    .await?;
    json(status, &TaskSummary::from(task))
}

/// A page of a list.
#[derive(Serialize)]
struct Paged<T> {
    results: Vec<T>,
    offset: usize,
    limit: usize,
    total: usize,
}
