//! What a policy objects to and what would have to change, in words that need no knowledge of policies.

use policy::{Because, Objection, Why};

use super::INDENT;
use crate::commands::words::{countries, country, days, join, paragraph};

/// A policy that forbids: what it is, why it applies, and what would have to change.
pub(super) fn of_policy(why: &Why) -> String {
    let mut text = paragraph("  Forbidden by", &format!("{}, owned by {}.", why.about.id, why.about.owner), INDENT);
    let mut say = |words: &str| text.push_str(&paragraph("", words, INDENT));
    say(&format!("It serves {}.", why.about.basis));
    if !why.because.is_empty() {
        say(&format!("It applies because {}.", join(&why.because.iter().map(because).collect::<Vec<_>>())));
    }
    if !why.objections.is_empty() {
        say(&format!("It objects: {}.", why.objections.iter().map(objection).collect::<Vec<_>>().join("; ")));
        let changes: Vec<String> = why.objections.iter().map(change).collect();
        say(&format!("To be permitted, {}.", changes.join("; and ")));
    } else if !why.remedies.is_empty() {
        say(&format!(
            "It would be enough if {}.",
            why.remedies.iter().map(remedy).collect::<Vec<_>>().join(", or if ")
        ));
    }
    text
}

pub(super) fn because(because: &Because) -> String {
    match because {
        Because::Labelled(label) => format!("the data carries the label {label}"),
        Because::Class(class) => format!("the data is {}", class.name()),
        Because::Found(kind) => format!("inspection found {kind}"),
        Because::Purpose(Some(purpose)) => format!("{purpose} is no registered purpose of the app"),
        Because::Purpose(None) => "the request names no registered purpose of the app".to_owned(),
    }
}

pub(super) fn objection(objection: &Objection) -> String {
    match objection {
        Objection::Processing(outside) => format!("prompts may be processed in {}", countries(outside)),
        Objection::AtRest(outside) => format!("prompts may be kept in {}", countries(outside)),
        Objection::Access(outside) => format!("people may read prompts from {}", countries(outside)),
        Objection::Operator(law) => format!("the operator answers to the law of {}", country(*law)),
        Objection::OperatorParent(law) => format!("its parent company answers to the law of {}", country(*law)),
        Objection::Retention(known) => format!("prompts are kept {}", days(*known)),
        Objection::Training => "prompts may train models".to_owned(),
        Objection::Certifications(needed) => format!("it has none of the certificates {}", needed.join(", ")),
        Objection::NotOwnSite => "it is no site of one's own".to_owned(),
        Objection::Reach(reach) => format!("it is reached as {}", reach.name()),
        Objection::Preview => "it is a preview".to_owned(),
        Objection::NotApproved => "nobody has approved it".to_owned(),
    }
}

/// What would have to be otherwise. Never that data loses a label or a class: that would only hide what it is.
pub(super) fn change(objection: &Objection) -> String {
    match objection {
        Objection::Processing(outside) => leave_out("prompts are processed", outside),
        Objection::AtRest(outside) => leave_out("prompts are kept", outside),
        Objection::Access(outside) => leave_out("people may read prompts", outside),
        Objection::Operator(_) => "the operator would have to answer to another law".to_owned(),
        Objection::OperatorParent(_) => "its parent company would have to answer to another law".to_owned(),
        Objection::Retention(_) => "prompts would have to be kept for a shorter time".to_owned(),
        Objection::Training => "training would have to be excluded".to_owned(),
        Objection::Certifications(needed) => format!("it would have to hold one of {}", needed.join(", ")),
        Objection::NotOwnSite => "it would have to be a site of one's own".to_owned(),
        Objection::Reach(_) => "it would have to be reached over a private link or on one's own network".to_owned(),
        Objection::Preview => "it would have to be generally available".to_owned(),
        Objection::NotApproved => "the security team would have to approve it".to_owned(),
    }
}

fn leave_out(what: &str, outside: &policy::Countries) -> String {
    if outside.is_unknown() {
        return format!("the countries where {what} would have to be known, and be ones that the policy accepts");
    }
    format!("the countries where {what} would have to leave out {}", countries(outside))
}

/// One change of several that would each be enough.
pub(super) fn remedy(objection: &Objection) -> String {
    match objection {
        Objection::Certifications(needed) => format!("it held one of the certificates {}", needed.join(", ")),
        Objection::NotOwnSite => "it were a site of one's own".to_owned(),
        Objection::Reach(_) => "it were reached over a private link or on one's own network".to_owned(),
        Objection::Preview => "it were generally available".to_owned(),
        Objection::NotApproved => "the security team approved it".to_owned(),
        Objection::Training => "training were excluded".to_owned(),
        Objection::Retention(_) => "prompts were kept for a shorter time".to_owned(),
        Objection::Processing(_)
        | Objection::AtRest(_)
        | Objection::Access(_)
        | Objection::Operator(_)
        | Objection::OperatorParent(_) => format!("it were otherwise that {}", self::objection(objection)),
    }
}
