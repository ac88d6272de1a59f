//! The walk through TLS and its rotation, as the book has it: its own commands, pasted into a shell one after another.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::testkit::{binary, free_port, not_tested, until, within};

const PAGE: &str = "docs/src/how-to/tls.md";

/// The commands of the walk, block by block, with a folder and a port that no other walk has.
struct Walk {
    folder: TempDir,
    blocks: Vec<String>,
}

impl Walk {
    fn of_the_page() -> Self {
        let page = std::fs::read_to_string(repository().join(PAGE)).expect("the page is there");
        let (_, walk) = page.split_once("## Walk through it").expect("the page has a walk");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (trial, port) = (folder.path().join("trial"), free_port().to_string());
        let blocks = walk.split("```sh\n").skip(1).map(|block| {
            let commands = block.split("```").next().unwrap_or_default();
            commands.replace("8443", &port).replace("/tmp/trial", &trial.display().to_string())
        });
        let walk = Self { blocks: blocks.collect(), folder };
        std::fs::create_dir(walk.folder.path().join("bin")).expect("the folder is new");
        std::os::unix::fs::symlink(binary(), walk.folder.path().join("bin/causeway")).expect("the folder is new");
        walk.move_example(&port)
    }

    /// The page copies the example of the book, whose port is the page's: a copy of it has this walk's.
    fn move_example(mut self, port: &str) -> Self {
        const EXAMPLE: &str = "docs/examples/tls.toml";
        let example = std::fs::read_to_string(repository().join(EXAMPLE)).expect("the example is there");
        let moved = self.folder.path().join("tls.toml");
        std::fs::write(&moved, example.replace("8443", port)).expect("the folder can be written");
        let first = self.blocks.first_mut().expect("the walk has commands");
        assert!(first.contains(EXAMPLE), "the walk begins with the example: {first}");
        *first = first.replace(EXAMPLE, &moved.display().to_string());
        self
    }

    fn block(&self, telling: &str) -> &str {
        let found = self.blocks.iter().find(|block| block.contains(telling));
        found.unwrap_or_else(|| unreachable!("no command of the page has `{telling}`: {:?}", self.blocks))
    }

    fn certificates(&self) -> PathBuf {
        self.folder.path().join("trial/certs")
    }

    /// A shell with these commands, in the folder in which the reader's shell is by then.
    fn shell(&self, commands: &str, at: &Path) -> Command {
        let path =
            format!("{}:{}", self.folder.path().join("bin").display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", commands]).current_dir(at).env("PATH", path).env("REPOSITORY", repository());
        shell.stdin(Stdio::null()).kill_on_drop(true);
        shell
    }

    /// What the commands print, and whether they went well.
    async fn paste(&self, commands: &str) -> (String, bool) {
        let output =
            within(commands, self.shell(commands, &self.certificates()).output()).await.expect("there is a shell");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
    }

    /// The first block makes the folder and then serves, which goes on.
    async fn serve(&self) -> (Child, PathBuf) {
        let (before, serve) = self.blocks[0].trim_end().rsplit_once('\n').expect("the block has lines");
        assert!(serve.starts_with("causeway serve "), "the last of the block's commands: {serve}");
        let made = within("the folder", self.shell(before, repository()).output()).await.expect("there is a shell");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let log = self.folder.path().join("log");
        let file = std::fs::File::create(&log).expect("the folder can be written");
        let mut gateway = self.shell(&format!("exec {serve}"), repository());
        gateway.stdout(file.try_clone().expect("a file has two handles")).stderr(file);
        (gateway.spawn().expect("there is a shell"), log)
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn the_pages_own_commands_rotate_a_certificate_revoke_a_caller_and_survive_a_mistake() {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        return not_tested("the walk through TLS and its rotation: there is no curl");
    }
    let walk = Walk::of_the_page();
    let (_gateway, log) = walk.serve().await;
    let asking = walk.block("curl ");
    let (looking, renewing) = (walk.block("openssl s_client"), walk.block("--renew server"));
    let serial =
        async || walk.paste(looking).await.0.lines().find(|line| line.starts_with("serial=")).map(str::to_owned);
    let said = |what: &str| std::fs::read_to_string(&log).is_ok_and(|log| log.contains(what));
    let answered = async |of: &str| {
        let (answer, _) = walk.paste(&asking.replace("client-claims", of)).await;
        answer.contains("invalid_api_key")
    };
    let anew = async |old: &str| until("another serial number", async || serial().await.filter(|new| new != old)).await;

    until("an answer", async || answered("client-claims").await.then_some(())).await;
    for refused in ["client-expired", "client-revoked"] {
        assert!(!answered(refused).await, "{refused}");
    }
    let (_, without) = walk.paste(&asking.replace("--cert client-claims.pem --key client-claims-key.pem", "")).await;
    assert!(!without, "a certificate is asked for");

    let first = serial().await.expect("the gateway shows a certificate");
    assert!(walk.paste(renewing).await.1, "{renewing}");
    let second = anew(&first).await;
    assert!(said("configuration reloaded"), "as the page says");

    let revoking = walk.block("--revoke client-claims");
    assert!(walk.paste(revoking).await.1, "{revoking}");
    until("the revocation", async || (!answered("client-claims").await).then_some(())).await;

    let mistake = walk.block("cp server-expired-key.pem");
    assert!(walk.paste(mistake).await.1, "{mistake}");
    until("the mistake in the log", async || said("not reloaded").then_some(())).await;
    assert_eq!(serial().await.as_ref(), Some(&second), "what served before serves on");

    assert!(walk.paste(renewing).await.1, "{renewing}");
    anew(&second).await;
}
