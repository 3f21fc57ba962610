//! A small server on every core, to try the runtime and the codec by hand:
//!
//! ```text
//! cargo run --release -p miroir-net --example hello -- 127.0.0.1:8080 [node address]
//! curl http://127.0.0.1:8080/                      says which driver runs
//! curl --data-binary @file http://127.0.0.1:8080/echo
//! curl 'http://127.0.0.1:8080/fan/4/path'          asks the node 4 times for /path and joins the answers
//! ```
//!
//! `MIROIR_DRIVER=epoll` forces the other driver. It ends when its standard input does.
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use miroir_net::client::{OutRequest, PoolConfig, Pools};
use miroir_net::{bind, serve, Handler, Limits, Request, Response};
use miroir_rt::{CoresConfig, DriverChoice};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter("info").init();
    let mut arguments = std::env::args().skip(1);
    let address: std::net::SocketAddr = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned())
        .parse()?;
    let node: Option<String> = arguments.next();
    let cores = std::env::var("CORES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let config = CoresConfig {
        cores,
        driver: DriverChoice::from_env()?,
        ..CoresConfig::default()
    };
    let (driver, _) = miroir_rt::probe(config.driver)?;
    let cores = miroir_rt::start(config, move |core| {
        let node = node.clone();
        async move {
            let handler = Rc::new(Hello {
                driver: driver.name(),
                pools: Pools::new(PoolConfig::default()),
                node,
            });
            let served = match bind(address) {
                Ok(listener) => {
                    serve(listener, handler, Rc::new(Limits::default()), core.shutdown).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::error!(%error, core = core.id, "cannot serve");
            }
        }
    })?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    cores.shutdown(Duration::from_secs(5));
    tracing::info!(stats = ?cores.stats(), "ended");
    Ok(())
}

struct Hello {
    driver: &'static str,
    pools: Pools,
    node: Option<String>,
}

impl Handler for Hello {
    async fn handle(&self, request: Request) -> Response {
        match request.path() {
            "/" => Response::json(200, format!("{{\"driver\":\"{}\"}}", self.driver)),
            "/echo" => Response::segments(200, vec![request.body]),
            "/chunked" => Response::chunked(
                200,
                vec![Bytes::from_static(b"[1,"), Bytes::from_static(b"2]")],
            ),
            "/panic" => panic!("asked for"),
            path => match path.strip_prefix("/fan/") {
                Some(rest) => self.fan_out(rest).await,
                None => Response::error(&miroir_api::Error::invalid(
                    404,
                    "not_found",
                    "There is no such page.",
                )),
            },
        }
    }
}

impl Hello {
    /// `4/path`: asks the node four times at once.
    async fn fan_out(&self, rest: &str) -> Response {
        let (count, path) = rest.split_once('/').unwrap_or((rest, ""));
        let count: usize = count.parse().unwrap_or(1).min(16);
        let Some(node) = &self.node else {
            return Response::empty(503);
        };
        let asked: Vec<_> = (0..count)
            .map(|_| {
                let (pools, node, path) = (self.pools.clone(), node.clone(), format!("/{path}"));
                let (sender, receiver) = tokio::sync::oneshot::channel();
                miroir_rt::spawn(async move {
                    let _ = sender.send(
                        pools
                            .send(&node, &OutRequest::get(path), Duration::from_secs(5))
                            .await,
                    );
                });
                receiver
            })
            .collect();
        let mut segments = Vec::new();
        for answer in asked {
            match answer.await {
                Ok(Ok(reply)) => segments.push(reply.body),
                Ok(Err(error)) => {
                    return Response::error(&miroir_api::Error::internal(error.to_string()))
                }
                Err(_) => return Response::empty(500),
            }
        }
        Response::segments(200, segments)
    }
}
