//! What administrators do: hold back, let go again, reload. Each is a record with the name of who did it.
//!
//! Holding back is kept first, then in force, then recorded. A disk that refuses and a failing audit log do not delay it, and
//! one that hangs does for a second; the answer says what did not succeed, and does not wait for that disk. Letting go again
//! is recorded first, then kept, then in force. What was begun is ended, also where whoever asked for it is gone.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use ingress::body::BodyLimits;
use ingress::listen::RequestBody;
use serde::Deserialize;
use serde_json::json;
use telemetry::audit::{AdminEvent, AuditError};

use super::gate::Authorized;
use super::record::{record, record_or_late};
use super::routes::Route;
use super::{answer, emergency, error};
use crate::gateway::Gateway;
use crate::restrictions::{Changed, Held, Restraint, RestrictionsError};
use crate::run::Reloader;
use crate::snapshot::{Administrator, Snapshot};

/// Longest body of an action, in bytes.
pub(super) const LONGEST: usize = 4 << 10;

/// How long the body of an action may take.
pub(super) const WITHIN: Duration = Duration::from_secs(5);

/// Longest reason, in bytes.
const LONGEST_REASON: usize = 500;

/// What is said of something that is in force and waits for the disk.
const NO_ANSWER: &str = "the disk of the state folder does not answer; it is kept as soon as that takes it";

/// What an action is about.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    key: Option<String>,
    app: Option<String>,
    endpoint: Option<String>,
    model: Option<String>,
    grant: Option<String>,
    because: Option<String>,
}

/// Why an action is not carried out.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("send a JSON object with `content-type: application/json`")]
    Form,
    #[error("name one of {0}, and nothing else")]
    Subject(&'static str),
    #[error("`because` must say why, in 3 to {LONGEST_REASON} bytes without control and format characters")]
    Reason,
    #[error("there is no {0} here; GET /api/status lists what there is")]
    Unknown(Restraint),
    #[error("{0}")]
    Impossible(String),
    #[error("the decision could not be recorded, so nothing was changed")]
    Unrecorded,
}

impl Fault {
    fn respond(&self) -> Response<Full<Bytes>> {
        let (status, code) = match self {
            Self::Form | Self::Subject(_) | Self::Reason => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::Impossible(_) => (StatusCode::CONFLICT, "not_done"),
            Self::Unrecorded => (StatusCode::SERVICE_UNAVAILABLE, "audit_unavailable"),
        };
        error(status, code, &self.to_string())
    }
}

/// An action with its subject, its reason and who asked for it.
struct Action<'a> {
    gateway: &'a Arc<Gateway>,
    who: &'a Administrator,
    name: &'static str,
    because: String,
    now: SystemTime,
}

pub(super) async fn carry_out(
    (gateway, reloader): (&Arc<Gateway>, Option<&Arc<Reloader>>),
    authorized: Authorized,
    head: &http::request::Parts,
    body: RequestBody,
) -> Response<Full<Bytes>> {
    let asked = match read(gateway, head, body).await {
        Ok(asked) => asked,
        Err(fault) => return fault.respond(),
    };
    let (gateway, reloader) = (Arc::clone(gateway), reloader.cloned());
    // INVARIANT: what was asked for whole is done and recorded, also where whoever asked does not wait for the answer: a caller
    // that is gone takes the future of its request along, and with it what a disk that hangs is to be waited for.
    let doing = tokio::spawn(async move {
        // The gate lets nobody without a name act; should that ever change, nothing is done here.
        let Some(who) = authorized.who() else { return Fault::Form.respond() };
        let done = match authorized.route() {
            Route::Reload => return reload(&gateway, reloader.as_ref(), who).await,
            route => act(&gateway, who, route, asked).await,
        };
        done.unwrap_or_else(|fault| fault.respond())
    });
    doing.await.unwrap_or_else(|_| of_the_gateway().respond())
}

fn of_the_gateway() -> Fault {
    Fault::Impossible("a fault of the gateway".to_owned())
}

/// A form of a page elsewhere cannot send this content type, so a browser that is led here does nothing.
async fn read(gateway: &Gateway, head: &http::request::Parts, body: RequestBody) -> Result<Asked, Fault> {
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Fault::Form);
    }
    let limits = BodyLimits { bytes: LONGEST, idle: WITHIN, ..BodyLimits::default() };
    let read = ingress::body::read(body, &head.headers, &limits, &gateway.admin_budget);
    let body = tokio::time::timeout(WITHIN, read).await.map_err(|_| Fault::Form)?.map_err(|_| Fault::Form)?;
    serde_json::from_slice(body.bytes()).map_err(|_| Fault::Form)
}

