//! Old readers and new writers, and the other way round.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use serde_json::json;

use super::oracle::{HEADER_BYTES, change_value, state_value};
use super::*;
use crate::entity::FieldPath;
use crate::row::hash;
use crate::samples::later_customer;

/// A build of today and a later one; each has learnt the other's schemas.
fn builds() -> (Catalog, Catalog) {
    let today = Catalog::built_in();
    let later = Catalog::with_files(&[("customer.avsc".to_owned(), later_customer())]).unwrap();
    for (reader, writer) in [(&today, &later), (&later, &today)] {
        for (entity, _, json) in writer.writer_schemas() {
            reader.learn(&entity, &json).unwrap();
        }
    }
    (today, later)
}

/// What `apache-avro` reads from the bytes of `writer` as `reader`.
fn resolved(writer: &str, reader: &str, bytes: &[u8]) -> Value {
    let (writer, reader) = (Schema::parse_str(writer).unwrap(), Schema::parse_str(reader).unwrap());
    let datum = GenericDatumReader::builder(&writer).reader_schema(&reader).build().unwrap();
    datum.read_value(&mut &bytes[HEADER_BYTES..]).unwrap()
}

fn reads_as_the_oracle_does(writer: &Catalog, reader: &Catalog) {
    let (from, to) = (writer.entity("customer").unwrap(), reader.entity("customer").unwrap());
    assert_ne!(from.change_envelope.fingerprint, to.change_envelope.fingerprint);
    proptest!(ProptestConfig::with_cases(128), |(change in any_change(from), state in any_state(from))| {
        // Masks are numbers to the oracle; ours are looked at apart.
        let change = Change { mask: Vec::new(), ..change };
        let bytes = encoded_change(from, &change);
        let read = decode_change(reader, to, &bytes).unwrap();
        prop_assert_eq!(change_value(&to.record, &read), resolved(&change_schema(from), &change_schema(to), &bytes));
        let bytes = encoded_state(from, &state);
        let read = decode_state(reader, to, &bytes).unwrap();
        prop_assert_eq!(state_value(&to.record, &read), resolved(&state_schema(from), &state_schema(to), &bytes));
    });
}

#[test]
fn an_old_reader_reads_a_new_writer() {
    let (today, later) = builds();
    reads_as_the_oracle_does(&later, &today);
}

#[test]
fn a_new_reader_reads_an_old_writer() {
    let (today, later) = builds();
    reads_as_the_oracle_does(&today, &later);
}

/// The dotted names of a mask.
fn names(entity: &Entity, mask: &[u32]) -> Vec<String> {
    mask.iter().map(|number| entity.dotted(*number).unwrap()).collect()
}

fn number(entity: &Entity, dotted: &str) -> u32 {
    (0..=crate::samples::last_number(&entity.record))
        .find(|number| entity.dotted(*number).unwrap() == dotted)
        .unwrap_or_else(|| panic!("{dotted}"))
}

#[test]
fn masks_name_the_same_fields_to_every_reader() {
    let (today, later) = builds();
    let (old, new) = (today.entity("customer").unwrap(), later.entity("customer").unwrap());
    let spoken = ["visit", "visit.room", "person.name", "person.wechat", "person.phone", "vip_level", "notes", "nickname"];
    let mut row = vec![Cell::Null; new.record.fields.len()];
    row[0] = Cell::text("BJ-C1");
    let mask: Vec<u32> = spoken.iter().map(|name| number(new, name)).collect();
    let change = Change { operation: Operation::Update, mask, row: Some(row), ..a_change() };
    let bytes = encoded_change(new, &change);
    let read = decode_change(&today, old, &bytes).unwrap();
    assert_eq!(names(old, &read.mask), ["person.name", "person.phone", "vip_level", "notes"]);

    let back = Change { mask: read.mask, row: read.row, ..change };
    let bytes = encoded_change(old, &back);
    let read = decode_change(&later, new, &bytes).unwrap();
    assert_eq!(names(new, &read.mask), ["person.name", "person.phone", "vip_level", "notes"]);
}

