//! The queries of a run: a file with one a line.

use std::fs;
use std::path::Path;

use serde_json::{json, Map, Value};

use crate::Error;

/// Reads search bodies: a line that begins with `{` is one, any other is the text of a query. Empty lines are skipped.
pub fn read(path: &Path) -> Result<Vec<String>, Error> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| Error::Queries {
        path: name.clone(),
        source,
    })?;
    parse(&text, &name)
}

fn parse(text: &str, path: &str) -> Result<Vec<String>, Error> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()));
    let bodies = lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(line, query)| {
            if !query.starts_with('{') {
                return Ok(json!({ "q": query }).to_string());
            }
            match serde_json::from_str::<Map<String, Value>>(query) {
                Ok(body) => Ok(Value::Object(body).to_string()),
                Err(source) => Err(Error::Body {
                    path: path.to_owned(),
                    line,
                    source,
                }),
            }
        });
    let bodies: Vec<String> = bodies.collect::<Result<_, _>>()?;
    match bodies.is_empty() {
        true => Err(Error::NoQueries {
            path: path.to_owned(),
        }),
        false => Ok(bodies),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_texts_or_bodies() {
        let bodies = parse("dark \"knight\"\n\n {\"q\": \"x\", \"limit\": 5} \r\n", "f").unwrap();
        assert_eq!(
            bodies,
            [r#"{"q":"dark \"knight\""}"#, r#"{"q":"x","limit":5}"#]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = parse("a\n{\"q\": }\n", "films.txt")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("films.txt, line 2: not a JSON object"),
            "{error}"
        );
        let error = parse("\n \n", "films.txt").unwrap_err().to_string();
        assert_eq!(error, "films.txt has no queries: write one a line");
        assert!(read(Path::new("/nowhere/q.txt"))
            .unwrap_err()
            .to_string()
            .contains("/nowhere/q.txt"));
    }

    #[test]
    fn the_queries_that_come_along_are_good() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries/movies.txt");
        assert!(read(&path).unwrap().len() >= 20);
    }
}
