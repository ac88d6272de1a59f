//! Times as RFC 3339 in UTC with microseconds, `2026-11-23T22:17:04.000123Z`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serializer;
use time::OffsetDateTime;

const LENGTH: usize = "2026-11-23T22:17:04.000123Z".len();

/// Writes `at` as a JSON string. A clock before 1970 or past the year 9999 reads as 1970.
pub(super) fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let digits = digits(*at);
    serializer.serialize_str(std::str::from_utf8(&digits).expect("the template and the digits put into it are ASCII"))
}

fn digits(at: SystemTime) -> [u8; LENGTH] {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = i64::try_from(since.as_secs()).unwrap_or_default();
    let date = OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);

    let mut text = *b"0000-00-00T00:00:00.000000Z";
    put(&mut text[0..4], date.year().unsigned_abs());
    put(&mut text[5..7], u32::from(u8::from(date.month())));
    put(&mut text[8..10], u32::from(date.day()));
    put(&mut text[11..13], u32::from(date.hour()));
    put(&mut text[14..16], u32::from(date.minute()));
    put(&mut text[17..19], u32::from(date.second()));
    put(&mut text[20..26], since.subsec_micros());

    text
}

/// Right-aligned decimal digits; the slot is as wide as the largest value.
fn put(slot: &mut [u8], mut value: u32) {
    for digit in slot.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
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
