// Every public method of the official JavaScript SDK, once.
//
// What passes over the wire is recorded and compared by tests/tests/sdk.rs: here nothing is asserted but that a method exists and is
// called. A method that is neither called nor named in NOT_CALLED with its reason fails the run.

import * as sdk from "meilisearch";
import { generateTenantToken } from "meilisearch/token";

const NOT_CALLED = {
  "Chat.streamCompletion": "needs a language model's service",
};

const host = process.env.MEILI_URL;
const apiKey = process.env.MEILI_KEY;
const KEY_UID = "6062abda-a5aa-4414-ac91-ecd7944c0f8e";
const Client = sdk.Meilisearch;
const films = Array.from({ length: 60 }, (_, i) => ({
  id: i,
  title: `film number ${i}`,
  genre: ["drama", "comedy", "war"][i % 3],
  year: 1950 + i,
}));

const methods = new Set();
const called = new Set();

/** Makes each public method of an object's class note that it was called. */
function noting(name, object) {
  const prototype = Object.getPrototypeOf(object);
  for (const method of Object.getOwnPropertyNames(prototype)) {
    const own = Object.getOwnPropertyDescriptor(prototype, method).value;
    if (method === "constructor" || method.startsWith("_") || typeof own !== "function") continue;
    methods.add(`${name}.${method}`);
    prototype[method] = function (...args) {
      called.add(`${name}.${method}`);
      return own.apply(this, args);
    };
  }
}

const client = new Client({ host, apiKey });
noting("Client", client);
noting("Index", client.index("x"));
noting("Tasks", client.tasks);
noting("Batches", client.batches);
noting("Chat", client.chat("x"));
called.clear();

/** Waits for a task, however it ends. */
async function done(promise) {
  return client.tasks.waitForTask(await promise, { timeout: 60_000, interval: 20 });
}

/** For what some versions refuse: both deployments have to refuse it alike. */
async function mayFail(promise) {
  try {
    const answer = await promise;
    return answer?.taskUid === undefined ? answer : await done(answer);
  } catch (error) {
    if (error instanceof sdk.MeilisearchError) return undefined;
    throw error;
  }
}

// the instance
await client.health();
await client.isHealthy();
await client.getVersion();
await client.getExperimentalFeatures();
await client.updateExperimentalFeatures({ editDocumentsByFunction: true, containsFilter: true });

// indexes
await done(client.createIndex("js-films", { primaryKey: "id" }));
await done(client.createIndex("js-other"));
const index = client.index("js-films");
const other = client.index("js-other");
await client.getIndexes({ limit: 2 });
await client.getRawIndexes();
await client.getIndex("js-films");
await client.getRawIndex("js-films");
await index.getRawInfo();
await index.fetchInfo();
await index.fetchPrimaryKey();
await mayFail(client.getIndex("js-missing"));
await done(client.updateIndex("js-other", { primaryKey: "key" }));
await done(other.update({ primaryKey: "id" }));

// every setting: read, changed, read, reset, read
const settings = {
  Dictionary: ["J. R. R."],
  DisplayedAttributes: ["id", "title", "genre", "year"],
  DistinctAttribute: "title",
  FacetSearch: false,
  Faceting: { maxValuesPerFacet: 50, sortFacetValuesBy: { "*": "count" } },
  FilterableAttributes: ["genre", { attributePatterns: ["year"], features: { facetSearch: false, filter: { equality: true, comparison: true } } }],
  LocalizedAttributes: [{ attributePatterns: ["title"], locales: ["eng"] }],
  NonSeparatorTokens: ["#"],
  Pagination: { maxTotalHits: 500 },
  PrefixSearch: "disabled",
  ProximityPrecision: "byAttribute",
  RankingRules: ["words", "typo", "year:desc"],
  SearchCutoffMs: 1500,
  SearchableAttributes: ["title", "genre"],
  SeparatorTokens: ["|"],
  SortableAttributes: ["year"],
  StopWords: ["the", "of"],
  Synonyms: { movie: ["film"] },
  TypoTolerance: { enabled: true, disableOnNumbers: true, minWordSizeForTypos: { oneTypo: 4, twoTypos: 8 } },
  Embedders: { own: { source: "userProvided", dimensions: 2 } },
  ForeignKeys: [{ foreignIndexUid: "js-films", fieldName: "film" }],
};
for (const [name, value] of Object.entries(settings)) {
  await mayFail(other[`get${name}`]());
  await mayFail(other[`update${name}`](value));
  await mayFail(other[`get${name}`]());
  await mayFail(other[`reset${name}`]());
  await mayFail(other[`get${name}`]());
}
await mayFail(other.getChat());
await mayFail(other.updateChat({ description: "films" }));
await done(
  index.updateSettings({
    filterableAttributes: ["genre", "year"],
    sortableAttributes: ["year", "id"],
  }),
);
await index.getSettings();
await done(other.updateSettings({ stopWords: ["a"] }));
await done(other.resetSettings());

