//! The command line: what a good and a bad configuration are told, and `miroir demo` from its banner to Ctrl-C.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use miroir_tests::fleet::{free_port, miroir, Lone, MASTER_KEY};
use miroir_tests::http::{until, Target};
use miroir_tests::process::{command, run, Process, Signal};

const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "a-secret-that-must-not-show";

#[test]
fn check_accepts_the_example_configurations() {
    for name in ["dev.yaml", "production.yaml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../configs")
            .join(name);
        let (code, output) = serve(&file, &["--check"], &[]);
        assert_eq!(code, Some(0), "{name}: {output}");
        assert!(
            !output.contains("dev-key") && !output.contains("dev-node-key"),
            "{name} shows a key: {output}"
        );
    }
}

#[test]
fn check_names_the_nearest_known_key() {
    for (line, wrong, right) in [
        (
            "replication_facto: 2",
            "replication_facto",
            "replication_factor",
        ),
        ("shard: 8", "shard", "shards"),
        ("server: { bind: 127.0.0.1, prt: 7700 }", "prt", "port"),
        ("task_store: { backnd: sqlite }", "backnd", "backend"),
    ] {
        let (code, output) = check(line, &[]);
        assert_ne!(code, Some(0), "{line} passes");
        assert!(
            output.contains(wrong) && output.contains(right),
            "{line}: {output}"
        );
        assert!(!output.contains(SECRET), "{line} shows a key: {output}");
    }
}

