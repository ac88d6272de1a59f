//! The signature by which the gateway identifies itself to services of AWS: Signature Version 4, in the header `authorization`.
//!
//! **Promises.** The signature covers the method, the path, the query, the host, the time, the body, and each header that says
//! what is to be done: those of AWS's own, type, condition and range. The secret key leaves the process nowhere: only what was
//! made with it does.
//!
//! **Does not do.** It signs no stream whose body is not at hand. Paths are signed as they are sent: whoever makes one for S3
//! escapes it as S3 does.
//!
//! Sources: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html> and, for S3,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>. The expected values of the tests are from
//! AWS's own test suite, from the second page, and from botocore 1.44.8, AWS's client for Python.

use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256, digest};
use aws_lc_rs::hmac;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use zeroize::Zeroizing;

use crate::credentials::{InvalidCredential, Secret};

/// The keys of an account of AWS, and what they are shown to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKeys {
    /// Region of the service, such as `eu-central-1`.
    pub region: String,
    /// The service, as signatures name it: `bedrock`, or `s3`, which wants the digest of the body in a header of its own and
    /// escapes no path twice.
    pub service: &'static str,
    /// Id of the access key. It is no secret, and stands in every request.
    pub access_key: Secret,
    /// The secret access key.
    pub secret_key: Secret,
    /// The token that goes with keys which run out.
    pub session_token: Option<Secret>,
}

static DATE: HeaderName = HeaderName::from_static("x-amz-date");
static TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
static CONTENT: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// How S3 is named in signatures.
const S3: &str = "s3";
/// Headers beside `host` and AWS's own that are signed where they are there: without them it would be another request.
const TELLING: [&str; 4] = ["content-type", "date", "if-none-match", "range"];

/// What of a request is signed.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) host: &'a HeaderValue,
    pub(crate) body: &'a [Bytes],
}

impl AwsKeys {
    /// Whether the keys can stand in headers at all.
    pub(crate) fn check(&self) -> Result<(), InvalidCredential> {
        let plain = |secret: &Secret| {
            let text = secret.expose();
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let scope = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        // A `/` or `,` would end its part of the header.
        let id = |secret: &Secret| secret.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let good = plain(&self.access_key)
            && id(&self.access_key)
            && plain(&self.secret_key)
            && self.session_token.as_ref().is_none_or(plain)
            && scope(&self.region);
        good.then_some(()).ok_or(InvalidCredential)
    }

    /// Puts the signature into `headers`, made at `now`.
    pub(crate) fn sign(
        &self,
        request: &Signed<'_>,
        now: SystemTime,
        headers: &mut HeaderMap,
    ) -> Result<(), InvalidCredential> {
        let (time, day) = instant(now);
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let content = body_hash(request.body);
        self.prepare((&time, &content), headers)?;
        let (lines, names) = told(request.host, headers)?;
        let path = request.uri.path();
        let canonical = Zeroizing::new(format!(
            "{}\n{}\n{}\n{}\n{names}\n{content}",
            request.method,
            if self.service == S3 { path.to_owned() } else { escaped_again(path) },
            request.uri.query().unwrap_or_default(),
            lines.as_str(),
        ));
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(digest(&SHA256, canonical.as_bytes()).as_ref()));
        let signature = hex(hmac::sign(&self.key(&day), to_sign.as_bytes()).as_ref());
        let shown = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key.expose()
        );
        let mut shown = HeaderValue::from_str(&shown).map_err(|_| InvalidCredential)?;
        shown.set_sensitive(true);
        headers.insert(AUTHORIZATION, shown);
        Ok(())
    }

    /// Puts in the headers that every signature rests on; what had their names is gone.
    fn prepare(&self, (time, content): (&str, &str), headers: &mut HeaderMap) -> Result<(), InvalidCredential> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| InvalidCredential);
        headers.insert(DATE.clone(), value(time)?);
        headers.remove(&TOKEN);
        if let Some(token) = &self.session_token {
            let mut token = value(token.expose())?;
            token.set_sensitive(true);
            headers.insert(TOKEN.clone(), token);
        }
        headers.remove(&CONTENT);
        if self.service == S3 {
            headers.insert(CONTENT.clone(), value(content)?);
        }
        Ok(())
    }

    /// The key of one day, region and service.
    fn key(&self, day: &str) -> hmac::Key {
        let first = Zeroizing::new(format!("AWS4{}", self.secret_key.expose()));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
        for part in [day, &self.region, self.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        key
    }
}

