//! Orders: the three shapes of consumption records, told apart by their fields, and the arithmetic that must hold.
//!
//! *flat*: one line, `total − discount = actual`. *itemised*: `items`, whose `total_amount` is the net amount. *table*: `amount`
//! and `product_id`. All amounts are exact; an identity may fail by no more than [`TOLERANCE`].

use rust_decimal::Decimal;
use tidemark_schemas::Cell;

use super::mapper::Draft;
use super::names::{How, OrderPart};
use super::plan::{PlanField, PlanKind, PlanRecord};
use super::value::{self, Surroundings};
use crate::convert;
use crate::fields;
use crate::problem::{Problem, quote};

/// One fen: what rounding in the source may cost.
const TOLERANCE: Decimal = Decimal::from_parts(1, 0, 0, false, 2);

/// Positions of what is worked out.
#[derive(Debug)]
pub(super) struct OrderPlan {
    record: PlanRecord,
    lines: usize,
    gross: usize,
    discount: usize,
    net: usize,
    payment_status: usize,
    fulfilment_status: usize,
    refund: usize,
    line: LinePlan,
}

#[derive(Debug)]
struct LinePlan {
    line_no: usize,
    item_type: usize,
    item_code: usize,
    item_name: usize,
    consumed_product_code: usize,
    quantity: usize,
    unit_price: usize,
    discount_rate: usize,
    discount_amount: usize,
    net_amount: usize,
}

impl OrderPlan {
    /// `None` when the (overridden) schema lacks a field that is worked out here.
    pub(super) fn new(record: PlanRecord) -> Option<Self> {
        let at = |name: &str| Some(record.named(name)?.position);
        let PlanKind::Array(item) = &record.named("lines")?.kind else { return None };
        let PlanKind::Record(line) = &item.kind else { return None };
        let of_line = |name: &str| Some(line.named(name)?.position);
        let line = LinePlan {
            line_no: of_line("line_no")?,
            item_type: of_line("item_type")?,
            item_code: of_line("item_code")?,
            item_name: of_line("item_name")?,
            consumed_product_code: of_line("consumed_product_code")?,
            quantity: of_line("quantity")?,
            unit_price: of_line("unit_price")?,
            discount_rate: of_line("discount_rate")?,
            discount_amount: of_line("discount_amount")?,
            net_amount: of_line("net_amount")?,
        };
        let (lines, gross, discount) = (at("lines")?, at("gross_amount")?, at("discount_amount")?);
        let (net, refund) = (at("net_amount")?, at("refund_amount")?);
        let (payment_status, fulfilment_status) = (at("payment_status")?, at("fulfilment_status")?);
        Some(Self { record, lines, gross, discount, net, payment_status, fulfilment_status, refund, line })
    }

    fn line_record(&self) -> &PlanRecord {
        match &self.record.fields[self.lines].kind {
            PlanKind::Array(item) => match &item.kind {
                PlanKind::Record(line) => line,
                _ => unreachable!("checked when the plan was made"),
            },
            _ => unreachable!("checked when the plan was made"),
        }
    }

    fn set<'r>(&self, draft: &mut Draft<'r>, position: usize, cell: Cell<'r>) {
        draft.mask.push(self.record.fields[position].number);
        draft.row[position] = cell;
    }

    fn set_amounts(&self, draft: &mut Draft<'_>, gross: Decimal, discount: Decimal, net: Decimal) {
        for (position, amount) in [(self.gross, gross), (self.discount, discount), (self.net, net)] {
            self.set(draft, position, Cell::Decimal(amount));
        }
    }
}

/// Puts amounts, lines and states of a whole order together.
pub(super) fn finish_insert(plan: &OrderPlan, draft: &mut Draft<'_>, around: &mut Surroundings<'_>) -> Result<(), Problem> {
    if draft.parts[OrderPart::Items as usize].is_some() {
        itemised(plan, draft, around)?;
    } else if draft.parts[OrderPart::Amount as usize].is_some() || draft.parts[OrderPart::ProductId as usize].is_some() {
        table(plan, draft, around)?;
        if draft.row[plan.payment_status].is_null() {
            plan.set(draft, plan.payment_status, Cell::text("PAID"));
        }
    } else {
        flat(plan, draft, around)?;
    }
    states(plan, draft, around)?;
    refund(plan, draft, true)
}

