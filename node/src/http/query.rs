//! Values of query strings and names in paths that several routes share.

use std::ops::ControlFlow;

use deserr::{
    take_cf_content, DeserializeError, Deserr, ErrorKind, IntoValue, MergeWithError, ValueKind,
    ValuePointerRef,
};
use miroir_api::Error;

use crate::deserialize::{FromParam, Reason};
use crate::error::coded;

/// How many items a page has when the client does not say.
pub const DEFAULT_LIMIT: usize = 20;

/// An index's name: letters, digits, `-` and `_`, at most 400 bytes.
#[derive(Clone, Debug, Deserr)]
#[deserr(try_from(String) = IndexUid::try_new -> Reason)]
pub struct IndexUid(pub String);

impl IndexUid {
    fn try_new(uid: String) -> Result<IndexUid, Reason> {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !uid.is_empty() && uid.len() <= 400 && uid.chars().all(good) {
            return Ok(IndexUid(uid));
        }
        // 512 is Meilisearch's own text; its check is at 400.
        Err(Reason(format!(
            "`{uid}` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric \
             characters, hyphens (-) and underscores (_), and can not be more than 512 bytes."
        )))
    }
}

impl FromParam for IndexUid {
    fn from_param(text: &str) -> Result<Self, Reason> {
        IndexUid::try_new(text.to_owned())
    }
}

/// The name of an index that stands in a path.
pub fn index_uid(uid: String) -> Result<String, Error> {
    IndexUid::try_new(uid)
        .map(|uid| uid.0)
        .map_err(|reason| coded("invalid_index_uid", reason.0))
}

/// A comma-separated list, `*` for all.
#[derive(Clone, Debug, Default)]
pub enum List<T> {
    #[default]
    Absent,
    All,
    Some(Vec<T>),
}

impl<T> List<T> {
    pub fn is_absent(&self) -> bool {
        matches!(self, List::Absent)
    }

    /// The list, or `None` when it does not restrict anything.
    pub fn restriction(self) -> Option<Vec<T>> {
        match self {
            List::Absent | List::All => None,
            List::Some(values) => Some(values),
        }
    }
}

impl FromParam for String {
    fn from_param(text: &str) -> Result<Self, Reason> {
        Ok(text.to_owned())
    }
}

impl<T, E> Deserr<E> for List<T>
where
    T: FromParam,
    E: DeserializeError + MergeWithError<Reason>,
{
    fn deserialize_from_value<V: IntoValue>(
        value: deserr::Value<V>,
        at: ValuePointerRef,
    ) -> Result<Self, E> {
        let text = string::<V, E>(value, at)?;
        if text.is_empty() {
            return Ok(List::Some(Vec::new()));
        }
        let parts: Vec<&str> = text.split(',').collect();
        let mut values = Vec::with_capacity(parts.len());
        // An empty part says nothing.
        let said = |(_, part): &(usize, &&str)| !matches!(**part, "*" | "");
        for (index, part) in parts.iter().enumerate().filter(said) {
            let place = if parts.len() > 1 {
                at.push_index(index)
            } else {
                at
            };
            match T::from_param(part) {
                Ok(value) => values.push(value),
                Err(reason) => match E::merge(None, reason, place) {
                    ControlFlow::Continue(error) | ControlFlow::Break(error) => return Err(error),
                },
            }
        }
        Ok(if parts.contains(&"*") {
            List::All
        } else {
            List::Some(values)
        })
    }
}

/// One value, `*` for any.
#[derive(Clone, Copy, Debug, Default)]
pub enum Star<T> {
    #[default]
    Absent,
    Any,
    Some(T),
}

impl<T> Star<T> {
    pub fn is_absent(&self) -> bool {
        matches!(self, Star::Absent)
    }

    pub fn restriction(self) -> Option<T> {
        match self {
            Star::Absent | Star::Any => None,
            Star::Some(value) => Some(value),
        }
    }
}

impl<T, E> Deserr<E> for Star<T>
where
    T: FromParam,
    E: DeserializeError + MergeWithError<Reason>,
{
    fn deserialize_from_value<V: IntoValue>(
        value: deserr::Value<V>,
        at: ValuePointerRef,
    ) -> Result<Self, E> {
        let text = string::<V, E>(value, at)?;
        if text == "*" {
            return Ok(Star::Any);
        }
        T::from_param(&text)
            .map(Star::Some)
            .map_err(|reason| take_cf_content(E::merge(None, reason, at)))
    }
}

fn string<V: IntoValue, E: DeserializeError>(
    value: deserr::Value<V>,
    at: ValuePointerRef,
) -> Result<String, E> {
    match value {
        deserr::Value::String(text) => Ok(text),
        actual => {
            let kind = ErrorKind::IncorrectValueKind {
                actual,
                accepted: &[ValueKind::String],
            };
            Err(take_cf_content(E::error(None, kind, at)))
        }
    }
}
