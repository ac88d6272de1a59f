//! Documents that are accepted, and what they become.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::super::*;
use super::{GOOD, changed, load_one, noted_of, options, said_of, write};

/// A CA, a certificate that it issued with its key, and the key of somebody else.
fn write_certificates(folder: &Path) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["gateway.corp.example".to_owned()]).unwrap();
    let server_pem = server.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap().pem();
    write(folder, "certs/apps-ca.pem", &ca_pem);
    write(folder, "certs/corp-ca.pem", &ca_pem);
    write(folder, "certs/gateway.pem", &server_pem);
    write(folder, "certs/gateway-key.pem", &key.serialize_pem());
    write(folder, "certs/other-key.pem", &KeyPair::generate().unwrap().serialize_pem());
}

fn load_in(folder: &Path, text: &str) -> Result<Compiled, Mistakes> {
    load(&write(folder, "gateway.toml", text), &options())
}

fn key_of(endpoint: &EndpointConfig) -> &str {
    let Some(CredentialConfig::Key(key)) = &endpoint.credential else { panic!("it has no key") };
    key.expose()
}

#[test]
fn the_example_is_accepted_and_becomes_plain_values() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());

    let compiled = load_in(folder.path(), include_str!("../example.toml")).unwrap_or_else(|all| panic!("{all}"));

    let names: Vec<&str> = compiled.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    assert_eq!(names, ["aoai-sweden", "claude", "gpu-01"]);
    let targets: Vec<(&str, &str)> = compiled
        .targets
        .iter()
        .map(|target| (compiled.endpoints[target.endpoint].name.as_str(), target.upstream_model.as_str()))
        .collect();
    assert_eq!(targets, [("gpu-01", "llama-3.3-70b"), ("aoai-sweden", "gpt-4o"), ("claude", "claude-sonnet-4-5")]);
    assert_eq!(compiled.models[0].targets, [0, 1]);
    assert_eq!(compiled.listen.tls.as_ref().unwrap().key, folder.path().join("certs/gateway-key.pem"));
    assert_eq!(compiled.admin, Some("127.0.0.1:9443".parse().unwrap()));
    assert!(compiled.material.paths().any(|path| path.ends_with("certs/gateway.pem")));
    assert_eq!(compiled.hash.len(), 64);

    let gpu = &compiled.endpoints[2];
    assert!(gpu.approved && gpu.grants.keep_state && !gpu.grants.fetch_remote && gpu.tls.is_none());
    assert_eq!((gpu.host.to_string().as_str(), gpu.port, gpu.base_path.as_str()), ("127.0.0.1", 8000, "/v1"));
    assert_eq!((gpu.in_flight, gpu.pool.warm, gpu.timeouts.connect), (Some(64), 2, Duration::from_secs(1)));
    assert_eq!(gpu.apis.len(), 6);

    let azure = &compiled.endpoints[0];
    assert!(matches!(&azure.reach, ReachConfig::PrivateLink { resolver: Some(0), .. }));
    assert_eq!(key_of(azure), "k-123");
    assert!(!format!("{compiled:?}").contains("k-123"), "a key is shown by no Debug");
    assert_eq!(compiled.endpoints[1].apis, [Api::Messages]);
}

#[test]
fn the_keys_of_the_example_point_to_their_app_and_models() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());

    let compiled = load_in(folder.path(), include_str!("../example.toml")).unwrap();

    let [inline, named] = compiled.keys.as_slice() else { panic!("two keys") };
    assert_eq!((inline.name.as_str(), inline.app, &inline.models), ("claims.keys[0]", 0, &None));
    assert_eq!(inline.digest[..2], [0x7f, 0x3c]);
    assert_eq!((named.name.as_str(), named.requests.per_minute), ("claims-nightly", Some(60)));
    assert_eq!(named.models, Some(vec![0]));
    // 2027-12-31T00:00:00Z
    assert_eq!(named.expires, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_830_211_200)));
    assert_eq!(compiled.apps[0].requests.per_minute, Some(600));
}

