//! A UUID as text. The crate's own serde feature would rebuild the engine.

use std::fmt;

use serde::{Deserializer, Serializer};
use uuid::Uuid;

pub fn serialize<S: Serializer>(uuid: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(uuid)
}

/// Refuses in the words of the crate's own reader.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    struct Text;

    impl serde::de::Visitor<'_> for Text {
        type Value = Uuid;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a UUID string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Uuid, E> {
            text.parse()
                .map_err(|error| E::custom(format_args!("UUID parsing failed: {error}")))
        }
    }

    deserializer.deserialize_str(Text)
}
