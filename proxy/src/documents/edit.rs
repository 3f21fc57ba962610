//! `POST /indexes/{uid}/documents/edit`: a function that every node runs on its own documents.
//!
//! A function may do anything with a document, and the field in which we keep a document's shard must outlive that. So
//! the field is taken out before the client's function begins, and put back after it: the function neither sees nor loses
//! it.

use miroir_api::features::EDIT_DOCUMENTS;
use miroir_api::{guarded_function, Error, RESERVED_PREFIX};
use miroir_control::{Touched, WriteKind};
use miroir_net::{Request, Response};
use miroir_router::{rewrite_filter, shard_filter, RoutingTable};
use serde_json::{json, Map, Value};

use super::delete::{everywhere, metadata};
use super::write::Described;
use crate::core::{json_object, App};
use crate::judge::Shown;
use crate::search::{check_filter, reserved_field};

/// What the client asks for.
struct Edit {
    filter: Option<Value>,
    context: Option<Map<String, Value>>,
    function: String,
}

/// Its name where clients switch it on.
const FEATURE: &str = "editDocumentsByFunction";

/// Sends the function to every node. Whether functions are enabled is known here too: of an index that is nowhere, no node is
/// asked.
pub async fn handle(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    uid: &str,
) -> Result<Response, Error> {
    let Some(edit) = json_object(request).and_then(parse) else {
        // Every node refuses it, so one may see the whole.
        return Err(match app.judge(table, request, Shown::Whole).await? {
            Some(refusal) => refusal,
            None => Error::not_implemented("a parameter of this edition"),
        });
    };
    check_filter(edit.filter.as_ref(), "filter")?;
    let context = edit.context.clone().map(Value::Object);
    let named = context.as_ref().map(Value::to_string).unwrap_or_default();
    if edit.function.contains(RESERVED_PREFIX) || named.contains(RESERVED_PREFIX) {
        return Err(reserved_field("function or its context"));
    }
    let Some(guarded) = guarded_function(&edit.function) else {
        return Err(Error::not_implemented(
            "functions with `exit`, or with both `fn` and `return`; write them so that they reach their end",
        ));
    };
    if !app.shared.control.has_feature(FEATURE).await? {
        return Err(EDIT_DOCUMENTS.refusal("Using the documents edit route"));
    }
    let described = Described {
        details: json!({
            "editedDocuments": null,
            "deletedDocuments": null,
            "originalFilter": edit.filter.as_ref().map(Value::to_string),
            "context": context,
            "function": edit.function,
        }),
        custom_metadata: metadata(request)?,
        touched: Touched::Everything,
    };
    let mut filter = edit.filter;
    if let Some(filter) = &mut filter {
        rewrite_filter(filter);
    }
    let mut body = json!({ "function": guarded });
    for (name, value) in [("filter", filter), ("context", context)] {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    let body = body.to_string().into_bytes();
    let kind = WriteKind::DocumentEdition;
    let sent = everywhere(app, table, uid, kind, described, |index| {
        let path = index.node_path("/documents/edit");
        app.ask("POST", &path, Some(body.clone()), false)
    });
    match sent.await {
        Err(error) if error.code == "bad_request" => {
            Err(unparsable(app, table, request, &edit.function, error).await)
        }
        sent => sent,
    }
}

/// The refusal of a function that is no Rhai, in the words for the client's own: a node judges it with a filter that finds
/// nothing, so that it runs on no document whatever it is.
async fn unparsable(
    app: &App,
    table: &RoutingTable,
    request: &Request,
    function: &str,
    error: Error,
) -> Error {
    let nothing = shard_filter(&[]);
    let asked = json!({ "function": function, "filter": nothing });
    let alone = Request {
        body: asked.to_string().into(),
        ..request.clone()
    };
    match app.judge(table, &alone, Shown::Whole).await {
        Ok(Some(refusal)) => refusal,
        _ => error,
    }
}

/// `None`: every node refuses it.
fn parse(mut body: Map<String, Value>) -> Option<Edit> {
    let given = |value: &Value| !value.is_null();
    let filter = body.remove("filter").filter(given);
    let context = body.remove("context").filter(given);
    let Some(Value::String(function)) = body.remove("function") else {
        return None;
    };
    let lawful = body.is_empty()
        && filter
            .as_ref()
            .is_none_or(|filter| filter.is_string() || filter.is_array());
    let context = match context {
        None => None,
        Some(Value::Object(context)) => Some(context),
        Some(_) => return None,
    };
    lawful.then_some(Edit {
        filter,
        context,
        function,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: Value) -> Option<Edit> {
        match body {
            Value::Object(body) => parse(body),
            _ => None,
        }
    }

    #[test]
    fn what_nodes_refuse_is_left_to_them() {
        assert!(
            parsed(json!({"function": "doc.a = 1", "filter": null, "context": {"b": 1}})).is_some()
        );
        for bad in [
            json!({}),
            json!({"function": 1}),
            json!({"function": "x", "filter": 1}),
            json!({"function": "x", "context": []}),
            json!({"function": "x", "dogs": 1}),
        ] {
            assert!(parsed(bad.clone()).is_none(), "{bad}");
        }
    }
}
