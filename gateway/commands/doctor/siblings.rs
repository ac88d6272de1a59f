//! The other names of a resource. One private endpoint of a Foundry resource stands behind three names, in three zones;
//! teams set up two and forget the third, and the application that needs it leaves over the internet.

use std::time::Duration;

use egress::{EndpointSpec, Host, Inspect, Reach, ResolverSpec};

use super::examine::{Finding, only};

/// The services whose names one resource has, with the ends of those names.
const FOUNDRY: [(&str, &str); 3] = [
    ("azure-openai", ".openai.azure.com"),
    ("azure-ai-services", ".cognitiveservices.azure.com"),
    ("azure-foundry", ".services.ai.azure.com"),
];

/// Another name of the same resource.
#[derive(Clone, Debug)]
pub(super) struct Sibling {
    pub(super) host: String,
    /// What is wrong with it; `None` where it is as private as the endpoint's own.
    pub(super) wrong: Option<Finding>,
    /// Why it was not looked at.
    pub(super) not_asked: Option<&'static str>,
}

/// Looks at the other names of an endpoint's resource, where its service has some.
pub(super) async fn look(spec: &EndpointSpec, resolvers: &[ResolverSpec], step: Duration) -> Vec<Sibling> {
    let mut siblings = Vec::new();
    for twin in twins(spec) {
        siblings.push(look_at(twin, resolvers, step).await);
    }
    siblings
}

async fn look_at(spec: EndpointSpec, resolvers: &[ResolverSpec], step: Duration) -> Sibling {
    let host = spec.host.to_string();
    // Names in no zone are asked of no one.
    let Ok(endpoint) = only(spec, resolvers) else {
        let not_asked = Some("no resolver of the configuration has a zone that holds it");
        return Sibling { host, wrong: None, not_asked };
    };
    let inspect = Inspect { path: None, with_credential: false, limit: step };
    let verdict = endpoint.inspect(&inspect).await.verdict;
    let wrong = verdict.map(|verdict| Finding { code: verdict.code, seen: verdict.seen });
    Sibling { host, wrong, not_asked: None }
}

/// The endpoint under each of its resource's other names.
fn twins(spec: &EndpointSpec) -> Vec<EndpointSpec> {
    let (Reach::PrivateLink { service, within, expect, .. }, Host::Name(host)) = (&spec.reach, &spec.host) else {
        return Vec::new();
    };
    let own = FOUNDRY.iter().find(|(name, _)| *name == service.name);
    let Some(resource) = own.and_then(|(_, end)| host.strip_suffix(end)).filter(|_| expect.is_empty()) else {
        return Vec::new();
    };
    let others = FOUNDRY.iter().filter(|(name, _)| *name != service.name);
    let twin = |(name, end): &(&str, &str)| {
        let service = egress::service(name)?;
        let mut twin = spec.clone();
        twin.host = Host::Name(format!("{resource}{end}"));
        twin.authority = format!("{resource}{end}");
        // The endpoint's own resolver may have no zone for it, and another one may.
        twin.reach =
            Reach::PrivateLink { service: service.clone(), within: within.clone(), resolver: None, expect: Vec::new() };
        Some(twin)
    };
    others.filter_map(twin).collect()
}
