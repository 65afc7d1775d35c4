//! One record of a file to one change of its entity, or the reason why it is rejected.
//!
//! Guarantees: pure; the same record gives the same row; what is not named in an update is not in its mask. The row borrows its
//! texts from the record. Relies on the plan of the form. Whether the key exists is the fold's to judge.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tidemark_schemas::row::missing_required;
use tidemark_schemas::{Cell, Operation, format};

use super::Form;
use super::names::{How, ORDER_PART_COUNT};
use super::notes::Notes;
use super::order;
use super::plan::{PlanField, PlanKind, PlanRecord, Target};
use super::value::{self, Surroundings};
use crate::fields::{self, Field};
use crate::problem::{Problem, Rejected, quote};

/// What a record becomes; the connector adds numbers and times.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped<'r> {
    /// Key text.
    pub key: String,
    /// Institution code.
    pub tenant: Option<String>,
    /// For updates: the numbers of the fields spoken of, ascending.
    pub mask: Vec<u32>,
    /// `None` for deletes.
    pub row: Option<Vec<Cell<'r>>>,
}

/// Maps the records of one file.
#[derive(Debug)]
pub struct Mapper {
    form: Arc<Form>,
    operation: Operation,
    institution: Option<String>,
    zone: TimeZone,
    /// Entry of each name in the last record, by its place there.
    order: Vec<usize>,
    /// Remarks so far.
    pub notes: Notes,
}

/// A row under way.
pub(super) struct Draft<'r> {
    pub(super) row: Vec<Cell<'r>>,
    pub(super) mask: Vec<u32>,
    /// Of an update: the fields that were given as null, under any of their names.
    pub(super) cleared: Option<Vec<u32>>,
    pub(super) parts: [Option<&'r str>; ORDER_PART_COUNT],
}

/// Which fields of a record are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Take {
    /// All.
    All,
    /// Those that say which record it is.
    Identity,
}

impl Mapper {
    /// For a file of this form; `institution` is the envelope's or the folder's.
    pub fn new(form: Arc<Form>, operation: Operation, institution: Option<String>, zone: TimeZone) -> Self {
        Self { form, operation, institution, zone, order: Vec::new(), notes: Notes::default() }
    }

    /// The form.
    pub fn form(&self) -> &Arc<Form> {
        &self.form
    }

