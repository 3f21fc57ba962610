//! The words of a query as Meilisearch's engine reads them: its own tokenizer (`charabia`) with the index's settings, and the rules of milli
//! `search/new/query_term/parse_query.rs`.
//!
//! Where Japanese and Korean words end only nodes know: the tokenizer's dictionaries for these are nothing that a package registry has. All
//! others are here as they are in Meilisearch's releases.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};
use charabia::normalizer::{ClassifierOption, NormalizerOption};
use charabia::separators::DEFAULT_SEPARATORS;
use charabia::{Language, Normalize, Script, Segment, SeparatorKind, Token, TokenKind};
use fst::Set;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// milli looks at so many terms of a query,
const TERMS_MAX: usize = 10;
/// and at so many tokens.
const TOKENS_MAX: usize = 1000;
/// Longer words are none to milli.
const WORD_BYTES_MAX: usize = 200;
/// Parts a word from what stands beside it, and changes no positions: with a full stop before it an ordinary space would end a
/// sentence.
const SPACE: &str = "\u{2003}";
/// Ends of sentences: words on both sides are no neighbours.
const ENDS: [&str; 3] = [". ", "; ", "! "];
/// No document holds it, as near as can be. Nodes let it be missing first of all.
pub const UNKNOWN: &str = "zqxjkvbwpfzqxjkvbwpf";
/// The same as a negative word, so that nothing else of a query changes.
pub const MISSING: &str = "-zqxjkvbwpfzqxjkvbwpf";

/// What an index's settings say of words, as the user wrote it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WordSettings {
    pub stop_words: Vec<String>,
    pub separators: Vec<String>,
    pub non_separators: Vec<String>,
    pub dictionary: Vec<String>,
    /// The languages of all `localizedAttributes`,
    pub locales: Vec<String>,
    /// which are those of each attribute.
    pub locales_of_all: bool,
    /// What has synonyms as several words together, normalised and written as one.
    pub joined_synonyms: Vec<String>,
    pub typos: TypoSettings,
    #[serde(skip)]
    tokenizer: Lazy,
}

/// How many typos a word may have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct TypoSettings {
    enabled: bool,
    /// Words of so many bytes may have one,
    one_from: usize,
    /// and two.
    two_from: usize,
    /// Normalised.
    none_in: Vec<String>,
}

impl Default for TypoSettings {
    fn default() -> Self {
        TypoSettings {
            enabled: true,
            one_from: 5,
            two_from: 9,
            none_in: Vec::new(),
        }
    }
}

/// Made of the settings when a search first needs it.
#[derive(Default)]
struct Lazy(OnceLock<Tokenizer>);

struct Tokenizer {
    /// Normalised.
    stop_words: Option<Set<Vec<u8>>>,
    /// All of them, where they are not the engine's own.
    separators: Option<Vec<String>>,
    /// Finds separators and words of the dictionary, where they are not the engine's own.
    finder: Option<AhoCorasick>,
}

/// A query's terms, in their order.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Query {
    pub terms: Vec<Term>,
    /// What counts of the query: what stands behind the last term that is looked at is none.
    pub text: String,
    /// Words and phrases that documents must not have.
    negatives: Vec<Vec<Option<String>>>,
}

/// A word or a phrase that documents are to have.
#[derive(Debug, PartialEq, Eq)]
pub struct Term {
    /// Where it stands in the text; of a phrase, its first word.
    pub place: Range<usize>,
    /// Normalised; of a phrase, without stop words.
    words: Vec<Option<String>>,
    positions: (u16, u16),
    is_phrase: bool,
    /// Words that begin with it match.
    is_prefix: bool,
    /// Another word begins where it ends.
    joined: bool,
}

