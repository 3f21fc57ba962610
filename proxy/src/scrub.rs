//! Node errors as a client may see them: without the hidden shard field, and without the fields
//! that nodes display to Miroir alone.

use miroir_api::{without_listed, without_shard_field, Error};
use miroir_router::SearchSettings;

/// Reads a node's error object and cuts the shard field out of its text.
pub fn node_error(status: u16, body: &[u8], settings: &SearchSettings) -> Option<Error> {
    let mut error = Error::from_body(status, body)?;
    error.message = without_shard_field(&error.message, settings.filterable_attributes_empty);
    Some(without_hidden(error, settings))
}

/// A refusal that names none of the fields that nodes display to Miroir alone.
pub fn without_hidden(mut error: Error, settings: &SearchSettings) -> Error {
    if !settings.also_displayed.is_empty() {
        error.message = without_listed(&error.message, |name| settings.hides_exactly(name));
    }
    error
}
