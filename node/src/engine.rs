//! Batches onto an index.
//!
//! The steps are those of `crates/index-scheduler/src/scheduler/process_index_operation.rs` at 1.15.1. Everything a
//! batch does to an index is one transaction of the engine: after a crash the index is as before the batch or as after
//! it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bumpalo::collections::CollectIn;
use bumpalo::Bump;
use memmap2::{Mmap, MmapMut};
use milli_core as milli;
use milli_core::documents::PrimaryKey;
use milli_core::heed::{RoTxn, RwTxn};
use milli_core::index::IndexEmbeddingConfig;
use milli_core::progress::Progress;
use milli_core::update::new::indexer;
use milli_core::update::new::indexer::document_changes::DocumentChanges;
use milli_core::update::{IndexerConfig, Settings as SettingsBuilder};
use milli_core::vector::{Embedder, EmbedderOptions, EmbeddingConfigs};
use milli_core::{FieldsIdsMap, Filter, Index, ThreadPoolNoAbort, ThreadPoolNoAbortBuilder};
use miroir_api::Error;
use roaring::RoaringBitmap;
use serde_json::json;
use serde_json::value::RawValue;

use crate::batch::Plan;
use crate::error::{heed_error, io_error, milli_error, task_error};
use crate::files::Files;
use crate::queue::Job;
use crate::settings::{self, Settings};
use crate::tasks::{Method, Status, Work};

/// Why a batch did not end.
#[derive(Debug)]
pub enum Failure {
    /// Somebody asked for a stop; nothing has happened.
    Aborted,
    /// All its tasks fail with this.
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

/// What indexing needs besides an index; made once.
pub struct Engine {
    config: IndexerConfig,
    pool: ThreadPoolNoAbort,
    /// Embedders by their configuration, because making one may load a model.
    embedders: Mutex<HashMap<EmbedderOptions, Arc<Embedder>>>,
}

/// How the one who waits for a batch follows it.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Whether the batch has to give up.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Where it says how far it is.
    pub progress: &'a Progress,
}

impl Engine {
    /// `threads`: how many index at a time. `memory`: bytes that indexing may use, the engine's default where `None`.
    pub fn new(threads: usize, memory: Option<usize>) -> Result<Engine, Error> {
        let pool = || {
            let builder = ThreadPoolNoAbortBuilder::new().thread_name(|i| format!("indexing-{i}"));
            builder
                .num_threads(threads)
                .build()
                .map_err(|e| Error::internal(e.to_string()))
        };
        // One pool in the configuration, for the settings' indexer, and one of our own: the configuration keeps its
        // pool as an option.
        let config = IndexerConfig {
            thread_pool: Some(pool()?),
            max_memory: memory,
            ..IndexerConfig::default()
        };
        Ok(Engine {
            config,
            pool: pool()?,
            embedders: Mutex::default(),
        })
    }

    /// Applies a batch of tasks of one index and gives each its status, details and error.
    pub fn apply(
        &self,
        uid: &str,
        index: &Index,
        plan: &Plan,
        jobs: &mut [Job],
        files: &Files,
        Watch { stop, progress }: Watch,
    ) -> Result<(), Failure> {
        let mut wtxn = index.write_txn().map_err(heed_error)?;
        let mut run = Run {
            engine: self,
            uid,
            index,
            stop,
            progress,
        };
        match plan {
            Plan::Documents { primary_key } => {
                run.documents(&mut wtxn, primary_key.as_deref(), jobs, files)?
            }
            Plan::Deletions { .. } => run.deletions(&mut wtxn, jobs)?,
            Plan::Edit => run.edit(&mut wtxn, jobs)?,
            Plan::Clear => run.clear(&mut wtxn, jobs)?,
            Plan::Settings => run.settings(&mut wtxn, jobs)?,
            Plan::ClearAndSettings => {
                run.clear(&mut wtxn, jobs)?;
                run.settings(&mut wtxn, jobs)?;
            }
            Plan::CreateIndex | Plan::UpdateIndex | Plan::CompactIndex | Plan::DeleteIndex => {
                return Err(Error::internal("not a batch of an index's content").into())
            }
        }
        wtxn.commit().map_err(heed_error)?;
        Ok(())
    }

    /// Sets the primary key of an index.
    pub fn set_primary_key(
        &self,
        uid: &str,
        index: &Index,
        primary_key: &str,
    ) -> Result<(), Error> {
        let mut wtxn = index.write_txn().map_err(heed_error)?;
        let mut builder = SettingsBuilder::new(&mut wtxn, index, &self.config);
        builder.set_primary_key(primary_key.to_owned());
        builder
            .execute(|_| (), || false)
            .map_err(|e| task_error(uid, e))?;
        wtxn.commit().map_err(heed_error)
    }

