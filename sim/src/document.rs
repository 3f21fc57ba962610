//! Documents and what clients do to them, small enough that a model can hold every possibility.

use std::collections::BTreeMap;

use miroir_movement::Digest;
use miroir_router::{shard_of, Shard};

/// Keys are small numbers; the shipped code sees their decimal text.
pub type Id = u8;

/// A field is missing where only a partial update has made the document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Fields {
    /// What filters ask for.
    pub kind: Option<u8>,
    pub x: Option<u32>,
    pub y: Option<u32>,
}

/// None: there is no such document.
pub type Value = Option<Fields>;

/// What one write does to one document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// `POST`: the whole document.
    Replace(Fields),
    /// `PUT`: the fields that are given; makes the document where there is none.
    Update(Fields),
    Delete,
    /// Where its kind is this.
    DeleteKind(u8),
    /// By function: x + 1, where its kind is this.
    Edit(u8),
}

impl Change {
    pub fn apply(self, value: Value) -> Value {
        match (self, value) {
            (Change::Replace(fields), _) => Some(fields),
            (Change::Update(fields), value) => {
                let old = value.unwrap_or_default();
                Some(Fields {
                    kind: fields.kind.or(old.kind),
                    x: fields.x.or(old.x),
                    y: fields.y.or(old.y),
                })
            }
            (Change::Delete, _) | (_, None) => None,
            (Change::DeleteKind(kind), Some(fields)) => {
                (fields.kind != Some(kind)).then_some(fields)
            }
            (Change::Edit(kind), Some(fields)) if fields.kind == Some(kind) => Some(Fields {
                x: fields.x.map(|x| x + 1),
                ..fields
            }),
            (Change::Edit(_), Some(fields)) => Some(fields),
        }
    }
}

/// A client's write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Each key once.
    Documents(Vec<(Id, Change)>),
    /// Every document of the index.
    Everywhere(Everywhere),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Everywhere {
    DeleteKind(u8),
    Edit(u8),
    DeleteAll,
}

impl Write {
    /// What it does to this document; None: nothing whatever the document is.
    pub fn change_of(&self, id: Id) -> Option<Change> {
        match self {
            Write::Documents(changes) => {
                let mut changes = changes.iter();
                changes
                    .find(|(own, _)| *own == id)
                    .map(|(_, change)| *change)
            }
            Write::Everywhere(Everywhere::DeleteKind(kind)) => Some(Change::DeleteKind(*kind)),
            Write::Everywhere(Everywhere::Edit(kind)) => Some(Change::Edit(*kind)),
            Write::Everywhere(Everywhere::DeleteAll) => Some(Change::Delete),
        }
    }
}

/// What a node stores, with the order in which it was stored first.
pub type Documents = BTreeMap<Id, (u64, Fields)>;

pub fn text(id: Id) -> String {
    id.to_string()
}

pub fn shard(id: Id, shards: u16) -> Shard {
    shard_of(text(id).as_bytes(), shards)
}

pub fn digest(fields: &Fields) -> Digest {
    let number = |field: Option<u32>| field.map_or(0, |value| u64::from(value) + 1);
    let kind = number(fields.kind.map(u32::from));
    Digest(kind << 60 ^ number(fields.x) << 30 ^ number(fields.y))
}