#[test]
fn the_example_has_no_setting_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());

    let compiled = load_in(folder.path(), include_str!("../example.toml")).unwrap();

    let of =
        |kind: NoteKind| compiled.notes.iter().filter(move |note| note.kind == kind).map(|note| note.message.as_str());
    let unenforced: Vec<&str> = of(NoteKind::NotEnforced).collect();
    assert_eq!(unenforced, [""; 0]);
    let warnings: Vec<&str> = of(NoteKind::Warning).filter(|message| !message.contains("every user")).collect();
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn the_document_of_the_design_is_refused_only_for_what_this_version_cannot_keep() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());

    let mistakes = load_in(folder.path(), include_str!("design.toml")).unwrap_err();

    let said: Vec<String> = mistakes
        .iter()
        .map(|mistake| format!("{}:{} {:?}", mistake.at.line, mistake.at.column, mistake.kind))
        .collect();
    assert_eq!(
        said,
        [
            "52:11 Value",    // the digest is an ellipsis
            "57:11 Material", // policy.folder is not there
        ],
        "{mistakes}"
    );
}

#[test]
fn the_document_of_the_design_is_accepted_without_what_cannot_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());
    let text = include_str!("design.toml")
        .replace("sha256:…", &format!("sha256:{}", "ab".repeat(32)))
        .replace("folder  = \"policies\"", "");

    let compiled = load_in(folder.path(), &text).unwrap_or_else(|all| panic!("{all}"));

    let tls = compiled.listen.tls.unwrap();
    assert_eq!(tls.client_ca, Some(folder.path().join("certs/apps-ca.pem")));
    assert!(compiled.notes.iter().any(|note| note.message.contains("the document is one file")));
    assert!(compiled.endpoints[0].tls.as_ref().unwrap().ca.is_some());
    let Some(CredentialConfig::Token(token)) = &compiled.endpoints[0].credential else { panic!() };
    assert_eq!(token.scope, "https://cognitiveservices.azure.com/.default");
}

#[test]
fn a_key_that_does_not_belong_to_its_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());
    let tls = |key: &str| {
        changed(
            "address = \"127.0.0.1:8443\"",
            &format!("address = \"127.0.0.1:8443\"\ntls = {{ certificate = \"certs/gateway.pem\", key = \"{key}\" }}"),
        )
    };

    assert!(load_in(folder.path(), &tls("certs/gateway-key.pem")).is_ok());
    let other = load_in(folder.path(), &tls("certs/other-key.pem")).unwrap_err().to_string();
    assert!(
        other.ends_with("`listen.tls.key`: `certs/other-key.pem` is not the key of `certs/gateway.pem`"),
        "{other}"
    );
    let no_key = load_in(folder.path(), &tls("certs/gateway.pem")).unwrap_err().to_string();
    assert!(no_key.ends_with("`certs/gateway.pem` holds no private key in PEM form"), "{no_key}");
}

#[test]
fn without_secrets_a_document_can_be_checked_where_the_keys_are_not() {
    let text = changed("\"CLOUD_KEY\"", "\"UNSET\"");
    let texts = || [(PathBuf::from("gateway.toml"), text.clone())];

    assert!(load_text(texts(), &options()).is_err());
    let compiled = load_text(texts(), &LoadOptions { secrets: Secrets::Skip, ..options() }).unwrap();
    assert!(compiled.endpoints.iter().all(|endpoint| endpoint.credential.is_none()));
}

#[test]
fn a_key_from_a_file_loses_its_line_end_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "secret", "k-456\r\n");
    let text = changed("{ env = \"CLOUD_KEY\" }", "{ file = \"secret\" }");

    let compiled = load_in(folder.path(), &text).unwrap();

    assert_eq!(key_of(&compiled.endpoints[0]), "k-456");
    write(folder.path(), "secret", "k-456\n\n");
    assert!(load_in(folder.path(), &text).unwrap_err().to_string().contains("a line end"));
}

#[test]
fn evidence_that_lies_where_it_may_is_accepted() {
    let text = changed("witness = { folder = \"/mnt/auditors\" }", BUCKET_IN_GERMANY);
    let sites = "\n[site.aws-frankfurt]\ncountry = \"DE\"\noperator = \"US\"\n\n[evidence]\nwithin = [\"EEA\"]\n\
                 sites = { state = \"aws-frankfurt\", witness = \"aws-frankfurt\" }\n";

    assert_eq!(said_of(&format!("{text}{sites}")), [""; 0]);
}