/// Puts together what an update touches; nothing when it touches neither amounts nor lines nor states.
pub(super) fn finish_update(plan: &OrderPlan, draft: &mut Draft<'_>, around: &mut Surroundings<'_>) -> Result<(), Problem> {
    let has = |part: OrderPart| draft.parts[part as usize].is_some();
    let all = |parts: &[OrderPart]| parts.iter().all(|part| has(*part));
    let any = |parts: &[OrderPart]| parts.iter().any(|part| has(*part));
    use OrderPart::{ActualAmount, Amount, DiscountAmount, Items, ProductCode, ProductId, ProjectCode, Quantity, TotalAmount};
    let incomplete =
        |what: &str| Problem::new("incomplete_line", format!("an update that touches amounts, codes or quantity {what}"));
    if has(Items) {
        if !has(TotalAmount) {
            return Err(incomplete("by `items` brings them whole, with `total_amount`"));
        }
        itemised(plan, draft, around)?;
    } else if any(&[Amount, ProductId]) {
        if !all(&[Amount, ProductId]) {
            return Err(incomplete("names both `amount` and `product_id` (and `quantity` if it is not 1)"));
        }
        table(plan, draft, around)?;
    } else if any(&[TotalAmount, DiscountAmount, ActualAmount, ProjectCode, ProductCode, Quantity]) {
        if !all(&[TotalAmount, DiscountAmount, ActualAmount]) || !any(&[ProjectCode, ProductCode]) {
            let what =
                "names all of them: `total_amount`, `discount_amount`, `actual_amount`, the codes, and `quantity` if it is not 1";
            return Err(incomplete(what));
        }
        flat(plan, draft, around)?;
    }
    states(plan, draft, around)?;
    refund(plan, draft, false)
}

fn flat<'r>(plan: &OrderPlan, draft: &mut Draft<'r>, around: &mut Surroundings<'_>) -> Result<(), Problem> {
    let gross = amount(plan, draft, plan.gross, OrderPart::TotalAmount)?;
    let discount = amount(plan, draft, plan.discount, OrderPart::DiscountAmount)?;
    let net = amount(plan, draft, plan.net, OrderPart::ActualAmount)?;
    hold("total_amount − discount_amount", gross - discount, "actual_amount", net)?;
    let code = |part: OrderPart, around: &mut Surroundings<'_>| match draft.parts[part as usize] {
        Some(raw) => value::cell(&plan.line_record().fields[plan.line.item_code], raw, around),
        None => Ok(Cell::Null),
    };
    let project: Cell<'r> = code(OrderPart::ProjectCode, around)?;
    let product: Cell<'r> = code(OrderPart::ProductCode, around)?;
    let mut line = one_line(plan, draft, discount, net, around)?;
    if project.is_null() {
        line[plan.line.item_type] = Cell::text("PRODUCT");
        line[plan.line.item_code] = product;
    } else {
        line[plan.line.item_type] = Cell::text("PROJECT");
        line[plan.line.item_code] = project;
        line[plan.line.consumed_product_code] = product;
    }
    plan.set(draft, plan.lines, Cell::Array(vec![Cell::Record(line)]));
    plan.set_amounts(draft, gross, discount, net);
    Ok(())
}

fn table<'r>(plan: &OrderPlan, draft: &mut Draft<'r>, around: &mut Surroundings<'_>) -> Result<(), Problem> {
    let net = amount(plan, draft, plan.net, OrderPart::Amount)?;
    let zero = Decimal::new(0, 2);
    let field = &plan.line_record().fields[plan.line.item_code];
    let product: Cell<'r> = match draft.parts[OrderPart::ProductId as usize] {
        Some(raw) => value::special(field, How::Prefixed("P"), raw, around)?,
        None => Cell::Null,
    };
    let mut line = one_line(plan, draft, zero, net, around)?;
    line[plan.line.item_type] = Cell::text("PRODUCT");
    line[plan.line.item_code] = product;
    plan.set(draft, plan.lines, Cell::Array(vec![Cell::Record(line)]));
    plan.set_amounts(draft, net, zero, net);
    Ok(())
}

