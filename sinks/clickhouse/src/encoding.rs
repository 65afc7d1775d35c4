//! Rows as RowBinary, written by hand: the client crate's typed rows do not fit schemas that are known only at run time.
//!
//! Every value is written at the end of one buffer. What ClickHouse would silently wrap or show as another value (a day before 1900
//! or after 2299, a decimal of too many digits) is refused here, since its binary input does not look.

use tidemark_schemas::entity::FieldType;
use tidemark_schemas::{Cell, json};

/// Days of `Date32`: 1900-01-01 to 2299-12-31.
const DAYS: std::ops::RangeInclusive<i32> = -25_567..=120_529;
const DAY_MICROS: i64 = 86_400_000_000;

/// Why a row cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Short code.
    pub(crate) reason: &'static str,
    /// For a person, without the value.
    pub(crate) detail: String,
}

/// Writes values one after the other.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    pub(crate) bytes: Vec<u8>,
    scratch: String,
}

impl Encoder {
    pub(crate) fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// `UInt64`.
    pub(crate) fn unsigned(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A count before what is counted, seven bits a byte.
    pub(crate) fn length(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7F) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// `String`.
    pub(crate) fn text(&mut self, value: &str) {
        self.length(value.len());
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// `Nullable(String)`.
    pub(crate) fn nullable_text(&mut self, value: Option<&str>) {
        self.byte(u8::from(value.is_none()));
        if let Some(value) = value {
            self.text(value);
        }
    }

    /// `DateTime64(6)`.
    pub(crate) fn moment(&mut self, micros: i64) -> Result<(), Refusal> {
        let days = i64::from(*DAYS.start())..=i64::from(*DAYS.end());
        if !days.contains(&micros.div_euclid(DAY_MICROS)) {
            return Err(out_of_range("a time stamp", "1900 to 2299"));
        }
        self.bytes.extend_from_slice(&micros.to_le_bytes());
        Ok(())
    }

    /// A cell in a nullable column of this kind.
    pub(crate) fn nullable(&mut self, kind: &FieldType, cell: &Cell<'_>) -> Result<(), Refusal> {
        self.byte(u8::from(cell.is_null()));
        if cell.is_null() { Ok(()) } else { self.value(kind, cell) }
    }

    /// A cell that is not null.
    pub(crate) fn value(&mut self, kind: &FieldType, cell: &Cell<'_>) -> Result<(), Refusal> {
        match (kind, cell) {
            (FieldType::Bool, Cell::Bool(value)) => self.byte(u8::from(*value)),
            (FieldType::Int { .. }, Cell::Int(value)) => self.bytes.extend_from_slice(&value.to_le_bytes()),
            (FieldType::Text { .. }, Cell::Text(value)) => self.text(value),
            (FieldType::Date, Cell::Date(days)) => {
                if !DAYS.contains(days) {
                    return Err(out_of_range("a date", "1900 to 2299"));
                }
                self.bytes.extend_from_slice(&days.to_le_bytes());
            }
            (FieldType::Timestamp, Cell::Timestamp(micros)) => return self.moment(*micros),
            (FieldType::Decimal { precision, scale }, Cell::Decimal(value)) => {
                let mut value = *value;
                value.rescale(*scale);
                let whole = value.mantissa();
                if value.scale() != *scale || !fits(whole, *precision) {
                    return Err(out_of_range("a number", &format!("{precision} digits, {scale} of them after the point")));
                }
                self.decimal(whole, *precision);
            }
            (FieldType::Record(_) | FieldType::Array(_), Cell::Record(_) | Cell::Array(_)) => {
                let mut text = std::mem::take(&mut self.scratch);
                text.clear();
                json::write_cell(kind, cell, &mut text);
                self.text(&text);
                self.scratch = text;
            }
            _ => {
                let detail = "a value is not of its field's kind; correct the record at its source".to_owned();
                return Err(Refusal { reason: "wrong_kind", detail });
            }
        }
        Ok(())
    }

    /// Little-endian, as wide as the precision asks for.
    fn decimal(&mut self, whole: i128, precision: u32) {
        let bytes = whole.to_le_bytes();
        let sign = if whole < 0 { 0xFF } else { 0 };
        match precision {
            0..=9 => self.bytes.extend_from_slice(&bytes[..4]),
            10..=18 => self.bytes.extend_from_slice(&bytes[..8]),
            19..=38 => self.bytes.extend_from_slice(&bytes),
            _ => {
                self.bytes.extend_from_slice(&bytes);
                self.bytes.extend_from_slice(&[sign; 16]);
            }
        }
    }
}

fn fits(whole: i128, precision: u32) -> bool {
    10_u128.checked_pow(precision).is_none_or(|limit| whole.unsigned_abs() < limit)
}

fn out_of_range(what: &str, range: &str) -> Refusal {
    let detail = format!("{what} outside what ClickHouse holds ({range}); correct the record at its source");
    Refusal { reason: "out_of_range", detail }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use tidemark_schemas::Cell;
    use tidemark_schemas::entity::FieldType;

    use super::Encoder;

    fn encoded(kind: &FieldType, cell: &Cell<'_>) -> Result<Vec<u8>, &'static str> {
        let mut encoder = Encoder::default();
        encoder.nullable(kind, cell).map(|()| encoder.bytes).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn lengths_take_seven_bits_a_byte() {
        for (length, bytes) in [(0, vec![0]), (127, vec![127]), (128, vec![0x80, 1]), (300, vec![0xAC, 2])] {
            let mut encoder = Encoder::default();
            encoder.length(length);
            assert_eq!(encoder.bytes, bytes, "{length}");
        }
    }

    #[test]
    fn decimals_are_as_wide_as_their_precision_and_refused_beyond_it() {
        let money = FieldType::Decimal { precision: 18, scale: 2 };
        let rate = FieldType::Decimal { precision: 5, scale: 4 };
        let cell = |text: &str| Cell::Decimal(text.parse::<Decimal>().unwrap());
        assert_eq!(encoded(&money, &cell("-1.5")), Ok([vec![0], (-150_i64).to_le_bytes().to_vec()].concat()));
        assert_eq!(encoded(&rate, &cell("0.9")), Ok([vec![0], 9_000_i32.to_le_bytes().to_vec()].concat()));
        assert!(encoded(&money, &cell("9999999999999999.99")).is_ok());
        assert_eq!(encoded(&money, &cell("10000000000000000.00")), Err("out_of_range"));
        assert_eq!(encoded(&rate, &cell("10")), Err("out_of_range"));
        assert_eq!(encoded(&money, &Cell::Null), Ok(vec![1]));
    }

    #[test]
    fn days_and_moments_outside_the_calendar_are_refused() {
        assert!(encoded(&FieldType::Date, &Cell::Date(-25_567)).is_ok());
        assert!(encoded(&FieldType::Date, &Cell::Date(120_529)).is_ok());
        for day in [-25_568, 120_530, i32::MIN, i32::MAX] {
            assert_eq!(encoded(&FieldType::Date, &Cell::Date(day)), Err("out_of_range"), "{day}");
        }
        let last = (120_530 * super::DAY_MICROS) - 1;
        assert!(encoded(&FieldType::Timestamp, &Cell::Timestamp(last)).is_ok());
        for micros in [last + 1, -25_567 * super::DAY_MICROS - 1, i64::MAX, i64::MIN] {
            assert_eq!(encoded(&FieldType::Timestamp, &Cell::Timestamp(micros)), Err("out_of_range"), "{micros}");
        }
        assert_eq!(encoded(&FieldType::Bool, &Cell::Int(1)), Err("wrong_kind"));
    }
}
