//! All endpoints of a configuration, and the one door through which requests leave.

use std::collections::HashSet;
use std::sync::Arc;

use policy::{Cleared, TargetId, Warrant};
use tokio::time::Instant;

use crate::control::ControlHost;
use crate::credentials::Own;
use crate::endpoint::{Endpoint, Reply, UpstreamRequest};
use crate::error::{BuildError, BuildProblem, SendError};
use crate::identity::{self, Keeper, TokenSpec, TokenStatus};
use crate::resolve::Resolvers;
use crate::spec::{EndpointSpec, Host, Reach, ResolverSpec};
use crate::status::EndpointStatus;
use crate::tls::SystemRoots;
use crate::upkeep;

/// All endpoints of a configuration.
pub struct Fleet {
    endpoints: Vec<Arc<Endpoint>>,
    control: Vec<ControlHost>,
    resolvers: Arc<Resolvers>,
    /// Indices into `endpoints`, by the number of the target.
    by_target: Vec<Option<usize>>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Fleet {
    /// Builds the endpoints; nothing is dialled and no name is asked for yet. It must be called on a tokio runtime.
    ///
    /// An endpoint of `previous` with the same specification and the same resolvers is taken over with its connections.
    /// `targets` says which endpoint serves which target, by its index in `specs`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn build(
        specs: Vec<EndpointSpec>,
        resolvers: Vec<ResolverSpec>,
        targets: &[(TargetId, usize)],
        previous: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let same = previous.filter(|previous| previous.resolvers.specs() == resolvers);
        let roots = SystemRoots::default();
        let resolvers = match same {
            Some(previous) => Arc::clone(&previous.resolvers),
            None => Arc::new(Resolvers::build(resolvers, &roots).map_err(BuildError)?),
        };
        let mut problems = Vec::new();
        let mut names = HashSet::new();
        let mut endpoints: Vec<Arc<Endpoint>> = Vec::with_capacity(specs.len());
        let count = specs.len();
        for spec in specs {
            if spec.reach == Reach::Metadata {
                problems.push(BuildProblem::Metadata { endpoint: Arc::clone(&spec.name) });
            }
            if !names.insert(Arc::clone(&spec.name)) {
                problems.push(BuildProblem::Duplicate { name: Arc::clone(&spec.name) });
            }
            let kept = previous.and_then(|previous| previous.unchanged(&spec, same.is_some()));
            let known = endpoints.iter().chain(same.into_iter().flat_map(Self::all));
            let build = || {
                let keeper = keeper_of(&spec, known, (&resolvers, &roots))?;
                Endpoint::build(spec, keeper, (&resolvers, &roots)).map(Arc::new)
            };
            match kept.map_or_else(build, Ok) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(problem) => problems.push(problem),
            }
        }
        let by_target = index(targets, count, &mut problems);
        if problems.is_empty() {
            Ok(Self { endpoints, control: Vec::new(), resolvers, by_target })
        } else {
            Err(BuildError(problems))
        }
    }

    /// Adds hosts of control traffic. One of `previous` with the same specification and the same resolvers is taken over with
    /// its connections.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn with_control(mut self, specs: Vec<EndpointSpec>, previous: Option<&Self>) -> Result<Self, BuildError> {
        let same = previous.filter(|previous| Arc::ptr_eq(&previous.resolvers, &self.resolvers));
        let roots = SystemRoots::default();
        let mut problems = Vec::new();
        for spec in specs {
            let kept = same.and_then(|previous| previous.control.iter().find(|host| *host.spec() == spec));
            let known = self.endpoints.iter().chain(self.control.iter().map(ControlHost::endpoint));
            let known = known.chain(same.into_iter().flat_map(Self::all));
            let build = || {
                let keeper = keeper_of(&spec, known, (&self.resolvers, &roots))?;
                Endpoint::build(spec, keeper, (&self.resolvers, &roots))
                    .map(|endpoint| ControlHost::new(Arc::new(endpoint)))
            };
            match kept.cloned().map_or_else(build, Ok) {
                Ok(host) => self.control.push(host),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(self) } else { Err(BuildError(problems)) }
    }

    /// The host of control traffic with this name.
    #[must_use]
    pub fn control(&self, name: &str) -> Option<&ControlHost> {
        self.control.iter().find(|host| **host.name() == *name)
    }

    /// All hosts of control traffic.
    #[must_use]
    pub fn controls(&self) -> &[ControlHost] {
        &self.control
    }

    fn unchanged(&self, spec: &EndpointSpec, same_resolvers: bool) -> Option<Arc<Endpoint>> {
        let is_address = |host: &Host| matches!(host, Host::Address(_));
        let independent = is_address(&spec.host) && spec.via.as_ref().is_none_or(|via| is_address(&via.host));
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.spec() == spec)?;
        // The host of its token may be a name, whatever its own is.
        let independent = independent && endpoint.keeper().is_none();
        (same_resolvers || independent).then(|| Arc::clone(endpoint))
    }

    /// Sends a request to the target of its warrant and waits for the head of the reply.
    ///
    /// Dropping the future cancels the request.
    ///
    /// # Errors
    ///
    /// See [`SendError`]; [`SendError::may_have_executed`] tells whether another attempt may be a second execution.
    pub async fn send(&self, warrant: Warrant, request: Cleared<UpstreamRequest>) -> Result<Reply, SendError> {
        self.send_since(warrant, request, Instant::now()).await
    }

    /// The same for a call that arrived earlier: its `total` time runs from `arrived`, over all attempts together.
    ///
    /// # Errors
    ///
    /// As [`Fleet::send`].
    pub async fn send_since(
        &self,
        warrant: Warrant,
        request: Cleared<UpstreamRequest>,
        arrived: Instant,
    ) -> Result<Reply, SendError> {
        let target = warrant.target();
        // The warrant is spent here, whatever comes of it.
        let request = request.open(&warrant).map_err(SendError::WrongWarrant)?;
        drop(warrant);
        let endpoint = self.endpoint(target).ok_or(SendError::UnknownTarget { target })?;
        endpoint.send(request, arrived).await
    }

    pub(crate) fn resolvers(&self) -> &Resolvers {
        &self.resolvers
    }

    /// The endpoint that serves a target.
    #[must_use]
    pub fn endpoint(&self, target: TargetId) -> Option<&Arc<Endpoint>> {
        let index = (*self.by_target.get(usize::try_from(target.0).ok()?)?)?;
        self.endpoints.get(index)
    }

    /// All endpoints, in the order in which they were given.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// What the endpoints look like now, in the order in which they were given.
    #[must_use]
    pub fn status(&self) -> Vec<EndpointStatus> {
        self.endpoints.iter().map(|endpoint| endpoint.status()).collect()
    }

    /// The identity hosts, each once.
    #[must_use]
    pub fn identities(&self) -> Vec<Arc<Endpoint>> {
        let mut hosts: Vec<Arc<Endpoint>> = Vec::new();
        for keeper in self.keepers() {
            if !hosts.iter().any(|host| Arc::ptr_eq(host, keeper.host())) {
                hosts.push(Arc::clone(keeper.host()));
            }
        }
        hosts
    }

    /// The tokens by which the gateway identifies itself, each once.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenStatus> {
        self.keepers().iter().map(|keeper| keeper.status()).collect()
    }

    /// Everything that may have a token.
    fn all(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.iter().chain(self.control.iter().map(ControlHost::endpoint))
    }

    fn keepers(&self) -> Vec<&Arc<Keeper>> {
        let mut keepers: Vec<&Arc<Keeper>> = Vec::new();
        for keeper in self.all().filter_map(|endpoint| endpoint.keeper()) {
            if !keepers.iter().any(|known| Arc::ptr_eq(known, keeper)) {
                keepers.push(keeper);
            }
        }
        keepers
    }

    /// Begins the upkeep of every endpoint: closing old connections, warming up, probing, and keeping tokens fresh.
    ///
    /// It spawns one task per endpoint, on the runtime that it is called on, which ends when the endpoint is dropped.
    /// An endpoint that was taken over has its task already.
    pub fn start(&self) {
        for endpoint in &self.endpoints {
            upkeep::start(endpoint);
        }
        for keeper in self.keepers() {
            upkeep::start(keeper.host());
            identity::start(keeper);
        }
        self.control.iter().for_each(ControlHost::start);
    }

    /// Keeps no connection from now on: idle ones close now, the others when their replies end. For the end of the
    /// process; an endpoint that a later fleet took over is drained as well. Requests still go through.
    pub fn drain(&self) {
        for endpoint in &self.endpoints {
            endpoint.pool().drain();
        }
        for host in self.identities() {
            host.pool().drain();
        }
        for host in &self.control {
            host.endpoint().pool().drain();
        }
    }
}