// documents in, by every way
await done(index.addDocuments(films.slice(0, 20)));
// one batch each: the SDK sends several at once, and then nobody knows which task is the first
for (const task of index.addDocumentsInBatches(films.slice(20, 40), 100)) await done(task);
await done(index.addDocumentsFromString("id,title,genre,year:number\n40,film number 40,comedy,1990\n", "text/csv"));
await done(index.addDocumentsFromString(films.slice(41).map((film) => JSON.stringify(film)).join("\n"), "application/x-ndjson"));
await done(index.updateDocuments([{ id: 1, seen: true }]));
for (const task of index.updateDocumentsInBatches([{ id: 2, seen: true }, { id: 3, seen: true }], 100)) await done(task);
await done(index.updateDocumentsFromString(JSON.stringify([{ id: 4, seen: true }]), "application/json"));
await done(index.addDocuments([{ id: "no id!", title: "refused" }]));
await mayFail(index.updateDocumentsByFunction({ function: "doc.seen = false", filter: "year = 1999" }));

// and out
await index.getDocument(1);
await index.getDocument(2, { fields: ["title"] });
await mayFail(index.getDocument(7777));
await index.getDocuments({ limit: 100, filter: "genre = war", fields: ["id", "genre"] });
await index.getStats();
await client.getStats();
await mayFail(index.getFields({ limit: 3 }));

// searches; sorted, so that nothing ties
await index.search("film", { filter: "genre = drama AND year >= 1980", sort: ["year:desc"], facets: ["genre"], limit: 5 });
await index.searchGet("flim", { sort: ["id:asc"], hitsPerPage: 7, page: 2, attributesToHighlight: ["title"] });
await mayFail(index.search("x", { filter: "title = x" }));
await index.searchForFacetValues({ facetName: "genre", facetQuery: "dra" });
const vectors = client.index("js-vectors");
await done(vectors.updateEmbedders({ own: { source: "userProvided", dimensions: 2 } }));
await done(vectors.addDocuments(films.slice(0, 8).map(({ id }) => ({ id, _vectors: { own: [id / 8, 1] } }))));
await vectors.search("", { hybrid: { embedder: "own", semanticRatio: 1 }, vector: [0.1, 1], limit: 3 });
await mayFail(vectors.searchSimilarDocuments({ id: 3, embedder: "own", limit: 3 }));
await done(vectors.delete());
await client.multiSearch({ queries: [{ indexUid: "js-films", q: "number", sort: ["id:asc"], limit: 2 }, { indexUid: "js-other", q: "" }] });
await client.multiSearch({ federation: { limit: 3 }, queries: [{ indexUid: "js-films", q: "number", sort: ["id:asc"] }] });

// keys and tokens
await client.getKeys({ limit: 3 });
const { key } = await client.createKey({ uid: KEY_UID, name: "js", actions: ["search"], indexes: ["js-*"], expiresAt: null });
await client.getKey(KEY_UID);
await client.updateKey(KEY_UID, { description: "from javascript" });
const token = await generateTenantToken({ apiKey: key, apiKeyUid: KEY_UID, searchRules: { "js-films": { filter: "genre = war" } } });
await new Client({ host, apiKey: token }).index("js-films").search("", { sort: ["id:asc"], limit: 2 });
await mayFail(new Client({ host, apiKey: token }).getIndexes());
await client.deleteKey(KEY_UID);
await mayFail(client.getKey(KEY_UID));

