//! The canary: whether the public front of a private endpoint's name turns away who asks it.
//!
//! That an endpoint is reached privately says nothing of its other door. Where the configuration asks for it, the same name is
//! resolved as the internet does, at a resolver of its own, and the front is asked once an interval for something that
//! needs no credential and carries none. A refusal in the front's own words shows that public access is closed, and lifts
//! the evidence of the endpoint's connections to [`Level::Cloud`] for two intervals. Any other answer is the alarm
//! CANARY-01. A front that is not reached shows nothing, either way.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use hickory_resolver::proto::rr::Name;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::connect::{Connector, Level, Vouched};
use crate::dns::{Asker, Freshness, Route};
use crate::endpoint::Endpoint;
use crate::error::{BuildProblem, SendError};
use crate::fault::{Code, Verdict};
use crate::front::front_of;
use crate::judge;
use crate::resolve::{self, Resolvers};
use crate::spec::{EndpointSpec, Host, Reach, TransportSpec};

/// Time for one look.
const LIMIT: Duration = Duration::from_secs(20);

/// A look at the public front of an endpoint's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanarySpec {
    /// The resolver that answers as the internet does.
    pub resolver: Arc<str>,
    /// Networks in which every address of the front must lie; any public address where empty.
    pub within: Vec<IpNet>,
    /// What is asked for, from the root of the host.
    pub path: String,
    /// Time between two looks.
    pub interval: Duration,
}

/// What one look showed.
#[derive(Clone, Debug)]
pub struct CanaryReport {
    /// When.
    pub at: SystemTime,
    /// What it was.
    pub seen: CanarySeen,
}

/// What a look at a public front shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanarySeen {
    /// The front turned us away, in the words of this code.
    Closed(Code),
    /// It did not: public access is still enabled.
    Open(Verdict),
    /// It was not reached, or said something that shows neither.
    Unknown(String),
}

/// Looks at one front.
pub(crate) struct Canary {
    spec: CanarySpec,
    name: Name,
    asker: Arc<Asker>,
    /// Without the transport of the private path, and with the same demands on the certificate.
    connector: Connector,
    last: Mutex<Option<CanaryReport>>,
    /// Until when the last refusal counts.
    closed_until: Mutex<Option<Instant>>,
}

/// Every name of the chain is asked of the one resolver.
struct Everything<'a>(&'a Arc<Asker>);

impl Route for Everything<'_> {
    fn to(&self, _: &Name, _: Option<&Arc<Asker>>) -> Option<Arc<Asker>> {
        Some(Arc::clone(self.0))
    }
}

impl Canary {
    /// The canary of a specification that has one. Its `tls` is that of the endpoint.
    pub(crate) fn build(
        spec: &EndpointSpec,
        resolvers: &Resolvers,
        tls: Option<crate::connect::Tls>,
    ) -> Result<Option<Self>, BuildProblem> {
        let Some(own) = &spec.canary else { return Ok(None) };
        let wrong = |reason: String| BuildProblem::Canary { endpoint: Arc::clone(&spec.name), reason };
        let Host::Name(host) = &spec.host else {
            return Err(wrong("an address has no public front; give the endpoint its name".to_owned()));
        };
        let name = resolve::absolute(host).map_err(wrong)?;
        let asker = resolvers.named(&own.resolver);
        let asker = asker.ok_or_else(|| wrong(format!("resolver `{}` is not defined", own.resolver)))?;
        let transport = TransportSpec { ipv6: false, ..TransportSpec::default() };
        let connector = Connector::new(&EndpointSpec { transport, ..spec.clone() }, tls, None);
        let (last, closed_until) = Default::default();
        Ok(Some(Self { spec: own.clone(), name, asker, connector, last, closed_until }))
    }

    pub(crate) fn report(&self) -> Option<CanaryReport> {
        self.last.lock().clone()
    }

    /// Whether the front was closed when it was looked at last, not long ago.
    pub(crate) fn shows_closed(&self, now: Instant) -> bool {
        self.closed_until.lock().is_some_and(|until| now < until)
    }