const BUCKET_IN_GERMANY: &str = "witness = { s3 = { url = \"https://auditors.s3.eu-central-1.amazonaws.com/causeway\", \
    reach = { public = {} }, auth = { aws = { region = \"eu-central-1\", access_key = { env = \"CLOUD_KEY\" }, \
    secret_key = { env = \"CLOUD_KEY\" } } } } }";

#[test]
fn the_store_of_replicas_becomes_plain_values() {
    let store = "[store]\nurl = \"valkeys://counters.corp.example\"\nreach = { local = { within = [\"10.0.0.0/8\"] } }\n\
                 user = \"causeway\"\npassword = { env = \"CLOUD_KEY\" }\non_loss = { local-share = { of = 3 } }\n";
    let ledger = "[ledger]\nurl = \"postgresql://ledger.corp.example/books\"\nreach = { local = { within = [\"10.0.0.0/8\"] } }\n\
                  user = \"causeway\"\n";
    let text = changed("[listen]", &format!("replicas = true\n\n{store}\n{ledger}\n[listen]"));

    let compiled = load_text([(PathBuf::from("gateway.toml"), text)], &options()).unwrap();

    let store = compiled.store.unwrap();
    assert_eq!((store.scheme, store.port, store.prefix.as_str()), (Scheme::Https, 6379, "causeway"));
    assert_eq!(store.on_loss, StoreLoss::LocalShare { of: 3 });
    assert!(store.password.is_some());
    assert_eq!(store.host.to_string(), "counters.corp.example");
}

#[test]
fn the_ledgers_database_becomes_plain_values_and_its_password_is_read_where_a_report_asks_for_it_alone() {
    let ledger = "[ledger]\nurl = \"postgresql://ledger.corp.example/books\"\nreach = { local = { within = [\"10.0.0.0/8\"] } }\n\
                  user = \"causeway\"\npassword = { env = \"CLOUD_KEY\" }\n";
    let text = changed("[listen]", &format!("{ledger}\n[listen]"));
    let with = |secrets| {
        let options = LoadOptions { secrets, ..options() };
        load_text([(PathBuf::from("gateway.toml"), text.clone())], &options).unwrap()
    };

    let (read, skipped, of_ledger) = (with(Secrets::Read), with(Secrets::Skip), with(Secrets::ReadOfLedger));

    let config = read.ledger.unwrap();
    assert_eq!((config.scheme, config.port, config.database.as_str()), (Scheme::Https, 5432, "books"));
    assert_eq!((config.schema.as_str(), config.user.as_str()), ("causeway", "causeway"));
    assert!(config.password.is_some() && config.tls.is_some());
    assert!(skipped.ledger.unwrap().password.is_none());
    assert!(of_ledger.ledger.unwrap().password.is_some());
    assert!(of_ledger.endpoints[0].credential.is_none());
}

