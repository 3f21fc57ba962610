//! Request and response heads: where one ends, what it says, and how long the body after it is.
//!
//! Finding the end and parsing are two steps. [`HeadScanner`] looks for the empty line and refuses bare line feeds at
//! once, so that an attacker cannot make us wait for an end that a laxer peer has already seen. httparse then parses the
//! complete head, and everything that decides framing is checked here, by RFC 9112 sections 5 and 6.
//!
//! Pure: bytes in, verdict out.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::Method;

use crate::headers::{span, trim, Headers};

/// Fields that a head may have.
pub const HEADERS_MAX: usize = 128;

/// Why a head is refused; the status is for a server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct HeadError {
    /// 400, 417, 431, 501 or 505.
    pub status: u16,
    pub reason: &'static str,
}

impl HeadError {
    const fn bad(reason: &'static str) -> Self {
        HeadError {
            status: 400,
            reason,
        }
    }

    const fn too_large(reason: &'static str) -> Self {
        HeadError {
            status: 431,
            reason,
        }
    }
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks up to the empty one, then trailers.
    Chunked,
    /// Everything up to the end of the connection (responses only).
    UntilClose,
}

/// A request's head, checked.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: Method,
    /// Path and query as they were sent, UTF-8, beginning with `/` (or `*` for OPTIONS).
    pub target: Bytes,
    pub headers: Headers,
    /// [`Framing::None`], [`Framing::Length`] or [`Framing::Chunked`].
    pub framing: Framing,
    /// HTTP/1.0 rather than 1.1.
    pub http_10: bool,
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
}

/// A response's head, checked.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// 100 to 599.
    pub status: u16,
    pub headers: Headers,
    pub framing: Framing,
    pub keep_alive: bool,
}

/// Finds the end of a head in a growing buffer without looking at a byte twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    scanned: usize,
    line_start: usize,
    /// Empty lines before the first line.
    leading: usize,
}

/// Empty lines before a request that are overlooked (RFC 9112, 2.2 asks for at least one).
const LEADING_LINES_MAX: usize = 2;

impl HeadScanner {
    /// The length of the head at the start of `buffer`, its empty line included; `None` while that is not there yet.
    ///
    /// The buffer must be the one of the last call, perhaps longer.
    ///
    /// # Errors
    /// 400 for a line feed without a carriage return; 431 when the head is longer than `limit` bytes.
    pub fn find(&mut self, buffer: &[u8], limit: usize) -> Result<Option<usize>, HeadError> {
        let visible = &buffer[..buffer.len().min(limit)];
        while let Some(found) =
            memchr::memchr(b'\n', visible.get(self.scanned..).unwrap_or_default())
        {
            let at = self.scanned + found;
            if at == self.line_start || visible[at - 1] != b'\r' {
                return Err(HeadError::bad("a line feed without a carriage return"));
            }
            let empty = at == self.line_start + 1;
            self.scanned = at + 1;
            self.line_start = at + 1;
            if empty && self.leading * 2 + 2 == at + 1 {
                self.leading += 1;
                if self.leading > LEADING_LINES_MAX {
                    return Err(HeadError::bad("empty lines before the request"));
                }
            } else if empty {
                return Ok(Some(at + 1));
            }
        }
        self.scanned = visible.len();
        if buffer.len() >= limit {
            return Err(HeadError::too_large("the head is too large"));
        }
        Ok(None)
    }
}

/// Parses a complete request head (as found by [`HeadScanner`]).
///
/// # Errors
/// 400 for what is malformed or ambiguous, 417 for an unknown expectation, 431 for more than [`HEADERS_MAX`] fields,
/// 501 for CONNECT, 505 for another protocol version.
pub fn parse_request_head(head: &Bytes) -> Result<RequestHead, HeadError> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut fields) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(HeadError::bad("the head is incomplete")),
        Err(error) => return Err(explain(error, head)),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(HeadError::bad("the request line is incomplete"));
    };
    let http_10 = version == 0;
    // httparse lets only token characters pass, which are what a method is made of.
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| HeadError::bad("the method is malformed"))?;
    let target = check_target(head, &method, target)?;
    let headers = Headers::from_parsed(head, parsed.headers);
    let framing = request_framing(&headers, http_10)?;
    check_host(&headers, http_10)?;
    Ok(RequestHead {
        keep_alive: keep_alive(&headers, http_10),
        expect_continue: expects_continue(&headers, http_10)?,
        method,
        target,
        headers,
        framing,
        http_10,
    })
}

/// Parses a complete response head (as found by [`HeadScanner`]). `to_head`: it answers a HEAD request.
///
/// # Errors
/// As [`parse_request_head`]; for a client every one of them means that the answer is malformed.
pub fn parse_response_head(head: &Bytes, to_head: bool) -> Result<ResponseHead, HeadError> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, head, &mut fields) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(HeadError::bad("the head is incomplete")),
        Err(error) => return Err(explain(error, head)),
    }
    let (Some(status), Some(version)) = (parsed.code, parsed.version) else {
        return Err(HeadError::bad("the status line is incomplete"));
    };
    if !(100..600).contains(&status) {
        return Err(HeadError::bad("the status is out of range"));
    }
    let http_10 = version == 0;
    let headers = Headers::from_parsed(head, parsed.headers);
    let declared = declared_framing(&headers, http_10)?;
    let framing = match declared {
        _ if to_head || matches!(status, 100..=199 | 204 | 304) => Framing::None,
        Some(framing) => framing,
        None => Framing::UntilClose,
    };
    let keep_alive = keep_alive(&headers, http_10) && framing != Framing::UntilClose;
    Ok(ResponseHead {
        status,
        headers,
        framing,
        keep_alive,
    })
}

