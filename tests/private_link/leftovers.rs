//! The lab leaves nothing behind, even when it is killed.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::asked_for;
use crate::lab::{Lab, Settings, until};

/// Set for the process that is to be killed.
const HOLD: &str = "CAUSEWAY_LAB_HOLD";

#[test]
fn a_lab_that_is_killed_leaves_no_process_and_no_namespace() {
    if !asked_for() {
        return;
    }
    let named = || Command::new("ip").args(["netns", "list"]).output().expect("iproute2 is installed").stdout;
    let before = named();
    let program = std::env::current_exe().expect("a process knows its program");
    let mut holder = Command::new(program)
        .args(["--exact", "leftovers::held_until_it_is_killed", "--nocapture"])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started again");
    let mut lines = BufReader::new(holder.stdout.take().expect("piped above")).lines();
    let folder = lines.find_map(|line| line.ok()?.strip_prefix("held: ").map(str::to_owned)).expect("it builds a lab");
    // Four name servers and a gateway.
    assert_eq!(processes_with(&folder).len(), 5);

    holder.kill().expect("a child can be killed");
    holder.wait().expect("a child can be waited for");

    until("every process of the lab to be gone", || processes_with(&folder).is_empty().then_some(()));
    assert_eq!(named(), before);
    // Files are what a killed process cannot take along.
    std::fs::remove_dir_all(&folder).expect("it is a temporary folder");
}

#[test]
fn held_until_it_is_killed() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let lab = Lab::build();
    let _gateway = lab.gateway(&Settings::default());
    println!("\nheld: {}", lab.folder().parent().expect("it lies in the lab's folder").display());
    loop {
        std::thread::park();
    }
}

/// The processes in whose command line this text stands.
fn processes_with(text: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").expect("Linux has /proc").flatten();
    let lines = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(text)).collect()
}
