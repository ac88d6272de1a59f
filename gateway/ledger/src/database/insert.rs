//! The statement that writes entries. Its parameters keep their values from one entry to the next, and of 26 about eight change:
//! binding the others again was a fifth of what writing an entry took.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Error};

use super::whole;
use crate::entry::Entry;

/// One value for each column, in the order in which the table has them.
type Row<'e> = [ValueRef<'e>; 26];

pub(super) struct Insert<'d, 'e> {
    statement: CachedStatement<'d>,
    /// What is bound.
    bound: Option<Row<'e>>,
}

impl<'d, 'e> Insert<'d, 'e> {
    pub(super) fn prepare(database: &'d Connection) -> Result<Self, Error> {
        let statement = database.prepare_cached(
            "INSERT OR IGNORE INTO entry VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,\
             ?19,?20,?21,?22,?23,?24,?25,?26)",
        )?;
        Ok(Self { statement, bound: None })
    }

    /// Writes an entry, and says whether it was not there before.
    pub(super) fn write(&mut self, entry: &'e Entry) -> Result<bool, Error> {
        let row = row(entry);
        // INVARIANT: while some are bound and others not, none counts as bound.
        let before = self.bound.take();
        for (column, value) in row.iter().enumerate() {
            if before.as_ref().and_then(|before| before.get(column)) != Some(value) {
                self.statement.raw_bind_parameter(column + 1, ToSqlOutput::Borrowed(*value))?;
            }
        }
        self.bound = Some(row);
        Ok(self.statement.raw_execute()? > 0)
    }
}

fn row(entry: &Entry) -> Row<'_> {
    let Entry { opening, closing, recovered } = entry;
    let settlement = &closing.settlement;
    let number = |number: u64| ValueRef::Integer(whole(number));
    let flag = |flag: bool| ValueRef::Integer(flag.into());
    [
        (&*opening.request).into(),
        number(opening.at_ms),
        number(closing.at_ms),
        (&*opening.app).into(),
        (&*opening.team).into(),
        (&*opening.key).into(),
        (&*opening.model).into(),
        closing.target.as_deref().into(),
        number(opening.estimate.input.0),
        number(opening.estimate.output.0),
        number(opening.money.0),
        settlement.by.name().into(),
        number(settlement.used.input.0),
        number(settlement.used.cached_input.0),
        number(settlement.used.cache_write.0),
        number(settlement.used.output.0),
        number(settlement.money.0),
        flag(settlement.priced),
        number(settlement.lost_attempts.into()),
        number(settlement.lost.0),
        number(settlement.lost_money.0),
        closing.tier.into(),
        closing.price.as_deref().into(),
        closing.paid.into(),
        flag(closing.avoidable),
        flag(*recovered),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use accounting::{Money, SettledBy, Tokens};
    use proptest::prelude::*;

    use crate::database::Database;
    use crate::entry::Entry;
    use crate::line::tests::{closing_of, opening_of};

    /// One whose columns are these values, of which there are few: a column stays as often as it changes.
    fn entry(number: usize, columns: [u8; 24]) -> Entry {
        let [at, ended, app, team, key, model, user, target, input, output, money, by, .., price, paid, flags] =
            columns;
        let [.., used, cached, written, answered, charged, lost_attempts, lost, lost_money, tier, _, _, _] = columns;
        let text = |column: u8| -> Arc<str> { ["a", "b", "ä%\t"][usize::from(column)].into() };
        let perhaps = |column: u8| Some(text(column)).filter(|_| column > 0);
        let number_of = |column: u8| [0, 7, i64::MAX as u64][usize::from(column)];
        let request = format!("cwd_{number:03}");
        let mut opening = opening_of(&request, number_of(money));
        (opening.at_ms, opening.app, opening.team) = (number_of(at) / 2, text(app), text(team));
        (opening.key, opening.model, opening.user) = (text(key), text(model), perhaps(user));
        opening.estimate.input = Tokens(number_of(input));
        opening.estimate.output = Tokens(number_of(output));
        let mut closing = closing_of(&request, number_of(charged));
        (closing.at_ms, closing.target, closing.price) = (number_of(ended), perhaps(target), perhaps(price));
        closing.tier = ["standard", "flex", "batch"][usize::from(tier)];
        closing.paid = ["sunk", "per_token", "unknown"][usize::from(paid)];
        closing.avoidable = flags == 1;
        let settlement = &mut closing.settlement;
        settlement.by = [SettledBy::Reported, SettledBy::Reservation, SettledBy::NotSent][usize::from(by)];
        (settlement.priced, settlement.lost_attempts) = (flags == 0, lost_attempts.into());
        (settlement.used.input, settlement.used.cached_input) = (Tokens(number_of(used)), Tokens(number_of(cached)));
        (settlement.used.cache_write, settlement.used.output) =
            (Tokens(number_of(written)), Tokens(number_of(answered)));
        (settlement.lost, settlement.lost_money) = (Tokens(number_of(lost)), Money(number_of(lost_money)));
        Entry { opening, closing, recovered: flags == 2 }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn each_entry_of_a_batch_is_written_with_its_own_values(
            rows in proptest::collection::vec(proptest::collection::vec(0..3_u8, 24), 1..20), again: prop::sample::Index,
        ) {
            let folder = tempfile::tempdir().expect("there is a temporary folder");
            let mut database = Database::open(&folder.path().join("ledger.sqlite")).expect("it opens");
            let columns = rows.iter().map(|row| <[u8; 24]>::try_from(row.as_slice()).expect("there are as many"));
            let mut entries: Vec<_> = columns.enumerate().map(|(number, columns)| entry(number, columns)).collect();
            let expected: BTreeMap<_, _> =
                entries.iter().map(|entry| (Arc::clone(&entry.opening.request), entry.clone())).collect();
            // One comes a second time, in the middle of the others, and says something else.
            let twice = again.index(entries.len());
            let mut other = entries[twice].clone();
            (other.closing.settlement.money, other.opening.model) = (Money(12), "other".into());
            entries.insert(twice + 1, other);

            let added = database.append(&entries).expect("it takes them");

            let mut found = BTreeMap::new();
            let each = |entry: Entry| drop(found.insert(Arc::clone(&entry.opening.request), entry));
            database.read((0, u64::MAX), each).expect("they can be read");
            prop_assert_eq!(added, expected.len() as u64);
            prop_assert_eq!(found, expected);
        }
    }
}
