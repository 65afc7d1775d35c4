//! The fold's rules one by one, its laws for random sequences, and the hard cases by name.

use std::collections::BTreeMap;

use crate::oracle::{self, Known, Word};
use crate::thing::{self, Spec, catalog, delete, insert, listed, told, update};
use proptest::prelude::*;
use serde_json::{Value, json};
use tidemark_pipelines::fold::decide::{Kind, Origin, decide};
use tidemark_schemas::change::Operation;
use tidemark_schemas::codec::{decode_state, encode_state};
use tidemark_schemas::{Catalog, State, json as rows};

/// The fold over one key, its state passing through the codec as in the pipeline.
struct Key<'c> {
    catalog: &'c Catalog,
    bytes: Option<Vec<u8>>,
    offset: u64,
}

impl<'c> Key<'c> {
    fn new(catalog: &'c Catalog) -> Self {
        Self { catalog, bytes: None, offset: 0 }
    }

    fn state(&self) -> Option<State<'_>> {
        let bytes = self.bytes.as_deref()?;
        Some(decode_state(self.catalog, thing::thing(self.catalog), bytes).unwrap())
    }

    fn row(&self) -> Value {
        rows::row_to_json(&thing::thing(self.catalog).record, &self.state().unwrap().row)
    }

    /// What became of it, and whether a state was written.
    fn fold(&mut self, spec: &Spec) -> (Kind, bool) {
        let entity = thing::thing(self.catalog);
        self.offset += 1;
        let origin = Origin { partition: 0, offset: self.offset - 1, version: self.offset };
        let outcome = decide(entity, self.state(), spec.change(entity), origin);
        let kind = outcome.kind;
        let written = outcome.state.map(|state| {
            let mut bytes = Vec::new();
            encode_state(entity, &state, &mut bytes);
            bytes
        });
        let wrote = written.is_some();
        if wrote {
            self.bytes = written;
        }
        (kind, wrote)
    }
}

const UNCHANGED: Kind = Kind::Unchanged { left_deleted: false };
const LEFT_DELETED: Kind = Kind::Unchanged { left_deleted: true };

fn reason(kind: &Kind) -> &str {
    match kind {
        Kind::Rejected { reason, .. } => reason,
        _ => "applied",
    }
}

#[test]
fn inserts_updates_and_deletes_come_to_what_they_say() {
    let catalog = catalog();
    let mut key = Key::new(&catalog);
    let row = json!({"code": "K", "name": "one", "a": "x"});
    assert_eq!(reason(&key.fold(&update("file", row.clone(), &["a"])).0), "unknown_key");
    assert_eq!(reason(&key.fold(&delete("file", "K")).0), "unknown_key");
    assert_eq!(key.fold(&insert("file", row.clone())), (Kind::Inserted, true));
    assert_eq!(key.fold(&insert("file", row.clone())), (UNCHANGED, false), "an equal after-image");
    let null = update("file", json!({"code": "K", "a": null}), &["a"]);
    assert_eq!(key.fold(&null), (Kind::Updated, true));
    assert_eq!(key.fold(&null), (UNCHANGED, false));
    assert_eq!(reason(&key.fold(&update("file", json!({"code": "K"}), &["name"])).0), "required_null");
    let nested = json!({"code": "K", "person": {"x": null, "y": "1"}});
    assert_eq!(reason(&key.fold(&update("file", nested, &["person.y"])).0), "required_null");
    assert_eq!(key.fold(&insert("file", json!({"code": "K", "name": "two"}))), (Kind::Updated, true));
    assert_eq!(key.row(), json!({"code": "K", "name": "two", "a": null, "b": null, "person": null}));
    assert_eq!(key.fold(&delete("file", "K")), (Kind::Deleted, true));
    assert_eq!(key.state().unwrap().version, key.offset);
    assert_eq!(reason(&key.fold(&delete("file", "K")).0), "unknown_key");
    assert_eq!(key.fold(&insert("file", json!({"code": "K", "name": "two"}))), (Kind::Inserted, true), "it comes back");
    assert!(!key.state().unwrap().deleted);
}

#[test]
fn a_changed_snapshot_row_against_another_sources_newer_field() {
    let catalog = catalog();
    let mut key = Key::new(&catalog);
    key.fold(&listed("shop", json!({"code": "K", "name": "n", "a": "shop", "b": 1, "person": {"x": "x", "y": "y"}})));
    key.fold(&update("crm", json!({"code": "K", "b": 2, "person": {"y": "crm"}}), &["b", "person.y"]));
    let again = listed("shop", json!({"code": "K", "name": "n", "a": "new", "b": 1, "person": {"x": "z", "y": "y"}}));
    assert_eq!(key.fold(&again), (Kind::Updated, true));
    let expected = json!({"code": "K", "name": "n", "a": "new", "b": 2, "person": {"x": "z", "y": "crm"}});
    assert_eq!(key.row(), expected, "the shop changed `a` and `person.x` alone");
    assert_eq!(key.fold(&again), (UNCHANGED, false), "the same row again says nothing");
}