impl WordSettings {
    /// Of an index's settings, as Meilisearch shows or takes them.
    pub fn of(settings: &Value) -> Self {
        let list = |value: &Value| -> Vec<String> {
            let items = value.as_array().into_iter().flatten();
            items
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        // The first rule that matches an attribute goes for it.
        let localized: Vec<(Vec<String>, Vec<String>)> = settings["localizedAttributes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|rule| (list(&rule["attributePatterns"]), list(&rule["locales"])))
            .collect();
        let of_all = localized.first().filter(|(patterns, locales)| {
            patterns.iter().any(|pattern| pattern == "*") && !locales.is_empty()
        });
        let synonyms = settings["synonyms"].as_object().into_iter().flatten();
        WordSettings {
            stop_words: list(&settings["stopWords"]),
            separators: list(&settings["separatorTokens"]),
            non_separators: list(&settings["nonSeparatorTokens"]),
            dictionary: list(&settings["dictionary"]),
            locales_of_all: of_all.is_some(),
            locales: match of_all {
                Some((_, locales)) => locales.clone(),
                None => localized
                    .iter()
                    .flat_map(|(_, locales)| locales.clone())
                    .collect(),
            },
            typos: TypoSettings::of(&settings["typoTolerance"]),
            joined_synonyms: synonyms
                .map(|(text, _)| text.trim().to_lowercase())
                .filter(|text| !text.chars().all(char::is_alphanumeric))
                .map(|text| {
                    let words = text.split(|c: char| !c.is_alphanumeric());
                    words.map(normalized).collect()
                })
                .collect(),
            tokenizer: Lazy::default(),
        }
    }

    /// Reads a query. `locales`: those that the request names. `None`: only nodes know what its words are.
    pub fn read(&self, query: &str, locales: &[String]) -> Option<Query> {
        let mut read = self.read_alike(query, locales)?;
        // What is left of it must be the same.
        if read.text != query {
            let text = std::mem::take(&mut read.text);
            let again = self.read_alike(&text, locales)?;
            if again.terms != read.terms || again.negatives != read.negatives {
                return None;
            }
            read.text = text;
        }
        Some(read)
    }

    /// Reads a query as it stands. Where the request names no languages, the engine takes those of the attributes that a node knows: if these
    /// are not the same on all nodes, the query must read alike in each of them, and in any language.
    fn read_alike(&self, query: &str, locales: &[String]) -> Option<Query> {
        let tokenizer = self.tokenizer.0.get_or_init(|| Tokenizer::of(self));
        let sure = match locales {
            [] => Some(&self.locales[..]).filter(|_| self.locales_of_all),
            named => Some(named),
        };
        if let Some(locales) = sure {
            return tokenizer.read(query, Some(&languages(locales)?));
        }
        let read = tokenizer.read(query, None)?;
        let alike = |language: &Language| {
            let localized = tokenizer.read(query, Some(std::slice::from_ref(language)));
            localized.as_ref() == Some(&read)
        };
        languages(&self.locales)?.iter().all(alike).then_some(read)
    }

    /// The query without some of its words: a negative one stands for each. Where none can ([`WordSettings::has_negatives`]), the query is parted
    /// there: it finds the same, and what follows stands farther from its start. `None`: the engine would read anything else otherwise than before.
    pub fn leave_out(&self, query: &Query, words: &[usize], locales: &[String]) -> Option<String> {
        let negative = self.replace(query, words, MISSING, locales);
        let parted = |end: &&'static str| self.part_at(query, words, end, locales);
        negative.or_else(|| ENDS.iter().find_map(parted))
    }

    /// The query with an unknown word in the place of some of its own; `None`: as above.
    pub fn make_unknown(
        &self,
        query: &Query,
        words: &[usize],
        locales: &[String],
    ) -> Option<String> {
        self.replace(query, words, UNKNOWN, locales)
    }

    /// Whether negative words can stand in this query: not where `-` parts no words.
    pub fn has_negatives(&self, query: &Query, locales: &[String]) -> bool {
        let all: Vec<usize> = query.words().collect();
        self.replace(query, &all, MISSING, locales).is_some()
    }

    /// The query with the end of a sentence in the place of some of its words.
    fn part_at(
        &self,
        query: &Query,
        words: &[usize],
        end: &str,
        locales: &[String],
    ) -> Option<String> {
        let mut text = query.text.clone();
        for &at in words.iter().rev() {
            text.replace_range(query.terms.get(at)?.place.clone(), end);
        }
        let read = self.read(&text, locales)?;
        let terms = query.terms.iter().enumerate();
        let left = terms.filter(|(at, _)| !words.contains(at));
        let left: Vec<&Term> = left.map(|(_, term)| term).collect();
        let mut pairs = read.terms.iter().zip(&left);
        let same = read.terms.len() == left.len() && pairs.all(|(a, b)| a.has_words_of(b));
        let mut neighbours = read.terms.windows(2).zip(left.windows(2));
        let apart = neighbours.all(|(a, b)| a[1].follows(&a[0]) == b[1].follows(b[0]));
        (same && apart && read.negatives == query.negatives).then_some(text)
    }

    /// The query with another word in the place of some of its terms. With a dash before it that word is to be a negative one.
    /// `None`: the engine would read anything else otherwise than before.
    fn replace(
        &self,
        query: &Query,
        terms: &[usize],
        with: &str,
        locales: &[String],
    ) -> Option<String> {
        let mut text = query.text.clone();
        for &at in terms.iter().rev() {
            let term = query.terms.get(at)?;
            let before = query.text.get(..term.place.start)?;
            let parted = before.is_empty() || before.ends_with(char::is_whitespace);
            let before = if parted { "" } else { SPACE };
            let behind = if term.joined { SPACE } else { "" };
            text.replace_range(term.place.clone(), &format!("{before}{with}{behind}"));
        }
        let read = self.read(&text, locales)?;
        let is_replaced = |term: &Term, old: &Term| {
            !with.starts_with('-') && term.words == [Some(with.to_owned())] && !old.is_phrase
        };
        let mut left = read.terms.iter();
        let same = query.terms.iter().enumerate().all(|(at, old)| {
            if terms.contains(&at) {
                return with.starts_with('-')
                    || left.next().is_some_and(|term| {
                        is_replaced(term, old) && term.positions == old.positions
                    });
            }
            left.next().is_some_and(|term| term.is_as(old))
        });
        let mut negatives = read.negatives;
        if let Some(negative) = with.strip_prefix('-') {
            let all = negatives.len();
            negatives.retain(|words| *words != [Some(negative.to_owned())]);
            if all - negatives.len() != terms.len() {
                return None;
            }
        }
        (same && left.next().is_none() && negatives == query.negatives).then_some(text)
    }
}

impl TypoSettings {
    fn of(settings: &Value) -> Self {
        let default = TypoSettings::default();
        let from = |name: &str| {
            let size = settings["minWordSizeForTypos"][name].as_u64()?;
            usize::try_from(size).ok()
        };
        let words = settings["disableOnWords"].as_array().into_iter().flatten();
        TypoSettings {
            enabled: settings["enabled"].as_bool().unwrap_or(default.enabled),
            one_from: from("oneTypo").unwrap_or(default.one_from),
            two_from: from("twoTypos").unwrap_or(default.two_from),
            none_in: words.filter_map(Value::as_str).map(normalized).collect(),
        }
    }

    /// The most typos that the engine counts for a word (milli `query_term/mod.rs`, `max_typo_cost`): that it is written as two is one.
    fn most_in(&self, word: &str) -> u64 {
        let two = self.enabled
            && word.len() >= self.two_from.max(self.one_from)
            && !self.none_in.iter().any(|none| none == word);
        1 + u64::from(two)
    }
}

fn normalized(word: &str) -> String {
    word.normalize(&NormalizerOption::default()).into_owned()
}

impl Query {
    /// The most typos that the engine counts for one of its words where that stands by itself.
    pub fn most_typos(&self, at: usize, settings: &WordSettings) -> u64 {
        let term = self.terms.get(at).filter(|term| !term.is_phrase);
        let words = term.iter().flat_map(|term| term.words.iter().flatten());
        words.map(|word| settings.typos.most_in(word)).sum()
    }

    /// A query for some neighbouring words alone; `None`: it would be read as something else.
    pub fn part(
        &self,
        terms: Range<usize>,
        settings: &WordSettings,
        locales: &[String],
    ) -> Option<String> {
        let (terms, text) = self.neighbours(terms)?;
        let (first, last) = (terms.first()?, terms.last()?);
        let mut text = text.to_owned();
        if !last.is_prefix {
            text.push(' ');
        }
        let read = settings.read(&text, locales)?;
        let same = read.negatives.is_empty()
            && read.terms.len() == terms.len()
            && read.terms.iter().zip(terms).all(|(read, term)| {
                read.has_words_of(term)
                    && read.positions.0 == term.positions.0.wrapping_sub(first.positions.0)
            });
        same.then_some(text)
    }

    /// Neighbouring terms, and what the query has from the first to the last of them.
    fn neighbours(&self, terms: Range<usize>) -> Option<(&[Term], &str)> {
        let terms = self.terms.get(terms)?;
        let place = terms.first()?.place.start..terms.last()?.place.end;
        Some((terms, self.text.get(place)?))
    }

    /// Neighbouring words that the engine also looks for as one word: two or three of them (milli `query_graph.rs`, `make_ngram`).
    pub fn joinable(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let places =
            (2..=3).flat_map(|size| (size..=self.terms.len()).map(move |end| end - size..end));
        places.filter(|terms| {
            let terms = &self.terms[terms.clone()];
            let mut pairs = terms.windows(2);
            pairs.all(|two| two[1].follows(&two[0])) && terms.iter().all(|term| !term.is_phrase)
        })
    }

    /// A query that finds all documents with these words as one in which they do not stand one behind the other, and no others where it can have
    /// negative words; `None`: it would be read as something else, or there are synonyms for them together.
    pub fn joined(
        &self,
        terms: Range<usize>,
        settings: &WordSettings,
        locales: &[String],
    ) -> Option<String> {
        let (terms, apart) = self.neighbours(terms)?;
        let last = terms.last()?;
        let words: Vec<Option<String>> = terms.iter().flat_map(|term| term.words.clone()).collect();
        let joined: String = words.iter().flatten().map(String::as_str).collect();
        if settings.joined_synonyms.contains(&joined) {
            return None;
        }
        let end = if last.is_prefix { "" } else { " " };
        let joined = [Some(joined)];
        let is_joined = |read: &Query| match read.terms.as_slice() {
            [one] => !one.is_phrase && one.is_prefix == last.is_prefix && one.words == joined,
            _ => false,
        };
        let one = format!("{}{end}", joined[0].as_deref()?);
        let text = format!("-\"{apart}\" {one}");
        let read = settings.read(&text, locales)?;
        if is_joined(&read) && read.negatives == [words] {
            return Some(text);
        }
        let read = settings.read(&one, locales)?;
        let has_negatives = settings.has_negatives(self, locales);
        (!has_negatives && is_joined(&read) && read.negatives.is_empty()).then_some(one)
    }

    /// The query for documents that have some of another's words as one besides, as that stands in it and nothing else. `None`: it would be read as
    /// something else.
    pub fn beside_joined(
        &self,
        of: &Query,
        terms: Range<usize>,
        settings: &WordSettings,
        locales: &[String],
    ) -> Option<String> {
        let words = of.terms.get(terms)?.iter().flat_map(|term| &term.words);
        let joined: String = words.flatten().map(String::as_str).collect();
        let text = format!("\"{joined}\" {}", self.text);
        let read = settings.read(&text, locales)?;
        let (one, others) = read.terms.split_first()?;
        let mut pairs = others.iter().zip(&self.terms);
        let is_added = one.is_phrase
            && one.words == [Some(joined)]
            && others.len() == self.terms.len()
            && pairs.all(|(read, term)| read.has_words_of(term))
            && read.negatives == self.negatives;
        is_added.then_some(text)
    }

    /// The words, which may be missing; phrases may not.
    pub fn words(&self) -> impl Iterator<Item = usize> + '_ {
        let terms = self.terms.iter().enumerate();
        terms.filter(|(_, term)| !term.is_phrase).map(|(at, _)| at)
    }

    pub fn has_phrases(&self) -> bool {
        self.terms.iter().any(|term| term.is_phrase)
    }

    /// So many words stand in its phrases, stop words not counted.
    pub fn words_in_phrases(&self) -> usize {
        let phrases = self.terms.iter().filter(|term| term.is_phrase);
        phrases
            .map(|term| term.words.iter().flatten().count())
            .sum()
    }
}

impl Term {
    fn is_as(&self, other: &Term) -> bool {
        self.has_words_of(other) && self.positions == other.positions
    }

