//! The security team's guide, followed word by word: its documents are loaded, its commands are pasted, and what it shows is
//! what they print.

use std::fs;
use std::path::Path;

use tokio::process::Child;

use crate::testkit::{Block, Reader, Running, Shell, blocks_of, free_port, lacking, not_tested, repository, until};

const PAGE: &str = "docs/src/how-to/policies.md";
const WALK: &str = "Walk through it with requests";
const REVIEW: &str = "From the first policy to the review";

/// Whether a shell can be given what the page has.
fn is_possible(what: &str) -> bool {
    let is_there = |program: &str| std::process::Command::new(program).arg("--version").output().is_ok();
    let lacks: Vec<&str> = ["curl", "sed"].into_iter().filter(|program| !is_there(program)).collect();
    if !lacks.is_empty() {
        not_tested(&format!("{what}: there is no {}", lacks.join(" and no ")));
    }
    lacks.is_empty()
}

/// The document with a block of the page put into it: its sections' settings take the place of those of the same name.
fn with(document: &str, block: &str) -> String {
    let parse = |text: &str| text.parse::<toml::Table>().expect("it is TOML");
    let mut whole = parse(document);
    merge(&mut whole, parse(block), 2);
    toml::to_string(&whole).expect("a table is TOML")
}

/// `depth` is that of a section: `[data.claims]`.
fn merge(into: &mut toml::Table, more: toml::Table, depth: usize) {
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(known)), toml::Value::Table(more)) if depth > 0 => merge(known, more, depth - 1),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// What the claims of a token say needs an app that shows one.
fn with_tokens(document: &str) -> String {
    let issuer = "[issuer.corp]\nissuer = \"https://login.corp.example\"\nkeys = { file = \"issuer-keys.json\" }\n\
                  [app.claims]\njwt = { issuer = \"https://login.corp.example\", audience = \"causeway\" }\n";
    let mut whole = with(document, issuer).parse::<toml::Table>().expect("it is TOML");
    whole["app"]["claims"].as_table_mut().expect("a section").remove("keys");
    toml::to_string(&whole).expect("a table is TOML")
}

/// What the commands of the page before the walk end with, where that is not 0, and a line that they print.
const ANSWERS: &[(&str, i32, &str)] = &[
    ("causeway policy verify-places ", 3, "silent  aoai-sweden/gpt-4o    declared SE"),
    ("causeway policy export policies\n", 0, "fine: 20 policies in 3 files"),
    ("causeway policy test ", 1, "4 rows, 0 wrong; 4 of 21 policies decide a row"),
    ("causeway explain ", 0, "aoai-sweden/gpt-4o: denied"),
    ("causeway policy diff ", 0, "tighter: nothing new is permitted, and something is not any more"),
    ("causeway policy matrix ", 0, ""),
    ("causeway check ", 0, "row `azure-standard` of the data pack has run out"),
];

/// The folder and the document of somebody who writes policies and runs no gateway.
struct Writer {
    folder: std::path::PathBuf,
    shell: Shell,
    answered: usize,
}

impl Writer {
    fn document(&self) -> String {
        fs::read_to_string(self.folder.join("causeway.toml")).expect("it was put there")
    }

    fn put(&self, document: &str) {
        fs::write(self.folder.join("causeway.toml"), document).expect("the folder can be written");
    }

    async fn check(&mut self, of: &str) {
        let (said, code) = self.shell.paste("causeway check --without-secrets --config causeway.toml").await;
        assert_eq!(code, 0, "{of}\n{said}");
        assert!(said.contains("fine: "), "{of}\n{said}");
    }

    /// Before the review blocks are examples beside one another; from there on each goes on where the last one ended.
    async fn read_document(&mut self, heading: &str, block: &str) {
        let before = self.document();
        let base = if block.contains(".claims.claims.") { with_tokens(&before) } else { before.clone() };
        self.put(&with(&base, block));
        self.check(block).await;
        if heading != REVIEW && !block.starts_with("[data.claims]\n") {
            self.put(&before);
        }
    }

    async fn paste(&mut self, commands: &str) {
        let (_, wanted, line) = *ANSWERS
            .iter()
            .find(|(begins, ..)| commands.starts_with(begins))
            .unwrap_or_else(|| unreachable!("the page has a new command; say what it prints:\n{commands}"));
        let (said, code) = self.shell.paste(commands).await;
        assert_eq!(code, wanted, "{commands}\n{said}");
        assert!(lacking(line, &said).is_empty(), "{commands}\n{said}");
        self.answered += 1;
    }

    fn keep(&self, file: &str, text: &str) {
        let path = self.folder.join(file);
        fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("the folder can be written");
        fs::write(path, text).expect("the folder can be written");
    }
}

