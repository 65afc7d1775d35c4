use super::*;
use crate::attributes::{Graph, Target};
use crate::cell::Cell;

fn files(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// The problems of loading the built-in files with these.
fn problems(list: &[(&str, &str)]) -> Vec<String> {
    Catalog::with_files(&files(list)).unwrap_err().iter().map(ToString::to_string).collect()
}

const CAMPAIGN: &str = r#"{"type": "record", "name": "campaign",
    "tidemark": {"title": "活动", "key": "campaign_code", "tenant": "institution_code"},
    "fields": [
        {"name": "campaign_code", "type": "string", "title": "活动代码"},
        {"name": "institution_code", "type": ["null", "string"], "default": null, "title": "机构", "references": "institution", "edge": "held_by_institution"},
        {"name": "channel", "type": ["null", "string"], "default": null, "title": "渠道", "vocabulary": "channel"}
    ]}"#;
const CHANNEL: &str = r#"{"name": "channel", "title": "渠道", "codes": [{"code": "SMS", "title": "短信", "aliases": ["短信"]}]}"#;

#[test]
fn the_built_in_entities_come_in_reading_order() {
    let catalog = Catalog::built_in();
    let names: Vec<&str> = catalog.entities().iter().map(|entity| entity.name.as_str()).collect();
    assert_eq!(names, ["institution", "staff", "project", "product", "customer", "consumption", "write_off", "catalog_relation"]);
}

#[test]
fn every_file_in_the_folders_is_built_in() {
    let folder = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let mut on_disk = [folder("entities"), folder("vocabularies")].concat();
    let mut built_in: Vec<String> = BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
    on_disk.sort();
    built_in.sort();
    assert_eq!(on_disk, built_in);
}

#[test]
fn a_customer_is_compiled_as_its_file_says() {
    let catalog = Catalog::built_in();
    let customer = catalog.entity("customer").unwrap();
    assert_eq!(customer.title, "客户");
    assert_eq!(customer.key[0].dotted, "customer_code");
    assert_eq!(customer.tenant.as_ref().unwrap().dotted, "institution_code");
    let person = customer.record.fields.iter().find(|field| field.name == "person").unwrap();
    assert_eq!((person.number, person.nullable, person.required), (2, true, false));
    assert_eq!(customer.field(3).name, "name");
    assert!(customer.field(3).required);
    assert_eq!(customer.field(10).name, "vip_level");
    let columns: Vec<&str> = customer.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns[..4], ["customer_code", "institution_code", "person_name", "person_phone"]);
    assert_eq!(customer.columns[3].number, 4);
    assert_eq!(customer.vector.as_ref().unwrap().collection, "customer_profiles");
}

#[test]
fn references_inside_lines_know_their_line_and_what_decides() {
    let catalog = Catalog::built_in();
    let consumption = catalog.entity("consumption").unwrap();
    let includes = consumption.references.iter().find(|found| found.reference.edge == "includes_item").unwrap();
    assert_eq!(includes.path.dotted, "lines");
    assert_eq!((includes.item, includes.by), (Some((2, Some(0))), Some(1)));
    let Target::By { field, cases } = &includes.reference.target else { unreachable!("it is decided by the item type") };
    assert_eq!((field.as_str(), cases["PROJECT"].as_str(), cases["PRODUCT"].as_str()), ("item_type", "project", "product"));
}

#[test]
fn a_relation_is_an_edge() {
    let catalog = Catalog::built_in();
    let relation = catalog.entity("catalog_relation").unwrap();
    let Graph::Edge(shape) = &relation.graph else { unreachable!("a relation is no vertex") };
    assert_eq!(shape.from, ("source_type".to_owned(), "source_code".to_owned()));
    assert_eq!(relation.key.len(), 5);
}

#[test]
fn an_added_file_is_an_entity_with_default_file_names() {
    let catalog = Catalog::with_files(&files(&[("schemas/campaign.avsc", CAMPAIGN), ("channel.json", CHANNEL)])).unwrap();
    let campaign = catalog.entity("campaign").unwrap();
    let form = campaign.file.as_ref().unwrap();
    assert_eq!((form.names.as_slice(), form.order), (["campaign".to_owned(), "campaigns".to_owned()].as_slice(), 90));
    assert_eq!(catalog.vocabulary("channel").unwrap().canonical("短信"), Some("SMS"));
    assert_eq!(campaign.graph, Graph::Vertex);
    assert!(campaign.field(0).required, "a key field always is");
}

