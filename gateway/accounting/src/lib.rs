//! What a request costs: an estimate before it is sent, a reservation while it runs, one settlement at its end.
//!
//! **For.** [`estimate`] turns the size of a request into [`Tokens`]; [`Pricing`] says what they cost, from the
//! [`Catalogue`] or by the operator's word, in [`Money`]; [`Book::reserve`] takes both from an app's book within its
//! limits, or says when it will; a [`Budget`] counts money beside the books, in the stretches of a [`Calendar`], and [`HeldTokens`] are those
//! of a model; the [`Reservation`] is settled exactly once, by what the upstream reported, by the
//! reservation itself where nothing was reported, or at zero where the request never left. [`breakeven`] says from when
//! on own hardware is cheaper.
//!
//! **Promises.** A reservation is settled by value, so it cannot be settled twice; one that is dropped (a disconnect, a
//! panic, a forgotten path) settles itself at what was reserved and is flagged, never at zero. An unknown price is
//! settled at the reservation and flagged, never at zero. Money is an integer, read from digits and never from a float;
//! a price is multiplied exactly and rounded up once. A limit is exact within this process: what an answer used beyond
//! its reservation is carried as debt. Nothing wraps around, whatever a caller or an upstream claims. This crate is pure:
//! no I/O, no clock, no task.
//!
//! A limit that several gateways share is used only as far as it was leased ([`Counter`]); whoever keeps the store asks for it.
//!
//! **Does not do.** It knows no store. Cache writes that a provider keeps for longer than five minutes
//! are priced like those of five minutes, and audio and image tokens like text. A book lives in memory; the ledger keeps
//! what was settled, and [`Book::restore`] brings the month back after a restart.

mod book;
mod breakeven;
mod budget;
mod calendar;
mod catalogue;
mod held_tokens;
mod import;
mod limits;
mod money;
mod price;
mod purse;
mod shared;
mod tokens;

pub use book::{Ask, Book, Reservation, SettledBy, Settlement, Totals};
pub use breakeven::{Breakeven, Comparison, LEFT_OUT, Share, breakeven};
pub use budget::{Budget, Held, MOST_THRESHOLDS, Mode, OverBudget, Reached, Terms};
pub use calendar::{Calendar, NoTimeZone, Period, SLOT_SECONDS, Stretch};
pub use catalogue::{CATALOGUE_VERSION, Catalogue, CatalogueError, Day, MOST_ENTRIES, SHIPPED, STALE_AFTER_DAYS};
pub use held_tokens::HeldTokens;
pub use import::{ImportError, Imported, PROVIDERS, import_litellm};
pub use limits::{Denied, Limits, MINUTE, Moment, RateStanding, Taken};
pub use money::{Money, MoneyError, Rate};
pub use price::{ASSUMED, Ladder, Price, Pricing, Rates, Tier, Used};
pub use purse::{BudgetStanding, Purse, in_money, usable};
pub use shared::{Answer, Bell, Counter, Flow, GOOD_FOR, Left, Question, Seats, Short, part_of};
pub use tokens::{BYTES_PER_TOKEN, DEFAULT_OUTPUT, Estimate, MOST_OUTPUT, Tokens, estimate};
