//! How many bytes of a day an app has handed over and keeps, so that they are no more than it may.
//!
//! What an earlier process left in a day's folder is found by the writer, which lists the folder before its first file of that
//! day: a request's thread reads no folder. Until then what is handed over is held against what this process handed over, and
//! the writer refuses what turns out to be too much.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use time::Date;

use super::{CaptureError, listed};

/// Days of an app whose tallies are held: today, and yesterday, whose answers still come.
const MOST_DAYS: usize = 2;

/// The tallies of an app: of the two days that were asked for last.
///
/// Not of the two latest: a clock that was set ahead for a moment would hold two days of the future for good.
#[derive(Debug, Default)]
pub(super) struct Days(Vec<(Date, Arc<Tally>)>);

impl Days {
    /// The tally of `day`, which is new where it is not held.
    pub(super) fn tally(&mut self, day: Date) -> Arc<Tally> {
        let tally = match self.0.iter().position(|(held, _)| *held == day) {
            Some(index) => self.0.remove(index).1,
            None => Arc::default(),
        };
        if self.0.len() >= MOST_DAYS {
            self.0.remove(0);
        }
        self.0.push((day, Arc::clone(&tally)));
        tally
    }

    /// Whether one of the days is `today`, the day before or one to come.
    pub(super) fn are_of_use(&self, today: Date) -> bool {
        self.0.iter().any(|(day, _)| (today - *day).whole_days() <= 1)
    }
}

/// The bytes of one day of an app.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// What lay in the folder before this process wrote there; unknown until its writer has looked.
    before: OnceLock<u64>,
    /// What this process was handed: what is written, and what waits for the disk.
    taken: AtomicU64,
    /// What this process has written; only the writer adds to it.
    written: AtomicU64,
}

impl Tally {
    /// Counts `bytes` that are to be written.
    ///
    /// # Errors
    /// [`CaptureError::DayIsFull`]: with them they would be more than `most`.
    pub(super) fn take(&self, bytes: u64, most: u64) -> Result<(), CaptureError> {
        let before = self.before.get().copied().unwrap_or(0);
        let more = |taken: u64| {
            let taken = taken.saturating_add(bytes);
            (before.saturating_add(taken) <= most).then_some(taken)
        };
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(taken) => Err(CaptureError::DayIsFull(before.saturating_add(taken))),
        }
    }

    /// Counts `bytes` no longer: they were taken and are not written.
    pub(super) fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts `bytes` that were taken as written.
    pub(super) fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What is kept of the day, whose folder is listed the first time. Only the writer may ask, before it writes: what it had
    /// written by then would count twice.
    ///
    /// # Errors
    /// When the folder cannot be listed; then nobody knows how much is kept.
    pub(super) fn kept(&self, folder: &Path) -> io::Result<u64> {
        let before = match self.before.get() {
            Some(before) => *before,
            None => {
                let found = size_of(folder)?;
                *self.before.get_or_init(|| found)
            }
        };
        Ok(before.saturating_add(self.written.load(Ordering::Relaxed)))
    }
}

/// The bytes of the files in `folder`.
fn size_of(folder: &Path) -> io::Result<u64> {
    let sizes = listed(folder)?.into_iter().filter_map(|file| file.metadata().ok());
    Ok(sizes.filter(fs::Metadata::is_file).map(|file| file.len()).sum())
}

#[cfg(test)]
mod tests {
    use time::Month;

    use super::*;

    fn day(number: u8) -> Date {
        Date::from_calendar_date(2026, Month::November, number).unwrap()
    }

    #[test]
    fn yesterdays_answers_among_todays_requests_find_their_tallies_and_a_third_day_takes_the_place_of_one() {
        let mut days = Days::default();
        let (yesterday, today) = (days.tally(day(5)), days.tally(day(6)));

        let again = [(5, &yesterday), (6, &today), (5, &yesterday), (6, &today)];
        let are_same = again.map(|(number, known)| Arc::ptr_eq(&days.tally(day(number)), known));
        let third = days.tally(day(7));

        assert_eq!(are_same, [true; 4]);
        assert_eq!(days.0.len(), 2);
        assert!(Arc::ptr_eq(&days.tally(day(6)), &today) && Arc::ptr_eq(&days.tally(day(7)), &third));
        assert!(!Arc::ptr_eq(&days.tally(day(5)), &yesterday), "it was given up for the third");
    }

    #[test]
    fn days_that_a_clock_set_ahead_began_are_given_up_for_those_that_are_now() {
        let mut days = Days::default();
        days.tally(day(29));
        days.tally(day(30));

        let (yesterday, today) = (days.tally(day(5)), days.tally(day(6)));

        assert!(Arc::ptr_eq(&days.tally(day(5)), &yesterday) && Arc::ptr_eq(&days.tally(day(6)), &today));
        assert!(days.are_of_use(day(7)) && !days.are_of_use(day(8)));
    }

    #[test]
    fn what_waits_for_the_disk_counts_and_what_was_not_written_does_not() {
        let tally = Tally::default();

        tally.take(6_000, 10_000).unwrap();
        let beyond = tally.take(6_000, 10_000);
        let exactly = tally.take(4_000, 10_000);
        tally.give_back(6_000);
        let instead = tally.take(6_000, 10_000);

        assert!(matches!(beyond, Err(CaptureError::DayIsFull(6_000))), "{beyond:?}");
        assert!(exactly.is_ok() && instead.is_ok(), "{exactly:?} {instead:?}");
    }

    #[test]
    fn what_an_earlier_process_left_is_looked_for_once_and_counts_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("d-1.request.age"), [b'x'; 3_000]).unwrap();
        let tally = Tally::default();

        tally.take(2_000, 10_000).unwrap();
        let found = tally.kept(folder.path()).unwrap();
        tally.wrote(2_000);
        fs::write(folder.path().join("d-2.request.age"), [b'x'; 2_000]).unwrap();
        let later = tally.kept(folder.path()).unwrap();
        let beyond = tally.take(6_000, 10_000);

        assert_eq!((found, later), (3_000, 5_000));
        assert!(matches!(beyond, Err(CaptureError::DayIsFull(5_000))), "{beyond:?}");
    }

    #[test]
    fn a_folder_that_cannot_be_listed_is_no_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("day"), "a file where the folder should be").unwrap();
        let tally = Tally::default();

        let refused = tally.kept(&folder.path().join("day"));
        let absent = tally.kept(&folder.path().join("another"));

        assert!(refused.is_err());
        assert_eq!(absent.unwrap(), 0);
    }
}
