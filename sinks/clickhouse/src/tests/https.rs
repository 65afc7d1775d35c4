//! The server behind TLS.

use tidemark_log::Share;
use tidemark_schemas::Catalog;
use tidemark_sink_core::SinkError;
use tidemark_sink_core::contract::{Fixture, LOG};
use tidemark_test_support::Kind;
use tidemark_test_support::tls::TlsFront;

use super::harness::Database;
use crate::ClickHouseOptions;

#[tokio::test]
async fn https_is_spoken_with_those_whom_the_authority_vouches_for() {
    let Some(url) = Kind::ClickHouse.address("https_is_spoken_with_those_whom_the_authority_vouches_for") else { return };
    let fixture = Fixture::new(Catalog::built_in());
    let database = Database::fresh(&url, fixture.catalog());
    let front = TlsFront::start(url.trim_start_matches("http://")).await;
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("authority.pem");
    std::fs::write(&authorities, &front.certificate).unwrap();
    let https = format!("https://{}", front.address);
    let wary = ClickHouseOptions::new(&https, &database.name);
    let trusting = ClickHouseOptions { authorities: Some(authorities), ..wary.clone() };

    let mut sink = crate::analytics(trusting.clone(), fixture.catalog().clone(), Vec::new(), 0);
    sink.open(LOG, &Share::All).await.unwrap();
    // Larger than what is sent at once.
    let note = "很好".repeat(300_000);
    sink.apply(&fixture.batch("customer", 0, &[fixture.customer("C1", &note, 1)])).await.unwrap();
    assert_eq!(database.query("SELECT lengthUTF8(person_name) FROM customer").await, ["600000"]);

    let mut sink = crate::analytics(wary, fixture.catalog().clone(), Vec::new(), 0);
    let problem = match sink.open(LOG, &Share::All).await.unwrap_err() {
        // There is nobody whom the system trusts, or this one is not among them.
        SinkError::Unavailable { cause, .. } | SinkError::Fatal { cause, .. } => cause.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(problem.contains("`sinks.analytics.tls_authorities`"), "{problem}");

    let nobody = ClickHouseOptions { authorities: Some("nowhere.pem".into()), ..trusting };
    let report = crate::analytics(nobody, fixture.catalog().clone(), Vec::new(), 0).check(LOG).await;
    assert!(report.problems[0].contains("nowhere.pem"), "{report:?}");
}