    /// The embedders that an index is configured with; empty for most.
    pub fn embedders(
        &self,
        uid: &str,
        configs: Vec<IndexEmbeddingConfig>,
    ) -> Result<EmbeddingConfigs, Error> {
        let mut found = HashMap::new();
        for IndexEmbeddingConfig { name, config, .. } in configs {
            let prompt = config
                .prompt
                .try_into()
                .map_err(milli::Error::from)
                .map_err(|e| task_error(uid, e))?;
            let mut known = self
                .embedders
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let embedder = match known.get(&config.embedder_options) {
                Some(embedder) => embedder.clone(),
                None => {
                    let embedder = Embedder::new(config.embedder_options.clone(), 0)
                        .map_err(|e| task_error(uid, milli::vector::Error::from(e).into()))?;
                    let embedder = Arc::new(embedder);
                    known.insert(config.embedder_options, embedder.clone());
                    embedder
                }
            };
            found.insert(
                name,
                (
                    embedder,
                    Arc::new(prompt),
                    config.quantized.unwrap_or_default(),
                ),
            );
        }
        Ok(EmbeddingConfigs::new(found))
    }
}

/// One batch under way.
struct Run<'a> {
    engine: &'a Engine,
    uid: &'a str,
    index: &'a Index,
    stop: &'a (dyn Fn() -> bool + Sync),
    progress: &'a Progress,
}

impl<'a> Run<'a> {
    fn fail(&self, error: milli::Error) -> Failure {
        match error {
            milli::Error::InternalError(milli::InternalError::AbortedIndexation) => {
                Failure::Aborted
            }
            error => Failure::Error(task_error(self.uid, error)),
        }
    }

    fn documents(
        &mut self,
        wtxn: &mut RwTxn<'a>,
        primary_key: Option<&str>,
        jobs: &mut [Job],
        files: &Files,
    ) -> Result<(), Failure> {
        let payloads = read_payloads(jobs, files)?;
        let mut payloads = payloads.iter();
        let alloc = Bump::new();
        let mut indexer = indexer::DocumentOperation::new();
        for job in jobs.iter() {
            match &job.work {
                Work::AddDocuments {
                    method, skips_new, ..
                } => {
                    let Some(payload) = payloads.next() else {
                        break;
                    };
                    match method {
                        Method::Replace => indexer.replace_documents(payload),
                        Method::Update => indexer.update_documents(payload),
                    }
                    .map_err(|e| self.fail(e))?;
                    if *skips_new {
                        let new = self.new_ids(payload, primary_key)?;
                        let ids = new.iter().map(|id| &*alloc.alloc_str(id));
                        let ids: bumpalo::collections::Vec<_> = ids.collect_in(&alloc);
                        indexer.delete_documents(ids.into_bump_slice());
                    }
                }
                Work::DeleteDocuments { ids } => {
                    let ids: bumpalo::collections::Vec<_> = ids
                        .iter()
                        .map(|id| &*alloc.alloc_str(id))
                        .collect_in(&alloc);
                    indexer.delete_documents(ids.into_bump_slice());
                }
                _ => return Err(Error::internal("not a document operation").into()),
            }
        }

        let rtxn = self.index.read_txn().map_err(heed_error)?;
        let known_fields = self.index.fields_ids_map(&rtxn).map_err(heed_error)?;
        let mut fields = known_fields.clone();
        let (changes, stats, primary_key) = indexer
            .into_changes(
                &alloc,
                self.index,
                &rtxn,
                primary_key,
                &mut fields,
                &self.stop,
                self.progress.clone(),
            )
            .map_err(|e| self.fail(e))?;

        for (stats, job) in stats.into_iter().zip(jobs.iter_mut()) {
            let counted = match &job.work {
                Work::AddDocuments { .. } => "indexedDocuments",
                _ => "deletedDocuments",
            };
            set_detail(job, counted, stats.document_count);
            match stats.error {
                Some(error) => fail_job(job, &milli_error(milli::Error::UserError(error))),
                None => job.task.status = Status::Succeeded,
            }
        }
        if jobs.iter().all(|job| job.task.error.is_some()) {
            return Ok(());
        }
        let fields = (&known_fields, fields);
        self.write(wtxn, fields, primary_key, &changes)
    }

