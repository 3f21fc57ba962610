//! `POST` and `PUT /indexes/{uid}/documents`: split the payload by shard and send each node its part.
//!
//! A node checks ids while it runs the task, and one bad id fails the whole payload. Split over nodes, that would store
//! some parts and not others; so every id is checked here before anything is sent (DESIGN 8).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use miroir_api::{is_index_uid, Error};
use miroir_auth::Access;
use miroir_control::{BeginWrite, InferredKey, Touched, Turn, WriteKind};
use miroir_merge::{
    count_documents, infer_primary_key, split, Format, Inference, Route, Split, SplitError,
};
use miroir_net::client::OutRequest;
use miroir_net::{Request, Response};
use miroir_router::{shard_code, shard_of, Index, Layout, NodeIdx, RoutingTable, Shard};
use serde_json::json;
use smallvec::SmallVec;

use super::write::{fail, perform, targets, Described, Part};
use crate::core::{media_type, App};
use crate::judge::{static_method, Shown};

/// A payload past this is split on a thread of its own: a core must not stand still for its other clients.
const INLINE_BYTES_MAX: usize = 256 * 1024;

/// The request's parameters (MEILISEARCH A.3).
#[derive(Default)]
struct Parameters {
    primary_key: Option<String>,
    csv_delimiter: Option<u8>,
    custom_metadata: Option<String>,
    /// Passed on to the nodes as it came.
    skip_creation: Option<String>,
}

/// Takes a payload, or says what is wrong with it in Meilisearch's words.
pub async fn handle(
    app: &App,
    table: &RoutingTable,
    access: &Access,
    request: Request,
    uid: &str,
) -> Result<Response, Error> {
    let understood = parameters(request.query())
        .filter(|_| is_index_uid(uid) && !request.body.is_empty())
        .and_then(|parameters| Some((format(&request, &parameters)?, parameters)));
    let Some((format, parameters)) = understood else {
        // With an empty body every node refuses: for the parameter, the content type or the missing payload.
        return Err(
            match app.judge(table, &request, Shown::WithoutBody).await? {
                Some(refusal) => refusal,
                None => Error::not_implemented("a parameter of this document addition"),
            },
        );
    };
    let payload = Payload {
        body: request.body.clone(),
        format,
    };
    let known = table
        .indexes
        .get(uid)
        .and_then(|index| Some((index.primary_key.clone()?, index.layout.clone())));
    let known = known.filter(|(key, _)| {
        parameters
            .primary_key
            .as_ref()
            .is_none_or(|asked| asked == key)
    });
    let (inference, mut parts) = match known {
        Some((key, layout)) => (
            None,
            Some((
                payload.split(key, layout).await,
                parameters.primary_key.clone(),
            )),
        ),
        None => (Some(payload.infer().await?), None),
    };
    // What is malformed is refused before the control plane could create an index for it.
    if let Some((Err(SplitError::Malformed(error)), _)) = parts {
        return Err(error);
    }
    let turn = payload
        .begin(app, uid, &parameters, inference, access)
        .await?;
    let described = |received: usize, touched: Touched| Described {
        details: json!({ "receivedDocuments": received, "indexedDocuments": null }),
        custom_metadata: parameters.custom_metadata.clone(),
        touched,
    };
    let nothing = Touched::default;
    if let Some(error) = turn.doomed.clone() {
        let received = payload.count().await?;
        return fail(app, turn, error, described(received, nothing())).await;
    }
    // The layout or the key may have moved between the look at the table and the turn; then split again.
    let current = |parts: &Placed| {
        parts.layout == turn.index.layout && Some(&parts.key) == turn.primary_key.as_ref()
    };
    let placed = match parts.take() {
        Some((Ok(placed), _)) if current(&placed) => Ok(placed),
        Some((Err(error), _)) => Err(error),
        _ => match &turn.primary_key {
            Some(key) => payload.split(key.clone(), turn.index.layout.clone()).await,
            None => Ok(Placed::empty(turn.index.layout.clone())),
        },
    };
    match placed {
        Ok(mut placed) => {
            let noted = turn.index.ids.as_ref().is_some_and(|ids| ids.upper_case);
            if placed.split.upper_case_ids && !noted {
                app.shared.control.note_upper_case_ids(&turn).await?;
            }
            let described = described(
                placed.split.documents,
                Touched::Keys(std::mem::take(&mut placed.keys)),
            );
            let path = node_path(&turn.index, turn.primary_key.as_deref(), &parameters);
            let parts = placed.into_parts(|body| OutRequest {
                method: static_method(&request.method),
                ..OutRequest::post_json(path.clone(), vec![body], false)
                    .bearer(app.node_key.clone())
            })?;
            perform(app, table, turn, parts, described).await
        }
        Err(SplitError::Malformed(error)) => Err(error),
        Err(SplitError::Document(error)) => {
            let received = payload.count().await?;
            fail(app, turn, error, described(received, nothing())).await
        }
    }
}