/// The only line of an order, without its item.
fn one_line<'r>(
    plan: &OrderPlan,
    draft: &Draft<'r>,
    discount: Decimal,
    net: Decimal,
    around: &mut Surroundings<'_>,
) -> Result<Vec<Cell<'r>>, Problem> {
    let mut line = plan.line_record().empty_row();
    line[plan.line.line_no] = Cell::Int(1);
    let field = &plan.line_record().fields[plan.line.quantity];
    line[plan.line.quantity] = match draft.parts[OrderPart::Quantity as usize] {
        Some(raw) if raw != "null" => value::cell(field, raw, around)?,
        _ => Cell::Int(1),
    };
    line[plan.line.discount_amount] = Cell::Decimal(discount);
    line[plan.line.net_amount] = Cell::Decimal(net);
    Ok(line)
}

fn itemised<'r>(plan: &OrderPlan, draft: &mut Draft<'r>, around: &mut Surroundings<'_>) -> Result<(), Problem> {
    let net = amount(plan, draft, plan.net, OrderPart::TotalAmount)?;
    let raw: &'r str = draft.parts[OrderPart::Items as usize].unwrap_or("null");
    let items = fields::array(raw).ok_or_else(|| Problem::new("bad_list", "`items` must be a list […]"))?;
    if items.is_empty() {
        return Err(Problem::new("missing_field", "`items` is empty; an order has at least one line"));
    }
    let mut lines = Vec::with_capacity(items.len());
    let (mut gross, mut sum) = (Decimal::new(0, 2), Decimal::new(0, 2));
    for (index, raw) in items.into_iter().enumerate() {
        let (line, line_gross, line_net) = item(plan, index, raw, around)?;
        gross = bounded(gross + line_gross, "the sum of quantity × unit_price")?;
        sum = bounded(sum + line_net, "the sum of actual_price")?;
        lines.push(Cell::Record(line));
    }
    hold("the sum of actual_price", sum, "total_amount", net)?;
    plan.set(draft, plan.lines, Cell::Array(lines));
    plan.set_amounts(draft, gross, bounded(gross - net, "the discount")?, net);
    Ok(())
}

/// One item: its line, gross and net amount.
fn item<'r>(
    plan: &OrderPlan,
    index: usize,
    raw: &'r str,
    around: &mut Surroundings<'_>,
) -> Result<(Vec<Cell<'r>>, Decimal, Decimal), Problem> {
    let path = format!("items[{index}]");
    let mut found = Vec::new();
    fields::object(raw, &path, &mut found)?;
    let record = plan.line_record();
    let mut line = record.empty_row();
    line[plan.line.line_no] = Cell::Int(index as i64 + 1);
    for field in found {
        let position = match field.name.as_ref() {
            "item_type" => plan.line.item_type,
            "item_code" => plan.line.item_code,
            "item_name" => plan.line.item_name,
            "quantity" => plan.line.quantity,
            "unit_price" => plan.line.unit_price,
            "discount" => plan.line.discount_rate,
            "actual_price" => plan.line.net_amount,
            name if name.starts_with('_') => continue,
            name => {
                around.notes.unknown_key(&format!("items.{name}"));
                continue;
            }
        };
        line[position] = value::cell(&record.fields[position], field.value, around)?;
    }
    if line[plan.line.quantity].is_null() {
        line[plan.line.quantity] = Cell::Int(1);
    }
    let Cell::Int(quantity) = line[plan.line.quantity] else { unreachable!("the field is a whole number") };
    let (price, net) = (
        line_amount(&line, plan.line.unit_price, &path, "unit_price")?,
        line_amount(&line, plan.line.net_amount, &path, "actual_price")?,
    );
    let too_large = || Problem::new("bad_amount", format!("`{path}`: quantity × unit_price is too large"));
    let gross = Decimal::from(quantity).checked_mul(price).ok_or_else(too_large)?;
    let gross = bounded(gross, &format!("{path}: quantity × unit_price"))?;
    if let Cell::Decimal(rate) = line[plan.line.discount_rate] {
        let expected = gross.checked_mul(rate).ok_or_else(too_large)?;
        hold(&format!("{path}: quantity × unit_price × discount"), expected, "actual_price", net)?;
    }
    line[plan.line.discount_amount] = Cell::Decimal(bounded(gross - net, &format!("{path}: the discount"))?);
    Ok((line, gross, net))
}

