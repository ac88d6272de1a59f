//! What the security team writes: policy, labels, data and evidence.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Capture, ClaimMeaning, Moment, Suppression, Users, Witness};

/// What the security team permits. Nothing beyond one's own sites is permitted by default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Folder of the policies. Absent: the shipped policies.
    pub folder: Option<String>,
    /// Folder of a data pack (`pack.json`, `regions.json`, `groups.json`, `places.json`) in place of the one that comes with this
    /// version. Absent: that one.
    ///
    /// It has to fit its own hashes; a reload that finds half of one keeps what is in force.
    pub data: Option<String>,
    /// Folder of policies that are asked beside those in force and never enforced. Absent: none.
    ///
    /// Where they would decide otherwise, the record of the request says so, target by target; a restart with the last good
    /// configuration goes without them.
    pub candidate: Option<String>,
    /// Changes to rows of the data pack, as in `[fact.ROW]`, that are asked beside those in force and never enforced; default
    /// none. Where they would decide otherwise, the record says so in the same way as for `candidate`.
    pub candidate_facts: Option<BTreeMap<String, Fact>>,
    /// By kind of finding in text, whether policies would see it, asked beside what is in force and never enforced; default as
    /// in force. `{ us_ssn = false }` tries what would be without that recogniser, and `true` what would be without every app's
    /// `suppress` of the kind. Where it would decide otherwise, the record says so in the same way as for `candidate`.
    pub candidate_recognisers: Option<BTreeMap<String, bool>>,
    /// Endpoints that may be used although their `reach` is not `local`; default none.
    pub approve: Option<Vec<String>>,
    /// By endpoint, what callers may make it do beyond answering; default nothing.
    pub allow: Option<BTreeMap<String, Vec<Grant>>>,
    /// By endpoint, certificates and contracts that hold for it, such as `"HDS"`, `"HIPAA_BAA"` or `"C5"`; default none.
    pub certified: Option<BTreeMap<String, Vec<String>>>,
    /// Policies that are switched off, by id, each with the reason in at least ten characters; default none.
    ///
    /// What a policy forbids is permitted without it. `causeway check` and every record's policy hash show it.
    pub off: Option<BTreeMap<String, String>>,
    /// Grants for an emergency, approved and signed beforehand, that two administrators may open for a few hours. Absent: none.
    pub break_glass: Option<BreakGlass>,
    /// Labels and classes whose data no grant may send anywhere; a class stands for itself and those above it. Required with
    /// `break_glass`; `[]` says that there are none.
    pub no_break_glass: Option<Vec<String>>,
}

/// Grants for an emergency.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// Path of the folder that holds them, one in each file `*.grant`. Required.
    pub grants: String,
    /// Public keys of those who approve grants, each `"NAME+ID+KEY"`; a grant bears the signature of one of them. Required.
    pub approved_by: Vec<String>,
}

/// A change to a row of the data pack, by the row's id. It shows wherever the row is used.
///
/// What a row says of countries may depend on the region that is called. Such a column is changed for one region: where the
/// targets that use the row are called in several, a value that leaves out a country of any of them has to stand in `regions`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Countries, or groups of them, where prompts may be processed. Absent: as the row says.
    pub processing: Option<Vec<String>>,
    /// Countries, or groups of them, where prompts may be kept. Absent: as the row says.
    pub at_rest: Option<Vec<String>>,
    /// Countries, or groups of them, from which people may read prompts. Absent: as the row says.
    pub access_from: Option<Vec<String>>,
    /// Days for which prompts are kept. Absent: as the row says.
    pub retention_days: Option<u32>,
    /// Whether prompts may train models. Absent: as the row says.
    pub training: Option<bool>,
    /// Country whose law the operator answers to. Absent: as the row says. Where the row says it of each region: only in `regions`.
    pub operator: Option<String>,
    /// Country whose law the operator's parent company answers to. Absent: as the row says, whoever `operator` is. Where the row
    /// says it of each region: only in `regions`.
    pub operator_parent: Option<String>,
    /// Certificates and contracts that hold for the offer, such as `"C5"`; `[]` takes away those of the row. Absent: as the row says.
    pub certifications: Option<Vec<String>>,
    /// The day from which the row counts as unknown, instead of its own. Needs `by`.
    pub extended_until: Option<Moment>,
    /// Who answers for the extension. Only with `extended_until`.
    pub by: Option<String>,
    /// What holds where one region is called and nowhere else, by the region, such as
    /// `regions = { eu-central-1 = { processing = ["DE"] } }`; it outweighs what is said above. It takes `processing`, `at_rest`,
    /// `access_from`, `retention_days`, `training`, `operator`, `operator_parent` and `certifications`, and a `because` where that is another. Default none.
    pub regions: Option<BTreeMap<String, RegionalFact>>,
    /// Why, in at least ten characters. Required.
    pub because: String,
}