async fn act(
    gateway: &Arc<Gateway>,
    who: &Administrator,
    route: Route,
    asked: Asked,
) -> Result<Response<Full<Bytes>>, Fault> {
    let snapshot = gateway.snapshot();
    let because = asked.because.clone().unwrap_or_default().trim().to_owned();
    if !(3..=LONGEST_REASON).contains(&because.len()) || !is_plain(&because) {
        return Err(Fault::Reason);
    }
    let action = |name| Action { gateway, who, name, because: because.clone(), now: SystemTime::now() };
    match route {
        Route::Revoke => action("revoke").tighten(credential(&snapshot, asked)?, &snapshot).await,
        Route::Reinstate => action("reinstate").lift(credential(&snapshot, asked)?).await,
        Route::Quarantine => action("quarantine").tighten(place(asked)?, &snapshot).await,
        Route::Release => action("release").lift(place(asked)?).await,
        Route::LocalOnlyOn => {
            nothing(&asked)?;
            action("local_only_on").tighten(Restraint::LocalOnly, &snapshot).await
        }
        Route::LocalOnlyOff => {
            nothing(&asked)?;
            action("local_only_off").lift(Restraint::LocalOnly).await
        }
        Route::BreakGlassOpen | Route::BreakGlassClose => {
            let Asked { grant: Some(name), key: None, app: None, endpoint: None, model: None, .. } = &asked else {
                return Err(Fault::Subject("`grant`"));
            };
            let done = match route {
                Route::BreakGlassOpen => emergency::open(gateway, who, (name, &because)).await,
                _ => emergency::close(gateway, who, (name, &because)).await,
            };
            Ok(done.unwrap_or_else(|fault| fault.respond()))
        }
        Route::Livez
        | Route::Readyz
        | Route::BreakGlass
        | Route::Index
        | Route::Metrics
        | Route::Status
        | Route::Restrictions
        | Route::Reload => Err(Fault::Form),
    }
}

/// Whether no character of it moves a reader's cursor, turns round what stands beside it or stands for nothing that is seen.
pub(super) fn is_plain(text: &str) -> bool {
    // Behind another letter only what cannot be printed is escaped; alone, a mark that is put onto a letter would be as well.
    text.chars().all(|letter| matches!(letter, '\'' | '"' | '\\') || format!("a{letter}").escape_debug().count() == 2)
}

/// A key by its name in the configuration or its digest, or an app.
fn credential(snapshot: &Snapshot, asked: Asked) -> Result<Restraint, Fault> {
    match asked {
        Asked { key: Some(name), app: None, endpoint: None, model: None, grant: None, .. } => {
            let named = snapshot.keys().find(|key| *key.name == *name);
            // One that the configuration does not know yet can be revoked by its digest, before it does.
            Ok(Restraint::Key(named.map_or(name, |key| key.id.to_string())))
        }
        Asked { key: None, app: Some(name), endpoint: None, model: None, grant: None, .. } => Ok(Restraint::App(name)),
        _ => Err(Fault::Subject("`key` and `app`")),
    }
}

fn place(asked: Asked) -> Result<Restraint, Fault> {
    match asked {
        Asked { endpoint: Some(name), key: None, app: None, model: None, grant: None, .. } => {
            Ok(Restraint::Endpoint(name))
        }
        Asked { model: Some(name), key: None, app: None, endpoint: None, grant: None, .. } => {
            Ok(Restraint::Model(name))
        }
        _ => Err(Fault::Subject("`endpoint` and `model`")),
    }
}

fn nothing(asked: &Asked) -> Result<(), Fault> {
    let is_bare = matches!(asked, Asked { key: None, app: None, endpoint: None, model: None, grant: None, .. });
    if is_bare { Ok(()) } else { Err(Fault::Subject("`because`")) }
}

/// A restriction on what is not there would look like help and be none.
fn is_there(snapshot: &Snapshot, what: &Restraint) -> bool {
    match what {
        Restraint::Key(id) => is_digest(id) || snapshot.keys().any(|key| *key.id == **id),
        Restraint::App(name) => snapshot.apps().any(|app| *app.name == **name),
        Restraint::Endpoint(name) => snapshot.fleet.endpoints().iter().any(|endpoint| *endpoint.spec().name == **name),
        Restraint::Model(name) => snapshot.has_model(name),
        Restraint::LocalOnly => true,
    }
}

