//! What an auditor needs beside the verdicts: what is known of each target, and whom and what each policy serves.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use replay::page::escaped;
use server::configuration::{Compiled, TargetConfig};
use server::outlook;

use crate::commands::words::{self, countries, country};

/// Two tables, of the targets that stand in columns and of all policies.
pub(super) fn html(compiled: &Compiled, shown: &BTreeSet<&str>) -> String {
    let mut text = String::from(
        "<h2>What is known of the targets</h2>\n<p>At its worst, as far as sources go; where a configuration says otherwise, it says why.</p>\n",
    );
    table(
        &mut text,
        &["target", "place", "processed in", "kept in", "read from", "law", "trains", "until", "said otherwise"],
    );
    let mut targets: Vec<&TargetConfig> =
        compiled.targets.iter().filter(|target| shown.contains(target.name.as_str())).collect();
    targets.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    for target in targets {
        row(&mut text, &known(target));
    }
    text.push_str("</tbody>\n</table></div>\n<h2>The policies</h2>\n");
    text.push_str("<p>What none of them permits is denied, and one that forbids outweighs all that permit.</p>\n");
    table(&mut text, &["policy", "does", "owner", "serves", "ends"]);
    let mut policies: Vec<_> = compiled.policy.rules.policies().collect();
    policies.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    for about in policies {
        let does = match about.redact.iter().cloned().collect::<Vec<_>>() {
            kinds if !kinds.is_empty() => format!("permits once replaced: {}", words::join(&kinds)),
            _ if about.permits => "permits".to_owned(),
            _ => "forbids".to_owned(),
        };
        let ends = about.expires_written.clone().unwrap_or_default();
        row(&mut text, &[about.id.to_string(), does, about.owner.clone(), about.basis.clone(), ends]);
    }
    text.push_str("</tbody>\n</table></div>\n");
    text
}

fn known(target: &TargetConfig) -> [String; 9] {
    let facts = &target.facts;
    let law = match (country(facts.operator), country(facts.operator_parent)) {
        (operator, parent) if operator == parent => operator,
        (operator, parent) => format!("{operator}; its parent company {parent}"),
    };
    [
        target.name.clone(),
        facts.provenance.words.clone(),
        countries(&facts.processing),
        format!("{}, {}", countries(&facts.at_rest), words::days(facts.retention_days)),
        countries(&facts.access),
        law,
        if facts.training { "it may" } else { "no" }.to_owned(),
        facts.provenance.valid_until.map(outlook::day).unwrap_or_default(),
        facts.provenance.statements.join("; "),
    ]
}

fn table(text: &mut String, columns: &[&str]) {
    text.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    for column in columns {
        let _ = write!(text, "<th scope=\"col\">{column}</th>");
    }
    text.push_str("</tr></thead>\n<tbody>\n");
}

fn row(text: &mut String, cells: &[String]) {
    text.push_str("<tr>");
    for (index, cell) in cells.iter().enumerate() {
        let cell = escaped(cell);
        let _ = match index {
            0 => write!(text, "<th scope=\"row\">{cell}</th>"),
            _ => write!(text, "<td>{cell}</td>"),
        };
    }
    text.push_str("</tr>\n");
}
