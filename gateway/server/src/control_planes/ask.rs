//! What a control plane is asked about one target, and what it tells.
//!
//! Azure Resource Manager has the deployment type and the region of the account (`Deployments - Get` and `Accounts - Get` of
//! `Microsoft.CognitiveServices`, version 2024-10-01), and for a deployment that sends on what it cannot take
//! (`spilloverDeploymentName`) the type of the other one; Amazon Bedrock has the models of an inference profile, whose ARNs name
//! their regions (`GetInferenceProfile`). Both are single documents, each asked for by its name: nothing is listed, so no pages are
//! followed. One that says that it goes on elsewhere is not taken for the whole.

use std::time::Duration;

use egress::{ControlError, ControlHost};
use http::StatusCode;
use http::header::{ACCEPT, HeaderMap, HeaderValue, RETRY_AFTER};
use policy::{Adjustments, Drift, Echo, Facts};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::timeout;

use crate::configuration::{Compiled, DataPack, EndpointControlConfig};

/// The version of Azure's documents.
const VERSION: &str = "2024-10-01";
/// Longest document that is read: 256 KiB. They have two to four.
const LONGEST: usize = 256 * 1024;
/// Longest word that is taken from one, in bytes.
const WORD: usize = 64;
/// Time for the deployment that another one spills over to: less than a question has, so that what was asked about is told.
const OVERFLOW: Duration = Duration::from_secs(10);
/// Most models of a profile. AWS names five; a bound is a bound.
const MODELS: usize = 256;

/// What a control plane is asked about one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The type of a deployment, and the region of its account.
    Deployment {
        /// Path of the account.
        account: String,
        /// Name of the deployment.
        name: String,
    },
    /// The regions of an inference profile, by its id or ARN.
    Profile(String),
}

/// What it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Of a deployment.
    Deployment {
        /// Its type.
        sku: String,
        /// The region of its account.
        location: String,
        /// The deployment of the same account to which it sends what it cannot take.
        overflow: Option<Overflow>,
    },
    /// Of a profile: the regions of its models, sorted, each once; empty for a model that stands in none.
    Regions(Vec<String>),
}

/// What came of a question.
#[derive(Debug)]
pub struct Answer {
    /// What is told of what was asked about.
    pub told: Told,
    /// Why it is not known to which deployment it sends what it cannot take, or of which type that is. What is told counts all
    /// the same where it contradicts; it confirms nothing.
    pub gap: Option<AskError>,
}

impl Answer {
    /// What is told, where nothing is missing.
    ///
    /// # Errors
    ///
    /// Why something is missing.
    pub fn whole(self) -> Result<Told, AskError> {
        match self.gap {
            None => Ok(self.told),
            Some(error) => Err(error),
        }
    }
}

impl From<Told> for Answer {
    fn from(told: Told) -> Self {
        Self { told, gap: None }
    }
}

/// A deployment that takes what another cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// Its name.
    name: String,
    /// Its type.
    sku: String,
}