/// A change to a row of the data pack for one region.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionalFact {
    /// Countries, or groups of them, where prompts may be processed. Absent: as for every region.
    pub processing: Option<Vec<String>>,
    /// Countries, or groups of them, where prompts may be kept. Absent: as for every region.
    pub at_rest: Option<Vec<String>>,
    /// Countries, or groups of them, from which people may read prompts. Absent: as for every region.
    pub access_from: Option<Vec<String>>,
    /// Days for which prompts are kept. Absent: as for every region.
    pub retention_days: Option<u32>,
    /// Whether prompts may train models. Absent: as for every region.
    pub training: Option<bool>,
    /// Country whose law the operator answers to. Absent: as for every region.
    pub operator: Option<String>,
    /// Country whose law the operator's parent company answers to. Absent: as for every region.
    pub operator_parent: Option<String>,
    /// Certificates and contracts that hold for the offer. Absent: as for every region.
    pub certifications: Option<Vec<String>>,
    /// Why, in at least ten characters; default the reason of the row.
    pub because: Option<String>,
}

/// A group of countries of the data pack that holds beyond its date, by its name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The day from which the group counts as unknown, instead of its own. Required.
    pub extended_until: Moment,
    /// Who answers for it. Required.
    pub by: String,
    /// Why, in at least ten characters. Required.
    pub because: String,
}

/// What a caller may make an endpoint do beyond answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Keep state between calls: `store`, `previous_response_id`, `background`.
    KeepState,
    /// Fetch URLs that stand in the content.
    FetchRemote,
    /// Run tools of its own: web search, code, remote MCP servers.
    UseHostedTool,
}

/// A data class in addition to the shipped ones.
///
/// Shipped are `eu_personal`, `special_category`, `health`, `payment`, `ch_bank` and `source_code`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// What the label means, for people. Required.
    pub description: String,
}

/// What data an app handles.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Labels of the data. Required; `[]` says that no class applies. A request may add labels and never take one away.
    pub labels: Vec<String>,
    /// How confidential the data is; default `"internal"`.
    pub class: Option<Class>,
    /// Purposes that a request must choose one of, in the header `x-causeway-purpose` or under that name in its `metadata`.
    /// Absent: requests need none.
    pub purposes: Option<Vec<String>>,
    /// What claims of the app's tokens say of the data, by claim and value, such as
    /// `claims = { roles = { medical = { labels = ["health"] } } }`; default nothing. A claim that is a list must hold the
    /// value. At most 64 values in all. Needs `jwt` of the app.
    pub claims: Option<BTreeMap<String, BTreeMap<String, ClaimMeaning>>>,
    /// What endpoints beyond one's own sites are shown in `user`, `safety_identifier` and Anthropic's `metadata.user_id`;
    /// default `"pseudonym"`.
    ///
    /// The key is that of `audit.pseudonyms`, or else one that the gateway makes in `state.folder`. With `replicas = true` each
    /// gateway makes its own, so that a provider sees one user under several pseudonyms; set `audit.pseudonyms` to the same
    /// key at all of them to have one.
    pub users: Option<Users>,
    /// Kinds of finding in text that policies do not see for a while, by kind, such as
    /// `suppress = { iban = { until = 2027-01-31, owner = "claims team", because = "policy numbers look like it" } }`; default
    /// none. They are recorded all the same, and act again from their end on. At most 32.
    pub suppress: Option<BTreeMap<String, Suppression>>,
    /// Prompts and answers of the app are kept in `state.folder`, sealed so that the gateway cannot read them again. Absent:
    /// nothing is kept. Needs `capture = true` of the app, and a folder of documents in which no file may hold both `app` and
    /// `data`.
    pub capture: Option<Capture>,
}

