//! `GET /v1/models` and `/v1/models/{id}`: only what this app may use.

use http::{HeaderValue, Response, header};
use serde_json::json;
use wire::Route;

use super::arrive::Admitted;
use super::headers;
use super::refusal::{Refusal, Refused};
use super::respond::ReplyBody;

pub(super) fn answer(admitted: Admitted) -> Result<Response<ReplyBody>, Box<Refused>> {
    let Admitted { exchange, caller, route, .. } = admitted;
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
    let mut response = Response::new(ReplyBody::whole(body.to_string().into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers::name_decision(response.headers_mut(), &exchange, None);
    Ok(response)
}

fn model(name: &str) -> serde_json::Value {
    json!({ "id": name, "object": "model", "created": 0, "owned_by": "causeway" })
}
