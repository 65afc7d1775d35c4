//! Numbers from their text: exact decimals and whole numbers, also with an exponent where the value is exact.

use std::borrow::Cow;

use rust_decimal::Decimal;

use crate::fields;

/// Longest number that is looked at; what is longer cannot be exact in 18 digits unless it is padded with zeros.
const NUMBER_BYTES_MAX: usize = 400;

/// The text of a number: a JSON number, or one in quotes.
pub(crate) fn text(raw: &str) -> Option<Cow<'_, str>> {
    if raw.starts_with('"') { fields::text(raw) } else { Some(Cow::Borrowed(raw)) }
}

/// Sign, digits without zeros at either end, and the power of ten of the last digit.
struct Parts {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

/// Takes a number apart, `None` when it is not written as JSON writes numbers (a plus sign and zeros in front are let pass).
fn parts(number: &str) -> Option<Parts> {
    if number.is_empty() || number.len() > NUMBER_BYTES_MAX {
        return None;
    }
    let (negative, rest) = match number.as_bytes() {
        [b'-', ..] => (true, &number[1..]),
        [b'+', ..] => (false, &number[1..]),
        _ => (false, number),
    };
    let (mantissa, power) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], power(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(both) => both,
        None => (mantissa, ""),
    };
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0').collect();
    let mut exponent = power - fraction.len() as i64;
    while digits.last() == Some(&b'0') {
        digits.pop();
        exponent += 1;
    }
    Some(Parts { negative, digits, exponent })
}

fn power(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Why a number is no decimal of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// Not a number.
    NotANumber,
    /// More places after the point than the field has.
    TooManyPlaces,
    /// More digits before the point than the field has.
    TooLarge,
}

/// The exact decimal with at most `precision` digits, `scale` of them after the point, at that scale. -0 is 0.
pub(crate) fn decimal(number: &str, precision: u32, scale: u32) -> Result<Decimal, Misfit> {
    let short = number.as_bytes();
    if let Some(value) = plain(short, precision, scale) {
        return Ok(value);
    }
    let parts = parts(number).ok_or(Misfit::NotANumber)?;
    if parts.digits.is_empty() {
        return Ok(Decimal::new(0, scale));
    }
    if -parts.exponent > i64::from(scale) {
        return Err(Misfit::TooManyPlaces);
    }
    let whole_digits = parts.digits.len() as i64 + parts.exponent;
    if whole_digits > i64::from(precision - scale) {
        return Err(Misfit::TooLarge);
    }
    let zeros = (i64::from(scale) + parts.exponent) as u32;
    let unscaled = parts.digits.iter().fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0')) * 10_i128.pow(zeros);
    let signed = if parts.negative { -unscaled } else { unscaled };
    Ok(Decimal::from_i128_with_scale(signed, scale))
}

/// The usual case without allocation: up to 15 digits, an optional point with no more than `scale` places, no sign.
fn plain(number: &[u8], precision: u32, scale: u32) -> Option<Decimal> {
    let mut value = 0_i64;
    let mut places = None;
    if number.len() > 15 || !number.first()?.is_ascii_digit() {
        return None;
    }
    for byte in number {
        match byte {
            b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
            b'.' if places.is_none() => {
                places = Some(0);
                continue;
            }
            _ => return None,
        }
        places = places.map(|places: u32| places + 1);
    }
    if places == Some(0) || places.unwrap_or(0) > scale {
        return None;
    }
    let value = value.checked_mul(10_i64.pow(scale - places.unwrap_or(0)))?;
    (value < 10_i64.checked_pow(precision)?).then(|| Decimal::new(value, scale))
}

/// The exact whole number; `1.0` and `1e2` are whole.
pub(crate) fn integer(number: &str) -> Option<i64> {
    if let Ok(value) = number.parse() {
        return Some(value);
    }
    let value = decimal(number, 19, 0).ok()?;
    i64::try_from(value.mantissa()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Misfit, decimal, integer};

    fn money(number: &str) -> Result<String, Misfit> {
        decimal(number, 18, 2).map(|value| value.to_string())
    }

    #[test]
    fn what_is_exact_is_taken() {
        let table = [
            ("3980.00", "3980.00"),
            ("0", "0.00"),
            ("-0", "0.00"),
            ("-0.000", "0.00"),
            ("1e2", "100.00"),
            ("1.5E+1", "15.00"),
            ("12.340000", "12.34"),
            ("1234e-2", "12.34"),
            ("-398.5", "-398.50"),
            ("9999999999999999.99", "9999999999999999.99"),
            ("0e400", "0.00"),
            ("0000000000000000000000012.3", "12.30"),
        ];
        for (number, expected) in table {
            assert_eq!(money(number).unwrap(), expected, "{number}");
        }
    }

    #[test]
    fn what_is_not_exact_is_refused() {
        let table = [
            ("12.345", Misfit::TooManyPlaces),
            ("1e-3", Misfit::TooManyPlaces),
            ("1e400", Misfit::TooLarge),
            ("10000000000000000", Misfit::TooLarge),
            ("1e99999999999", Misfit::NotANumber),
            ("", Misfit::NotANumber),
            ("1.", Misfit::NotANumber),
            (".5", Misfit::NotANumber),
            ("1,000", Misfit::NotANumber),
            ("0x10", Misfit::NotANumber),
            ("NaN", Misfit::NotANumber),
            ("１", Misfit::NotANumber),
            ("--1", Misfit::NotANumber),
        ];
        for (number, expected) in table {
            assert_eq!(money(number), Err(expected), "{number}");
        }
    }

    #[test]
    fn whole_numbers() {
        for (number, expected) in [("7", Some(7)), ("1.0", Some(1)), ("1e2", Some(100)), ("-0", Some(0)), ("1.5", None)] {
            assert_eq!(integer(number), expected, "{number}");
        }
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("1e30"), None);
    }

    proptest! {
        #[test]
        fn fen_come_back(fen in -999_999_999_999_999_999_i64..=999_999_999_999_999_999) {
            let value = rust_decimal::Decimal::new(fen, 2);
            prop_assert_eq!(decimal(&value.to_string(), 18, 2), Ok(value));
            prop_assert_eq!(decimal(&format!("{fen}e-2"), 18, 2), Ok(value));
        }
    }
}
