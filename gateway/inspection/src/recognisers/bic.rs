//! Business identifier codes of banks (BIC, SWIFT codes).
//!
//! Any capital word of eight letters has this shape, so it counts only beside a word that names it.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Found, Recogniser, Trigger, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("bic", Group::Financial),
    what: "a BIC with the code of an existing country, beside `BIC` or `SWIFT`",
    source: "ISO 9362; ISO 3166-1 for the country",
    pattern: r"\b[A-Z]{4}[A-Z]{2}[0-9A-Z]{2}(?:[0-9A-Z]{3})?\b",
    trigger: Trigger::NearCapitals(&["BIC", "bic", "Bic", "SWIFT", "swift", "Swift"]),
    check,
    context: Context::Needed(&["bic", "swift"]),
    end: whole,
    examples: &["BIC: «DEUTDEFF500»", "SWIFT code «NEDSZAJJXXX»", "«COBADEFF» (BIC)"],
    others: &["DEUTDEFF", "BIC: DEUTXXFF", "SWIFT is a language", "BIC: deutdeff"],
};

fn check(found: &Found<'_>) -> bool {
    let country = found.value().get(4..6).unwrap_or_default();
    COUNTRIES.as_chunks::<2>().0.iter().any(|code| code == country)
}

/// The two letters of every country, one behind the other; `XK` is in use for Kosovo.
const COUNTRIES: &[u8] = b"ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSXKYEYTZAZMZW";
