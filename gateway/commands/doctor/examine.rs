//! One endpoint under examination: the look itself, and what its failure asks for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use egress::{
    BuildError, Code, Endpoint, EndpointSpec, Fleet, Inspect, Inspection, ResolverSpec, Scheme, StepKind, Verdict,
};

use super::idle::{self, Try};
use super::servers::{self, View};
use super::siblings::{self, Sibling};

/// Segments that pass where a tunnel loses larger ones: within IPv6's smallest MTU, and within IPv4's.
const SEGMENTS: [u32; 2] = [1200, 536];
/// Clocks may differ by this much without a word. Tokens and signatures fail from five minutes on.
const SKEW: Duration = Duration::from_secs(60);
/// A router looks for an address on its network for about three seconds.
const LOOKED_FOR: Duration = Duration::from_secs(1);
/// A record that lives longer outlives the move of its endpoint by as much.
const LONG: u32 = 3600;

/// How to look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether the endpoint's key goes along.
    pub(super) with_key: bool,
    /// Whether to trace the way.
    pub(super) trace: bool,
    /// The longest silence to try, where it is to be tried.
    pub(super) idle: Option<Duration>,
    /// Time for each step.
    pub(super) step: Duration,
}

/// Something that is wrong, or might be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) code: Code,
    pub(super) seen: String,
}

/// What was found at one endpoint.
#[derive(Debug)]
pub(super) struct Examination {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) reach: &'static str,
    pub(super) inspection: Inspection,
    /// Why it cannot be used, after everything that could be tried out was.
    pub(super) verdict: Option<Finding>,
    /// What does not stop requests.
    pub(super) warnings: Vec<Finding>,
    /// What each server of its resolver says; empty where there is only one.
    pub(super) servers: Vec<View>,
    /// The other names of the same resource.
    pub(super) siblings: Vec<Sibling>,
    /// Where packets for its address pass; empty unless asked for.
    pub(super) trace: Vec<egress::TraceHop>,
    /// What became of silent connections; empty unless asked for, and where the endpoint cannot be used at all.
    pub(super) idle: Vec<Try>,
}

impl Examination {
    /// Whether requests may be sent to it.
    pub(super) fn is_well(&self) -> bool {
        self.verdict.is_none()
    }
}

/// Looks at one endpoint.
pub(super) async fn examine(
    spec: &EndpointSpec,
    resolvers: &[ResolverSpec],
    manner: Manner,
) -> Result<Examination, BuildError> {
    let endpoint = only(spec.clone(), resolvers)?;
    let inspect = Inspect { path: Some(spec.harmless_path()), with_credential: manner.with_key, limit: manner.step };
    let (inspection, (views, mut warnings), siblings) = tokio::join!(
        endpoint.inspect(&inspect),
        servers::compare(&endpoint),
        siblings::look(spec, resolvers, manner.step),
    );
    let verdict = match inspection.verdict.clone() {
        Some(verdict) if verdict.code == Code::Net04 => Some(tried_out(spec, resolvers, manner, verdict).await?),
        Some(verdict) if verdict.code == Code::Dns06 && refused_at_once(&inspection) => {
            let seen = format!("{}; the answer came at once, so from a device on the way", verdict.seen);
            Some(Finding { code: Code::Net02, seen })
        }
        verdict => verdict.map(|Verdict { code, seen, .. }| Finding { code, seen }),
    };
    warnings.extend(clock(&inspection));
    warnings.extend(lifetimes(&inspection));
    let trace = if manner.trace { endpoint.trace(manner.step).await } else { Vec::new() };
    let idle = match manner.idle.filter(|_| verdict.is_none()) {
        Some(longest) => idle::look(spec, resolvers, (longest, manner.step)).await?,
        None => Vec::new(),
    };
    warnings.extend(idle::found(&idle, spec.transport.keepalive_idle));
    Ok(Examination {
        name: spec.name.to_string(),
        url: format!("{}://{}{}", spec.scheme.as_str(), spec.authority, spec.base_path),
        reach: spec.reach.as_str(),
        inspection,
        verdict,
        warnings,
        servers: views,
        siblings,
        trace,
        idle,
    })
}

/// One endpoint as the gateway would build it.
pub(in crate::commands) fn only(spec: EndpointSpec, resolvers: &[ResolverSpec]) -> Result<Arc<Endpoint>, BuildError> {
    let fleet = Fleet::build(vec![spec], resolvers.to_vec(), &[], None)?;
    Ok(fleet.endpoints().first().map(Arc::clone).expect("it was built of one endpoint"))
}

/// "Host unreachable" is what a firewall says that refuses, at once, and what a router says that finds nobody at the
/// address, after the seconds in which it looked.
fn refused_at_once(inspection: &Inspection) -> bool {
    inspection.steps.last().is_some_and(|step| step.kind == StepKind::Connect && step.took < LOOKED_FOR)
}

/// The handshake hangs. Is it the size of packets, or the size of the first one?
async fn tried_out(
    spec: &EndpointSpec,
    resolvers: &[ResolverSpec],
    manner: Manner,
    verdict: Verdict,
) -> Result<Finding, BuildError> {
    for mss in SEGMENTS {
        let mut smaller = spec.clone();
        smaller.transport.mss = Some(mss);
        if passes_tls(smaller, resolvers, manner).await? {
            let seen = format!("{}; with segments of {mss} bytes it passes", verdict.seen);
            return Ok(Finding { code: Code::Net04, seen });
        }
    }
    let mut classic = spec.clone();
    classic.tls.post_quantum = false;
    if spec.tls.post_quantum && passes_tls(classic, resolvers, manner).await? {
        let seen = format!("{}; without the post-quantum key exchange it passes", verdict.seen);
        return Ok(Finding { code: Code::Net05, seen });
    }
    let seen = format!("{}; neither smaller segments nor a smaller first message help", verdict.seen);
    Ok(Finding { code: Code::Net04, seen })
}

async fn passes_tls(spec: EndpointSpec, resolvers: &[ResolverSpec], manner: Manner) -> Result<bool, BuildError> {
    if spec.scheme == Scheme::Http {
        return Ok(false);
    }
    let inspect = Inspect { path: None, with_credential: false, limit: manner.step.min(Duration::from_secs(3)) };
    Ok(only(spec, resolvers)?.inspect(&inspect).await.verdict.is_none())
}

/// What the endpoint's clock says of ours.
fn clock(inspection: &Inspection) -> Option<Finding> {
    let theirs = inspection.answer.as_ref()?.date?;
    let now = SystemTime::now();
    let (apart, word) = match now.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    (apart > SKEW).then(|| {
        let seen = format!("this machine's clock is about {} s {word} the endpoint's", apart.as_secs());
        Finding { code: Code::Id01, seen }
    })
}

/// Records that live for no time, or for very long.
fn lifetimes(inspection: &Inspection) -> Option<Finding> {
    let resolution = inspection.resolution.as_ref()?;
    let odd = resolution.hops.iter().find(|hop| hop.ttl == 0 || hop.ttl > LONG)?;
    let seen = format!("the {} record of `{}` lives for {} s, says {}", odd.kind, odd.owner, odd.ttl, odd.server);
    Some(Finding { code: Code::Dns13, seen })
}
