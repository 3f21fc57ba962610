//! One core's side of the program: a request comes in, its route is found, its key is checked, and it is either served
//! here (searches, document reads and writes) or handed to the control plane.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::Method;
use miroir_api::{plain_target, Error};
use miroir_auth::Access;
use miroir_control::Control;
use miroir_net::client::Pools;
use miroir_net::head::RequestHead;
use miroir_net::{Coding, Handler, Request, Response};
use miroir_router::{Index, Pinned, Reader, Replicas, RoutingTable};
use miroir_rt::Instant;

use crate::auth::{admit, Gate};
use crate::config::Config;
use crate::noted::Noted;
use crate::routes::{classify, Route};
use crate::shared_answers::SharedAnswers;
use crate::shed::Shedder;
use crate::{cors, documents, facet_search, metrics, multi_search, render, search, similar};

/// What every core shares.
pub struct Shared {
    pub config: Config,
    pub control: Control,
}

/// What one core owns: its view of the routing table and its connections to the nodes.
pub struct App {
    pub shared: Arc<Shared>,
    reader: Reader,
    pub pools: Pools,
    pub shedder: Rc<Shedder>,
    /// What this core has seen of the nodes, with times since `began`.
    pub replicas: RefCell<Replicas>,
    pub began: Instant,
    pub node_key: Option<Rc<str>>,
    pub shared_answers: SharedAnswers,
}

impl App {
    pub fn new(shared: Arc<Shared>, pools: Pools) -> App {
        let reader = shared.control.publisher().reader();
        let node_key = shared.config.node_master_key.as_deref().map(Rc::from);
        let replicas = RefCell::new(Replicas::new(shared.config.reads));
        let shedder = Shedder::new(shared.config.limits);
        let shared_answers =
            SharedAnswers::new(shared.config.coalescing, shared.config.result_cache_bytes);
        App {
            shared,
            reader,
            pools,
            shedder,
            replicas,
            began: Instant::now(),
            node_key,
            shared_answers,
        }
    }

    /// The newest routing table, which may be newer than the one a request works on.
    pub fn newest(&self) -> Pinned {
        self.reader.pin()
    }

    /// Authorise, route, and serve or hand over. A request works from first to last on the table it started with.
    async fn answer(&self, request: Request, noted: &Noted) -> Result<Response, Error> {
        let path = request.path().to_owned();
        let method = request.method.as_str();
        let table = self.reader.pin();
        let authorization = request.headers.get_str("authorization");
        let access = match admit(&table.keys, method, &path, authorization)? {
            Gate::Open(access) => access,
            Gate::Closed(answer) => return Ok(answer),
        };
        let route = classify(method, &path);
        noted.route.set(route.place());
        let _seat = self
            .shedder
            .admit(&route, &path)
            .inspect_err(|_| noted.shed.set(true))?;
        match route {
            Route::Slow => {
                drop(table);
                self.hand_over(access, request).await
            }
            Route::Metrics => metrics::handle(self, &request),
            Route::Search { index } => {
                search::handle(self, &table, &access, &request, &index).await
            }
            Route::MultiSearch => multi_search::handle(self, &table, &access, &request).await,
            Route::RenderTemplate => match render::handle(self, &table, &access, &request).await? {
                Some(rendered) => Ok(rendered),
                None => self.hand_over(access, request).await,
            },
            Route::FacetSearch { index } => {
                facet_search::handle(self, &table, &access, &request, &index).await
            }
            Route::Similar { index } => {
                similar::handle(self, &table, &access, &request, &index).await
            }
            Route::Document { index, id } => {
                documents::read::one(self, &table, &request, &index, &id).await
            }
            Route::Documents { index } => {
                documents::read::list(self, &table, &request, &index).await
            }
            Route::FetchDocuments { index } => {
                documents::read::fetch(self, &table, &request, &index).await
            }
            Route::AddDocuments { index } => {
                documents::add::handle(self, &table, &access, request, &index).await
            }
            Route::DeleteDocument { index, id } => {
                documents::delete::one(self, &table, &request, &index, &id).await
            }
            Route::DeleteBatch { index } => {
                documents::delete::batch(self, &table, &request, &index).await
            }
            Route::DeleteByFilter { index } => {
                documents::delete::by_filter(self, &table, &request, &index).await
            }
            Route::EditDocuments { index } => {
                documents::edit::handle(self, &table, &request, &index).await
            }
            Route::ClearDocuments { index } => {
                documents::delete::all(self, &table, &request, &index).await
            }
        }
    }

