//! Dates (never shifted by a zone) and time stamps (UTC microseconds; one without zone is of the configured zone).

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil::Date};

/// Days since 1970-01-01 of a text `YYYY-MM-DD`, and nothing else.
pub(crate) fn date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes[range].iter().try_fold(0_i16, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i16::from(byte - b'0')))
    };
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    Some(tidemark_schemas::json::days_of(date))
}

/// UTC microseconds of an ISO 8601 text: with `Z` or an offset as it says, else local time in `zone`.
pub(crate) fn timestamp(text: &str, zone: &TimeZone) -> Option<i64> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_microsecond());
    }
    // A civil date-time would also parse with an offset that it then ignores; that case was taken above.
    let local: DateTime = text.parse().ok()?;
    Some(zone.to_ambiguous_zoned(local).compatible().ok()?.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::{date, timestamp};

    #[test]
    fn dates_are_strict() {
        assert_eq!(date("1970-01-01"), Some(0));
        assert_eq!(date("1990-01-16"), Some(7320));
        assert_eq!(date("2024-02-29"), Some(19_782));
        for text in ["2023-02-29", "2026-1-5", "20260115", "2026-01-15T00:00:00", "2026/01/15", "", "二零二六年一月"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn time_stamps_without_zone_are_local() {
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        let expected = timestamp("2026-01-15T02:30:00Z", &shanghai);
        assert_eq!(expected, Some(1_768_444_200_000_000));
        for text in ["2026-01-15T10:30:00", "2026-01-15 10:30:00", "2026-01-15T10:30:00+08:00", "2026-01-15T10:30:00.000"] {
            assert_eq!(timestamp(text, &shanghai), expected, "{text}");
        }
        assert_eq!(timestamp("2026-01-15T10:30:00", &TimeZone::UTC), Some(1_768_473_000_000_000));
        for text in ["yesterday", "", "2026-13-01T00:00:00", "10:30"] {
            assert_eq!(timestamp(text, &shanghai), None, "{text}");
        }
    }
}