/// Reads the query string; `None` when a node must judge it.
fn parameters(query: &str) -> Option<Parameters> {
    let mut parameters = Parameters::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "primaryKey" => parameters.primary_key = Some(value.into_owned()),
            "csvDelimiter" => match value.as_bytes() {
                [byte] if byte.is_ascii() => parameters.csv_delimiter = Some(*byte),
                _ => return None,
            },
            "customMetadata" => parameters.custom_metadata = Some(value.into_owned()),
            "skipCreation" if is_boolean(&value) => {
                parameters.skip_creation = Some(value.into_owned())
            }
            _ => return None,
        }
    }
    Some(parameters)
}

fn is_boolean(text: &str) -> bool {
    ["true", "false"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

fn format(request: &Request, parameters: &Parameters) -> Option<Format> {
    match (media_type(request)?.as_str(), parameters.csv_delimiter) {
        ("application/json", None) => Some(Format::Json),
        ("application/x-ndjson", None) => Some(Format::Ndjson),
        ("text/csv", delimiter) => Some(Format::Csv {
            delimiter: delimiter.unwrap_or(b','),
        }),
        _ => None,
    }
}

fn node_path(index: &Index, primary_key: Option<&str>, parameters: &Parameters) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(key) = primary_key {
        query.append_pair("primaryKey", key);
    }
    if let Some(skip) = &parameters.skip_creation {
        query.append_pair("skipCreation", skip);
    }
    index.node_path(&format!("/documents?{}", query.finish()))
}

/// The client's documents.
struct Payload {
    body: Bytes,
    format: Format,
}

/// A payload split over the nodes of a layout by one primary key.
struct Placed {
    layout: Arc<Layout>,
    key: String,
    nodes: Vec<NodeIdx>,
    touched: Vec<Shard>,
    /// What the layout's filling copies are told of (see [`Touched`]).
    keys: BTreeSet<(Shard, String)>,
    split: Split,
}

impl Payload {
    async fn infer(&self) -> Result<InferredKey, Error> {
        let inference = self.work(infer_primary_key).await?;
        match inference {
            Ok(Inference::Empty) => Ok(InferredKey::Empty),
            Ok(Inference::Found(key)) => Ok(InferredKey::Found(key)),
            Ok(Inference::NoCandidate) => Ok(InferredKey::NoCandidate),
            Ok(Inference::Several(keys)) => Ok(InferredKey::Several(keys)),
            Err(SplitError::Malformed(error) | SplitError::Document(error)) => Err(error),
        }
    }

    /// Waits for the turn. An index that vanished since we looked at the table has no primary key any more: the payload
    /// must say which, once.
    async fn begin(
        &self,
        app: &App,
        uid: &str,
        parameters: &Parameters,
        inference: Option<InferredKey>,
        access: &Access,
    ) -> Result<Turn, Error> {
        let begin = |inference| BeginWrite {
            index: uid.to_owned(),
            kind: WriteKind::DocumentAdditionOrUpdate,
            primary_key: parameters.primary_key.clone(),
            inference,
            may_create: access.may_create(uid),
        };
        match app.shared.control.begin_write(begin(inference)).await {
            Err(error) if error.code == "miroir_index_changed" => {
                let inference = Some(self.infer().await?);
                app.shared.control.begin_write(begin(inference)).await
            }
            turn => turn,
        }
    }

    async fn count(&self) -> Result<usize, Error> {
        match self.work(count_documents).await? {
            Ok(count) => Ok(count),
            Err(SplitError::Malformed(error) | SplitError::Document(error)) => Err(error),
        }
    }

    async fn split(&self, key: String, layout: Arc<Layout>) -> Result<Placed, SplitError> {
        match self
            .work(move |body, format| place(body, format, key, layout))
            .await
        {
            Ok(placed) => placed,
            Err(error) => Err(SplitError::Malformed(error)),
        }
    }

    /// Runs `work` here when the payload is small, else on a thread of its own.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&[u8], Format) -> T + Send + 'static,
    ) -> Result<T, Error> {
        if self.body.len() <= INLINE_BYTES_MAX {
            return Ok(work(&self.body, self.format));
        }
        let (body, format) = (self.body.clone(), self.format);
        let (done, result) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("miroir-split".into())
            .spawn(move || done.send(work(&body, format)))
            .map_err(|error| Error::internal(format!("no thread to split a payload: {error}")))?;
        result
            .await
            .map_err(|_| Error::internal("splitting the payload failed"))
    }
}