#[test]
fn a_relisted_row_does_not_undo_a_newer_update() {
    let catalog = catalog();
    let mut key = Key::new(&catalog);
    let row = listed("file", json!({"code": "K", "name": "old"}));
    key.fold(&row);
    key.fold(&update("file", json!({"code": "K", "name": "new"}), &["name"]));
    assert_eq!(key.fold(&row), (UNCHANGED, false));
    assert_eq!(key.row()["name"], "new");
}

#[test]
fn a_lost_cache_with_an_unchanged_relist() {
    // The rows that a source sent are in the state records, so a fold that starts from those alone knows them.
    let catalog = catalog();
    let mut key = Key::new(&catalog);
    let row = listed("shop", json!({"code": "K", "name": "n", "a": "shop"}));
    key.fold(&row);
    key.fold(&update("crm", json!({"code": "K", "a": "crm"}), &["a"]));
    let mut rebuilt = Key { catalog: &catalog, bytes: key.bytes.clone(), offset: 100 };
    assert_eq!(rebuilt.fold(&row), (UNCHANGED, false));
    assert_eq!(rebuilt.row()["a"], "crm");
}

#[test]
fn only_bookkeeping_keeps_the_version() {
    let catalog = catalog();
    let mut key = Key::new(&catalog);
    let row = json!({"code": "K", "name": "n", "a": "1"});
    key.fold(&insert("crm", row.clone()));
    let version = key.state().unwrap().version;
    assert_eq!(key.fold(&listed("shop", row)), (UNCHANGED, true), "the hash is remembered");
    assert_eq!(key.state().unwrap().version, version);
    assert_eq!(key.state().unwrap().snapshots[0].row, None, "same as the state's row");
    key.fold(&update("crm", json!({"code": "K", "a": "2"}), &["a"]));
    assert!(key.state().unwrap().snapshots[0].row.is_some(), "kept where it differs");
    key.fold(&update("crm", json!({"code": "K", "a": "1"}), &["a"]));
    assert_eq!(key.state().unwrap().snapshots[0].row, None, "and dropped where it does not");
}

#[test]
fn a_snapshot_row_revives_no_deleted_key() {
    let catalog = catalog();
    let mut key = Key::new(&catalog);
    key.fold(&insert("crm", json!({"code": "K", "name": "n"})));
    key.fold(&delete("crm", "K"));
    let version = key.state().unwrap().version;
    let first = listed("shop", json!({"code": "K", "name": "n"}));
    assert_eq!(key.fold(&first), (LEFT_DELETED, true));
    assert_eq!(key.fold(&first), (LEFT_DELETED, false));
    assert_eq!(key.fold(&listed("shop", json!({"code": "K", "name": "m"}))), (LEFT_DELETED, true));
    assert_eq!((key.state().unwrap().deleted, key.state().unwrap().version), (true, version));
    assert_eq!(key.fold(&insert("crm", json!({"code": "K", "name": "back"}))), (Kind::Inserted, true));
    assert_eq!(key.fold(&listed("shop", json!({"code": "K", "name": "m", "a": "1"}))), (Kind::Updated, true));
    assert_eq!((&key.row()["name"], &key.row()["a"]), (&json!("back"), &json!("1")), "only what the shop changed since");
}

#[test]
fn a_deleted_customer_with_living_orders() {
    // Deleting one key says nothing of those that point to it: the order is folded on as if nothing had happened.
    let catalog = catalog();
    let (mut customer, mut order) = (Key::new(&catalog), Key::new(&catalog));
    customer.fold(&insert("file", json!({"code": "C", "name": "customer"})));
    order.fold(&insert("file", json!({"code": "O", "name": "order", "a": "C"})));
    customer.fold(&delete("file", "C"));
    assert_eq!(order.fold(&update("file", json!({"code": "O", "b": 1}), &["b"])), (Kind::Updated, true));
    assert_eq!(order.row()["a"], "C", "the reference stays and dangles");
}

#[test]
fn an_update_that_names_nothing_writes_the_state_again() {
    let catalog = catalog();
    let mut key = Key::new(&catalog);
    assert_eq!(reason(&key.fold(&update("redrive", json!({"code": "K"}), &[])).0), "unknown_key");
    key.fold(&insert("file", json!({"code": "K", "name": "n"})));
    key.fold(&delete("file", "K"));
    let before = key.bytes.clone();
    assert_eq!(key.fold(&update("redrive", json!({"code": "K"}), &[])), (UNCHANGED, true), "also of a deleted key");
    assert_eq!(key.bytes, before);
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), Just(json!("1")), Just(json!("2"))]
}

fn any_row() -> impl Strategy<Value = Value> {
    let number = prop_oneof![Just(Value::Null), (0_i64..3).prop_map(|number| json!(number))];
    let person = prop_oneof![Just(Value::Null), (0_u8..2, text()).prop_map(|(x, y)| json!({"x": x.to_string(), "y": y}))];
    (0_u8..2, text(), number, person)
        .prop_map(|(name, a, b, person)| json!({"code": "K", "name": name.to_string(), "a": a, "b": b, "person": person}))
}

