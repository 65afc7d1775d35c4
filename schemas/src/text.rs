//! Values as text, written at the end of a buffer that the caller reuses: what stores and JSON show of a cell.
//!
//! Guarantees: the same text as [`crate::json`] gives (a test holds them together), with no allocation but the buffer's own.
//! The usual values (years 0 to 9999, decimals of at most 18 digits) take a short way; all others the general one.

use rust_decimal::Decimal;

use crate::json;

/// `YYYY-MM-DD`.
pub fn write_date(days: i32, out: &mut String) {
    match civil(i64::from(days)) {
        Some((year, month, day)) => {
            write_padded(year, 4, out);
            out.push('-');
            write_padded(month, 2, out);
            out.push('-');
            write_padded(day, 2, out);
        }
        None => out.push_str(&json::date_text(days)),
    }
}

/// RFC 3339 in UTC, with microseconds only where they are not zero.
pub fn write_timestamp(micros: i64, out: &mut String) {
    const DAY: i64 = 86_400;
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    // The general way ends some hours before the year 9999 does.
    let Some((year, month, day)) = civil(seconds.div_euclid(DAY)).filter(|(year, ..)| *year < 9_999) else {
        out.push_str(&json::timestamp_text(micros));
        return;
    };
    let second = seconds.rem_euclid(DAY).unsigned_abs();
    for (part, width, mark) in [
        (year, 4, '-'),
        (month, 2, '-'),
        (day, 2, 'T'),
        (second / 3_600, 2, ':'),
        (second / 60 % 60, 2, ':'),
        (second % 60, 2, '.'),
    ] {
        write_padded(part, width, out);
        out.push(mark);
    }
    if fraction == 0 {
        out.pop();
    } else {
        write_padded(fraction.unsigned_abs(), 6, out);
    }
    out.push('Z');
}

/// Plain digits with `scale` of them after the point.
pub fn write_decimal(value: Decimal, scale: u32, out: &mut String) {
    let Some(whole) = i64::try_from(value.mantissa()).ok().filter(|_| value.scale() == scale && scale <= 18) else {
        out.push_str(&json::decimal_text(value, scale));
        return;
    };
    if value.is_sign_negative() {
        out.push('-');
    }
    let unit = 10_u64.pow(scale);
    write_whole(whole.unsigned_abs() / unit, out);
    if scale > 0 {
        out.push('.');
        write_padded(whole.unsigned_abs() % unit, scale as usize, out);
    }
}

/// A whole number.
pub fn write_int(value: i64, out: &mut String) {
    if value < 0 {
        out.push('-');
    }
    write_whole(value.unsigned_abs(), out);
}

fn write_whole(value: u64, out: &mut String) {
    write_padded(value, 1, out);
}

/// Decimal digits, with zeros before them up to `width` (at most 20).
fn write_padded(mut value: u64, width: usize, out: &mut String) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while value > 0 {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    let start = start.min(digits.len() - width);
    out.push_str(std::str::from_utf8(&digits[start..]).expect("digits are ASCII"));
}

/// Year, month and day of so many days from 1970-01-01 in the years 0 to 9999 (Howard Hinnant, "chrono-compatible low-level
/// date algorithms", `civil_from_days`).
fn civil(days: i64) -> Option<(u64, u64, u64)> {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (0..=9_999).contains(&year).then(|| (year.unsigned_abs(), month.unsigned_abs(), day.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::{write_date, write_decimal, write_int, write_timestamp};
    use crate::json::{date_text, decimal_text, timestamp_text};

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut text = String::new();
        write(&mut text);
        text
    }

    #[test]
    fn edges_of_the_short_way_agree_with_the_general_one() {
        for days in [0, -1, -719_528, -719_529, 2_932_896, 2_932_897, i32::MIN, i32::MAX, 19_782, 59, 60] {
            assert_eq!(written(|out| write_date(days, out)), date_text(days), "{days}");
        }
        for micros in [0, -1, 1, 999_999, 1_000_000, i64::MIN, i64::MAX, 253_402_300_799_999_999, 1_768_012_200_000_000] {
            assert_eq!(written(|out| write_timestamp(micros, out)), timestamp_text(micros), "{micros}");
        }
        for number in [0, i64::MIN, i64::MAX, -5, 10] {
            assert_eq!(written(|out| write_int(number, out)), number.to_string());
        }
    }

    proptest! {
        #[test]
        fn dates_and_moments_agree(days in -800_000_i32..3_000_000, micros in -70_000_000_000_000_000_i64..260_000_000_000_000_000) {
            prop_assert_eq!(written(|out| write_date(days, out)), date_text(days));
            prop_assert_eq!(written(|out| write_timestamp(micros, out)), timestamp_text(micros));
        }

        #[test]
        fn decimals_agree(mantissa in any::<i64>(), scale in 0_u32..6, shown in 0_u32..6) {
            let value = Decimal::new(mantissa, scale);
            prop_assert_eq!(written(|out| write_decimal(value, shown, out)), decimal_text(value, shown));
        }
    }
}
