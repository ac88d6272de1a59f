//! `GET /v1/models` and `/v1/models/{id}`: only what this app may use.

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;
use wire::Route;

use accounting::SettledBy;
use telemetry::audit::{AuditError, End, EstimateNote, Intent, Outcome};

use super::arrive::{Admitted, Caller, Exchange};
use super::headers;
use super::refusal::{Refusal, Refused};
use super::respond::ReplyBody;

pub(super) async fn answer(admitted: Box<Admitted>) -> Result<Response<ReplyBody>, Box<Refused>> {
    let Admitted { exchange, caller, route, .. } = *admitted;
    let snapshot = &exchange.snapshot;
    let body = match route {
        Route::ModelList => {
            let data: Vec<_> = caller.key.models.iter().map(|index| model(&snapshot.model(*index).name)).collect();
            json!({ "object": "list", "data": data })
        }
        Route::Model(name) => match snapshot.model_named(&name, &caller.key.models) {
            Some(found) => model(&snapshot.model(found).name),
            None => return Err(exchange.refuse(Refusal::ModelNotFound { model: name })),
        },
        Route::Root | Route::Call { .. } => json!({ "object": "causeway" }),
    };
    if let Err(error) = record(&exchange, &caller).await {
        tracing::error!(%error, "a listing could not be recorded; it is refused");
        return Err(exchange.refuse(Refusal::AuditUnavailable));
    }
    caller.app.metrics.request("models", "ok");
    exchange.spans.answered(Some(StatusCode::OK), None);
    exchange.spans.end(&exchange, "ok");
    let mut response = Response::new(ReplyBody::whole(body.to_string().into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers::name_decision(response.headers_mut(), &exchange, None);
    Ok(response)
}

/// A listing leaves a pair of lines like any request, with nothing considered and nothing sent.
async fn record(exchange: &Exchange, caller: &Caller) -> Result<(), AuditError> {
    let intent = Intent {
        decision: exchange.decision.as_str(),
        at: exchange.at,
        waited: None,
        app: &caller.app.name,
        team: &caller.app.team,
        key: Some(&caller.key.name),
        user: None,
        model: "",
        api: "models",
        stream: false,
        peer: Some(exchange.peer.address.ip()),
        trace: exchange.spans.recorded(),
        policy: &exchange.snapshot.policy_hash,
        pack: &exchange.snapshot.grounds.pack,
        configuration: &exchange.snapshot.hash,
        candidates: &[],
        basis: &[],
        plan: &[],
        estimate: EstimateNote::default(),
        reason: "",
        money: 0,
        prices: &exchange.snapshot.prices,
        features: &[],
        data: None,
        findings: &[],
        break_glass: None,
        capture: None,
    };
    let open = exchange.gateway.audit.intent(&intent).await?;
    open.close(Outcome {
        at: exchange.at,
        status: Some(200),
        code: None,
        usage: None,
        settled_by: SettledBy::NotSent.name(),
        lost_tokens: 0,
        charged: 0,
        priced: true,
        to_first_byte: None,
        total: exchange.started.elapsed(),
        end: End::Complete,
    });
    Ok(())
}

fn model(name: &str) -> serde_json::Value {
    json!({ "id": name, "object": "model", "created": 0, "owned_by": "causeway" })
}
