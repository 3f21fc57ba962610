//! CSV as JSON documents, with Meilisearch's typing rules (`document_formats.rs`, `read_csv`): a column's type stands behind the last
//! colon of its name (`number`, `boolean`, `string`; anything else belongs to the name), and an empty cell is null.

use std::collections::HashMap;

use miroir_api::Error;

use super::malformed::csv_error;
use crate::reply::write_string;
use crate::scan::{Malformed, Scanner};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Number,
    Boolean,
}

struct Column {
    /// Columns with equal names share a place; the last one's value counts.
    place: usize,
    kind: Type,
}

/// Calls `visit` on each record as a JSON object; gives the number of records.
pub(super) fn walk(
    body: &[u8],
    delimiter: u8,
    visit: &mut dyn FnMut(&mut Scanner) -> Result<(), Malformed>,
) -> Result<usize, Error> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(body);
    let (names, columns) = read_header(reader.headers().map_err(csv_error)?);
    let mut values: Vec<Vec<u8>> = vec![Vec::new(); names.len()];
    let mut record = csv::StringRecord::new();
    let mut json = Vec::new();
    let mut line = 0;
    while reader.read_record(&mut record).map_err(csv_error)? {
        // Meilisearch counts records, the header as none.
        line += 1;
        for (column, cell) in columns.iter().zip(&record) {
            let value = &mut values[column.place];
            value.clear();
            write_cell(value, column.kind, cell, line)?;
        }
        json.clear();
        for (name, value) in names.iter().zip(&values) {
            json.push(if json.is_empty() { b'{' } else { b',' });
            json.extend_from_slice(name);
            json.push(b':');
            json.extend_from_slice(value);
        }
        json.extend_from_slice(if json.is_empty() { b"{}" } else { b"}" });
        visit(&mut Scanner::new(&json))
            .map_err(|_| csv_error("a record could not be read as a document"))?;
    }
    Ok(line)
}

/// The members' names as JSON strings, and the columns.
fn read_header(header: &csv::StringRecord) -> (Vec<Vec<u8>>, Vec<Column>) {
    let mut names: Vec<Vec<u8>> = Vec::new();
    // A client may send a great many columns.
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut columns = Vec::new();
    for cell in header {
        let (name, kind) = match cell.rsplit_once(':') {
            Some((name, "string")) => (name, Type::Text),
            Some((name, "number")) => (name, Type::Number),
            Some((name, "boolean")) => (name, Type::Boolean),
            _ => (cell, Type::Text),
        };
        let place = *places.entry(name).or_insert_with(|| {
            let mut json = Vec::new();
            write_string(&mut json, name);
            names.push(json);
            names.len() - 1
        });
        columns.push(Column { place, kind });
    }
    (names, columns)
}

fn write_cell(json: &mut Vec<u8>, kind: Type, cell: &str, line: usize) -> Result<(), Error> {
    let trimmed = cell.trim();
    match kind {
        Type::Text if cell.is_empty() => json.extend_from_slice(b"null"),
        Type::Text => write_string(json, cell),
        Type::Number | Type::Boolean if trimmed.is_empty() => json.extend_from_slice(b"null"),
        Type::Number => match trimmed.parse::<i64>() {
            Ok(integer) => json.extend_from_slice(integer.to_string().as_bytes()),
            Err(_) => {
                let float = trimmed.parse::<f64>().map_err(|error| {
                    csv_error(format_args!(
                        "Error parsing number {cell:?} at line {line}: {error}"
                    ))
                })?;
                // Not a number and infinity become null, as in Meilisearch.
                json.extend_from_slice(serde_json::Value::from(float).to_string().as_bytes());
            }
        },
        Type::Boolean => {
            let boolean = trimmed.parse::<bool>().map_err(|error| {
                csv_error(format_args!(
                    "Error parsing boolean {cell:?} at line {line}: {error}"
                ))
            })?;
            json.extend_from_slice(if boolean { b"true" } else { b"false" });
        }
    }
    Ok(())
}
