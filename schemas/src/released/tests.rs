use super::*;

#[test]
fn everything_built_in_is_compatible_with_all_its_releases() {
    assert_eq!(check(&Catalog::built_in()), []);
}

#[test]
fn every_built_in_entity_has_been_released_as_it_stands() {
    for entity in Catalog::built_in().entities() {
        let newest = HISTORY.iter().rfind(|release| release.entity == entity.name).unwrap();
        let newest = compile::compile("newest", newest.text).unwrap();
        assert_eq!(
            newest.fingerprint, entity.fingerprint,
            "{} has changed since its last release: add released/{}.v<n+1>.avsc and its golden bytes",
            entity.name, entity.name
        );
    }
}

#[test]
fn every_file_in_the_folder_is_in_the_history() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("released");
    let mut files: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut known: Vec<String> = HISTORY.iter().map(|release| format!("{}.v{}.avsc", release.entity, release.version)).collect();
    files.sort();
    known.sort();
    assert_eq!(files, known);
}

/// The findings when the customer's file is changed by one replacement.
fn findings(from: &str, to: &str) -> Vec<String> {
    let text = include_str!("../../entities/customer.avsc").replace(from, to);
    assert!(text.contains(to), "nothing was replaced");
    let catalog = Catalog::with_files(&[("customer.avsc".to_owned(), text)]).unwrap();
    check(&catalog).iter().map(ToString::to_string).collect()
}

#[test]
fn an_added_field_breaks_nothing() {
    let notes = r#"{"name": "notes","#;
    let wechat = r#"{"name": "wechat", "type": ["null", "string"], "default": null, "title": "微信"},"#;
    assert_eq!(findings(notes, &format!("{wechat} {notes}")), [] as [&str; 0]);
}

#[test]
fn another_type_is_found_in_both_directions() {
    let found = findings(
        r#"{"name": "notes", "type": ["null", "string"]"#,
        r#"{"name": "remarks", "type": ["null", "string"], "default": null, "title": "r"}, {"name": "notes", "type": ["null", "boolean"]"#,
    );
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("customer: against release 1: records of that release cannot be read any more: `notes`"));
    assert!(found[1].starts_with("customer: against release 1: that release cannot read the records of now: `notes`"));
}

#[test]
fn another_scale_of_a_decimal_is_found() {
    let text = include_str!("../../entities/write_off.avsc").replace(r#""scale": 2"#, r#""scale": 3"#);
    let catalog = Catalog::with_files(&[("write_off.avsc".to_owned(), text)]).unwrap();
    let found = check(&catalog);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].problem.contains("`amount` cannot be read as `amount`: its scale is 2, here it is 3"), "{found:#?}");
}

#[test]
fn another_key_tenant_or_partition_is_found() {
    let key = r#""key": "customer_code","#;
    let found = findings(r#""tenant": "institution_code","#, r#""tenant": "referrer_code","#);
    assert_eq!(found, ["customer: against release 1: `tenant` was institution_code, now it is referrer_code; it must stay"]);
    let found = findings(key, &format!(r#"{key} "log": {{"partition_by": "institution_code"}},"#));
    assert_eq!(found, ["customer: against release 1: `log.partition_by` was none, now it is institution_code; it must stay"]);
    let text = include_str!("../../entities/catalog_relation.avsc")
        .replace(r#""key": ["source_type", "source_code","#, r#""key": ["source_code", "source_type","#);
    let catalog = Catalog::with_files(&[("catalog_relation.avsc".to_owned(), text)]).unwrap();
    assert!(check(&catalog)[0].problem.starts_with("the key was source_type, source_code, target_type"));
}

#[test]
fn a_moved_field_is_found() {
    let phone = r#"{"name": "phone", "type": ["null", "string"], "default": null, "title": "手机号", "pii": "phone"},"#;
    let text = include_str!("../../entities/customer.avsc").replace(phone, "");
    let moved = text.replace(r#"{"name": "name", "type""#, &format!(r#"{phone} {{"name": "name", "type""#));
    let catalog = Catalog::with_files(&[("customer.avsc".to_owned(), moved)]).unwrap();
    let found: Vec<String> = check(&catalog).into_iter().map(|finding| finding.problem).collect();
    assert_eq!(found, ["`person.phone` has moved before a field that it stood behind; move it back"]);
}

#[test]
fn a_released_entity_that_is_gone_is_found() {
    let history = [release("voucher", 1, "{}"), release("staff", 2, "{}")];
    let found = check_history(&Catalog::built_in(), &history);
    assert!(found[0].to_string().starts_with("voucher: against release 1: the entity is gone"));
    assert!(found[1].problem.starts_with("the release does not load: staff.v2.avsc"), "{found:#?}");
}
