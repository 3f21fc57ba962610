//! What is asked: all queries together, or some of them apart.

use miroir_api::Error;
use miroir_router::{Index, RoutingTable, SearchSettings, Version};

use super::request::{Federation, Query};
use super::rules::Counted;
use crate::core::{visible_index, App};
use crate::search::{
    decide, shown_key, Frequency, Halves, Kind, Needed, Part, PlannedSearch, SearchBody, Undecided,
    Unsupported,
};

/// A federated search that is ready to be asked.
pub(super) struct Search<'t> {
    pub app: &'t App,
    /// The lowest of the nodes' versions.
    pub version: Version,
    several_nodes: bool,
    pub federation: Federation,
    /// Those that are searched, each once, in the order of the request.
    pub indexes: Vec<&'t Index>,
    pub queries: Vec<Planned>,
    /// Those whose facets are asked for.
    pub counted: Vec<&'t Index>,
    /// By place among the indexes: where queries are asked apart, so that documents must be told apart here.
    pub told_apart: Vec<bool>,
}

pub(super) struct Planned {
    /// Its index, by position in the search's list.
    pub index: usize,
    pub search: PlannedSearch,
    pub weight: f64,
    pub way: Way,
    /// Frequent words may be missing.
    pub frequency: Option<Box<Frequency>>,
    /// How what counts goes with other queries then.
    counted: Counted,
    /// What counts, where that is another search.
    counting: Option<Vec<SearchBody>>,
    /// Meaning has a part in it.
    pub semantic: bool,
}

/// How a query is asked.
pub(super) enum Way {
    /// With the others.
    Together,
    /// By itself: its distinct attribute is hidden, and stands where nodes tell its values; or the index is asked several times,
    /// and a document that a node shows under another query would not count as seen in this one; or its frequent words may be missing.
    Alone,
    /// By itself, by words (the planned search) and by meaning.
    Halves(Box<Halves>),
}

impl Planned {
    pub fn is_together(&self) -> bool {
        matches!(self.way, Way::Together)
    }

    /// What nodes are asked for its hits by words: once, or for each set of words that may be missing.
    pub fn by_words(&self) -> Vec<&SearchBody> {
        match self.levels() {
            Some(frequency) => frequency.listing().iter().collect(),
            None => vec![self.search.body()],
        }
    }

    /// Where they are asked for each set of words.
    pub fn levels(&self) -> Option<&Frequency> {
        let frequency = self.frequency.as_deref();
        frequency.filter(|frequency| !frequency.searches().is_empty())
    }

    /// What counts for its totals where it goes by words: what any of these finds.
    pub fn counting_bodies(&self, part: Part) -> Vec<Vec<u8>> {
        let counting = match &self.counting {
            Some(counting) => counting,
            None => std::slice::from_ref(self.search.body()),
        };
        let bodies = counting.iter().map(|body| body.federated_body(part));
        bodies.collect()
    }

    /// The searches that count where frequent words may be missing.
    fn counting_levels(&self) -> Option<Vec<SearchBody>> {
        let counted = |body: &SearchBody| SearchBody {
            sort: body.sort.clone().filter(|_| self.counted.is_sorted()),
            ..body.clone()
        };
        Some(self.levels()?.counted().iter().map(counted).collect())
    }

    /// Searches that count, each for all its words and not sorted. `None`: it cannot be counted so.
    fn counting_alike(&self, settings: &SearchSettings) -> Option<Vec<SearchBody>> {
        // One by words and by meaning may be counted by meaning.
        if self.semantic {
            return None;
        }
        let mut counting = match self.levels() {
            Some(frequency) => frequency.counted().to_vec(),
            None => self.search.body().by_all_words(settings)?,
        };
        counting.iter_mut().for_each(|body| body.sort = None);
        Some(counting)
    }

    /// Whether nodes refuse what counts beside other queries than its like.
    fn is_counted_apart(&self) -> bool {
        self.levels().is_some() && self.counted == Counted::Apart
    }
}

