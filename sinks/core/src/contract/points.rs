//! The cases of vector stores beside the common ones: what is embedded, and what a search finds.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tidemark_log::Share;
use tidemark_schemas::State;

use super::{Fixture, LOG, StoreHarness};
use crate::batch::SinkBatch;
use crate::embedder::ngram::NgramEmbedder;
use crate::embedder::{EmbedError, Embedder, normalise};
use crate::port::{Sink, SinkError};
use crate::search::{Hit, Query, Search};

/// A text that [`Counting`] refuses has this in it.
const REFUSED: &str = "毒";

/// One vector store under test, filled and searched by embedders of the suite's choice.
pub trait VectorHarness: StoreHarness {
    /// A new sink over this store.
    fn sink_by(&self, embedder: Arc<dyn Embedder>) -> Box<dyn Sink>;

    /// A search in this store.
    fn search_by(&self, embedder: Arc<dyn Embedder>) -> Box<dyn Search>;
}

/// Takes fresh vector stores of `make` through every case.
pub async fn run<H, M>(fixture: &Fixture, make: impl Fn() -> M)
where
    H: VectorHarness,
    M: Future<Output = H>,
{
    the_nearest_are_found(fixture, &make().await).await;
    conditions_hold_whatever_their_type(fixture, &make().await).await;
    what_is_equally_near_is_in_order_of_its_key(fixture, &make().await).await;
    unchanged_text_is_not_embedded_again(fixture, &make().await).await;
    refused_text_is_named(fixture, &make().await).await;
    another_embedder_makes_every_point_anew(fixture, &make().await).await;
}

/// The built-in embedder, cut to some dimensions; counts its texts and refuses those that hold a certain word.
#[derive(Debug)]
pub struct Counting {
    identity: String,
    dimensions: usize,
    texts: AtomicUsize,
}

impl Counting {
    /// Under this name.
    pub fn new(identity: &str, dimensions: usize) -> Arc<Self> {
        Arc::new(Self { identity: identity.to_owned(), dimensions, texts: AtomicUsize::new(0) })
    }

