//! That nobody came into a folder or went, told by the folder's own times rather than by reading it.
//!
//! **Promises.** A change is seen at the next look, as if the folder were read each time, wherever its file system tells times to
//! within [`COARSEST`] and the truth. Where it does not (a mount that remembers times for a while, a clock that was set back to the
//! very instant) it is seen within [`READ_EVERY`]. Nothing is compared with the clock of this machine.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// No file system tells times more coarsely: NFS to the second, FAT to two of them.
const COARSEST: Duration = Duration::from_secs(3);

/// It is read this often whatever its times say: a process that comes waits several times as long for those that are there.
const READ_EVERY: Duration = Duration::from_secs(2);

/// What a folder looks like from outside. Whoever makes, names or removes a file in it changes its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Device and number: a folder in the place of one that was removed is another one.
    which: [u64; 2],
    /// When its names changed, and when anything about it did, which nobody can set: seconds and nanoseconds.
    times: [i64; 4],
}

impl Stamp {
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let of = std::fs::metadata(folder)?;
        let times = [of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()];
        Ok(Self { which: [of.dev(), of.ino()], times })
    }
}

/// How long a folder has looked the same.
#[derive(Debug, Default)]
pub(super) struct Stillness(Option<Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    stamp: Stamp,
    /// When it was first seen so.
    since: Instant,
    /// When it was read last.
    read: Instant,
}

impl Stillness {
    /// Whether what was found when it was read last is found there still, by what it looks like now.
    pub(super) fn holds(&self, stamp: Option<Stamp>, now: Instant) -> bool {
        self.0.is_some_and(|seen| {
            // INVARIANT: it was read when the instant that its times name was over, so that what came later has another one.
            let is_over = seen.read.saturating_duration_since(seen.since) >= COARSEST;
            is_over && Some(seen.stamp) == stamp && now.saturating_duration_since(seen.read) < READ_EVERY
        })
    }

    /// It was read, and looked so before that.
    pub(super) fn was_read(&mut self, stamp: Option<Stamp>, now: Instant) {
        let before = self.0;
        self.0 = stamp.map(|stamp| {
            let since = before.filter(|seen| seen.stamp == stamp).map_or(now, |seen| seen.since);
            Seen { stamp, since, read: now }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { which: [1, 2], times: [100, 0, 100, 0] };

    /// What was read at these milliseconds, and looked the same each time.
    fn read_at(begin: Instant, times: impl IntoIterator<Item = u64>) -> Stillness {
        let mut stillness = Stillness::default();
        times.into_iter().for_each(|at| stillness.was_read(Some(STAMP), begin + Duration::from_millis(at)));
        stillness
    }

    #[test]
    fn a_folder_that_changed_a_moment_ago_is_read_until_its_times_must_name_another_instant() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);

        assert!(!Stillness::default().holds(Some(STAMP), begin));
        assert!(!read_at(begin, [0]).holds(Some(STAMP), at(250)), "it may have changed since in the same instant");
        assert!(!read_at(begin, [0, 1_500, 2_999]).holds(Some(STAMP), at(3_000)));
        assert!(read_at(begin, [0, 1_500, 3_000]).holds(Some(STAMP), at(3_001)));
    }

    #[test]
    fn it_is_read_again_in_the_end_also_where_it_looks_the_same() {
        let begin = Instant::now();
        let stillness = read_at(begin, [0, 3_000]);

        let holds = [4_999, 5_000].map(|at| stillness.holds(Some(STAMP), begin + Duration::from_millis(at)));

        assert_eq!(holds, [true, false]);
    }

    #[test]
    fn whatever_looks_another_way_is_read_and_anew_until_its_instant_is_over() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let others = (0..6).flat_map(|part| {
            // One that is later, and one of a clock that was set back.
            [1_i64, -1].map(|by| {
                let mut other = STAMP;
                match part {
                    0 | 1 => other.which[part] = other.which[part].wrapping_add_signed(by),
                    _ => other.times[part - 2] += by,
                }
                other
            })
        });

        for other in others {
            let mut stillness = read_at(begin, [0, 3_000]);
            assert!(!stillness.holds(Some(other), at(3_250)), "{other:?}");
            stillness.was_read(Some(other), at(3_250));
            assert!(!stillness.holds(Some(other), at(3_500)), "{other:?}");
            assert!(!stillness.holds(Some(STAMP), at(3_500)), "{other:?}");
        }
    }

    #[test]
    fn one_that_is_gone_or_cannot_be_asked_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let begin = Instant::now();
        let mut stillness = read_at(begin, [0, 3_000]);

        let gone = Stamp::of(&folder.path().join("none")).ok();

        assert!(!stillness.holds(gone, begin + Duration::from_millis(3_001)));
        stillness.was_read(gone, begin + Duration::from_millis(3_001));
        assert!(!stillness.holds(Some(STAMP), begin + Duration::from_millis(3_002)));
        assert!(Stamp::of(folder.path()).is_ok());
    }
}
