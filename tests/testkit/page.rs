//! A page of the book: its blocks of commands and documents, and a shell that one pastes them into.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::gateway::binary;
use super::within;

/// What stands between two fences.
pub(crate) struct Block {
    /// The word behind the first fence: `sh`, `text`, `toml` …
    pub(crate) kind: String,
    /// What stands between them.
    pub(crate) text: String,
}

/// The folder of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The blocks of a page, and with each the heading that it stands under.
pub(crate) fn blocks_of(page: &str) -> Vec<(String, Block)> {
    let text = std::fs::read_to_string(repository().join(page)).expect("the page is there");
    let mut blocks = Vec::new();
    let (mut heading, mut open): (String, Option<Block>) = (String::new(), None);
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some(Block { kind: kind.to_owned(), text: String::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take().map(|block| (heading.clone(), block))),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    title.clone_into(&mut heading);
                }
            }
        }
    }
    assert!(open.is_none(), "{page} ends within a block");
    blocks
}

/// The lines of what a page shows that are not among what was printed; `…` stands for whatever it may be.
pub(crate) fn lacking<'a>(shown: &'a str, printed: &str) -> Vec<&'a str> {
    let fits = |line: &str, shown: &str| {
        let mut rest = Some(line);
        for part in shown.trim_end().split('…') {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
        }
        rest.is_some()
    };
    let shown = shown.lines().filter(|line| !line.trim().is_empty());
    shown.filter(|shown| !printed.lines().any(|line| fits(line, shown))).collect()
}

/// An empty folder in which somebody follows a page, with `causeway` on the path.
pub(crate) struct Reader {
    folder: TempDir,
}

impl Reader {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::create_dir(folder.path().join("bin")).expect("the folder is new");
        std::os::unix::fs::symlink(binary(), folder.path().join("bin/causeway")).expect("the folder is new");
        std::fs::create_dir(folder.path().join("here")).expect("the folder is new");
        Self { folder }
    }

    /// Where the reader begins.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("here")
    }

    /// A program, started in a folder of the reader's.
    pub(crate) fn command(&self, program: &str, folder: &Path) -> Command {
        let bin = self.folder.path().join("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command.current_dir(folder).env("PATH", path).env("TMPDIR", self.folder.path());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// A shell in which commands are pasted one after another.
    pub(crate) async fn shell(&self) -> Shell {
        let mut command = self.command("sh", &self.folder());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("there is a shell");
        let stdin = child.stdin.take().expect("piped above");
        let stdout = child.stdout.take().expect("piped above");
        let mut shell = Shell { _child: child, stdin, lines: BufReader::new(stdout).lines() };
        shell.paste("exec 2>&1").await;
        shell
    }
}

/// One shell. It is killed when this is dropped.
pub(crate) struct Shell {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

/// What the shell says behind each paste.
const END: &str = "-- what was pasted has ended with";

impl Shell {
    /// Pastes commands: what they print, errors among it, and what the last of them ended with.
    pub(crate) async fn paste(&mut self, commands: &str) -> (String, i32) {
        let pasted = format!("{commands}\nprintf '\\n%s %s\\n' '{END}' $?\n");
        self.stdin.write_all(pasted.as_bytes()).await.expect("the shell reads");
        let mut printed = String::new();
        loop {
            let line = within(commands, self.lines.next_line()).await.expect("what is printed is text");
            let line = line.unwrap_or_else(|| unreachable!("the shell ended:\n{printed}"));
            if let Some(code) = line.strip_prefix(END) {
                return (printed, code.trim().parse().expect("an exit code"));
            }
            printed.push_str(&line);
            printed.push('\n');
        }
    }

    /// Pastes what only looks, until it prints everything that the page shows: what is looked at may come a moment later.
    pub(crate) async fn paste_until(&mut self, commands: &str, shown: &str) -> (String, i32) {
        let began = tokio::time::Instant::now();
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            pace.tick().await;
            let (printed, code) = self.paste(commands).await;
            let lacks = lacking(shown, &printed);
            if lacks.is_empty() {
                return (printed, code);
            }
            assert!(began.elapsed() < super::PATIENCE, "{commands}\nlacks {lacks:#?} in\n{printed}");
        }
    }
}
