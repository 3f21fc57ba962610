//! From the bytes of a dump to its members, within limits.
//!
//! The tar crate finds the members; extended headers are read here, because the crate reads them into memory whatever
//! their size.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use tar::{Archive, EntryType, PaxExtensions};

use crate::member::{classify, Member};
use crate::{Limits, ReadError};

/// The longest name that an extended header may give.
const NAME_BYTES_MAX: u64 = 4096;

/// The longest extended header.
const HEADER_BYTES_MAX: u64 = 64 << 10;

/// Reads the archive to its end and shows every member that matters to `visit`, which reads as much of it as it wants.
///
/// # Errors
/// Not a gzipped tar archive, or one that no dump is: links, devices, names that lead out of it, a member twice, more
/// than `limits` allow.
pub(crate) fn walk<E: From<ReadError>>(
    dump: impl Read,
    limits: &Limits,
    visit: &mut dyn FnMut(&Member, &mut dyn BufRead) -> Result<(), E>,
) -> Result<(), E> {
    let damaged = |error: io::Error| E::from(ReadError::Damaged(error));
    let unpacked = Bounded {
        inner: GzDecoder::new(BufReader::with_capacity(1 << 18, dump)),
        left: limits.archive_bytes_max,
    };
    let mut archive = Archive::new(unpacked);
    let mut seen = HashSet::new();
    let mut members = 0;
    let mut long_name: Option<Vec<u8>> = None;
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        members += 1;
        if members > limits.members_max {
            return Err(too_large("the archive", limits.members_max as u64).into());
        }
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => (),
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            EntryType::GNULongName => {
                let mut name = header_text(&mut entry, NAME_BYTES_MAX)?;
                while name.last() == Some(&0) {
                    name.pop();
                }
                long_name = Some(name);
                continue;
            }
            EntryType::XHeader => {
                let header = header_text(&mut entry, HEADER_BYTES_MAX)?;
                if let Some(name) = pax_name(&header).map_err(E::from)? {
                    long_name = Some(name);
                }
                continue;
            }
            other => return Err(ReadError::Hostile(format!("one of type {other:?}")).into()),
        }
        let name = match long_name.take() {
            Some(name) => name,
            None => entry.path_bytes().into_owned(),
        };
        let member = classify(&name).map_err(|name| E::from(ReadError::Hostile(name)))?;
        match member {
            Member::Other => continue,
            // There may be several workspaces.
            Member::Chat => (),
            ref member if !seen.insert(member.clone()) => {
                let name = String::from_utf8_lossy(&name).into_owned();
                return Err(ReadError::Hostile(format!("`{name}` stands in it twice")).into());
            }
            _ => (),
        }
        visit(&member, &mut BufReader::with_capacity(1 << 16, entry))?;
    }
    // The checksum stands behind the last member.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(())
}

fn header_text(entry: &mut impl Read, bytes_max: u64) -> Result<Vec<u8>, ReadError> {
    let mut text = Vec::new();
    entry.take(bytes_max + 1).read_to_end(&mut text)?;
    match text.len() as u64 > bytes_max {
        true => Err(too_large("an extended header", bytes_max)),
        false => Ok(text),
    }
}

/// The name in a pax header. Sizes there are refused: the members would be cut at the wrong places.
fn pax_name(header: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
    let mut name = None;
    for extension in PaxExtensions::new(header) {
        let extension = extension?;
        match extension.key_bytes() {
            b"path" => name = Some(extension.value_bytes().to_vec()),
            b"size" => return Err(ReadError::Hostile("a size in an extended header".into())),
            _ => (),
        }
    }
    Ok(name)
}

pub(crate) fn too_large(what: impl Into<String>, max: u64) -> ReadError {
    ReadError::TooLarge {
        what: what.into(),
        max,
    }
}

/// A reader that fails past its limit: decompressed bytes cost time even where they are passed over.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other("it unpacks to more bytes than are allowed"))?;
        Ok(read)
    }
}