#[test]
fn what_a_private_link_needs_becomes_plain_values() {
    let pin = format!("sha256:{}", "ab".repeat(32));
    let text = changed(
        "reach = { public = {} }",
        &format!(
            "reach = {{ private-link = {{ service = \"azure-openai\", within = [\"10.20.0.0/16\"], resolver = \"corp\", \
             expect = [\"openai.azure.com\"] }} }}\ntls = {{ pin = \"{pin}\", issuers = [\"Corp CA\"] }}\n\
             transport = {{ keepalive = {{ idle_ms = 20_000 }}, mss = 1_200, device = \"tun0\", leaves_from = [\"10.0.0.0/8\"] }}"
        ),
    );
    let text = text.replace(
        "zones = [\"corp.example\"]",
        "zones = [\"corp.example\", \"openai.azure.com\"]\nstale_grace = \"90s\"\ntransport = \"tls\"\nserver_name = \"dns.corp.example\"",
    );

    let compiled = load_one(&text).unwrap_or_else(|all| panic!("{all}"));

    let cloud = &compiled.endpoints[0];
    let ReachConfig::PrivateLink { service, expect, .. } = &cloud.reach else { panic!("{:?}", cloud.reach) };
    assert_eq!(
        (service.name.as_str(), expect.as_slice()),
        ("azure-openai", ["openai.azure.com".to_owned()].as_slice())
    );
    let tls = cloud.tls.as_ref().unwrap();
    assert_eq!((tls.pin, tls.issuers.as_slice()), (Some([0xab; 32]), ["Corp CA".to_owned()].as_slice()));
    let transport = &cloud.transport;
    assert_eq!((transport.mss, transport.device.as_deref(), transport.ipv6), (Some(1200), Some("tun0"), false));
    assert_eq!(
        (transport.keepalive_idle, transport.keepalive_interval),
        (Duration::from_secs(20), Duration::from_secs(10))
    );
    assert!(compiled.endpoints[1].transport.ipv6);
    let corp = &compiled.resolvers[0];
    assert_eq!(corp.stale_grace, Duration::from_secs(90));
    assert!(matches!(&corp.servers, ResolverServers::Addresses { transport: ResolverTransport::Tls(_), .. }));
}

#[test]
fn the_hash_follows_the_text_and_not_the_place() {
    let at = |folder: &str, text: &str| {
        load_text([(PathBuf::from(folder).join("gateway.toml"), text.to_owned())], &options()).unwrap().hash
    };

    assert_eq!(at("/a", GOOD), at("/b", GOOD));
    assert_ne!(at("/a", GOOD), at("/a", &format!("{GOOD}\n")));
}

#[test]
fn what_looks_odd_is_noted_with_its_place() {
    let cases = [
        (
            "approve = [\"cloud\"]",
            "approve = []",
            "gateway.toml:28:28: model `chat`: endpoint `cloud` is not approved, so this target is never used; the security team can add `cloud` to `[policy] approve`",
        ),
        (
            "approve = [\"cloud\"]",
            "approve = [\"cloud\", \"gpu-01\"]",
            "gateway.toml:40:21: endpoint `gpu-01` is `local` and needs no approval; leave it out",
        ),
        (
            "auth = { key = { env = \"CLOUD_KEY\" } }\n",
            "",
            "gateway.toml:21:11: endpoint `cloud` has no `auth`, so it is called without a credential; add `auth = { key = { env = \"…\" } }`",
        ),
        (
            "\"gpu-01/llama\", ",
            "",
            "gateway.toml:15:11: endpoint `gpu-01` is the target of no model; name it in a model, or leave it out",
        ),
        (
            "192.168.40.0/24",
            "192.0.0.0/4",
            "gateway.toml:18:31: `endpoint.gpu-01.reach.local.within`: `192.0.0.0/4` is wider than any private network; name the networks that are meant",
        ),
        (
            "[policy]",
            "[model.spare]\ntargets = [\"gpu-01/x\"]\n\n[policy]",
            "gateway.toml:39:8: no app may use model `spare`; name it in an app, or leave it out",
        ),
        (
            "[policy]",
            "[key.old]\napp = \"claims\"\nexpires = 2027-01-15T09:00:00+01:00\ndigest = \"sha256:abababababababababababababababababababababababababababababababab\"\n\n[policy]",
            "gateway.toml:41:11: key `old` has expired and is refused; remove it",
        ),
        (
            "[policy]",
            "[key.new]\napp = \"claims\"\nexpires = 2027-01-16\ndigest = \"sha256:abababababababababababababababababababababababababababababababab\"\n\n[policy]",
            "gateway.toml:41:11: key `new` expires in less than 30 days, on 2027-01-16; `causeway keys new` makes another",
        ),
    ];

    for (old, new, note) in cases {
        let notes = noted_of(&changed(old, new));

        assert_eq!(notes, [note]);
    }
    assert_eq!(noted_of(GOOD), [""; 0]);
}

