//! The price catalogue: a dated list of prices by the token, in a format of its own.
//!
//! ```text
//! causeway-prices 1
//! taken 2026-11-26
//! source LiteLLM 1.109.1, model_prices_and_context_window.json, MIT, Copyright (c) 2023 Berri AI
//!
//! azure/eu/gpt-4o input=2.75 cached=1.375 write=1.38 output=11 batch.input=1.375 batch.output=5.5
//! gemini-2.5-pro input=1.25 output=10 input>200000=2.5 output>200000=15
//! ```
//!
//! One entry a line, sorted by name; prices are dollars per million tokens, exact. A price that a tier or a step leaves
//! out is that of the tier's base, and at last `input`. The date is the day on which the prices were taken, and it
//! speaks for all entries. A reader refuses a format version that it does not know.

use std::collections::BTreeMap;
use std::fmt;

use crate::money::Rate;
use crate::price::{Ladder, Price, Rates, Tier};
use crate::tokens::Tokens;

/// The format version that is written and read.
pub const CATALOGUE_VERSION: u32 = 1;

/// Entries that a catalogue may have.
pub const MOST_ENTRIES: usize = 20_000;

/// Age in days beyond which prices are old enough to say so.
pub const STALE_AFTER_DAYS: i64 = 90;

/// The catalogue that is shipped with this version.
///
/// Trimmed from the price table of LiteLLM 1.109.1 (MIT): chat, completion, responses, embedding and rerank models that
/// are billed by the token by Azure, OpenAI, Anthropic, Amazon, Google, Mistral, Cohere and a few more.
pub const SHIPPED: &str = include_str!("../prices.txt");

/// A day, without a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day {
    year: i64,
    month: u32,
    day: u32,
}

