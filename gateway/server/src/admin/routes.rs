//! Every path of the operators' listener, and what it takes to ask for it.

use http::Method;

use crate::configuration::Role;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Livez,
    Readyz,
    Index,
    Metrics,
    Status,
    Restrictions,
    Reload,
    Revoke,
    Quarantine,
    LocalOnlyOn,
    Reinstate,
    Release,
    LocalOnlyOff,
    BreakGlass,
    BreakGlassOpen,
    BreakGlassClose,
}

/// What it takes to ask for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing: load balancers have no credential.
    Everybody,
    /// An administrator of this role; where the configuration names none, being on this machine.
    Read(Role),
    /// An administrator of this role, always: a record says who did it.
    Act(Role),
}

/// Why there is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Path,
    Method { allow: &'static str },
}

impl Route {
    pub(super) const ALL: [Self; 16] = [
        Self::Livez,
        Self::Readyz,
        Self::Index,
        Self::Metrics,
        Self::Status,
        Self::Restrictions,
        Self::Reload,
        Self::Revoke,
        Self::Quarantine,
        Self::LocalOnlyOn,
        Self::Reinstate,
        Self::Release,
        Self::LocalOnlyOff,
        Self::BreakGlass,
        Self::BreakGlassOpen,
        Self::BreakGlassClose,
    ];

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Index => "/",
            Self::Metrics => "/metrics",
            Self::Status => "/api/status",
            Self::Restrictions => "/api/restrictions",
            Self::Reload => "/api/reload",
            Self::Revoke => "/api/revoke",
            Self::Quarantine => "/api/quarantine",
            Self::LocalOnlyOn => "/api/local-only/on",
            Self::Reinstate => "/api/reinstate",
            Self::Release => "/api/release",
            Self::LocalOnlyOff => "/api/local-only/off",
            Self::BreakGlass => "/api/break-glass",
            Self::BreakGlassOpen => "/api/break-glass/open",
            Self::BreakGlassClose => "/api/break-glass/close",
        }
    }

    /// What holds back takes an operator; what lets go again takes somebody of security. A grant takes two administrators,
    /// one of them of security, which opening it sees to.
    pub(super) const fn access(self) -> Access {
        match self {
            Self::Livez | Self::Readyz => Access::Everybody,
            Self::Index | Self::Metrics | Self::Status | Self::Restrictions | Self::BreakGlass => {
                Access::Read(Role::Viewer)
            }
            Self::Reload
            | Self::Revoke
            | Self::Quarantine
            | Self::LocalOnlyOn
            | Self::BreakGlassOpen
            | Self::BreakGlassClose => Access::Act(Role::Operator),
            Self::Reinstate | Self::Release | Self::LocalOnlyOff => Access::Act(Role::Security),
        }
    }

    /// The methods of the route, as the header `allow` has them.
    pub(super) const fn allow(self) -> &'static str {
        match self.access() {
            Access::Everybody | Access::Read(_) => "GET, HEAD",
            Access::Act(_) => "POST",
        }
    }

    fn takes(self, method: &Method) -> bool {
        match self.access() {
            Access::Everybody | Access::Read(_) => method == Method::GET || method == Method::HEAD,
            Access::Act(_) => method == Method::POST,
        }
    }

    pub(super) fn of(method: &Method, path: &str) -> Result<Self, Missing> {
        let route = Self::ALL.into_iter().find(|route| route.path() == path).ok_or(Missing::Path)?;
        if route.takes(method) { Ok(route) } else { Err(Missing::Method { allow: route.allow() }) }
    }
}

/// The page at `/`.
pub(super) fn index() -> String {
    let paths: Vec<&str> = Route::ALL.into_iter().filter(|route| *route != Route::Index).map(Route::path).collect();
    format!("causeway admin listener: {}\n", paths.join(" "))
}
