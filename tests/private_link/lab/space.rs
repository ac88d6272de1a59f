//! A network of its own: a thread that lives in a fresh network namespace, with a runtime for servers and clients.
//!
//! The namespace has no name. It lives as long as its thread and its processes do, and they are told by the kernel to
//! die with the thread: whatever ends this test, even SIGKILL, nothing is left behind that a later run could meet.

use std::future::Future;
use std::process::Stdio;
use std::sync::mpsc;

use nix::sched::{CloneFlags, unshare};
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A network namespace with a thread in it.
pub(crate) struct Space {
    name: &'static str,
    runtime: Handle,
    /// Other tools name the namespace by a thread that lives in it.
    thread: String,
    /// Dropped to end the thread.
    _alive: oneshot::Sender<()>,
}

impl Space {
    /// Makes an empty network: loopback and nothing else.
    pub(crate) fn new(name: &'static str) -> Self {
        let (ready, made) = mpsc::channel();
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
                let thread = std::fs::read_link("/proc/thread-self").expect("a thread can see itself");
                let thread = thread.file_name().expect("it ends with a number").to_string_lossy().into_owned();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("a runtime can be built");
                ready.send((runtime.handle().clone(), thread)).expect("`new` waits for it");
                let _ = runtime.block_on(ended);
            })
            .expect("a thread can be started");
        let (runtime, thread) = made.recv().expect("the thread says when it is there");
        let space = Self { name, runtime, thread, _alive: alive };
        space.ip("link set lo up");
        space
    }

    /// Runs a future inside, from outside.
    pub(crate) fn block_on<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (send, receive) = mpsc::channel();
        self.runtime.spawn(async move {
            let _ = send.send(future.await);
        });
        receive
            .recv()
            .unwrap_or_else(|_| unreachable!("what ran in `{}` panicked; its message stands above", self.name))
    }

    /// Runs a closure inside. While it runs, no server in here does.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.block_on(async move { job() })
    }

    /// Starts a server inside, which lives as long as the space.
    pub(crate) fn spawn(&self, server: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(server);
    }

    /// Runs a command inside to its end, and gives its exit code and what it printed, errors last.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> (i32, String, String) {
        self.feed(program, arguments, "")
    }

    /// The same with a text on its standard input.
    pub(crate) fn feed(&self, program: &str, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut command = mortal(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let output = self.block_on(async move {
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // Not every command reads its input.
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
            }
            child.wait_with_output().await
        });
        let output = output.unwrap_or_else(|error| unreachable!("`{program}` cannot be run: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Starts a command inside, whose errors are read while it runs.
    pub(crate) fn start(&self, program: &str, arguments: &[&str]) -> Started<'_> {
        let mut command = mortal(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = self.run(move || command.spawn().expect("the program is there"));
        let lines = tokio::io::BufReader::new(child.stderr.take().expect("piped above"));
        Started { space: self, child, lines: tokio::io::AsyncBufReadExt::lines(lines) }
    }

    /// Runs a command that must succeed.
    pub(crate) fn must(&self, program: &str, arguments: &[&str], input: &str) -> String {
        let (code, printed, errors) = self.feed(program, arguments, input);
        assert!(code == 0, "in `{}`: {program} {}: {errors}{printed}", self.name, arguments.join(" "));
        printed
    }

    /// `ip …`, with words between spaces.
    pub(crate) fn ip(&self, words: &str) {
        self.must("ip", &words.split(' ').collect::<Vec<_>>(), "");
    }

    /// Loads an nftables script.
    pub(crate) fn nft(&self, script: &str) {
        self.must("nft", &["-f", "-"], script);
    }

    /// Sets a kernel parameter of this network, such as `net/ipv4/ip_forward`.
    pub(crate) fn set(&self, parameter: &str, value: &str) {
        let (path, value) = (format!("/proc/sys/{parameter}"), value.to_owned());
        self.run(move || std::fs::write(&path, value).unwrap_or_else(|error| unreachable!("{path}: {error}")));
    }

    /// Joins two spaces by a cable. Each end is the name of its interface and its address with a prefix.
    pub(crate) fn cable(&self, here: (&str, &str), other: &Self, there: (&str, &str)) {
        self.ip(&format!("link add {} type veth peer name {} netns {}", here.0, there.0, other.thread));
        for (space, (interface, address)) in [(self, here), (other, there)] {
            space.ip(&format!("addr add {address} dev {interface}"));
            space.ip(&format!("link set {interface} up"));
        }
    }
}

/// A command that runs in a space.
pub(crate) struct Started<'a> {
    space: &'a Space,
    child: tokio::process::Child,
    lines: tokio::io::Lines<tokio::io::BufReader<tokio::process::ChildStderr>>,
}

impl Started<'_> {
    /// Waits until it has said this.
    pub(crate) fn said(self, text: &'static str) -> Self {
        let Self { space, child, mut lines } = self;
        let lines = space.block_on(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains(text) {
                    return lines;
                }
            }
            unreachable!("it ended before it said `{text}`")
        });
        Self { space, child, lines }
    }

    /// Waits for its end, and gives its exit code.
    pub(crate) fn ended(self) -> i32 {
        let Self { space, mut child, lines } = self;
        let code = space.block_on(async move {
            // Whoever may not write leaves early.
            let _open = lines;
            child.wait().await.ok().and_then(|status| status.code())
        });
        code.unwrap_or(-1)
    }
}

/// A command that dies with the thread that starts it.
pub(crate) fn mortal(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]).stdin(Stdio::null()).kill_on_drop(true);
    command
}