// tasks and batches
const { results } = await client.tasks.getTasks({ indexUids: ["js-other"], limit: 2 });
const [first] = results;
await client.tasks.getTask(first.uid);
await mayFail(client.tasks.getTaskDocuments(first.uid));
await client.tasks.waitForTasks([first.uid]);
for await (const task of client.tasks.waitForTasksIter([first.uid])) void task;
const batches = await client.batches.getBatches({ indexUids: ["js-other"], limit: 1 });
await client.batches.getBatch(batches.results[0].uid);
await done(client.tasks.cancelTasks({ indexUids: ["js-other"] }));

// webhooks
await mayFail(client.getWebhooks());
const hook = await mayFail(client.createWebhook({ url: "http://127.0.0.1:9/hook", headers: { authorization: "Bearer a-secret" } }));
const uuid = hook?.uuid ?? KEY_UID;
await mayFail(client.getWebhook(uuid));
await mayFail(client.updateWebhook(uuid, { headers: { "x-more": "1" } }));
await mayFail(client.deleteWebhook(uuid));

// what a cluster does in its own way, or refuses
await mayFail(client.getNetwork());
await mayFail(client.updateNetwork({ remotes: {} }));
await mayFail(client.initializeNetwork({ self: "a", remotes: { a: { url: "http://127.0.0.1:9" } }, shards: { s: { remotes: ["a"] } } }));
await mayFail(client.addRemote({ name: "b", remote: { url: "http://127.0.0.1:9" } }));
await mayFail(client.removeRemote({ name: "b" }));
await mayFail(client.addRemotesToShard("s", ["b"]));
await mayFail(client.removeRemotesFromShard("s", ["b"]));
await mayFail(client.getChatWorkspaces());
await mayFail(client.getChatWorkspace("w"));
await mayFail(client.deleteChatWorkspace("w"));
await mayFail(client.chat("w").get());
await mayFail(client.chat("w").update({ source: "openAi" }));
await mayFail(client.chat("w").reset());
await mayFail(client.getDynamicSearchRules());
await mayFail(client.getDynamicSearchRule("r"));
await mayFail(client.updateDynamicSearchRule("r", { active: false }));
await mayFail(client.deleteDynamicSearchRule("r"));
await mayFail(client.deleteAllDynamicSearchRules());
await mayFail(client.renderTemplate({ template: { kind: "inlineDocumentTemplate", inline: "{{doc.id}}" } }));
await mayFail(index.compact());

// everything goes again
await done(client.swapIndexes([{ indexes: ["js-films", "js-other"] }]));
await done(client.swapIndexes([{ indexes: ["js-films", "js-other"] }]));
await done(index.deleteDocument(0));
await done(index.deleteDocuments([1, 2]));
await done(index.deleteDocuments({ filter: "genre = war" }));
await index.getStats();
await done(index.deleteAllDocuments());
await done(other.delete());
await client.deleteIndexIfExists("js-missing");
await done(client.deleteIndex("js-films"));
await done(client.tasks.deleteTasks({ indexUids: ["js-other", "js-films"] }));

// last, because one of the two may make tasks that the other does not
await client.createDump().catch(() => {});
await client.createSnapshot().catch(() => {});

const missing = [...methods].filter((name) => !called.has(name) && !(name in NOT_CALLED));
const wrong = Object.keys(NOT_CALLED).filter((name) => !methods.has(name) || called.has(name));
if (missing.length + wrong.length > 0) {
  console.error(`not called and not excused: ${missing}; excused wrongly: ${wrong}`);
  process.exit(1);
}
console.log(`javascript sdk: ${called.size} methods called, ${Object.keys(NOT_CALLED).length} not`);