/// An amount that was worked out here, if it has at most the 16 digits before the point that every amount may have.
fn bounded(amount: Decimal, what: &str) -> Result<Decimal, Problem> {
    if amount.abs() < Decimal::from(10_i64.pow(16)) {
        return Ok(amount);
    }
    Err(Problem::new("bad_amount", format!("{what} has more than 16 digits before the point")))
}

fn line_amount(line: &[Cell<'_>], position: usize, path: &str, name: &str) -> Result<Decimal, Problem> {
    match line[position] {
        Cell::Decimal(amount) => Ok(amount),
        _ => Err(Problem::new("missing_field", format!("`{path}.{name}` is missing or null"))),
    }
}

fn amount(plan: &OrderPlan, draft: &Draft<'_>, position: usize, part: OrderPart) -> Result<Decimal, Problem> {
    let name = super::names::ORDER_PARTS[part as usize].0;
    let field: &PlanField = &plan.record.fields[position];
    match (draft.parts[part as usize], &field.kind) {
        (Some(raw), PlanKind::Decimal { precision, scale }) if raw != "null" => value::decimal(field, raw, *precision, *scale),
        _ => Err(Problem::new("missing_field", format!("`{name}` is missing or null"))),
    }
}

fn hold(left: &str, computed: Decimal, right: &str, given: Decimal) -> Result<(), Problem> {
    if computed.checked_sub(given).is_some_and(|difference| difference.abs() <= TOLERANCE) {
        return Ok(());
    }
    Err(Problem::new("amount_mismatch", format!("{left} is {}, but {right} is {given}", computed.normalize())))
}

/// `status` of the itemised shape says how payment and fulfilment stand.
fn states(plan: &OrderPlan, draft: &mut Draft<'_>, around: &mut Surroundings<'_>) -> Result<(), Problem> {
    let Some(raw) = draft.parts[OrderPart::Status as usize].filter(|raw| *raw != "null") else { return Ok(()) };
    let status = fields::text(raw).ok_or_else(|| Problem::new("bad_text", "`status` must be a text"))?;
    let (payment, fulfilment) = match status.trim().to_lowercase().as_str() {
        "completed" | "已完成" => ("PAID", Some("COMPLETED")),
        "cancelled" | "canceled" | "已取消" => ("CLOSED", Some("CANCELLED")),
        "refunded" | "已退款" => ("REFUNDED", None),
        "pending" | "待支付" => ("PENDING", None),
        _ => {
            let cell = value::cell(&plan.record.fields[plan.payment_status], raw, around)?.into_owned();
            plan.set(draft, plan.payment_status, cell);
            return Ok(());
        }
    };
    if draft.row[plan.payment_status].as_text().is_some_and(|given| given != payment)
        && draft.parts[OrderPart::Amount as usize].is_none()
    {
        let detail = format!("`status` {} and `payment_status` do not agree", quote(&status, crate::problem::Personal::No));
        return Err(Problem::new("contradiction", detail));
    }
    plan.set(draft, plan.payment_status, Cell::text(payment));
    if let Some(fulfilment) = fulfilment {
        plan.set(draft, plan.fulfilment_status, Cell::text(fulfilment));
    }
    Ok(())
}

/// `is_refund` without an amount means the whole net amount.
fn refund(plan: &OrderPlan, draft: &mut Draft<'_>, whole_order: bool) -> Result<(), Problem> {
    let Some(raw) = draft.parts[OrderPart::IsRefund as usize].filter(|raw| *raw != "null") else { return Ok(()) };
    let is_refund = convert::boolean(raw).ok_or_else(|| Problem::new("bad_boolean", "`is_refund` must be true or false"))?;
    if !draft.row[plan.refund].is_null() {
        return Ok(());
    }
    if !is_refund {
        if !whole_order {
            plan.set(draft, plan.refund, Cell::Null);
        }
        return Ok(());
    }
    if draft.row[plan.net].is_null() {
        let what = "`is_refund` without `refund_amount` means the whole net amount; name `refund_amount`, or the amounts as well";
        return Err(Problem::new("incomplete_line", what));
    }
    let net = draft.row[plan.net].clone();
    plan.set(draft, plan.refund, net);
    Ok(())
}
