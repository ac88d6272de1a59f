//! When each credential was last shown, over a restart.
//!
//! **Promises.** The file holds no secret: a key stands there by its digest, as in `restrictions/`, since names such as
//! `tests.keys[0]` go over to another key when one is taken out; an app's tokens and certificates by their name. Two processes
//! of one state folder write into one file, and of two times the later counts. What is lost of it costs nobody a request: a
//! file that cannot be read is said and passed over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::kept::{Home, KeptError};
use crate::snapshot::Used;

/// Most credentials that are kept although the configuration knows them no more: an earlier one, or that of another process,
/// may. Those that were shown longest ago go first.
const MOST_OTHERS: usize = 1_024;

/// A time that lies further ahead than this, in seconds, is not believed: it was taken by a clock that was wrong, or somebody wrote
/// it, or the clock is behind now. It stays in the file, and gives way to any time that is believed.
const MOST_AHEAD: u64 = 86_400;

/// Seconds since 1970, by what a credential is revoked by.
type Times = BTreeMap<String, u64>;

/// Keeps them; nowhere until it is opened.
#[derive(Debug, Default)]
pub struct LastUsed(Mutex<Option<Home<Times>>>);

impl LastUsed {
    /// Takes over what the file in the state folder says, and keeps them there from now on.
    pub fn open(&self, state_folder: &Path, used: &Used) {
        let home = Home::<Times>::at(state_folder, "last_used");
        match home.found() {
            Ok(found) => {
                let (times, latest) = (found.unwrap_or_default(), latest_now());
                let count = times.values().filter(|at| **at > latest).count();
                if count > 0 {
                    tracing::warn!(
                        count,
                        "times at which keys were last used lie more than a day ahead, and are not believed; is the clock right?"
                    );
                }
                raise(used, &times, latest);
            }
            Err(error) => {
                let why = why(&error);
                tracing::warn!(%why, "when keys were last used before this start is not known");
            }
        }
        *self.0.lock() = Some(home);
    }

    /// Has the file and these know the later of the two times of each credential. It blocks its thread.
    ///
    /// # Errors
    /// [`KeptError`], where the file cannot be written, or a newer release wrote it. One that is damaged is replaced.
    pub(crate) fn keep(&self, used: &Used) -> Result<(), KeptError> {
        let home = self.0.lock();
        let Some(home) = &*home else { return Ok(()) };
        let _alone = home.alone()?;
        let found = match home.found() {
            Err(KeptError::Damaged { .. }) => None,
            found => found?,
        };
        let latest = latest_now();
        let times = together(found.clone().unwrap_or_default(), used, latest);
        raise(used, &times, latest);
        if times == found.unwrap_or_default() { Ok(()) } else { home.write(&times) }
    }
}

/// The latest time that is believed now.
fn latest_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    now.saturating_add(MOST_AHEAD)
}

/// Tells these of later times up to `latest`.
fn raise(used: &Used, times: &Times, latest: u64) {
    for (id, at) in used {
        if let Some(time) = times.get(&**id).filter(|time| **time <= latest) {
            at.fetch_max(*time, Ordering::Relaxed);
        }
    }
}

/// The later time of each, among those up to `latest` where there is one, and the latest [`MOST_OTHERS`] that only the file has.
fn together(mut times: Times, used: &Used, latest: u64) -> Times {
    let is_other = |(id, _): &(&String, &u64)| !used.contains_key(&***id);
    let mut others: Vec<(bool, u64, String)> =
        times.iter().filter(is_other).map(|(id, at)| (*at <= latest, *at, id.clone())).collect();
    others.sort_unstable_by(|one, other| other.cmp(one));
    for (_, _, id) in others.iter().skip(MOST_OTHERS) {
        times.remove(id);
    }
    for (id, at) in used {
        let at = at.load(Ordering::Relaxed);
        if at > 0 && at <= latest {
            let time = times.entry(id.to_string()).or_default();
            *time = if *time <= latest { at.max(*time) } else { at };
        }
    }
    times
}