/// The keeper of an endpoint's token: the one that another endpoint has already, or a new one, with the host that another
/// one asks where it is the same.
fn keeper_of<'a>(
    spec: &EndpointSpec,
    known: impl Iterator<Item = &'a Arc<Endpoint>>,
    (resolvers, roots): (&Resolvers, &SystemRoots),
) -> Result<Option<Arc<Keeper>>, BuildProblem> {
    let Some(token) = spec.credential.as_ref().and_then(Own::lent) else { return Ok(None) };
    let known: Vec<&Arc<Keeper>> = known.filter_map(|endpoint| endpoint.keeper()).collect();
    if let Some(same) = known.iter().find(|keeper| *keeper.spec() == *token) {
        return Ok(Some(Arc::clone(same)));
    }
    let (endpoint, host) = (Arc::clone(&spec.name), TokenSpec::clone(token).host);
    identity::check(token).map_err(|reason| BuildProblem::Identity { endpoint, reason })?;
    let host = match known.iter().find(|keeper| *keeper.host().spec() == *host) {
        Some(keeper) => Arc::clone(keeper.host()),
        None => Arc::new(Endpoint::build(EndpointSpec::clone(&host), None, (resolvers, roots))?),
    };
    Ok(Some(Arc::new(Keeper::new(Arc::clone(token), host))))
}

fn index(targets: &[(TargetId, usize)], count: usize, problems: &mut Vec<BuildProblem>) -> Vec<Option<usize>> {
    let mut by_target = Vec::new();
    for &(target, endpoint) in targets {
        let Ok(slot) = usize::try_from(target.0) else { continue };
        if by_target.len() <= slot {
            by_target.resize(slot + 1, None);
        }
        if endpoint >= count || by_target[slot].is_some() {
            problems.push(BuildProblem::Target { target });
        } else {
            by_target[slot] = Some(endpoint);
        }
    }
    by_target
}
