//! The demo's corpus: 3,201 films (vega-datasets, BSD-3-Clause; see data/README.md), built into the program.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{json, Value};

/// `data/movies.json.gz`: a JSON array of objects with an integer `id`.
const FILMS: &[u8] = include_bytes!("../../../data/movies.json.gz");
/// Documents a request: small enough for the bar to move.
const BATCH: usize = 400;

/// Creates and fills the index `movies`; returns how many films it holds. A demo that runs again on kept data finds
/// them there.
pub async fn load(address: SocketAddr, key: &str) -> Result<u64, String> {
    let client = Client {
        http: reqwest::Client::new(),
        base: format!("http://{address}"),
        key: key.to_owned(),
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(FILMS)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    let films: Vec<Value> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let stats = client.get("/stats").await?;
    if stats["indexes"]["movies"]["numberOfDocuments"].as_u64() == u64::try_from(films.len()).ok() {
        return Ok(films.len() as u64);
    }
    let settings = json!({
        "searchableAttributes": ["title", "director", "major_genre", "distributor", "source", "creative_type"],
        "filterableAttributes": ["major_genre", "director", "distributor", "mpaa_rating", "imdb_rating",
            "rotten_tomatoes_rating", "release_date", "running_time_min", "creative_type", "source"],
        "sortableAttributes": ["title", "imdb_rating", "rotten_tomatoes_rating", "worldwide_gross", "us_gross",
            "production_budget", "running_time_min", "imdb_votes"]
    });
    client
        .send(
            reqwest::Method::POST,
            "/indexes",
            &json!({"uid": "movies", "primaryKey": "id"}),
        )
        .await?;
    client
        .send(
            reqwest::Method::PATCH,
            "/indexes/movies/settings",
            &settings,
        )
        .await?;
    let bar = indicatif::ProgressBar::new(films.len() as u64).with_style(
        indicatif::ProgressStyle::with_template("  loading films {bar:40} {pos}/{len}")
            .map_err(|error| error.to_string())?,
    );
    let mut last = 0;
    for batch in films.chunks(BATCH) {
        last = client
            .send(
                reqwest::Method::POST,
                "/indexes/movies/documents",
                &json!(batch),
            )
            .await?;
        bar.inc(batch.len() as u64);
    }
    client.wait(last).await?;
    bar.finish_and_clear();
    Ok(films.len() as u64)
}

struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Client {
    async fn get(&self, path: &str) -> Result<Value, String> {
        let request = self
            .http
            .get(format!("{}{path}", self.base))
            .bearer_auth(&self.key);
        answer(request).await
    }

    /// Sends a write and returns its task.
    async fn send(&self, method: reqwest::Method, path: &str, body: &Value) -> Result<u64, String> {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.key)
            .json(body);
        let task = answer(request).await?;
        task["taskUid"]
            .as_u64()
            .ok_or_else(|| format!("no taskUid in {task}"))
    }

    async fn wait(&self, task: u64) -> Result<(), String> {
        loop {
            let state = self.get(&format!("/tasks/{task}")).await?;
            match state["status"].as_str() {
                Some("succeeded") => return Ok(()),
                Some("enqueued" | "processing") => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                _ => {
                    return Err(format!(
                        "task {task} ended badly: {}",
                        state["error"]["message"]
                    ))
                }
            }
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let value: Value = answer.json().await.map_err(|error| error.to_string())?;
    if status.is_success() {
        Ok(value)
    } else {
        Err(format!(
            "{status}: {}",
            value["message"].as_str().unwrap_or("no message")
        ))
    }
}
