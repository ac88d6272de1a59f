//! The stretches of a calendar in which a budget counts: hours, days, weeks and months of a named time zone.
//!
//! The time zones are those that this release was built with, so that the same moment falls into the same stretch on every
//! machine of a fleet, whatever its system knows.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// How long a budget counts before it begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// An hour of the clock.
    Hour,
    /// A day, from midnight to midnight.
    Day,
    /// A week, from Monday to Sunday (ISO 8601).
    Week,
    /// A month of the calendar.
    Month,
}

impl Period {
    /// The name used in documents, messages and the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// The quarters of an hour in which sums are kept: every time zone differs from UTC by whole ones.
pub const SLOT_SECONDS: u64 = 900;

/// One stretch of a calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Grows from each stretch to the next: the quarters of an hour from 1970 to its beginning.
    pub number: u32,
    /// Its first second, since 1970.
    pub begins: u64,
    /// The second after its last.
    pub ends: u64,
}

impl Stretch {
    fn between(begins: u64, ends: u64) -> Self {
        Self { number: u32::try_from(begins / SLOT_SECONDS).unwrap_or(u32::MAX), begins, ends }
    }

    /// Whether the moment falls into it.
    #[must_use]
    pub fn holds(&self, seconds: u64) -> bool {
        (self.begins..self.ends).contains(&seconds)
    }
}

/// A calendar of one kind of stretch in one time zone.
#[derive(Clone, PartialEq, Eq)]
pub struct Calendar {
    period: Period,
    zone: TimeZone,
    name: String,
}

/// No such time zone in this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no time zone of the IANA database that this release was built with")]
pub struct NoTimeZone;

impl Calendar {
    /// Of the time zone with this name in the IANA database, written as it is there: `Europe/Berlin`.
    ///
    /// # Errors
    ///
    /// [`NoTimeZone`].
    pub fn named(period: Period, zone: &str) -> Result<Self, NoTimeZone> {
        let found = TimeZoneDatabase::bundled().get(zone).map_err(|_| NoTimeZone)?;
        // Looked up without regard to case; what stands in a document is held to the one way to write it.
        let name = found.iana_name().filter(|name| *name == zone).ok_or(NoTimeZone)?.to_owned();
        Ok(Self { period, zone: found, name })
    }

    /// Of UTC.
    #[must_use]
    pub fn utc(period: Period) -> Self {
        Self { period, zone: TimeZone::UTC, name: "UTC".to_owned() }
    }

    /// Its kind of stretch.
    #[must_use]
    pub fn period(&self) -> Period {
        self.period
    }