    /// The ids in a payload that the index does not have. The engine's additions cannot leave new documents out, but one
    /// that is deleted in the same batch was never there. What is no id fails the addition anyway.
    fn new_ids(&self, payload: &[u8], named: Option<&str>) -> Result<Vec<String>, Failure> {
        let rtxn = self.index.read_txn().map_err(heed_error)?;
        let own = self.index.primary_key(&rtxn).map_err(heed_error)?;
        let Some(name) = own
            .or(named)
            .map(String::from)
            .or_else(|| guess_key(payload))
        else {
            return Ok(Vec::new());
        };
        let mut fields = FieldsIdsMap::new();
        let Some(key) = PrimaryKey::new_or_insert(&name, &mut fields).ok() else {
            return Ok(Vec::new());
        };
        let known = self.index.external_documents_ids();
        let alloc = Bump::new();
        let mut new = Vec::new();
        for document in serde_json::Deserializer::from_slice(payload).into_iter::<&RawValue>() {
            let document = document.map_err(|error| Error::internal(error.to_string()))?;
            let Ok(id) = key.extract_fields_and_docid(document, &mut fields, &alloc) else {
                return Ok(Vec::new());
            };
            let id = id.to_de();
            if known.get(&rtxn, id).map_err(heed_error)?.is_none() {
                new.push(id.to_owned());
            }
        }
        Ok(new)
    }

    /// Writes changes of documents. `fields`: those that the index knows, and those that it will know.
    fn write<'pl>(
        &self,
        wtxn: &mut RwTxn<'a>,
        fields: (&FieldsIdsMap, FieldsIdsMap),
        primary_key: Option<PrimaryKey<'pl>>,
        changes: &impl DocumentChanges<'pl>,
    ) -> Result<(), Failure> {
        let configs = self.index.embedding_configs(wtxn);
        let configs = configs.map_err(|e| self.fail(e))?;
        let embedders = self.engine.embedders(self.uid, configs)?;
        indexer::index(
            wtxn,
            self.index,
            &self.engine.pool,
            self.engine.config.grenad_parameters(),
            fields.0,
            fields.1,
            primary_key,
            changes,
            embedders,
            &self.stop,
            self.progress,
        )
        .map_err(|e| self.fail(e))?;
        Ok(())
    }

    fn deletions(&mut self, wtxn: &mut RwTxn<'a>, jobs: &mut [Job]) -> Result<(), Failure> {
        let mut doomed = RoaringBitmap::new();
        for job in jobs.iter_mut() {
            let before = doomed.len();
            job.task.status = Status::Succeeded;
            match &job.work {
                Work::DeleteDocuments { ids } => {
                    let external = self.index.external_documents_ids();
                    for id in ids {
                        doomed.extend(external.get(wtxn, id).map_err(heed_error)?);
                    }
                }
                Work::DeleteByFilter { filter } => {
                    let found = Filter::from_json(filter).and_then(|filter| match filter {
                        Some(filter) => filter.evaluate(wtxn, self.index),
                        None => Ok(RoaringBitmap::new()),
                    });
                    match found {
                        Ok(found) => doomed |= found,
                        Err(error) => fail_job(job, &task_error(self.uid, error)),
                    }
                }
                _ => return Err(Error::internal("not a deletion").into()),
            }
            set_detail(job, "deletedDocuments", doomed.len() - before);
        }
        if doomed.is_empty() || jobs.iter().all(|job| job.task.error.is_some()) {
            return Ok(());
        }
        self.delete(wtxn, doomed)
    }

    fn delete(&mut self, wtxn: &mut RwTxn<'a>, doomed: RoaringBitmap) -> Result<(), Failure> {
        let alloc = Bump::new();
        let rtxn = self.index.read_txn().map_err(heed_error)?;
        let known_fields = self.index.fields_ids_map(&rtxn).map_err(heed_error)?;
        let mut fields = known_fields.clone();
        let primary_key = self.primary_key(&rtxn, &mut fields)?;
        let mut indexer = indexer::DocumentDeletion::new();
        indexer.delete_documents_by_docids(doomed);
        let changes = indexer.into_changes(&alloc, primary_key);
        // A deletion never changes the key.
        let fields = (&known_fields, fields);
        self.write(wtxn, fields, None, &changes)
    }

    /// The key of an index that has documents.
    fn primary_key<'t>(
        &self,
        rtxn: &'t RoTxn,
        fields: &mut FieldsIdsMap,
    ) -> Result<PrimaryKey<'t>, Failure> {
        let name = self.index.primary_key(rtxn).map_err(heed_error)?;
        let name = name.ok_or_else(|| Error::internal("documents without a primary key"))?;
        PrimaryKey::new_or_insert(name, fields).map_err(|e| self.fail(e.into()))
    }

    /// Runs a function over the documents that its filter lets through. As in Meilisearch, all of them count as edited
    /// and as deleted, whatever the function does with them.
    fn edit(&mut self, wtxn: &mut RwTxn<'a>, jobs: &mut [Job]) -> Result<(), Failure> {
        let [job] = jobs else {
            return Err(Error::internal("not one edition").into());
        };
        let Work::EditDocuments {
            function,
            context,
            filter,
        } = &job.work
        else {
            return Err(Error::internal("not an edition").into());
        };
        let filter = filter.as_ref().map(Filter::from_json).transpose();
        let found = match filter.map_err(|e| self.fail(e))?.flatten() {
            Some(filter) => filter
                .evaluate(wtxn, self.index)
                .map_err(|e| self.fail(e))?,
            None => self.index.documents_ids(wtxn).map_err(heed_error)?,
        };
        let count = found.len();
        if count > 0 {
            let rtxn = self.index.read_txn().map_err(heed_error)?;
            let known_fields = self.index.fields_ids_map(&rtxn).map_err(heed_error)?;
            let mut fields = known_fields.clone();
            let primary_key = self.primary_key(&rtxn, &mut fields)?;
            let edition = indexer::UpdateByFunction::new(found, context.clone(), function.clone());
            // In the pool, whose threads share what the function is compiled to.
            let changes = self
                .engine
                .pool
                .install(|| edition.into_changes(&primary_key));
            let changes = changes
                .map_err(|crash| Error::internal(crash.to_string()))?
                .map_err(|e| self.fail(e))?;
            // An edition cannot change the key.
            let fields = (&known_fields, fields);
            self.write(wtxn, fields, None, &changes)?;
        }
        job.task.status = Status::Succeeded;
        set_detail(job, "editedDocuments", count);
        set_detail(job, "deletedDocuments", count);
        Ok(())
    }

    /// Empties the index. The first clearing counts what there was, all others 0.
    fn clear(&mut self, wtxn: &mut RwTxn<'a>, jobs: &mut [Job]) -> Result<(), Failure> {
        let mut count = milli::update::ClearDocuments::new(wtxn, self.index)
            .execute()
            .map_err(|e| self.fail(e))?;
        for job in jobs
            .iter_mut()
            .filter(|job| !matches!(job.work, Work::UpdateSettings { .. }))
        {
            job.task.status = Status::Succeeded;
            if matches!(job.work, Work::ClearDocuments) {
                set_detail(job, "deletedDocuments", std::mem::take(&mut count));
            }
        }
        Ok(())
    }

    fn settings(&mut self, wtxn: &mut RwTxn<'a>, jobs: &mut [Job]) -> Result<(), Failure> {
        let mut builder = SettingsBuilder::new(wtxn, self.index, &self.engine.config);
        for job in jobs.iter_mut() {
            if let Work::UpdateSettings { settings, .. } = &job.work {
                let settings: &Settings = settings;
                settings::apply(settings, &mut builder);
                job.task.status = Status::Succeeded;
            }
        }
        builder.execute(|_| (), self.stop).map_err(|e| self.fail(e))
    }
}

