//! What is true of the store as a whole: growing, partitions, foreign logs, refusals with their remedies.

use std::time::Duration;

use tidemark_log::{LogIdentity, Share};
use tidemark_schemas::Catalog;
use tidemark_sink_core::SinkError;
use tidemark_sink_core::contract::{Fixture, LOG, StoreHarness};
use tidemark_sink_core::report::told;
use tidemark_test_support::Kind;

use super::harness::Store;
use crate::PostgresOptions;

fn fixture() -> Fixture {
    Fixture::new(Catalog::built_in())
}

fn voucher(relational: &str, fields: &str) -> Fixture {
    let text = format!(
        r#"{{"type":"record","name":"voucher","namespace":"tidemark","tidemark":{{"title":"券","key":"code"{relational}}},
            "fields":[{{"name":"code","type":"string","title":"券号","required":true}}{fields}]}}"#
    );
    Fixture::new(Catalog::with_files(&[("voucher.avsc".to_owned(), text)]).unwrap())
}

fn field(name: &str, kind: &str) -> String {
    format!(r#",{{"name":"{name}","type":["null",{kind}],"default":null,"title":"x"}}"#)
}

#[tokio::test]
async fn cells_have_their_types() {
    let Some(url) = Kind::Postgres.address("cells_have_their_types") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let mut batch = fixture.batch("customer", 0, &[fixture.customer("C1", "张三", 1)]);
    batch.parts.push(fixture.part("consumption", 0, &[fixture.order("O1", "C1", &["BOTOX|1", "FILLER"], 1)]));
    sink.apply(&batch).await.unwrap();
    let types = "SELECT column_name || ' ' || data_type FROM information_schema.columns WHERE table_schema = current_schema() \
                 AND table_name = 'consumption' AND column_name IN ('key', 'version', 'deleted_at', 'order_date', 'lines', \
                 'net_amount', 'source_is_new_customer') ORDER BY 1";
    assert_eq!(
        store.query(types).await,
        [
            "deleted_at timestamp with time zone",
            "key text",
            "lines jsonb",
            "net_amount numeric",
            "order_date date",
            "source_is_new_customer boolean",
            "version bigint",
        ]
    );
    let amounts = "SELECT sum(net_amount), min(order_date), sum((line ->> 'net_amount')::numeric) \
                   FROM consumption, jsonb_array_elements(lines) AS line";
    assert_eq!(store.query(amounts).await, ["400.00|2026-01-10|200.00"]);
    assert_eq!(
        store.query("SELECT entity, key, field, target_entity, target_key FROM dangling_reference ORDER BY 1, 3, 5").await,
        [
            "consumption|O1|doctor_code|staff|DOC-1",
            "consumption|O1|institution_code|institution|BJ-HA-001",
            r"consumption|O1|lines.item_code|project|BOTOX\|1",
            "consumption|O1|lines.item_code|project|FILLER",
            "customer|C1|consultant_code|staff|CONSULTANT-1",
            "customer|C1|institution_code|institution|BJ-HA-001",
        ]
    );
    let project = fixture.state("project", r#"{"project_code":"FILLER","name":"玻尿酸填充"}"#, 1);
    sink.apply(&fixture.batch("project", 0, std::slice::from_ref(&project))).await.unwrap();
    let filler = "SELECT count(*) FROM dangling_reference WHERE target_key = 'FILLER'";
    assert_eq!(store.query(filler).await, ["0"]);
    sink.apply(&fixture.batch("project", 1, &[fixture.deleted(&project, 2)])).await.unwrap();
    assert_eq!(store.query(filler).await, ["1"], "a reference to a deleted record dangles");
}

#[tokio::test]
async fn a_new_field_adds_a_column_and_the_table_is_read_again() {
    let Some(url) = Kind::Postgres.address("a_new_field_adds_a_column_and_the_table_is_read_again") else { return };
    let (text, amount) = (field("colour", "\"string\""), field("motto", "\"string\""));
    let (old, new) = (voucher("", &text), voucher("", &amount));
    let mut store = Store::fresh(&url, old.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    sink.apply(&old.batch("voucher", 0, &[old.state("voucher", r#"{"code":"V1","colour":"红"}"#, 1)])).await.unwrap();
    // What people build on the tables outlives all of this.
    store.run("CREATE VIEW mine AS SELECT code FROM voucher").await;
    store.catalog = new.catalog().clone();
    let mut sink = store.sink();
    assert_eq!(sink.open(LOG, &Share::All).await.unwrap()[0].next, 0, "its topic is read again");
    let state = new.state("voucher", r#"{"code":"V1","motto":"美"}"#, 1);
    assert_eq!(sink.apply(&new.batch("voucher", 0, std::slice::from_ref(&state))).await.unwrap().written, 1, "same version");
    assert_eq!(
        store.query("SELECT motto, colour FROM voucher").await,
        ["美|红"],
        "a column that no schema names keeps what it has"
    );
    assert_eq!(sink.apply(&new.batch("voucher", 1, &[state])).await.unwrap().written, 0, "afterwards only newer ones");
    sink.reset().await.unwrap();
    assert_eq!(store.query("SELECT count(*) FROM mine").await, ["0"]);
}

#[tokio::test]
async fn a_changed_type_is_refused_and_a_reset_makes_the_table_anew() {
    let Some(url) = Kind::Postgres.address("a_changed_type_is_refused_and_a_reset_makes_the_table_anew") else { return };
    let (old, new) = (voucher("", &field("worth", "\"long\"")), voucher("", &field("worth", "\"string\"")));
    let mut store = Store::fresh(&url, old.catalog());
    store.sink().open(LOG, &Share::All).await.unwrap();
    store.catalog = new.catalog().clone();
    let mut sink = store.sink();
    let error = sink.open(LOG, &Share::All).await.unwrap_err();
    assert!(matches!(error, SinkError::Fatal { .. }));
    let text = told(&error);
    assert!(
        text.contains("voucher.worth is bigint and should be text") && text.contains("`tidemark replay relational`"),
        "{text}"
    );
    sink.reset().await.unwrap();
    sink.open(LOG, &Share::All).await.unwrap();
    sink.apply(&new.batch("voucher", 0, &[new.state("voucher", r#"{"code":"V1","worth":"much"}"#, 1)])).await.unwrap();
    assert_eq!(store.query("SELECT worth FROM voucher").await, ["much"]);
}

#[tokio::test]
async fn a_store_of_the_format_before_is_refused_and_a_reset_makes_it_anew() {
    let Some(url) = Kind::Postgres.address("a_store_of_the_format_before_is_refused_and_a_reset_makes_it_anew") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let batch = fixture.batch("customer", 0, &[fixture.customer("C1", "张三", 1)]);
    sink.apply(&batch).await.unwrap();
    store
        .run(
            "UPDATE tidemark_meta SET value = '1' WHERE name = 'format'; ALTER TABLE tidemark_position DROP COLUMN derived; \
             CREATE TABLE tidemark_derivation(entity text PRIMARY KEY, fingerprint bigint NOT NULL); \
             INSERT INTO tidemark_derivation SELECT entity, 0 FROM tidemark_entity; DROP TABLE tidemark_entity",
        )
        .await;
    let error = told(&sink.open(LOG, &Share::All).await.unwrap_err());
    assert!(error.contains("has format 1") && error.contains("`tidemark replay relational`"), "{error}");
    let problems = sink.check(LOG).await.problems;
    assert!(problems.len() == 1 && problems[0].contains("has format 1"), "{problems:?}");
    sink.reset().await.unwrap();
    assert_eq!(sink.positions().await.unwrap(), []);
    assert_eq!(sink.open(LOG, &Share::All).await.unwrap(), []);
    assert_eq!(store.query("SELECT count(*)::text FROM customer").await, ["0"]);
    sink.apply(&batch).await.unwrap();
}

#[tokio::test]
async fn a_partition_that_somebody_dropped_is_no_fault_of_its_rows() {
    let Some(url) = Kind::Postgres.address("a_partition_that_somebody_dropped_is_no_fault_of_its_rows") else { return };
    let fixture = voucher(r#","relational":{"partition_by":"shop"}"#, &field("shop", "\"string\""));
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let row = |code: &str, version| fixture.state("voucher", &format!(r#"{{"code":"{code}","shop":"SH"}}"#), version);
    sink.apply(&fixture.batch("voucher", 0, &[row("V1", 1)])).await.unwrap();
    store.run(&format!("DROP TABLE {}", crate::partitions::name("voucher", Some("SH")))).await;
    let batch = fixture.batch("voucher", 1, &[row("V2", 2)]);
    let Err(error @ SinkError::Unavailable { .. }) = sink.apply(&batch).await else { panic!("the row is good") };
    assert!(told(&error).contains("a partition is missing"), "{}", told(&error));
    sink.open(LOG, &Share::All).await.unwrap();
    assert_eq!(sink.apply(&batch).await.unwrap().written, 1);
}

#[tokio::test]
async fn partitions_come_with_their_values_and_a_record_moves() {
    let Some(url) = Kind::Postgres.address("partitions_come_with_their_values_and_a_record_moves") else { return };
    let fixture = voucher(r#","relational":{"partition_by":"shop"}"#, &field("shop", "\"string\""));
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let row =
        |code: &str, shop: &str, version| fixture.state("voucher", &format!(r#"{{"code":"{code}","shop":{shop}}}"#), version);
    let first = [row("V1", "\"BJ's\"", 1), row("V2", "\"SH\"", 2), row("V3", "null", 3), row("V4", "\"SH\"", 4)];
    assert_eq!(sink.apply(&fixture.batch("voucher", 0, &first)).await.unwrap().written, 4);
    let parts = "SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r' AND relnamespace = \
                 to_regnamespace(quote_ident(current_schema()))";
    assert_eq!(store.query(parts).await, ["3"], "one for each value, one for none");
    let all = "SELECT code, shop, version FROM voucher ORDER BY 1";
    // A repeat, an older one elsewhere, a move to a new partition, one out of none and one into none.
    let second =
        [row("V1", "\"BJ's\"", 1), row("V4", "\"GZ\"", 3), row("V2", "\"GZ\"", 5), row("V3", "\"SH\"", 6), row("V1", "null", 7)];
    assert_eq!(sink.apply(&fixture.batch("voucher", 4, &second)).await.unwrap().written, 3);
    assert_eq!(store.query(all).await, ["V1|null|7", "V2|GZ|5", "V3|SH|6", "V4|SH|4"]);
    assert_eq!(store.query(parts).await, ["4"]);
    assert_eq!(sink.check(LOG).await.problems, Vec::<String>::new());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let third = [row("V2", "\"GZ\"", 8), row("V4", "\"SH\"", 9)];
    assert_eq!(sink.apply(&fixture.batch("voucher", 9, &third)).await.unwrap().written, 2);
    assert_eq!(store.query(all).await, ["V1|null|7", "V2|GZ|8", "V3|SH|6", "V4|SH|9"]);
    let whole = voucher("", &field("shop", "\"string\""));
    let error = crate::relational(store.options(), whole.catalog().clone()).open(LOG, &Share::All).await.unwrap_err();
    assert!(told(&error).contains("voucher is in partitions and should be whole"), "{}", told(&error));
}

#[tokio::test]
async fn a_dropped_table_is_made_and_filled_anew() {
    let Some(url) = Kind::Postgres.address("a_dropped_table_is_made_and_filled_anew") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    let states = [fixture.customer("C1", "张三", 1), fixture.customer("C2", "李四", 2)];
    sink.apply(&fixture.batch("customer", 0, &states)).await.unwrap();
    store.run("DROP TABLE customer CASCADE").await;
    let error = sink.apply(&fixture.batch("customer", 2, &[fixture.customer("C3", "王五", 3)])).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{}", told(&error));
    assert_eq!(sink.open(LOG, &Share::All).await.unwrap()[0].next, 0, "it is filled from the start");
    assert_eq!(sink.apply(&fixture.batch("customer", 0, &states)).await.unwrap().written, 2);
    assert_eq!(store.query("SELECT count(*) FROM dangling_reference").await, ["4"], "the view is there again");
}

#[tokio::test]
async fn refusals_name_the_place_and_the_remedy() {
    let Some(url) = Kind::Postgres.address("refusals_name_the_place_and_the_remedy") else { return };
    let fixture = fixture();
    let open = async |options: PostgresOptions| {
        let mut sink = crate::relational(options, fixture.catalog().clone());
        told(&sink.open(LOG, &Share::All).await.unwrap_err())
    };
    let foreign = Store::fresh(&url, fixture.catalog());
    foreign
        .run(&format!(
            "CREATE SCHEMA {0}; CREATE TABLE {0}.accounts(id integer)",
            tidemark_sink_core::sql::quoted(&foreign.schema)
        ))
        .await;
    let text = open(foreign.options()).await;
    assert!(text.contains("holds tables of another program; name another schema"), "{text}");
    assert_eq!(foreign.query("SELECT count(*) FROM accounts").await, ["0"], "they stay");

    let store = Store::fresh(&url, fixture.catalog());
    store.sink().open(LOG, &Share::All).await.unwrap();
    let mut sink = store.sink();
    let error = sink.open(LogIdentity { generation: LOG.generation + 1, ..LOG }, &Share::All).await.unwrap_err();
    assert!(matches!(&error, SinkError::ForeignLog(text) if text.contains("`tidemark replay relational`")), "{}", told(&error));
    assert_eq!(sink.filled_from().await.unwrap(), Some(LOG));
    sink.reset().await.unwrap();
    assert_eq!(sink.filled_from().await.unwrap(), None);

    store.run("UPDATE tidemark_meta SET value = value").await;
    let mut unknown = store.options();
    unknown.url = format!("{}_not_there", url.split('?').next().unwrap());
    assert!(open(unknown).await.contains("make the database (`createdb`)"));
    let mut nobody = store.options();
    nobody.url = "postgres://127.0.0.1:1/tidemark".to_owned();
    let error = crate::relational(nobody, fixture.catalog().clone()).open(LOG, &Share::All).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{}", told(&error));
    let mut wrong = store.options();
    wrong.url = "mysql://somebody:hunter2@here".to_owned();
    wrong.schema = "pg_mine".to_owned();
    wrong.lanes = 3;
    assert_eq!(wrong.problems().len(), 3, "{:?}", wrong.problems());
    assert!(!format!("{wrong:?} {}", open(wrong.clone()).await).contains("hunter2"), "no secret is shown");
}

#[tokio::test]
async fn check_tells_version_rows_and_what_is_in_the_way() {
    let Some(url) = Kind::Postgres.address("check_tells_version_rows_and_what_is_in_the_way") else { return };
    let fixture = fixture();
    let store = Store::fresh(&url, fixture.catalog());
    let before = store.sink().check(LOG).await;
    assert_eq!(before.problems, Vec::<String>::new(), "a store that is not there yet is no problem");
    assert!(before.summary.ends_with("not there yet: the first start makes it"), "{}", before.summary);
    let schemas =
        format!("SELECT count(*) FROM pg_namespace WHERE nspname = {}", tidemark_sink_core::sql::literal(&store.schema));
    assert_eq!(store.query(&schemas).await, ["0"], "a look makes nothing");
    assert_eq!(store.sink().positions().await.unwrap(), []);
    let mut sink = store.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    sink.apply(&fixture.batch("customer", 0, &[fixture.customer("C1", "张三", 1)])).await.unwrap();
    let report = sink.check(LOG).await;
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.summary.starts_with("PostgreSQL 1") && report.summary.ends_with(", 1 rows"), "{}", report.summary);
    assert_eq!(store.query("SELECT count(*) FROM tidemark_position WHERE entity = '#check'").await, ["0"], "it leaves no trace");
    // What one role owns, another may not write.
    let role = format!("tidemark_{}", uuid::Uuid::new_v4().simple());
    let quoted = tidemark_sink_core::sql::quoted(&store.schema);
    let database = store.query("SELECT current_database()").await.remove(0);
    store
        .run(&format!("CREATE ROLE {role}; GRANT USAGE ON SCHEMA {quoted} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {quoted} TO {role}"))
        .await;
    store.run(&format!("GRANT {role} TO current_user")).await;
    let mut options = store.options();
    options.url = format!("{url}{}options=-c%20role%3D{role}", if url.contains('?') { '&' } else { '?' });
    let report = crate::relational(options.clone(), fixture.catalog().clone()).check(LOG).await;
    let error = crate::relational(options, fixture.catalog().clone()).open(LOG, &Share::All).await.unwrap_err();
    store
        .run(&format!(
            "REVOKE ALL ON ALL TABLES IN SCHEMA {quoted} FROM {role}; REVOKE ALL ON SCHEMA {quoted} FROM {role}; DROP ROLE {role}"
        ))
        .await;
    assert!(
        !report.problems.is_empty() && report.problems.iter().all(|problem| problem.contains("grant the role")),
        "{report:?}"
    );
    assert!(matches!(error, SinkError::Fatal { .. }) && told(&error).contains("grant the role"), "{database}: {}", told(&error));
}

/// Waits until the index is there.
async fn index_comes(store: &Store, name: &str) {
    let sql = format!("SELECT count(*) FROM pg_indexes WHERE schemaname = current_schema() AND indexname = '{name}'");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while store.query(&sql).await == ["0"] {
        assert!(tokio::time::Instant::now() < deadline, "{name} is built");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn indexes_come_when_the_first_fill_is_over() {
    let Some(url) = Kind::Postgres.address("indexes_come_when_the_first_fill_is_over") else { return };
    let fixture = fixture();
    let many: Vec<_> = (0..600).map(|number| fixture.customer(&format!("C{number:04}"), "张三", number + 1)).collect();
    let some = "SELECT count(*) FROM pg_indexes WHERE schemaname = current_schema() AND indexname = 'customer.consultant_code'";

    let idle = Store::fresh(&url, fixture.catalog());
    let mut sink = idle.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    sink.apply(&fixture.batch("customer", 0, &many)).await.unwrap();
    assert_eq!(idle.query(some).await, ["0"], "not while it is filled");
    index_comes(&idle, "write_off.order_number").await;
    assert_eq!(idle.query(some).await, ["1"]);
    sink.apply(&fixture.batch("customer", 600, &many)).await.unwrap();

    let trickling = Store::fresh(&url, fixture.catalog());
    let mut sink = trickling.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    for (from, state) in (0..).zip(&many[..60]) {
        sink.apply(&fixture.batch("customer", from, std::slice::from_ref(state))).await.unwrap();
    }
    index_comes(&trickling, "write_off.order_number").await;

    let reopened = Store::fresh(&url, fixture.catalog());
    let mut sink = reopened.sink();
    sink.open(LOG, &Share::All).await.unwrap();
    sink.apply(&fixture.batch("customer", 0, &many)).await.unwrap();
    sink.open(LOG, &Share::All).await.unwrap();
    assert_eq!(reopened.query(some).await, ["1"], "an open makes what is missing");
}
