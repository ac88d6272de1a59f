//! The page of failure codes is the table that the gateway speaks from.

use std::fmt::Write as _;

use egress::Code;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference/failure-codes.md");

const HEAD: &str = "# Failure codes

<!-- Made from gateway/egress/src/fault/table.rs: CAUSEWAY_RENEW=1 cargo nextest run -p egress failure_codes -->

Why an endpoint may not be used has one code and one set of words, wherever it shows: in the log, in
the audit record of an attempt, in the metrics `causeway_endpoint_verdict` and `causeway_path_refusals_total`, in
`/api/status`, and in the message of `no_private_path` to the caller. The code is that of the first step of the
verification that failed: somebody answers, the chain of names stays where the service lives, every address
lies inside, the route leaves as declared, the address connects, TLS shows the right name and issuer, and the answer is not
a public front's. Failures that look alike on the wire share a code; the suspects are named in the order in which to look.

*deny*: nothing is sent to the endpoint. *warn*: it is said, and the endpoint is used. The last column says what an entry
rests on: *measured* in a laboratory of network namespaces, or by a test where the failure needs no network (`ADDR-01` to
`ADDR-03`, `NET-07`, `TLS-01`); *documented* by the provider or by reports; or *inferred*.

| code | what is seen | what it means | who mends it, and how | | rests on |
|---|---|---|---|---|---|
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for code in Code::ALL {
        let entry = code.entry();
        writeln!(
            page,
            "| `{code}` | {} | {} | {}: {} | {} | {} |",
            entry.title,
            entry.means,
            entry.who.as_str(),
            entry.mend,
            entry.act.as_str(),
            entry.evidence.as_str()
        )
        .unwrap();
    }
    page
}

#[test]
fn the_page_of_failure_codes_is_the_table() {
    if std::env::var_os("CAUSEWAY_RENEW").is_some() {
        std::fs::write(PAGE, page()).unwrap();
    }

    let written = std::fs::read_to_string(PAGE).unwrap_or_default();

    assert!(written == page(), "docs/src/reference/failure-codes.md is old; its second line says how to renew it");
}
