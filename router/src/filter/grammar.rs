//! The grammar of Meilisearch's filters, 1.15 to 1.50 (`filter-parser/src/lib.rs`), with its quirks: keywords are upper
//! case only, a keyword such as `EXISTS` needs no space after it, a value may touch the keyword before it.
//!
//! It does not need to know everything: a name directly before a parenthesis is a function (`_geoRadius(...)`) and is
//! passed over whole, so functions of versions to come are no error.

use std::ops::Range;

use smallvec::SmallVec;

/// What is made of a filter while it is read, from its conditions upwards.
pub(super) trait Meaning {
    type Of;

    fn condition(&mut self, condition: &Condition) -> Self::Of;
    /// `_geoRadius(...)` and its like.
    fn function(&mut self) -> Self::Of;
    fn and(&mut self, left: Self::Of, right: Self::Of) -> Self::Of;
    fn or(&mut self, left: Self::Of, right: Self::Of) -> Self::Of;
    fn not(&mut self, inner: Self::Of) -> Self::Of;
}

/// A field, an operator and what it is compared with; texts are spans of the filter, with their quotes.
pub(super) struct Condition {
    pub field: Range<usize>,
    pub operator: Operator,
    pub values: SmallVec<[Range<usize>; 4]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Equal,
    NotEqual {
        /// Where the operator stands.
        at: usize,
    },
    In,
    /// Whatever else: ranges, `EXISTS`, `NOT IN`, `CONTAINS` and so on.
    Other,
}

/// Reads a whole filter; `None` where it is malformed.
pub(super) fn parse<M: Meaning>(filter: &str, meaning: &mut M) -> Option<M::Of> {
    let mut parser = Parser {
        filter,
        at: 0,
        meaning,
    };
    let read = parser.disjunction(0)?;
    (parser.at == filter.len()).then_some(read)
}

/// Recursive descent; `None` says that the text does not match, and leaves `at` anywhere.
struct Parser<'f, 'm, M> {
    filter: &'f str,
    at: usize,
    meaning: &'m mut M,
}

impl<M: Meaning> Parser<'_, '_, M> {
    fn disjunction(&mut self, depth: usize) -> Option<M::Of> {
        let mut read = self.conjunction(depth)?;
        while self.keyword("OR") {
            let next = self.conjunction(depth)?;
            read = self.meaning.or(read, next);
        }
        Some(read)
    }

    fn conjunction(&mut self, depth: usize) -> Option<M::Of> {
        let mut read = self.negation(depth)?;
        while self.keyword("AND") {
            let next = self.negation(depth)?;
            read = self.meaning.and(read, next);
        }
        Some(read)
    }

    fn negation(&mut self, depth: usize) -> Option<M::Of> {
        if depth > DEPTH_MAX {
            return None;
        }
        if !self.keyword("NOT") {
            return self.primary(depth + 1);
        }
        let inner = self.negation(depth + 1)?;
        Some(self.meaning.not(inner))
    }

    fn primary(&mut self, depth: usize) -> Option<M::Of> {
        self.spaces();
        let read = if self.token("(") {
            let inner = self.disjunction(depth + 1)?;
            self.spaces();
            self.token(")").then_some(())?;
            inner
        } else if self.function()? {
            self.meaning.function()
        } else {
            let condition = self.condition()?;
            self.meaning.condition(&condition)
        };
        self.spaces();
        Some(read)
    }

    /// A name directly before a parenthesis, and all up to the one that closes it. Says whether there is one.
    fn function(&mut self) -> Option<bool> {
        let name = self.rest().len() - self.rest().trim_start_matches(is_word).len();
        if name == 0 || !self.rest()[name..].starts_with('(') {
            return Some(false);
        }
        self.at += name;
        let mut open = 0;
        while let Some(next) = self.rest().chars().next() {
            match next {
                '"' | '\'' => {
                    self.quoted(next)?;
                    continue;
                }
                '(' => open += 1,
                ')' => open -= 1,
                _ => {}
            }
            self.at += next.len_utf8();
            if open == 0 {
                return Some(true);
            }
        }
        None
    }

