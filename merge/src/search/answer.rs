use std::ops::Range;

use crate::scan::{Malformed, Scanner};
use crate::MergeError;

/// The spans of one node's answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub hits: Vec<Hit>,
    /// `estimatedTotalHits` or `totalHits`.
    pub total: u64,
    /// The object `facetDistribution`.
    pub facets: Option<Range<usize>>,
    /// The object `facetStats`.
    pub stats: Option<Range<usize>>,
}

#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub span: Range<usize>,
    /// The object `_rankingScoreDetails`; not there when the hits are not ranked.
    pub details: Option<Range<usize>>,
}

impl Answer {
    /// Finds the spans in one pass, which also checks that the bytes are JSON.
    pub fn scan(bytes: &[u8], node: usize, ranked: bool) -> Result<Self, MergeError> {
        if simdutf8::basic::from_utf8(bytes).is_err() {
            return Err(MergeError::bad(node, "it is not UTF-8"));
        }
        let mut answer = Answer::default();
        let mut found = (false, false);
        let mut scanner = Scanner::new(bytes);
        scanner
            .object(|scanner, key, _| {
                match key.raw {
                    // Twice would be two lists in one.
                    b"hits" if found.0 => return scanner.malformed(),
                    b"hits" => {
                        answer.scan_hits(scanner, ranked)?;
                        found.0 = true;
                    }
                    b"estimatedTotalHits" | b"totalHits" => {
                        found.1 = true;
                        answer.total = match scanner.unsigned()? {
                            Some(total) => total,
                            None => return scanner.malformed(),
                        };
                    }
                    b"facetDistribution" => answer.facets = object_span(scanner)?,
                    b"facetStats" => answer.stats = object_span(scanner)?,
                    _ => {
                        scanner.value()?;
                    }
                }
                Ok(())
            })
            .and_then(|()| scanner.end())
            .map_err(|error| unreadable(node, error))?;
        match found {
            (true, true) => {}
            (false, _) => return Err(MergeError::bad(node, "it has no `hits`")),
            (_, false) => return Err(MergeError::bad(node, "it has no total of hits")),
        }
        if ranked && answer.hits.iter().any(|hit| hit.details.is_none()) {
            return Err(MergeError::bad(node, "a hit has no `_rankingScoreDetails`"));
        }
        Ok(answer)
    }

    fn scan_hits(&mut self, scanner: &mut Scanner, ranked: bool) -> Result<(), Malformed> {
        scanner.array(|scanner| {
            let start = scanner.pos();
            let mut details = None;
            if ranked {
                scanner.object(|scanner, key, _| {
                    let value = scanner.value()?;
                    if key.raw == b"_rankingScoreDetails" {
                        details = Some(value);
                    }
                    Ok::<(), Malformed>(())
                })?;
            } else if scanner.peek() == Some(b'{') {
                scanner.value()?;
            } else {
                return scanner.malformed();
            }
            self.hits.push(Hit {
                span: start..scanner.pos(),
                details,
            });
            Ok(())
        })
    }
}

/// The error for a node's answer that is not the JSON it should be.
pub(super) fn unreadable(node: usize, error: Malformed) -> MergeError {
    MergeError::bad(
        node,
        format!("it is not the JSON of an answer (at byte {})", error.at),
    )
}

/// The span of an object; `null` counts as absent.
fn object_span(scanner: &mut Scanner) -> Result<Option<Range<usize>>, Malformed> {
    match scanner.peek() {
        Some(b'{') => scanner.value().map(Some),
        Some(b'n') => scanner.value().map(|_| None),
        _ => scanner.malformed(),
    }
}
