//! The binary as a command: what it prints, and what it says with its exit code.

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::gateway::binary;
use super::within;

/// The binary with these arguments, in an environment that names no cloud and no folder of the person's own.
pub(crate) fn causeway(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    for name in ["OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"] {
        command.env_remove(name);
    }
    command.env("XDG_STATE_HOME", folder.join("state")).env("TMPDIR", folder);
    command
}

/// Runs it to its end.
pub(crate) async fn run(arguments: &[&str], folder: &Path) -> Output {
    within("the command to end", causeway(arguments, folder).output()).await.expect("cargo built the binary")
}

/// Runs it to its end with this text on standard input.
pub(crate) async fn run_with_input(arguments: &[&str], folder: &Path, input: &str) -> Output {
    let mut command = causeway(arguments, folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("cargo built the binary");
    let mut stdin = child.stdin.take().expect("piped above");
    stdin.write_all(input.as_bytes()).await.expect("it reads its input");
    drop(stdin);
    within("the command to end", child.wait_with_output()).await.expect("a child can be waited for")
}

/// A command that keeps running, read line by line.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("cargo built the binary");
        let stdout = child.stdout.take().expect("piped above");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// What it prints, up to and with the first line that holds `last`.
    pub(crate) async fn until(&mut self, last: &str) -> String {
        let mut text = String::new();
        loop {
            let line = within(last, self.lines.next_line()).await.expect("the output is text");
            let line = line.unwrap_or_else(|| unreachable!("it ended before it said `{last}`:\n{text}"));
            text.push_str(&line);
            text.push('\n');
            if line.contains(last) {
                return text;
            }
        }
    }

    /// Sends a signal by name and waits for the end.
    pub(crate) async fn end(&mut self, signal: &str) -> std::process::ExitStatus {
        let pid = self.child.id().expect("the process has not been waited for");
        let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
        assert!(sent.is_ok_and(|status| status.success()), "signal {signal} could not be sent");
        within("the command to leave", self.child.wait()).await.expect("a child can be waited for")
    }
}