fn any_patch() -> impl Strategy<Value = (Value, Vec<&'static str>)> {
    let person = prop_oneof![Just(Value::Null), (text(), text()).prop_map(|(x, y)| json!({"x": x, "y": y}))];
    let names = prop::sample::subsequence(vec!["name", "a", "b", "person.x", "person.y"], 1..=4);
    let names = prop_oneof![4 => names, 1 => Just(vec!["person"]), 1 => Just(vec!["a", "person"])];
    (text(), text(), person, names).prop_map(|(name, a, person, names)| {
        // Outside the mask a partial row is null, as the codec's contract says.
        let child = |child| names.contains(&"person") || names.contains(&child);
        let keep = |name, value: Value| if names.contains(&name) { value } else { Value::Null };
        let person = match person {
            Value::Object(fields) if child("person.x") || child("person.y") => {
                let field = |name: &str, path| if child(path) { fields[name].clone() } else { Value::Null };
                json!({"x": field("x", "person.x"), "y": field("y", "person.y")})
            }
            _ => Value::Null,
        };
        (json!({"code": "K", "name": keep("name", name), "a": keep("a", a), "b": keep("b", json!(1)), "person": person}), names)
    })
}

fn any_spec() -> impl Strategy<Value = Spec> {
    let source = prop::sample::select(vec!["file", "shop", "crm"]);
    let what = prop_oneof![
        2 => any_row().prop_map(|row| insert("", row)),
        4 => any_row().prop_map(|row| listed("", row)),
        5 => any_patch().prop_map(|(row, names)| update("", row, &names)),
        1 => Just(delete("", "K")),
    ];
    (source, what).prop_map(|(source, spec)| Spec { source, ..spec })
}

fn word(kind: &Kind) -> Word {
    match kind {
        Kind::Inserted => Word::Inserted,
        Kind::Updated => Word::Updated,
        Kind::Deleted => Word::Deleted,
        Kind::Unchanged { left_deleted: false } => Word::Unchanged,
        Kind::Unchanged { left_deleted: true } => Word::LeftDeleted,
        Kind::Rejected { reason: "unknown_key", .. } => Word::UnknownKey,
        Kind::Rejected { .. } => Word::RequiredNull,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn any_sequence_comes_to_what_the_oracle_says(specs in prop::collection::vec(any_spec(), 1..30)) {
        let catalog = catalog_once();
        let (mut key, mut known) = (Key::new(catalog), None::<Known>);
        for spec in &specs {
            let (kind, _) = key.fold(spec);
            let expected = oracle::tell(&mut known, &told(spec, key.offset));
            prop_assert_eq!(word(&kind), expected, "{:?}", spec);
            match (&known, key.state()) {
                (None, None) => {}
                (Some(known), Some(state)) => {
                    prop_assert_eq!(&Value::Object(known.row.clone()), &key.row());
                    prop_assert_eq!((known.deleted, known.version), (state.deleted, state.version));
                }
                _ => prop_assert!(false, "one of them knows the key"),
            }
        }
    }

    #[test]
    fn the_same_changes_give_the_same_bytes(specs in prop::collection::vec(any_spec(), 1..20)) {
        let catalog = catalog_once();
        let fold = || {
            let mut key = Key::new(catalog);
            let kinds: Vec<_> = specs.iter().map(|spec| key.fold(spec)).collect();
            (kinds, key.bytes)
        };
        prop_assert_eq!(fold(), fold());
    }

    #[test]
    fn an_insert_or_snapshot_row_repeated_at_once_changes_nothing(specs in prop::collection::vec(any_spec(), 1..12)) {
        let mut key = Key::new(catalog_once());
        for spec in &specs {
            let (first, _) = key.fold(spec);
            let before = (key.bytes.clone(), first);
            let (kind, wrote) = key.fold(spec);
            match spec.operation {
                // Of a deleted key the first repeat is refused.
                Operation::Delete => prop_assert_eq!(reason(&kind), "unknown_key"),
                _ => prop_assert!(matches!(kind, Kind::Unchanged { .. } | Kind::Rejected { .. }), "{:?}", kind),
            }
            prop_assert!(!wrote && key.bytes == before.0);
        }
    }

    #[test]
    fn order_across_keys_is_irrelevant(specs in prop::collection::vec((0_usize..3, any_spec()), 1..25)) {
        let catalog = catalog_once();
        let rows = |specs: &[(usize, Spec)]| {
            let mut keys: BTreeMap<usize, Key<'_>> = BTreeMap::new();
            for (number, spec) in specs {
                keys.entry(*number).or_insert_with(|| Key::new(catalog)).fold(spec);
            }
            keys.into_iter().map(|(number, key)| (number, key.bytes)).collect::<Vec<_>>()
        };
        let mut grouped = specs.clone();
        grouped.sort_by_key(|(number, _)| *number);
        prop_assert_eq!(rows(&specs), rows(&grouped));
    }
}

fn catalog_once() -> &'static Catalog {
    static CATALOG: std::sync::OnceLock<std::sync::Arc<Catalog>> = std::sync::OnceLock::new();
    CATALOG.get_or_init(catalog)
}
