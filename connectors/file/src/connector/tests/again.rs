//! What is read again, in which order, and what a name decides.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tidemark_connector_core::{Connector, ConnectorError};

use super::shop::Shop;
use super::{FAILED, PENDING, PROCESSED, customer, envelope};

fn level(code: &str, level: &str) -> Value {
    json!({"customer_code": code, "updates": {"vip_level": level}})
}

#[tokio::test]
async fn what_stands_behind_a_file_that_changes_waits_for_it() {
    let mut shop = Shop::new().await;
    let path = format!("{PENDING}/customers_add.json");
    let data: Vec<Value> = (1..=20_000).map(customer).collect();
    shop.drop_file(&path, envelope("INSERT", &data));
    let update = level("BJ-HA-001-C0001", "PLATINUM");
    shop.drop_file(&format!("{PENDING}/customers_update.json"), envelope("UPDATE", &[update]));
    while shop.connector.counts().published == 0 {
        shop.connector.step().await.unwrap();
    }
    shop.drop_file(&path, envelope("INSERT", &data[..19_999]));
    let statistics = shop.run().await;
    assert_eq!(statistics.errors, 0, "{statistics}");
    assert_eq!(shop.row("customer", "BJ-HA-001-C0001").unwrap()["vip_level"], "PLATINUM", "the later file was read later");
}

#[tokio::test]
async fn a_name_that_does_not_suit_makes_nothing_forgotten() {
    let mut shop = Shop::new().await;
    shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &[customer(1)]));
    shop.run().await;
    let gold = envelope("UPDATE", &[level("BJ-HA-001-C0001", "GOLD")]);
    for (name, text) in [
        ("customers_update.json", gold.clone()),
        ("customers_update_2.json", envelope("UPDATE", &[level("BJ-HA-001-C0001", "PLATINUM")])),
        // The same as the first, named after another operation, and then rightly.
        ("customers_add.json", gold.clone()),
        ("customers_update.json", gold),
    ] {
        shop.drop_file(&format!("{PENDING}/{name}"), text);
        shop.run().await;
    }
    assert!(shop.path(&format!("{FAILED}/customers_add.json")).is_file());
    assert_eq!(shop.row("customer", "BJ-HA-001-C0001").unwrap()["vip_level"], "PLATINUM", "it was a repeat");
}

#[tokio::test]
async fn the_same_contents_under_the_name_of_another_form_are_no_repeat() {
    let mut shop = Shop::new().await;
    let contents = envelope("INSERT", &[json!({"consultant_id": 3, "name": "赵"})]);
    shop.drop_file(&format!("{PENDING}/doctors_add.json"), &contents);
    shop.run().await;
    shop.drop_file(&format!("{PENDING}/consultants_add.json"), &contents);
    shop.run().await;
    assert_eq!(shop.row("staff", "CONSULTANT-3").unwrap()["role"], "CONSULTANT");
    assert!(shop.result(&format!("{PROCESSED}/consultants_add.json"))["repeats_of"].is_null());
}

#[tokio::test]
async fn an_initial_file_that_failed_is_read_again_when_its_permissions_change() {
    let mut shop = Shop::new().await;
    let path = "initial/institutions/BJ-HA-001/customers.json";
    shop.drop_file(path, "[");
    assert_eq!(shop.run().await.files_read, 1);
    shop.restart().await;
    assert_eq!(shop.run().await.files_read, 0, "as it stands");
    fs::set_permissions(shop.path(path), fs::Permissions::from_mode(0o604)).unwrap();
    shop.restart().await;
    assert_eq!(shop.run().await.files_read, 1);
}

#[tokio::test]
async fn an_import_root_that_is_replaced_is_opened_anew() {
    let mut shop = Shop::new().await;
    shop.run().await;
    fs::rename(shop.path(""), shop.folder.path().join("former")).unwrap();
    shop.drop_file(&format!("{PENDING}/customers_add.json"), envelope("INSERT", &[customer(1)]));
    let error = shop.try_run().await.unwrap_err();
    assert!(matches!(error, ConnectorError::Unavailable { .. }) && error.to_string().contains("import"), "{error}");
    shop.connector.open().await.unwrap();
    shop.run().await;
    assert!(shop.row("customer", "BJ-HA-001-C0001").is_some());
}