/// How confidential data is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// May be read by anybody.
    Public,
    /// May be read inside the company.
    #[default]
    Internal,
    /// May be read by those who need it.
    Confidential,
    /// May be read by named people.
    Secret,
}

/// How the audit log is kept.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// What a record survives before its request leaves; default `"os"`.
    pub durability: Option<Durability>,
    /// Class of data from which on requests are refused while the log cannot be written; those of lower classes are sent, and
    /// recorded late, or only counted where too many wait. A request whose class nobody states counts as `"secret"`. Absent:
    /// all are refused.
    pub refuse_from: Option<Class>,
    /// A second place for checkpoints, where the gateway's operator cannot change what stands there. Absent: the log is not
    /// witnessed, and its operator could write it anew whole without anybody seeing it.
    pub witness: Option<Witness>,
    /// Name of this gateway's log, for ever; 1 to 64 of `a-z`, `0-9`, `-`, `_` and `.`. Absent: the name of the machine.
    pub origin: Option<String>,
    /// Names of the logs of all gateways, this one's included. `causeway audit verify --fleet` reports one that is missing.
    /// Absent: there is no fleet.
    pub origins: Option<Vec<String>>,
    /// Path of the private key that signs checkpoints; it is made where there is none. Absent: `audit-keys/` and the origin
    /// in `state.folder`. The public key lies beside it, with the ending `.pub`.
    pub signing_key: Option<String>,
    /// How users are recorded. Absent: they are not, and only that a request named one is.
    pub pseudonyms: Option<Pseudonyms>,
    /// How long records are kept. Absent: 183 days.
    pub retention: Option<Retention>,
}

/// How users are recorded: the name by which an app knows its user, in `safety_identifier`, `user` or `metadata.user_id`, or by
/// which a token names it (`jwt.user` of the app), as a pseudonym that nobody can turn back without the key.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pseudonyms {
    /// Path of the key; `causeway keys pseudonym` makes one. Required. Gateways of one fleet take the same.
    pub key: String,
    /// Who else holds the key, and so can find a person again: a role, such as `"data protection office"`. Required.
    pub held_by: String,
}

/// What a record survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// The death of the process.
    Os,
    /// The loss of power.
    Disk,
}

/// How long records are kept.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Days. Required.
    #[schemars(range(min = 1))]
    pub days: u32,
    /// Days for requests whose data is of a class, such as `{ secret = 1825 }`; default none. At least `days`. What came after
    /// such a request in the same process's log is kept with it.
    pub classes: Option<BTreeMap<String, u32>>,
    /// Whether nothing is removed for now, whatever its age, because somebody has asked for it; default false.
    pub hold: Option<bool>,
}

/// Where evidence may be kept: what the gateway writes about requests is personal data as well.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Countries or groups of countries in which every sink of evidence must lie. Required, not empty.
    pub within: Vec<String>,
    /// The `[site.NAME]` at which each sink lies, such as `{ state = "frankfurt", witness = "berlin" }`. Required for every one that
    /// there is: `state` (the state folder, with audit log, captures and ledger), `witness` (the second place), `ledger`, `store`,
    /// `otlp`, and `"webhook.NAME"` for each webhook.
    pub sites: BTreeMap<String, String>,
}