    async fn look(&self, endpoint: &Arc<Endpoint>) -> CanarySeen {
        let deadline = Instant::now() + LIMIT;
        let vouched = match timeout_at(deadline, self.vouch(endpoint)).await {
            Ok(Ok(vouched)) => vouched,
            Ok(Err(why)) => return CanarySeen::Unknown(why),
            Err(_) => return CanarySeen::Unknown("nobody answered for its name".to_owned()),
        };
        let answer = match self.connector.connect(&vouched, deadline).await {
            Ok((stream, proof)) => endpoint.ask(stream, proof, (&self.spec.path, false), deadline).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => match front_of(answer.status, &answer.body) {
                Some(code @ (Code::Http01 | Code::Http02)) => CanarySeen::Closed(code),
                _ if !answer.whole => CanarySeen::Unknown("its answer broke off".to_owned()),
                _ => {
                    let seen = format!(
                        "the public front at {} answers {} to a request without a credential",
                        addresses(&vouched),
                        answer.status.as_u16()
                    );
                    let verdict = Verdict { endpoint: Arc::clone(endpoint.name()), code: Code::Canary01, seen };
                    CanarySeen::Open(verdict)
                }
            },
            Err(error) => CanarySeen::Unknown(told(&error)),
        }
    }

    /// The front's addresses, none of which may be one of the private endpoint's.
    async fn vouch(&self, endpoint: &Endpoint) -> Result<Vouched, String> {
        let resolution =
            Arc::new(resolve::both(&Everything(&self.asker), &self.name, &self.asker, Freshness::Asked).await);
        let reach = match self.spec.within.as_slice() {
            [] => Reach::Public,
            within => Reach::Local { within: within.to_vec() },
        };
        let addresses = judge::judge(&reach, &resolution, endpoint.spec().port).map_err(|refused| refused.seen)?;
        let private = |ip: IpAddr| endpoint.spec().reach.within().iter().any(|net| net.contains(&ip));
        if let Some(own) = addresses.iter().map(|address| address.socket().ip()).find(|ip| private(*ip)) {
            return Err(format!("resolver `{}` gives the private address {own}", self.spec.resolver));
        }
        let addresses = addresses.into_iter().filter(|address| address.socket().is_ipv4()).collect::<Vec<_>>();
        if addresses.is_empty() {
            return Err("the name has no IPv4 address on the internet".to_owned());
        }
        Ok(Vouched { addresses, resolution, stale: false })
    }

    fn note(&self, seen: &CanarySeen, endpoint: &Endpoint) {
        let before = self.last.lock().replace(CanaryReport { at: SystemTime::now(), seen: seen.clone() });
        let changed = before.is_none_or(|before| std::mem::discriminant(&before.seen) != std::mem::discriminant(seen));
        match seen {
            CanarySeen::Closed(code) => {
                *self.closed_until.lock() = Some(Instant::now() + self.spec.interval * 2);
                if changed {
                    tracing::info!(endpoint = %endpoint.name(), code = code.as_str(), "the public front is closed");
                }
            }
            CanarySeen::Open(verdict) => {
                *self.closed_until.lock() = None;
                let who = verdict.entry().who.as_str();
                tracing::error!(code = verdict.code.as_str(), who, "public access is still enabled: {verdict}");
            }
            CanarySeen::Unknown(why) => {
                if changed {
                    tracing::warn!(endpoint = %endpoint.name(), %why, "the public front could not be looked at");
                }
            }
        }
    }
}

fn addresses(vouched: &Vouched) -> String {
    let texts: Vec<String> = vouched.addresses.iter().map(|address| address.socket().to_string()).collect();
    texts.join(", ")
}

fn told(error: &SendError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl Endpoint {
    /// How much is shown about a connection now: what it showed when it was opened, and what the canary shows since.
    pub(crate) fn level_of(&self, opened: Level) -> Level {
        // What a proxy hides, a closed front does not show.
        let closed =
            opened >= Level::Address && self.canary().is_some_and(|canary| canary.shows_closed(Instant::now()));
        if closed { Level::Cloud } else { opened }
    }
}

/// Looks once an interval, for as long as somebody holds the endpoint.
pub(crate) async fn watch(endpoint: Weak<Endpoint>) {
    loop {
        let Some(endpoint) = endpoint.upgrade() else { return };
        let Some(canary) = endpoint.canary() else { return };
        let seen = canary.look(&endpoint).await;
        canary.note(&seen, &endpoint);
        let next = Instant::now() + canary.spec.interval;
        drop(endpoint);
        sleep_until(next).await;
    }
}
