//! What a dump holds: `cargo run -p miroir-dump --example survey -- FILE...`

use std::fs::File;

use miroir_dump::{Dump, Limits, ReadError};

fn main() {
    for path in std::env::args().skip(1) {
        match look(&path) {
            Ok(()) => (),
            Err(error) => println!("{path}: {error}"),
        }
    }
}

fn look(path: &str) -> Result<(), ReadError> {
    let limits = Limits::default();
    let dump = Dump::survey(File::open(path)?, &limits)?;
    println!(
        "{path}: made {} by {}; {} keys, {} waiting and {} finished tasks, {} webhooks, features {:?}",
        dump.date,
        dump.db_version,
        dump.keys.len(),
        dump.waiting.len(),
        dump.tasks_finished,
        dump.webhooks.len(),
        dump.features.keys().collect::<Vec<_>>(),
    );
    let mut seen = vec![0; dump.indexes.len()];
    dump.documents(File::open(path)?, &limits, |index, _| {
        seen[index] += 1;
        Ok::<(), ReadError>(())
    })?;
    for (index, seen) in dump.indexes.iter().zip(seen) {
        println!(
            "  {}: key {:?}, {} documents ({seen} read), {} bytes",
            index.uid, index.primary_key, index.documents, index.bytes
        );
    }
    Ok(())
}
