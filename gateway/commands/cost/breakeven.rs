//! `causeway cost breakeven`: the published formula on the figures that are given.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's answer goes to the terminal")]

use std::process::ExitCode;

use accounting::{Breakeven, Comparison, LEFT_OUT, Money, Rate, Share, Tokens, Used, breakeven};
use accounting::{Price, Rates, Tier};
use serde_json::json;

use crate::commands::NO;

/// The figures, in dollars.
#[derive(clap::Args)]
pub(in crate::commands) struct Arguments {
    /// What the hardware costs, such as 833806.
    #[arg(long, value_name = "USD")]
    capex: Money,
    /// What an hour of running it costs, such as 0.87.
    #[arg(long, value_name = "USD")]
    opex_per_hour: Money,
    /// What the cloud costs for an hour of the same work, such as 98.32.
    #[arg(long, value_name = "USD", required_unless_present = "input_tokens_per_hour", conflicts_with_all = TOKENS)]
    cloud_per_hour: Option<Money>,
    /// Instead of `--cloud-per-hour`: input tokens that the hardware serves in an hour of use.
    #[arg(long, value_name = "TOKENS", requires_all = ["output_tokens_per_hour", "cloud_input_per_million", "cloud_output_per_million"])]
    input_tokens_per_hour: Option<u64>,
    /// And output tokens.
    #[arg(long, value_name = "TOKENS", requires = "input_tokens_per_hour")]
    output_tokens_per_hour: Option<u64>,
    /// And the cloud's price of a million input tokens.
    #[arg(long, value_name = "USD", requires = "input_tokens_per_hour")]
    cloud_input_per_million: Option<Money>,
    /// And of a million output tokens.
    #[arg(long, value_name = "USD", requires = "input_tokens_per_hour")]
    cloud_output_per_million: Option<Money>,
    /// The part of the time in which the hardware is used, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "100", value_parser = share)]
    utilisation: Share,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

const TOKENS: [&str; 4] =
    ["input_tokens_per_hour", "output_tokens_per_hour", "cloud_input_per_million", "cloud_output_per_million"];

fn share(text: &str) -> Result<Share, String> {
    Share::percent(text).ok_or_else(|| "it takes a percentage above 0 and up to 100, such as 62.5".to_owned())
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let of = Comparison {
        capital: arguments.capex,
        operation_per_hour: arguments.opex_per_hour,
        cloud_per_hour: cloud_per_hour(arguments),
        utilisation: arguments.utilisation,
    };
    let found = breakeven(&of);
    if arguments.json {
        print_json(&of, found);
    } else {
        print_table(&of, found);
    }
    ExitCode::from(if found.is_some() { 0 } else { NO })
}

/// What the cloud charges for the tokens of an hour, where it is not given itself.
fn cloud_per_hour(arguments: &Arguments) -> Money {
    if let Some(given) = arguments.cloud_per_hour {
        return given;
    }
    let rate = |money: Option<Money>| Rate(money.unwrap_or_default().0);
    let tokens = |tokens: Option<u64>| Tokens(tokens.unwrap_or_default());
    let price =
        Price::flat(Rates::flat(rate(arguments.cloud_input_per_million), rate(arguments.cloud_output_per_million)));
    let used = Used {
        input: tokens(arguments.input_tokens_per_hour),
        output: tokens(arguments.output_tokens_per_hour),
        ..Used::default()
    };
    price.cost(used, Tier::Standard)
}

fn print_json(of: &Comparison, found: Option<Breakeven>) {
    let tenths = |tenths: u128| format!("{}.{}", tenths / 10, tenths % 10);
    let hours = found.map(|found| u64::try_from(found.hours).unwrap_or(u64::MAX));
    println!(
        "{}",
        json!({
            "hours": hours,
            "hours_exact_to_a_tenth": found.map(|found| tenths(found.tenths_of_hours)),
            "months_of_720_hours": found.map(|found| tenths(found.tenths_of_months)),
            "capex_usd": of.capital.to_string(),
            "opex_usd_per_hour": of.operation_per_hour.to_string(),
            "cloud_usd_per_hour": of.cloud_per_hour.to_string(),
            "utilisation_percent": Money(u64::from(of.utilisation.thousandths()) * 1_000_000).to_string(),
            "left_out": LEFT_OUT,
        })
    );
}

fn print_table(of: &Comparison, found: Option<Breakeven>) {
    println!("hardware        {:>14} $", grouped(&format!("{:.2}", of.capital)));
    println!("operation       {:>14} $/h", of.operation_per_hour.to_string());
    println!("cloud           {:>14} $/h", of.cloud_per_hour.to_string());
    println!("utilisation     {:>14}", of.utilisation.to_string());
    match found {
        Some(found) => {
            let months = format!("{}.{}", found.tenths_of_months / 10, found.tenths_of_months % 10);
            println!("break-even      {:>14} h = {months} months of 720 h", grouped(&found.hours.to_string()));
        }
        None => println!("break-even      {:>14}   running it costs as much as the cloud's part of the time", "never"),
    }
    eprintln!();
    eprintln!("what this formula leaves out:");
    for left_out in LEFT_OUT {
        eprintln!("  - {left_out}");
    }
}

/// Thousands apart, for people.
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    fraction
        .filter(|fraction| fraction.bytes().any(|digit| digit != b'0'))
        .map_or(text.clone(), |fraction| format!("{text}.{fraction}"))
}