    /// Maps one record.
    pub fn map<'r>(&mut self, record: &'r str) -> Result<Mapped<'r>, Rejected> {
        let mut found = Vec::with_capacity(24);
        let form = Arc::clone(&self.form);
        fields::object(record, "", &mut found)
            .and_then(|()| self.map_fields(&form, &found))
            .map_err(|problem| Rejected { key: self.key_hint(&form, &found), problem })
    }

    fn map_fields<'r>(&mut self, form: &Form, found: &[Field<'r>]) -> Result<Mapped<'r>, Problem> {
        let institution = own_institution(form, found).or_else(|| self.institution.clone());
        let mut draft = Draft { row: form.plan.empty_row(), mask: Vec::new(), cleared: None, parts: [None; ORDER_PART_COUNT] };
        let mut around = Surroundings { zone: &self.zone, institution: institution.as_deref(), notes: &mut self.notes };
        let take = if self.operation == Operation::Insert { Take::All } else { Take::Identity };
        let updates = assign(form, found, take, &mut self.order, &mut draft, &mut around)?;
        let key = key_of(form, &draft.row)?;
        let tenant = tenant(form, &draft.row, self.institution.as_deref())?;
        match self.operation {
            Operation::Delete => return Ok(Mapped { key, tenant, mask: Vec::new(), row: None }),
            Operation::Insert => self.finish_insert(form, &mut draft, tenant.as_deref())?,
            Operation::Update => {
                let updates = updates.ok_or_else(|| {
                    Problem::new("no_field", "an update is written {key, \"updates\": {what changes}}; `updates` is missing")
                })?;
                self.finish_update(form, updates, &mut draft, tenant.as_deref(), &key)?;
            }
        }
        Ok(Mapped { key, tenant, mask: draft.mask, row: Some(draft.row) })
    }

    fn finish_insert(&mut self, form: &Form, draft: &mut Draft<'_>, tenant: Option<&str>) -> Result<(), Problem> {
        for (position, value) in &form.constants {
            put(&form.plan.fields[*position], &mut draft.row[*position], Cell::Text(value.clone().into()))?;
        }
        if let (Some(path), Some(tenant)) = (&form.entity.tenant, tenant) {
            fill(&form.plan, &mut draft.row, &path.positions, Cell::Text(tenant.to_owned().into()))?;
        }
        if let Some(order) = &form.order {
            let mut around = Surroundings { zone: &self.zone, institution: tenant, notes: &mut self.notes };
            order::finish_insert(order, draft, &mut around)?;
        }
        match missing_required(&form.entity.record, &draft.row) {
            Some(path) => Err(Problem::new("missing_field", format!("`{path}` is missing or null"))),
            None => Ok(()),
        }
    }

    fn finish_update<'r>(
        &mut self,
        form: &Form,
        updates: &'r str,
        draft: &mut Draft<'r>,
        tenant: Option<&str>,
        key: &str,
    ) -> Result<(), Problem> {
        let mut found = Vec::new();
        fields::object(updates, "updates", &mut found)?;
        let identity = std::mem::replace(&mut draft.row, form.plan.empty_row());
        draft.mask.clear();
        draft.cleared = Some(Vec::new());
        let mut around = Surroundings { zone: &self.zone, institution: tenant, notes: &mut self.notes };
        assign(form, &found, Take::All, &mut Vec::new(), draft, &mut around)?;
        cleared_and_set(&form.plan, &draft.row, draft.cleared.as_deref().unwrap_or_default())?;
        if let Some(order) = &form.order {
            order::finish_update(order, draft, &mut around)?;
        }
        for path in &form.entity.key {
            let field = form.plan.field(&path.positions);
            if draft.mask.contains(&field.number) && path.get(&draft.row) != path.get(&identity) {
                return Err(Problem::new("key_change", format!("`{}` is the key of {key} and cannot be updated", field.path)));
            }
            draft.mask.retain(|number| *number != field.number);
            fill(&form.plan, &mut draft.row, &path.positions, path.get(&identity).clone())?;
        }
        if let Some(path) = &form.entity.tenant
            && path.get(&draft.row).as_text().is_some_and(|named| Some(named) != tenant)
        {
            return Err(Problem::new(
                "institution_mismatch",
                format!("`{}` cannot be moved to another institution", path.dotted),
            ));
        }
        draft.mask.sort_unstable();
        draft.mask.dedup();
        if draft.mask.is_empty() {
            return Err(Problem::new("no_field", "`updates` names no field of this entity"));
        }
        required_null(&form.plan, &draft.row, &draft.mask)
    }

    /// The key of a rejected record, as far as it can be read, so that a person finds it.
    fn key_hint(&self, form: &Form, found: &[Field<'_>]) -> Option<String> {
        let mut draft = Draft { row: form.plan.empty_row(), mask: Vec::new(), cleared: None, parts: [None; ORDER_PART_COUNT] };
        let institution = own_institution(form, found).or_else(|| self.institution.clone());
        let mut notes = Notes::default();
        let mut around = Surroundings { zone: &self.zone, institution: institution.as_deref(), notes: &mut notes };
        for field in found {
            let one = std::slice::from_ref(field);
            // A field that does not convert has no part in the key; what is wrong with it was said already.
            let _ = assign(form, one, Take::Identity, &mut Vec::new(), &mut draft, &mut around);
        }
        form.entity.key_of(&draft.row).map(|key| quote(key.as_str(), crate::problem::Personal::No))
    }
}

/// Puts fields into the draft; gives the raw value of `updates` where only the identity is taken.
fn assign<'r>(
    form: &Form,
    found: &[Field<'r>],
    take: Take,
    order: &mut Vec<usize>,
    draft: &mut Draft<'r>,
    around: &mut Surroundings<'_>,
) -> Result<Option<&'r str>, Problem> {
    let mut updates = None;
    order.resize(found.len().max(order.len()), usize::MAX);
    for (place, field) in found.iter().enumerate() {
        if field.name.starts_with('_') {
            continue;
        }
        if take == Take::Identity && field.name == "updates" {
            updates = Some(field.value);
            continue;
        }
        let Some(entry) = form.names.find(&field.name, order[place]) else {
            around.notes.unknown_key(&field.name);
            continue;
        };
        order[place] = entry;
        match &form.names.entries[entry].1 {
            Target::Field { path, how } if take == Take::All || form.is_identity(path) => {
                assign_path(&form.plan, path, *how, field.value, draft, around)?;
            }
            Target::Order(part) if take == Take::All => draft.parts[*part as usize] = Some(field.value),
            Target::Field { .. } | Target::Order(_) => {}
        }
    }
    Ok(updates)
}

fn assign_path<'r>(
    plan: &PlanRecord,
    path: &[usize],
    how: How,
    raw: &'r str,
    draft: &mut Draft<'r>,
    around: &mut Surroundings<'_>,
) -> Result<(), Problem> {
    let field = plan.field(path);
    if let PlanKind::Record(nested) = &field.kind
        && raw != "null"
    {
        return assign_nested(plan, nested, path, raw, draft, around);
    }
    draft.mask.push(field.number);
    let cell = value::special(field, how, raw, around)?;
    if cell.is_null() {
        draft.cleared.iter_mut().for_each(|cleared| cleared.push(field.number));
        return Ok(());
    }
    fill(plan, &mut draft.row, path, cell)
}