    fn condition(&mut self) -> Option<Condition> {
        let field = self.value()?;
        let mut values = SmallVec::new();
        let at = self.at;
        let operator = if self.token("!=") {
            values.push(self.value()?);
            Operator::NotEqual { at }
        } else if self.token("=") {
            values.push(self.value()?);
            Operator::Equal
        } else if self.keyword("IN") {
            self.list(&mut values)?;
            Operator::In
        } else {
            self.other(&mut values)?;
            Operator::Other
        };
        Some(Condition {
            field,
            operator,
            values,
        })
    }

    /// What follows the field, where it is neither `=` nor `!=` nor `IN`.
    fn other(&mut self, values: &mut SmallVec<[Range<usize>; 4]>) -> Option<()> {
        if ["<=", ">=", "<", ">"].into_iter().any(|op| self.token(op))
            || self.token("CONTAINS")
            || self.starts()
        {
            return self.value().map(|_| ());
        }
        if self.token("IS") {
            self.spaces();
            if self.token("NOT") {
                self.spaces();
            }
            return (self.token("NULL") || self.token("EMPTY")).then_some(());
        }
        if self.token("EXISTS") {
            return Some(());
        }
        if self.keyword("NOT") {
            return self.negated_condition(values);
        }
        self.value()?;
        self.token("TO").then_some(())?;
        self.value().map(|_| ())
    }

    fn negated_condition(&mut self, values: &mut SmallVec<[Range<usize>; 4]>) -> Option<()> {
        if self.keyword("IN") {
            self.list(values)
        } else if self.token("CONTAINS") || self.starts() {
            self.value().map(|_| ())
        } else {
            self.token("EXISTS").then_some(())
        }
    }

    fn starts(&mut self) -> bool {
        self.token("STARTS WITH")
    }

    /// `[` values `]`; a comma may stand after the last.
    fn list(&mut self, values: &mut SmallVec<[Range<usize>; 4]>) -> Option<()> {
        self.token("[").then_some(())?;
        loop {
            self.spaces();
            if self.token("]") {
                return Some(());
            }
            values.push(self.value()?);
            if !self.token(",") {
                return self.token("]").then_some(());
            }
        }
    }

    /// A word that is no keyword, or a quoted text, and the space around it. Returns where it stands.
    fn value(&mut self) -> Option<Range<usize>> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        let start = self.at;
        match self.rest().chars().next()? {
            quote @ ('"' | '\'') => self.quoted(quote)?,
            _ => {
                let word = &self.rest()
                    [..self.rest().len() - self.rest().trim_start_matches(is_word).len()];
                if word.is_empty() || KEYWORDS.contains(&word) {
                    return None;
                }
                self.at += word.len();
            }
        }
        let end = self.at;
        self.spaces();
        Some(start..end)
    }

    /// From one quote to the next that has no backslash before it.
    fn quoted(&mut self, quote: char) -> Option<()> {
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((offset, character)) = characters.next() {
            if character == quote {
                self.at += offset + quote.len_utf8();
                return Some(());
            }
            if character == '\\' {
                characters.next()?;
            }
        }
        None
    }

    /// A whole word, with space before and after it.
    fn keyword(&mut self, keyword: &str) -> bool {
        let rest = self.rest().trim_start_matches(SPACES);
        let matches = rest
            .strip_prefix(keyword)
            .filter(|after| !after.starts_with(is_word));
        match matches {
            Some(after) => {
                self.at = self.filter.len() - after.trim_start_matches(SPACES).len();
                true
            }
            None => false,
        }
    }

    /// These characters, whatever follows.
    fn token(&mut self, token: &str) -> bool {
        let matches = self.rest().starts_with(token);
        if matches {
            self.at += token.len();
        }
        matches
    }

    fn spaces(&mut self) {
        self.at = self.filter.len() - self.rest().trim_start_matches(SPACES).len();
    }

    fn rest(&self) -> &str {
        &self.filter[self.at..]
    }
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// What Meilisearch skips around tokens; before a value it skips any white space.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Deeper than the nodes accept (200 steps of a grammar that takes five for each parenthesis).
const DEPTH_MAX: usize = 200;

const KEYWORDS: [&str; 14] = [
    "AND",
    "OR",
    "IN",
    "NOT",
    "TO",
    "EXISTS",
    "IS",
    "NULL",
    "EMPTY",
    "CONTAINS",
    "STARTS",
    "WITH",
    "_geoRadius",
    "_geoBoundingBox",
];
