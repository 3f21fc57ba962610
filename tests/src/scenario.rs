//! Scenario files: what is asked, as data.
//!
//! A file is a list of scenarios, a scenario a list of steps, a step one request (or the name of a fixture, a list of steps kept in
//! `fixtures.yaml`). Nothing in a step says what a *cluster* must answer: that is what one node answers. What a step expects
//! (`status`, `code`, `expect`, `task`) is checked on every deployment, so that a mistake shared by node and cluster shows too.
//!
//! ```yaml
//! scenarios:
//!   - name: search-filter-number
//!     steps:
//!       - fixture: films
//!       - request: POST /indexes/{index}/search
//!         json: { filter: "year >= 1990" }
//!         expect: { estimatedTotalHits: 4 }
//! ```
//!
//! `{index}`, `{index2}` and `{index3}` stand for index names that belong to the scenario, `{task:0}` for the id of the first task that
//! the scenario has met, `{key:UID}` for the text of the API key with this uid, `{spaces:N}` for so many spaces. README.md beside the files explains every member.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::fleet::MASTER_KEY;
use crate::http::Call;
use crate::token::{api_key, tenant_token};

/// One story with its own indexes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scenario {
    /// Unique; also the name of its index, so only letters, digits and `-`.
    pub name: String,
    /// What it guards, where the name does not say it.
    #[serde(default)]
    pub why: String,
    /// It looks at the whole instance (all indexes, all tasks), so no other scenario may run meanwhile.
    #[serde(default)]
    pub alone: bool,
    /// It asks for what the embedded node lacks: played only where `MEILISEARCH_BIN` puts released nodes in its place.
    #[serde(default)]
    pub released: bool,
    /// Its documents are written in the order of their ids: hits that tie stand in one node's order, too.
    #[serde(default)]
    pub in_order: bool,
    pub steps: Vec<Step>,
}

/// One request and what must come of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Step {
    /// Steps from `fixtures.yaml` instead of a request.
    pub fixture: Option<String>,
    /// `METHOD /path?query`.
    pub request: String,
    /// Several requests instead of one: each text takes the place of `{each}` in the request, or is a JSON body as it stands.
    pub each: Vec<String>,
    /// A JSON body with its content type.
    pub json: Option<Value>,
    /// A body as it stands.
    pub text: Option<String>,
    /// The content type of `text`; none is sent where none is given.
    #[serde(rename = "type")]
    pub content_type: Option<String>,
    /// Compress the body: `gzip`, `br`, `deflate` or `zstd`, and say so in `Content-Encoding`.
    pub encoding: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// A bearer token in place of the master key; `none` sends none.
    pub key: Option<String>,
    /// A tenant token in place of the master key.
    pub token: Option<Token>,
    /// Wait for the task that the answer names; it must succeed unless `task` says otherwise.
    pub wait: bool,
    /// Wait for the task where the answer names one, however it ends.
    pub finish: bool,
    pub status: Option<u16>,
    /// The error code of the answer.
    pub code: Option<String>,
    /// What the answer must contain.
    pub expect: Option<Value>,
    /// What the finished task must contain.
    pub task: Option<Value>,
    pub differs: Option<Differs>,
}

/// What a tenant token says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The uid of the key that signs it.
    pub by: String,
    pub rules: Value,
    /// Seconds since 1970.
    pub exp: Option<i64>,
}

/// A lawful difference between one node and a cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differs {
    /// Why no proxy could answer the same.
    pub reason: String,
    /// Where; see [`crate::compare::remove`].
    pub at: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixtures {
    fixtures: BTreeMap<String, Vec<Step>>,
}

