//! Times as RFC 3339 in UTC with microseconds, `2026-11-23T22:17:04.000123Z`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serializer;
use time::OffsetDateTime;

const LENGTH: usize = "2026-11-23T22:17:04.000123Z".len();

/// Writes `at` as a JSON string.
pub(super) fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let digits = digits(*at);
    serializer.serialize_str(std::str::from_utf8(&digits).expect("the template and the digits put into it are ASCII"))
}

/// `at` as text, all of it ASCII. A clock before 1970 or past the year 9999 reads as 1970.
pub(super) fn digits(at: SystemTime) -> [u8; LENGTH] {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = i64::try_from(since.as_secs()).unwrap_or_default();
    let date = OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);

    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let year = date.year().unsigned_abs();
    let micros = since.subsec_micros();
    put(&mut text[0..2], (year / 100) as u8);
    put(&mut text[2..4], (year % 100) as u8);
    put(&mut text[5..7], date.month().into());
    put(&mut text[8..10], date.day());
    put(&mut text[11..13], date.hour());
    put(&mut text[14..16], date.minute());
    put(&mut text[17..19], date.second());
    put(&mut text[20..22], (micros / 10_000) as u8);
    put(&mut text[22..24], (micros / 100 % 100) as u8);
    put(&mut text[24..26], (micros % 100) as u8);

    text
}

/// Two decimal digits of a value below 100, into a slot of two bytes.
fn put(slot: &mut [u8], value: u8) {
    slot.copy_from_slice(&[b'0' + value / 10, b'0' + value % 10]);
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
    fn a_clock_before_1970_does_not_panic() {
        let at = UNIX_EPOCH - Duration::from_secs(5);

        assert_eq!(text(at), "1970-01-01T00:00:00.000000Z");
    }
}
