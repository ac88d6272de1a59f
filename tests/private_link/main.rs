//! The gateway in a hub-spoke network: private link as a network team builds it, and every way in which it breaks.
//!
//! It needs root, `/dev/net/tun`, BIND 9 and nftables, and is therefore made only when `CAUSEWAY_LAB=1` asks for it, as
//! `tests/run --only private-link` does. Everything lies in network namespaces of its own: nothing of it reaches the
//! machine's network, and nothing is left when it ends, however it ends.

mod doctor;
mod faults;
mod fence;
mod lab;
mod leftovers;
mod line;
mod load;
mod parsers;
mod resolvers;

use lab::{Lab, Settings};

/// Says that a test could not be made here, where a person sees it: `tests/run` repeats it in its last lines.
#[expect(clippy::print_stderr, reason = "a promise that was not tested is said aloud")]
fn not_tested(what: &str) {
    eprintln!("!! NOT TESTED: {what}");
    if let Some(list) = std::env::var_os("CAUSEWAY_NOT_TESTED") {
        use std::io::Write as _;

        let file = std::fs::OpenOptions::new().create(true).append(true).open(list);
        let said = file.and_then(|mut file| writeln!(file, "{what}"));
        said.expect("the list of what was not tested can be written");
    }
}

/// Says a figure; no test is decided by it.
#[expect(clippy::print_stderr, reason = "a figure for the person who runs this")]
fn measured(what: &str) {
    eprintln!("measured: {what}");
}

/// Whether the lab is asked for.
fn asked_for() -> bool {
    let asked = std::env::var_os("CAUSEWAY_LAB").is_some_and(|value| value == "1");
    if !asked {
        not_tested("private link in the lab: CAUSEWAY_LAB=1 asks for it, and it needs root");
    }
    asked
}

/// The lab, where it is asked for. A request for it that cannot be met fails.
fn build() -> Option<Lab> {
    asked_for().then(Lab::build)
}

#[test]
fn a_chat_is_answered_over_the_private_endpoint_and_nothing_goes_elsewhere() {
    let Some(lab) = build() else { return };
    let _gateway = lab.gateway(&Settings::default());

    let answer = lab.chat("private");

    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("answered by the private endpoint"), "{answer:?}");
    assert_eq!(lab.strayed(None), (0, 0));
}

#[test]
fn the_official_openai_client_is_answered_over_the_private_endpoint() {
    let Some(lab) = build() else { return };
    let Some(python) = std::env::var("CAUSEWAY_LAB_PYTHON").ok().filter(|python| !python.is_empty()) else {
        return not_tested("the official OpenAI client in the lab: CAUSEWAY_LAB_PYTHON names no Python that has it");
    };
    let _gateway = lab.gateway(&Settings::default());
    let program = format!(
        "import httpx, openai\n\
         client = openai.OpenAI(base_url='https://192.168.8.1:8443/v1', api_key='{}', max_retries=0,\n\
         \x20   http_client=httpx.Client(verify='{}', trust_env=False))\n\
         ask = dict(model='private', messages=[{{'role': 'user', 'content': 'hello'}}])\n\
         print(client.chat.completions.create(**ask).choices[0].message.content)\n\
         print(''.join(part.choices[0].delta.content or '' for part in client.chat.completions.create(stream=True, **ask)))\n",
        lab::KEY,
        lab.folder().join("corp-ca.pem").display(),
    );

    let said = lab.desk.must(&python, &["-c", &program], "");

    assert_eq!(said, "answered by the private endpoint\nonetwo\n");
    assert_eq!(lab.strayed(None), (0, 0));
}

#[test]
fn the_captures_see_what_goes_astray() {
    let Some(lab) = build() else { return };
    let address = format!("{}:443", lab::PUBLIC_FRONT);

    lab.premises.block_on(async move { lab::gateway::http_get(&address, "/").await });

    let (payload, packets) = lab.strayed(None);
    assert!(payload > 10 && packets > 2, "{payload} bytes in {packets} packets");
    lab.forget();
    assert_eq!(lab.strayed(None), (0, 0));
}

#[test]
fn proxy_variables_of_the_environment_are_ignored() {
    let Some(lab) = build() else { return };
    let proxy = lab.desk.block_on(async { tokio::net::TcpListener::bind("192.168.8.10:3128").await });
    let proxy = proxy.expect("the port is free");
    let all = "http://192.168.8.10:3128";
    let environment = [("HTTPS_PROXY", all), ("https_proxy", all), ("ALL_PROXY", all), ("HTTP_PROXY", all)];
    let configuration = lab.configure(&Settings::default());
    let _gateway = lab::gateway::Gateway::start(&lab.premises, configuration, &environment);

    let answer = lab.chat("private");

    assert_eq!(answer.status, 200, "{answer:?}");
    let called = lab.desk.block_on(async move {
        std::future::poll_fn(|context| std::task::Poll::Ready(proxy.poll_accept(context).is_ready())).await
    });
    assert!(!called, "the proxy was asked");
}
