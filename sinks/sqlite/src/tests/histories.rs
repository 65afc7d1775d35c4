//! Random histories, cut into batches at random, with repeats: a store ends as one that saw only the last states.

use proptest::prelude::*;
use tidemark_log::Share;
use tidemark_schemas::{Catalog, State};
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};

use super::harness::{KINDS, Kind, Store};

/// What happens to one of a few records.
#[derive(Debug, Clone)]
struct Step {
    order: bool,
    record: usize,
    variant: usize,
    deletes: bool,
}

fn steps() -> impl Strategy<Value = Vec<(Step, bool, bool)>> {
    let step = (any::<bool>(), 0..90_usize, 0..6_usize, prop::bool::weighted(0.2))
        .prop_map(|(order, record, variant, deletes)| Step { order, record, variant, deletes });
    // (what happens, whether a batch ends here, whether the batch before is delivered again)
    prop::collection::vec((step, prop::bool::weighted(0.03), prop::bool::weighted(0.1)), 1..400)
}

fn state(fixture: &Fixture, step: &Step, version: u64) -> State<'static> {
    let live = if step.order {
        let items: &[&str] = [&[][..], &["A"], &["A", "B"], &["B", "A"], &["A", "A"], &["C"]][step.variant];
        fixture.order(&format!("O{:03}", step.record), &format!("C{:03}", step.variant % 3), items, version)
    } else {
        let consultant = ["\"X\"", "\"Y\"", "null"][step.variant % 3];
        let row = format!(
            r#"{{"customer_code":"C{:03}","consultant_code":{consultant},"person":{{"name":"张{}"}}}}"#,
            step.record,
            step.variant / 3
        );
        fixture.state("customer", &row, version)
    };
    if step.deletes { fixture.deleted(&live, version) } else { live }
}

/// Delivers the states in batches; some of them twice, at later offsets, as after a crash.
async fn deliver(store: &Store, fixture: &Fixture, entity: &str, batches: &[(Vec<State<'static>>, bool)]) {
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let mut from = 0;
    for (states, again) in batches {
        for _ in 0..=usize::from(*again) {
            sink.apply(&fixture.batch(entity, from, states)).await.unwrap();
            from += states.len() as u64;
        }
    }
}

async fn check(kind: Kind, fixture: &Fixture, steps: &[(Step, bool, bool)]) {
    for entity in ["customer", "consumption"] {
        let mut batches: Vec<(Vec<State<'static>>, bool)> = vec![(Vec::new(), false)];
        let mut last = std::collections::BTreeMap::new();
        for (version, (step, ends, again)) in (1..).zip(steps) {
            if step.order != (entity == "consumption") {
                continue;
            }
            let state = state(fixture, step, version);
            last.insert(state.key.to_string(), state.clone());
            let batch = batches.last_mut().unwrap();
            batch.0.push(state);
            batch.1 |= *again;
            if *ends {
                batches.push((Vec::new(), false));
            }
        }
        let (lived, compacted) = (Store::fresh(kind, fixture.catalog()), Store::fresh(kind, fixture.catalog()));
        deliver(&lived, fixture, entity, &batches).await;
        deliver(&compacted, fixture, entity, &[(last.into_values().collect(), false)]).await;
        let (lived, compacted) = (lived.rows(entity).await, compacted.rows(entity).await);
        let different = lived.iter().zip(&compacted).find(|(one, other)| one != other);
        assert_eq!(different, None, "{kind:?} {entity}");
        assert_eq!(lived.len(), compacted.len(), "{kind:?} {entity}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn a_store_depends_on_the_last_states_alone(steps in steps()) {
        let fixture = Fixture::new(Catalog::built_in());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for kind in KINDS {
                check(kind, &fixture, &steps).await;
            }
        });
    }
}
