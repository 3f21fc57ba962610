//! `miroir-ctl` against a running fleet: exit codes, what programs read, and what people are told to do next.

use std::process::Command;
use std::time::Duration;

use miroir_tests::fleet::{free_port, miroir_ctl, Fleet, Node, Plan, MASTER_KEY, NODE_KEY};
use miroir_tests::http::until;
use miroir_tests::process::{command, run};
use serde_json::{json, Value};

const PATIENCE: Duration = Duration::from_secs(120);

/// The commands of one fleet.
struct Ctl {
    url: String,
}

impl Ctl {
    fn of(fleet: &Fleet) -> Ctl {
        Ctl {
            url: fleet.target("proxy").base,
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut c = command(miroir_ctl());
        c.env("MIROIR_URL", &self.url);
        c.env("MIROIR_ADMIN_KEY", MASTER_KEY);
        c.args(line.split_whitespace());
        c
    }

    /// Exit code, and both outputs.
    fn ask(&self, line: &str) -> (Option<i32>, String) {
        run(self.command(line), PATIENCE).expect("miroir-ctl runs")
    }

    fn well(&self, line: &str) -> String {
        let (code, output) = self.ask(line);
        assert_eq!(code, Some(0), "miroir-ctl {line}: {output}");
        output
    }

    /// The answer that programs get.
    fn json(&self, line: &str) -> Value {
        let output = self.well(&format!("{line} --json"));
        let last = output.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|_| panic!("miroir-ctl {line}: {output}"))
    }

    /// It ends with this code, and its words say what to do.
    fn refused(&self, line: &str, code: i32, next: &str) {
        let (found, output) = self.ask(line);
        assert_eq!(found, Some(code), "miroir-ctl {line}: {output}");
        assert!(
            output.contains(next),
            "miroir-ctl {line} does not say `{next}`: {output}"
        );
    }
}

fn fleet() -> Fleet {
    let fleet = Fleet::start(Plan {
        shards: 6,
        replication_factor: 2,
        ..Plan::default()
    });
    let films: Vec<Value> = (0..60)
        .map(|id| json!({ "id": id, "title": "a film" }))
        .collect();
    let path = "/indexes/films/documents?primaryKey=id";
    let task = fleet.target("proxy").write("POST", path, &json!(films));
    assert_eq!(task.expect("a write")["status"], "succeeded");
    fleet
}