/// Each child for itself, so that an update speaks of what it names and of nothing beside.
fn assign_nested<'r>(
    plan: &PlanRecord,
    nested: &PlanRecord,
    path: &[usize],
    raw: &'r str,
    draft: &mut Draft<'r>,
    around: &mut Surroundings<'_>,
) -> Result<(), Problem> {
    let mut found = Vec::new();
    fields::object(raw, &plan.field(path).path, &mut found)?;
    open(plan, &mut draft.row, path);
    let mut child = path.to_vec();
    for field in found {
        if field.name.starts_with('_') {
            continue;
        }
        match nested.named(&field.name) {
            Some(known) => {
                child.push(known.position);
                assign_path(plan, &child, How::Plain, field.value, draft, around)?;
                child.pop();
            }
            None => around.notes.unknown_key(&fields::join(&plan.field(path).path, &field.name)),
        }
    }
    Ok(())
}

/// Makes the nested record at a path, with nulls, where it is not there yet.
fn open<'s, 'r>(plan: &PlanRecord, row: &'s mut [Cell<'r>], path: &[usize]) -> &'s mut Cell<'r> {
    let (first, rest) = path.split_first().expect("paths are never empty");
    let cell = &mut row[*first];
    let PlanKind::Record(nested) = &plan.fields[*first].kind else { return cell };
    if cell.is_null() {
        *cell = Cell::Record(nested.empty_row());
    }
    if rest.is_empty() {
        return cell;
    }
    let Cell::Record(inner) = cell else { unreachable!("a record field holds a record or null") };
    open(nested, inner, rest)
}

/// Puts a value at a path; another value that is there already is a contradiction.
fn fill<'r>(plan: &PlanRecord, row: &mut [Cell<'r>], path: &[usize], cell: Cell<'r>) -> Result<(), Problem> {
    let place = open(plan, row, path);
    put(plan.field(path), place, cell)
}

fn put<'r>(field: &PlanField, place: &mut Cell<'r>, cell: Cell<'r>) -> Result<(), Problem> {
    if !place.is_null() && *place != cell {
        return Err(contradiction(field));
    }
    *place = cell;
    Ok(())
}

/// In an update null is a value too: it clears.
fn cleared_and_set(plan: &PlanRecord, row: &[Cell<'_>], cleared: &[u32]) -> Result<(), Problem> {
    for (field, cell) in plan.fields.iter().zip(row) {
        if cleared.contains(&field.number) && !cell.is_null() {
            return Err(contradiction(field));
        }
        if let (PlanKind::Record(nested), Cell::Record(inner)) = (&field.kind, cell) {
            cleared_and_set(nested, inner, cleared)?;
        }
    }
    Ok(())
}

fn contradiction(field: &PlanField) -> Problem {
    Problem::new("contradiction", format!("`{}` comes twice, under two names, with two values", field.path))
}

fn key_of(form: &Form, row: &[Cell<'_>]) -> Result<String, Problem> {
    for path in &form.entity.key {
        if path.get(row).is_null() || path.get(row).as_text().is_some_and(|text| text.trim().is_empty()) {
            return Err(Problem::new(
                "missing_key",
                format!("`{}` is missing: without it nobody knows which record is meant", path.dotted),
            ));
        }
    }
    let key = form.entity.key_of(row).ok_or_else(|| Problem::new("missing_key", "the key is missing"))?;
    Ok(key.as_str().to_owned())
}

/// The record's institution: its own, else the surroundings', else the one that its key names; they must agree.
fn tenant(form: &Form, row: &[Cell<'_>], given: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(path) = &form.entity.tenant else { return Ok(None) };
    let in_key = form.entity.key.iter().find_map(|key| {
        let PlanKind::Text { format: Some(format), .. } = &form.plan.field(&key.positions).kind else { return None };
        format::matches(format, key.get(row).as_text()?)?.institution
    });
    let said = [path.get(row).as_text(), given, in_key];
    let Some(tenant) = said.into_iter().flatten().next() else { return Ok(None) };
    if let Some(other) = said.into_iter().flatten().find(|other| *other != tenant) {
        let detail = format!("the record is of institution {tenant}, but its envelope, folder or key names {other}");
        return Err(Problem::new("institution_mismatch", detail));
    }
    Ok(Some(tenant.to_owned()))
}

fn own_institution(form: &Form, found: &[Field<'_>]) -> Option<String> {
    let path = form.entity.tenant.as_ref()?;
    let own = found.iter().find(|field| field.name == path.dotted.as_str())?;
    fields::text(own.value).map(Cow::into_owned)
}

/// A mask must not clear what a live row needs.
fn required_null(plan: &PlanRecord, row: &[Cell<'_>], mask: &[u32]) -> Result<(), Problem> {
    for (field, cell) in plan.fields.iter().zip(row) {
        if mask.contains(&field.number) && cell.is_null() && field.required {
            return Err(Problem::new("required_null", format!("`{}` must have a value and cannot be cleared", field.path)));
        }
        if let (PlanKind::Record(nested), Cell::Record(inner)) = (&field.kind, cell) {
            required_null(nested, inner, mask)?;
        }
    }
    Ok(())
}