/// Why it tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It was not reached, or said nothing that is HTTP.
    #[error(transparent)]
    Unreached(#[from] ControlError),
    /// It refuses.
    #[error("it answers {}{code}: {meaning}", status.as_u16())]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its own word for the reason, where it is a plain one.
        code: String,
        /// What that means.
        meaning: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// It says something that cannot be used.
    #[error("its answer cannot be used: {0}")]
    Unusable(&'static str),
}

impl AskError {
    /// Whether the next question would meet the same: it is not about what was asked.
    pub(super) fn is_of_the_host(&self) -> bool {
        match self {
            Self::Unreached(_) => true,
            Self::Refused { status, .. } => {
                let of_host =
                    [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
                of_host.contains(status)
            }
            Self::Unusable(_) => false,
        }
    }
}

impl Question {
    /// What is asked about the target with this index, and the index of the control plane; none where nobody is asked.
    #[must_use]
    pub fn about(compiled: &Compiled, target: usize) -> Option<(usize, Self)> {
        let target = &compiled.targets[target];
        let control = compiled.endpoints[target.endpoint].control.as_ref()?;
        let model = &target.upstream_model;
        let question = match control {
            EndpointControlConfig::Azure { account, .. } => {
                Self::Deployment { account: account.clone(), name: model.clone() }
            }
            EndpointControlConfig::Bedrock { profile: Some(profile), .. } => Self::Profile(profile.clone()),
            EndpointControlConfig::Bedrock { profile: None, .. } => {
                // There is no document that would tell where a model is served that is called in its region.
                compiled.policy.pack.is_inference_profile(model).then(|| Self::Profile(model.clone()))?
            }
        };
        Some((control.host(), question))
    }

    /// Asks.
    ///
    /// # Errors
    ///
    /// [`AskError`]: then nothing is known, which contradicts nothing.
    pub async fn ask(&self, host: &ControlHost) -> Result<Answer, AskError> {
        match self {
            Self::Deployment { account, name } => {
                let deployment = self.deployment(host, (account, name)).await?;
                let found: Account = self.read(host, &format!("{account}?api-version={VERSION}")).await?;
                deployment.check(name, &found)?;
                // What is wrong with the other deployment hides nothing of this one, nor does it keep this one waiting.
                let late = AskError::Unusable("the deployment that it spills over to was not told in time");
                let other = timeout(OVERFLOW, self.overflow(host, account, &deployment)).await.unwrap_or(Err(late));
                Ok(deployment.told(found, other))
            }
            Self::Profile(id) => {
                let profile: Profile = self.read(host, &format!("/inference-profiles/{}", escaped(id))).await?;
                profile.told(id).map(Answer::from)
            }
        }
    }

    async fn deployment(&self, host: &ControlHost, (account, name): (&str, &str)) -> Result<Deployment, AskError> {
        self.read(host, &format!("{account}/deployments/{}?api-version={VERSION}", escaped(name))).await
    }

    /// The deployment that takes what `deployment` cannot.
    async fn overflow(
        &self,
        host: &ControlHost,
        account: &str,
        deployment: &Deployment,
    ) -> Result<Option<Overflow>, AskError> {
        let Some(name) = deployment.overflow()? else { return Ok(None) };
        // A refusal is to name the deployment that it is about.
        let about = Self::Deployment { account: account.to_owned(), name: name.to_owned() };
        match about.deployment(host, (account, name)).await {
            Ok(found) => found.into_overflow(name).map(Some),
            // Nothing goes to a deployment that is not there.
            Err(AskError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read<T: DeserializeOwned>(&self, host: &ControlHost, path: &str) -> Result<T, AskError> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        let fetched = host.get(path, headers, LONGEST).await?;
        if fetched.status == StatusCode::OK {
            return document(&fetched.body);
        }
        Err(AskError::Refused {
            status: fetched.status,
            code: code(&fetched.headers, &fetched.body),
            meaning: self.meaning(fetched.status),
            after: retry_after(&fetched.headers),
        })
    }

    fn meaning(&self, status: StatusCode) -> String {
        let (what, right) = match self {
            Self::Deployment { name, .. } => {
                let right = "Microsoft.CognitiveServices/accounts/deployments/read` and `…/accounts/read";
                (format!("deployment `{name}`"), right)
            }
            Self::Profile(id) => (format!("inference profile `{id}`"), "bedrock:GetInferenceProfile"),
        };
        match status.as_u16() {
            401 => "the credential of `control` is not accepted".to_owned(),
            403 => {
                format!("the identity of `control` may not read {what}; it needs `{right}`, and its keys must be good")
            }
            404 => format!("there is no {what}, or its account is another"),
            429 | 503 => "it is asked too often, and will be asked again later".to_owned(),
            _ => format!("nothing is known of {what}"),
        }
    }
}

impl Told {
    /// Who says it.
    #[must_use]
    pub fn by(&self) -> &'static str {
        match self {
            Self::Deployment { .. } => "sku.name",
            Self::Regions(_) => "GetInferenceProfile",
        }
    }

    /// As a person reads it.
    #[must_use]
    pub fn word(&self) -> String {
        let word = self.echo("", &Adjustments::new()).word();
        match self {
            Self::Deployment { overflow: Some(Overflow { name, sku }), .. } => {
                format!("{word}, and sends what it cannot take to {name}, {sku}")
            }
            _ => word,
        }
    }

    /// Holds it against what is declared of the target with this upstream model.
    ///
    /// # Errors
    ///
    /// [`Drift`] when it contradicts.
    pub fn compare(
        &self,
        declared: &Facts,
        model: &str,
        (pack, adjustments): (&DataPack, &Adjustments),
    ) -> Result<(), Drift> {
        pack.compare(declared, self.echo(model, adjustments))?;
        match self {
            Self::Deployment { location, overflow: Some(Overflow { name, sku }), .. } => {
                let other = Echo::AzureDeployment { sku, location, model: name, adjustments };
                pack.compare(declared, other)
            }
            _ => Ok(()),
        }
    }

    fn echo<'a>(&'a self, model: &'a str, adjustments: &'a Adjustments) -> Echo<'a> {
        match self {
            Self::Deployment { sku, location, .. } => Echo::AzureDeployment { sku, location, model, adjustments },
            Self::Regions(regions) => Echo::BedrockRegions(regions),
        }
    }
}

/// The one document that was asked for.
fn document<T: DeserializeOwned>(body: &[u8]) -> Result<T, AskError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Pages {
        next_link: Option<IgnoredAny>,
        next_token: Option<IgnoredAny>,
    }
    let other = |_| AskError::Unusable("it is no document of the kind that was asked for");
    let pages: Pages = serde_json::from_slice(body).map_err(other)?;
    if pages.next_link.is_some() || pages.next_token.is_some() {
        return Err(AskError::Unusable("it is one page of several, and a single document was asked for"));
    }
    serde_json::from_slice(body).map_err(other)
}