/// Splits by primary key into one JSON array for each node that holds a touched shard.
fn place(
    body: &[u8],
    format: Format,
    key: String,
    layout: Arc<Layout>,
) -> Result<Placed, SplitError> {
    let nodes = nodes_of(&layout);
    let sinks: Vec<SmallVec<[usize; 4]>> = (0..layout.shards)
        .map(|shard| {
            layout
                .copies_of(Shard(shard))
                .iter()
                .filter(|copy| copy.state.takes_writes())
                .filter_map(|copy| nodes.iter().position(|node| *node == copy.node))
                .collect()
        })
        .collect();
    let codes: Vec<_> = (0..layout.shards)
        .map(|shard| shard_code(Shard(shard)))
        .collect();
    let mut touched = vec![false; usize::from(layout.shards)];
    let mut keys = BTreeSet::new();
    let is_filling = layout.needs_filling();
    let split = split(body, format, &key, nodes.len(), &mut |id| {
        let shard = shard_of(id, layout.shards);
        if is_filling {
            keys.insert((shard, String::from_utf8_lossy(id).into_owned()));
        }
        let shard = usize::from(shard.0);
        touched[shard] = true;
        Route {
            sinks: &sinks[shard],
            code: &codes[shard],
        }
    })?;
    let touched = (0..layout.shards)
        .map(Shard)
        .filter(|shard| touched[usize::from(shard.0)])
        .collect();
    Ok(Placed {
        layout,
        key,
        nodes,
        touched,
        keys,
        split,
    })
}

fn nodes_of(layout: &Layout) -> Vec<NodeIdx> {
    let mut nodes: Vec<NodeIdx> = layout
        .copies
        .iter()
        .flatten()
        .map(|copy| copy.node)
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

impl Placed {
    /// No documents at all, for an index whose primary key nobody knows yet.
    fn empty(layout: Arc<Layout>) -> Placed {
        let nodes = nodes_of(&layout);
        Placed {
            layout,
            key: String::new(),
            nodes,
            touched: Vec::new(),
            keys: BTreeSet::new(),
            split: Split::default(),
        }
    }

    /// One request a node. An empty payload goes to the copies of the first shard, so that its task is a real one.
    fn into_parts(self, build: impl Fn(Bytes) -> OutRequest) -> Result<Vec<Part>, Error> {
        let touched = if self.touched.is_empty() {
            vec![Shard(0)]
        } else {
            self.touched
        };
        let mut bodies: Vec<Option<Vec<u8>>> = self
            .split
            .sinks
            .into_iter()
            .map(|sink| Some(sink.body))
            .collect();
        let parts = targets(&self.layout, &touched)?
            .into_iter()
            .map(|target| {
                let sink = self.nodes.iter().position(|node| *node == target.node);
                let body = sink
                    .and_then(|sink| bodies.get_mut(sink)?.take())
                    .filter(|body| !body.is_empty());
                Part {
                    target,
                    request: build(body.map_or(Bytes::from_static(b"[]"), Bytes::from)),
                }
            })
            .collect();
        Ok(parts)
    }
}
