//! What a batch of entries adds to the sums: one row for each day, app and key in it, and not one for each entry.
//!
//! The triggers of the file would look for both sums of every single entry, which cost twice what the entry itself does.

use std::collections::BTreeMap;

use accounting::SLOT_SECONDS;
use rusqlite::{Connection, params};

use super::whole;
use crate::entry::Entry;

/// Where a sum stays that would leave the integers; the triggers' own.
const MOST: i64 = 9_000_000_000_000_000_000;

const DAY_MS: i64 = 86_400_000;

const SLOT_MS: i64 = SLOT_SECONDS as i64 * 1_000;

/// The sums of a batch.
#[derive(Default)]
pub(super) struct Sums<'a> {
    /// By day, app and key.
    days: BTreeMap<(i64, &'a str, &'a str), i64>,
    /// By quarter of an hour, app, team, model and user; an empty one where none is counted.
    slots: BTreeMap<(i64, [&'a str; 4]), i64>,
}

impl<'a> Sums<'a> {
    /// Adds an entry that was not there before.
    pub(super) fn add(&mut self, entry: &'a Entry) {
        let Entry { opening, closing, .. } = entry;
        let began = whole(opening.at_ms);
        let charged = whole(closing.settlement.money.0).saturating_add(whole(closing.settlement.lost_money.0));
        let day = self.days.entry((began / DAY_MS, &*opening.app, &*opening.key)).or_default();
        *day = day.saturating_add(charged).min(MOST);
        let user = opening.user.as_deref().unwrap_or_default();
        let payer = [&*opening.app, &*opening.team, &*opening.model, user];
        let slot = self.slots.entry((began / SLOT_MS, payer)).or_default();
        *slot = slot.saturating_add(charged).min(MOST);
    }

    /// Adds them to those of the file.
    pub(super) fn write(self, database: &Connection) -> Result<(), rusqlite::Error> {
        let mut add = database.prepare_cached(
            "INSERT INTO spent VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (day, app, key) DO UPDATE SET nano_usd = MIN(nano_usd + excluded.nano_usd, ?5)",
        )?;
        for ((day, app, key), sum) in self.days {
            add.execute(params![day, app, key, sum, MOST])?;
        }
        let mut add = database.prepare_cached(
            "INSERT INTO spent_slot VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (slot, app, team, model, user) DO UPDATE SET nano_usd = MIN(nano_usd + excluded.nano_usd, ?7)",
        )?;
        for ((slot, [app, team, model, user]), sum) in self.slots {
            add.execute(params![slot, app, team, model, user, sum, MOST])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use accounting::Money;

    use crate::database::Database;
    use crate::entry::{Entry, Opening};
    use crate::line::tests::{closing_of, opening_of};

    fn entry(number: u64) -> Entry {
        let (request, money) = (format!("cwd_{number}"), 7 * number);
        let names = ["claims", "search", "claims"];
        let opening = Opening {
            // Over the ends of days and of quarters of an hour.
            at_ms: 1_798_761_600_000 - 3 * 86_400_000 + number * 5_000_123,
            app: names[number as usize % 3].into(),
            key: format!("key {}", number % 5).into(),
            model: if number.is_multiple_of(4) { "chat".into() } else { "large".into() },
            user: number.is_multiple_of(3).then(|| "p1:a".into()),
            ..opening_of(&request, 900)
        };
        let mut closing = closing_of(&request, money);
        closing.settlement.lost_money = Money(number % 2);
        Entry { opening, closing, recovered: false }
    }

    /// Every row of both sums, as text.
    fn sums(database: &rusqlite::Connection) -> Vec<String> {
        let query = "SELECT 'day ' || day || ' ' || app || ' ' || key || ' ' || nano_usd FROM spent
            UNION SELECT slot || ' ' || app || ' ' || team || ' ' || model || ' ' || user || ' ' || nano_usd FROM spent_slot
            ORDER BY 1";
        let mut select = database.prepare(query).expect("both are there");
        let rows = select.query_map([], |row| row.get(0)).expect("they can be read");
        rows.collect::<Result<_, _>>().expect("they are text")
    }

    #[test]
    fn a_batch_adds_what_the_triggers_of_an_older_release_add_entry_by_entry() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        let mut database = Database::open(&ours).expect("it opens");
        drop(Database::open(&theirs).expect("it opens"));
        let entries: Vec<Entry> = (0..60).map(entry).collect();

        let (first, second) = entries.split_at(25);
        assert_eq!(database.append(first).expect("it takes them"), 25);
        // What is there already is no second time in the sums.
        assert_eq!(database.append(&entries[20..25]).expect("it takes them"), 0);
        assert_eq!(database.append(second).expect("it takes them"), 35);
        let older = rusqlite::Connection::open(&theirs).expect("it is there");
        older.execute("ATTACH ?1 AS ours", [ours.to_string_lossy()]).expect("it is there");
        let copy =
            "INSERT INTO payer SELECT * FROM ours.payer; INSERT INTO entry SELECT * FROM ours.entry; DETACH ours;";
        older.execute_batch(copy).expect("it takes them");

        let expected = sums(&older);
        assert!(expected.len() > 20, "{expected:?}");
        assert_eq!(sums(&rusqlite::Connection::open(&ours).expect("it is there")), expected);
    }

    #[test]
    fn a_sum_that_would_leave_the_integers_stays_at_their_end() {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let path = folder.path().join("ledger.sqlite");
        let mut database = Database::open(&path).expect("it opens");
        let dear = |request: &str| {
            let (opening, closing) = (opening_of(request, 900), closing_of(request, u64::MAX));
            Entry { opening, closing, recovered: false }
        };

        database.append(&[dear("cwd_1"), dear("cwd_2")]).expect("it takes them");
        database.append(&[dear("cwd_3")]).expect("it takes them");

        let sums = sums(&rusqlite::Connection::open(&path).expect("it is there"));
        assert_eq!(sums.len(), 2);
        assert!(sums.iter().all(|sum| sum.ends_with(" 9000000000000000000")), "{sums:?}");
    }
}
