//! Starting and stopping the control plane's thread, and the handle by which the cores call it.

use std::future::Future;
use std::sync::{mpsc, Arc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http_body_util::BodyExt;
use miroir_api::Error;
use miroir_auth::{check_single_key, Access};
use miroir_movement::Touched;
use miroir_router::{NodeIdx, Publisher, Shard};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tower::ServiceExt;

use crate::bootstrap::bootstrap;
use crate::config::{ControlConfig, StartError};
use crate::nodes::NodeClient;
use crate::plane::Plane;
use crate::types::{BeginWrite, Outcome, TaskSummary, Turn};
use crate::{finish, health, jobs, movements, poll, routes};

/// Starts the control plane on a thread of its own and waits until it is ready: the store is open, every node was
/// checked, the first routing table is published.
///
/// # Errors
/// One line for each thing that is wrong, with the next step.
pub fn start(config: ControlConfig) -> Result<Running, StartError> {
    let (ready, is_ready) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("miroir-control".to_owned())
        .spawn(move || run(&config, &ready, stopped))
        .map_err(|error| StartError::one(format!("the control thread does not start: {error}")))?;
    let control = is_ready
        .recv()
        .map_err(|_| StartError::one("the control thread ended while starting; see the log"))??;
    Ok(Running {
        control,
        stop,
        thread,
    })
}

/// A running control plane.
pub struct Running {
    pub control: Control,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends the background jobs and the thread. What was answered is on disk; what was under way is taken up at the
    /// next start.
    pub fn stop(self) {
        let Running {
            control,
            stop,
            thread,
        } = self;
        drop(control);
        // The thread may have ended by itself.
        let _ = stop.send(());
        if thread.join().is_err() {
            tracing::error!("the control thread panicked");
        }
    }
}

fn run(
    config: &ControlConfig,
    ready: &mpsc::Sender<Result<Control, StartError>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(StartError::one(format!(
                "the control runtime does not start: {error}"
            ))));
            return;
        }
    };
    runtime.block_on(async {
        let plane = match bootstrap(config).await {
            Ok(plane) => Arc::new(plane),
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        for client in plane.nodes().iter() {
            watch_node(&plane, client);
        }
        let of_plane = Arc::clone(&plane);
        keep_running("finish", move || {
            finish::run_finisher(Arc::clone(&of_plane))
        });
        let of_plane = Arc::clone(&plane);
        keep_running("jobs", move || jobs::run(Arc::clone(&of_plane)));
        let of_plane = Arc::clone(&plane);
        keep_running("movements", move || movements::run(Arc::clone(&of_plane)));
        let (of_plane, interval) = (Arc::clone(&plane), config.anti_entropy_interval);
        keep_running("anti-entropy", move || {
            movements::run_anti_entropy(Arc::clone(&of_plane), interval)
        });
        let control = Control {
            router: routes::router(Arc::clone(&plane)),
            plane,
        };
        if ready.send(Ok(control)).is_ok() {
            let _ = stopped.await;
        }
    });
    // Dropping the runtime ends the jobs.
}

/// Starts the jobs of one node; they end when it is retired.
pub(crate) fn watch_node(plane: &Arc<Plane>, client: &Arc<NodeClient>) {
    let (of_plane, of_client) = (Arc::clone(plane), Arc::clone(client));
    keep_running("poll", move || {
        let (plane, client) = (Arc::clone(&of_plane), Arc::clone(&of_client));
        async move {
            client
                .until_retired(poll::poll_node(plane, Arc::clone(&client)))
                .await
        }
    });
    let (of_plane, of_client) = (Arc::clone(plane), Arc::clone(client));
    keep_running("health", move || {
        let (plane, client) = (Arc::clone(&of_plane), Arc::clone(&of_client));
        async move {
            client
                .until_retired(health::watch(plane, Arc::clone(&client)))
                .await
        }
    });
}

/// Runs a job that never ends, again when it has panicked: one bad answer must not stop all tasks for good.
fn keep_running<F>(name: &'static str, job: impl Fn() -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    const PAUSE: Duration = Duration::from_millis(200);
    tokio::spawn(async move {
        while let Err(error) = tokio::spawn(job()).await {
            if !error.is_panic() {
                return;
            }
            tracing::error!(job = name, %error, "a background job panicked; starting it again");
            sleep(PAUSE).await;
        }
    });
}

/// The cores' handle to the control plane. Its futures may be awaited on any executor.
#[derive(Clone)]
pub struct Control {
    plane: Arc<Plane>,
    router: Router,
}

