//! Decision tables: files in, cases out. Every mistake of form is said, none ends the reading of the others.

use serde::Deserialize;
use toml::Spanned;

/// The columns, in the order in which tables are usually written. Those that decide must be there.
const COLUMNS: [&str; 9] = ["app", "action", "labels", "class", "purpose", "findings", "target", "expected", "policy"];

const NEEDED: [&str; 3] = ["app", "target", "expected"];

/// One row: what is asked, and what is expected.
#[derive(Clone, Debug, Default)]
pub(super) struct Case {
    /// `file:line`.
    pub(super) place: String,
    pub(super) app: String,
    /// An operation, or a feature; empty is `chat`.
    pub(super) action: String,
    /// Labels that the request adds to its app's own.
    pub(super) labels: Vec<String>,
    /// Empty is the app's own.
    pub(super) class: String,
    /// Empty is none.
    pub(super) purpose: String,
    pub(super) findings: Vec<String>,
    /// `endpoint/upstream-model`.
    pub(super) target: String,
    /// `allow`, `deny`, `redact`, or `redact:KIND,…`.
    pub(super) expected: String,
    /// Ids that must be among those that decided.
    pub(super) policies: Vec<String>,
}

/// A `[[case]]` of a TOML table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    app: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    class: String,
    #[serde(default)]
    purpose: String,
    #[serde(default)]
    findings: Vec<String>,
    target: String,
    expected: String,
    #[serde(default)]
    policy: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    case: Vec<Spanned<Written>>,
}

/// The cases of a file by its extension, and what is wrong with its form.
pub(super) fn read(name: &str, text: &str) -> (Vec<Case>, Vec<String>) {
    if name.ends_with(".toml") { of_toml(name, text) } else { of_csv(name, text) }
}

fn of_toml(name: &str, text: &str) -> (Vec<Case>, Vec<String>) {
    let line = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
    let table: Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => {
            let at = error.span().map_or(1, |span| line(span.start));
            return (Vec::new(), vec![format!("{name}:{at}: {}", error.message())]);
        }
    };
    let case = |written: Spanned<Written>| {
        let place = format!("{name}:{}", line(written.span().start));
        let Written { app, action, labels, class, purpose, findings, target, expected, policy } = written.into_inner();
        Case { place, app, action, labels, class, purpose, findings, target, expected, policies: policy }
    };
    (table.case.into_iter().map(case).collect(), Vec::new())
}

fn of_csv(name: &str, text: &str) -> (Vec<Case>, Vec<String>) {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader =
        csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let heads: Vec<String> = match reader.headers() {
        Ok(heads) => heads.iter().map(str::to_owned).collect(),
        Err(error) => return (Vec::new(), vec![format!("{name}: {error}")]),
    };
    let mut faults = heads_of(name, &heads);
    if !faults.is_empty() {
        return (Vec::new(), faults);
    }
    let mut cases = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => {
                let place = format!("{name}:{}", line_of(text, record.position()));
                if record.len() == heads.len() {
                    cases.push(of_record(place, &heads, &record));
                } else {
                    faults.push(format!("{place}: {} cells, and the first line has {}", record.len(), heads.len()));
                }
            }
            Err(error) => faults.push(format!("{name}: {error}")),
        }
    }
    (cases, faults)
}

/// The line of a record; its position is that of the comments and empty lines before it.
fn line_of(text: &str, position: Option<&csv::Position>) -> usize {
    let start = position.map_or(0, |position| usize::try_from(position.byte()).unwrap_or(usize::MAX));
    let before = text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    let rest = text.get(start..).unwrap_or_default().lines();
    let passed = rest.take_while(|line| line.trim().is_empty() || line.starts_with('#')).count();
    before + passed + 1
}

fn heads_of(name: &str, heads: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, head) in heads.iter().enumerate() {
        if !COLUMNS.contains(&head.as_str()) {
            faults.push(format!("{name}:1: `{head}` is no column; the columns are {}", COLUMNS.join(",")));
        } else if heads.iter().take(index).any(|earlier| earlier == head) {
            faults.push(format!("{name}:1: the column `{head}` stands twice"));
        }
    }
    let lacking = NEEDED.into_iter().filter(|needed| !heads.iter().any(|head| head == needed));
    faults.extend(lacking.map(|needed| format!("{name}:1: there is no column `{needed}`")));
    faults
}

fn of_record(place: String, heads: &[String], record: &csv::StringRecord) -> Case {
    let mut case = Case { place, ..Case::default() };
    for (head, cell) in heads.iter().zip(record) {
        let words = || cell.split([' ', ';']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match head.as_str() {
            "app" => case.app = cell.to_owned(),
            "action" => case.action = cell.to_owned(),
            "labels" => case.labels = words(),
            "class" => case.class = cell.to_owned(),
            "purpose" => case.purpose = cell.to_owned(),
            "findings" => case.findings = words(),
            "target" => case.target = cell.to_owned(),
            "expected" => case.expected = cell.to_owned(),
            _ => case.policies = words(),
        }
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_the_same_in_either_form() {
        let csv = "app,labels,target,expected,policy\n# why\nclaims,health payment,\"gpu/a,b\",deny,one two\n";
        let toml = "[[case]]\napp = \"claims\"\nlabels = [\"health\", \"payment\"]\ntarget = \"gpu/a,b\"\nexpected = \"deny\"\n\
                    policy = [\"one\", \"two\"]\n";

        let [of_csv, of_toml] = [read("t.csv", csv), read("t.toml", toml)];

        let bare = |(cases, faults): (Vec<Case>, Vec<String>)| {
            assert!(faults.is_empty(), "{faults:?}");
            cases.into_iter().map(|case| format!("{:?}", Case { place: String::new(), ..case })).collect::<Vec<_>>()
        };
        assert_eq!(of_csv.0[0].place, "t.csv:3");
        assert_eq!(of_toml.0[0].place, "t.toml:1");
        assert_eq!(bare(of_csv), bare(of_toml));
    }

    #[test]
    fn a_table_of_another_form_is_refused_with_its_line() {
        let twice = read("t.csv", "app,app,label,expected\n");
        let short = read("t.csv", "app,target,expected\na,b\na,b,allow\na,b,c,d\n");
        let toml = read("t.toml", "[[case]]\napp = \"a\"\ntarget = \"b\"\nexpect = \"deny\"\n");

        assert_eq!(twice.1.len(), 3, "{:?}", twice.1);
        assert_eq!((short.0.len(), short.1.len()), (1, 2));
        assert!(short.1[1].starts_with("t.csv:4: 4 cells"), "{:?}", short.1);
        assert!(toml.1[0].starts_with("t.toml:4: ") && toml.1[0].contains("expect"), "{:?}", toml.1);
    }
}