impl<'t> Search<'t> {
    /// Errors: what a client may not ask, with the query's position where it is about a query.
    pub fn prepare(
        app: &'t App,
        table: &'t RoutingTable,
        federation: Federation,
        queries: Vec<Query>,
    ) -> Result<Self, (Option<usize>, Error)> {
        if table.search_rules {
            let error =
                Error::not_implemented("federated searches while there are dynamic search rules");
            return Err((None, error));
        }
        let counted = federation.facets_by_index.keys();
        let counted: Result<_, Error> = counted.map(|uid| named(table, uid)).collect();
        let mut search = Search {
            app,
            version: table.lowest_version(),
            several_nodes: table.nodes.len() > 1,
            counted: counted.map_err(|error| (None, error))?,
            federation,
            indexes: Vec::new(),
            queries: Vec::with_capacity(queries.len()),
            told_apart: Vec::new(),
        };
        let mut places = Vec::with_capacity(queries.len());
        for (position, query) in queries.iter().enumerate() {
            let place = search.place(table, query);
            places.push(place.map_err(|error| (Some(position), error))?);
        }
        for (place, query) in places.iter().zip(&queries) {
            let apart = search.goes_apart(&places, *place, &query.body);
            search.told_apart[*place] |= apart;
        }
        for (position, (place, query)) in places.into_iter().zip(queries).enumerate() {
            search
                .add(place, query)
                .map_err(|error| (Some(position), error))?;
        }
        Ok(search)
    }

    /// The place of a query's index.
    fn place(&mut self, table: &'t RoutingTable, query: &Query) -> Result<usize, Error> {
        let index = named(table, &query.uid)?;
        let place = self.indexes.iter().position(|known| known.uid == index.uid);
        let place = place.unwrap_or_else(|| {
            self.indexes.push(index);
            self.told_apart.push(false);
            self.indexes.len() - 1
        });
        Ok(place)
    }

    /// Whether a query is not asked with the others; `places` are those of all queries.
    fn goes_apart(&self, places: &[usize], place: usize, body: &SearchBody) -> bool {
        let index = self.indexes[place];
        let settings = &index.settings;
        let distinct = self.federation.distinct.is_none() && body.is_distinct(settings);
        let several = || places.iter().filter(|other| **other == place).count() > 1;
        // Documents of an index that is asked several times must be told apart.
        matches!(self.kind(body), Kind::Both(_))
            || (body.goes_by_frequency() && self.may_decide(index))
            || (distinct
                && (body.hides_distinct(settings) || (several() && shown_key(index).is_some())))
    }

    /// Whether it may be decided here which words are missing: where several nodes' hits can be told apart.
    fn may_decide(&self, index: &Index) -> bool {
        self.several_nodes && shown_key(index).is_some()
    }

    fn kind(&self, body: &SearchBody) -> Kind {
        body.kind(self.version)
    }

