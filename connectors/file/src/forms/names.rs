//! The names under which fields arrive, where they differ from the schema's: all of it as data.

/// How a value becomes the field's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// As the field's type says.
    Plain,
    /// A number gets a prefix (`7` → `CONSULTANT-7`); a text is kept.
    Prefixed(&'static str),
    /// A number gets the institution, an infix and zeros up to a width (`7` → `BJ-HA-001-C0007`); another text is kept.
    InInstitution { infix: &'static str, digits: usize },
    /// A text, or JSON kept as text.
    JsonText,
}

const CONSULTANT: How = How::Prefixed("CONSULTANT-");
const PRODUCT: How = How::Prefixed("P");
const CUSTOMER: How = How::InInstitution { infix: "-C", digits: 4 };
const RECORD: How = How::InInstitution { infix: "-R", digits: 1 };
const WRITE_OFF: How = How::InInstitution { infix: "-W", digits: 1 };

/// (entity, name in the file, path of the field, how).
pub(super) const RENAMES: &[(&str, &str, &str, How)] = &[
    ("staff", "doctor_code", "staff_code", How::Plain),
    ("staff", "consultant_id", "staff_code", CONSULTANT),
    ("staff", "consultant_code", "staff_code", How::Plain),
    ("product", "product_id", "product_code", PRODUCT),
    ("customer", "customer_id", "customer_code", CUSTOMER),
    ("customer", "consultant_id", "consultant_code", CONSULTANT),
    ("customer", "health_tags", "health_tags", How::JsonText),
    ("customer", "name", "person.name", How::Plain),
    ("customer", "phone", "person.phone", How::Plain),
    ("customer", "gender", "person.gender", How::Plain),
    ("customer", "birthday", "person.birthday", How::Plain),
    ("customer", "email", "person.email", How::Plain),
    ("customer", "address", "person.address", How::Plain),
    ("customer", "id_card", "person.id_card", How::Plain),
    ("consumption", "record_id", "order_number", RECORD),
    ("consumption", "customer_id", "customer_code", CUSTOMER),
    ("consumption", "consultant_id", "consultant_code", CONSULTANT),
    ("consumption", "is_new_customer", "source_is_new_customer", How::Plain),
    ("write_off", "write_off_id", "write_off_id", WRITE_OFF),
    ("write_off", "customer_id", "customer_code", CUSTOMER),
    ("write_off", "product_id", "product_code", PRODUCT),
    ("write_off", "consultant_id", "consultant_code", CONSULTANT),
    ("write_off", "consume_record_id", "order_number", RECORD),
];

/// Fields that do not arrive under their own name: they are worked out from others.
pub(super) const HIDDEN: &[(&str, &str)] =
    &[("consumption", "lines"), ("consumption", "gross_amount"), ("consumption", "net_amount")];

/// The entity whose records are put together from parts.
pub(super) const ORDER_ENTITY: &str = "consumption";

/// What an order is put together from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderPart {
    Items,
    TotalAmount,
    DiscountAmount,
    ActualAmount,
    Amount,
    ProjectCode,
    ProductCode,
    ProductId,
    Quantity,
    IsRefund,
    Status,
}

/// Number of parts.
pub(super) const ORDER_PART_COUNT: usize = ORDER_PARTS.len();

/// Their names in files; each at the index of its part.
pub(super) const ORDER_PARTS: [(&str, OrderPart); 11] = [
    ("items", OrderPart::Items),
    ("total_amount", OrderPart::TotalAmount),
    ("discount_amount", OrderPart::DiscountAmount),
    ("actual_amount", OrderPart::ActualAmount),
    ("amount", OrderPart::Amount),
    ("project_code", OrderPart::ProjectCode),
    ("product_code", OrderPart::ProductCode),
    ("product_id", OrderPart::ProductId),
    ("quantity", OrderPart::Quantity),
    ("is_refund", OrderPart::IsRefund),
    ("status", OrderPart::Status),
];

/// (file name stem, field, value): what the name of a file says about its records.
pub(super) const CONSTANTS: &[(&str, &str, &str)] = &[("doctors", "role", "DOCTOR"), ("consultants", "role", "CONSULTANT")];

/// (file name stem, line of the statistics) where they differ.
pub(super) const KINDS: &[(&str, &str)] = &[("medical_products", "products"), ("medical_relations", "relations")];

/// Version of all that is in this folder: raised when the same file would become other rows, so that initial files are read
/// again.
pub(crate) const FORMS_VERSION: u32 = 3;
