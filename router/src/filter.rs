//! The one operator of Meilisearch's filters that is wrong on a part of an index: `!=`.
//!
//! `a != b` on a node where no document ever had the field `a` finds nothing, while one node with all documents finds
//! every document that has no `a`. `NOT a = b` means the same where the field is known and is right everywhere
//! (MEILISEARCH B.1), so a filter is rewritten before it goes to the nodes.
//!
//! The parser follows the grammar of Meilisearch 1.15 to 1.50 (`filter-parser/src/lib.rs`), with its quirks: keywords
//! are upper case only, a keyword such as `EXISTS` needs no space after it, a value may touch the keyword before it.
//! It does not need to know everything: a name directly before a parenthesis is a function (`_geoRadius(...)`) and is
//! passed over whole, so functions of versions to come are no error. What does not parse is left as it is, for the
//! node to refuse in its own words.

use std::borrow::Cow;

/// Rewrites each `a != b` of a filter expression to `NOT a = b`. A filter without `!=`, and one that is malformed,
/// comes back unchanged.
pub fn rewrite_not_equal(filter: &str) -> Cow<'_, str> {
    // Most filters have none, and are not looked at further.
    if !filter.contains("!=") {
        return Cow::Borrowed(filter);
    }
    let mut parser = Parser {
        filter,
        at: 0,
        found: Vec::new(),
    };
    if parser.disjunction(0).is_none() || parser.at < filter.len() || parser.found.is_empty() {
        return Cow::Borrowed(filter);
    }
    let mut rewritten = String::with_capacity(filter.len() + parser.found.len() * 4);
    let mut copied = 0;
    for NotEqual { field, operator } in parser.found {
        rewritten.push_str(&filter[copied..field]);
        // `AND"a" != 1` is well-formed, `ANDNOT` would not be.
        if rewritten.chars().next_back().is_some_and(is_word) {
            rewritten.push(' ');
        }
        rewritten.push_str("NOT ");
        rewritten.push_str(&filter[field..operator]);
        copied = operator + 1;
    }
    rewritten.push_str(&filter[copied..]);
    Cow::Owned(rewritten)
}

/// Where a comparison begins, and where its `!=` is.
struct NotEqual {
    field: usize,
    operator: usize,
}

/// Recursive descent; `None` says that the text does not match, and leaves `at` anywhere.
struct Parser<'f> {
    filter: &'f str,
    at: usize,
    found: Vec<NotEqual>,
}