#[test]
fn a_claim_that_people_choose_themselves_is_warned_of_where_it_names_administrators() {
    let folder = tempfile::tempdir().unwrap();
    // The public key of RFC 8037, appendix A.2.
    let key = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    write(folder.path(), "keys.json", key);
    let file = folder.path().join("keys.json").display().to_string();
    let notes_with = |user: &str| {
        let sections = format!(
            "[admin]\naddress = \"127.0.0.1:9443\"\n\n[issuer.people]\nissuer = \"https://idp.example\"\nkeys = {{ file = \"{file}\" }}\n\
             algorithms = [\"EdDSA\"]\n\n[administrator.anna]\nrole = \"security\"\n\
             jwt = {{ issuer = \"https://idp.example\", audience = \"causeway\", claims = {{ roles = \"security\" }}, user = \"{user}\" }}\n\n\
             [data.claims]"
        );
        noted_of(&changed("[data.claims]", &sections))
    };

    let warned = notes_with("preferred_username");

    let [warning] = warned.as_slice() else { panic!("{warned:?}") };
    assert!(
        warning.contains("`administrator.anna.jwt.user` is `preferred_username`, which people may change"),
        "{warning}"
    );
    for stays in ["sub", "oid"] {
        assert_eq!(notes_with(stays), [""; 0], "{stays}");
    }
}

#[test]
fn money_is_exact() {
    let compiled = load_one(&changed("requests_per_minute = 600", "usd_per_month = 0.1")).unwrap();

    let limits = compiled.document.app["claims"].limits.as_ref().unwrap();
    assert_eq!(limits.usd_per_month.as_ref().unwrap().billionths(), 100_000_000);
}

#[test]
fn policies_of_ones_own_are_read_whole_and_every_fault_has_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = GOOD.replace("[policy]", "[policy]\nfolder = \"policies\"");
    let grant = "@id(\"grant\") @owner(\"me\") @basis(\"a rule\") @grant(\"base\")\n\
                 permit (principal, action, resource) when { resource.approved };\n";
    write(folder.path(), "policies/10-mine.cedar", grant);
    write(folder.path(), "policies/.20-half.cedar", "forbid (");
    let faults = |text: &str| {
        let said = load_in(folder.path(), text).unwrap_err().to_string();
        said.replace(&format!("{}/", folder.path().display()), "")
    };

    let compiled = load_in(folder.path(), &text).unwrap();
    assert_eq!(compiled.policy.rules.policies().map(|about| &*about.id).collect::<Vec<_>>(), ["grant"]);
    assert!(compiled.material.paths().any(|path| path.ends_with("policies")));

    write(folder.path(), "policies/20-half.cedar", "forbid (principal, act");
    write(
        folder.path(),
        "policies/30-wrong.cedar",
        "@id(\"a\") @owner(\"me\") @basis(\"b\")\nforbid (principal, action, resource is Target)\nwhen { resource.plaice.isEmpty() || context.labels.contains(\"helth\") };",
    );
    let said = faults(&text);

    assert!(said.contains("policies/20-half.cedar:1:"), "{said}");
    write(folder.path(), "policies/20-half.cedar", "// whole again, and empty");
    let said = faults(&text);
    assert!(said.contains("policies/30-wrong.cedar:3:8: policy `a`, attribute `plaice`"), "{said}");
    assert!(said.contains("policies/30-wrong.cedar:3:61: policy `a` names `helth`, which is not a label"), "{said}");
}

#[test]
fn a_target_that_an_apps_labels_always_keep_out_is_a_warning() {
    let text = GOOD.replace("labels = []", "labels = [\"eu_personal\"]");

    let notes = noted_of(&text);

    let cloud = notes.iter().find(|note| note.contains("can never reach `cloud/")).unwrap();
    assert!(cloud.contains("forbidden by `no-long-retention`"), "{cloud}");
}