    /// The name of its time zone.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.name
    }

    /// The stretch into which a moment falls, in seconds since 1970.
    #[must_use]
    pub fn at(&self, seconds: u64) -> Stretch {
        self.find(seconds).unwrap_or(Stretch { number: u32::MAX, begins: seconds, ends: seconds })
    }

    /// Nothing for moments beyond the year 9999, at which a clock stands that nobody set.
    fn find(&self, seconds: u64) -> Option<Stretch> {
        let now = Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?.to_zoned_datetime(self.zone.clone());
        let today = now.date();
        let (first, next) = match self.period {
            Period::Hour => return self.hour(seconds, i64::from(now.offset().seconds())),
            Period::Day => (today, today.tomorrow().ok()?),
            Period::Week => {
                let monday = match today.weekday() {
                    Weekday::Monday => today,
                    _ => today.nth_weekday(-1, Weekday::Monday).ok()?,
                };
                (monday, today.nth_weekday(1, Weekday::Monday).ok()?)
            }
            Period::Month => (today.first_of_month(), today.last_of_month().tomorrow().ok()?),
        };
        Some(Stretch::between(self.midnight(first)?, self.midnight(next)?))
    }

    /// The first moment of a day; where midnight is left out, that is later.
    fn midnight(&self, day: Date) -> Option<u64> {
        let midnight = day.to_zoned_datetime(self.zone.clone()).ok()?;
        u64::try_from(midnight.timestamp().as_second()).ok().or(Some(0))
    }

    /// An hour is one of the clock as it stands now: the hour that comes twice when summer ends is two.
    fn hour(&self, seconds: u64, offset: i64) -> Option<Stretch> {
        let into = i64::try_from(seconds).ok()?.checked_add(offset)?.rem_euclid(3_600);
        let begins = seconds.saturating_sub(into.unsigned_abs());
        Some(Stretch::between(begins, begins + 3_600))
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.period.name(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> u64 {
        let moment: Timestamp = text.parse().expect("the test writes moments");
        u64::try_from(moment.as_second()).expect("after 1970")
    }

    fn stretch(period: Period, zone: &str, at: &str) -> (String, String) {
        let calendar = Calendar::named(period, zone).expect("the zone is known");
        let stretch = calendar.at(seconds(at));
        let text = |seconds: u64| Timestamp::from_second(seconds.cast_signed()).expect("in range").to_string();
        (text(stretch.begins), text(stretch.ends))
    }

    #[test]
    fn a_stretch_begins_and_ends_where_the_clocks_of_its_zone_say() {
        let table = [
            (Period::Month, "UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            (Period::Month, "Europe/Berlin", "2026-12-31T23:00:00Z", "2026-12-31T23:00:00Z", "2027-01-31T23:00:00Z"),
            (Period::Month, "Europe/Berlin", "2026-10-31T12:00:00Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"),
            (Period::Week, "Europe/Berlin", "2026-11-29T22:59:59Z", "2026-11-22T23:00:00Z", "2026-11-29T23:00:00Z"),
            (Period::Week, "Europe/Berlin", "2026-11-29T23:00:00Z", "2026-11-29T23:00:00Z", "2026-12-06T23:00:00Z"),
            (Period::Day, "Asia/Kathmandu", "2026-11-26T18:14:59Z", "2026-11-25T18:15:00Z", "2026-11-26T18:15:00Z"),
            (Period::Hour, "Asia/Kathmandu", "2026-11-26T18:20:00Z", "2026-11-26T18:15:00Z", "2026-11-26T19:15:00Z"),
            // A day of 23 hours, one of 25, and one that begins at one o'clock.
            (Period::Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Period::Day, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            (Period::Day, "America/Santiago", "2026-09-06T12:00:00Z", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"),
            // The hour between two and three comes twice, and is two.
            (Period::Hour, "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
            (Period::Hour, "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"),
        ];

        for (period, zone, at, begins, ends) in table {
            let expected = (begins.to_owned(), ends.to_owned());
            assert_eq!(stretch(period, zone, at), expected, "{period:?} of {zone} at {at}");
        }
    }

    #[test]
    fn stretches_follow_each_other_without_a_gap_and_their_numbers_grow() {
        for zone in ["UTC", "Europe/Berlin", "America/Santiago", "Asia/Kathmandu", "America/Havana", "Pacific/Apia"] {
            for period in [Period::Day, Period::Week, Period::Month] {
                let calendar = Calendar::named(period, zone).expect("the zone is known");
                let mut stretch = calendar.at(seconds("2026-01-01T00:00:00Z"));
                while stretch.ends < seconds("2028-01-01T00:00:00Z") {
                    let next = calendar.at(stretch.ends);
                    assert_eq!(next.begins, stretch.ends, "{calendar:?}");
                    assert!(next.number > stretch.number && next.holds(stretch.ends), "{calendar:?}");
                    assert_eq!(calendar.at(stretch.ends - 1), stretch, "{calendar:?}");
                    stretch = next;
                }
            }
        }
    }

    #[test]
    fn every_zone_begins_its_days_at_quarters_of_an_hour() {
        for zone in TimeZoneDatabase::bundled().available() {
            let Ok(calendar) = Calendar::named(Period::Day, zone.as_str()) else { continue };
            for at in ["2026-01-15T12:00:00Z", "2026-07-15T12:00:00Z"] {
                assert_eq!(calendar.at(seconds(at)).begins % SLOT_SECONDS, 0, "{zone}");
            }
        }
    }

    #[test]
    fn a_zone_is_written_as_the_database_writes_it() {
        for wrong in ["europe/berlin", "Europe/Bonn", "CET+1", "", "../etc/passwd", "/etc/localtime"] {
            assert_eq!(Calendar::named(Period::Day, wrong).err(), Some(NoTimeZone), "{wrong}");
        }
        assert_eq!(
            Calendar::named(Period::Day, "UTC").map(|calendar| calendar.zone().to_owned()),
            Ok("UTC".to_owned())
        );
    }

    #[test]
    fn a_clock_that_nobody_set_ends_nothing() {
        let calendar = Calendar::utc(Period::Month);

        assert_eq!(calendar.at(u64::MAX).number, u32::MAX);
        assert_eq!(calendar.at(0).begins, 0);
    }
}
