//! `/_miroir/`: what an operator asks and changes, all of it behind the admin key. docs/admin-api.md has it for people,
//! `openapi.json` for programs.

mod layout;
mod movements;
mod nodes;
mod shards;
mod state;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{from_fn_with_state, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, MethodRouter};
use axum::Router;
use miroir_api::Error;
use miroir_auth::{check_single_key, Access};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{dumps, respond, tasks, Failure, Shared};
use crate::plane::Plane;

/// The description of these routes, which a test compares with them.
const OPENAPI: &str = include_str!("admin/openapi.json");

/// A path and what is done there by which method.
type Route = (
    &'static str,
    &'static [&'static str],
    MethodRouter<Arc<Plane>>,
);

fn routes() -> Vec<Route> {
    vec![
        ("/_miroir/ready", &["get"], get(state::ready)),
        ("/_miroir/topology", &["get"], get(state::topology)),
        ("/_miroir/openapi.json", &["get"], get(openapi)),
        ("/_miroir/shards", &["get"], get(shards::list)),
        ("/_miroir/shards/where", &["get"], get(shards::locate)),
        (
            "/_miroir/nodes",
            &["get", "post"],
            get(nodes::list).post(nodes::add),
        ),
        ("/_miroir/nodes/{id}", &["delete"], delete(nodes::remove)),
        ("/_miroir/nodes/{id}/drain", &["post"], post(nodes::drain)),
        ("/_miroir/nodes/{id}/trust", &["post"], post(nodes::trust)),
        (
            "/_miroir/nodes/{id}/replace",
            &["post"],
            post(nodes::replace),
        ),
        ("/_miroir/layout", &["get"], get(layout::show)),
        (
            "/_miroir/layout/staged",
            &["get", "post", "delete"],
            get(layout::staged)
                .post(layout::stage)
                .delete(layout::revert),
        ),
        ("/_miroir/layout/diff", &["get"], get(layout::diff)),
        ("/_miroir/layout/apply", &["post"], post(layout::apply)),
        ("/_miroir/rebalance", &["get"], get(movements::show)),
        (
            "/_miroir/rebalance/pause",
            &["post"],
            post(movements::pause),
        ),
        (
            "/_miroir/rebalance/resume",
            &["post"],
            post(movements::resume),
        ),
        (
            "/_miroir/rebalance/throttle",
            &["post"],
            post(movements::throttle),
        ),
        (
            "/_miroir/verify",
            &["get", "post"],
            get(movements::report).post(movements::verify),
        ),
        ("/_miroir/repair", &["post"], post(movements::repair)),
        (
            "/_miroir/dumps/import",
            &["get", "post"],
            get(dumps::import_state).post(dumps::import),
        ),
        ("/_miroir/layout/history", &["get"], get(layout::history)),
        // Clients' own routes, for whoever has the admin key alone.
        ("/_miroir/tasks", &["get"], get(tasks::list)),
        ("/_miroir/tasks/{uid}", &["get"], get(tasks::one)),
    ]
}

pub(super) fn router(plane: &Arc<Plane>) -> Router<Arc<Plane>> {
    let all = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, _, methods)| {
            router.route(path, methods)
        });
    all.route_layer(from_fn_with_state(Arc::clone(plane), authorise))
}

async fn authorise(State(plane): Shared, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION);
    let header = header.map(|value| value.to_str().unwrap_or_default());
    match check_single_key(plane.admin_key.as_deref(), header) {
        Ok(()) => {
            request.extensions_mut().insert(Access::everything());
            next.run(request).await
        }
        Err(error) => Failure(error).into_response(),
    }
}

async fn openapi() -> Response {
    respond(200, OPENAPI.into())
}

/// A body as the type that the route takes.
fn read<T: DeserializeOwned>(body: Value) -> Result<T, Error> {
    serde_json::from_value(body)
        .map_err(|error| Error::bad_request(format!("Invalid request: {error}.")))
}

/// A query as the type that the route takes: `true` and `false` are what they look like, the rest is text.
fn read_query<T: DeserializeOwned>(query: Option<&str>) -> Result<T, Error> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let value = |text: &str| match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => Value::String(text.to_owned()),
    };
    let members: Map<String, Value> = pairs
        .map(|(name, text)| (name.into_owned(), value(&text)))
        .collect();
    read(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The core that gets it answers these.
    const ON_CORES: [(&str, &str); 1] = [("/_miroir/metrics", "get")];

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let described: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut there = BTreeSet::new();
        for (path, methods) in described["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                assert!(
                    operation["summary"].is_string(),
                    "{method} {path} has no summary"
                );
                assert!(
                    operation["responses"].is_object(),
                    "{method} {path} has no responses"
                );
                there.insert((path.clone(), method.clone()));
            }
        }
        let served = routes()
            .into_iter()
            .flat_map(|(path, methods, _)| methods.iter().map(move |method| (path, *method)));
        let served: BTreeSet<(String, String)> = served
            .chain(ON_CORES)
            .map(|(path, method)| (path.to_owned(), method.to_owned()))
            .collect();
        assert_eq!(there, served);
    }

    #[test]
    fn everything_that_the_description_refers_to_is_in_it() {
        let described: Value = serde_json::from_str(OPENAPI).unwrap();
        let references: Vec<&str> = OPENAPI.split("\"#").skip(1).collect();
        assert!(references.len() > 20);
        for reference in references {
            let (path, _) = reference.split_once('"').unwrap();
            assert!(described.pointer(path).is_some(), "{path} is missing");
        }
    }
}
