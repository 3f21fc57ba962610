//! One line after the other, each within a limit.

use std::io::{BufRead, Read};

use crate::archive::too_large;
use crate::ReadError;

/// Lines of a member; empty ones are left out.
pub(crate) struct Lines<'a> {
    reader: &'a mut dyn BufRead,
    member: &'a str,
    bytes_max: usize,
    buffer: Vec<u8>,
    number: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(reader: &'a mut dyn BufRead, member: &'a str, bytes_max: usize) -> Self {
        Lines {
            reader,
            member,
            bytes_max,
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// The next line without its end, in a buffer that the next call uses again.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, ReadError> {
        loop {
            self.buffer.clear();
            let allowed = self.bytes_max as u64 + 1;
            let mut limited = (&mut *self.reader).take(allowed);
            if limited.read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.buffer.len() > self.bytes_max && self.buffer.last() != Some(&b'\n') {
                let what = format!("line {} of `{}`", self.number, self.member);
                return Err(too_large(what, self.bytes_max as u64));
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(Some(self.buffer.trim_ascii()));
            }
        }
    }

    /// What is wrong with the line that was read last.
    pub(crate) fn wrong(&self, why: impl std::fmt::Display) -> ReadError {
        ReadError::Line {
            member: self.member.to_owned(),
            line: self.number,
            why: why.to_string(),
        }
    }
}
