//! Request bodies: whole, decompressed, not larger than allowed.

use std::io::{self, Read};

use axum::body::Body;
use axum::http::{header, HeaderMap};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use miroir_api::{binary_size, Error};

use crate::error::coded;

/// The whole body, decompressed as its `Content-Encoding` says.
pub async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let bytes = Limited::new(body, bytes_max)
        .collect()
        .await
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_large(bytes_max)
            } else {
                Error::bad_request("The provided payload is incomplete and cannot be parsed")
            }
        })?;
    let bytes = bytes.to_bytes();
    let coding = headers
        .get(header::CONTENT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match coding.trim().to_ascii_lowercase().as_str() {
        "gzip" => unpack(flate2::read::MultiGzDecoder::new(&bytes[..]), bytes_max),
        "deflate" => unpack(flate2::read::ZlibDecoder::new(&bytes[..]), bytes_max),
        "br" => unpack(brotli::Decompressor::new(&bytes[..], 4096), bytes_max),
        "zstd" => match zstd::Decoder::new(&bytes[..]) {
            Ok(decoder) => unpack(decoder, bytes_max),
            Err(error) => Err(broken(&error)),
        },
        // Like Meilisearch's server, which does not look at codings that it does not know.
        _ => Ok(bytes.to_vec()),
    }
}

/// The body of a route that takes JSON only.
pub async fn read_json(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Vec<u8>, Error> {
    const ACCEPTED: &[&str] = &["application/json"];
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(missing_content_type(ACCEPTED));
    };
    let is_json = |(_, subtype): (String, String)| subtype == "json" || subtype.ends_with("+json");
    if !media_type(headers).is_some_and(is_json) {
        return Err(invalid_content_type(
            value.to_str().unwrap_or("unknown"),
            ACCEPTED,
        ));
    }
    read(headers, body, bytes_max).await
}

/// The type and subtype of the body, in lower case; `None` when there is no readable `Content-Type`.
pub fn media_type(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next()?.trim().to_ascii_lowercase();
    let (kind, subtype) = essence.split_once('/')?;
    (!kind.is_empty() && !subtype.is_empty()).then(|| (kind.to_owned(), subtype.to_owned()))
}

/// 415: there is no `Content-Type`.
pub fn missing_content_type(accepted: &[&str]) -> Error {
    let accepted = quoted(accepted);
    let message = format!(
        "A Content-Type header is missing. Accepted values for the Content-Type header are: {accepted}"
    );
    coded("missing_content_type", message)
}

/// 415: not a `Content-Type` for this route.
pub fn invalid_content_type(found: &str, accepted: &[&str]) -> Error {
    let accepted = quoted(accepted);
    let message = format!(
        "The Content-Type `{found}` is invalid. Accepted values for the Content-Type header are: {accepted}"
    );
    coded("invalid_content_type", message)
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn unpack(reader: impl Read, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let allowed = bytes_max as u64 + 1;
    reader
        .take(allowed)
        .read_to_end(&mut bytes)
        .map_err(|error| broken(&error))?;
    if bytes.len() > bytes_max {
        return Err(too_large(bytes_max));
    }
    Ok(bytes)
}

fn broken(_: &io::Error) -> Error {
    Error::bad_request("The provided payload is incomplete and cannot be parsed")
}

fn too_large(bytes_max: usize) -> Error {
    let size = binary_size(bytes_max as u64);
    let message = format!(
        "The provided payload reached the size limit. The maximum accepted payload size is {size}."
    );
    coded("payload_too_large", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::io::Write;

    fn packed(coding: &'static str, bytes: Vec<u8>, max: usize) -> Result<Vec<u8>, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(read(&headers, Body::from(bytes), max))
    }

    #[test]
    fn codings_are_undone_within_the_limit() {
        let text = b"[1, 2, 3]".repeat(10);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(packed("gzip", gzip.clone(), 1000).unwrap(), text);
        assert_eq!(packed("gzip", gzip.clone(), 89).unwrap_err().status, 413);
        assert_eq!(
            packed("gzip", gzip[..10].to_vec(), 1000)
                .unwrap_err()
                .status,
            400
        );
        assert_eq!(
            packed("zstd", zstd::encode_all(&text[..], 1).unwrap(), 1000).unwrap(),
            text
        );
        assert_eq!(packed("identity", text.clone(), 90).unwrap(), text);
        assert_eq!(
            packed("identity", text, 89).unwrap_err().code,
            "payload_too_large"
        );
    }
}