impl Control {
    pub(crate) fn plane(&self) -> &Plane {
        &self.plane
    }

    /// Where routing tables come from.
    pub fn publisher(&self) -> &Publisher {
        &self.plane.publisher
    }

    /// For admin routes that a core serves: `authorization` is the header's value.
    ///
    /// # Errors
    /// It does not hold the admin key.
    pub fn authorise_admin(&self, authorization: Option<&str>) -> Result<(), Error> {
        check_single_key(self.plane.admin_key.as_deref(), authorization)
    }

    /// Answers any slow route. The core has checked the client's key and knows what it may see; `/_miroir/` is checked
    /// here.
    pub async fn handle(
        &self,
        access: Access,
        mut request: http::Request<Bytes>,
    ) -> http::Response<Bytes> {
        request.extensions_mut().insert(access);
        let router = self.router.clone();
        let answer = self.run(async move {
            // A router never fails: its error type has no values.
            let response = router
                .oneshot(request.map(axum::body::Body::from))
                .await
                .unwrap_or_else(|never| match never {});
            let (head, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|error| Error::internal(error.to_string()))?
                .to_bytes();
            Ok(http::Response::from_parts(head, body))
        });
        answer.await.unwrap_or_else(|error| error_response(&error))
    }

    /// Waits for a turn in the index's lane and says how the write is to be done. An addition to a missing index
    /// creates it on all nodes first.
    ///
    /// # Errors
    /// What the client must be answered instead of a task: a bad index uid, a node that is down where all are needed.
    pub async fn begin_write(&self, write: BeginWrite) -> Result<Turn, Error> {
        let plane = Arc::clone(&self.plane);
        self.run(async move { plane.begin_write(write).await })
            .await
    }

    /// Says that documents whose ids have upper-case letters are about to be sent to the nodes: from when it resolves,
    /// durably and in the published table, a filter's value with letters pins no document of the index (see
    /// [`miroir_router::Ids`]). To be called in a turn; needed only where `turn.index.ids` does not say so already.
    ///
    /// # Errors
    /// The store failed.
    pub async fn note_upper_case_ids(&self, turn: &Turn) -> Result<(), Error> {
        let (plane, uid) = (Arc::clone(&self.plane), turn.index.node_uid.clone());
        self.run(async move { plane.note_upper_case_ids(uid).await })
            .await
    }

    /// Makes a write a task. When it resolves, the task, and every copy that missed the write, are on disk, and the
    /// published routing table shows those copies as out of sync.
    ///
    /// # Errors
    /// The store failed: nodes may have applied the write, but there is no task for it.
    pub async fn commit(&self, turn: Turn, outcome: Outcome) -> Result<TaskSummary, Error> {
        let plane = Arc::clone(&self.plane);
        self.run(async move { plane.commit(turn, outcome).await })
            .await
    }

    /// Ends the turn of a write that too few copies took. When it resolves, copies that differ from the others for it are
    /// on disk as out of sync, and the published routing table shows it.
    ///
    /// # Errors
    /// The store failed: copies may differ and serve all the same.
    pub async fn give_up(
        &self,
        turn: Turn,
        diverged: Vec<(Shard, NodeIdx)>,
        touched: Touched,
    ) -> Result<(), Error> {
        let plane = Arc::clone(&self.plane);
        self.run(async move { plane.give_up(turn, diverged, touched).await })
            .await
    }

    /// A node has given a write a number that it had passed before: it lost what it had ([`miroir_router::TaskCount`]).
    /// When it resolves, its copies are on disk as out of sync, where others serve, and the published table shows it. To be
    /// called before the write is answered.
    ///
    /// # Errors
    /// The store failed: copies may be old and serve all the same.
    pub async fn counts_anew(&self, node: NodeIdx) -> Result<(), Error> {
        let plane = Arc::clone(&self.plane);
        self.run(async move { plane.counts_anew(node).await }).await
    }

    /// Whether a client has switched on the experimental feature of this name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn has_feature(&self, name: &'static str) -> Result<bool, Error> {
        let plane = Arc::clone(&self.plane);
        self.run(async move { plane.has_feature(name).await }).await
    }

    /// Runs `work` on the control thread. It goes on there when the caller gives up waiting.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let runtime: &Handle = &self.plane.runtime;
        runtime.spawn(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a control job ended early");
            Err(Error::internal(
                "the control plane is stopping, or a job of it panicked; see the log",
            ))
        })
    }
}

fn error_response(error: &Error) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from(error.to_body()));
    *response.status_mut() =
        http::StatusCode::from_u16(error.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}