impl Day {
    /// Reads `2026-11-26`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        if parts.next().is_some() || !digits(year, 4) || !digits(month, 2) || !digits(day, 2) {
            return None;
        }
        let read = Self { year: year.parse().ok()?, month: month.parse().ok()?, day: day.parse().ok()? };
        // A day that does not exist comes back as another.
        (Self::since_epoch(read.days()) == read).then_some(read)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub fn days(self) -> i64 {
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": `days_from_civil`.
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((i64::from(self.month) + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    /// The day that is so many days after 1970-01-01.
    #[must_use]
    pub fn since_epoch(days: i64) -> Self {
        // The same page: `civil_from_days`.
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month: u32::try_from(month).unwrap_or(1), day: u32::try_from(day).unwrap_or(1) }
    }

    /// The day of an instant that is given in seconds since 1970.
    #[must_use]
    pub fn of_seconds(seconds: u64) -> Self {
        Self::since_epoch(i64::try_from(seconds / 86_400).unwrap_or(i64::MAX / 2))
    }

    /// The calendar month that this day lies in, as a number that grows by one each month.
    #[must_use]
    pub fn month(self) -> u32 {
        u32::try_from(self.year * 12 + i64::from(self.month) - 1).unwrap_or(0)
    }

    /// The first day of the month with this number.
    #[must_use]
    pub fn first_of(month: u32) -> Self {
        Self { year: i64::from(month / 12), month: month % 12 + 1, day: 1 }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// What is wrong with a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct CatalogueError {
    /// The line, counted from 1.
    pub line: usize,
    /// What was found and what would be right.
    pub fault: String,
}

/// Prices by name, and the day on which they were taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// When the prices were taken.
    pub taken: Day,
    /// Where from, in one line.
    pub source: String,
    entries: BTreeMap<String, Price>,
}

impl Catalogue {
    /// A catalogue of these entries. More than [`MOST_ENTRIES`] are cut off.
    #[must_use]
    pub fn new(taken: Day, source: &str, entries: BTreeMap<String, Price>) -> Self {
        let source = source.lines().next().unwrap_or_default().to_owned();
        Self { taken, source, entries: entries.into_iter().take(MOST_ENTRIES).collect() }
    }

    /// Reads the text form.
    ///
    /// # Errors
    ///
    /// The first line at fault.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end()));
        let mut head = |word: &str| match lines.next() {
            Some((line, text)) => match text.strip_prefix(word) {
                Some(rest) => Ok((line, rest.trim())),
                None => Err(CatalogueError { line, fault: format!("`{word}…` was expected") }),
            },
            None => Err(CatalogueError { line: 1, fault: format!("the file ends before `{word}…`") }),
        };
        let (line, version) = head("causeway-prices ")?;
        if version != CATALOGUE_VERSION.to_string() {
            let fault = format!("format version `{version}` is not one that this program reads ({CATALOGUE_VERSION})");
            return Err(CatalogueError { line, fault });
        }
        let (line, day) = head("taken ")?;
        let taken = Day::parse(day)
            .ok_or_else(|| CatalogueError { line, fault: format!("`{day}` is no day; write it as `2026-11-26`") })?;
        let source = head("source ")?.1.to_owned();
        let mut entries = BTreeMap::new();
        for (line, text) in lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#')) {
            let at = |fault| CatalogueError { line, fault };
            let (name, price) = entry(text).map_err(at)?;
            if entries.len() >= MOST_ENTRIES {
                return Err(at(format!("there are more than {MOST_ENTRIES} entries")));
            }
            if entries.insert(name.to_owned(), price).is_some() {
                return Err(at(format!("`{name}` stands here a second time")));
            }
        }
        Ok(Self { taken, source, entries })
    }

    /// The price of this name.
    #[must_use]
    pub fn price(&self, name: &str) -> Option<&Price> {
        self.entries.get(name)
    }

    /// Every name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Days between the taking of these prices and `today`; negative where they are of the future.
    #[must_use]
    pub fn age_in_days(&self, today: Day) -> i64 {
        today.days() - self.taken.days()
    }

    /// The same model without a promise of where it runs: `azure/eu/gpt-4o` is sold as `azure/global/gpt-4o` or
    /// `azure/gpt-4o` as well, `eu.anthropic.…` as `global.anthropic.…` or `anthropic.…`.
    ///
    /// The difference between the two prices is what residency costs. `None` where `name` has no such sibling.
    #[must_use]
    pub fn without_residency(&self, name: &str) -> Option<(&str, &Price)> {
        let (head, tail) = name.rsplit_once('/').map_or(("", name), |(head, tail)| (head, tail));
        let siblings = match head.split('/').collect::<Vec<_>>().as_slice() {
            [provider @ ("azure" | "azure_ai"), zone] if *zone != "global" && *zone != "global-standard" => vec![
                format!("{provider}/global/{tail}"),
                format!("{provider}/global-standard/{tail}"),
                format!("{provider}/{tail}"),
            ],
            _ => {
                let zone =
                    ["eu.", "us.", "apac.", "jp.", "au."].into_iter().find_map(|zone| tail.strip_prefix(zone))?;
                let prefix = if head.is_empty() { String::new() } else { format!("{head}/") };
                vec![format!("{prefix}global.{zone}"), format!("{prefix}{zone}")]
            }
        };
        siblings
            .iter()
            .find_map(|sibling| self.entries.get_key_value(sibling))
            .map(|(name, price)| (name.as_str(), price))
    }
}

/// Names of the steps' and tiers' prices.
type Given = BTreeMap<(Tier, u64), [Option<Rate>; 4]>;

const FIELDS: [&str; 4] = ["input", "cached", "write", "output"];

