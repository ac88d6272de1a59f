//! Secret access keys of Amazon Web Services.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("aws_secret_key", Group::Secret),
    what: "an AWS secret access key beside its usual name",
    source: "AWS CLI user guide, configuration settings",
    pattern: r"\b[0-9A-Za-z/+]{40}\b",
    trigger: Trigger::Near(&[
        "secret_access_key",
        "SECRET_ACCESS_KEY",
        "SecretAccessKey",
        "secretAccessKey",
        "aws_secret",
        "AWS_SECRET",
    ]),
    check: is_random,
    context: Context::Needed(&[
        "aws_secret_access_key",
        "secret_access_key",
        "secretaccesskey",
        "aws_secret_key",
        "aws_secret",
    ]),
    end: whole,
    examples: &[concat!("aws_secret_access_key = «", "9382dffx1kVZQ2tqMnMcLRkBOzZU3G8xI7CGr5c3", "» here")],
    others: &["aws_secret_access_key = your-key-here"],
};
