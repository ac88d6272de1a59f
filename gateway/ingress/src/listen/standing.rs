//! Whether the certificate of a connection's caller still stands.
//!
//! A handshake verifies it once, and a connection may live for days. So it is verified again before a request: at once when
//! the listener's authorities or revocation lists were replaced, and otherwise when the last look is [`AGAIN`] old, which is
//! how an end of validity is noticed. Between two looks it costs a comparison.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::time::Instant;

use super::TlsServer;
use super::tls::Material;

/// How long one look is good for while the listener's material stays the same.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// The caller's certificate does not stand any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client certificate is not good any more")]
pub(super) struct NoLonger;

/// A caller's certificate with its chain, and when it was found good.
pub(super) struct Standing {
    chain: Vec<CertificateDer<'static>>,
    found: Mutex<Found>,
}

struct Found {
    /// Held, so that its place in memory stays its own.
    by: Arc<Material>,
    until: Instant,
}

impl Standing {
    /// For a chain that the handshake of this moment has verified by `material`.
    pub(super) fn verified(chain: &[CertificateDer<'_>], material: Arc<Material>, now: Instant) -> Self {
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Self { chain, found: Mutex::new(Found { by: material, until: now + AGAIN }) }
    }

    /// Whether it stands by what the listener holds now.
    pub(super) fn check(&self, tls: &TlsServer, now: Instant) -> Result<(), NoLonger> {
        self.check_at(&tls.material(), now, UnixTime::now())
    }

    fn check_at(&self, current: &Arc<Material>, now: Instant, today: UnixTime) -> Result<(), NoLonger> {
        let mut found = self.found.lock();
        if Arc::ptr_eq(&found.by, current) && now < found.until {
            return Ok(());
        }
        let (leaf, others) = self.chain.split_first().ok_or(NoLonger)?;
        // A listener that asks nobody for a certificate any more vouches for none.
        let clients = current.clients.as_ref().ok_or(NoLonger)?;
        clients.verify_client_cert(leaf, others, today).map_err(|_| NoLonger)?;
        *found = Found { by: Arc::clone(current), until: now + AGAIN };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

    use super::*;
    use crate::listen::{ClientTrust, TlsMaterial};

    /// A server whose callers' certificates end with the year 2029, and such a certificate.
    fn world() -> (TlsServer, Vec<CertificateDer<'static>>) {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2090, 1, 1);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut own = CertificateParams::new(["app.test".to_owned()]).unwrap();
        own.not_before = date_time_ymd(2020, 1, 1);
        own.not_after = date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = own.signed_by(&key, &authority).unwrap();
        let clients =
            ClientTrust { authorities: authority.pem().into_bytes(), revocation_lists: Vec::new(), required: true };
        let material = TlsMaterial {
            certificate: leaf.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
            clients: Some(clients),
        };
        (TlsServer::new(&material).unwrap(), vec![leaf.der().clone()])
    }

    fn year(year: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952))
    }

    #[tokio::test]
    async fn a_certificate_that_ran_out_is_noticed_at_the_next_look() {
        let (server, chain) = world();
        let (material, now) = (server.material(), Instant::now());
        let standing = Standing::verified(&chain, Arc::clone(&material), now);
        let soon = now + AGAIN - Duration::from_millis(1);

        assert_eq!(standing.check_at(&material, soon, year(2031)), Ok(()), "it was looked at a moment ago");
        assert_eq!(standing.check_at(&material, now + AGAIN, year(2028)), Ok(()));
        assert_eq!(standing.check_at(&material, now + AGAIN, year(2031)), Ok(()), "that look holds as long");
        assert_eq!(standing.check_at(&material, now + 2 * AGAIN, year(2031)), Err(NoLonger));
        assert_eq!(standing.check_at(&material, now + 2 * AGAIN, year(2031)), Err(NoLonger), "a refusal is not kept");
    }

    #[tokio::test]
    async fn other_authorities_are_asked_at_once() {
        let (server, chain) = world();
        let (others, _) = world();
        let now = Instant::now();
        let standing = Standing::verified(&chain, server.material(), now);

        assert_eq!(standing.check_at(&others.material(), now, year(2028)), Err(NoLonger));
    }
}
