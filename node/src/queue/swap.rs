//! Two indexes exchange their names, and their histories with them; or one gets a free name.

use rusqlite::{params, Connection, OptionalExtension};
use serde_json::Value;

use super::sql_error;
use miroir_api::Error;

/// Exchanges the names of each pair in the map of indexes and in the tasks that came before task `before`.
pub fn swap(connection: &Connection, pairs: &[(String, String)], before: u32) -> Result<(), Error> {
    for (one, other) in pairs {
        let folder = |uid: &str| {
            let sql = "SELECT folder FROM indexes WHERE uid = ?1";
            let found = connection.query_row(sql, [uid], |row| row.get::<_, String>(0));
            found.optional().map_err(sql_error)
        };
        let (first, second) = (folder(one)?, folder(other)?);
        for (uid, folder) in [(one, second), (other, first)] {
            let written = match folder {
                Some(folder) => connection.execute(
                    "INSERT OR REPLACE INTO indexes (uid, folder) VALUES (?1, ?2)",
                    params![uid, folder],
                ),
                None => connection.execute("DELETE FROM indexes WHERE uid = ?1", [uid]),
            };
            written.map_err(sql_error)?;
        }
        let sql = "UPDATE tasks SET index_uid = CASE index_uid WHEN ?1 THEN ?2 ELSE ?1 END
                   WHERE index_uid IN (?1, ?2) AND uid < ?3";
        connection
            .execute(sql, params![one, other, before])
            .map_err(sql_error)?;
    }
    rename_in_swaps(connection, pairs, before)
}

/// Earlier swaps tell of the indexes by their present names.
fn rename_in_swaps(
    connection: &Connection,
    pairs: &[(String, String)],
    before: u32,
) -> Result<(), Error> {
    let sql = "SELECT uid, details FROM tasks WHERE kind = 'indexSwap' AND uid < ?1 AND details IS NOT NULL";
    let mut statement = connection.prepare(sql).map_err(sql_error)?;
    let rows = statement
        .query_map([before], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(sql_error)?;
    let tasks: Vec<(u32, String)> = rows.collect::<Result<_, _>>().map_err(sql_error)?;
    for (uid, details) in tasks {
        let mut details: Value =
            serde_json::from_str(&details).map_err(|e| Error::internal(e.to_string()))?;
        let swaps = details["swaps"].as_array_mut().into_iter().flatten();
        let names = swaps.filter_map(|swap| swap["indexes"].as_array_mut());
        for name in names.flatten() {
            let other = name.as_str().and_then(|name| partner(pairs, name));
            if let Some(other) = other.map(String::from) {
                *name = other.into();
            }
        }
        connection
            .execute(
                "UPDATE tasks SET details = ?2 WHERE uid = ?1",
                params![uid, details.to_string()],
            )
            .map_err(sql_error)?;
    }
    Ok(())
}

fn partner<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    pairs.iter().find_map(|(one, other)| match name {
        name if name == one => Some(other.as_str()),
        name if name == other => Some(one.as_str()),
        _ => None,
    })
}
