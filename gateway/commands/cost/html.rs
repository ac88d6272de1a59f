//! The report as one page that needs nothing beside it: no script, no font, no image from elsewhere.

use std::fmt::Write as _;

use accounting::Money;
use replay::page::{escaped, opened};

use super::books::Table;
use super::report::Report;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}\
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{padding:.3rem .6rem;border-bottom:1px solid #d0d7de;text-align:right}\
th:first-child,td:first-child{text-align:left}td.words{text-align:left;color:#57606a}svg{width:100%;height:auto}\
.bar{fill:#0969da}text{font:12px system-ui,sans-serif;fill:#57606a}";

pub(super) fn page(report: &Report<'_>) -> String {
    let mut page = opened("Cost report", STYLE);
    let _ = write!(page, "<p>Dollars; prices of {}.</p><table>", escaped(&report.prices));
    for (label, amount, meaning) in report.figures() {
        let _ = write!(page, "<tr><td>{label}<td>{}<td class=\"words\">{meaning}", escaped(&amount));
    }
    page.push_str("</table><h2>By day</h2>");
    let days: Vec<(String, Money)> = report.books.by_day.iter().map(|(day, money)| (day.to_string(), *money)).collect();
    bars(&mut page, &days);
    for (name, table) in &report.books.by {
        let _ = write!(page, "<h2>By {name}</h2>");
        let mut rows: Vec<(String, Money)> = table.iter().map(|(name, row)| (name.clone(), row.money)).collect();
        rows.sort_by_key(|(_, money)| std::cmp::Reverse(*money));
        rows.truncate(20);
        bars(&mut page, &rows);
        rows_of(&mut page, table);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn rows_of(page: &mut String, table: &Table) {
    page.push_str("<table><tr><th>name<th>requests<th>input tokens<th>output tokens<th>usd<th>flagged usd");
    for (name, row) in table {
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
            escaped(name),
            row.requests,
            row.input,
            row.output,
            row.money,
            row.flagged
        );
    }
    page.push_str("</table>");
}

/// One bar a name, its length in proportion to the largest.
fn bars(page: &mut String, rows: &[(String, Money)]) {
    let most = rows.iter().map(|(_, money)| money.0).max().unwrap_or(0).max(1);
    let height = rows.len() * 24 + 8;
    let _ = write!(page, "<svg viewBox=\"0 0 800 {height}\" role=\"img\" aria-label=\"bars\">");
    for (index, (name, money)) in rows.iter().enumerate() {
        let y = index * 24 + 4;
        let length = u128::from(money.0) * 420 / u128::from(most);
        let _ = write!(
            page,
            "<text x=\"0\" y=\"{}\">{}</text><rect class=\"bar\" x=\"220\" y=\"{y}\" width=\"{length}\" height=\"16\"/>\
             <text x=\"{}\" y=\"{}\">{money:.4}</text>",
            y + 13,
            escaped(name),
            length + 228,
            y + 13
        );
    }
    page.push_str("</svg>");
}
