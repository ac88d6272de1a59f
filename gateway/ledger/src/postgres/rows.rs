//! Entries as rows, and rows as entries.

use std::sync::Arc;

use accounting::{Estimate, Money, Settlement, Tokens, Used};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};

use crate::entry::{Closing, Entry, Opening};
use crate::home::DatabaseError;
use crate::line::{paid, settled_by, tier};

/// Writes the entries that are not there yet and adds them to their sums, in one statement, which is done whole or not at
/// all. It gives the requests that were added. A sum that would leave the integers stays at their end. The rows of the sums
/// are taken in their order, so that two gateways never wait for one another.
pub(super) const APPEND: &str = "
WITH added AS (
    INSERT INTO entry (request, gateway, began_ms, ended_ms, app, team, key, model, target, held_input, held_output,
        held_nano_usd, settled_by, input, cached_input, cache_write, output, nano_usd, priced, lost_attempts,
        lost_tokens, lost_nano_usd, tier, price, paid, avoidable, recovered, payer)
    SELECT request, $1, began_ms, ended_ms, app, team, key, model, target, held_input, held_output,
        held_nano_usd, settled_by, input, cached_input, cache_write, output, nano_usd, priced, lost_attempts,
        lost_tokens, lost_nano_usd, tier, price, paid, avoidable, recovered, payer
    FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::bigint[], $15::bigint[], $16::bigint[],
        $17::bigint[], $18::bigint[], $19::boolean[], $20::bigint[], $21::bigint[], $22::bigint[], $23::text[],
        $24::text[], $25::text[], $26::boolean[], $27::boolean[], $28::text[])
    AS given (request, began_ms, ended_ms, app, team, key, model, target, held_input, held_output, held_nano_usd,
        settled_by, input, cached_input, cache_write, output, nano_usd, priced, lost_attempts, lost_tokens,
        lost_nano_usd, tier, price, paid, avoidable, recovered, payer)
    ON CONFLICT (request) DO NOTHING
    RETURNING request, began_ms / 86400000 AS day, began_ms / 900000 AS slot, app, team, key, model, gateway,
        COALESCE(payer, '') AS payer,
        nano_usd::numeric + lost_nano_usd AS charged
), summed AS (
    INSERT INTO spent (day, app, key, gateway, nano_usd)
    SELECT day, app, key, gateway, LEAST(sum(charged), 9000000000000000000)::bigint
    FROM added GROUP BY day, app, key, gateway ORDER BY day, app, key, gateway
    ON CONFLICT (day, app, key, gateway) DO UPDATE
    SET nano_usd = LEAST(spent.nano_usd::numeric + excluded.nano_usd, 9000000000000000000)::bigint
), slotted AS (
    INSERT INTO spent_slot (slot, app, team, model, payer, gateway, nano_usd)
    SELECT slot, app, team, model, payer, gateway, LEAST(sum(charged), 9000000000000000000)::bigint
    FROM added GROUP BY slot, app, team, model, payer, gateway ORDER BY slot, app, team, model, payer, gateway
    ON CONFLICT (slot, app, team, model, payer, gateway) DO UPDATE
    SET nano_usd = LEAST(spent_slot.nano_usd::numeric + excluded.nano_usd, 9000000000000000000)::bigint
)
SELECT request FROM added";

/// The columns of an entry in the order in which [`entry`] reads them.
pub(super) const COLUMNS: &str = "request, began_ms, ended_ms, app, team, key, model, target, held_input, held_output, \
    held_nano_usd, settled_by, input, cached_input, cache_write, output, nano_usd, priced, lost_attempts, lost_tokens, \
    lost_nano_usd, tier, price, paid, avoidable, recovered, payer";

type Column<'a> = Box<dyn ToSql + Sync + 'a>;