    /// Texts embedded so far.
    pub fn texts(&self) -> usize {
        self.texts.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Embedder for Counting {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if texts.iter().any(|text| text.contains(REFUSED)) {
            return Err(EmbedError::Rejected("not this".to_owned()));
        }
        tokio::task::yield_now().await;
        self.texts.fetch_add(texts.len(), Ordering::SeqCst);
        let mut vectors = NgramEmbedder.embed(texts).await?;
        for vector in &mut vectors {
            vector.truncate(self.dimensions);
            if !normalise(vector) {
                vector[0] = 1.0;
            }
        }
        Ok(vectors)
    }
}

async fn filled(sink: &mut Box<dyn Sink>, batch: &SinkBatch) {
    sink.open(LOG, &Share::All).await.expect("a store opens");
    sink.apply(batch).await.expect("the store takes the batch");
}

fn query(collection: &str, text: &str, limit: usize, filters: &[(&str, &str)]) -> Query {
    let filters = filters.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
    Query { collection: collection.to_owned(), text: text.to_owned(), limit, filters }
}

async fn hits(store: &dyn VectorHarness, query: Query) -> Vec<Hit> {
    store.search_by(Arc::new(NgramEmbedder)).search(query).await.expect("a filled store can be searched")
}

async fn found(store: &dyn VectorHarness, query: Query) -> Vec<String> {
    hits(store, query).await.into_iter().map(|hit| hit.key).collect()
}

async fn the_nearest_are_found(fixture: &Fixture, store: &dyn VectorHarness) {
    let mut sink = store.sink_by(Arc::new(NgramEmbedder));
    let names = [("C1", "张小丽"), ("C2", "李小龙"), ("C3", "王美丽"), ("C4", "欧阳晓燕")];
    let customers: Vec<State<'static>> = names.iter().map(|(code, name)| fixture.customer(code, name, 1)).collect();
    let project = fixture.state("project", r#"{"project_code":"FILLER","name":"玻尿酸填充","standard_price":"3980.00"}"#, 1);
    let mut batch = fixture.batch("customer", 0, &customers);
    batch.parts.push(fixture.part("project", 0, &[project]));
    filled(&mut sink, &batch).await;
    let profiles = |text, limit, filters: &[(&str, &str)]| query("customer_profiles", text, limit, filters);
    assert_eq!(found(store, profiles("欧阳小燕", 1, &[])).await, ["C4"], "a misspelt name");
    assert_eq!(found(store, profiles("欧阳小燕", 9, &[])).await.len(), 4, "all, when there are fewer");
    assert_eq!(found(store, profiles("欧阳小燕", 0, &[])).await, [""; 0], "none, when none is wanted");
    assert_eq!(found(store, query("nowhere", "欧阳小燕", 9, &[])).await, [""; 0], "none where nothing is");
    let hit = hits(store, query("medical_knowledge", "玻尿酸填充", 1, &[])).await.pop().expect("the project is found");
    assert_eq!((hit.entity.as_str(), hit.key.as_str()), ("project", "FILLER"));
    let payload =
        r#"{"entity":"project","key":"FILLER","name":"玻尿酸填充","standard_price":"3980.00","standard_price_fen":398000}"#;
    assert_eq!(hit.payload.to_string(), payload, "the payload is whole, and only that");
    assert!(hit.score > 0.5 && hit.score <= 1.0001, "a likeness: {}", hit.score);
    sink.apply(&fixture.batch("customer", 4, &[fixture.deleted(&customers[3], 9)])).await.expect("a delete is taken");
    let left = found(store, profiles("欧阳晓燕", 9, &[])).await;
    assert!(left.len() == 3 && !left.contains(&"C4".to_owned()), "a deleted record is not found: {left:?}");
}

async fn conditions_hold_whatever_their_type(fixture: &Fixture, store: &dyn VectorHarness) {
    let mut sink = store.sink_by(Arc::new(NgramEmbedder));
    let customer = |code: &str, institution: &str, tags: &str, date: &str| {
        let row = format!(
            r#"{{"customer_code":"{code}","institution_code":{institution},"person":{{"name":"张'\"\\"}},"tags":{tags},"first_visit_date":{date}}}"#
        );
        fixture.state("customer", &row, 1)
    };
    let customers = [
        customer("C1", r#""BJ""#, r#"["敏感肌","抗衰老"]"#, r#""2026-01-10""#),
        customer("C2", r#""SH""#, "[]", r#""2025-12-31""#),
        customer("C3", "null", "null", "null"),
    ];
    let project = |code: &str, level: &str, price: &str| {
        let row = format!(r#"{{"project_code":"{code}","name":"玻尿酸","risk_level":{level},"standard_price":{price}}}"#);
        fixture.state("project", &row, 1)
    };
    let projects = [project("P1", "3", r#""3980.00""#), project("P2", "1", r#""398.00""#), project("P3", "null", "null")];
    let product = fixture.state("product", r#"{"product_code":"P1","name":"玻尿酸","standard_price":"3980.00"}"#, 1);
    let mut batch = fixture.batch("customer", 0, &customers);
    batch.parts.push(fixture.part("project", 0, &projects));
    batch.parts.push(fixture.part("product", 0, &[product]));
    filled(&mut sink, &batch).await;
    for (collection, filters, expected) in [
        ("customer_profiles", &[("tags", "抗衰老")][..], &["C1"][..]),
        ("customer_profiles", &[("tags", "衰老")], &[]),
        ("customer_profiles", &[("tags", "")], &["C2", "C3"]),
        ("customer_profiles", &[("tenant", "SH")], &["C2"]),
        ("customer_profiles", &[("tenant", "")], &["C3"]),
        ("customer_profiles", &[("institution_code", "BJ"), ("tags", "敏感肌")], &["C1"]),
        ("customer_profiles", &[("institution_code", "SH"), ("tags", "敏感肌")], &[]),
        ("customer_profiles", &[("person_name", "张'\"\\")], &["C1", "C2", "C3"]),
        ("customer_profiles", &[("first_visit_date", "2026-01-10")], &["C1"]),
        ("customer_profiles", &[("first_visit_date", "2026-01-11")], &[]),
        ("customer_profiles", &[("first_visit_date", "")], &["C3"]),
        ("customer_profiles", &[("key", "C2")], &["C2"]),
        ("medical_knowledge", &[("risk_level", "3")], &["project P1"]),
        ("medical_knowledge", &[("risk_level", "")], &["product P1", "project P3"]),
        ("medical_knowledge", &[("standard_price", "398.00")], &["project P2"]),
        ("medical_knowledge", &[("standard_price_fen", "398000")], &["product P1", "project P1"]),
        ("medical_knowledge", &[("standard_price_fen", "398000"), ("entity", "product")], &["product P1"]),
        ("medical_knowledge", &[("standard_price_fen", "3980")], &[]),
    ] {
        let found: HashSet<String> = hits(store, query(collection, "玻尿酸", 9, filters))
            .await
            .into_iter()
            .map(|hit| if collection == "customer_profiles" { hit.key } else { format!("{} {}", hit.entity, hit.key) })
            .collect();
        assert_eq!(found, expected.iter().map(|key| (*key).to_owned()).collect(), "{collection} {filters:?}");
    }
}

async fn what_is_equally_near_is_in_order_of_its_key(fixture: &Fixture, store: &dyn VectorHarness) {
    let mut sink = store.sink_by(Arc::new(NgramEmbedder));
    // Written in another order than that of their keys.
    let twins: Vec<State<'static>> =
        (0..40).map(|number| fixture.customer(&format!("C{:02}", number * 7 % 40), "张三", number + 1)).collect();
    filled(&mut sink, &fixture.batch("customer", 0, &twins)).await;
    let expected: Vec<String> = (0..40).map(|number| format!("C{number:02}")).collect();
    for limit in [1, 5, 17, 40, 60] {
        let found = found(store, query("customer_profiles", "张三", limit, &[])).await;
        assert_eq!(found, expected[..limit.min(40)], "the first {limit} of forty alike");
    }
}

/// A customer whose text is the notes alone.
fn noted(fixture: &Fixture, code: &str, consultant: &str, notes: &str, version: u64) -> State<'static> {
    let row = format!(r#"{{"customer_code":"{code}","consultant_code":"{consultant}","notes":"{notes}"}}"#);
    fixture.state("customer", &row, version)
}

async fn unchanged_text_is_not_embedded_again(fixture: &Fixture, store: &dyn VectorHarness) {
    let counting = Counting::new("counting", 256);
    let mut sink = store.sink_by(counting.clone());
    let last = noted(fixture, "C1", "B", "不怕疼", 4);
    let steps = [
        (noted(fixture, "C1", "A", "怕疼", 1), 1, "a first text"),
        (noted(fixture, "C1", "B", "怕疼", 2), 1, "another column, the same text"),
        (noted(fixture, "C1", "B", "不怕疼", 3), 2, "another text"),
        (last.clone(), 2, "nothing but the version"),
        (fixture.deleted(&last, 5), 2, "deleted"),
        (noted(fixture, "C1", "C", "不怕疼", 6), 2, "back with its text"),
    ];
    sink.open(LOG, &Share::All).await.expect("a fresh store opens");
    for (from, (state, embedded, what)) in (0..).zip(steps) {
        let applied = sink.apply(&fixture.batch("customer", from, &[state])).await.expect("the store takes the batch");
        assert_eq!((applied.written, counting.texts()), (1, embedded), "{what}");
    }
    let hits =
        store.search_by(counting).search(query("customer_profiles", "备注：不怕疼", 1, &[])).await.expect("it can be searched");
    assert_eq!((hits[0].payload["consultant_code"].as_str(), hits[0].score), (Some("C"), 1.0), "what stands beside is written");
}

async fn refused_text_is_named(fixture: &Fixture, store: &dyn VectorHarness) {
    let mut sink = store.sink_by(Counting::new("counting", 256));
    sink.open(LOG, &Share::All).await.expect("a fresh store opens");
    let states =
        [noted(fixture, "C1", "A", "怕疼", 1), noted(fixture, "C2", "A", REFUSED, 2), noted(fixture, "C3", "A", "疼", 3)];
    let mut batch = fixture.batch("customer", 0, &states);
    let refused = match sink.apply(&batch).await {
        Err(SinkError::Rejected(rows)) => rows,
        other => super::cases::unreachable_answer("a refused text", &other),
    };
    let told: Vec<_> = refused.iter().map(|row| (row.key.as_str(), row.position, row.reason.as_str())).collect();
    assert_eq!(told, [("C2", (0, 1), "not_embedded")]);
    batch.exclude(&refused);
    sink.apply(&batch).await.expect("the others are taken");
    assert_eq!(store.rows("customer").await.into_keys().collect::<Vec<_>>(), ["C1", "C3"]);
}

async fn another_embedder_makes_every_point_anew(fixture: &Fixture, store: &dyn VectorHarness) {
    let states = [noted(fixture, "C1", "A", "怕疼", 1), noted(fixture, "C2", "A", "不怕疼", 2)];
    let batch = fixture.batch("customer", 0, &states);
    let seek = || query("customer_profiles", "备注：不怕疼", 1, &[]);
    let mut before: Option<Arc<Counting>> = None;
    for (identity, dimensions) in [("one", 256), ("two", 256), ("three", 32)] {
        let embedder = Counting::new(identity, dimensions);
        let mut sink = store.sink_by(embedder.clone());
        let positions = sink.open(LOG, &Share::All).await.expect("it opens with another embedder");
        assert!(positions.iter().all(|position| position.next == 0), "{identity} reads everything again: {positions:?}");
        if let Some(before) = before {
            let answer = store.search_by(before).search(seek()).await;
            let error = answer.expect_err("what is filled by another embedder is not searched").to_string();
            assert!(error.contains(&format!("filled by the embedder `{identity}`")), "{error}");
        }
        assert_eq!(sink.apply(&batch).await.expect("the store takes the batch").written, 2, "{identity}: not older");
        assert_eq!(embedder.texts(), 2, "{identity} embeds every text");
        let hits = store.search_by(embedder.clone()).search(seek()).await.expect("it can be searched");
        assert_eq!((hits[0].key.as_str(), hits[0].score), ("C2", 1.0), "{identity}");
        before = Some(embedder);
    }
}
