//! Upload tokens of PyPI.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("pypi_token", Group::Secret),
    what: "a PyPI API token",
    source: "PyPI help, API tokens; a macaroon for pypi.org",
    pattern: r"\bpypi-AgE[0-9A-Za-z_\-]{50,250}",
    trigger: Trigger::Words(&["pypi-AgE"]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!(
        "key «",
        "pypi-",
        "AgEIcHlwaS5vcmcHAZt9xslXTTIQrh6bpy0VAq3GZuO2R8UziJdi0Y4mj4TIJZ9RnvIh4TOetAf",
        "» here"
    )],
    others: &["pypi-AgEIcHlwaS5vcmc"],
};