fn entry(line: &str) -> Result<(&str, Price), String> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next().ok_or("an entry begins with its name")?;
    let mut given = Given::new();
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not written as `name=price`"))?;
        let (tier, key) = match key.split_once('.') {
            None => (Tier::Standard, key),
            Some((tier, key)) => {
                let known = Tier::ALL.into_iter().find(|known| known.name() == tier);
                (known.ok_or_else(|| format!("`{tier}` is no tier"))?, key)
            }
        };
        let (field, above) = match key.split_once('>') {
            None => (key, 0),
            Some((field, above)) => {
                let above: u64 = above.parse().map_err(|_| format!("`{above}` is no number of tokens"))?;
                (field, above)
            }
        };
        let place = FIELDS.iter().position(|known| *known == field).ok_or_else(|| format!("`{field}` is no price"))?;
        let rate = Rate::per_million(value).map_err(|error| format!("`{word}`: {error}"))?;
        let prices = given.entry((tier, above)).or_default();
        if prices.get(place).is_some_and(Option::is_some) {
            return Err(format!("`{key}` is given twice"));
        }
        if let Some(slot) = prices.get_mut(place) {
            *slot = Some(rate);
        }
    }
    let ladder = |tier| ladder(&given, tier);
    let standard = ladder(Tier::Standard).ok_or_else(|| format!("`{name}` has no `input`"))?;
    Ok((
        name,
        Price { standard, batch: ladder(Tier::Batch), flex: ladder(Tier::Flex), priority: ladder(Tier::Priority) },
    ))
}

/// The prices of one tier; `None` where its input has none.
fn ladder(given: &Given, tier: Tier) -> Option<Ladder> {
    let own = given.get(&(tier, 0))?;
    let standard = given.get(&(Tier::Standard, 0))?;
    let base = filled(own, None, standard)?;
    let steps = given.iter().filter(|((of, above), _)| *of == tier && *above > 0);
    let above = steps.filter_map(|((_, above), prices)| Some((Tokens(*above), filled(prices, Some(&base), standard)?)));
    Some(Ladder { base, above: above.collect() })
}

/// Gaps are filled from the tier's base; in a base, what is cached or written costs as any other input.
fn filled(given: &[Option<Rate>; 4], base: Option<&Rates>, standard: &[Option<Rate>; 4]) -> Option<Rates> {
    let [input, cached, write, output] = *given;
    let input = input.or(base.map(|base| base.input))?;
    // A step or tier that names no price for what is cached has no discount that anybody promised.
    Some(Rates {
        input,
        cached_input: cached.unwrap_or(input),
        cache_write: write.unwrap_or(input),
        output: output.or(base.map(|base| base.output)).or(standard[3]).unwrap_or_default(),
    })
}

/// Writes the text form that [`Catalogue::parse`] reads.
impl fmt::Display for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "causeway-prices {CATALOGUE_VERSION}")?;
        writeln!(f, "taken {}", self.taken)?;
        writeln!(f, "source {}", self.source)?;
        writeln!(f)?;
        for (name, price) in &self.entries {
            write!(f, "{name}")?;
            let tiers = [
                (Tier::Standard, Some(&price.standard)),
                (Tier::Batch, price.batch.as_ref()),
                (Tier::Flex, price.flex.as_ref()),
                (Tier::Priority, price.priority.as_ref()),
            ];
            for (tier, ladder) in tiers {
                let Some(ladder) = ladder else { continue };
                write_rates(f, tier, None, &ladder.base)?;
                for (above, rates) in &ladder.above {
                    write_rates(f, tier, Some(*above), rates)?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn write_rates(f: &mut fmt::Formatter<'_>, tier: Tier, above: Option<Tokens>, rates: &Rates) -> fmt::Result {
    let values = [rates.input, rates.cached_input, rates.cache_write, rates.output];
    for (index, (field, rate)) in FIELDS.into_iter().zip(values).enumerate() {
        let as_input = (index == 1 || index == 2) && rate == rates.input;
        if as_input {
            continue;
        }
        f.write_str(" ")?;
        if tier != Tier::Standard {
            write!(f, "{}.", tier.name())?;
        }
        match above {
            None => write!(f, "{field}={rate}")?,
            Some(above) => write!(f, "{field}>{above}={rate}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
