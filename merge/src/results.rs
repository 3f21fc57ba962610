//! The answer to a plain multi-search, taken apart.

use bytes::Bytes;

use crate::scan::{Malformed, Scanner};
use crate::MergeError;

/// The elements of `results` in a node's answer to `POST /multi-search`, each a range of the node's own buffer. They begin
/// with `indexUid`; [`merge_search`](crate::merge_search) takes them as they are.
///
/// # Errors
/// `BadAnswer` (with `node` 0) for anything else.
pub fn split_results(answer: &Bytes) -> Result<Vec<Bytes>, MergeError> {
    let mut results = None;
    let mut scanner = Scanner::new(answer);
    scanner
        .object(|scanner, key, _| {
            if !key.is("results") {
                return scanner.value().map(|_| ());
            }
            let mut list = Vec::new();
            scanner.array(|scanner| {
                list.push(answer.slice(scanner.value()?));
                Ok::<(), Malformed>(())
            })?;
            results = Some(list);
            Ok(())
        })
        .and_then(|()| scanner.end())
        .map_err(|error| MergeError::bad(0, format!("it is not JSON (at byte {})", error.at)))?;
    results.ok_or_else(|| MergeError::bad(0, "it has no `results`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_slices() {
        let answer = Bytes::from_static(br#"{"results":[{"indexUid":"a"}, {"hits":[]} ],"x":1}"#);
        let results = split_results(&answer).unwrap();
        assert_eq!(results, [&br#"{"indexUid":"a"}"#[..], br#"{"hits":[]}"#]);
        assert_eq!(results[0].as_ptr(), answer[12..].as_ptr());
        for broken in ["{}", "[]", r#"{"results":{}}"#, r#"{"results":[1}"#, ""] {
            assert!(split_results(&Bytes::from(broken)).is_err(), "{broken}");
        }
    }
}
