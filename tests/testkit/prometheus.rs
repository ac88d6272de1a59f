//! A real Prometheus as a process, which scrapes one gateway and evaluates the shipped alert rules.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::socket::free_port;
use super::{Client, Request, not_tested, repository, until};

/// A running Prometheus; it is killed when this is dropped.
pub(crate) struct Prometheus {
    _folder: TempDir,
    _child: Child,
    client: Client,
}

impl Prometheus {
    /// Starts one that scrapes the job `causeway` at `target`, five times a second; none, loudly, where the machine has none.
    ///
    /// The rules are the shipped ones, but that an alert is raised at once and not after what its `for` says.
    pub(crate) async fn scraping(what: &str, target: SocketAddr) -> Option<Self> {
        if std::process::Command::new("prometheus").arg("--version").output().is_err() {
            not_tested(&format!("{what}: there is no prometheus (Debian: prometheus)"));
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let port = free_port();
        let shipped = std::fs::read_to_string(repository().join("deploy/prometheus/alerts.yaml")).expect("it ships");
        let is_for = |line: &&str| line.trim_start().starts_with("for: ");
        let rules: Vec<&str> = shipped.lines().filter(|line| !is_for(line)).collect();
        // JSON is YAML.
        let settings = json!({
            "global": { "scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms" },
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{ "job_name": "causeway", "static_configs": [{ "targets": [target.to_string()] }] }],
        });
        for (name, text) in [("rules.yaml", rules.join("\n")), ("prometheus.yaml", settings.to_string())] {
            std::fs::write(folder.path().join(name), text).expect("the folder can be written");
        }
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        let child = Command::new("prometheus")
            .args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--log.level=error"])
            .args(["--enable-feature=exemplar-storage", &format!("--web.listen-address={address}")])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it was found a moment ago");
        let prometheus = Self { _folder: folder, _child: child, client: Client::plain(address) };
        until("Prometheus to be ready", async || {
            let ready = prometheus.client.try_send(Request::get("/-/ready").anonymous()).await;
            ready.is_ok_and(|answer| answer.status == 200).then_some(())
        })
        .await;
        Some(prometheus)
    }

    /// What it says to a question of its API, such as `rules`.
    pub(crate) async fn says(&self, question: &str) -> Value {
        let answer = self.client.send(Request::get(&format!("/api/v1/{question}")).anonymous()).await.json().await;
        assert_eq!(answer["status"], "success", "{question}: {answer}");
        answer["data"].clone()
    }

    /// The series that an expression has now: labels and value of each.
    pub(crate) async fn series(&self, expression: &str) -> Vec<Value> {
        let found = self.says(&format!("query?query={}", quoted(expression))).await;
        found["result"].as_array().cloned().unwrap_or_default()
    }

    /// The traces that the buckets of a histogram have as examples.
    pub(crate) async fn exemplars(&self, series: &str) -> Vec<Value> {
        let found = self.says(&format!("query_exemplars?query={}&start=0&end=9999999999", quoted(series))).await;
        let all = found.as_array().into_iter().flatten().filter_map(|series| series["exemplars"].as_array());
        all.flatten().cloned().collect()
    }

    /// The names of the alerts that are raised.
    pub(crate) async fn raised(&self) -> Vec<String> {
        let alerts = self.says("alerts").await;
        let raised = alerts["alerts"].as_array().into_iter().flatten().filter(|alert| alert["state"] == "firing");
        raised.filter_map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned())).collect()
    }
}

/// Text as it stands in a query of a URL.
fn quoted(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(byte).collect()
}