#[test]
fn what_runs_out_is_announced() {
    let text = GOOD.replace(
        "reach = { local",
        "place = { azure = { region = \"swedencentral\", sku = \"Standard\" } }\nreach = { local",
    );
    let at = |day: &str| {
        let now = policy::day_of(day).unwrap();
        let compiled = load_text([(PathBuf::from("gateway.toml"), text.clone())], &LoadOptions { now, ..options() });
        let compiled = compiled.unwrap_or_else(|all| panic!("{all}"));
        let notes = compiled.notes.into_iter().filter(|note| note.kind == NoteKind::RunsOut);
        notes.map(|note| note.message).filter(|message| message.contains("azure-standard")).collect::<Vec<_>>()
    };
    let row = "row `azure-standard` of the data pack";

    assert_eq!(at("2027-04-01"), [""; 0]);
    assert_eq!(at("2027-04-09"), [format!("{row} runs out in 29 days, and counts as unknown from then on")]);
    assert_eq!(at("2027-04-24"), [format!("{row} runs out in 14 days, soon, and counts as unknown from then on")]);
    assert_eq!(at("2027-05-06"), [format!("{row} runs out in 2 days, very soon, and counts as unknown from then on")]);
    assert_eq!(at("2027-05-08"), [format!("{row} has run out and counts as unknown")]);
}

#[test]
fn what_is_known_of_data_beyond_its_labels_becomes_plain_values_and_what_ends_is_announced() {
    let data = "labels = []\npurposes = [\"fraud\"]\nusers = \"as_sent\"\n\
                claims.roles.medical = { labels = [\"health\"], class = \"secret\", purpose = \"fraud\" }\n\
                suppress.iban = { until = 2027-01-30, owner = \"claims team\", because = \"policy numbers look like it\" }\n\
                suppress.card = { until = 2027-01-01, owner = \"claims team\", because = \"policy numbers look like it\" }";
    let jwt = "jwt = { issuer = \"https://issuer.example\", audience = \"causeway\" }\n[data.claims]\n";
    let tokens_alone = |text: String| -> String {
        text.lines().filter(|line| !line.starts_with("keys = ")).map(|line| format!("{line}\n")).collect()
    };
    let text = tokens_alone(changed("labels = []", data).replace("[data.claims]\n", jwt));

    let said = said_of(&text);

    // The issuer is not there, which is all that is wrong: its keys would be a file.
    assert_eq!(said.len(), 1, "{said:?}");
    let without = changed("labels = []", &data.replace("claims.roles", "#"));
    let compiled = load_one(&without).unwrap();
    let data = &compiled.apps[0].data;
    assert!(data.users_as_sent && data.claims.is_empty());
    let hidden: Vec<&str> = data.suppressed.iter().map(|one| one.kind.name()).collect();
    assert_eq!(hidden, ["card", "iban"]);
    let kind = data.suppressed[1].kind;
    let end = data.suppressed[1].until;
    assert!(data.suppression(kind, end - Duration::from_secs(1)).is_some() && data.suppression(kind, end).is_none());
    let notes = noted_of(&without);
    assert!(notes.iter().any(|note| note.contains("`data.claims.suppress.iban` runs out in 15 days")), "{notes:?}");
    assert!(
        notes.iter().any(|note| note.contains("`data.claims.suppress.card` has run out and hides nothing")),
        "{notes:?}"
    );
}

#[test]
fn a_recogniser_of_ones_own_is_compiled_and_may_be_suppressed_and_named_like_any_other() {
    let own = "approve = [\"cloud\"]\n[recogniser.matter]\ndescription = \"file numbers\"\npattern = 'M-[0-9]{4}'\n\
               group = \"secret\"\nexamples = [\"file «M-1234»\"]\ncounterexamples = [\"M-12\"]\n";
    let hidden = "labels = []\nsuppress = { \"custom:matter\" = { until = 2027-01-30, owner = \"claims team\", because = \"they look like it\" } }";

    let text = changed("approve = [\"cloud\"]", own);
    let compiled = load_one(&text).unwrap();

    let kinds: Vec<String> = compiled.recognisers.kinds().map(|kind| kind.to_string()).collect();
    assert_eq!(kinds, ["custom:matter"]);
    let suppressing = load_one(&text.replacen("labels = []", hidden, 1)).unwrap();
    assert_eq!(suppressing.apps[0].data.suppressed[0].kind, compiled.recognisers.kinds().next().unwrap());
    assert!(said_of(&changed("labels = []", hidden))[0].contains("`custom:matter` is no kind of finding in text"));
}