/// The signed headers, each on a line, and their names.
fn told(host: &HeaderValue, headers: &HeaderMap) -> Result<(Zeroizing<String>, String), InvalidCredential> {
    let mut signed: Vec<(&str, &HeaderValue)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .filter(|(name, _)| name.starts_with("x-amz-") || TELLING.contains(name))
        .collect();
    signed.push(("host", host));
    signed.sort_by_key(|(name, _)| *name);
    let (mut lines, mut names) = (Zeroizing::new(String::new()), Vec::new());
    for (name, value) in signed {
        // Two of a name would have to be joined, and none of ours come twice.
        if names.contains(&name) {
            return Err(InvalidCredential);
        }
        let value = value.to_str().map_err(|_| InvalidCredential)?;
        lines.extend([name, ":", value.trim(), "\n"]);
        names.push(name);
    }
    Ok((lines, names.join(";")))
}

/// `20261126T080000Z` and `20261126`.
fn instant(now: SystemTime) -> (String, String) {
    // `Thu, 26 Nov 2026 08:00:00 GMT`: the calendar is the one of the `Date` header.
    let date = httpdate::fmt_http_date(now);
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month =
        MONTHS.iter().zip(1..).find(|(name, _)| date.get(8..11) == Some(**name)).map_or(1, |(_, number)| number);
    let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or_default();
    let day = format!("{}{month:02}{}", part(12..16), part(5..7));
    let time = format!("{day}T{}{}{}Z", part(17..19), part(20..22), part(23..25));
    (time, day)
}

/// The path with everything percent-encoded once more, as all services but S3 want it: what is written `%3A` is signed as
/// `%253A`.
fn escaped_again(path: &str) -> String {
    path.replace('%', "%25")
}

