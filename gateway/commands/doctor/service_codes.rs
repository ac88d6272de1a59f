//! Why a store, a database or a control plane cannot be used though it was reached: a stable code, and who mends it.

/// One kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceCode {
    Store01,
    Store02,
    Store03,
    Store04,
    Ledger01,
    Ledger02,
    Ledger03,
    Ledger04,
    Ledger05,
    Ledger06,
    Control01,
    Control02,
    Control03,
    Control04,
}

/// What is known of a code.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceEntry {
    pub(super) code: &'static str,
    /// The failure in a few words.
    pub(super) title: &'static str,
    pub(super) means: &'static str,
    pub(super) who: &'static str,
    pub(super) mend: &'static str,
}

const STORE: &str = "whoever runs the store";
const DATABASE: &str = "whoever runs the database";
const OPERATOR: &str = "whoever runs this gateway";
const CLOUD: &str = "the owner of the cloud resource";

impl ServiceCode {
    /// What the doctor says of it.
    pub(super) fn entry(self) -> ServiceEntry {
        let [code, title, means, who, mend] = self.words();
        ServiceEntry { code, title, means, who, mend }
    }

    fn words(self) -> [&'static str; 5] {
        match self {
            Self::Store01 | Self::Store02 | Self::Store03 | Self::Store04 => self.words_of_the_store(),
            Self::Ledger01 | Self::Ledger02 | Self::Ledger03 | Self::Ledger04 | Self::Ledger05 | Self::Ledger06 => {
                self.words_of_the_ledger()
            }
            Self::Control01 => [
                "CONTROL-01",
                "the control plane does not accept the credential",
                "the token or the signature is of nobody that it knows, or its keys were taken back",
                OPERATOR,
                "compare `auth` of the control plane with the identity that was made for it",
            ],
            Self::Control02 => [
                "CONTROL-02",
                "the identity may not read there",
                "it is known, and has no role that lets it read the deployment",
                CLOUD,
                "give it the right that the message names, to read and nothing more",
            ],
            Self::Control03 => [
                "CONTROL-03",
                "the control plane knows no such deployment or profile",
                "the name of the upstream model, or the account, is another one",
                OPERATOR,
                "correct the target or `control` of its endpoint",
            ],
            Self::Control04 => [
                "CONTROL-04",
                "the control plane says nothing that can be used",
                "it is asked too often, it is out of order, or something else answers in its place",
                OPERATOR,
                "ask again later; if it stays, compare `url` of the control plane",
            ],
        }
    }

    fn words_of_the_store(self) -> [&'static str; 5] {
        match self {
            Self::Store01 => [
                "STORE-01",
                "the store does not let the gateway in",
                "the user or its password is another one, or the user is switched off",
                OPERATOR,
                "compare `store.user` and `store.password` with the store's users (`ACL LIST`)",
            ],
            Self::Store02 => [
                "STORE-02",
                "the store's user may not do what gateways do",
                "its rights or the keys that it may touch are too few",
                STORE,
                "give it `+@connection +@scripting +@hash +@string +@keyspace +@read` and the keys of `store.prefix`",
            ],
            Self::Store03 => [
                "STORE-03",
                "the store takes no writes",
                "it is a replica, its memory is full, or it cannot save what it has",
                STORE,
                "let the name lead to the primary, and see to its memory and disk",
            ],
            _ => [
                "STORE-04",
                "it is no store that gateways can use",
                "it does not speak as Valkey and Redis do, it is a cluster, it is loading, a newer release counts there, or it does not answer in time",
                STORE,
                "name one server, or a primary behind one name",
            ],
        }
    }

    fn words_of_the_ledger(self) -> [&'static str; 5] {
        match self {
            Self::Ledger01 => [
                "LEDGER-01",
                "the database does not let the gateway in",
                "the role, its password or certificate is another one, or `pg_hba.conf` has no line for this machine",
                OPERATOR,
                "compare `ledger.user` and `ledger.password` with the role; add a `hostssl` line for this machine",
            ],
            Self::Ledger02 => [
                "LEDGER-02",
                "there is no such database",
                "the server has none of the name that stands in `ledger.url`",
                DATABASE,
                "make it: `CREATE DATABASE … OWNER … ENCODING 'UTF8' TEMPLATE template0`",
            ],
            Self::Ledger03 => [
                "LEDGER-03",
                "the role may not do what gateways do",
                "it may not make the tables, or not write in one of them",
                DATABASE,
                "give it the right that the message names, or make the schema its own",
            ],
            Self::Ledger04 => [
                "LEDGER-04",
                "a newer release wrote the tables",
                "this one would not understand them, so it neither starts nor posts",
                OPERATOR,
                "run the newer release everywhere",
            ],
            Self::Ledger05 => [
                "LEDGER-05",
                "the database takes no writes",
                "it is a standby, or set to be read only",
                DATABASE,
                "let the name lead to the primary",
            ],
            _ => [
                "LEDGER-06",
                "it is no database that gateways can use",
                "it does not speak as PostgreSQL does, it is not encoded in UTF8, or it does not answer in time",
                DATABASE,
                "look at the server's log for this moment",
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ServiceCode; 14] = [
        ServiceCode::Store01,
        ServiceCode::Store02,
        ServiceCode::Store03,
        ServiceCode::Store04,
        ServiceCode::Ledger01,
        ServiceCode::Ledger02,
        ServiceCode::Ledger03,
        ServiceCode::Ledger04,
        ServiceCode::Ledger05,
        ServiceCode::Ledger06,
        ServiceCode::Control01,
        ServiceCode::Control02,
        ServiceCode::Control03,
        ServiceCode::Control04,
    ];

    #[test]
    fn every_code_of_a_service_has_its_row_in_the_reference() {
        let page = include_str!("../../../docs/src/reference/service-codes.md");

        for code in ALL {
            let ServiceEntry { code, title, means, who, mend } = code.entry();
            let row = format!("| `{code}` | {title} | {means} | {who}: {mend} |");
            assert!(page.lines().any(|line| line == row), "service-codes.md lacks:\n{row}");
        }
        assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), ALL.len());
    }
}
