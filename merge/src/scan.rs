//! A JSON scanner that yields spans and builds nothing.
//!
//! Everything in this crate rests on it: answers of nodes are cut at its spans and client payloads are split at them. It
//! therefore checks the whole grammar (RFC 8259, as strictly as serde_json's raw values do) while it walks: what it
//! lets through is well-formed, so a span can be sent on as it is. UTF-8 is not its business: callers check
//! the whole buffer once with SIMD, which is cheaper than doing it string by string.
//!
//! It is fast without `unsafe` because strings, which are most of the bytes, are read eight at a time in one register
//! (the "has a zero byte" trick of Bit Twiddling Hacks), and because nesting is a stack of bits, not of calls: no payload
//! can overflow it.

use std::borrow::Cow;
use std::ops::Range;

/// The bytes are not JSON; the offset is where that was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub at: usize,
}

/// A position in a buffer that is read as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    pos: usize,
}

/// A string as it stands between its quotes, escapes and all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a> {
    /// Bytes between the quotes.
    pub raw: &'a [u8],
    /// Whether `raw` holds a backslash.
    pub escaped: bool,
}

impl<'a> Text<'a> {
    /// What the string means; `None` when an escape names half a surrogate pair or the bytes are not UTF-8.
    pub fn decode(&self) -> Option<Cow<'a, str>> {
        if !self.escaped {
            return std::str::from_utf8(self.raw).ok().map(Cow::Borrowed);
        }
        // Rare enough to leave the rules of surrogates to serde_json.
        let mut quoted = Vec::with_capacity(self.raw.len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(self.raw);
        quoted.push(b'"');
        serde_json::from_slice::<String>(&quoted)
            .ok()
            .map(Cow::Owned)
    }

    /// Whether the string means `name`, which holds no half surrogate.
    pub fn is(&self, name: &str) -> bool {
        if self.escaped {
            self.decode().is_some_and(|text| text == name)
        } else {
            self.raw == name.as_bytes()
        }
    }
}