#[derive(Deserialize)]
struct Deployment {
    name: String,
    sku: Sku,
    properties: Option<Properties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    spillover_deployment_name: Option<String>,
}

#[derive(Deserialize)]
struct Sku {
    name: String,
}

#[derive(Deserialize)]
struct Account {
    location: String,
}

impl Deployment {
    /// The deployment to which it sends what it cannot take, by name.
    fn overflow(&self) -> Result<Option<&str>, AskError> {
        let name = self.properties.as_ref().and_then(|properties| properties.spillover_deployment_name.as_deref());
        match name.filter(|name| !name.is_empty()) {
            Some(name) if name.len() > WORD || !name.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(AskError::Unusable("the name of the deployment that it spills over to is none"))
            }
            name => Ok(name),
        }
    }

    /// It and its account are what was asked for.
    fn check(&self, asked: &str, account: &Account) -> Result<(), AskError> {
        if !self.name.eq_ignore_ascii_case(asked) {
            return Err(AskError::Unusable("it is that of another deployment"));
        }
        if !is_word(&self.sku.name) || !is_word(&account.location) {
            return Err(AskError::Unusable("its deployment type or region is no plain word"));
        }
        Ok(())
    }

    /// As what another one spills over to, by this name.
    fn into_overflow(self, name: &str) -> Result<Overflow, AskError> {
        if !self.name.eq_ignore_ascii_case(name) || !is_word(&self.sku.name) {
            return Err(AskError::Unusable("the deployment that it spills over to is another, or of no known type"));
        }
        Ok(Overflow { name: self.name, sku: self.sku.name })
    }

    fn told(self, account: Account, overflow: Result<Option<Overflow>, AskError>) -> Answer {
        let (overflow, gap) = match overflow {
            Ok(overflow) => (overflow, None),
            Err(error) => (None, Some(error)),
        };
        Answer { told: Told::Deployment { sku: self.sku.name, location: account.location, overflow }, gap }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    inference_profile_arn: String,
    inference_profile_id: String,
    models: Vec<ProfileModel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileModel {
    model_arn: String,
}

impl Profile {
    fn told(self, asked: &str) -> Result<Told, AskError> {
        if asked != self.inference_profile_id && asked != self.inference_profile_arn {
            return Err(AskError::Unusable("it is that of another inference profile"));
        }
        if self.models.is_empty() || self.models.len() > MODELS {
            return Err(AskError::Unusable("it names no model, or far too many"));
        }
        let region = |model: &ProfileModel| region_of(&model.model_arn).map(str::to_owned);
        let regions: Option<std::collections::BTreeSet<String>> = self.models.iter().map(region).collect();
        let regions = regions.ok_or(AskError::Unusable("the ARN of a model is none"))?;
        Ok(Told::Regions(regions.into_iter().collect()))
    }
}

/// The region of `arn:aws:bedrock:eu-central-1::foundation-model/…`; global profiles have models of none.
fn region_of(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let (first, partition, service, region) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    parts.next()?;
    let resource = parts.next()?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = first == "arn"
        && partition.starts_with("aws")
        && service == "bedrock"
        && !resource.is_empty()
        && region.len() <= WORD
        && region.bytes().all(plain);
    good.then_some(region)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= WORD && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ')
}

/// Percent-encodes everything that is not unreserved (RFC 3986, section 2.3), so that a name stays one segment of a path.
fn escaped(text: &str) -> String {
    let mut into = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
    into
}

/// What it calls the reason: `error.code` at Azure, a header at AWS. Only a plain word is shown.
fn code(headers: &HeaderMap, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        code: String,
    }
    let header = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    // What stands behind the colon is a URL of the kind of error.
    let header = header.and_then(|word| word.split(':').next()).map(str::to_owned);
    let word = header.or_else(|| serde_json::from_slice::<Body>(body).ok().map(|body| body.error.code));
    let plain =
        |word: &String| !word.is_empty() && word.len() <= WORD && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    word.filter(plain).map(|word| format!(" {word}")).unwrap_or_default()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(models: &[&str]) -> Result<Told, AskError> {
        let models: Vec<_> = models.iter().map(|arn| serde_json::json!({ "modelArn": arn })).collect();
        let value = serde_json::json!({
            "inferenceProfileArn": "arn:aws:bedrock:eu-central-1:1:inference-profile/eu.m",
            "inferenceProfileId": "eu.m",
            "models": models,
        });
        serde_json::from_value::<Profile>(value).unwrap().told("eu.m")
    }

    #[test]
    fn the_regions_of_a_profile_are_those_of_its_models_and_a_model_of_none_counts() {
        let told = profile(&[
            "arn:aws:bedrock:eu-west-3::foundation-model/m",
            "arn:aws:bedrock:eu-central-1::foundation-model/m",
            "arn:aws:bedrock:eu-west-3::foundation-model/n:0",
        ]);
        assert_eq!(told.unwrap(), Told::Regions(vec!["eu-central-1".into(), "eu-west-3".into()]));
        assert_eq!(profile(&["arn:aws:bedrock:::foundation-model/m"]).unwrap(), Told::Regions(vec![String::new()]));
    }

    #[test]
    fn a_profile_without_models_or_with_an_arn_that_is_none_says_nothing() {
        for models in [
            &[][..],
            &["arn:aws:s3:eu-west-3::bucket"],
            &["arn:aws:bedrock:eu-west-3"],
            &["eu-west-3"],
            &["arn:aws:bedrock:EU WEST::foundation-model/m"],
            &["arn:aws:bedrock:eu-central-1::foundation-model/m", "x"],
        ] {
            assert!(matches!(profile(models), Err(AskError::Unusable(_))), "{models:?}");
        }
    }

    #[test]
    fn an_overflow_is_told_only_where_it_is_the_one_that_was_named() {
        let deployment = |name: &str, sku: &str, other: Option<&str>| {
            let properties = serde_json::json!({ "spilloverDeploymentName": other });
            let value = serde_json::json!({ "name": name, "sku": { "name": sku }, "properties": properties });
            serde_json::from_value::<Deployment>(value).unwrap()
        };

        let overflow = Overflow { name: "more".to_owned(), sku: "Standard".to_owned() };
        assert_eq!(deployment("more", "Standard", None).into_overflow("More").unwrap(), overflow);
        assert_eq!(deployment("ptu", "Standard", Some("More")).overflow().unwrap(), Some("More"));
        for none in [None, Some("")] {
            assert_eq!(deployment("ptu", "Standard", none).overflow().unwrap(), None);
        }
        for other in [deployment("other", "Standard", None), deployment("more", "a/b", None)] {
            assert!(matches!(other.into_overflow("more"), Err(AskError::Unusable(_))));
        }
        for name in ["a b", "\u{7f}", &"x".repeat(65)] {
            assert!(deployment("ptu", "Standard", Some(name)).overflow().is_err(), "{name}");
        }
    }

    #[test]
    fn one_page_of_several_is_not_taken_for_the_whole() {
        let of = |more: &str| {
            document::<Account>(format!("{{\"location\":\"swedencentral\",\"models\":[]{more}}}").as_bytes())
        };

        assert!(of("").is_ok() && of(",\"nextLink\":null,\"nextToken\":null").is_ok());
        for more in [",\"nextLink\":\"https://evil.example/2\"", ",\"nextToken\":\"abc\"", ",\"nextToken\":1"] {
            assert!(of(more).is_err_and(|error| error.to_string().contains("one page of several")), "{more}");
        }
    }

    #[test]
    fn a_name_stays_one_segment_of_the_path() {
        assert_eq!(escaped("../x?y=1#z%"), "..%2Fx%3Fy%3D1%23z%25");
        assert_eq!(escaped("gpt-4o_2~a.b"), "gpt-4o_2~a.b");
    }

    #[test]
    fn only_a_plain_word_of_a_refusal_is_shown() {
        let none = HeaderMap::new();
        assert_eq!(code(&none, br#"{"error":{"code":"AuthorizationFailed","message":"x"}}"#), " AuthorizationFailed");
        assert_eq!(code(&none, br#"{"error":{"code":"a b\n"}}"#), "");
        assert_eq!(code(&none, b"<html>"), "");
        let aws = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-amzn-errortype"),
            HeaderValue::from_static("AccessDeniedException:http://internal.amazon.com/coral/"),
        )]);
        assert_eq!(code(&aws, b""), " AccessDeniedException");
    }
}
