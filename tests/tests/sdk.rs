//! The official SDKs, unmodified, against a cluster.
//!
//! scripts/test installs them below `target/sdk` and says so in `MIROIR_SDK`; without that variable there is nothing to run.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use miroir_tests::fleet::{Fleet, Plan, MASTER_KEY};
use miroir_tests::process::{command, run};

#[test]
fn python() {
    let Some(sdk) = installed() else { return };
    let mut c = command(sdk.join("venv/bin/python"));
    c.arg(scripts().join("smoke.py"));
    passes(c);
}

#[test]
fn javascript() {
    let Some(sdk) = installed() else { return };
    // modules are looked for beside the script
    let script = sdk.join("smoke.mjs");
    std::fs::copy(scripts().join("smoke.mjs"), &script).expect("the script is copied");
    let mut c = command("node");
    c.arg(script);
    passes(c);
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

fn passes(mut script: Command) {
    let fleet = Fleet::start(Plan::default());
    script
        .env("MEILI_URL", fleet.target("proxy").base)
        .env("MEILI_KEY", MASTER_KEY);
    let (code, output) = run(script, Duration::from_secs(120)).expect("the script runs");
    assert_eq!(code, Some(0), "{output}");
    println!("{output}");
}
