//! What each of several gateways has spent that post into one database.

use std::sync::Arc;

use accounting::{Money, SLOT_SECONDS};
use tokio_postgres::Row;

use crate::home::{Books, DatabaseError, Spent, SpentBy};
use crate::keeper::{Ask, Ledger, LedgerError};
use crate::postgres::{Client, Connected, day, failed, in_time, number};

/// What one gateway has spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfGateway<T> {
    /// The gateway, by the name of its ledger's folder.
    pub gateway: Arc<str>,
    /// What was charged for its requests.
    pub spent: T,
}

impl Ledger {
    /// [`Ledger::spent`] of each gateway that posts into the same database; nothing where nobody else can.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] where the database cannot be read.
    pub fn spent_of_each(&self, days: (u64, u64)) -> Result<Vec<OfGateway<Spent>>, LedgerError> {
        self.answer(|answer| Ask::Read(Box::new(move |books| drop(answer.send(books.spent_of_each(days))))))
    }

    /// [`Ledger::spent_by`] of each gateway that posts into the same database; nothing where nobody else can.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] where the database cannot be read.
    pub fn spent_by_of_each(&self, seconds: (u64, u64)) -> Result<Vec<OfGateway<SpentBy>>, LedgerError> {
        self.answer(|answer| Ask::Read(Box::new(move |books| drop(answer.send(books.spent_by_of_each(seconds))))))
    }
}

impl Books {
    pub(crate) fn spent_of_each(&mut self, days: (u64, u64)) -> Result<Vec<OfGateway<Spent>>, DatabaseError> {
        let Self::Postgres(client) = self else { return Ok(Vec::new()) };
        let question = "SELECT gateway, app, key, LEAST(sum(nano_usd), 9000000000000000000)::bigint AS nano_usd \
                        FROM spent WHERE day >= $1 AND day < $2 GROUP BY gateway, app, key ORDER BY gateway, app, key";
        read(client, question, days, |row| {
            Ok(Spent { app: text(row, 1)?, key: text(row, 2)?, money: Money(number(row, "nano_usd")?) })
        })
    }

    pub(crate) fn spent_by_of_each(&mut self, seconds: (u64, u64)) -> Result<Vec<OfGateway<SpentBy>>, DatabaseError> {
        let Self::Postgres(client) = self else { return Ok(Vec::new()) };
        let question = "SELECT gateway, app, team, model, payer, \
                        LEAST(sum(nano_usd), 9000000000000000000)::bigint AS nano_usd \
                        FROM spent_slot WHERE slot >= $1 AND slot < $2 \
                        GROUP BY gateway, app, team, model, payer ORDER BY gateway, app, team, model, payer";
        let slots = (seconds.0 / SLOT_SECONDS, seconds.1 / SLOT_SECONDS);
        read(client, question, slots, |row| {
            let user = Some(text(row, 4)?).filter(|user| !user.is_empty());
            let money = Money(number(row, "nano_usd")?);
            Ok(SpentBy { app: text(row, 1)?, team: text(row, 2)?, model: text(row, 3)?, user, money })
        })
    }
}

fn read<T>(
    client: &mut Client,
    question: &str,
    (from, to): (u64, u64),
    of: impl Fn(&Row) -> Result<T, DatabaseError>,
) -> Result<Vec<OfGateway<T>>, DatabaseError> {
    let rows = client.ask(async |connected: &mut Connected| {
        in_time(async { connected.client.query(question, &[&day(from), &day(to)]).await.map_err(failed) }).await
    })?;
    rows.iter().map(|row| Ok(OfGateway { gateway: text(row, 0)?, spent: of(row)? })).collect()
}

fn text(row: &Row, column: usize) -> Result<Arc<str>, DatabaseError> {
    row.try_get::<_, &str>(column).map(Arc::from).map_err(failed)
}