fn explain(error: httparse::Error, head: &[u8]) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::too_large("too many header fields"),
        httparse::Error::HeaderName => HeadError::bad("a header name is malformed"),
        httparse::Error::HeaderValue => HeadError::bad("a header value is malformed"),
        httparse::Error::Version if names_a_version(head) => HeadError {
            status: 505,
            reason: "this server speaks HTTP/1.1 and HTTP/1.0",
        },
        httparse::Error::Version => HeadError::bad("the protocol version is malformed"),
        _ => HeadError::bad("the request line or a header is malformed"),
    }
}

/// True when the first line is three words of which the last is `HTTP/digit.digit`: well formed, only not our version.
fn names_a_version(head: &[u8]) -> bool {
    let line = head
        .split(|byte| *byte == b'\r')
        .map(<[u8]>::trim_ascii_start)
        .find(|line| !line.is_empty());
    let mut words = line.unwrap_or_default().split(|byte| *byte == b' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(_), Some(_), Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None) => {
            major.is_ascii_digit() && minor.is_ascii_digit()
        }
        _ => false,
    }
}

/// Origin form, or absolute form cut down to it (RFC 9112, 3.2).
fn check_target(head: &Bytes, method: &Method, target: &str) -> Result<Bytes, HeadError> {
    if *method == Method::CONNECT {
        return Err(HeadError {
            status: 501,
            reason: "CONNECT is not supported",
        });
    }
    if target
        .bytes()
        .any(|byte| matches!(byte, 0..=0x20 | 0x7f | b'#'))
    {
        return Err(HeadError::bad("the request target is malformed"));
    }
    let path = match target {
        "*" if *method == Method::OPTIONS => target,
        _ if target.starts_with('/') => target,
        _ => {
            let scheme = target.get(..8).unwrap_or(target).to_ascii_lowercase();
            let skip = if scheme.starts_with("http://") {
                7
            } else if scheme.starts_with("https://") {
                8
            } else {
                return Err(HeadError::bad("the request target is malformed"));
            };
            let rest = &target[skip..];
            let authority = rest.find(['/', '?']).unwrap_or(rest.len());
            if !is_host(&rest.as_bytes()[..authority]) || authority == 0 {
                return Err(HeadError::bad("the request target's host is malformed"));
            }
            match &rest[authority..] {
                // RFC 9112 3.2.1: an empty path is sent as "/".
                "" => return Ok(Bytes::from_static(b"/")),
                query if query.starts_with('?') => return Ok(Bytes::from(format!("/{query}"))),
                path => path,
            }
        }
    };
    let (start, end) =
        span(head, path.as_bytes()).ok_or(HeadError::bad("the request target is malformed"))?;
    Ok(head.slice(start as usize..end as usize))
}

fn request_framing(headers: &Headers, http_10: bool) -> Result<Framing, HeadError> {
    Ok(declared_framing(headers, http_10)?.unwrap_or(Framing::None))
}

/// What Content-Length and Transfer-Encoding say together; more than one voice is refused.
fn declared_framing(headers: &Headers, http_10: bool) -> Result<Option<Framing>, HeadError> {
    let mut framing = None;
    for (name, value) in headers.fields() {
        let declared = if name.eq_ignore_ascii_case(b"content-length") {
            Framing::Length(parse_length(value)?)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if http_10 {
                return Err(HeadError::bad("Transfer-Encoding in HTTP/1.0"));
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::bad(
                    "the only transfer coding understood is chunked",
                ));
            }
            Framing::Chunked
        } else {
            continue;
        };
        if framing.replace(declared).is_some() {
            return Err(HeadError::bad(
                "the length of the body is given more than once",
            ));
        }
    }
    Ok(framing)
}

/// Digits only: no sign, no list, no blanks inside, nothing that does not fit.
fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    const BAD: HeadError = HeadError::bad("Content-Length is not a number");
    if value.is_empty() || value.len() > 19 {
        return Err(BAD);
    }
    value.iter().try_fold(0_u64, |sum, byte| match byte {
        b'0'..=b'9' => Ok(sum * 10 + u64::from(byte - b'0')),
        _ => Err(BAD),
    })
}

/// Exactly one Host in 1.1, at most one in 1.0 (RFC 9112, 3.2).
fn check_host(headers: &Headers, http_10: bool) -> Result<(), HeadError> {
    let mut hosts = headers.get_all("host");
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host) => Ok(()),
        (Some(_), None) => Err(HeadError::bad("Host is malformed")),
        (None, _) if http_10 => Ok(()),
        (None, _) => Err(HeadError::bad("Host is missing")),
        (Some(_), Some(_)) => Err(HeadError::bad("Host is given more than once")),
    }
}

/// Characters of `uri-host [":" port]`; an empty Host is allowed for targets without authority.
fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%' | b'!' | b'$' | b'&' | b'\''
            )
            || matches!(byte, b'(' | b')' | b'*' | b'+' | b';' | b'=')
    })
}

fn keep_alive(headers: &Headers, http_10: bool) -> bool {
    let mut keep_alive = !http_10;
    for value in headers.get_all("connection") {
        for option in value.split(|byte| *byte == b',').map(trim) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    keep_alive
}

fn expects_continue(headers: &Headers, http_10: bool) -> Result<bool, HeadError> {
    match headers.get("expect") {
        // RFC 9110 10.1.1: an HTTP/1.0 client cannot mean it.
        None => Ok(false),
        Some(_) if http_10 => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(HeadError {
            status: 417,
            reason: "the only expectation understood is 100-continue",
        }),
    }
}