    fn add(&mut self, place: usize, query: Query) -> Result<(), Error> {
        let Query {
            mut body, options, ..
        } = query;
        body.check_reserved()?;
        let index = self.indexes[place];
        body.hide(&index.settings);
        let overridden;
        let settings: &SearchSettings = match self.federation.distinct {
            // Overrides the index's own; nodes send its values on the side.
            Some(_) => {
                overridden = SearchSettings {
                    distinct_attribute: None,
                    ..(*index.settings).clone()
                };
                &overridden
            }
            None => &index.settings,
        };
        let unsupported = |unsupported: Unsupported| Error::not_implemented(unsupported.0);
        let kind = self.kind(&body);
        let semantic = kind != Kind::Words;
        let (search, way) = match kind {
            Kind::Both(ratio) => {
                let (words, halves) = body
                    .plan_by_both(ratio, index.primary_key.as_deref(), false, settings)
                    .map_err(unsupported)?;
                (words, Way::Halves(Box::new(halves)))
            }
            Kind::Words | Kind::Meaning => {
                // Where documents must be told apart one that is hidden is refused.
                let primary_key = index.primary_key.as_deref();
                let primary_key = primary_key.filter(|_| self.told_apart[place]);
                let needed = match primary_key.or(shown_key(index)) {
                    Some(field) => body.need(field, settings).map_err(unsupported)?,
                    None => Needed::default(),
                };
                let mut search = if semantic {
                    body.plan_by_meaning(settings)
                } else {
                    body.plan(settings)
                }
                .map_err(unsupported)?;
                search.strip(&needed);
                let alone = search.hides_distinct()
                    || (search.distinct.is_some() && self.told_apart[place]);
                let way = if alone { Way::Alone } else { Way::Together };
                (search, way)
            }
        };
        let primary_key = shown_key(index).filter(|_| self.several_nodes);
        let frequency = primary_key
            .filter(|_| kind != Kind::Meaning)
            .and_then(|key| Frequency::of(index, key, &search, true));
        let sort = search.body().sort.as_deref().unwrap_or_default();
        let counted = Counted::of(&index.settings, sort);
        let way = match way {
            Way::Together if frequency.is_some() => Way::Alone,
            way => way,
        };
        self.queries.push(Planned {
            index: place,
            search,
            frequency: frequency.map(Box::new),
            counted,
            counting: None,
            weight: options.weight,
            way,
            semantic,
        });
        Ok(())
    }

    /// Decides which words may be missing.
    pub async fn decide(&mut self, table: &RoutingTable) {
        let indexes = &self.indexes;
        let undecided = self.queries.iter_mut().filter_map(|query| {
            Some(Undecided {
                index: indexes[query.index],
                planned: &mut query.search,
                frequency: query.frequency.as_deref_mut()?,
            })
        });
        decide(self.app, table, undecided.collect()).await;
        for query in &mut self.queries {
            query.counting = query.counting_levels();
        }
        for (index, searched) in self.indexes.iter().enumerate() {
            let queries = self.queries.iter_mut();
            let of_index = queries.filter(|query| query.index == index).collect();
            count_alike(of_index, &searched.settings);
        }
    }

    /// Whether what all queries find is counted for each index by itself.
    pub fn is_counted_by_index(&self) -> bool {
        self.indexes.len() > 1 && self.queries.iter().any(Planned::is_counted_apart)
    }

    /// Facets are merged here, so no node sees that two indexes order them differently; what counts may go with queries that the client's
    /// does not go with; and without queries no node is asked.
    pub fn needs_a_judge(&self) -> bool {
        let order = |index: &Index| index.settings.sort_facet_values_by.clone();
        let differ = self
            .counted
            .windows(2)
            .any(|two| order(two[0]) != order(two[1]));
        let goes_with_more =
            |query: &Planned| query.frequency.is_some() && query.counted != Counted::Alike;
        let hides = self.queries.len() > 1 && self.queries.iter().any(goes_with_more);
        self.queries.is_empty() || hides || (self.federation.merge_facets.is_some() && differ)
    }
}

/// Where nodes would refuse what counts for a query beside others of its index, these are counted by all their words, too; where that cannot
/// be, nodes decide which are missing: a union is counted in one request.
fn count_alike(queries: Vec<&mut Planned>, settings: &SearchSettings) {
    if queries.len() < 2 || !queries.iter().any(|query| query.is_counted_apart()) {
        return;
    }
    let counting = queries.iter().map(|query| query.counting_alike(settings));
    let counting: Option<Vec<_>> = counting.collect();
    match counting {
        Some(counting) => {
            for (query, counting) in queries.into_iter().zip(counting) {
                query.counting = Some(counting);
            }
        }
        None => {
            for query in queries.into_iter().filter(|query| query.is_counted_apart()) {
                (query.frequency, query.counting) = (None, None);
            }
        }
    }
}

/// The index that a query names. The resource that the URL names is there, so the status is not 404 (as Meilisearch has it).
fn named<'t>(table: &'t RoutingTable, uid: &str) -> Result<&'t Index, Error> {
    match visible_index(table, uid) {
        Ok(index) => Ok(index),
        Err(error) => Err(Error {
            status: 400,
            ..error
        }),
    }
}
