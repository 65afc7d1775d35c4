use super::*;

const VISIT: &str = r#"{"type": "record", "name": "visit",
    "tidemark": {"title": "到访", "key": "id", "vector": {"collection": "visits", "text": "{room}", "payload": ["room"]}},
    "fields": [
        {"name": "id", "type": "string", "title": "编号"},
        {"name": "room", "type": ["null", "string"], "default": null, "title": "房间"},
        {"name": "phone", "type": ["null", "string"], "default": null, "title": "电话", "pii": "phone"},
        {"name": "guest", "type": ["null", {"type": "record", "name": "guest", "fields": [
            {"name": "name", "type": ["null", "string"], "default": null, "title": "姓名"}]}], "default": null, "title": "来宾"}
    ]}"#;

/// The problems after one replacement.
fn problems(from: &str, to: &str) -> Vec<String> {
    let text = VISIT.replace(from, to);
    assert_ne!(text, VISIT, "nothing was replaced");
    compile("visit.avsc", &text).unwrap_err().into_iter().map(|error| error.problem).collect()
}

/// That one replacement makes exactly one problem, which begins like this.
fn refused(from: &str, to: &str, problem: &str) {
    let found = problems(from, to);
    assert!(found.len() == 1 && found[0].starts_with(problem), "{to}: {found:#?}");
}

