//! Reads the price table of LiteLLM (`model_prices_and_context_window.json`, MIT) into a [`Catalogue`].
//!
//! Prices there are dollars per token, written as JSON numbers such as `2.75e-06`; they are read as the digits that they
//! are and never as floats. What is billed by anything but tokens, and what no catalogue needs (images, audio), is left
//! out and counted.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::catalogue::{Catalogue, Day};
use crate::money::Rate;
use crate::price::{Ladder, Price, Rates, Tier};
use crate::tokens::Tokens;

/// What came of an import.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The catalogue.
    pub catalogue: Catalogue,
    /// Entries without a price by the token for text, left out.
    pub unpriced: usize,
    /// Entries of providers or kinds that were not asked for, left out.
    pub unwanted: usize,
    /// Entries whose price cannot be read exactly, by name, left out.
    pub unreadable: Vec<String>,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not JSON, or no object of objects.
    #[error("it is not a table of models in JSON: {0}")]
    Shape(#[source] serde_json::Error),
    /// Not one entry is left.
    #[error("it holds no price by the token")]
    Empty,
}

/// The kinds of models that a gateway for text asks for.
const KINDS: [&str; 5] = ["chat", "completion", "responses", "embedding", "rerank"];

/// Providers of the shipped catalogue, by the beginning of their name in the table.
///
/// Resellers and routers of other people's models are left out: what they charge says nothing of a private endpoint.
pub const PROVIDERS: [&str; 11] = [
    "anthropic",
    "azure",
    "bedrock",
    "cohere",
    "deepseek",
    "gemini",
    "mistral",
    "openai",
    "ovhcloud",
    "scaleway",
    "vertex_ai",
];

/// Input lengths from which on the table knows other prices, with the words in its keys.
const STEPS: [(u64, &str); 5] = [
    (100_000, "_above_100k_tokens"),
    (128_000, "_above_128k_tokens"),
    (200_000, "_above_200k_tokens"),
    (256_000, "_above_256k_tokens"),
    (272_000, "_above_272k_tokens"),
];

const TIERS: [(Tier, &str); 4] =
    [(Tier::Standard, ""), (Tier::Batch, "_batches"), (Tier::Flex, "_flex"), (Tier::Priority, "_priority")];

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Reads the table in `json`, whose prices were taken on `taken`; only entries of `providers`, or all where it is empty.
///
/// # Errors
///
/// [`ImportError`] where there is nothing to read.
pub fn import_litellm(json: &str, taken: Day, source: &str, providers: &[&str]) -> Result<Imported, ImportError> {
    let table: BTreeMap<String, &RawValue> = serde_json::from_str(json).map_err(ImportError::Shape)?;
    let mut entries = BTreeMap::new();
    let (mut unpriced, mut unwanted, mut unreadable) = (0, 0, Vec::new());
    for (name, raw) in table {
        let Ok(fields) = serde_json::from_str::<Fields<'_>>(raw.get()) else { continue };
        let text = |key: &str| fields.get(key).map_or("", |raw| raw.get().trim_matches('"'));
        let provider = text("litellm_provider");
        let wanted = providers.is_empty() || providers.iter().any(|wanted| provider.starts_with(wanted));
        if name == "sample_spec" || !wanted || !KINDS.contains(&text("mode")) || name.contains(char::is_whitespace) {
            unwanted += 1;
            continue;
        }
        match price(&fields) {
            Ok(Some(price)) => {
                entries.insert(name, price);
            }
            Ok(None) => unpriced += 1,
            Err(NotExact) => unreadable.push(name),
        }
    }
    if entries.is_empty() {
        return Err(ImportError::Empty);
    }
    Ok(Imported { catalogue: Catalogue::new(taken, source, entries), unpriced, unwanted, unreadable })
}

/// A number that is negative, no number, or finer than 10^-15 dollars by more than what a float's noise explains.
struct NotExact;

fn price(fields: &Fields<'_>) -> Result<Option<Price>, NotExact> {
    let Some(standard) = ladder(fields, TIERS[0].1)? else { return Ok(None) };
    let mut price = Price { standard, ..Price::default() };
    for (tier, suffix) in TIERS {
        let own = match tier {
            Tier::Standard => continue,
            Tier::Batch => &mut price.batch,
            Tier::Flex => &mut price.flex,
            Tier::Priority => &mut price.priority,
        };
        *own = ladder(fields, suffix)?;
    }
    // A price of nothing is a gift, or a gap in the table; either way nobody should count on it.
    let costs = price.standard.base.input > Rate(0) || price.standard.base.output > Rate(0);
    Ok(costs.then_some(price))
}