    /// Whether they are neighbours.
    fn follows(&self, other: &Term) -> bool {
        other.positions.1.wrapping_add(1) == self.positions.0
    }

    fn has_words_of(&self, other: &Term) -> bool {
        self.words == other.words
            && self.is_phrase == other.is_phrase
            && self.is_prefix == other.is_prefix
    }
}

impl Tokenizer {
    fn of(settings: &WordSettings) -> Self {
        let own = |list: &[String]| -> BTreeSet<String> { list.iter().cloned().collect() };
        // As milli's settings keep them.
        let stop_words: BTreeSet<String> = settings
            .stop_words
            .iter()
            .map(|word| normalized(word))
            .collect();
        let stop_words = (!stop_words.is_empty())
            .then(|| Set::from_iter(stop_words).ok())
            .flatten();
        let has_own = !settings.separators.is_empty() || !settings.non_separators.is_empty();
        let separators = has_own.then(|| {
            let mut all = own(&settings.separators);
            all.extend(DEFAULT_SEPARATORS.iter().map(|text| text.to_string()));
            for none in &settings.non_separators {
                all.remove(none);
            }
            all.into_iter().collect::<Vec<String>>()
        });
        let found = |text: &&str| !text.is_empty();
        let finder = (has_own || !settings.dictionary.is_empty()).then(|| {
            let patterns = settings.dictionary.iter().map(String::as_str);
            let patterns: Vec<&str> = match &separators {
                Some(own) => patterns
                    .chain(own.iter().map(String::as_str))
                    .filter(found)
                    .collect(),
                None => patterns
                    .chain(DEFAULT_SEPARATORS.iter().copied())
                    .filter(found)
                    .collect(),
            };
            let builder = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(&patterns);
            builder.ok().filter(|_| !patterns.is_empty())
        });
        Tokenizer {
            stop_words,
            separators,
            finder: finder.flatten(),
        }
    }