#[tokio::test]
async fn the_documents_of_the_guide_are_accepted_and_its_commands_print_what_it_says() {
    if !is_possible("the security team's guide") {
        return;
    }
    let reader = Reader::new();
    let folder = reader.folder();
    fs::copy(repository().join("docs/examples/first.toml"), folder.join("causeway.toml")).expect("it is there");
    fs::copy(repository().join("docs/examples/issuer-keys.json"), folder.join("issuer-keys.json"))
        .expect("it is there");
    let mut writer = Writer { shell: reader.shell().await, folder, answered: 0 };
    // The page names it in a sentence: what is in force where no folder is.
    let (said, code) = writer.shell.paste("causeway policy export policies-in-force").await;
    assert_eq!(code, 0, "{said}");

    let mut proposed = String::new();
    for (heading, Block { kind, text }) in blocks_of(PAGE).into_iter().take_while(|(heading, _)| heading != WALK) {
        match kind.as_str() {
            // The example of control planes is a document of its own, which is checked where it lies.
            "toml" if text.starts_with("{{#include") => {}
            "toml" => writer.read_document(&heading, &text).await,
            "cedar" => proposed = text,
            "csv" => {
                writer.keep("policies/payment.cedar", &proposed);
                writer.keep("tables/claims.csv", &text);
            }
            "sh" => writer.paste(&text).await,
            other => unreachable!("a block of a kind that nobody reads: {other}"),
        }
    }

    assert_eq!(writer.answered, ANSWERS.len(), "each command of the page stands there once");
    let html = fs::read_to_string(writer.folder.join("where-data-may-go.html")).expect("matrix wrote it");
    for shown in ["aoai-sweden/gpt-4o", "payment", "No verdict here is PROVED"] {
        assert!(html.contains(shown), "{shown} in {html}");
    }
}

/// The walk: a shell, the gateway that the page has served, and what plays its endpoints.
struct Walk {
    reader: Reader,
    shell: Shell,
    ports: [String; 2],
    demo: Option<Running>,
    gateway: Option<Child>,
}

impl Walk {
    fn here(&self) -> std::path::PathBuf {
        self.reader.folder().join("guide")
    }

    /// `causeway demo`, with the key and the folder that it names put into the shell.
    async fn play(&mut self) {
        let mut command = self.reader.command("causeway", &self.reader.folder());
        command.args(["demo", "--port", "0", "--admin-port", "0"]);
        let mut demo = Running::start(command);
        let said = demo.until("  configuration  ").await;
        let between = |from: &str, to: char| said.split_once(from).and_then(|(_, rest)| rest.split(to).next());
        let key = between("authorization: Bearer ", '\'').expect("it prints a curl line");
        let document = between("  configuration  ", '\n').expect("it names its document");
        let folder = Path::new(document.trim()).parent().expect("a file lies in a folder").display();
        self.shell.paste(&format!("export KEY='{key}' DEMO='{folder}'")).await;
        self.demo = Some(demo);
    }

    /// `causeway serve`, until it serves.
    async fn serve(&mut self, arguments: &str) {
        let mut command = self.reader.command("causeway", &self.here());
        let log = fs::File::create(self.here().join("serve.log")).expect("the folder can be written");
        command.args(arguments.split_whitespace()).stdout(log.try_clone().expect("a file has two handles")).stderr(log);
        self.gateway = Some(command.spawn().expect("cargo built the binary"));
        self.has_said("serving address").await;
    }

    async fn has_said(&self, what: &str) {
        let log = self.here().join("serve.log");
        let said = async || fs::read_to_string(&log).is_ok_and(|log| log.contains(what)).then_some(());
        until(what, said).await;
    }

    /// One block of commands, and what the page shows behind it.
    async fn follow(&mut self, commands: &str, shown: &str) {
        let [callers, operators] = self.ports.each_ref().map(|port| format!(":{port}"));
        let commands = commands.replace(":8444", &callers).replace(":9444", &operators);
        match commands.trim_end().strip_prefix("causeway ") {
            Some("demo") => self.play().await,
            Some(serve) if serve.starts_with("serve ") => self.serve(serve).await,
            _ => {
                // What only looks may look again.
                let looks = !commands.contains("ask ") && !commands.contains(">>") && !commands.starts_with("mkdir");
                let (printed, _) = match looks {
                    true => self.shell.paste_until(&commands, shown).await,
                    false => self.shell.paste(&commands).await,
                };
                let lacks = lacking(shown, &printed);
                assert!(lacks.is_empty(), "{commands}\nlacks {lacks:#?} in\n{printed}");
            }
        }
        if commands.contains("candidate") {
            self.has_said("configuration reloaded").await;
        }
    }
}

#[tokio::test]
async fn the_walk_of_the_guide_goes_from_a_refusal_to_the_auditors_proof_as_it_shows() {
    if !is_possible("the walk of the security team's guide") {
        return;
    }
    let reader = Reader::new();
    let shell = reader.shell().await;
    let ports = [free_port().to_string(), free_port().to_string()];
    let mut walk = Walk { reader, shell, ports, demo: None, gateway: None };
    let blocks: Vec<Block> =
        blocks_of(PAGE).into_iter().filter(|(heading, _)| heading == WALK).map(|(_, block)| block).collect();

    for (at, block) in blocks.iter().enumerate().filter(|(_, block)| block.kind == "sh") {
        let next = blocks.get(at + 1).filter(|next| next.kind == "text");
        walk.follow(&block.text, next.map_or("", |next| &next.text)).await;
    }

    let of = |file: &str| fs::read_to_string(walk.here().join(file)).expect("the walk wrote it");
    assert!(of("record.json").contains("card") && !of("record.json").contains("4111 1111"), "{}", of("record.json"));
    assert!(!of("entries.jsonl").contains("4111 1111") && !of("events.jsonl").contains("4111 1111"));
    let events = of("events.jsonl").lines().filter(|line| line.contains("\"class_uid\":6003")).count();
    assert!(events >= 11, "{}", of("events.jsonl"));
    let (said, code) = walk.shell.paste("causeway audit verify --folder copy --key state/audit-keys/gw-1.pub").await;
    assert_eq!(code, 1, "what was changed is damage: {said}");
}