/// The payloads of a batch, in order. Anonymous maps, because that is what the engine reads from.
fn read_payloads(jobs: &[Job], files: &Files) -> Result<Vec<Mmap>, Error> {
    let mut payloads = Vec::new();
    for job in jobs {
        if let Work::AddDocuments { payload, .. } = &job.work {
            let read = || {
                let bytes = files.read(payload)?;
                // A map cannot be empty; white space between documents means nothing.
                let mut map = MmapMut::map_anon(bytes.len().max(1))?;
                map.fill(b' ');
                map[..bytes.len()].copy_from_slice(&bytes);
                map.make_read_only()
            };
            payloads.push(read().map_err(|e| io_error(&e))?);
        }
    }
    Ok(payloads)
}

/// The only field of the first document whose name ends with "id".
fn guess_key(payload: &[u8]) -> Option<String> {
    let mut documents = serde_json::Deserializer::from_slice(payload).into_iter();
    let first: serde_json::Map<String, serde_json::Value> = documents.next()?.ok()?;
    let mut candidates = first
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.to_lowercase().ends_with("id"));
    let only = candidates.next()?;
    candidates.next().is_none().then_some(only)
}

fn set_detail(job: &mut Job, name: &str, count: u64) {
    if let Some(details) = &mut job.task.details {
        details[name] = json!(count);
    }
}

fn fail_job(job: &mut Job, error: &Error) {
    job.task.status = Status::Failed;
    job.task.error = Some(error.to_value());
}
