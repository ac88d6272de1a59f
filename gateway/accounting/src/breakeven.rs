//! From how many hours on own hardware is cheaper than renting: the published formula, exact.
//!
//! `H = capital / (cloud per hour - operation per hour)`, as in Lenovo Press LP2225 (23 May 2025). It leaves a good deal
//! out; [`LEFT_OUT`] says what.

use crate::money::Money;

/// What own hardware costs, and what it is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// What the hardware costs.
    pub capital: Money,
    /// What an hour of running it costs.
    pub operation_per_hour: Money,
    /// What the cloud costs for an hour of the same work.
    pub cloud_per_hour: Money,
    /// The part of the time in which the hardware is used, in thousandths of a percent: 100,000 is all of it.
    pub utilisation: Share,
}

/// A part of a whole in thousandths of a percent, from 1 to 100,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// All of it.
    pub const ALL: Self = Self(100_000);

    /// Reads a percentage, `"60"` or `"62.5"`; more than 0, at most 100, at most three decimals.
    #[must_use]
    pub fn percent(text: &str) -> Option<Self> {
        let billionths = text.parse::<Money>().ok()?.0;
        let share = u32::try_from(billionths / 1_000_000).ok()?;
        let exact = billionths % 1_000_000 == 0;
        (exact && (1..=Self::ALL.0).contains(&share)).then_some(Self(share))
    }

    /// The part as a fraction of [`Share::ALL`].
    #[must_use]
    pub fn thousandths(self) -> u32 {
        self.0
    }

    /// This part of `amount`, in units of a hundred-thousandth of [`Money`]'s unit.
    fn of(self, amount: Money) -> u128 {
        u128::from(amount.0) * u128::from(self.0)
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} %", Money(u64::from(self.0) * 1_000_000))
    }
}

/// From when on own hardware is cheaper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breakeven {
    /// Tenths of an hour, rounded half up.
    pub tenths_of_hours: u128,
    /// Whole hours, rounded half up from [`Breakeven::tenths_of_hours`], so that the two figures that people see agree:
    /// 15,708.5 hours are 15,709.
    pub hours: u128,
    /// Tenths of a month of 720 hours, rounded half up.
    pub tenths_of_months: u128,
}

/// What the formula leaves out, for whoever reads its result.
pub const LEFT_OUT: [&str; 5] = [
    "people, network, space and replacement are in no term; put what you know into the operating cost",
    "prices stay as they are today: the cut of one cloud in June 2025, from 98.32 to about 33 dollars, made this result three times as long",
    "the hardware price is a list price, without discount, interest or what it is worth at the end",
    "the hours are hours of use: hardware that waits is paid for and saves nothing, see --utilisation",
    "the same work is assumed to fit the own hardware at the same speed; compare what you measured",
];

/// When own hardware is cheaper; `None` where it never is, because running it costs as much as the cloud.
///
/// ```
/// use accounting::{Comparison, Share, breakeven};
///
/// let published = Comparison {
///     capital: "833806".parse()?,
///     operation_per_hour: "0.87".parse()?,
///     cloud_per_hour: "98.32".parse()?,
///     utilisation: Share::ALL,
/// };
///
/// let found = breakeven(&published).expect("the cloud is dearer");
///
/// assert_eq!((found.hours, found.tenths_of_months), (8_556, 119));
/// # Ok::<(), accounting::MoneyError>(())
/// ```
#[must_use]
pub fn breakeven(of: &Comparison) -> Option<Breakeven> {
    let saved = of.utilisation.of(of.cloud_per_hour).checked_sub(Share::ALL.of(of.operation_per_hour))?;
    if saved == 0 {
        return None;
    }
    let capital = Share::ALL.of(of.capital);
    let rounded = |numerator: u128, denominator: u128| (2 * numerator + denominator) / (2 * denominator);
    let tenths_of_hours = rounded(capital * 10, saved);
    Some(Breakeven {
        tenths_of_hours,
        hours: rounded(tenths_of_hours, 10),
        tenths_of_months: rounded(capital, saved * 72),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().expect(text)
    }

    fn against(cloud: &str) -> Comparison {
        Comparison {
            capital: money("833806"),
            operation_per_hour: money("0.87"),
            cloud_per_hour: money(cloud),
            utilisation: Share::ALL,
        }
    }

    #[test]
    fn the_published_table_is_reproduced() {
        let table = [
            ("98.32", 85_562, 8_556, 119),
            ("77.43", 108_909, 10_891, 151),
            ("53.95", 157_085, 15_709, 218),
            ("33", 259_510, 25_951, 360),
        ];
        for (cloud, tenths_of_hours, hours, tenths_of_months) in table {
            let found = breakeven(&against(cloud)).expect("the cloud is dearer");
            assert_eq!(found, Breakeven { tenths_of_hours, hours, tenths_of_months }, "{cloud}");
        }
    }

    #[test]
    fn hardware_that_waits_takes_longer_and_may_never_pay() {
        let half = Comparison { utilisation: Share::percent("50").expect("a part"), ..against("98.32") };
        let hardly = Comparison { utilisation: Share::percent("0.5").expect("a part"), ..against("98.32") };

        assert_eq!(breakeven(&half).map(|found| found.hours), Some(17_267));
        assert_eq!(breakeven(&hardly), None);
        assert_eq!(breakeven(&against("0.87")), None);
    }

    #[test]
    fn a_part_is_more_than_nothing_and_at_most_all() {
        let read = |text| Share::percent(text).map(Share::thousandths);

        assert_eq!(["100", "62.5", "0.001"].map(read), [Some(100_000), Some(62_500), Some(1)]);
        assert_eq!(["0", "100.001", "0.0001", "-1", "half"].map(read), [None; 5]);
        assert_eq!(Share::percent("62.5").expect("a part").to_string(), "62.5 %");
    }
}
