//! `POST /render-template`: what a template makes of a document.
//!
//! A node renders. It needs the document where the request names one, so then a node that holds it is asked; any other
//! request any node can answer.

use bytes::Bytes;
use miroir_api::{template_as_written, template_for_nodes, template_is_changed, Error};
use miroir_auth::Access;
use miroir_net::{Request, Response};
use miroir_router::{shard_of, Index, RoutingTable};
use serde_json::Value;

use crate::core::{json_object, visible_index, App};
use crate::judge::{Names, Shown};
use crate::scatter::Wanted;
use crate::search::degraded;

/// Where index names stand in a body.
pub const NAMES: [&str; 2] = ["/template/indexUid", "/input/indexUid"];

/// `None`: the nodes do not have the route.
pub async fn handle(
    app: &App,
    table: &RoutingTable,
    access: &Access,
    request: &Request,
) -> Result<Option<Response>, Error> {
    let body: Option<Value> = json_object(request);
    let body = body.unwrap_or_default();
    let mut named = NAMES.iter().filter_map(|at| body.pointer(at)?.as_str());
    named.try_for_each(|uid| access.check_named(uid))?;
    let owned = document(table, &body);
    let request = without_ours(request, body.clone());
    let answer = match owned {
        Some((index, id)) => ask_owner(app, table, &request, index, id).await?,
        None => {
            let reply = app.ask_any(table, &request, Shown::Whole).await?;
            match reply.refusal() {
                _ if reply.status == 404 && reply.body.is_empty() => return Ok(None),
                Some(refusal) => return Err(refusal),
                None => reply.body,
            }
        }
    };
    Ok(Some(Response::segments(
        200,
        vec![in_clients_words(answer)],
    )))
}

/// The request with a template that does not show the shard field.
fn without_ours(request: &Request, mut body: Value) -> Request {
    let mut request = request.clone();
    if let Some(Value::String(template)) = body.pointer_mut("/template/inline") {
        *template = template_for_nodes(template);
        request.body = body.to_string().into();
    }
    request
}

/// The answer repeats the template.
fn in_clients_words(answer: Bytes) -> Bytes {
    let mut shown: Value = match serde_json::from_slice(&answer) {
        Ok(shown) => shown,
        Err(_) => return answer,
    };
    match shown.get_mut("template") {
        Some(Value::String(template)) if template_is_changed(template) => {
            *template = template_as_written(template);
            shown.to_string().into()
        }
        _ => answer,
    }
}

/// The document that the request names, if its index exists; what else may be wrong with it nodes judge.
fn document<'t, 'b>(table: &'t RoutingTable, body: &'b Value) -> Option<(&'t Index, &'b str)> {
    let input = body
        .get("input")
        .filter(|input| input["kind"] == "indexDocument")?;
    let index = visible_index(table, input["indexUid"].as_str()?).ok()?;
    Some((index, input["id"].as_str()?))
}

/// Asks a node that holds the document, or would.
async fn ask_owner(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    index: &Index,
    id: &str,
) -> Result<Bytes, Error> {
    let shard = shard_of(id.as_bytes(), index.layout.shards);
    let wanted = Wanted {
        index,
        only: Some(&[shard]),
        seed: u64::from(shard.0),
    };
    let (body, names) = Names::translate(table, &request.body);
    let build = |_: &_| app.ask("POST", request.path(), Some(body.to_vec()), true);
    let gathered = app.scatter(table, wanted, build).await;
    let gathered = gathered.map_err(|error| Error {
        message: names.in_clients_words(error.message),
        ..error
    })?;
    degraded(app, &gathered, true)?;
    let answer = gathered.answers.into_iter().next();
    Ok(answer.map(|(_, body)| body).unwrap_or_default())
}