fn is_digest(id: &str) -> bool {
    let hex = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    id.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

impl Action<'_> {
    async fn tighten(self, what: Restraint, snapshot: &Snapshot) -> Result<Response<Full<Bytes>>, Fault> {
        if !is_there(snapshot, &what) {
            return Err(Fault::Unknown(what));
        }
        let named = match &what {
            Restraint::Key(id) => snapshot.keys().find(|key| *key.id == **id).map(|key| key.name.to_string()),
            _ => None,
        };
        let at = self.gateway.restrictions.said_at(self.seconds());
        let held = Held { at, by: self.who.actor().into_owned(), because: self.because.clone(), named };
        let changed = self.hold(&what, held).await?;
        tracing::warn!(actor = &*self.who.actor(), %what, because = self.because, "held back by an administrator");
        // It is in force by now; where it waits for the log it is not recorded yet.
        let recorded = self.record_or_late(&what, true).await;
        Ok(self.report(&what, &changed, recorded))
    }

    async fn lift(self, what: Restraint) -> Result<Response<Full<Bytes>>, Fault> {
        if self.gateway.restrictions.current().held(&what).is_none() {
            return Ok(self.report(&what, &Changed::Already, false));
        }
        self.record(&what, true).await.map_err(|_| Fault::Unrecorded)?;
        let changed = match self.tell_the_fleet(&what).await {
            Ok(()) => self.let_go(what.clone()).await,
            Err(fault) => Err(fault),
        };
        if changed.is_err() {
            // The record said that it would be done.
            self.record_or_late(&what, false).await;
        }
        let changed = changed?;
        tracing::warn!(actor = &*self.who.actor(), %what, because = self.because, "let go again by an administrator");
        Ok(self.report(&what, &changed, true))
    }

    /// Where several gateways share a store, all of them let go, or none.
    async fn tell_the_fleet(&self, what: &Restraint) -> Result<(), Fault> {
        let snapshot = self.gateway.snapshot();
        let Some(sharing) = &snapshot.sharing else { return Ok(()) };
        let held = self.gateway.restrictions.current().held(what).map_or(0, |held| held.at);
        let at = self.seconds().max(held);
        // Who holds it back from here on says so later than this, also before the board is looked at again.
        self.gateway.restrictions.latest_let_go(at);
        let notice = what.let_go(at);
        let told = sharing.counters.board().put_up(&[notice]).await;
        told.map_err(|error| Fault::Impossible(format!("the other gateways cannot be told: {error}")))
    }

    /// Holds something back on a thread that may wait: in force after a second whatever the disk does, which then goes on.
    async fn hold(&self, what: &Restraint, held: Held) -> Result<Changed, Fault> {
        let gateway = Arc::clone(self.gateway);
        let news = [(what.clone(), held)];
        let [(subject, held)] = news.clone();
        let holding = tokio::task::spawn_blocking(move || gateway.restrictions.tighten(&subject, &held));
        let changed = match self.gateway.restrictions.in_time(&news, holding).await {
            Some(changed) => changed.map_err(|_| of_the_gateway())?,
            None if self.gateway.restrictions.current().held(what).is_none() => Err(RestrictionsError::TooMany),
            None => Ok(Changed::NotYetKept),
        };
        changed.map_err(|error| Fault::Impossible(error.to_string()))
    }

    /// Lets something go on a thread that may wait: a disk that hangs must not hold up the listener.
    async fn let_go(&self, what: Restraint) -> Result<Changed, Fault> {
        let gateway = Arc::clone(self.gateway);
        let changed = tokio::task::spawn_blocking(move || gateway.restrictions.lift(&what)).await;
        changed.map_err(|_| of_the_gateway())?.map_err(|error| Fault::Impossible(error.to_string()))
    }

    async fn record(&self, what: &Restraint, done: bool) -> Result<(), AuditError> {
        let (snapshot, detail, actor) = (self.gateway.snapshot(), self.detail(what), self.who.actor());
        record(self.gateway, &self.event(&actor, done, (&snapshot.hash, &detail))).await
    }

    async fn record_or_late(&self, what: &Restraint, done: bool) -> bool {
        let (snapshot, detail, actor) = (self.gateway.snapshot(), self.detail(what), self.who.actor());
        record_or_late(self.gateway, &self.event(&actor, done, (&snapshot.hash, &detail))).await
    }

    fn detail(&self, what: &Restraint) -> String {
        format!("{what}, by role {}: {}", self.who.role.name(), self.because)
    }

    fn event<'a>(&self, actor: &'a str, done: bool, (configuration, detail): (&'a str, &'a str)) -> AdminEvent<'a> {
        AdminEvent { at: self.now, action: self.name, actor, done, configuration: Some(configuration), detail }
    }

    fn report(&self, what: &Restraint, changed: &Changed, recorded: bool) -> Response<Full<Bytes>> {
        let (already, kept, problem) = match changed {
            Changed::Kept => (false, true, None),
            Changed::Already => (true, true, None),
            Changed::NotKept(error) => (false, false, Some(error.to_string())),
            Changed::NotYetKept => (false, false, Some(NO_ANSWER.to_owned())),
        };
        let body = json!({
            "action": self.name,
            "subject": what.to_string(),
            "in_force": true,
            "already": already,
            "kept": kept,
            "recorded": recorded,
            "problem": problem,
        });
        answer(StatusCode::OK, "application/json", body.to_string())
    }

    fn seconds(&self) -> u64 {
        self.now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

/// The record of a reload is written by the reload itself.
async fn reload(
    gateway: &Arc<Gateway>,
    reloader: Option<&Arc<Reloader>>,
    who: &Administrator,
) -> Response<Full<Bytes>> {
    let Some(reloader) = reloader else {
        return Fault::Impossible("this gateway was started without a configuration file".to_owned()).respond();
    };
    match reloader.reload(gateway, &who.actor()).await {
        Ok(()) => {
            let body = json!({ "action": "reload", "in_force": true, "configuration": gateway.snapshot().hash });
            answer(StatusCode::OK, "application/json", body.to_string())
        }
        Err(refused) => Fault::Impossible(refused.to_string()).respond(),
    }
}
