//! JSON objects of which a few members are looked at and the rest stays as it was written: a number that is read and
//! written again may come out with another last digit.

use std::fmt;

use miroir_api::Error;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::{to_raw_value, RawValue};

/// Members in their order.
#[derive(Default)]
pub struct Object(pub Vec<(String, Box<RawValue>)>);

impl Object {
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        let member = self.0.iter().find(|(known, _)| known == name);
        member.map(|(_, value)| &**value)
    }

    /// Reads a member; `None` where it is not there, or otherwise made.
    pub fn read<'s, T: Deserialize<'s>>(&'s self, name: &str) -> Option<T> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Puts a value in the place of a member, or behind the last one.
    pub fn set(&mut self, name: &str, value: &impl Serialize) {
        // Text, numbers and raw JSON always serialise.
        let Ok(value) = to_raw_value(value) else {
            return;
        };
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(member) => member.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// An answer with its hits changed; those for which `change` is false are left out. Errors: it is not JSON.
pub fn change_hits(
    answer: &[u8],
    change: impl FnMut(&mut Object) -> bool,
) -> Result<Vec<u8>, Error> {
    let mut answer: Object = serde_json::from_slice(answer)
        .map_err(|error| Error::internal(format!("hits: {error}")))?;
    let mut hits: Vec<Object> = answer.read("hits").unwrap_or_default();
    hits.retain_mut(change);
    answer.set("hits", &hits);
    Ok(answer.to_bytes())
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
