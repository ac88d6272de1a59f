//! Account keys of Azure Storage and Cosmos DB.

use crate::kind::{Group, TextKind};
use crate::recogniser::{Context, Recogniser, Trigger, is_random, whole};

pub(super) static RECOGNISER: Recogniser = Recogniser {
    kind: TextKind::new("azure_storage_key", Group::Secret),
    what: "an Azure account key in a connection string",
    source: "Microsoft Learn, configure Azure Storage connection strings",
    pattern: r"AccountKey=[0-9A-Za-z+/]{86}==",
    trigger: Trigger::Words(&["AccountKey="]),
    check: is_random,
    context: Context::Free,
    end: whole,
    examples: &[concat!(
        "DefaultEndpointsProtocol=https;«",
        "AccountKey=",
        "pLIix6MEOLeMa61EqJomTEI1JEzO3joOj37HyVaQXek",
        "KkOo01rEP45I6HlP5N8Gu9RHECs8ROetAtHF5dVM3VR==",
        "»;EndpointSuffix=core.windows.net"
    )],
    others: &["AccountKey=<your key>;"],
};
