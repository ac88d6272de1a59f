//! Keys of AWS that run out: asked for with a token of another issuer at the security token service (STS), or of the machine or
//! container that the gateway runs on.
//!
//! Sources: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>,
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html> (version 2 alone is spoken),
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::ask::{Issued, LONGEST_LIFE, Lent, Refused, encoded, read, seen_clock, small_file};
use super::{Grant, LentKeys, TokenSpec};
use crate::credentials::Secret;
use crate::endpoint::{Endpoint, UpstreamRequest};

/// The version of the interface of STS.
const STS: (&str, &str) = ("Version", "2011-06-15");
/// Where the metadata service of a machine tells of its role.
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
/// How long a session with the metadata service is asked for, in seconds. Each asking begins one.
const SESSION_S: &str = "60";

/// By what S3 says that it is the keys that are at fault: none of these comes with a 401, and `AccessDenied` is not among them,
/// since what new keys of the same role may do is the same.
const AT_FAULT: [&str; 4] = ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "TokenRefreshRequired"];

static TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
static SESSION: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");

/// Asks for keys; `None` where something else than keys of AWS is meant.
pub(super) async fn asked(
    spec: &TokenSpec,
    host: &Arc<Endpoint>,
    ahead_s: &mut Option<i64>,
) -> Option<Result<Issued, Refused>> {
    let mut asking = Asking { host, ahead_s };
    Some(match &spec.grant {
        Grant::AwsWebIdentity { role, session, file } => asking.by_web_identity((role, session), file).await,
        Grant::AwsMachine { role } => asking.of_the_machine(role.as_deref()).await,
        Grant::AwsContainer { path, file } => asking.of_the_container(path, file.as_deref()).await,
        Grant::ClientSecret { .. }
        | Grant::ClientCertificate { .. }
        | Grant::Federated { .. }
        | Grant::Machine { .. }
        | Grant::Arc { .. } => return None,
    })
}

struct Asking<'a> {
    host: &'a Arc<Endpoint>,
    ahead_s: &'a mut Option<i64>,
}

impl Asking<'_> {
    async fn by_web_identity(&mut self, role: (&str, &str), file: &std::path::Path) -> Result<Issued, Refused> {
        let token = small_file(file)?;
        let (role, session) = role;
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            STS,
            ("RoleArn", role),
            ("RoleSessionName", session),
            ("WebIdentityToken", token.trim()),
        ];
        let body = encoded(&fields);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, form)]);
        let body_len = body.len() as u64;
        let request = UpstreamRequest {
            method: Method::POST,
            path_and_query: "/".to_owned(),
            headers,
            body: vec![body],
            body_len,
        };
        let answer = self.answer(request).await?;
        let text = text(&answer)?;
        let keys = within(text, "Credentials").ok_or(Refused::Unusable("it holds no keys"))?;
        let part = |name| within(keys, name).ok_or(Refused::Unusable("it holds no keys"));
        self.issued((part("AccessKeyId")?, part("SecretAccessKey")?, part("SessionToken")?), part("Expiration")?)
    }

    async fn of_the_machine(&mut self, role: Option<&str>) -> Result<Issued, Refused> {
        let ttl = HeaderMap::from_iter([(TTL.clone(), HeaderValue::from_static(SESSION_S))]);
        let session = self.answer(bare(Method::PUT, "/latest/api/token".to_owned(), ttl)).await?;
        let mut session = HeaderValue::from_bytes(&session)
            .map_err(|_| Refused::Unusable("its session is none that a header can carry"))?;
        session.set_sensitive(true);
        let with_session = || HeaderMap::from_iter([(SESSION.clone(), session.clone())]);
        let named = match role {
            Some(role) => role.to_owned(),
            None => {
                let roles = self.answer(bare(Method::GET, ROLES.to_owned(), with_session())).await?;
                text(&roles)?.lines().next().unwrap_or_default().trim().to_owned()
            }
        };
        // It becomes a part of a path.
        if named.is_empty() || !named.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)) {
            return Err(Refused::Unusable("the machine has no role, or one with another name than roles have"));
        }
        let answer = self.answer(bare(Method::GET, format!("{ROLES}{named}"), with_session())).await?;
        self.told(&answer)
    }

    async fn of_the_container(&mut self, path: &str, file: Option<&std::path::Path>) -> Result<Issued, Refused> {
        let mut headers = HeaderMap::new();
        if let Some(file) = file {
            let token = small_file(file)?;
            let mut token = HeaderValue::from_str(token.trim())
                .map_err(|_| Refused::File(file.to_owned(), "it holds what no header can carry".to_owned()))?;
            token.set_sensitive(true);
            headers.insert(AUTHORIZATION, token);
        }
        let answer = self.answer(bare(Method::GET, path.to_owned(), headers)).await?;
        self.told(&answer)
    }

    /// The body of an answer that is none of a refusal. No redirection is followed.
    async fn answer(&mut self, mut request: UpstreamRequest) -> Result<Zeroizing<Vec<u8>>, Refused> {
        // What identifies the gateway here is no header of an endpoint's, so that it is put in as one.
        let own = request.headers.remove(AUTHORIZATION).map(|token| (AUTHORIZATION, token));
        let reply = self.host.send_from_root(request, own).await.map_err(Refused::Unreached)?;
        *self.ahead_s = seen_clock(&reply.headers).or(*self.ahead_s);
        let status = reply.status;
        let body = read(reply).await?;
        if status == StatusCode::OK { Ok(body) } else { Err(Refused::Answered(status, said(&body))) }
    }

    /// Keys as the metadata services of machines and containers tell them.
    fn told(&self, body: &[u8]) -> Result<Issued, Refused> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Told {
            access_key_id: String,
            secret_access_key: String,
            token: String,
            expiration: String,
        }
        let told: Told = serde_json::from_slice(body).map_err(|_| Refused::Unusable("it holds no keys"))?;
        let (secret, token) = (Zeroizing::new(told.secret_access_key), Zeroizing::new(told.token));
        self.issued((&told.access_key_id, &secret, &token), &told.expiration)
    }

    fn issued(&self, (id, secret, token): (&str, &str, &str), ends: &str) -> Result<Issued, Refused> {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !(is_id && [id, secret, token].into_iter().all(plain)) {
            return Err(Refused::Unusable("its keys are empty, or no keys"));
        }
        // By the clock of whoever issued them, so that ours may be wrong; a host that does not tell its time is believed to have ours.
        let ahead = Duration::from_secs(self.ahead_s.unwrap_or(0).unsigned_abs());
        let now = SystemTime::now();
        let there = if self.ahead_s.unwrap_or(0) > 0 { now - ahead } else { now + ahead };
        let lifetime = moment(ends).and_then(|ends| ends.duration_since(there).ok()).filter(|life| !life.is_zero());
        let lifetime = lifetime.ok_or(Refused::Unusable("its keys have run out, or do not say when they do"))?;
        let secret_of = |text: &str| Secret::new(text.to_owned());
        let keys =
            LentKeys { access_key: secret_of(id), secret_key: secret_of(secret), session_token: secret_of(token) };
        Ok(Issued { lent: Lent::Keys(keys), lifetime: lifetime.min(LONGEST_LIFE), refresh_in: None })
    }
}

