use miroir_api::Error;

use super::{malformed, table, Format};
use crate::scan::{Malformed, Scanner};

/// Calls `visit` at the start of each document (an opening brace), which must consume it; gives the number of documents.
///
/// # Errors
/// What Meilisearch answers to a payload that is empty or malformed.
pub(super) fn walk(
    body: &[u8],
    format: Format,
    visit: &mut dyn FnMut(&mut Scanner) -> Result<(), Malformed>,
) -> Result<usize, Error> {
    if body.is_empty() {
        return Err(malformed::missing(format));
    }
    if let Format::Csv { delimiter } = format {
        return table::walk(body, delimiter, visit);
    }
    // The fast path says only that something is wrong; what it is, serde_json says in the words that Meilisearch uses.
    if simdutf8::basic::from_utf8(body).is_err() {
        malformed::explain(body, format)?;
    }
    let walked = match format {
        Format::Json => walk_json(body, visit),
        Format::Ndjson | Format::Csv { .. } => walk_lines(body, visit),
    };
    match walked {
        Ok(documents) => Ok(documents),
        Err(Wrong::Said(error)) => Err(error),
        Err(Wrong::At(Malformed { at })) => {
            malformed::explain(body, format)?;
            Err(malformed::unexplained(format, at))
        }
    }
}

enum Wrong {
    At(Malformed),
    Said(Error),
}

impl From<Malformed> for Wrong {
    fn from(malformed: Malformed) -> Self {
        Wrong::At(malformed)
    }
}

fn walk_json(
    body: &[u8],
    visit: &mut dyn FnMut(&mut Scanner) -> Result<(), Malformed>,
) -> Result<usize, Wrong> {
    let mut scanner = Scanner::new(body);
    if scanner.peek() == Some(b'{') {
        // Meilisearch reads a lone document as a tree, which has limits that raw values have not: nesting, the range of numbers,
        // half surrogates.
        malformed::check_object(body).map_err(Wrong::Said)?;
        visit(&mut scanner)?;
        scanner.end()?;
        return Ok(1);
    }
    let mut documents = 0;
    scanner.array(|scanner| {
        document(scanner, visit)?;
        documents += 1;
        Ok::<(), Malformed>(())
    })?;
    // Meilisearch does not look at what follows the array, so neither do we.
    Ok(documents)
}

fn walk_lines(
    body: &[u8],
    visit: &mut dyn FnMut(&mut Scanner) -> Result<(), Malformed>,
) -> Result<usize, Wrong> {
    let mut scanner = Scanner::new(body);
    let mut documents = 0;
    while scanner.peek().is_some() {
        document(&mut scanner, visit)?;
        documents += 1;
    }
    Ok(documents)
}

fn document(
    scanner: &mut Scanner,
    visit: &mut dyn FnMut(&mut Scanner) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if scanner.peek() != Some(b'{') {
        return scanner.malformed();
    }
    visit(scanner)
}