#[test]
fn looking_changes_nothing() {
    let fleet = fleet();
    let ctl = Ctl::of(&fleet);
    assert!(ctl.well("status").contains("all serve"));
    assert_eq!(
        ctl.json("status")["nodes"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(ctl.json("nodes list")["results"][2]["id"], "meili-2");
    assert_eq!(ctl.json("layout show")["version"], 1);
    assert!(ctl.well("layout diff").contains("nothing is staged"));
    assert_eq!(ctl.json("layout history")["results"][0]["version"], 1);
    assert!(ctl.well("shards list --index films").contains("meili-0"));
    let found = ctl.json("shards where 7 --index films");
    assert_eq!(found["copies"].as_array().map(Vec::len), Some(2), "{found}");
    assert_eq!(ctl.json("tasks list --limit 1")["results"][0]["uid"], 0);
    assert_eq!(ctl.json("tasks get 0")["status"], "succeeded");
    assert_eq!(ctl.json("tasks wait 0")["status"], "succeeded");
    for line in ["verify", "repair --index films"] {
        let report = ctl.json(line);
        assert_eq!(report["indexes"][0]["documents"], 60, "{report}");
        assert_eq!(report["indexes"][0]["differing"], json!([]), "{report}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = ctl.well(&format!("completions {shell}"));
        assert!(script.contains("rebalance"), "{shell}: {script}");
    }
    assert_eq!(
        completed(&ctl, "miroir-ctl --url http://x nodes re"),
        "remove replace"
    );
    assert_eq!(
        completed(&ctl, "miroir-ctl nodes drain some-id --d"),
        "--dry-run"
    );
}

/// The scripts are loaded and asked by the shells that they are for, where these are installed.
#[test]
fn zsh_and_fish_complete_commands() {
    let script = |shell: &str| {
        let mut ctl = command(miroir_ctl());
        ctl.args(["completions", shell]);
        run(ctl, PATIENCE).expect("miroir-ctl runs").1
    };
    let asked = |shell: &str, arguments: &[&str], script: String| -> Option<String> {
        let mut program = command(shell);
        program.args(arguments).arg(script);
        let Ok((code, output)) = run(program, PATIENCE) else {
            println!("NOT SHOWN: there is no {shell} here");
            return None;
        };
        assert_eq!(code, Some(0), "{shell}: {output}");
        Some(output)
    };
    // What zsh would describe is printed instead: there is no line editor without a terminal.
    let zsh = format!(
        "autoload -Uz compinit && compinit -D -u\n{}\n_describe() {{ [[ $1 == -o ]] && shift; print -r -- ${{(@P)2}} }}\n\
         words=(miroir-ctl --url http://x nodes re) CURRENT=5 PREFIX=re; _miroir_ctl\n\
         words=(miroir-ctl nodes drain some-id --d) CURRENT=5 PREFIX=--d; _miroir_ctl\n",
        script("zsh")
    );
    if let Some(offered) = asked("zsh", &["-f", "-c"], zsh) {
        assert!(offered.contains("replace:Put another"), "{offered}");
        assert!(offered.contains("--dry-run:only show"), "{offered}");
    }
    let fish = format!(
        "{}\ncomplete -C 'miroir-ctl --url http://x nodes re'\ncomplete -C 'miroir-ctl nodes drain some-id --d'\n",
        script("fish")
    );
    if let Some(offered) = asked("fish", &["--no-config", "-c"], fish) {
        let words: Vec<&str> = offered
            .lines()
            .filter_map(|line| line.split('\t').next())
            .collect();
        assert_eq!(words, ["remove", "replace", "--dry-run"], "{offered}");
    }
}

/// What bash offers for the last word.
fn completed(ctl: &Ctl, line: &str) -> String {
    let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
    let script = format!(
        "{}\nCOMP_WORDS=({}); COMP_CWORD={}; _miroir_ctl; echo \"${{COMPREPLY[*]}}\"",
        ctl.well("completions bash"),
        words.join(" "),
        words.len() - 1
    );
    let mut bash = command("bash");
    bash.args(["-c", &script]);
    let (_, output) = run(bash, PATIENCE).expect("bash runs");
    output.trim().to_owned()
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let mut fleet = fleet();
    let ctl = Ctl::of(&fleet);
    for (line, code, next) in [
        ("", 2, "--help"),
        ("nosuch", 2, "--help"),
        ("tasks get x", 2, "--help"),
        ("tasks get 99", 1, "miroir-ctl tasks list"),
        ("tasks list --status bogus", 1, "enqueued"),
        ("shards where 1 --index nope", 1, "miroir-ctl status"),
        ("verify --index nope", 1, "miroir-ctl status"),
        ("rebalance throttle 0", 2, "off"),
        ("layout stage", 2, "--help"),
        ("layout stage --add meili-9", 2, "ID=http://host:port"),
        ("nodes drain nope --yes", 1, "meili-0"),
        ("nodes add n9 127.0.0.1:1 --yes", 1, "http://"),
        ("nodes add n9 http://127.0.0.1:1 --yes", 1, "start it"),
        (
            "nodes remove meili-0 --yes",
            1,
            "miroir-ctl nodes drain meili-0",
        ),
        // Nobody sits at this test's standard input.
        ("nodes drain meili-0", 2, "--yes"),
        ("completions tcsh", 2, "bash"),
        ("status --key wrong", 1, "MIROIR_ADMIN_KEY"),
        ("status --url localhost:1", 2, "http://127.0.0.1:7700"),
    ] {
        ctl.refused(line, code, next);
    }
    let nothing = format!("status --url http://127.0.0.1:{}", free_port());
    ctl.refused(&nothing, 2, "check that miroir runs");
    let node = format!("status --url {}", fleet.nodes[0].target("node").base);
    ctl.refused(&node, 2, "--url");
    assert_eq!(
        ctl.json("layout show")["version"],
        1,
        "something was changed"
    );

    ctl.well("layout stage --weight meili-1=2");
    ctl.refused(
        "layout apply --version 7 --yes",
        1,
        "miroir-ctl layout diff",
    );
    ctl.refused("nodes drain meili-0 --yes", 1, "layout revert");
    ctl.well("layout revert");

    fleet.nodes[2].kill();
    until("the node to be seen as down", PATIENCE, || {
        ctl.ask("status").1.contains("DOWN")
    });
    ctl.refused("status", 1, "miroir-ctl nodes replace");
    ctl.refused("verify", 0, "miroir-ctl status");
    fleet.kill_proxy();
    ctl.refused("rebalance status --watch", 2, "check that miroir runs");
}

#[test]
fn nodes_come_and_go_by_commands() {
    let mut fleet = fleet();
    let ctl = Ctl::of(&fleet);
    let mut addresses = Vec::new();
    for position in [3, 4] {
        let mut node = Node::new(&fleet.folder().join(format!("node-{position}")), NODE_KEY);
        node.start();
        addresses.push(node.target("node").base);
        fleet.nodes.push(node);
    }
    let add = format!("nodes add meili-3 {}", addresses[0]);
    let shown = ctl.json(&format!("{add} --dry-run"));
    assert_eq!(
        (&shown["applied"], &shown["moves"]["copiesIn"]),
        (&json!(false), &json!(3))
    );
    assert_eq!(
        ctl.json("layout show")["version"],
        1,
        "a dry run changes nothing"
    );
    ctl.well("rebalance pause");
    assert_eq!(ctl.json(&format!("{add} --yes"))["applied"], true);
    let planned = ctl.json("rebalance status")["waiting"].clone();
    let is_fill = |piece: &Value| piece["kind"] == "fill" && piece["target"] == "meili-3";
    let told = planned.as_array().into_iter().flatten().any(is_fill);
    assert!(told, "what is planned is told at once: {planned}");
    ctl.well("rebalance resume");
    await_moved(&ctl);
    assert_eq!(copies(&ctl, "meili-3"), 3);

    ctl.well(&format!(
        "nodes replace meili-0 meili-4 {} --yes",
        addresses[1]
    ));
    await_moved(&ctl);
    assert_eq!((copies(&ctl, "meili-0"), copies(&ctl, "meili-4")), (0, 3));
    ctl.well("nodes remove meili-0 --yes");

    ctl.well("rebalance throttle 1000");
    assert!(ctl
        .well("nodes drain meili-1 --yes")
        .contains("rebalance status --watch"));
    assert_eq!(ctl.json("rebalance pause")["paused"], true);
    assert!(ctl.well("rebalance status").contains("PAUSED"));
    assert_eq!(ctl.json("rebalance resume")["paused"], false);
    ctl.well("rebalance throttle off");
    ctl.well("rebalance status --watch");
    await_moved(&ctl);

    // A dead node goes by force; what only it has is named, which is nothing here.
    fleet.nodes[2].kill();
    let shown = ctl.json("nodes remove meili-2 --force --dry-run");
    assert_eq!(shown["lost"], json!([]));
    ctl.well("nodes remove meili-2 --force --yes");
    await_moved(&ctl);
    let moved = &ctl.json("rebalance status")["documentsMoved"];
    assert!(moved.as_u64() > Some(0), "{moved}");

    ctl.well("layout stage --replication-factor 1");
    let next = ctl.json("layout diff")["nextVersion"].clone();
    ctl.well(&format!("layout apply --version {next} --yes"));
    await_moved(&ctl);
    assert_eq!(ctl.json("layout history")["results"][0]["version"], next);
    let found = fleet.target("proxy").get("/indexes/films/search?limit=0");
    assert_eq!(found.expect("an answer").body["estimatedTotalHits"], 60);
}

#[test]
fn what_is_lost_is_given_up_by_command() {
    let mut fleet = Fleet::start(Plan {
        shards: 4,
        ..Plan::default()
    });
    let ctl = Ctl::of(&fleet);
    let proxy = fleet.target("proxy");
    let films: Vec<Value> = (0..60)
        .map(|id| json!({ "id": id, "title": "a film" }))
        .collect();
    let path = "/indexes/films/documents?primaryKey=id";
    let write = || proxy.write("POST", path, &json!(films));
    assert_eq!(write().expect("a write")["status"], "succeeded");
    ctl.refused("nodes trust meili-0 --yes", 1, "miroir-ctl shards list");

    fleet.nodes[0].kill();
    fleet.nodes[0].forget();
    fleet.nodes[0].start();
    until("the loss to be noticed", PATIENCE, || {
        ctl.ask("status").1.contains("OUT OF SYNC")
    });
    let mut node = Node::new(&fleet.folder().join("node-3"), NODE_KEY);
    node.start();
    let address = node.target("node").base;
    fleet.nodes.push(node);
    ctl.well(&format!("nodes replace meili-0 meili-3 {address} --yes"));
    // Nothing is left that could take a write: it is not accepted.
    let refused = proxy
        .send_json("POST", path, &json!(films))
        .expect("an answer");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(refused.body["code"], "miroir_no_quorum");
    ctl.refused("rebalance status", 1, "miroir-ctl nodes trust");
    let shown = ctl.json("nodes trust meili-3 --dry-run");
    assert_eq!(shown["lost"][0]["index"], "films", "{shown}");
    until("the new node to be up", PATIENCE, || {
        let nodes = ctl.json("nodes list")["results"].clone();
        let mut nodes = nodes.as_array().into_iter().flatten();
        nodes.any(|node| node["id"] == "meili-3" && node["state"] == "up")
    });
    ctl.well("nodes trust meili-3 --yes");
    await_moved(&ctl);
    assert_eq!(write().expect("a write")["status"], "succeeded");
    let found = proxy.get("/indexes/films/search?limit=0");
    assert_eq!(found.expect("an answer").body["estimatedTotalHits"], 60);
}

fn copies(ctl: &Ctl, node: &str) -> u64 {
    let nodes = ctl.json("nodes list")["results"].clone();
    let mut nodes = nodes.as_array().into_iter().flatten();
    let found = nodes.find(|found| found["id"] == node).expect("the node");
    let states = found["copies"].as_object().into_iter().flatten();
    states.filter_map(|(_, count)| count.as_u64()).sum()
}

fn await_moved(ctl: &Ctl) {
    until("every copy to be in its place", PATIENCE, || {
        let nodes = ctl.json("nodes list")["results"].clone();
        let mut nodes = nodes.as_array().into_iter().flatten();
        nodes.all(|node| {
            let states = node["copies"].as_object();
            states.is_some_and(|states| states.keys().all(|state| state == "in_sync"))
        })
    });
}
