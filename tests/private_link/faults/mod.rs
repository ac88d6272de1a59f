//! Every fault of the catalogue that can be made here: what becomes of a request, what passes on the wire, what
//! `causeway doctor` says, and that it needs no restart to be used again.

mod table;

use std::net::Ipv4Addr;

use crate::lab::gateway::Answer;
use crate::lab::{Lab, until};

use self::table::Fault;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is refused, or goes on to the next target.
    Refused,
    /// It is answered: the fault is something to be told, not to stop for.
    Works,
}

#[test]
fn dns_faults_are_refused_named_and_survived() {
    survive(table::DNS);
}

#[test]
fn network_faults_are_refused_named_and_survived() {
    survive(table::NETWORK);
}

#[test]
fn service_faults_are_refused_named_and_survived() {
    survive(table::SERVICE);
}

fn survive(faults: &[Fault]) {
    let Some(mut lab) = crate::build() else { return };
    let mut wrong = Vec::new();
    for fault in faults {
        let met = meet(&mut lab, fault);
        wrong.extend(met.into_iter().map(|wrong| format!("{} ({}): {wrong}", fault.what, fault.code)));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Breaks one thing, looks at everything, and mends it; gives what was not as it must be.
fn meet(lab: &mut Lab, fault: &Fault) -> Vec<String> {
    let mut wrong = Vec::new();
    (fault.inject)(lab);
    lab.forget();
    let mut gateway = lab.gateway(&(fault.settings)());

    let private = lab.chat("private");
    let either = lab.chat("either");
    let (bytes, packets) = lab.strayed();

    match fault.outcome {
        Outcome::Refused => {
            wrong.extend(refusal_wrong(&private));
            if either.header("x-causeway-endpoint") != Some("gpu") || either.status != 200 {
                wrong.push(format!("the next target does not answer: {either:?}"));
            }
        }
        Outcome::Works if private.status != 200 => wrong.push(format!("it is not answered: {private:?}")),
        Outcome::Works => {}
    }
    if (bytes, packets) != (0, 0) {
        wrong.push(format!("{bytes} bytes in {packets} packets of TCP went to foreign addresses"));
    }
    if (lab.public.connections(), lab.somebody.connections(), lab.other.posts()) != (0, 0, 0) {
        wrong.push("somebody else was reached".to_owned());
    }
    let changed: Vec<Ipv4Addr> = fault.servers.to_vec();
    lab.heal(&changed);
    until(&format!("recovery without a restart from: {}", fault.what), || {
        (lab.chat("private").status == 200).then_some(())
    });
    gateway.kill(&lab.premises);
    wrong
}

fn refusal_wrong(answer: &Answer) -> Option<String> {
    let code = answer.code();
    let refused = ["no_private_path", "upstream_unavailable", "upstream_timeout"].contains(&code.as_str());
    (!refused).then(|| format!("the request is not refused: {answer:?}"))
}
