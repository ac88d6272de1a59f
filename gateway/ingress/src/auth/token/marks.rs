//! What the claims of a verified token say beside whose it is.
//!
//! The meaning is not known here: a mark is the place, in a list that the rule of the token holds, of a claim and a value that
//! the token has. It is kept with the verified token, so the claims themselves need not be.

use serde_json::{Map, Value};

use super::claims::has;

/// Most claims and values that one rule looks for.
pub const MOST_MARKS: usize = 64;

/// Which claims and values a token has, by their place in the list of its rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Marks(u64);

impl Marks {
    /// None, as of a key or a certificate.
    pub const NONE: Self = Self(0);

    /// The places in `wanted` whose claim holds the value. What stands beyond the bound is not looked for.
    pub(super) fn of(wanted: &[(Box<str>, Box<str>)], claims: &Map<String, Value>) -> Self {
        let each = wanted.iter().take(MOST_MARKS).enumerate();
        Self(each.filter(|(_, (name, value))| has(claims, name, value)).fold(0, |marks, (place, _)| marks | 1 << place))
    }

    /// Whether the claim and value at `place` are there.
    #[must_use]
    pub fn has(self, place: usize) -> bool {
        place < MOST_MARKS && self.0 & 1 << place != 0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mark_is_the_place_of_a_claim_that_holds_the_value() {
        let wanted: Vec<(Box<str>, Box<str>)> =
            [("roles", "medical"), ("roles", "fraud"), ("realm.scope", "x"), ("dept", "7")]
                .map(|(name, value)| (name.into(), value.into()))
                .into();
        let Value::Object(claims) = json!({"roles": ["fraud", "other"], "realm": {"scope": "x"}, "dept": 7}) else {
            panic!()
        };

        let marks = Marks::of(&wanted, &claims);

        assert_eq!((0..5).map(|place| marks.has(place)).collect::<Vec<_>>(), [false, true, true, true, false]);
        assert!(Marks::of(&wanted, &Map::new()) == Marks::NONE && !marks.has(64) && !marks.has(1_000));
    }

    #[test]
    fn what_stands_beyond_the_bound_is_not_looked_for() {
        let wanted: Vec<(Box<str>, Box<str>)> = vec![("a".into(), "b".into()); MOST_MARKS + 1];
        let Value::Object(claims) = json!({"a": "b"}) else { panic!() };

        let marks = Marks::of(&wanted, &claims);

        assert!(marks.has(MOST_MARKS - 1) && !marks.has(MOST_MARKS));
    }
}