/// Reads every `*.yaml` of a folder, fixtures unfolded, in the order of file names.
pub fn load(folder: &Path) -> Result<Vec<Scenario>, String> {
    let fixtures: Fixtures = parse(&folder.join("fixtures.yaml"))?;
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .map_err(|e| e.to_string())?
        .flatten()
        .map(|e| e.path())
        .collect();
    files.retain(|p| {
        p.extension().is_some_and(|e| e == "yaml")
            && p.file_name().is_some_and(|n| n != "fixtures.yaml")
    });
    files.sort();
    let mut all: Vec<Scenario> = Vec::new();
    for file in files {
        let parsed: File = parse(&file)?;
        for mut scenario in parsed.scenarios {
            let place = format!("{}: {}", file.display(), scenario.name);
            scenario.steps =
                unfold(scenario.steps, &fixtures.fixtures).map_err(|e| format!("{place}: {e}"))?;
            if all.iter().any(|s| s.name == scenario.name) {
                return Err(format!("{place}: the name is taken"));
            }
            all.push(scenario);
        }
    }
    Ok(all)
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// A fixture may begin with another one.
fn unfold(steps: Vec<Step>, fixtures: &BTreeMap<String, Vec<Step>>) -> Result<Vec<Step>, String> {
    let mut all = Vec::new();
    for step in steps {
        match &step.fixture {
            None if step.request.is_empty() => return Err("a step without request".into()),
            None if !step.each.is_empty() => all.extend(step.several()),
            None => all.push(step),
            Some(name) => {
                let inner = fixtures.get(name).ok_or(format!("no fixture `{name}`"))?;
                // a fixture that names itself would never end
                let others = fixtures
                    .iter()
                    .filter(|(n, _)| *n != name)
                    .map(|(n, s)| (n.clone(), s.clone()))
                    .collect();
                all.extend(unfold(inner.clone(), &others)?);
            }
        }
    }
    Ok(all)
}

impl Step {
    /// A step for each of its texts.
    fn several(self) -> Vec<Step> {
        let one = Step {
            each: Vec::new(),
            ..self.clone()
        };
        let with = |text: String| match one.request.contains("{each}") {
            true => Step {
                request: one.request.replace("{each}", &text),
                ..one.clone()
            },
            false => Step {
                text: Some(text),
                content_type: one.content_type.clone().or(Some("application/json".into())),
                ..one.clone()
            },
        };
        self.each.into_iter().map(with).collect()
    }

    /// The request, with `fill` applied to everything that may hold a placeholder.
    pub fn call(&self, fill: &dyn Fn(&str) -> String) -> Result<Call, String> {
        let (method, path) = self
            .request
            .split_once(' ')
            .ok_or(format!("`{}` is not `METHOD /path`", self.request))?;
        let mut call = Call::new(method, fill(path));
        if let Some(json) = &self.json {
            call.headers
                .push(("content-type".into(), "application/json".into()));
            call.body = Some(fill(&json.to_string()).into_bytes());
        }
        if let Some(text) = &self.text {
            call.body = Some(fill(text).into_bytes());
        }
        if let Some(kind) = &self.content_type {
            call.headers.push(("content-type".into(), kind.clone()));
        }
        if let Some(encoding) = &self.encoding {
            call.headers
                .push(("content-encoding".into(), encoding.clone()));
            call.body = call.body.map(|b| compress(&b, encoding)).transpose()?;
        }
        call.headers
            .extend(self.headers.iter().map(|(n, v)| (n.clone(), v.clone())));
        let presented = match (&self.key, &self.token) {
            (None, None) => return Ok(call),
            (Some(key), _) => fill(key),
            (None, Some(Token { by, rules, exp })) => {
                let rules = fill(&rules.to_string()).parse().map_err(|_| "bad rules")?;
                tenant_token(&api_key(MASTER_KEY, by), by, &rules, *exp)
            }
        };
        call.anonymous = true;
        if presented != "none" {
            let bearer = format!("Bearer {presented}");
            call.headers.push(("authorization".into(), bearer));
        }
        Ok(call)
    }
}

fn compress(body: &[u8], encoding: &str) -> Result<Vec<u8>, String> {
    use flate2::write::{GzEncoder, ZlibEncoder};
    let level = flate2::Compression::default();
    let packed = match encoding {
        "gzip" => {
            let mut w = GzEncoder::new(Vec::new(), level);
            w.write_all(body).and_then(|()| w.finish())
        }
        "deflate" => {
            let mut w = ZlibEncoder::new(Vec::new(), level);
            w.write_all(body).and_then(|()| w.finish())
        }
        "br" => {
            let mut out = Vec::new();
            let mut w = brotli::CompressorWriter::new(&mut out, 4096, 4, 20);
            let written = w.write_all(body).and_then(|()| w.flush());
            drop(w);
            written.map(|()| out)
        }
        "zstd" => zstd::encode_all(body, 3),
        // whatever else a scenario names is sent as it is: it tests the refusal
        _ => Ok(body.to_vec()),
    };
    packed.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_can_be_read() {
        let all = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios"))
            .unwrap_or_else(|e| panic!("{e}"));
        assert!(all.len() >= 60, "{} scenarios are too few", all.len());
        for scenario in &all {
            let name = &scenario.name;
            assert!(
                name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
                "{name} is no index name"
            );
            for step in &scenario.steps {
                step.call(&|text| text.to_string())
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
    }

    #[test]
    fn bodies_keep_the_types_of_the_file() {
        let step: Step = serde_saphyr::from_str(
            r#"{ request: "PUT /x", json: { a: "yes", b: 1, c: 1.5, d: null, e: ["1", true] } }"#,
        )
        .expect("yaml");
        let call = step.call(&|text| text.to_string()).expect("a call");
        assert_eq!(
            call.body.as_deref(),
            Some(br#"{"a":"yes","b":1,"c":1.5,"d":null,"e":["1",true]}"#.as_slice())
        );
    }
}