/// By the specification; `apache-avro` itself fills in the default instead.
#[test]
fn a_renamed_field_is_found_by_its_alias() {
    let today = Catalog::built_in();
    let renamed = include_str!("../../../entities/institution.avsc")
        .replace(r#"{"name": "alias","#, r#"{"name": "short_name", "aliases": ["alias"],"#);
    let later = Catalog::with_files(&[("institution.avsc".to_owned(), renamed)]).unwrap();
    let (old, new) = (today.entity("institution").unwrap(), later.entity("institution").unwrap());
    later.learn("institution", &change_schema(old)).unwrap();
    let mut row = a_change().row.unwrap();
    row[2] = Cell::text("华美北京");
    let change = Change { operation: Operation::Update, mask: vec![2], row: Some(row), ..a_change() };
    let bytes = encoded_change(old, &change);
    assert_eq!(decode_change(&later, new, &bytes).unwrap(), change);
}

#[test]
fn a_row_keeps_its_hash_when_fields_are_added() {
    let (today, later) = builds();
    let (old, new) = (today.entity("customer").unwrap(), later.entity("customer").unwrap());
    proptest!(|(state in any_state(old))| {
        let bytes = encoded_state(old, &state);
        let read = decode_state(&later, new, &bytes).unwrap();
        prop_assert_ne!(read.row.len(), state.row.len());
        prop_assert_eq!(hash(&new.record, &read.row), hash(&old.record, &state.row));
    });
}

#[test]
fn damaged_bytes_of_another_build_are_refused_too() {
    let (today, later) = builds();
    let (old, new) = (today.entity("customer").unwrap(), later.entity("customer").unwrap());
    let places = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    proptest!(|(change in any_change(new), state in any_state(new), places in places)| {
        for mut bytes in [encoded_change(new, &change), encoded_state(new, &state)] {
            for (place, byte) in &places {
                let place = 10 + place.index(bytes.len() - 10);
                bytes[place] = *byte;
            }
            let _ = decode_change(&today, old, &bytes);
            let _ = decode_state(&today, old, &bytes);
        }
    });
}

/// `customer` written with the JSON changed; what today's reader says to it.
fn refusal(change: impl Fn(&mut serde_json::Value)) -> String {
    let today = Catalog::built_in();
    let mut envelope = serde_json::from_str(&change_schema(today.entity("customer").unwrap())).unwrap();
    change(&mut envelope);
    today.learn("customer", &envelope.to_string()).unwrap_err().to_string()
}

fn row_fields(envelope: &mut serde_json::Value) -> &mut Vec<serde_json::Value> {
    let fields = envelope["fields"].as_array_mut().unwrap();
    let row = fields.iter_mut().find(|field| field["name"] == "row").unwrap();
    row["type"][1]["fields"].as_array_mut().unwrap()
}

#[test]
fn incompatible_writers_are_refused_with_the_field() {
    let said = refusal(|envelope| row_fields(envelope)[3]["type"] = json!(["null", "long"]));
    assert!(said.contains("writer schema of customer: `vip_level` cannot be read as `vip_level`: the types differ"), "{said}");
    let said = refusal(|envelope| {
        row_fields(envelope).remove(0);
    });
    assert!(said.contains("`customer_code` is never null here, but the writer has no such field"), "{said}");
    let said = refusal(|envelope| {
        envelope["fields"].as_array_mut().unwrap().remove(0);
    });
    assert!(said.contains("its envelope has no `key`"), "{said}");
    let said = refusal(|envelope| envelope["fields"][0]["type"] = json!("long"));
    assert!(said.contains("its envelope's `key` is of another type"), "{said}");
    let said = refusal(|envelope| envelope["name"] = json!("product"));
    assert!(said.contains("is tidemark.change.product, but `tidemark.change.customer`"), "{said}");
    let nothing = json!({"name": "void", "type": {"type": "array", "items": "null"}});
    let said = refusal(|envelope| row_fields(envelope).push(nothing.clone()));
    assert!(said.contains("an array's items have no bytes"), "{said}");
}

#[test]
fn a_writer_with_types_of_its_own_is_read_past_them() {
    let today = Catalog::built_in();
    let entity = today.entity("institution").unwrap();
    let mut envelope: serde_json::Value = serde_json::from_str(&change_schema(entity)).unwrap();
    let extra = json!([
        {"name": "ratio", "type": "double"},
        {"name": "extra", "type": {"type": "map", "values": ["null", "long", {"type": "array", "items": "bytes"}]}},
        {"name": "digest", "type": {"type": "fixed", "name": "md5", "size": 16}},
        {"name": "status2", "type": {"type": "enum", "name": "e", "symbols": ["A", "B"]}},
    ]);
    row_fields(&mut envelope).splice(3..3, extra.as_array().unwrap().clone());
    envelope["fields"].as_array_mut().unwrap().push(json!({"name": "trace", "type": "string"}));
    let envelope = envelope.to_string();
    today.learn("institution", &envelope).unwrap();

    let schema = Schema::parse_str(&envelope).unwrap();
    let Value::Record(mut fields) = change_value(&entity.record, &a_change()) else { unreachable!("a change is a record") };
    let Value::Union(_, row) = &mut fields[4].1 else { unreachable!("the row is a union") };
    let Value::Record(cells) = row.as_mut() else { unreachable!("a row is a record") };
    let blobs = Value::Union(2, Box::new(Value::Array(vec![Value::Bytes(vec![1, 2]), Value::Bytes(Vec::new())])));
    let map = [("a".to_owned(), blobs), ("b".to_owned(), Value::Union(0, Box::new(Value::Null)))];
    let values = [
        ("ratio".to_owned(), Value::Double(0.5)),
        ("extra".to_owned(), Value::Map(map.into_iter().collect())),
        ("digest".to_owned(), Value::Fixed(16, vec![9; 16])),
        ("status2".to_owned(), Value::Enum(1, "B".to_owned())),
    ];
    cells.splice(3..3, values);
    fields.push(("trace".to_owned(), Value::String("t".to_owned())));
    let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&schema).build().unwrap();
    let body = writer.write_value_to_vec(Value::Record(fields)).unwrap();
    let fingerprint = crate::compile::fingerprint(&envelope).unwrap();
    let bytes = [&[0xC3, 0x01], fingerprint.to_le_bytes().as_slice(), &body].concat();
    assert_eq!(decode_change(&today, entity, &bytes).unwrap(), a_change());
}

#[test]
fn an_int_of_the_writer_is_read_as_a_long() {
    let with = |kind: &str| {
        let text = r#"{"type": "record", "name": "visit", "tidemark": {"title": "v", "key": "id"}, "fields": [
            {"name": "id", "type": "string", "title": "id"},
            {"name": "count", "type": ["null", "KIND"], "default": null, "title": "n"}]}"#;
        Catalog::with_files(&[("visit.avsc".to_owned(), text.replace("KIND", kind))]).unwrap()
    };
    let (narrow, wide) = (with("int"), with("long"));
    let (writer, reader) = (narrow.entity("visit").unwrap(), wide.entity("visit").unwrap());
    wide.learn("visit", &change_schema(writer)).unwrap();
    let change = Change { row: Some(vec![Cell::text("a"), Cell::Int(i64::from(i32::MIN))]), ..a_change() };
    let bytes = encoded_change(writer, &change);
    assert_eq!(decode_change(&wide, reader, &bytes).unwrap(), change);
    let path = FieldPath { positions: vec![1], dotted: "count".to_owned() };
    assert_eq!(path.get(decode_change(&wide, reader, &bytes).unwrap().row.as_ref().unwrap()), &Cell::Int(i64::from(i32::MIN)));
}