    /// `languages`: the query is in one of these.
    fn read(&self, query: &str, languages: Option<&[Language]>) -> Option<Query> {
        let separators: Option<Vec<&str>> = self
            .separators
            .as_ref()
            .map(|list| list.iter().map(String::as_str).collect());
        let stop_words = self.stop_words.as_ref();
        let options = NormalizerOption {
            create_char_map: false,
            classifier: ClassifierOption {
                stop_words: stop_words.and_then(|set| Set::new(set.as_fst().as_bytes()).ok()),
                separators: separators.as_deref(),
            },
            lossy: true,
        };
        let tokens = query
            .segment_with_option(self.finder.as_ref(), languages)
            .normalize(&options)
            .take(TOKENS_MAX);
        let mut reader = Reader::new();
        let mut tokens = tokens.peekable();
        while let Some(token) = tokens.next() {
            if token.lemma().is_empty() {
                continue;
            }
            if reader.read.terms.len() >= TERMS_MAX {
                reader.read.text = format!("{} ", query.get(..token.byte_start)?);
                return Some(reader.read);
            }
            if token.is_word() || token.is_stopword() {
                let text = query.get(token.byte_start..token.byte_end)?;
                if text.len() > WORD_BYTES_MAX || lacks_dictionary(&token, text) {
                    return None;
                }
            }
            reader.take(&token, tokens.peek().is_none());
        }
        reader.end_phrase();
        reader.read.text = query.to_owned();
        Some(reader.read)
    }
}

/// Whether Meilisearch's releases may part words here that this program does not: Japanese and Korean ones.
fn lacks_dictionary(token: &Token, text: &str) -> bool {
    match token.script {
        Script::Cj => token.language == Some(Language::Jpn),
        Script::Hangul => text.chars().nth(1).is_some(),
        _ => false,
    }
}

/// The languages that locales name: ISO 639-1 and 639-3 codes, of what the tokenizer knows (`meilisearch-types/src/locales.rs`).
fn languages(locales: &[String]) -> Option<Vec<Language>> {
    const CODES: &str = "af afr ak aka am amh ar ara az aze be bel bn ben bg bul ca cat cs ces da dan de deu el ell en eng eo epo \
        et est fi fin fr fra gu guj he heb hi hin hr hrv hu hun hy hye id ind it ita jv jav ja jpn kn kan ka kat km khm ko kor \
        la lat lv lav lt lit ml mal mr mar mk mkd my mya ne nep nl nld nb nob or ori pa pan fa pes pl pol pt por ro ron ru rus \
        si sin sk slk sl slv sn sna es spa sr srp sv swe ta tam te tel tl tgl th tha tk tuk tr tur uk ukr ur urd uz uzb vi vie \
        yi yid zh zho zu zul";
    let language = |locale: &String| {
        let mut codes = CODES.split(' ');
        let code = match locale.len() {
            2 => codes.find(|code| code == locale).and(codes.next())?,
            _ => locale,
        };
        Language::from_code(code)
    };
    locales.iter().map(language).collect()
}

/// A query that is being read.
struct Reader {
    read: Query,
    position: u16,
    /// A dash here makes negative.
    after_space: bool,
    /// What begins here is negative.
    negates: bool,
    phrase: Option<Phrase>,
    /// Where the last word ended.
    word_end: Option<usize>,
}

struct Phrase {
    words: Vec<Option<String>>,
    place: Range<usize>,
    positions: (u16, u16),
    is_negative: bool,
}

impl Reader {
    fn new() -> Self {
        Reader {
            read: Query::default(),
            // The first word's is the next one.
            position: u16::MAX,
            after_space: true,
            negates: false,
            phrase: None,
            word_end: None,
        }
    }