/// The values for [`APPEND`], a column each.
pub(super) fn columns<'a>(gateway: &'a str, entries: &'a [Entry]) -> Vec<Column<'a>> {
    let text = |of: fn(&Entry) -> &str| -> Column<'a> { Box::new(entries.iter().map(of).collect::<Vec<_>>()) };
    let perhaps =
        |of: fn(&Entry) -> Option<&str>| -> Column<'a> { Box::new(entries.iter().map(of).collect::<Vec<_>>()) };
    let number =
        |of: fn(&Entry) -> u64| -> Column<'a> { Box::new(entries.iter().map(of).map(whole).collect::<Vec<_>>()) };
    let flag = |of: fn(&Entry) -> bool| -> Column<'a> { Box::new(entries.iter().map(of).collect::<Vec<_>>()) };
    vec![
        Box::new(gateway),
        text(|one| &one.opening.request),
        number(|one| one.opening.at_ms),
        number(|one| one.closing.at_ms),
        text(|one| &one.opening.app),
        text(|one| &one.opening.team),
        text(|one| &one.opening.key),
        text(|one| &one.opening.model),
        perhaps(|one| one.closing.target.as_deref()),
        number(|one| one.opening.estimate.input.0),
        number(|one| one.opening.estimate.output.0),
        number(|one| one.opening.money.0),
        text(|one| one.closing.settlement.by.name()),
        number(|one| one.closing.settlement.used.input.0),
        number(|one| one.closing.settlement.used.cached_input.0),
        number(|one| one.closing.settlement.used.cache_write.0),
        number(|one| one.closing.settlement.used.output.0),
        number(|one| one.closing.settlement.money.0),
        flag(|one| one.closing.settlement.priced),
        number(|one| u64::from(one.closing.settlement.lost_attempts)),
        number(|one| one.closing.settlement.lost.0),
        number(|one| one.closing.settlement.lost_money.0),
        text(|one| one.closing.tier),
        perhaps(|one| one.closing.price.as_deref()),
        text(|one| one.closing.paid),
        flag(|one| one.closing.avoidable),
        flag(|one| one.recovered),
        perhaps(|one| one.opening.user.as_deref()),
    ]
}

/// A number beyond the integers of the database stays at their end, as in `SQLite`.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A row of [`COLUMNS`].
pub(super) fn entry(row: &Row) -> Result<Entry, DatabaseError> {
    let request: Arc<str> = text(row, "request")?.into();
    let tokens = |column| number(row, column).map(Tokens);
    let opening = Opening {
        request: Arc::clone(&request),
        at_ms: number(row, "began_ms")?,
        app: text(row, "app")?.into(),
        team: text(row, "team")?.into(),
        key: text(row, "key")?.into(),
        model: text(row, "model")?.into(),
        user: value::<Option<&str>>(row, "payer")?.map(Arc::from),
        estimate: Estimate { input: tokens("held_input")?, output: tokens("held_output")? },
        money: Money(number(row, "held_nano_usd")?),
    };
    let settlement = Settlement {
        used: Used {
            input: tokens("input")?,
            cached_input: tokens("cached_input")?,
            cache_write: tokens("cache_write")?,
            output: tokens("output")?,
        },
        by: settled_by(text(row, "settled_by")?).ok_or_else(|| unreadable(row, "settled_by"))?,
        money: Money(number(row, "nano_usd")?),
        priced: value(row, "priced")?,
        lost_attempts: u32::try_from(number(row, "lost_attempts")?).map_err(|_| unreadable(row, "lost_attempts"))?,
        lost: tokens("lost_tokens")?,
        lost_money: Money(number(row, "lost_nano_usd")?),
    };
    let closing = Closing {
        request,
        at_ms: number(row, "ended_ms")?,
        target: value::<Option<&str>>(row, "target")?.map(Arc::from),
        settlement,
        tier: tier(text(row, "tier")?).ok_or_else(|| unreadable(row, "tier"))?,
        price: value::<Option<&str>>(row, "price")?.map(Arc::from),
        paid: paid(text(row, "paid")?).ok_or_else(|| unreadable(row, "paid"))?,
        avoidable: value(row, "avoidable")?,
    };
    Ok(Entry { opening, closing, recovered: value(row, "recovered")? })
}

fn value<'a, T: FromSql<'a>>(row: &'a Row, column: &'static str) -> Result<T, DatabaseError> {
    row.try_get(column).map_err(|_| unreadable(row, column))
}

fn text<'a>(row: &'a Row, column: &'static str) -> Result<&'a str, DatabaseError> {
    value(row, column)
}

/// A column that holds no negative number.
pub(crate) fn number(row: &Row, column: &'static str) -> Result<u64, DatabaseError> {
    u64::try_from(value::<i64>(row, column)?).map_err(|_| unreadable(row, column))
}

fn unreadable(row: &Row, column: &'static str) -> DatabaseError {
    DatabaseError::Unreadable { request: row.try_get("request").unwrap_or("?").to_owned(), column }
}
