//! What a policy asks of the request before it asks anything of a target, so that one that cannot match need not be evaluated.
//!
//! **Promises.** A policy is called out of the question only where Cedar, which goes through conditions from left to right,
//! would find it unsatisfied before it came to anything that is not known here, and so without an error.
//!
//! **Does not do.** It decides nothing: what is not understood counts as in question.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::Policy;
use serde_json::Value;

/// A condition over the request alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// What is not known without a target, or not understood.
    Open,
    /// `context.labels.contains("…")`
    Label(String),
    /// `context.findings.contains("…")`
    Finding(String),
    /// `context.redacted.contains("…")`
    Redacted(String),
    /// `context.labels.isEmpty()`
    NoLabels,
    /// `context.findings.isEmpty()`
    NoFindings,
    /// `context.labelled`
    Labelled,
    /// `context.purpose == "…"`
    Purpose(String),
    /// `context.class` at least this.
    ClassFrom(i64),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// What is known of a request without looking at a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) labels: &'a [Arc<str>],
    pub(crate) labelled: bool,
    pub(crate) class: i64,
    pub(crate) purpose: &'a str,
    pub(crate) findings: &'a BTreeSet<String>,
    pub(crate) redacted: &'a BTreeSet<&'a str>,
}

impl Guard {
    /// What `policy` asks of the request first.
    pub(crate) fn of(policy: &Policy) -> Self {
        let Ok(json) = policy.to_json() else { return Self::Open };
        let conditions = json["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let read = |condition: &Value| match condition["kind"].as_str() {
            Some("when") => Self::read(&condition["body"]),
            Some("unless") => Self::Not(Box::new(Self::read(&condition["body"]))),
            _ => Self::Open,
        };
        let mut guards: Vec<Self> = conditions.iter().map(read).collect();
        let Some(last) = guards.pop() else { return Self::Open };
        guards.into_iter().rev().fold(last, |rest, first| Self::And(Box::new(first), Box::new(rest)))
    }

    /// Whether the policy is unsatisfied whatever the target is.
    pub(crate) fn excludes(&self, view: &View<'_>) -> bool {
        self.holds(view) == Some(false)
    }

    /// As Cedar evaluates it: nothing behind what is not known is looked at, because that may be an error.
    fn holds(&self, view: &View<'_>) -> Option<bool> {
        Some(match self {
            Self::Open => return None,
            Self::Label(name) => view.labels.iter().any(|label| **label == **name),
            Self::Finding(name) => view.findings.contains(name),
            Self::Redacted(name) => view.redacted.contains(name.as_str()),
            Self::NoLabels => view.labels.is_empty(),
            Self::NoFindings => view.findings.is_empty(),
            Self::Labelled => view.labelled,
            Self::Purpose(purpose) => view.purpose == *purpose,
            Self::ClassFrom(least) => view.class >= *least,
            Self::Not(inner) => !inner.holds(view)?,
            Self::And(left, right) => left.holds(view)? && right.holds(view)?,
            Self::Or(left, right) => left.holds(view)? || right.holds(view)?,
        })
    }

    fn read(node: &Value) -> Self {
        let Some((operator, operands)) =
            node.as_object().filter(|node| node.len() == 1).and_then(|node| node.iter().next())
        else {
            return Self::Open;
        };
        let (left, right) = (&operands["left"], &operands["right"]);
        match operator.as_str() {
            "&&" => Self::And(Box::new(Self::read(left)), Box::new(Self::read(right))),
            "||" => Self::Or(Box::new(Self::read(left)), Box::new(Self::read(right))),
            "!" => Self::Not(Box::new(Self::read(&operands["arg"]))),
            "." => {
                if attribute(node) == Some("labelled") {
                    Self::Labelled
                } else {
                    Self::Open
                }
            }
            "isEmpty" => match attribute(&operands["arg"]) {
                Some("labels") => Self::NoLabels,
                Some("findings") => Self::NoFindings,
                _ => Self::Open,
            },
            "contains" => match (attribute(left), right["Value"].as_str()) {
                (Some("labels"), Some(name)) => Self::Label(name.to_owned()),
                (Some("findings"), Some(name)) => Self::Finding(name.to_owned()),
                (Some("redacted"), Some(name)) => Self::Redacted(name.to_owned()),
                _ => Self::Open,
            },
            "==" => match (attribute(left), right["Value"].as_str()) {
                (Some("purpose"), Some(purpose)) => Self::Purpose(purpose.to_owned()),
                _ => Self::Open,
            },
            ">=" => match (attribute(left), right["Value"].as_i64()) {
                (Some("class"), Some(least)) => Self::ClassFrom(least),
                _ => Self::Open,
            },
            _ => Self::Open,
        }
    }
}

/// The attribute of the context that is read.
fn attribute(node: &Value) -> Option<&str> {
    let read = node.get(".")?;
    (read["left"]["Var"] == "context").then(|| read["attr"].as_str()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(conditions: &str) -> Guard {
        let text = format!("permit (principal, action, resource) {conditions};");
        Guard::of(&Policy::parse(None, text).unwrap())
    }

    /// A request with one label and one finding, of class 1.
    fn excludes(conditions: &str) -> bool {
        let (labels, findings) = (["health".into()], BTreeSet::from(["card".to_owned()]));
        let redacted = BTreeSet::new();
        let view = View {
            labels: &labels,
            labelled: true,
            class: 1,
            purpose: "claims",
            findings: &findings,
            redacted: &redacted,
        };
        guard(conditions).excludes(&view)
    }

    #[test]
    fn a_policy_that_asks_for_another_request_first_is_out_of_the_question() {
        for conditions in [
            r#"when { context.labels.contains("other") }"#,
            r#"when { context.labels.contains("other") && resource.training }"#,
            r#"when { context.labels.contains("health") } when { context.purpose == "fraud" }"#,
            "when { context.class >= 2 || context.labels.isEmpty() }",
            r#"when { context.class >= 1 && !context.findings.contains("card") }"#,
            r#"when { context.redacted.contains("card") }"#,
            "unless { context.labelled }",
            r#"unless { context.labels.contains("health") || resource.training }"#,
        ] {
            assert!(excludes(conditions), "{conditions}");
        }
    }

    #[test]
    fn a_policy_that_may_match_or_fail_is_in_question() {
        for conditions in [
            "",
            r#"when { context.labels.contains("health") }"#,
            // What stands on the left is evaluated first, and may be an error.
            r#"when { resource.training && context.labels.contains("other") }"#,
            r#"when { resource.retention_days + 1 > 3 } when { context.labels.contains("other") }"#,
            r#"when { resource.labels.contains("other") }"#,
            r#"when { context.labels.containsAll(["other"]) }"#,
            "when { context.class > 1 }",
            r#"unless { resource.training || context.labels.contains("health") }"#,
            r#"unless { context.labels.contains("other") }"#,
        ] {
            assert!(!excludes(conditions), "{conditions}");
        }
    }
}
