//! Facts of places in the words of people who read contracts.

use std::collections::BTreeSet;

use policy::{Countries, Country, UNKNOWN_RETENTION_DAYS};
use server::configuration;

/// Countries that the data pack names, in English.
const NAMES: &[(&str, &str)] = &[
    ("AE", "the United Arab Emirates"),
    ("AR", "Argentina"),
    ("AT", "Austria"),
    ("AU", "Australia"),
    ("BE", "Belgium"),
    ("BG", "Bulgaria"),
    ("BH", "Bahrain"),
    ("BR", "Brazil"),
    ("CA", "Canada"),
    ("CH", "Switzerland"),
    ("CL", "Chile"),
    ("CN", "China"),
    ("CY", "Cyprus"),
    ("CZ", "Czechia"),
    ("DE", "Germany"),
    ("DK", "Denmark"),
    ("EE", "Estonia"),
    ("ES", "Spain"),
    ("FI", "Finland"),
    ("FR", "France"),
    ("GB", "the United Kingdom"),
    ("GR", "Greece"),
    ("HK", "Hong Kong"),
    ("HR", "Croatia"),
    ("HU", "Hungary"),
    ("ID", "Indonesia"),
    ("IE", "Ireland"),
    ("IL", "Israel"),
    ("IN", "India"),
    ("IS", "Iceland"),
    ("IT", "Italy"),
    ("JP", "Japan"),
    ("KR", "South Korea"),
    ("LI", "Liechtenstein"),
    ("LT", "Lithuania"),
    ("LU", "Luxembourg"),
    ("LV", "Latvia"),
    ("MA", "Morocco"),
    ("MT", "Malta"),
    ("MX", "Mexico"),
    ("MY", "Malaysia"),
    ("NG", "Nigeria"),
    ("NL", "the Netherlands"),
    ("NO", "Norway"),
    ("NZ", "New Zealand"),
    ("OM", "Oman"),
    ("PE", "Peru"),
    ("PH", "the Philippines"),
    ("PL", "Poland"),
    ("PT", "Portugal"),
    ("QA", "Qatar"),
    ("RO", "Romania"),
    ("SA", "Saudi Arabia"),
    ("SE", "Sweden"),
    ("SG", "Singapore"),
    ("SI", "Slovenia"),
    ("SK", "Slovakia"),
    ("TH", "Thailand"),
    ("TR", "Türkiye"),
    ("TW", "Taiwan"),
    ("US", "the United States"),
    ("VN", "Vietnam"),
    ("ZA", "South Africa"),
    ("ZZ", "any country"),
];

/// Most countries that are listed one by one.
const MOST_LISTED: usize = 10;

/// The country by its name, or by its code where the pack does not name it.
pub(super) fn country(country: Country) -> String {
    let code = country.code();
    NAMES.iter().find(|(known, _)| *known == code).map_or_else(|| code.to_owned(), |(_, name)| (*name).to_owned())
}

/// `Germany and Sweden`; a long list is the group that it makes up, or one of which it is a part and the rest.
pub(super) fn countries(countries: &Countries) -> String {
    if countries.0.is_empty() {
        return "a place that nobody knows".to_owned();
    }
    let name = |country: &Country| self::country(*country);
    if countries.0.len() <= MOST_LISTED {
        return join(&countries.0.iter().map(name).collect::<Vec<_>>());
    }
    for group in ["EEA", "EU"] {
        let Some(members) = configuration::pack().groups().get(group) else { continue };
        let rest: BTreeSet<Country> = countries.0.difference(&members.0).copied().collect();
        if members.0.is_subset(&countries.0) && rest.len() <= MOST_LISTED {
            let whole = std::iter::once(format!("every country of the {group}"));
            return join(&whole.chain(rest.iter().map(name)).collect::<Vec<_>>());
        }
    }
    join(&countries.0.iter().map(name).collect::<Vec<_>>())
}

/// `one, two and three`.
pub(super) fn join(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// How long prompts are kept.
pub(super) fn days(days: u32) -> String {
    match days {
        0 => "not at all".to_owned(),
        1 => "for up to 1 day".to_owned(),
        UNKNOWN_RETENTION_DAYS.. => "for a time that nobody has stated".to_owned(),
        days => format!("for up to {days} days"),
    }
}

/// Text in lines of at most 100 columns, the first behind `head`, all of them `indent` deep.
pub(super) fn paragraph(head: &str, text: &str, indent: usize) -> String {
    const WIDTH: usize = 100;
    let mut lines = String::new();
    let mut line = format!("{head:<indent$}");
    let mut is_bare = true;
    for word in text.split_whitespace() {
        if !is_bare && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = " ".repeat(indent);
            is_bare = true;
        }
        if !is_bare {
            line.push(' ');
        }
        line.push_str(word);
        is_bare = false;
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_countries_is_its_group_and_the_rest() {
        let pack = configuration::pack();
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            countries(&pack.countries_of(&names).unwrap())
        };

        assert_eq!(of(&["SE"]), "Sweden");
        assert_eq!(of(&["DE", "CH", "GB"]), "Switzerland, Germany and the United Kingdom");
        assert_eq!(of(&["EEA", "CH"]), "every country of the EEA and Switzerland");
        assert_eq!(countries(&Countries::default()), "a place that nobody knows");
    }

    #[test]
    fn every_country_of_the_pack_has_a_name() {
        for (group, members) in configuration::pack().groups() {
            for member in &members.0 {
                assert!(group.contains("ADEQUATE") || country(*member).len() > 2, "{member} of {group}");
            }
        }
    }

    #[test]
    fn a_paragraph_stays_within_its_columns() {
        let text = paragraph("  Head", &"word ".repeat(40), 10);

        assert!(text.lines().all(|line| line.len() <= 100));
        assert!(text.starts_with("  Head    word word") && text.lines().nth(1).unwrap().starts_with("          word"));
    }
}