    fn take(&mut self, token: &Token, is_last: bool) {
        match token.kind {
            TokenKind::Word | TokenKind::StopWord => self.word(token, is_last),
            TokenKind::Separator(kind) => self.separator(token, kind),
            TokenKind::Unknown => {}
        }
        self.after_space = token.lemma().ends_with(char::is_whitespace);
    }

    fn word(&mut self, token: &Token, is_last: bool) {
        self.position = self.position.wrapping_add(1);
        let place = token.byte_start..token.byte_end;
        let joined = self.word_end == Some(place.start);
        self.word_end = Some(place.end);
        if let Some(last) = self.read.terms.last_mut().filter(|_| joined) {
            last.joined = last.place.end == place.start;
        }
        let word = (!token.is_stopword()).then(|| token.lemma().to_owned());
        if let Some(phrase) = &mut self.phrase {
            if phrase.words.iter().all(Option::is_none) {
                phrase.place = place;
                phrase.positions.0 = self.position;
            }
            phrase.positions.1 = self.position;
            phrase.words.push(word);
        } else if std::mem::take(&mut self.negates) {
            // A stop word, too.
            self.read
                .negatives
                .push(vec![Some(token.lemma().to_owned())]);
        } else if word.is_some() || is_last {
            self.read.terms.push(Term {
                place,
                words: vec![Some(token.lemma().to_owned())],
                positions: (self.position, self.position),
                is_phrase: false,
                is_prefix: is_last,
                joined: false,
            });
        }
    }

