use miroir_api::Error;

use super::{walk, Format, Names, SplitError};
use crate::scan::Malformed;

/// What a payload says about the primary key of an index that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inference {
    /// No documents: the task succeeds and the index stays without a key.
    Empty,
    Found(String),
    NoCandidate,
    /// The candidates, sorted.
    Several(Vec<String>),
}

/// Guesses the primary key from the first document: the one top-level name that ends with "id" in any case (milli
/// `guess_primary_key.rs`). The whole payload is checked on the way, so that a malformed one creates no index.
///
/// # Errors
/// Only [`SplitError::Malformed`].
pub fn infer_primary_key(body: &[u8], format: Format) -> Result<Inference, SplitError> {
    infer(body, format).map_err(SplitError::Malformed)
}

fn infer(body: &[u8], format: Format) -> Result<Inference, Error> {
    let mut names = Names::default();
    let mut candidates: Vec<String> = Vec::new();
    let mut first = true;
    let documents = walk(body, format, &mut |scanner| {
        scanner.object(|scanner, name, _| {
            names.check(name, scanner)?;
            if first {
                let Some(name) = name.decode() else {
                    return scanner.malformed();
                };
                if name.to_lowercase().ends_with("id") {
                    candidates.push(name.into_owned());
                }
            }
            scanner.value()?;
            Ok::<(), Malformed>(())
        })?;
        first = false;
        Ok(())
    })?;
    names.verdict()?;
    candidates.sort_unstable();
    candidates.dedup();
    Ok(match (documents, candidates.len()) {
        (0, _) => Inference::Empty,
        (_, 0) => Inference::NoCandidate,
        (_, 1) => Inference::Found(candidates.remove(0)),
        _ => Inference::Several(candidates),
    })
}