fn bare(method: Method, path_and_query: String, headers: HeaderMap) -> UpstreamRequest {
    UpstreamRequest { method, path_and_query, headers, body: Vec::new(), body_len: 0 }
}

fn text(body: &[u8]) -> Result<&str, Refused> {
    std::str::from_utf8(body).map_err(|_| Refused::Unusable("it is no text"))
}

/// What stands in the only element of this name. What STS writes has no attributes there, and nothing that is escaped.
fn within<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (begins, ends) = (format!("<{name}>"), format!("</{name}>"));
    let (_, rest) = text.split_once(&begins)?;
    let (inside, after) = rest.split_once(&ends)?;
    (!after.contains(&begins) && !inside.contains(&begins)).then(|| inside.trim())
}

/// Whether this answer of a store blames the keys that it was shown, so that new ones may be taken.
pub(crate) fn blames_keys(status: StatusCode, body: &[u8]) -> bool {
    let code = || within(std::str::from_utf8(body).ok()?, "Code");
    status.is_client_error() && code().is_some_and(|code| AT_FAULT.contains(&code))
}

/// The word by which STS (`<Code>`) or a metadata service (`code`) says what is wrong; nothing that could hold more than a word.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Told {
        #[serde(alias = "Code")]
        code: String,
    }
    let told = serde_json::from_slice(body).ok().map(|told: Told| told.code);
    let code = told.or_else(|| within(std::str::from_utf8(body).ok()?, "Code").map(str::to_owned));
    let plain = |code: &String| (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    code.filter(plain).map(|code| format!(" ({code})")).unwrap_or_default()
}

/// `2026-11-27T14:05:06Z`, as RFC 3339 has it.
fn moment(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_moment_is_read_as_its_issuer_writes_it() {
        let seconds = |text| moment(text).map(|at| at.duration_since(UNIX_EPOCH).unwrap().as_secs());

        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2024-02-29T23:59:59Z"), Some(1_709_251_199));
        assert_eq!(seconds("2026-11-27T14:05:06.123Z"), Some(1_795_788_306));
        for wrong in [
            "",
            "2026-11-27",
            "2026-11-27T14:05:06",
            "2026-13-01T00:00:00Z",
            "2026-11-27T24:00:00Z",
            "2026-11-27T1:+1:0Z",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_store_blames_the_keys_by_these_words_and_by_no_others() {
        let blames = |status: u16, code: &str| {
            let body =
                format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>at length</Message></Error>");
            blames_keys(StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };

        let blamed =
            [(400, "ExpiredToken"), (400, "InvalidToken"), (400, "TokenRefreshRequired"), (403, "InvalidAccessKeyId")];
        assert!(blamed.iter().all(|(status, code)| blames(*status, code)));
        for (status, code) in [
            (403, "AccessDenied"),
            (403, "SignatureDoesNotMatch"),
            (403, "RequestTimeTooSkewed"),
            (400, ""),
            (200, "ExpiredToken"),
            (503, "ExpiredToken"),
        ] {
            assert!(!blames(status, code), "{status} {code}");
        }
        assert!(!blames_keys(StatusCode::BAD_REQUEST, b"<Code>ExpiredToken</Code><Code>AccessDenied</Code>"));
        assert!(!blames_keys(StatusCode::BAD_REQUEST, b"\xff"));
    }

    #[test]
    fn what_stands_in_an_element_is_read_where_there_is_one_of_its_name() {
        assert_eq!(within("<a><Code> Expired </Code></a>", "Code"), Some("Expired"));
        for text in ["<Code>", "<Code>x</Code><Code>y</Code>", "<Code x=\"1\">y</Code>", ""] {
            assert_eq!(within(text, "Code"), None, "{text}");
        }
        assert_eq!(said(b"<Error><Code>InvalidIdentityToken</Code></Error>"), " (InvalidIdentityToken)");
        assert_eq!(said(br#"{"code":"AccessDenied","message":"at length"}"#), " (AccessDenied)");
        assert_eq!(said(b"<Code>a secret, at length</Code>"), "");
    }
}