#[test]
fn an_entity_may_say_that_it_comes_from_no_file() {
    let text = CAMPAIGN.replace(r#""title": "活动","#, r#""title": "活动", "file": null,"#);
    let catalog = Catalog::with_files(&files(&[("campaign.avsc", &text), ("channel.json", CHANNEL)])).unwrap();
    assert_eq!(catalog.entity("campaign").unwrap().file, None);
}

#[test]
fn an_added_file_overrides_a_built_in_one() {
    let gender = r#"{"name": "gender", "title": "性别", "codes": [{"code": "X", "title": "其他"}]}"#;
    let catalog = Catalog::with_files(&files(&[("gender.json", gender)])).unwrap();
    assert_eq!(catalog.vocabulary("gender").unwrap().canonical("女"), None);
    assert_eq!(catalog.vocabularies().len(), 9);
}

#[test]
fn all_problems_of_all_files_are_told_with_their_file() {
    let broken = CAMPAIGN.replace("\"edge\"", "\"egde\"");
    let found = problems(&[("campaign.avsc", &broken), ("channel.json", "{"), ("notes.txt", "")]);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(
        found[0].starts_with("campaign.avsc: institution_code: unknown attribute `egde`; known are: title, references, edge")
    );
    assert!(found[1].starts_with("campaign.avsc: institution_code: has `references` but no `edge`"));
    assert!(found[2].starts_with("channel.json: EOF"));
    assert!(found[3].starts_with("notes.txt: is neither .avsc"));
}

#[test]
fn what_is_referenced_must_exist() {
    let found =
        problems(&[("campaign.avsc", &CAMPAIGN.replace("\"references\": \"institution\"", "\"references\": \"clinic\""))]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("institution_code: references `clinic`, which is no entity; known are: institution, staff"));
    assert!(found[1].contains("channel: there is no vocabulary `channel`; known are: gender, vip_level"));
}

#[test]
fn the_table_of_a_list_belongs_to_one_entity() {
    let with_list = |entity: &str, column: &str, record: &str| {
        format!(
            r#"{{"type": "record", "name": "{entity}", "tidemark": {{"title": "单", "key": "code"}}, "fields": [
                {{"name": "code", "type": "string", "title": "代码"}},
                {{"name": "{column}", "title": "行", "default": null, "type": ["null", {{"type": "array", "items": {{
                    "type": "record", "name": "{record}", "fields": [
                        {{"name": "note", "type": ["null", "string"], "default": null, "title": "备注"}}]}}}}]}}]}}"#
        )
    };
    let (one, two) = (with_list("gift", "parts", "part"), with_list("bundle", "parts", "part"));
    let found = problems(&[("gift.avsc", &one), ("bundle.avsc", &two)]);
    assert_eq!(found, ["bundle.avsc: parts: its table `part` already is one of `gift`; rename the record `part`"]);
    // The record has an entity's name, and what it is called by then is another's.
    let (one, two) = (with_list("gift", "parts", "customer"), with_list("bundle", "lines", "gift_parts"));
    assert_eq!(problems(&[("gift.avsc", &one), ("bundle.avsc", &two)]).len(), 1);
    let catalog = Catalog::with_files(&files(&[("gift.avsc", &one)])).unwrap();
    let gift = catalog.entity("gift").unwrap();
    let names: Vec<String> = gift.lists().map(|(column, item)| catalog.list_name(gift, column, item)).collect();
    assert_eq!(names, ["gift_parts"]);
}

#[test]
fn a_file_name_belongs_to_one_entity() {
    let text = CAMPAIGN.replace(r#""title": "活动","#, r#""title": "活动", "file": {"names": ["customers"]},"#);
    let found = problems(&[("campaign.avsc", &text), ("channel.json", CHANNEL)]);
    assert_eq!(found, ["campaign.avsc: files named `customers` already are those of `customer`; name another in `file.names`"]);
}

#[test]
fn a_file_is_named_after_what_it_describes() {
    let found = problems(&[("event.avsc", CAMPAIGN), ("channel.json", CHANNEL)]);
    assert_eq!(found, ["event.avsc: describes `campaign`; name the file after it or change the name inside"]);
}

#[test]
fn writer_schemas_are_one_pair_an_entity_and_all_differ() {
    let catalog = Catalog::built_in();
    let schemas = catalog.writer_schemas();
    let fingerprints: std::collections::HashSet<u64> = schemas.iter().map(|(_, fingerprint, _)| *fingerprint).collect();
    assert_eq!((schemas.len(), fingerprints.len()), (16, 16));
    for (entity, _, json) in &schemas {
        catalog.learn(entity, json).unwrap();
    }
    assert!(catalog.plans.read().unwrap().is_empty(), "our own schemas need no plan");
}

#[test]
fn the_key_of_a_row_joins_its_fields() {
    let catalog = Catalog::built_in();
    let relation = catalog.entity("catalog_relation").unwrap();
    let mut row = vec![Cell::Null; relation.record.fields.len()];
    for (cell, text) in row.iter_mut().zip(["PROJECT", "A|1", "PRODUCT", "B", "UPGRADE"]) {
        *cell = Cell::text(text);
    }
    assert_eq!(relation.key_of(&row).unwrap().as_str(), r"PROJECT|A\|1|PRODUCT|B|UPGRADE");
    row[4] = Cell::Null;
    assert_eq!(relation.key_of(&row), None);
    let customer = catalog.entity("customer").unwrap();
    let mut row = vec![Cell::Null; customer.record.fields.len()];
    assert_eq!(customer.key_of(&row), None);
    row[0] = Cell::text("BJ|C1");
    assert_eq!(customer.key_of(&row).unwrap().as_str(), r"BJ\|C1");
}