impl<'a> Scanner<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Scanner { bytes, pos: 0 }
    }

    /// Starts at `span.start` and sees nothing behind `span.end`; positions stay those of the whole buffer.
    pub fn within(bytes: &'a [u8], span: Range<usize>) -> Self {
        Scanner {
            bytes: &bytes[..span.end],
            pos: span.start,
        }
    }

    pub fn pos(&self) -> usize {
        self.pos
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    /// Goes on from another position of the same bytes.
    pub fn go_to(&mut self, pos: usize) {
        self.pos = pos;
    }

    pub fn malformed<T>(&self) -> Result<T, Malformed> {
        Err(Malformed { at: self.pos })
    }

    /// Skips white space and looks at the byte behind it.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.bytes.get(self.pos) {
            if byte > b' ' {
                return Some(byte);
            }
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.pos += 1;
        }
        None
    }

    /// Nothing but white space may be left.
    pub fn end(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.malformed(),
        }
    }

    /// Walks the members of the object that starts here. `visit` gets the key and where its opening quote stands, with the
    /// scanner at the value (white space before it skipped); it must consume exactly that value.
    #[inline]
    pub fn object<E: From<Malformed>>(
        &mut self,
        visit: impl FnMut(&mut Self, Text<'a>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        self.take(b'{')?;
        if self.peek() == Some(b'}') {
            self.pos += 1;
            return Ok(());
        }
        self.members(visit)
    }

    /// The same from a member on to the end of its object.
    #[inline]
    pub fn members<E: From<Malformed>>(
        &mut self,
        mut visit: impl FnMut(&mut Self, Text<'a>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            if self.peek() != Some(b'"') {
                return Ok(self.malformed()?);
            }
            let start = self.pos;
            let key = self.string()?;
            self.take(b':')?;
            self.peek();
            visit(self, key, start)?;
            if !self.more()? {
                return Ok(());
            }
        }
    }

    /// The same from behind a member.
    #[inline]
    pub fn more_members<E: From<Malformed>>(
        &mut self,
        visit: impl FnMut(&mut Self, Text<'a>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.more()? {
            true => self.members(visit),
            false => Ok(()),
        }
    }

    /// Passes over what stands behind a member: whether another one follows.
    #[inline]
    fn more(&mut self) -> Result<bool, Malformed> {
        let follows = match self.peek() {
            Some(b',') => true,
            Some(b'}') => false,
            _ => return self.malformed(),
        };
        self.pos += 1;
        Ok(follows)
    }

    /// Walks the elements of the array that starts here; `visit` must consume exactly one value.
    #[inline]
    pub fn array<E: From<Malformed>>(
        &mut self,
        mut visit: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.take(b'[')?;
        if self.peek() == Some(b']') {
            self.pos += 1;
            return Ok(());
        }
        loop {
            self.peek();
            visit(self)?;
            match self.peek() {
                Some(b',') => self.pos += 1,
                Some(b']') => {
                    self.pos += 1;
                    return Ok(());
                }
                _ => return Ok(self.malformed()?),
            }
        }
    }

    /// Passes over one value of any kind, checking it, and gives its span without surrounding white space.
    #[inline]
    pub fn value(&mut self) -> Result<Range<usize>, Malformed> {
        let first = self.peek();
        let start = self.pos;
        match first {
            Some(b'{' | b'[') => self.container()?,
            Some(byte) => self.scalar(byte)?,
            None => return self.malformed(),
        }
        Ok(start..self.pos)
    }

    /// Reads the string that starts here, after white space.
    #[inline]
    pub fn string(&mut self) -> Result<Text<'a>, Malformed> {
        self.take(b'"')?;
        let start = self.pos;
        let escaped = match self.string_rest() {
            Ended::Plain => false,
            Ended::Escaped => true,
            Ended::Malformed => return self.malformed(),
        };
        Ok(Text {
            raw: &self.bytes[start..self.pos - 1],
            escaped,
        })
    }

    /// Reads an unsigned integer that fits, or passes over any other value and gives `None`.
    pub fn unsigned(&mut self) -> Result<Option<u64>, Malformed> {
        let span = self.value()?;
        let digits = self.bytes[span].iter();
        Ok(digits
            .map(|byte| byte.wrapping_sub(b'0'))
            .try_fold(0_u64, |sum, digit| {
                let digit = (digit < 10).then_some(u64::from(digit))?;
                sum.checked_mul(10)?.checked_add(digit)
            }))
    }

    /// Reads a number, or passes over any other value and gives `None`.
    pub fn number(&mut self) -> Result<Option<f64>, Malformed> {
        Ok(self.number_text()?.and_then(parse_number))
    }

    /// The same, left as it stands.
    pub fn number_text(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let is_number = matches!(self.peek(), Some(b'-' | b'0'..=b'9'));
        let span = self.value()?;
        Ok(is_number.then(|| &self.bytes[span]))
    }

    /// The scanned bytes from `span`.
    pub fn slice(&self, span: Range<usize>) -> &'a [u8] {
        &self.bytes[span]
    }

    /// Goes behind the closing quote of the string whose opening quote has been passed.
    #[inline(always)]
    fn string_rest(&mut self) -> Ended {
        // Most strings are names or words: their end is not far.
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        let words = rest.as_chunks::<8>().0;
        for (position, word) in words.iter().take(SHORT_WORDS).enumerate() {
            let special = special_bytes(u64::from_le_bytes(*word));
            if special != 0 {
                let plain = special.trailing_zeros() as usize / 8;
                if word[plain] != b'"' {
                    break;
                }
                self.pos += 8 * position + plain + 1;
                return Ended::Plain;
            }
        }
        self.long_string_rest()
    }

    #[inline(never)]
    fn long_string_rest(&mut self) -> Ended {
        let mut ended = Ended::Plain;
        loop {
            self.pos = plain_end(self.bytes, self.pos);
            match self.bytes.get(self.pos) {
                Some(b'"') => {
                    self.pos += 1;
                    return ended;
                }
                Some(b'\\') if self.escape().is_ok() => ended = Ended::Escaped,
                // A control character, or the end of the bytes.
                _ => return Ended::Malformed,
            }
        }
    }

    /// Passes over the string whose opening quote is here.
    #[inline]
    fn skip_string(&mut self) -> Result<(), Malformed> {
        self.pos += 1;
        match self.string_rest() {
            Ended::Malformed => self.malformed(),
            _ => Ok(()),
        }
    }

    #[inline]
    fn take(&mut self, wanted: u8) -> Result<(), Malformed> {
        if self.peek() == Some(wanted) {
            self.pos += 1;
            Ok(())
        } else {
            self.malformed()
        }
    }

    fn container(&mut self) -> Result<(), Malformed> {
        let mut open = Open::default();
        loop {
            // A value is expected.
            match self.peek() {
                Some(b'"') => self.skip_string()?,
                Some(b'{') => {
                    self.pos += 1;
                    if self.peek() == Some(b'}') {
                        self.pos += 1;
                    } else {
                        open.push(true);
                        self.key()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.pos += 1;
                    if self.peek() == Some(b']') {
                        self.pos += 1;
                    } else {
                        open.push(false);
                        continue;
                    }
                }
                Some(byte) => self.scalar(byte)?,
                None => return self.malformed(),
            }
            // A value has ended: close what closes with it.
            loop {
                if open.depth == 0 {
                    return Ok(());
                }
                match (self.peek(), open.is_object()) {
                    (Some(b','), true) => {
                        self.pos += 1;
                        self.key()?;
                        break;
                    }
                    (Some(b','), false) => {
                        self.pos += 1;
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.pos += 1;
                        open.pop();
                    }
                    _ => return self.malformed(),
                }
            }
        }
    }

    #[inline]
    fn key(&mut self) -> Result<(), Malformed> {
        if self.peek() != Some(b'"') {
            return self.malformed();
        }
        self.skip_string()?;
        self.take(b':')
    }

    #[inline]
    fn scalar(&mut self, first: u8) -> Result<(), Malformed> {
        match first {
            b'"' => self.skip_string(),
            b'-' | b'0'..=b'9' => self.digits(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.malformed(),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Malformed> {
        if self.bytes[self.pos..].starts_with(word) {
            self.pos += word.len();
            Ok(())
        } else {
            self.malformed()
        }
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Malformed> {
        if self.bytes[self.pos] == b'-' {
            self.pos += 1;
        }
        match self.bytes.get(self.pos) {
            Some(b'0') => {
                self.pos += 1;
                if matches!(self.bytes.get(self.pos), Some(b'0'..=b'9')) {
                    return self.malformed();
                }
            }
            _ => self.some_digits()?,
        }
        if self.bytes.get(self.pos) == Some(&b'.') {
            self.pos += 1;
            self.some_digits()?;
        }
        if matches!(self.bytes.get(self.pos), Some(b'e' | b'E')) {
            self.pos += 1;
            if matches!(self.bytes.get(self.pos), Some(b'+' | b'-')) {
                self.pos += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    #[inline]
    fn some_digits(&mut self) -> Result<(), Malformed> {
        let start = self.pos;
        while matches!(self.bytes.get(self.pos), Some(b'0'..=b'9')) {
            self.pos += 1;
        }
        if self.pos == start {
            return self.malformed();
        }
        Ok(())
    }

    /// Passes over a backslash and what belongs to it. Half surrogates pass: they are an error only where the string is decoded.
    fn escape(&mut self) -> Result<(), Malformed> {
        match self.bytes.get(self.pos + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.pos += 2;
                Ok(())
            }
            Some(b'u') => {
                let hex = self.bytes.get(self.pos + 2..self.pos + 6);
                if !hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
                    return self.malformed();
                }
                self.pos += 6;
                Ok(())
            }
            _ => self.malformed(),
        }
    }
}

/// What a number that was passed over means.
pub(crate) fn parse_number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// How a string ended.
enum Ended {
    Plain,
    /// There were escapes in it.
    Escaped,
    Malformed,
}

/// The open brackets, one bit each (set: an object). 64 levels cost nothing, more cost a bit a level.
#[derive(Default)]
struct Open {
    depth: usize,
    bits: u64,
    full: Vec<u64>,
}

impl Open {
    #[inline]
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.full.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
    }

    #[inline]
    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.full.pop().unwrap_or_default();
        }
    }

    #[inline]
    fn is_object(&self) -> bool {
        self.bits & 1 == 1
    }
}

/// So many times eight bytes are looked at one by one for the end of a string.
const SHORT_WORDS: usize = 3;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Where the run of bytes that mean themselves in a string ends: at a quote, a backslash, a control character or the end.
#[inline(always)]
fn plain_end(bytes: &[u8], mut pos: usize) -> usize {
    let rest = bytes.get(pos..).unwrap_or_default();
    // What is written like this becomes a few vector instructions.
    let ends = |byte: &u8| (*byte < b' ') | (*byte == b'"') | (*byte == b'\\');
    for chunk in rest.as_chunks::<32>().0 {
        if chunk.iter().fold(false, |any, byte| any | ends(byte)) {
            break;
        }
        pos += 32;
    }
    for chunk in bytes.get(pos..).unwrap_or_default().as_chunks::<8>().0 {
        let special = special_bytes(u64::from_le_bytes(*chunk));
        if special != 0 {
            return pos + special.trailing_zeros() as usize / 8;
        }
        pos += 8;
    }
    while bytes.get(pos).is_some_and(|byte| !ends(byte)) {
        pos += 1;
    }
    pos
}

/// The high bit of each byte that ends a plain run. For a byte below 0x80, subtracting 1 sets the high bit only of a zero,
/// which is what equal bytes become by exclusive or; other bytes are masked out together. Borrows can set wrong bits,
/// but only above a right one, and only the lowest is used.
#[inline(always)]
fn special_bytes(word: u64) -> u64 {
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let control = word.wrapping_sub(ONES * 0x20);
    (quote | backslash | control) & !word & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &[u8]) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.value().is_ok() && scanner.end().is_ok()
    }

    #[test]
    fn grammar_is_serde_jsons() {
        for text in [
            "0",
            "-0",
            "01",
            "-",
            "1.",
            "1.5e+3",
            "1e",
            "1e5",
            ".5",
            "+1",
            "true",
            "tru",
            "nulll",
            "[]",
            "[ ]",
            "[1,]",
            "[,1]",
            "{}",
            "{\"a\":1,}",
            "{\"a\" : [ { } ] }",
            "{a:1}",
            "\"\\u12g4\"",
            "\"\\u1234\"",
            "\"\\x\"",
            "\"a\nb\"",
            "\"\u{7f}é\"",
            "\"",
            "[1 2]",
            "{\"a\":1]",
            "[1}",
            " \t\r\n1 ",
            "\u{b}1",
            "",
            "1 2",
            "\"12345678\\\"\"",
        ] {
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
            assert_eq!(accepts(text.as_bytes()), theirs, "{text:?}");
        }
    }

    #[test]
    fn nesting_costs_no_stack_and_crosses_word_borders() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 200_000] {
            let text = "[{\"a\":".repeat(depth) + "1" + &"}]".repeat(depth);
            assert!(accepts(text.as_bytes()), "{depth}");
            let wrong = "[{\"a\":".repeat(depth) + "1" + &"}]".repeat(depth - 1) + "]]";
            assert!(!accepts(wrong.as_bytes()), "{depth}");
        }
    }

    #[test]
    fn strings_end_at_every_offset() {
        for len in 0..40 {
            let inside = "x".repeat(len);
            for (tail, ok) in [
                ("\"", true),
                ("\\n\"", true),
                ("\u{1f}\"", false),
                ("", false),
            ] {
                assert_eq!(
                    accepts(format!("\"{inside}{tail}").as_bytes()),
                    ok,
                    "{len} {tail:?}"
                );
            }
        }
    }

    #[test]
    fn escaped_keys_are_compared_by_meaning() {
        let key = Scanner::new(br#""\u0069d""#).string().unwrap();
        assert!(key.is("id") && !key.is("ix"));
        assert_eq!(
            Scanner::new(br#""\ud800""#).string().unwrap().decode(),
            None
        );
    }
}