    /// The slow plane answers through a channel; clients see one port.
    async fn hand_over(&self, access: Access, request: Request) -> Result<Response, Error> {
        let request = request
            .into_http()
            .map_err(|_| Error::bad_request("the request target cannot be understood"))?;
        Ok(Response::from_http(
            self.shared.control.handle(access, request).await,
        ))
    }
}

impl Handler for App {
    async fn handle(&self, request: Request) -> Response {
        if let Some(answer) = cors::preflight(&request) {
            return answer;
        }
        let coding = request
            .headers
            .get_str("accept-encoding")
            .and_then(Coding::negotiate);
        let noted = Noted::begin(&request);
        let response = match self.answer(plain(request), &noted).await {
            Ok(response) => response,
            Err(error) => Response::error(&error),
        };
        let mut response = match coding {
            Some(coding) => response.compressed(coding).await,
            None => response,
        };
        noted.end(&mut response, self.shared.config.slow_search);
        response
    }

    /// Strangers are refused before they send a body, and so is everybody in an overload.
    fn refuse(&self, head: &RequestHead) -> Option<Response> {
        let target = std::str::from_utf8(&head.target).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let authorization = head.headers.get_str("authorization");
        let table = self.reader.pin();
        let method = head.method.as_str();
        let refusal = match admit(&table.keys, method, path, authorization) {
            Err(refusal) => refusal,
            Ok(_) => self.shedder.refusal(&classify(method, path), path)?,
        };
        Some(Response::error(&refusal))
    }
}

/// The request with slashes as Meilisearch reads them. Among our own routes, a HEAD is the GET that it asks the head of: the
/// codec leaves the body out.
fn plain(mut request: Request) -> Request {
    if request.method == Method::HEAD && request.path().starts_with("/_miroir/") {
        request.method = Method::GET;
    }
    if let Some(target) = plain_target(request.path(), request.query()) {
        request.target = target.into();
    }
    request
}

/// The index, if its creation has succeeded.
pub fn visible_index<'t>(table: &'t RoutingTable, uid: &str) -> Result<&'t Arc<Index>, Error> {
    table
        .indexes
        .get(uid)
        .filter(|index| index.visible)
        .ok_or_else(|| Error::index_not_found(uid))
}

/// Whether the request declares the JSON that these routes demand.
pub fn is_json(request: &Request) -> bool {
    essence(request).is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

/// Reads a JSON object. Derived readers also take an array for a struct, member by member, which no node does.
pub fn json_object<T: serde::de::DeserializeOwned>(request: &Request) -> Option<T> {
    let is_object = request.body.trim_ascii_start().first() == Some(&b'{');
    if !is_json(request) || !is_object {
        return None;
    }
    let read = serde_json::from_slice(&request.body);
    // Of a member that stands there twice, nodes read the last.
    let last = || serde_json::from_value(serde_json::from_slice(&request.body).ok()?).ok();
    read.ok().or_else(last)
}

/// The media type without its parameters, in lower case (RFC 9110, 8.3.1).
pub fn media_type(request: &Request) -> Option<String> {
    essence(request).map(str::to_ascii_lowercase)
}

fn essence(request: &Request) -> Option<&str> {
    let value = request.headers.get_str("content-type")?;
    let essence = value.bytes().position(|byte| byte == b';');
    Some(value[..essence.unwrap_or(value.len())].trim())
}