    fn separator(&mut self, token: &Token, kind: SeparatorKind) {
        let is_hard = kind == SeparatorKind::Hard;
        if is_hard {
            self.position = self.position.wrapping_add(7);
            if let Some(is_negative) = self.end_phrase() {
                self.begin_phrase(is_negative);
            }
        }
        let mut quotes = token.lemma().chars().filter(|&c| c == '"').count();
        if quotes > 0 {
            quotes -= usize::from(self.end_phrase().is_some());
            if quotes % 2 == 1 {
                self.begin_phrase(self.negates);
            }
        }
        self.negates = self.phrase.is_none() && token.lemma() == "-" && self.after_space;
    }

    fn begin_phrase(&mut self, is_negative: bool) {
        self.phrase = Some(Phrase {
            words: Vec::new(),
            place: 0..0,
            positions: (0, 0),
            is_negative,
        });
    }

    /// Ends the phrase that is open, and says whether it is a negative one.
    fn end_phrase(&mut self) -> Option<bool> {
        let phrase = self.phrase.take()?;
        let is_negative = phrase.is_negative;
        if phrase.words.iter().any(Option::is_some) {
            if is_negative {
                self.read.negatives.push(phrase.words);
            } else {
                self.read.terms.push(Term {
                    place: phrase.place,
                    words: phrase.words,
                    positions: phrase.positions,
                    is_phrase: true,
                    is_prefix: false,
                    joined: false,
                });
            }
        }
        Some(is_negative)
    }
}

impl Clone for Lazy {
    fn clone(&self) -> Self {
        Lazy::default()
    }
}

impl PartialEq for Lazy {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Lazy {}

impl std::fmt::Debug for Lazy {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("..")
    }
}

#[cfg(test)]
mod tests;