#[test]
fn the_unchanged_file_compiles() {
    let visit = compile("visit.avsc", VISIT).unwrap();
    assert_eq!(
        visit.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
        ["id", "room", "phone", "guest_name"]
    );
    assert!(visit.schema_json.contains(r#""namespace":"tidemark""#));
    assert_eq!(visit.fingerprint, fingerprint(&visit.schema_json).unwrap());
}

#[test]
fn the_frame_is_checked() {
    refused(r#""type": "record", "name": "visit""#, r#""type": "record", "name": "Visit""#, "name: must be snake_case");
    refused(r#""name": "visit","#, r#""name": "visit", "namespace": "clinic","#, "namespace: must be \"tidemark\"");
    refused(r#""name": "visit","#, r#""name": "visit", "owner": "me","#, "unknown attribute `owner`; known are: type, name");
    refused(r#""tidemark": {"#, r#""tidemark": {"colour": 1, "#, "tidemark: unknown field `colour`, expected one of `key`");
    refused(r#""title": "到访", "#, "", "tidemark: missing field `title`");
    refused(r#""tidemark":"#, r#""doc":"#, "tidemark: is missing");
    assert!(problems(VISIT, "{").first().unwrap().starts_with("is not JSON: EOF"));
    assert!(problems(VISIT, "[]").first().unwrap().starts_with("is not a JSON object"));
}

#[test]
fn names_of_fields_must_exist() {
    let found = problems(r#""key": "id""#, r#""key": "code""#);
    assert!(found[0].starts_with("id: make its type"), "it is no key field now: {found:?}");
    assert_eq!(found[1], "tidemark.key: there is no field `code`");
    assert_eq!(problems(r#""key": "id""#, r#""key": []"#)[1], "tidemark.key: names no field");
    refused(r#""key": "id","#, r#""key": "id", "tenant": "guest.code","#, "tidemark.tenant: there is no field `guest.code`");
    refused(r#""key": "id","#, r#""key": "id", "log": {"partition_by": "guest"},"#, "tidemark.log.partition_by: `guest` must be");
    refused(r#""text": "{room}""#, r#""text": "{hall}""#, "tidemark.vector.text: there is no field `hall`");
    refused(r#""text": "{room}""#, r#""text": "{room""#, "tidemark.vector.text: the hole `{room` is not closed");
    refused(r#"["room"]"#, r#"["guest"]"#, "tidemark.vector.payload: there is no column `guest`");
    refused(r#""key": "id","#, r#""key": "id", "analytics": {"order_by": ["day"]},"#, "tidemark: `day` in `analytics.order_by`");
    let edge = r#""key": "id", "graph": {"edge": {"from": ["room", "kind"], "to": ["room", "id"]}},"#;
    refused(r#""key": "id","#, edge, "tidemark.graph.edge: `kind` is no text field");
}

#[test]
fn what_identifies_a_person_stays_out_of_vectors() {
    refused(r#""text": "{room}""#, r#""text": "{phone}""#, "tidemark.vector.text: `phone` is personal data of the kind `phone`");
    refused(r#"["room"]"#, r#"["phone"]"#, "tidemark.vector.payload: `phone` is personal data of the kind `phone`");
}

#[test]
fn only_key_fields_are_never_null() {
    refused(
        r#""type": "string", "title": "编号""#,
        r#""type": ["null", "string"], "default": null, "title": "编号""#,
        "id: is part of the key",
    );
    refused(
        r#"["null", "string"], "default": null, "title": "房间""#,
        r#""string", "title": "房间""#,
        "room: make its type [\"null\", X]",
    );
    refused(r#""default": null, "title": "房间""#, r#""title": "房间""#, "room: add \"default\": null");
    assert!(
        problems(
            r#"["null", "string"], "default": null, "title": "房间""#,
            r#"["string", "null"], "default": "", "title": "房间""#
        )[0]
        .starts_with("room: a union must be")
    );
}

#[test]
fn types_are_those_that_the_codec_knows() {
    let room = r#"["null", "string"], "default": null, "title": "房间""#;
    let with = |kind: &str| format!(r#"["null", {kind}], "default": null, "title": "房间""#);
    for kind in [
        r#""double""#,
        r#""bytes""#,
        r#"{"type": "map", "values": "string"}"#,
        r#"{"type": "long", "logicalType": "timestamp-millis"}"#,
    ] {
        assert!(
            problems(room, &with(kind)).iter().any(|found| found.starts_with("room: this type is not supported; use \"string\"")),
            "{kind}"
        );
    }
    let decimal = r#"{"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 2}"#;
    assert!(
        problems(room, &with(decimal))
            .contains(&"room: a decimal needs a precision of 1 to 28 and a scale of at most that".to_owned())
    );
    let nulls = r#"{"type": "array", "items": ["null", "string"]}"#;
    assert!(problems(room, &with(nulls)).contains(&"room: items of an array must not be null".to_owned()));
}

#[test]
fn attributes_belong_on_fitting_types() {
    let guest = r#""default": null, "title": "来宾""#;
    for (attribute, name) in [
        (r#""vocabulary": "status""#, "vocabulary"),
        (r#""codes": ["A"]"#, "codes"),
        (r#""format": "A""#, "format"),
        (r#""range": [1, 5]"#, "range"),
        (r#""references": "visit", "edge": "meets_visit""#, "references"),
    ] {
        refused(guest, &format!("{guest}, {attribute}"), &format!("guest: attribute `{name}` belongs on"));
    }
    let room = r#""title": "房间""#;
    refused(
        room,
        r#""title": "房间", "refrences": "visit""#,
        "room: unknown attribute `refrences`; known are: title, references, edge",
    );
    refused(room, r#""title": "房间", "edge": "in_visit""#, "room: has `edge` but no `references`");
    refused(room, r#""title": "房间", "references": "visit""#, "room: has `references` but no `edge`");
    refused(room, r#""title": "房间", "references": {"A": "b"}, "edge": "e""#, "room: `references` must be an entity's name or");
    let by = r#""title": "房间", "references": {"by": "kind", "A": "visit"}, "edge": "e""#;
    refused(room, by, "room: `references.by` names `kind`, which is no text field beside it");
    refused(room, r#""title": "房间", "format": "<room>""#, "room: attribute `format`: unknown hole");
    refused(room, r#""title": "房间", "codes": []"#, "room: attribute `codes` lists nothing");
    refused(room, r#""title": "房间", "required": "yes""#, "room: attribute `required`: invalid type");
    refused(", \"title\": \"房间\"", "", "room: has no `title`");
}

#[test]
fn names_must_not_collide() {
    let phone = r#"{"name": "phone","#;
    refused(phone, r#"{"name": "guest_name","#, "guest_name: two fields flatten to this column");
    refused(phone, r#"{"name": "tenant","#, "tenant: every table has such a column already; rename it (reserved: key, tenant");
    refused(phone, r#"{"name": "phone", "aliases": ["room"],"#, "room: two fields go by this name or alias");
    assert!(!problems(phone, r#"{"name": "room","#).is_empty());
    refused(r#""name": "guest", "fields""#, r#""name": "visit", "fields""#, "two records are named `visit`; rename one");
}

#[test]
fn names_in_a_payload_must_not_collide() {
    for name in ["entity", "deleted", "tidemark_text_hash", "tidemark_turn"] {
        refused("room", name, &format!("tidemark.vector.payload: every point has a `{name}` already; rename it"));
    }
    let payload = r#""payload": ["price", "price_fen"]}"#;
    let priced = VISIT.replace(r#""payload": ["room"]}"#, payload).replace(r#"{"name": "phone","#, r#"{"name": "price_fen","#);
    let priced = priced.replace(r#", "pii": "phone""#, "");
    let with = |kind: &str| {
        let field = format!(r#"{{"name": "price", "type": ["null", {kind}], "default": null, "title": "价格"}},"#);
        priced.replace(r#"{"name": "guest","#, &format!(r#"{field} {{"name": "guest","#))
    };
    let money = r#"{"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}"#;
    let found = compile("visit.avsc", &with(money)).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].problem, "tidemark.vector.payload: `price` stands there as `price_fen` too, in whole fen; rename one");
    compile("visit.avsc", &with(r#""string""#)).unwrap();
}

#[test]
fn references_deep_inside_arrays_are_refused() {
    let lines = r#"{"name": "phone", "type": ["null", {"type": "array", "items": {"type": "record", "name": "line", "fields": [
        {"name": "inner", "title": "i", "type": {"type": "record", "name": "inner", "fields": [
            {"name": "code", "title": "c", "type": "string", "references": "visit", "edge": "meets_visit"}]}}]}}],"#;
    refused(
        r#"{"name": "phone", "type": ["null", "string"],"#,
        lines,
        "phone.inner: a reference may stand in the records of an array",
    );
}
