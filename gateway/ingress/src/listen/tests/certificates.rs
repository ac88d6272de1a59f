//! The certificates of `certs-example`, met by a listener.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::super::{ClientTrust, TlsMaterial, TlsServer};
use super::tls::{Client, ask_who, handshake};
use super::{Door, ListenSettings, ServeError, World};

/// Runs `make-certs` with `options`; says what it made.
fn make_certs(folder: &Path, options: &[&str]) -> String {
    let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../certs-example/make-certs"].iter().collect();
    let output = Command::new(script).args(options).arg(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        make_certs(folder.path(), &[]);
        Self { folder }
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }

    fn pair(&self, name: &str) -> (String, String) {
        let text = |name: String| String::from_utf8(self.read(&name)).unwrap();
        (text(format!("{name}.pem")), text(format!("{name}-key.pem")))
    }

    fn material(&self, server: &str) -> TlsMaterial {
        let (certificate, key) = self.pair(server);
        TlsMaterial {
            certificate: certificate.into_bytes(),
            key: key.into_bytes(),
            clients: Some(ClientTrust {
                authorities: self.read("app-ca.pem"),
                revocation_lists: vec![self.read("app-ca-crl.pem")],
                required: false,
            }),
        }
    }

    fn world(&self, server: &str) -> World {
        let tls = TlsServer::new(&self.material(server)).unwrap();
        World::with(Door::new(ListenSettings::default(), Some(tls)))
    }

    fn client(&self, name: Option<&str>) -> Client {
        Client {
            roots: vec![self.read("server-ca.pem")],
            identity: name.map(|name| self.pair(name)),
            ..Client::default()
        }
    }
}

#[tokio::test]
async fn an_application_is_known_by_its_certificate_and_a_bad_one_is_refused() {
    let certificates = Certificates::new();
    let world = certificates.world("server");
    let ask = async |name| ask_who(&world, &certificates.client(name).config()).await;

    let known = ask(Some("client-claims")).await.unwrap();

    assert!(known.contains("client_certificate: Some("), "{known}");
    assert!(ask(None).await.unwrap().contains("client_certificate: None"));
    for name in ["client-expired", "client-revoked", "server"] {
        assert!(matches!(ask(Some(name)).await, Err(ServeError::Tls(_))), "{name}");
    }
}

#[tokio::test]
async fn a_client_refuses_a_server_that_is_expired_or_signed_by_another() {
    let certificates = Certificates::new();
    let client = certificates.client(None).config();
    for (server, accepted) in [("server", true), ("server-expired", false), ("server-wrong-issuer", false)] {
        let world = certificates.world(server);

        let (connected, _served) = handshake(&world, &client).await;

        assert_eq!(connected.is_ok(), accepted, "{server}");
    }
}

#[tokio::test]
async fn a_renewed_server_and_a_new_revocation_hold_after_a_reload() {
    let certificates = Certificates::new();
    let folder = certificates.folder.path();
    let world = certificates.world("server");
    let claims = certificates.client(Some("client-claims")).config();
    assert!(ask_who(&world, &claims).await.is_ok());

    let made = make_certs(folder, &["--renew", "server", "--revoke", "client-claims"]);
    world.door.tls().unwrap().reload(&certificates.material("server")).unwrap();

    let expected = "made server.pem\nrevoked client-claims.pem\nmade app-ca-crl.pem\n";
    assert_eq!(made, expected);
    assert!(matches!(ask_who(&world, &claims).await, Err(ServeError::Tls(_))));
    make_certs(folder, &["--renew", "client-claims"]);
    let renewed = certificates.client(Some("client-claims")).config();
    assert!(ask_who(&world, &renewed).await.is_ok());
}

#[test]
fn a_second_run_makes_nothing_and_keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let certificates = Certificates::new();
    let folder = certificates.folder.path();

    let made = make_certs(folder, &[]);

    assert_eq!(made, "");
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
    }
    assert_eq!(certificates.read(".gitignore"), b"*\n");
}
