//! Countries by their ISO 3166-1 codes.

use std::fmt;
use std::str::FromStr;

/// A country by its two capital letters, or [`Country::ANYWHERE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// The officially assigned codes of ISO 3166-1 alpha-2.
const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT \
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM \
FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO \
JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT \
MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA \
SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US \
UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

impl Country {
    /// Anywhere, or nobody knows: `ZZ`. It is in no group of countries.
    pub const ANYWHERE: Self = Self(*b"ZZ");

    /// The two letters.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("ZZ")
    }
}

/// A code that no country has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no country: ISO 3166-1 has no such code")]
pub struct UnknownCountry(pub String);

impl FromStr for Country {
    type Err = UnknownCountry;

    /// Reads two capital letters that ISO 3166-1 has assigned. `ZZ` is not among them: nobody declares "anywhere".
    fn from_str(text: &str) -> Result<Self, UnknownCountry> {
        match text.as_bytes() {
            [first, second] if CODES.split(' ').any(|code| code == text) => Ok(Self([*first, *second])),
            _ => Err(UnknownCountry(text.chars().take(16).collect())),
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_two_capital_letters_that_are_assigned() {
        assert_eq!("SE".parse::<Country>().unwrap().code(), "SE");
        for wrong in ["se", "UK", "EU", "ZZ", "XX", "S", "SWE", "", "A ", "ÄÖ"] {
            assert!(wrong.parse::<Country>().is_err(), "{wrong}");
        }
        assert_eq!(CODES.split(' ').count(), 249);
    }
}
