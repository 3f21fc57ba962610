//! `POST` and `PUT /indexes/{uid}/documents`: split the payload by shard and send each node its part.
//!
//! A node checks ids while it runs the task, and one bad id fails the whole payload. Split over nodes, that would store
//! some parts and not others; so every id is checked here before anything is sent (DESIGN 8).

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use miroir_api::{is_index_uid, Error};
use miroir_auth::Access;
use miroir_control::{BeginWrite, InferredKey, Touched, Turn, WriteKind};
use miroir_merge::{
    count_documents, infer_primary_key, split, Format, Inference, Split, SplitError,
};
use miroir_net::client::{Body, MadeBody, OutRequest};
use miroir_net::{Request, Response};
use miroir_router::{shard_code, shard_of, Index, Layout, RoutingTable, Shard, WriteTarget};
use serde_json::json;

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
                placed.split.documents(),
                Touched::Keys(std::mem::take(&mut placed.keys)),
            );
            let path = node_path(&turn.index, turn.primary_key.as_deref(), &parameters);
            let parts = placed.parts(|body| OutRequest {
                method: static_method(&request.method),
                ..OutRequest::post_json(path.clone(), body, false).bearer(app.node_key.clone())
            })?;
            // The parts hold what they are made of; a table was made into something else.
            drop((placed, payload, request));
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
    /// What the layout's filling copies are told of (see [`Touched`]).
    keys: BTreeSet<(Shard, String)>,
    split: Arc<Split>,
}

impl Payload {
    async fn infer(&self) -> Result<InferredKey, Error> {
        let inference = self
            .work(|body, format| infer_primary_key(&body, format))
            .await?;
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
        match self
            .work(|body, format| count_documents(&body, format))
            .await?
        {
            Ok(count) => Ok(count),
            Err(SplitError::Malformed(error) | SplitError::Document(error)) => Err(error),
        }
    }

    async fn split(&self, key: String, layout: Arc<Layout>) -> Result<Placed, SplitError> {
        match self
            .work(move |body, format| place(&body, format, key, layout))
            .await
        {
            Ok(placed) => placed,
            Err(error) => Err(SplitError::Malformed(error)),
        }
    }

    /// Runs `work` here when the payload is small, else on a thread of its own.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(Bytes, Format) -> T + Send + 'static,
    ) -> Result<T, Error> {
        if self.body.len() <= INLINE_BYTES_MAX {
            return Ok(work(self.body.clone(), self.format));
        }
        let (body, format) = (self.body.clone(), self.format);
        let (done, result) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("miroir-split".into())
            .spawn(move || done.send(work(body, format)))
            .map_err(|error| Error::internal(format!("no thread to split a payload: {error}")))?;
        result
            .await
            .map_err(|_| Error::internal("splitting the payload failed"))
    }
}

/// Splits by primary key over the shards of a layout.
fn place(
    body: &Bytes,
    format: Format,
    key: String,
    layout: Arc<Layout>,
) -> Result<Placed, SplitError> {
    let mut keys = BTreeSet::new();
    let is_filling = layout.needs_filling();
    let split = split(body, format, &key, layout.shards, &mut |id| {
        let shard = shard_of(id, layout.shards);
        if is_filling {
            keys.insert((shard, String::from_utf8_lossy(id).into_owned()));
        }
        shard.0
    })?;
    Ok(Placed {
        layout,
        key,
        keys,
        split: Arc::new(split),
    })
}

impl Placed {
    /// No documents at all, for an index whose primary key nobody knows yet.
    fn empty(layout: Arc<Layout>) -> Placed {
        Placed {
            layout,
            key: String::new(),
            keys: BTreeSet::new(),
            split: Arc::default(),
        }
    }

    /// One request a node. An empty payload goes to the copies of the first shard, so that its task is a real one.
    fn parts(&self, build: impl Fn(Body) -> OutRequest) -> Result<Vec<Part>, Error> {
        let mut touched: Vec<Shard> = self.split.shards().map(Shard).collect();
        if touched.is_empty() {
            touched.push(Shard(0));
        }
        let part = |target: WriteTarget| {
            let shards = target.shards.iter();
            let shards = shards.map(|shard| (shard.0, shard_code(*shard).as_str()));
            let documents = miroir_merge::Part::new(self.split.clone(), shards);
            Part {
                target,
                request: build(Body::Made(Rc::new(Documents(documents)))),
            }
        };
        let targets = targets(&self.layout, &touched)?;
        Ok(targets.into_iter().map(part).collect())
    }
}

/// A node's part of a payload.
#[derive(Debug)]
struct Documents(miroir_merge::Part);

impl MadeBody for Documents {
    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn pieces(&self) -> Box<dyn Iterator<Item = Bytes> + '_> {
        Box::new(self.0.pieces())
    }
}
