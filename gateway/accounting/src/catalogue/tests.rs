use super::*;
use crate::money::Money;
use crate::price::Used;

fn shipped() -> Catalogue {
    Catalogue::parse(SHIPPED).expect("the shipped catalogue is read by the version that ships it")
}

fn day(text: &str) -> Day {
    Day::parse(text).expect(text)
}

#[test]
fn the_shipped_catalogue_is_read_and_written_back_byte_for_byte() {
    let catalogue = shipped();

    assert_eq!(catalogue.to_string(), SHIPPED);
    assert!(catalogue.len() > 500, "{} entries", catalogue.len());
    assert!(SHIPPED.len() < 160 * 1024, "{} bytes", SHIPPED.len());
}

#[test]
fn residency_has_its_price_in_the_shipped_catalogue() {
    let catalogue = shipped();
    let million = Used { input: Tokens(1_000_000), ..Used::default() };
    let cost = |price: &Price| price.cost(million, Tier::Standard);
    let eu = catalogue.price("azure/eu/gpt-4o-2024-11-20").expect("it is shipped");

    let (name, global) = catalogue.without_residency("azure/eu/gpt-4o-2024-11-20").expect("it is sold without as well");

    assert_eq!(
        (name, cost(eu), cost(global)),
        ("azure/global/gpt-4o-2024-11-20", Money(2_750_000_000), Money(2_500_000_000))
    );
    let (profile, _) = catalogue.without_residency("eu.anthropic.claude-sonnet-4-5-20250929-v1:0").expect("as well");
    assert_eq!(profile, "global.anthropic.claude-sonnet-4-5-20250929-v1:0");
    assert_eq!(catalogue.without_residency("gpt-4o"), None);
    assert_eq!(catalogue.without_residency("azure/global/gpt-4o-2024-11-20"), None);
}

#[test]
fn each_fault_names_its_line() {
    let head = "causeway-prices 1\ntaken 2026-11-26\nsource a test\n\n";
    let table = [
        ("causeway-prices 2\n".to_owned(), 1, "format version"),
        ("taken 2026-11-26\n".to_owned(), 1, "`causeway-prices …`"),
        ("causeway-prices 1\ntaken 2026-02-30\nsource x\n".to_owned(), 2, "is no day"),
        (format!("{head}a input=1\na input=2\n"), 6, "a second time"),
        (format!("{head}a output=1\n"), 5, "has no `input`"),
        (format!("{head}a input\n"), 5, "`name=price`"),
        (format!("{head}a input=1 input=2\n"), 5, "given twice"),
        (format!("{head}a input=1 slow.input=2\n"), 5, "is no tier"),
        (format!("{head}a input=1 input>many=2\n"), 5, "no number of tokens"),
        (format!("{head}a input=1e3\n"), 5, "an amount is digits"),
        (format!("{head}a colour=1\n"), 5, "is no price"),
    ];
    for (text, line, fault) in table {
        let error = Catalogue::parse(&text).expect_err(&text);
        assert_eq!(error.line, line, "{text}");
        assert!(error.fault.contains(fault), "{error}");
    }
}

#[test]
fn a_gap_is_filled_with_what_costs_no_less() {
    let text = "causeway-prices 1\ntaken 2026-11-26\nsource a test\n\na input=3 output=15 batch.input=1.5 input>10=6\n";
    let price = Catalogue::parse(text).expect("it is right").price("a").cloned().expect("it is there");

    assert_eq!(price.standard.base.cached_input.to_string(), "3");
    let batch = price.batch.expect("it is sold");
    assert_eq!(
        (batch.base.cached_input.to_string(), batch.base.output.to_string()),
        ("1.5".to_owned(), "15".to_owned())
    );
    let (above, rates) = price.standard.above[0];
    assert_eq!(
        (above, rates.input.to_string(), rates.output.to_string()),
        (Tokens(10), "6".to_owned(), "15".to_owned())
    );
}

#[test]
fn days_are_counted_over_leap_years_and_months_over_years() {
    assert_eq!((day("1970-01-01").days(), day("2000-03-01").days(), day("2026-11-26").days()), (0, 11_017, 20_783));
    assert_eq!(Day::of_seconds(20_783 * 86_400 + 86_399), day("2026-11-26"));
    assert_eq!(day("2027-01-01").month(), day("2026-12-31").month() + 1);
    assert_eq!(Day::first_of(day("2026-11-26").month()), day("2026-11-01"));
    for text in ["2026-13-01", "2025-02-29", "2026-1-1", "26-01-01", "2026-11-26T"] {
        assert_eq!(Day::parse(text), None, "{text}");
    }
}

#[test]
fn prices_grow_old() {
    let text = "causeway-prices 1\ntaken 2026-08-01\nsource a test\n";
    let catalogue = Catalogue::parse(text).expect("it is right");

    assert_eq!(catalogue.age_in_days(day("2026-10-31")), 91);
    assert_eq!(catalogue.age_in_days(day("2026-07-31")), -1);
}
