//! Times as RFC 3339 in UTC with microseconds, `2026-11-23T22:17:04.000123Z`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serializer;

const LENGTH: usize = "2026-11-23T22:17:04.000123Z".len();

/// Writes `at` as a JSON string.
pub(super) fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let digits = digits(*at);
    serializer.serialize_str(std::str::from_utf8(&digits).expect("the template and the digits put into it are ASCII"))
}

/// `at` as text, all of it ASCII. A clock before 1970 or past the year 9999 reads as 1970.
pub(super) fn digits(at: SystemTime) -> [u8; LENGTH] {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = if since.as_secs() < YEAR_10000 { since.as_secs() } else { 0 };
    let (days, of_day) = ((second / 86_400) as u32, (second % 86_400) as u32);
    let (year, month, day) = date(days);
    let micros = since.subsec_micros();

    let pairs = [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, of_day / 3_600),
        (14, of_day / 60 % 60),
        (17, of_day % 60),
        (20, micros / 10_000),
        (22, micros / 100 % 100),
        (24, micros % 100),
    ];
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (at, value) in pairs {
        text[at] += (value / 10) as u8;
        text[at + 1] += (value % 10) as u8;
    }
    text
}

/// 10000-01-01, in seconds since 1970.
const YEAR_10000: u64 = 253_402_300_800;

/// Year, month and day, so many days after 1970-01-01.
///
/// Every record has two times, and the way through a crate that knows all about time takes five times as long.
fn date(days: u32) -> (u32, u32, u32) {
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": `civil_from_days`. Years begin in March, so that the
    // day that is not always there is the last of a year.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u32::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(at: SystemTime) -> String {
        String::from_utf8(digits(at).to_vec()).unwrap()
    }

    #[test]
    fn a_time_is_written_in_utc_with_six_decimals() {
        let at = UNIX_EPOCH + Duration::new(1_795_472_224, 123_999);

        assert_eq!(text(at), "2026-11-23T22:17:04.000123Z");
    }

    #[test]
    fn a_leap_day_and_the_last_microsecond_of_a_year_are_right() {
        let leap = UNIX_EPOCH + Duration::from_secs(1_709_164_800);
        let last = UNIX_EPOCH + Duration::new(1_767_225_599, 999_999_999);

        assert_eq!(text(leap), "2024-02-29T00:00:00.000000Z");
        assert_eq!(text(last), "2025-12-31T23:59:59.999999Z");
    }

    #[test]
    fn every_day_until_the_year_9999_has_the_date_that_the_calendar_gives_it() {
        let (mut next, mut days) = (time::Date::from_ordinal_date(1970, 1).ok(), 0);

        while let Some(day) = next {
            let (year, month, of_month) = day.to_calendar_date();
            assert_eq!(date(days), (year.unsigned_abs(), u8::from(month).into(), of_month.into()), "{day}");
            (next, days) = (day.next_day(), days + 1);
        }

        assert_eq!(u64::from(days) * 86_400, YEAR_10000);
    }

    #[test]
    fn every_part_of_a_day_stands_at_its_place_and_what_comes_after_the_year_9999_reads_as_1970() {
        let at = |seconds, nanos| text(UNIX_EPOCH + Duration::new(seconds, nanos));

        assert_eq!(at(86_399, 900_000), "1970-01-01T23:59:59.000900Z");
        assert_eq!(at(YEAR_10000 - 1, 123_456_789), "9999-12-31T23:59:59.123456Z");
        assert_eq!(at(YEAR_10000, 123_456_789), "1970-01-01T00:00:00.123456Z");
        assert_eq!(at(i64::MAX as u64, 0), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn a_clock_before_1970_does_not_panic() {
        let at = UNIX_EPOCH - Duration::from_secs(5);

        assert_eq!(text(at), "1970-01-01T00:00:00.000000Z");
    }
}
