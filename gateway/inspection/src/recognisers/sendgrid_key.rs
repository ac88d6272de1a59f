//! API keys of SendGrid.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("sendgrid_key", Group::Secret),
    what: "a SendGrid API key",
    source: "Twilio SendGrid documentation, API keys",
    pattern: r"\bSG\.[0-9A-Za-z_\-]{22}\.[0-9A-Za-z_\-]{43}",
    trigger: Trigger::Words(&["SG."]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!(
        "key «",
        "SG.",
        "RcY5HhGmzwHsLjMqgqAu9r.5URYX45jqRO25g3uK5kbAAegiuE8LCAnmuO6RvvBfOH",
        "» here"
    )],
    others: &["SG. Dynamo"],
};
