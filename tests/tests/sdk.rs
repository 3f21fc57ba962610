//! The official SDKs, unmodified, against one node and against a cluster of three: every method, and the same answers.
//!
//! scripts/test installs them below `target/sdk` and says so in `MIROIR_SDK`; without that variable there is nothing to run.
//! What they called becomes the table in docs/compatibility.md; `MIROIR_WRITE_DOCS=1` writes it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use miroir_tests::fleet::{Fleet, Lone, Plan, MASTER_KEY};
use miroir_tests::http::Target;
use miroir_tests::page::{self, Page};
use miroir_tests::process::{command, run};
use miroir_tests::record::{Exchange, Recorder};
use miroir_tests::routes::{load, Row, Table};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn every_method_of_every_sdk_and_every_route() {
    let Some(sdk) = installed() else { return };
    let rows = load(&scripts().join("routes.yaml")).expect("the list of routes");
    let (lone, fleet) = (Lone::start(), Fleet::start(Plan::default()));
    let targets = [lone.target(), fleet.target("proxy")];
    let mut table = Table::new(rows.clone());
    for (caller, program) in drivers(&sdk) {
        let [node, cluster] = targets
            .each_ref()
            .map(|target| drive(program.make(), target));
        table.compare(caller, node, cluster);
    }
    let [node, cluster] = targets.each_ref().map(|target| play_rest(&rows, target));
    table.compare("the test", node, cluster);
    let text = table.page();
    assert!(
        table.failures.is_empty(),
        "{} failures\n{}",
        table.failures.len(),
        table.failures.join("\n")
    );
    let mut page = Page::read("compatibility.md").expect("the page");
    if page::writes() {
        page.set("routes", &text).expect("a part for the table");
        page.write().expect("the page is written");
    }
    assert_eq!(
        page.part("routes").expect("the table").trim(),
        text.trim(),
        "docs/compatibility.md is not what was called; run this test with MIROIR_WRITE_DOCS=1"
    );
}

/// What the Rust SDK has and its driver does not call.
const NOT_CALLED_IN_RUST: &[(&str, &str)] =
    &[("stream_chat_completion", "needs a language model's service")];

/// There is no reflection in Rust: the SDK's sources are read for methods that speak to a server, the driver's for their names.
#[test]
fn the_rust_driver_calls_every_method() {
    if installed().is_none() {
        return;
    }
    let folder = scripts().join("rust");
    let mut c = command("cargo");
    c.args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(folder.join("Cargo.toml"));
    let (code, output) = run(c, LIMIT).expect("cargo runs");
    assert_eq!(code, Some(0), "{output}");
    let json = output
        .lines()
        .find(|line| line.starts_with('{'))
        .expect("metadata");
    let metadata: Value = serde_json::from_str(json).expect("metadata");
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "meilisearch-sdk")
        .and_then(|package| package["manifest_path"].as_str())
        .expect("the SDK");
    let sources = Path::new(manifest).with_file_name("src");
    let driver = std::fs::read_to_string(folder.join("src/main.rs")).expect("the driver");
    let words: HashSet<&str> = driver
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    let mut methods = 0;
    for file in [
        "chats",
        "client",
        "dumps",
        "indexes",
        "settings",
        "snapshots",
    ] {
        let source = std::fs::read_to_string(sources.join(file).with_extension("rs"))
            .expect("a source of the SDK");
        // Free functions stand at the left margin; they are the old names of methods.
        for line in source
            .lines()
            .filter_map(|line| line.strip_prefix("    pub async fn "))
        {
            let name: String = line
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let called = words.contains(name.as_str());
            let excused = NOT_CALLED_IN_RUST.iter().any(|(other, _)| *other == name);
            assert!(called || excused, "{file}.rs: nobody calls {name}");
            methods += 1;
        }
    }
    assert!(methods > 100, "{methods} methods found");
    println!("rust sdk: {methods} methods, each called");
}

/// InstantSearch in headless Chromium, from a page of another origin.
#[test]
fn instantsearch() {
    let Some(sdk) = installed() else { return };
    let chromium = ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .find_map(|name| which(name))
        .expect("a Chromium: scripts/test installs Debian's");
    let fleet = Fleet::start(Plan::default());
    let folder = scripts().join("instantsearch");
    let mut c = command("node");
    c.arg(beside_modules(&sdk, &folder.join("browse.mjs")))
        .env("MEILI_URL", fleet.target("proxy").base)
        .env("MEILI_KEY", MASTER_KEY)
        .env("PAGE", folder.join("page.html"))
        .env("CHROMIUM", chromium);
    let (code, output) = run(c, LIMIT).expect("the script runs");
    assert_eq!(code, Some(0), "{output}");
    println!("{output}");
}

/// A program that drives an SDK.
struct Driver {
    program: PathBuf,
    script: Option<PathBuf>,
}

impl Driver {
    fn make(&self) -> Command {
        let mut c = command(&self.program);
        c.args(&self.script);
        c
    }
}

fn drivers(sdk: &Path) -> Vec<(&'static str, Driver)> {
    let python = Driver {
        program: sdk.join("venv/bin/python"),
        script: Some(scripts().join("every_method.py")),
    };
    let javascript = Driver {
        program: "node".into(),
        script: Some(beside_modules(sdk, &scripts().join("every_method.mjs"))),
    };
    let rust = Driver {
        program: sdk.join("rust/debug/every-method"),
        script: None,
    };
    vec![
        ("python", python),
        ("javascript", javascript),
        ("rust", rust),
    ]
}

/// Runs a driver to its end and returns what it asked.
fn drive(mut driver: Command, target: &Target) -> Vec<Exchange> {
    let recorder = Recorder::start(target).expect("a recorder");
    driver
        .env("MEILI_URL", recorder.base())
        .env("MEILI_KEY", MASTER_KEY);
    let (code, output) = run(driver, LIMIT).expect("the driver runs");
    assert_eq!(code, Some(0), "on {}:\n{output}", target.name);
    println!("{}: {output}", target.name);
    recorder.take()
}

/// The requests that no SDK makes.
fn play_rest(rows: &[Row], target: &Target) -> Vec<Exchange> {
    let recorder = Recorder::start(target).expect("a recorder");
    let recorded = Target {
        base: recorder.base(),
        ..target.clone()
    };
    for step in rows.iter().flat_map(|row| &row.also) {
        let call = step.call(&|text| text.to_string()).expect("a request");
        let answer = recorded.call(&call).expect("an answer");
        if let Some(uid) = answer.body["taskUid"].as_u64().filter(|_| step.wait) {
            recorded.wait_task(uid).expect("the task ends");
        }
    }
    recorder.take()
}

/// A copy of a script in the folder of the SDKs: modules are looked for beside the script.
fn beside_modules(sdk: &Path, script: &Path) -> PathBuf {
    let copy = sdk.join(script.file_name().expect("a file"));
    std::fs::copy(script, &copy).expect("the script is copied");
    copy
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn installed() -> Option<PathBuf> {
    let sdk = std::env::var_os("MIROIR_SDK").map(PathBuf::from);
    if sdk.is_none() {
        println!("MIROIR_SDK is not set: no SDK is tested (scripts/test sets it)");
    }
    sdk
}

fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sdk")
}