fn body_hash(body: &[Bytes]) -> String {
    let mut context = Context::new(&SHA256);
    body.iter().for_each(|part| context.update(part));
    hex(context.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn keys(region: &str, service: &'static str, token: Option<&str>) -> AwsKeys {
        AwsKeys {
            region: region.to_owned(),
            service,
            access_key: Secret::new("AKIDEXAMPLE".to_owned()),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: token.map(|token| Secret::new(token.to_owned())),
        }
    }

    fn signed(keys: &AwsKeys, url: &str, at: u64) -> HeaderMap {
        let uri: Uri = url.parse().unwrap();
        let host = HeaderValue::from_str(uri.host().unwrap()).unwrap();
        let mut headers = HeaderMap::new();
        let request = Signed { method: &Method::GET, uri: &uri, host: &host, body: &[] };
        keys.sign(&request, SystemTime::UNIX_EPOCH + Duration::from_secs(at), &mut headers).unwrap();
        headers
    }

    fn signature(headers: &HeaderMap) -> &str {
        headers[AUTHORIZATION].to_str().unwrap().rsplit_once("Signature=").unwrap().1
    }

    /// 2015-08-30T12:36:00Z, and 2026-11-26T08:00:00Z.
    const TIMES: (u64, u64) = (1_440_938_160, 1_795_680_000);

    #[test]
    fn it_signs_as_the_test_suite_of_aws_says() {
        let headers = signed(&keys("us-east-1", "service", None), "https://example.amazonaws.com/", TIMES.0);

        assert_eq!(headers["x-amz-date"], "20150830T123600Z");
        assert_eq!(
            headers[AUTHORIZATION],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
    }

    #[test]
    fn it_signs_as_the_client_of_aws_does_with_paths_that_are_escaped_and_tokens_that_run_out() {
        let id = "eu.anthropic.claude-sonnet-4-20250514-v1%3A0";
        let arn = "arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Aapplication-inference-profile%2Fabc123";
        for (token, profile, expected) in [
            (None, id, "a8ce3a73222fca902bf96b98ac05cb922d6acf02fb9ec9abcc09f3298dd08547"),
            (None, arn, "be5b6c9ad8de2fc5f84a35b12441c2103edea50d4792c6949b5fdb310d5c9cc2"),
            (Some("SESSION/TOKEN+x="), id, "3e0eaee6f862966cab25c94076d699f7240189195530e83ba3e48c9a30b26d92"),
            (Some("SESSION/TOKEN+x="), arn, "9de1ed13e4e3b8bb6ee027ec9d3c313695848b627c91e89410649690149b3699"),
        ] {
            let url = format!("https://bedrock.eu-central-1.amazonaws.com/inference-profiles/{profile}");
            let headers = signed(&keys("eu-central-1", "bedrock", token), &url, TIMES.1);

            assert_eq!(signature(&headers), expected, "{profile} {token:?}");
            assert_eq!(headers.get("x-amz-security-token").map(HeaderValue::as_bytes), token.map(str::as_bytes));
        }
    }

    /// AWS's examples for S3: its key, and 2013-05-24T00:00:00Z.
    fn example_of_s3(method: &Method, url: &str, mut headers: HeaderMap, body: &'static [u8]) -> HeaderMap {
        let keys = AwsKeys {
            access_key: Secret::new("AKIAIOSFODNN7EXAMPLE".to_owned()),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
            ..keys("us-east-1", "s3", None)
        };
        let (uri, body): (Uri, _) = (url.parse().unwrap(), [Bytes::from_static(body)]);
        let host = HeaderValue::from_static("examplebucket.s3.amazonaws.com");
        let request = Signed { method, uri: &uri, host: &host, body: &body };
        keys.sign(&request, SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600), &mut headers).unwrap();
        headers
    }

    #[test]
    fn it_signs_for_s3_as_the_examples_of_aws_say() {
        let mut ranged = HeaderMap::new();
        ranged.insert("range", HeaderValue::from_static("bytes=0-9"));
        let mut put = HeaderMap::new();
        put.insert("date", HeaderValue::from_static("Fri, 24 May 2013 00:00:00 GMT"));
        put.insert("x-amz-storage-class", HeaderValue::from_static("REDUCED_REDUNDANCY"));

        for (method, path, headers, body, expected) in [
            (Method::GET, "/test.txt", ranged, "", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            (
                Method::PUT,
                "/test%24file.text",
                put,
                "Welcome to Amazon S3.",
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            (
                Method::GET,
                "/?lifecycle=",
                HeaderMap::new(),
                "",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                Method::GET,
                "/?max-keys=2&prefix=J",
                HeaderMap::new(),
                "",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let signed = example_of_s3(&method, path, headers, body.as_bytes());
            assert_eq!(signature(&signed), expected, "{path}");
        }
    }

    #[test]
    fn what_is_put_only_where_nothing_is_is_signed_with_its_condition_as_the_client_of_aws_does() {
        let body = [Bytes::from_static(b"gw-1/0000000001\n22\nroot\n")];
        let path = "/causeway/gw-1.0000000001.00000000000000000022.checkpoint";
        let (uri, host): (Uri, _) = (path.parse().unwrap(), "auditors.s3.eu-central-1.amazonaws.com");
        let host = HeaderValue::from_static(host);
        for (token, expected) in [
            (None, "534b420d3d10de851be7e7b7202c18c5e7e42a93b7063c7b9dc8f8b1a9199b9c"),
            (Some("SESSION/TOKEN+x="), "25e7d73b1be35808e515dfc1d03b9144584b4a4ceba89dd82a88dc3593c2d909"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("text/plain; charset=utf-8"));
            headers.insert("if-none-match", HeaderValue::from_static("*"));
            let checksum = HeaderValue::from_static("pRf6JAYb0yPyUn0xIXHp0DLV/7UygmHXbh1X9OQhVl4=");
            headers.insert("x-amz-checksum-sha256", checksum);
            headers.insert("x-amz-sdk-checksum-algorithm", HeaderValue::from_static("SHA256"));
            let request = Signed { method: &Method::PUT, uri: &uri, host: &host, body: &body };
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(TIMES.1);
            keys("eu-central-1", "s3", token).sign(&request, at, &mut headers).unwrap();

            assert_eq!(signature(&headers), expected, "{token:?}");
            assert_eq!(
                headers["x-amz-content-sha256"],
                "a517fa24061bd323f2527d312171e9d032d5ffb5328261d76e1d57f4e421565e"
            );
        }
    }

    #[test]
    fn another_path_time_or_body_has_another_signature_and_no_key_shows() {
        let keys = keys("eu-central-1", "bedrock", Some("TOKEN"));
        let one = signed(&keys, "https://bedrock.eu-central-1.amazonaws.com/a", TIMES.1);
        let path = signed(&keys, "https://bedrock.eu-central-1.amazonaws.com/b", TIMES.1);
        let time = signed(&keys, "https://bedrock.eu-central-1.amazonaws.com/a", TIMES.1 + 1);

        assert!(signature(&one) != signature(&path) && signature(&one) != signature(&time));
        assert_ne!(body_hash(&[]), body_hash(&[Bytes::from_static(b"x")]));
        assert_eq!(
            body_hash(&[Bytes::from_static(b"a"), Bytes::from_static(b"b")]),
            body_hash(&[Bytes::from_static(b"ab")])
        );
        let shown = format!("{keys:?} {one:?}");
        assert!(!shown.contains("wJalr") && !shown.contains("TOKEN\""), "{shown}");
    }

    #[test]
    fn keys_that_would_break_out_of_the_header_are_refused() {
        let good = keys("eu-central-1", "bedrock", None);
        assert_eq!(good.check(), Ok(()));
        for bad in [
            AwsKeys { region: "eu central".to_owned(), ..good.clone() },
            AwsKeys { region: String::new(), ..good.clone() },
            AwsKeys { access_key: Secret::new("AK/20261126".to_owned()), ..good.clone() },
            AwsKeys { secret_key: Secret::new(String::new()), ..good.clone() },
            AwsKeys { session_token: Some(Secret::new("a\r\nb".to_owned())), ..good.clone() },
        ] {
            assert_eq!(bad.check(), Err(InvalidCredential), "{bad:?}");
        }
    }
}