impl Parser<'_> {
    fn disjunction(&mut self, depth: usize) -> Option<()> {
        self.conjunction(depth)?;
        while self.keyword("OR") {
            self.conjunction(depth)?;
        }
        Some(())
    }

    fn conjunction(&mut self, depth: usize) -> Option<()> {
        self.negation(depth)?;
        while self.keyword("AND") {
            self.negation(depth)?;
        }
        Some(())
    }

    fn negation(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match self.keyword("NOT") {
            true => self.negation(depth + 1),
            false => self.primary(depth + 1),
        }
    }

    fn primary(&mut self, depth: usize) -> Option<()> {
        self.spaces();
        if self.token("(") {
            self.disjunction(depth + 1)?;
            self.spaces();
            self.token(")").then_some(())?;
        } else if !self.function()? {
            self.condition()?;
        }
        self.spaces();
        Some(())
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

    fn condition(&mut self) -> Option<()> {
        let field = self.value()?;
        let operator = self.at;
        if self.token("!=") {
            self.value()?;
            self.found.push(NotEqual { field, operator });
            return Some(());
        }
        if ["<=", ">=", "<", ">", "="]
            .into_iter()
            .any(|op| self.token(op))
            || self.token("CONTAINS")
            || self.starts()
        {
            return self.value().map(|_| ());
        }
        if self.keyword("IN") {
            return self.list();
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
            return self.negated_condition();
        }
        self.value()?;
        self.token("TO").then_some(())?;
        self.value().map(|_| ())
    }

    fn negated_condition(&mut self) -> Option<()> {
        if self.keyword("IN") {
            self.list()
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
    fn list(&mut self) -> Option<()> {
        self.token("[").then_some(())?;
        loop {
            self.spaces();
            if self.token("]") {
                return Some(());
            }
            self.value()?;
            if !self.token(",") {
                return self.token("]").then_some(());
            }
        }
    }

    /// A word that is no keyword, or a quoted text, and the space around it. Returns where it begins.
    fn value(&mut self) -> Option<usize> {
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
        self.spaces();
        Some(start)
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

fn is_word(c: char) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn rewrites(filter: &str, expected: &str) {
        assert_eq!(rewrite_not_equal(filter), expected, "{filter}");
        // What is written is again well-formed, and done.
        assert!(!is_rewritten(expected), "{expected}");
        assert!(parses(expected), "{expected}");
    }

    #[track_caller]
    fn unchanged(filter: &str) {
        assert!(
            !is_rewritten(filter),
            "{filter} -> {}",
            rewrite_not_equal(filter)
        );
    }

    fn is_rewritten(filter: &str) -> bool {
        matches!(rewrite_not_equal(filter), Cow::Owned(_))
    }

    fn parses(filter: &str) -> bool {
        let mut parser = Parser {
            filter,
            at: 0,
            found: Vec::new(),
        };
        parser.disjunction(0).is_some() && parser.at == filter.len()
    }

    #[test]
    fn a_comparison_alone() {
        rewrites("genre != Comedy", "NOT genre = Comedy");
        rewrites("genre!=Comedy", "NOT genre=Comedy");
        rewrites("  genre  !=  Comedy ", "  NOT genre  =  Comedy ");
        rewrites("a.b-c_d != -1.5", "NOT a.b-c_d = -1.5");
        rewrites("größe != 日本", "NOT größe = 日本");
    }

    #[test]
    fn quotes_and_escapes() {
        rewrites(r#""release year" != 'x'"#, r#"NOT "release year" = 'x'"#);
        rewrites(
            r#"'it\'s' != "say \"!=\"""#,
            r#"NOT 'it\'s' = "say \"!=\"""#,
        );
        rewrites(r#"a != "b != c""#, r#"NOT a = "b != c""#);
        rewrites(
            r#"a = "b != c" AND d != 'e'"#,
            r#"a = "b != c" AND NOT d = 'e'"#,
        );
        rewrites(r#"a != 'AND b != c'"#, r#"NOT a = 'AND b != c'"#);
        rewrites(r#"a != "\\""#, r#"NOT a = "\\""#);
        unchanged(r#"a = "b != c""#);
        unchanged(r#"'a != b' = c"#);
    }

    #[test]
    fn connectives_and_parentheses() {
        rewrites(
            "a != 1 AND b != 2 OR c != 3",
            "NOT a = 1 AND NOT b = 2 OR NOT c = 3",
        );
        rewrites("NOT a != 1", "NOT NOT a = 1");
        rewrites("(a != 1)", "(NOT a = 1)");
        rewrites(
            "NOT(a != 1 OR (b = 2 AND c != 3))",
            "NOT(NOT a = 1 OR (b = 2 AND NOT c = 3))",
        );
        rewrites("( ( a!=1 ) )", "( ( NOT a=1 ) )");
        rewrites("a != 1 AND\n\tb = 2", "NOT a = 1 AND\n\tb = 2");
        rewrites(r#"x = 1 AND"a" != 1"#, r#"x = 1 AND NOT "a" = 1"#);
        rewrites(r#"NOT'a' != 1"#, r#"NOT NOT 'a' = 1"#);
    }

    #[test]
    fn beside_every_other_condition() {
        for other in [
            "a = 1",
            "a > 1",
            "a>=1",
            "a < 1",
            "a<=1",
            "a 1 TO 5",
            "a EXISTS",
            "a NOT EXISTS",
            "a IS NULL",
            "a IS NOT NULL",
            "a IS EMPTY",
            "a IS NOT EMPTY",
            "a IN [1, 'x', \"y\",]",
            "a NOT IN[]",
            "a CONTAINS x",
            "a NOT CONTAINS 'x'",
            "a STARTS WITH x",
            "a NOT STARTS WITH 'x'",
            "_geoRadius(45.4, 9.1, 2000)",
            "_geoBoundingBox([45.4, 9.1], [45, 8])",
            "_geoPolygon([1, 2], [3, 4], [5, 6])",
            "_foreign(author, name != 'x (y')",
        ] {
            assert!(parses(other), "{other}");
            rewrites(
                &format!("{other} AND b != 2"),
                &format!("{other} AND NOT b = 2"),
            );
            rewrites(
                &format!("b != 2 OR ({other})"),
                &format!("NOT b = 2 OR ({other})"),
            );
        }
        // No space is needed after a keyword that ends a condition.
        rewrites("(a EXISTS)AND(b != 1)", "(a EXISTS)AND(NOT b = 1)");
    }

    #[test]
    fn keywords_are_upper_case_only() {
        rewrites("and != or", "NOT and = or");
        unchanged("a != 1 and b != 2");
        unchanged("not a != 1");
    }

    #[test]
    fn malformed_filters_are_left_for_the_node_to_refuse() {
        for filter in [
            "a !=",
            "!= b",
            "a != b c",
            "a ! = b",
            "a != (b)",
            "a != b AND",
            "(a != b",
            "a != b)",
            "a != 'b",
            "a != b != c",
            "AND != b",
            "a != NULL",
            "a != b OR OR c = 1",
            "a IN [1 != 2]",
            "_geoRadius(1 != 2",
            "a != 'b\\",
            "NOT",
            "a == b != c",
            "a = _geoRadius(1,2,3) AND b != 1",
            "",
        ] {
            unchanged(filter);
        }
        unchanged(&format!("{}a != 1{}", "(".repeat(5000), ")".repeat(5000)));
    }
}