fn ladder(fields: &Fields<'_>, tier: &str) -> Result<Option<Ladder>, NotExact> {
    let Some(base) = rates(fields, "", tier, None)? else { return Ok(None) };
    let mut above = Vec::new();
    for (tokens, step) in STEPS {
        if let Some(rates) = rates(fields, step, tier, Some(&base))? {
            above.push((Tokens(tokens), rates));
        }
    }
    Ok(Some(Ladder { base, above }))
}

fn rates(fields: &Fields<'_>, step: &str, tier: &str, base: Option<&Rates>) -> Result<Option<Rates>, NotExact> {
    let read = |name: &str| match fields.get(&format!("{name}{step}{tier}")) {
        Some(raw) if raw.get() != "null" => rate(raw.get().trim_matches('"')).map(Some).ok_or(NotExact),
        _ => Ok(None),
    };
    let (Some(input), output) = (read("input_cost_per_token")?, read("output_cost_per_token")?) else {
        return Ok(None);
    };
    Ok(Some(Rates {
        input,
        cached_input: read("cache_read_input_token_cost")?.unwrap_or(input),
        cache_write: read("cache_creation_input_token_cost")?.unwrap_or(input),
        output: output.or(base.map(|base| base.output)).unwrap_or_default(),
    }))
}

/// Reads dollars per token, `2.75e-06`, as 10^-15 dollars; digits below that are rounded half up.
///
/// A table that was computed with floats holds numbers such as `1.4999999999999999e-07`; rounding mends them.
fn rate(text: &str) -> Option<Rate> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || whole.len() + fraction.len() > 24 {
        return None;
    }
    let mut digits = whole.bytes().chain(fraction.bytes());
    let value =
        digits.try_fold(0_u128, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u128::from(byte - b'0')))?;
    // value * 10^(exponent - decimals) dollars, in units of 10^-15.
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(15)?;
    let scaled = match u32::try_from(shift) {
        Ok(up) => value.checked_mul(10_u128.checked_pow(up)?)?,
        Err(_) => {
            let unit = 10_u128.checked_pow(shift.unsigned_abs())?;
            (value + unit / 2) / unit
        }
    };
    u64::try_from(scaled).ok().map(Rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Used;

    fn taken() -> Day {
        Day::parse("2026-11-26").expect("a day")
    }

    #[test]
    fn a_price_is_read_from_its_digits_and_not_as_a_float() {
        let table = [
            ("2.75e-06", Some(2_750_000_000)),
            ("1.375E-06", Some(1_375_000_000)),
            ("0.00001", Some(10_000_000_000)),
            ("0", Some(0)),
            ("2e-8", Some(20_000_000)),
            ("1.4999999999999999e-07", Some(150_000_000)),
            ("-1e-6", None),
            ("NaN", None),
            ("1e9", None),
            ("1e400", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(rate(text), expected.map(Rate), "{text}");
        }
    }

    #[test]
    fn an_entry_keeps_its_tiers_steps_and_cache_prices() {
        let json = r#"{"sample_spec": {"mode": "one of"},
            "m": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 8e-06,
                  "cache_read_input_token_cost": 1e-07, "input_cost_per_token_batches": 5e-07, "output_cost_per_token_batches": 4e-06,
                  "input_cost_per_token_above_200k_tokens": 2e-06, "output_cost_per_token_above_200k_tokens": 1.2e-05},
            "picture": {"litellm_provider": "azure", "mode": "image_generation", "input_cost_per_token": 1e-06},
            "hourly": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_second": 1e-06},
            "gift": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0},
            "odd": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": -1},
            "resold": {"litellm_provider": "reseller", "mode": "chat", "input_cost_per_token": 1e-06}}"#;

        let imported = import_litellm(json, taken(), "a test", &["azure"]).expect("one price");

        assert_eq!((imported.unpriced, imported.unwanted, imported.unreadable), (2, 3, vec!["odd".to_owned()]));
        let text = imported.catalogue.to_string();
        let line = "m input=1 cached=0.1 output=8 input>200000=2 output>200000=12 batch.input=0.5 batch.output=4\n";
        assert!(text.ends_with(line), "{text}");
        assert_eq!(Catalogue::parse(&text), Ok(imported.catalogue.clone()));
        let used = Used { input: Tokens(1_000), cached_input: Tokens(1_000), ..Used::default() };
        let price = imported.catalogue.price("m").expect("it was imported");
        assert_eq!(price.cost(used, Tier::Standard).to_string(), "0.0001");
    }

    #[test]
    fn a_table_without_prices_is_no_catalogue() {
        assert!(matches!(import_litellm("[]", taken(), "", &[]), Err(ImportError::Shape(_))));
        assert!(matches!(import_litellm("{}", taken(), "", &[]), Err(ImportError::Empty)));
    }
}