/// What is wrong with the file, without what it would mean for one that nothing is served without.
fn why(error: &KeptError) -> String {
    match error {
        KeptError::Damaged { path, what } => format!("{}: it {what}", path.display()),
        KeptError::Io { .. } | KeptError::Changed(_) | KeptError::Newer { .. } => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn used(of: &[(&str, u64)]) -> Used {
        of.iter().map(|(id, at)| (Arc::from(*id), Arc::new(AtomicU64::new(*at)))).collect()
    }

    fn times(used: &Used) -> Times {
        used.iter().map(|(id, at)| (id.to_string(), at.load(Ordering::Relaxed))).collect()
    }

    fn opened(folder: &Path, used: &Used) -> LastUsed {
        let kept = LastUsed::default();
        kept.open(folder, used);
        kept
    }

    #[test]
    fn two_processes_of_one_folder_know_the_later_time_of_each() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (used(&[("a", 7), ("b", 4), ("c", 0)]), used(&[("a", 6), ("b", 5), ("d", 3)]));
        let (of_old, of_new) = (opened(folder.path(), &old), opened(folder.path(), &new));

        of_old.keep(&old).unwrap();
        of_new.keep(&new).unwrap();
        of_old.keep(&old).unwrap();
        let after = used(&[("a", 0), ("b", 0), ("c", 0), ("d", 0)]);
        opened(folder.path(), &after);

        assert_eq!(times(&old), times(&used(&[("a", 7), ("b", 5), ("c", 0)])));
        assert_eq!(times(&new), times(&used(&[("a", 7), ("b", 5), ("d", 3)])));
        assert_eq!(times(&after), times(&used(&[("a", 7), ("b", 5), ("c", 0), ("d", 3)])));
    }

    #[test]
    fn the_file_is_its_user_s_and_is_written_only_where_there_is_something_new() {
        let folder = tempfile::tempdir().unwrap();
        let known = used(&[("a", 7)]);
        let kept = opened(folder.path(), &known);
        kept.keep(&known).unwrap();
        let path = folder.path().join("last_used/last_used.json");
        let written = fs::metadata(&path).unwrap();

        // Another name behind the same file: whoever writes puts another file under the first.
        let witness = folder.path().join("witness");
        fs::hard_link(&path, &witness).unwrap();
        kept.keep(&known).unwrap();
        let is_same = fs::metadata(&path).unwrap().modified().unwrap() == written.modified().unwrap();
        known.values().for_each(|at| at.store(8, Ordering::Relaxed));
        kept.keep(&known).unwrap();

        assert_eq!(written.permissions().mode() & 0o777, 0o600);
        assert!(is_same && fs::read(&path).unwrap() != fs::read(&witness).unwrap());
    }

    #[test]
    fn a_damaged_file_is_passed_over_and_replaced_and_one_of_a_newer_release_is_left_alone() {
        for (content, is_replaced) in [("{\"format_ver", true), ("{\"format_version\": 99}", false)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("last_used/last_used.json");
            fs::create_dir(folder.path().join("last_used")).unwrap();
            fs::write(&path, content).unwrap();
            let known = used(&[("a", 7)]);

            let kept = opened(folder.path(), &known).keep(&known);

            assert_eq!((kept.is_ok(), fs::read_to_string(&path).unwrap() != content), (is_replaced, is_replaced));
            assert_eq!(times(&known), times(&used(&[("a", 7)])));
        }
    }

    #[test]
    fn a_time_a_day_ahead_is_believed_and_a_later_one_gives_way_to_any_that_is() {
        let latest = 7 + MOST_AHEAD;
        let found =
            || Times::from([("a".to_owned(), latest), ("b".to_owned(), latest + 1), ("c".to_owned(), latest + 1)]);

        let known = used(&[("a", 5), ("b", 5), ("c", latest + 2)]);
        assert_eq!(together(found(), &known, latest), times(&used(&[("a", latest), ("b", 5), ("c", latest + 1)])));
        let new = used(&[("a", 0), ("b", 0), ("c", 0)]);
        raise(&new, &found(), latest);
        assert_eq!(times(&new), times(&used(&[("a", latest), ("b", 0), ("c", 0)])));
    }

    #[test]
    fn a_clock_that_is_behind_shows_nothing_and_takes_nothing_away() {
        let found = Times::from([("a".to_owned(), 9 * MOST_AHEAD), ("gone".to_owned(), 9 * MOST_AHEAD)]);
        let known = used(&[("a", 0)]);

        let behind = together(found.clone(), &known, 2 * MOST_AHEAD);
        raise(&known, &behind, 2 * MOST_AHEAD);
        assert_eq!((&behind, times(&known)), (&found, times(&used(&[("a", 0)]))));
        raise(&known, &behind, 9 * MOST_AHEAD);

        assert_eq!(times(&known), times(&used(&[("a", 9 * MOST_AHEAD)])));
    }

    #[test]
    fn a_time_that_a_wrong_clock_has_said_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let wrong = used(&[("a", now + 2 * MOST_AHEAD), ("c", 7), ("d", now)]);
        let kept = opened(folder.path(), &wrong);
        let path = folder.path().join("last_used/last_used.json");
        kept.keep(&wrong).unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert!(!written.contains("\"a\""), "{written}");
        fs::write(&path, written.replace("\"c\": 7", "\"c\": 18446744073709551615")).unwrap();

        let after = used(&[("a", 0), ("c", 0), ("d", 0)]);
        let kept = opened(folder.path(), &after);
        assert_eq!(times(&after), times(&used(&[("a", 0), ("c", 0), ("d", now)])), "{written}");
        kept.keep(&used(&[("a", 5), ("c", 6)])).unwrap();
        opened(folder.path(), &after);

        assert_eq!(times(&after), times(&used(&[("a", 5), ("c", 6), ("d", now)])));
    }

    #[test]
    fn of_credentials_that_nobody_knows_any_more_the_latest_are_kept_up_to_the_bound() {
        let of_others = |count: usize| (0..count).map(|at| (format!("other {at:04}"), at as u64)).collect::<Times>();
        let known = used(&[("a", 1)]);

        let whole = together(of_others(MOST_OTHERS), &known, u64::MAX);
        let cut = together(of_others(MOST_OTHERS + 1), &known, u64::MAX);

        assert_eq!((whole.len(), whole.contains_key("other 0000")), (MOST_OTHERS + 1, true));
        assert_eq!((cut.len(), cut.contains_key("other 0000"), cut.contains_key("a")), (MOST_OTHERS + 1, false, true));
    }
}
