//! Amounts of money, exact: integers of a billionth of a dollar, and prices finer than that.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

/// An amount of US dollars, in billionths: a tenth of a millionth of a cent.
///
/// No amount passes through a float, and sums stop at the largest number (18 billion dollars) instead of wrapping around.
///
/// ```
/// use accounting::Money;
///
/// let price: Money = "0.87".parse()?;
///
/// assert_eq!(price, Money(870_000_000));
/// assert_eq!(price.to_string(), "0.87");
/// # Ok::<(), accounting::MoneyError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(pub u64);

/// Billionths in a dollar.
const PER_DOLLAR: u64 = 1_000_000_000;

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The most that one request is charged with: a million dollars.
    ///
    /// A caller may write any `max_tokens` and a document any price; with this bound it takes ten thousand such requests
    /// before a sum comes near the end of what a database holds.
    pub const MOST: Self = Self(1_000_000 * PER_DOLLAR);

    /// What is left of this amount when `other` is taken away; nothing where that is more.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// In dollars, with the decimals that it has and no more; `{:.2}` rounds half up to two.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(places) = f.precision() {
            let places = places.min(9);
            let unit = 10_u64.pow(9 - u32::try_from(places).unwrap_or(9));
            let rounded = (u128::from(self.0) + u128::from(unit / 2)) / u128::from(unit);
            let one = u128::from(PER_DOLLAR / unit);
            if places == 0 {
                return write!(f, "{rounded}");
            }
            return write!(f, "{}.{:0places$}", rounded / one, rounded % one);
        }
        let (whole, fraction) = (self.0 / PER_DOLLAR, self.0 % PER_DOLLAR);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{fraction:09}").trim_end_matches('0'))
    }
}

/// Why a text is no amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an amount is digits with at most one point and nine decimals, such as `19.91`, and at most 18446744073 dollars"
)]
pub struct MoneyError;

impl std::str::FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return Err(MoneyError);
        }
        let whole: u64 = whole.parse().map_err(|_| MoneyError)?;
        let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| MoneyError)?;
        let value = whole.checked_mul(PER_DOLLAR).and_then(|value| value.checked_add(fraction));
        value.map(Self).ok_or(MoneyError)
    }
}

/// What one token costs, in 10^-15 dollars: a price in dollars per million tokens keeps nine decimals.
///
/// ```
/// use accounting::Rate;
///
/// let rate = Rate::per_million("2.75")?;
///
/// assert_eq!(rate, Rate(2_750_000_000));
/// assert_eq!(rate.to_string(), "2.75");
/// # Ok::<(), accounting::MoneyError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

impl Rate {
    /// Reads dollars per million tokens.
    ///
    /// # Errors
    ///
    /// [`MoneyError`] where the text is no amount.
    pub fn per_million(text: &str) -> Result<Self, MoneyError> {
        // A billionth of a dollar for a million tokens is 10^-15 dollars for one.
        text.parse::<Money>().map(|money| Self(money.0))
    }

    /// The same, from billionths of a dollar per million tokens.
    #[must_use]
    pub fn from_billionths_per_million(billionths: u128) -> Self {
        Self(u64::try_from(billionths).unwrap_or(u64::MAX))
    }

    /// The exact cost of `tokens`, in 10^-15 dollars.
    pub(crate) fn times(self, tokens: u64) -> u128 {
        u128::from(self.0) * u128::from(tokens)
    }
}

/// In dollars per million tokens.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Money(self.0).fmt(f)
    }
}

/// From 10^-15 dollars to whole units, rounded up once: a charge is never below its price.
pub(crate) fn rounded_up(exact: u128) -> Money {
    Money(u64::try_from(exact.div_ceil(1_000_000)).unwrap_or(u64::MAX)).min(Money::MOST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_amount_is_read_and_written_to_the_last_digit() {
        for text in ["0", "1", "0.1", "19.91", "833806", "0.000000001", "18446744073.709551615"] {
            assert_eq!(text.parse::<Money>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "inf", "1,5", "0.1234567891", "18446744073.709551616", "1.2.3"]
        {
            assert_eq!(text.parse::<Money>(), Err(MoneyError), "{text}");
        }
    }

    #[test]
    fn an_amount_is_shown_rounded_where_that_is_asked_for() {
        let amount: Money = "2.675".parse().expect("an amount");

        assert_eq!(
            [format!("{amount:.2}"), format!("{amount:.0}"), format!("{amount:.9}")],
            ["2.68", "3", "2.675000000"]
        );
        assert_eq!(format!("{:.2}", Money(u64::MAX)), "18446744073.71");
    }

    #[test]
    fn a_price_is_exact_below_the_unit_and_its_product_is_rounded_up_once() {
        let rate = Rate::per_million("0.02").expect("a price");

        assert_eq!(rounded_up(rate.times(1)), Money(20));
        assert_eq!(rounded_up(Rate(1).times(1)), Money(1));
        assert_eq!(rounded_up(Rate(1).times(1_000_000)), Money(1));
        assert_eq!(rounded_up(Rate(u64::MAX).times(u64::MAX)), Money::MOST);
    }

    proptest! {
        #[test]
        fn every_amount_reads_back_as_itself(amount in any::<u64>()) {
            prop_assert_eq!(Money(amount).to_string().parse(), Ok(Money(amount)));
        }
    }
}