#[test]
fn check_says_what_is_wrong_with_a_value() {
    let mut wrong = Vec::new();
    for (line, word) in [
        ("shards: many", "shards"),
        ("shards: 0", "shards"),
        ("shards: 5000", "shards"),
        ("replication_factor: 0", "replication_factor"),
        ("replication_factor: 9", "replication_factor"),
        ("unavailable_shard_policy: maybe", "unavailable_shard_policy"),
        ("nodes: []", "node"),
        ("nodes: [{ id: a, address: \"127.0.0.1:7701\" }]", "http://"),
        ("nodes: [{ id: twin, address: \"http://127.0.0.1:1\" }, { id: twin, address: \"http://127.0.0.1:2\" }]", "twin"),
    ] {
        let (code, output) = check(line, &[]);
        let told = output.contains(word) && !output.contains(SECRET) && !output.contains("panicked");
        if code == Some(0) || !told {
            wrong.push(format!("{line}: {output}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "not refused, or not said why:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_environment_wins_and_is_checked_too() {
    let (code, output) = check("shards: 16", &[("MIROIR_SHARDS", "many")]);
    assert_ne!(code, Some(0));
    assert!(output.to_lowercase().contains("shards"), "{output}");
    let (code, output) = check("shards: many", &[("MIROIR_SHARDS", "8")]);
    assert_eq!(code, Some(0), "{output}");
    let (code, output) = check("", &[("MIROIR_MASTER_KEYS", "x")]);
    assert_ne!(code, Some(0));
    assert!(output.contains("MIROIR_MASTER_KEY"), "{output}");
}

#[test]
fn a_missing_file_is_named() {
    let (code, output) = serve(Path::new("/nowhere/miroir.yaml"), &[], &[]);
    assert_ne!(code, Some(0));
    assert!(output.contains("/nowhere/miroir.yaml"), "{output}");
}

#[test]
fn a_wrong_node_key_is_told() {
    let lone = Lone::start();
    let (code, output) =
        serve_one_node(&lone.target().base, "not-the-key-of-the-node", free_port());
    assert_ne!(code, Some(0), "it starts with a wrong node key: {output}");
    assert!(
        output.contains("node_master_key") && output.contains("meili-0"),
        "{output}"
    );
    assert!(
        !output.contains("not-the-key-of-the-node") && !output.contains(SECRET),
        "a key shows: {output}"
    );
}

#[test]
fn a_port_in_use_is_told() {
    let lone = Lone::start();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let (code, output) = serve_one_node(&lone.target().base, MASTER_KEY, port);
    assert_ne!(code, Some(0), "{output}");
    assert!(
        output.contains(&port.to_string()) && output.contains("in use"),
        "{output}"
    );

    let mut c = command(miroir());
    c.args(["demo", "--port", &port.to_string()]);
    let (code, output) = run(c, PATIENCE).expect("it runs");
    assert_ne!(code, Some(0), "{output}");
    assert!(
        output.contains("--port") && output.contains(&port.to_string()),
        "{output}"
    );
}

#[test]
fn the_demo_answers_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let temporary = dir.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a folder");
    let port = free_port();
    let mut c = command(miroir());
    c.args(["demo", "--nodes", "3", "--port", &port.to_string()])
        .env("TMPDIR", &temporary)
        .env("NO_COLOR", "1");
    let mut demo = Process::start("demo", c, &dir.path().join("log")).expect("the demo starts");

    let mut key = None;
    until("the banner", Duration::from_secs(120), || {
        assert!(demo.ended().is_none(), "{}", demo.tail());
        key = bearer(&demo.output());
        key.is_some()
    });
    let target = Target {
        name: "demo".into(),
        base: format!("http://127.0.0.1:{port}"),
        key: key.unwrap_or_default(),
    };
    let answer = target
        .get("/indexes/movies/search?q=star+wars")
        .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(
        answer.body["estimatedTotalHits"].as_u64() > Some(0),
        "{}",
        answer.body
    );
    let stats = target.get("/indexes/movies/stats").expect("an answer");
    assert_eq!(stats.body["numberOfDocuments"], 3201, "{}", stats.body);

    let family = descendants(demo.id());
    assert!(
        family.len() >= 3,
        "three nodes were expected below the demo: {family:?}"
    );
    let asked = Instant::now();
    demo.signal(Signal::Interrupt);
    let status = demo
        .wait(PATIENCE)
        .unwrap_or_else(|| panic!("it does not end: {}", demo.tail()));
    let took = asked.elapsed();
    println!("demo: ended {took:?} after SIGINT");
    assert!(status.success(), "{status}: {}", demo.tail());
    assert!(took < Duration::from_secs(2), "it took {took:?} to end");
    until("its nodes to be gone", Duration::from_secs(5), || {
        family.iter().all(|pid| !alive(*pid))
    });
    let left: Vec<PathBuf> = std::fs::read_dir(&temporary)
        .expect("the folder")
        .flatten()
        .map(|e| e.path())
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

fn check(lines: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("miroir.yaml");
    let mut text = format!("master_key: \"{SECRET}\"\nnode_master_key: \"{SECRET}\"\n{lines}\n");
    if !lines.contains("nodes:") {
        text += "nodes:\n  - { id: meili-0, address: \"http://127.0.0.1:7701\" }\n";
    }
    std::fs::write(&file, text).expect("a file");
    serve(&file, &["--check"], environment)
}

fn serve(file: &Path, more: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut c = command(miroir());
    c.arg("serve")
        .arg("--config")
        .arg(file)
        .args(more)
        .envs(environment.iter().copied());
    run(c, PATIENCE).expect("it runs")
}

fn serve_one_node(address: &str, node_key: &str, port: u16) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("miroir.yaml");
    let store = dir.path().join("miroir.db");
    let text = format!(
        "master_key: \"{SECRET}\"\nnode_master_key: \"{node_key}\"\nnodes:\n  - {{ id: meili-0, address: \"{address}\" }}\n\
         task_store: {{ backend: sqlite, path: \"{}\" }}\nserver: {{ port: {port} }}\n",
        store.display()
    );
    std::fs::write(&file, text).expect("a file");
    serve(&file, &[], &[])
}

/// The key in the banner's curl lines.
fn bearer(output: &str) -> Option<String> {
    let (_, rest) = output.split_once("Authorization: Bearer ")?;
    let end = rest.find(['\'', '"', '\n'])?;
    Some(rest[..end].to_string())
}

/// Every process below `pid`, from /proc.
fn descendants(pid: u32) -> Vec<u32> {
    let everybody = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let parents: Vec<(u32, u32)> = everybody
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter_map(|child| Some((child, parent(child)?)))
        .collect();
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        all.extend(
            parents
                .iter()
                .filter(|(_, p)| *p == all[at])
                .map(|(c, _)| *c)
                .collect::<Vec<_>>(),
        );
        at += 1;
    }
    all.split_off(1)
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Whether a process runs; one that has ended and waits to be reaped does not.
fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
