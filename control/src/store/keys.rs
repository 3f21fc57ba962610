//! API keys as rows.

use std::future::Future;

use miroir_auth::{Key, KeyPatch};
use rusqlite::types::Type;
use rusqlite::{params, Connection, OptionalExtension, Row};
use time::format_description::well_known::Rfc3339;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, StoreError};
use crate::clock::{nanos_of, Nanos};

impl Store {
    /// All keys, newest first.
    pub(crate) async fn keys(&self) -> Result<Vec<Key>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT * FROM keys ORDER BY created_at DESC, uid")?
                .query_map([], read_key)?
                .collect()
        })
        .await
    }

    pub(crate) async fn key(&self, uid: Uuid) -> Result<Option<Key>, StoreError> {
        self.read(move |db| select(db, uid)).await
    }

    /// Writes the first keys, where there are none.
    pub(crate) async fn found_keys(&self, keys: Vec<Key>) -> Result<(), StoreError> {
        self.write(move |db| {
            let any: bool =
                db.query_row("SELECT EXISTS (SELECT 1 FROM keys)", [], |row| row.get(0))?;
            if !any {
                for key in &keys {
                    insert(db, key)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// `false` where the uid is taken.
    pub(crate) fn insert_key(
        &self,
        key: Key,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send + 'static {
        self.write(move |db| Ok(insert(db, &key)? == 1))
    }

    /// The key with its new words; `None` where there is none.
    pub(crate) fn update_key(
        &self,
        uid: Uuid,
        patch: KeyPatch,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Option<Key>, StoreError>> + Send + 'static {
        self.write(move |db| {
            let Some(mut key) = select(db, uid)? else {
                return Ok(None);
            };
            key.apply(patch, now);
            db.execute(
                "UPDATE keys SET name = ?2, description = ?3, updated_at = ?4 WHERE uid = ?1",
                params![uid.to_string(), key.name, key.description, nanos_of(now)],
            )?;
            Ok(Some(key))
        })
    }

    /// `false` where there is none.
    pub(crate) fn delete_key(
        &self,
        uid: Uuid,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send + 'static {
        self.write(move |db| {
            Ok(db.execute("DELETE FROM keys WHERE uid = ?1", [uid.to_string()])? == 1)
        })
    }
}

fn insert(db: &Connection, key: &Key) -> rusqlite::Result<usize> {
    db.execute(
        "INSERT OR IGNORE INTO keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            key.uid.to_string(),
            key.name,
            key.description,
            to_json(&key.actions),
            to_json(&key.indexes),
            key.expires_at
                .map(|time| time.format(&Rfc3339).unwrap_or_default()),
            nanos_of(key.created_at),
            nanos_of(key.updated_at),
        ],
    )
}

fn select(db: &Connection, uid: Uuid) -> rusqlite::Result<Option<Key>> {
    db.query_row(
        "SELECT * FROM keys WHERE uid = ?1",
        [uid.to_string()],
        read_key,
    )
    .optional()
}

pub(super) fn to_json<T: serde::Serialize>(value: &T) -> String {
    // Lists of strings always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

fn read_key(row: &Row<'_>) -> rusqlite::Result<Key> {
    let text = |column: &str| row.get::<_, String>(column);
    let time = |column: &str| row.get(column).map(at);
    let expires_at: Option<String> = row.get("expires_at")?;
    Ok(Key {
        uid: text("uid")?.parse().map_err(unreadable)?,
        name: row.get("name")?,
        description: row.get("description")?,
        actions: serde_json::from_str(&text("actions")?).map_err(unreadable)?,
        indexes: serde_json::from_str(&text("indexes")?).map_err(unreadable)?,
        expires_at: expires_at
            .map(|text| OffsetDateTime::parse(&text, &Rfc3339).map_err(unreadable))
            .transpose()?,
        created_at: time("created_at")?,
        updated_at: time("updated_at")?,
    })
}

fn at(nanos: Nanos) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

pub(super) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::super::tests::scratch;
    use super::*;
    use miroir_auth::{Action, IndexPattern};
    use time::macros::datetime;

    fn key(created_at: OffsetDateTime) -> Key {
        Key {
            uid: Uuid::new_v4(),
            name: Some("n".into()),
            description: None,
            actions: vec![Action::DocumentsAll, Action::AllGet],
            indexes: vec![IndexPattern::parse("film*").unwrap()],
            expires_at: Some(datetime!(9999-12-31 23:59:59.5 -01:30)),
            created_at,
            updated_at: created_at,
        }
    }

    #[tokio::test]
    async fn keys_come_back_as_they_were_newest_first() {
        let (store, _folder) = scratch();
        let old = key(datetime!(2026-01-01 00:00:00.000000001 UTC));
        let new = key(datetime!(2026-01-01 00:00:00.000000002 UTC));
        store.found_keys(vec![old.clone()]).await.unwrap();
        store
            .found_keys(vec![key(datetime!(2027-01-01 0:00 UTC))])
            .await
            .unwrap();
        assert!(store.insert_key(new.clone()).await.unwrap());
        assert!(!store.insert_key(new.clone()).await.unwrap());
        assert_eq!(store.keys().await.unwrap(), [new.clone(), old.clone()]);

        let patch = KeyPatch {
            name: Some(None),
            description: None,
        };
        let now = datetime!(2026-05-05 0:00 UTC);
        let changed = store
            .update_key(new.uid, patch, now)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            changed,
            Key {
                name: None,
                updated_at: now,
                ..new.clone()
            }
        );
        assert_eq!(store.key(new.uid).await.unwrap(), Some(changed));

        assert!(store.delete_key(new.uid).await.unwrap());
        assert!(!store.delete_key(new.uid).await.unwrap());
        assert_eq!(store.key(new.uid).await.unwrap(), None);
    }
}
