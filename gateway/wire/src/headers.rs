//! Header hygiene: what of a caller's headers reaches an upstream, and what of an upstream's reaches a caller.

use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap};

/// Headers that concern one connection only (RFC 9110 section 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// The caller's credentials. The upstream gets the endpoint's own.
const CREDENTIALS: [&str; 12] = [
    "authorization",
    // These two choose whose account the endpoint's own key works for.
    "openai-organization",
    "openai-project",
    "api-key",
    "x-api-key",
    "cookie",
    "cookie2",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
    "x-amz-security-token",
    "x-ms-authorization-auxiliary",
    "x-functions-key",
];

/// Where the request came from and went to before. A caller's word about that is worth nothing upstream, and inner
/// addresses are nobody's business; the last five make some servers answer another path or method than was judged.
/// `x-ms-region` is Azure's word of where an answer was made: a server that sends headers back would say it for the caller.
///
/// Of Azure's front door these are the addresses and the mark by which a server believes that a request came through it;
/// `x-azure-ref`, by which a call is found again, passes, as `x-ms-client-request-id` of Azure's clients does.
const FORWARDING: [&str; 23] = [
    "forwarded",
    "via",
    "client-ip",
    "clientip",
    "x-real-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-originating-ip",
    "x-original-forwarded-for",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "x-azure-socketip",
    "x-azure-requestchain",
    "x-azure-fdid",
    "x-ms-region",
    "x-original-host",
    "x-host",
    "referer",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "x-method-override",
    "x-http-method",
];

/// By which a caller would choose the deployment that answers, and with it where: Azure sends a request on to the one that is
/// named as soon as the one that was asked is full or turns it away, and Azure Machine Learning's endpoints go by the second name. The
/// third is Azure's word of who answered, as `x-ms-region` is of where.
const DEPLOYMENTS: [&str; 3] = ["x-ms-spillover-deployment", "azureml-model-deployment", "x-ms-deployment-name"];

/// Prefixes of what other gateways and proxies take orders by (`x-envoy-original-path`, `x-portkey-custom-host`,
/// `helicone-target-url`): before an upstream that is one, the caller would choose where the request goes.
const PROXIES: [&str; 6] = ["x-forwarded", "x-envoy-", "x-portkey-", "x-litellm-", "helicone-", "cf-aig-"];

/// How the names end under which proxies write down whom they serve: `true-client-ip`, `fastly-client-ip`,
/// `x-azure-clientip`.
const CLIENT_ADDRESS: [&str; 2] = ["-client-ip", "-clientip"];

/// What the gateway sets itself, or must not promise: it reads replies, so it takes them uncompressed.
const FRAMING: [&str; 5] = ["host", "content-length", "content-encoding", "accept-encoding", "expect"];

/// What an upstream says to browsers about its own host, or to send the caller elsewhere.
const UPSTREAM_ONLY: [&str; 12] = [
    "content-length",
    "set-cookie",
    "set-cookie2",
    "alt-svc",
    "strict-transport-security",
    "public-key-pins",
    "nel",
    "report-to",
    "reporting-endpoints",
    "clear-site-data",
    "location",
    "refresh",
];

/// What an upstream says of its engine, its load and the proxies before it: which server answers where is the operator's
/// affair, and a caller could learn from it when others ask. The gateway reads the load before (`said_by`).
const INNER: [&str; 8] = [
    "server",
    "via",
    "x-powered-by",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-envoy-upstream-service-time",
    "endpoint-load-metrics",
    "azure-openai-deployment-utilization",
];

/// Prefix of the gateway's own headers; nobody else may set them.
const OURS: &str = "x-causeway-";

/// The caller's headers that go upstream: all but credentials, connection matters, traces of the way here, and ours.
///
/// `anthropic-*`, `openai-*`, `x-stainless-*`, `user-agent` and `content-type` pass.
#[must_use]
pub fn forward_request_headers(downstream: &HeaderMap) -> HeaderMap {
    static DROPPED: Names<53> = Names::new(&[&HOP_BY_HOP, &CREDENTIALS, &FORWARDING, &DEPLOYMENTS, &FRAMING]);
    kept(downstream, 0, |name| DROPPED.contains(name) || is_for_proxies(name) || is_client_address(name))
}

/// The upstream's headers that go to the caller: all but connection matters, what is meant for browsers, what tells of the
/// engine behind it, and ours; `content-length` is for the sender of the body to set.
#[must_use]
pub fn forward_response_headers(upstream: &HeaderMap) -> HeaderMap {
    static DROPPED: Names<30> = Names::new(&[&HOP_BY_HOP, &UPSTREAM_ONLY, &INNER]);
    kept(upstream, ADDED, |name| DROPPED.contains(name))
}

fn is_for_proxies(name: &str) -> bool {
    matches!(name.as_bytes(), [b'x', b'-', ..] | [b'h', b'e', ..] | [b'c', b'f', ..])
        && PROXIES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_client_address(name: &str) -> bool {
    name.ends_with('p') && CLIENT_ADDRESS.iter().any(|end| name.ends_with(end))
}

/// How many headers the gateway adds to an answer: a map that has room for them from the start is not made three times.
const ADDED: usize = 10;

fn kept(headers: &HeaderMap, added: usize, dropped: impl Fn(&str) -> bool) -> HeaderMap {
    let nominated = nominated(headers);
    let mut out = HeaderMap::with_capacity(headers.len() + added);
    for (name, value) in headers {
        let text = name.as_str();
        let is_nominated = || nominated.iter().any(|nominated| nominated.eq_ignore_ascii_case(text));
        if !dropped(text) && !text.starts_with(OURS) && !is_nominated() {
            out.append(name, value.clone());
        }
    }
    out
}

/// The names that `Connection` declares to concern this connection only, but for `keep-alive`, which never passes.
fn nominated(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.eq_ignore_ascii_case("keep-alive"))
        .collect()
}

/// Header names as one table with open addresses, made when the gateway is compiled: a name in it, or not, costs one look.
struct Names<const COUNT: usize> {
    names: [&'static str; COUNT],
    /// For each place the index of a name, counted from one; zero where none is.
    places: [u8; PLACES],
}

/// Four times as many places as the longest of the tables has names, so that most looks for another name end at once.
const PLACES: usize = 256;

impl<const COUNT: usize> Names<COUNT> {
    const fn new(lists: &[&[&'static str]]) -> Self {
        let (mut names, mut places) = ([""; COUNT], [0; PLACES]);
        let (mut count, mut list) = (0, 0);
        while list < lists.len() {
            let mut at = 0;
            while at < lists[list].len() {
                names[count] = lists[list][at];
                count += 1;
                let mut place = Self::place(names[count - 1].as_bytes());
                while places[place] != 0 {
                    place = (place + 1) % PLACES;
                }
                places[place] = count as u8;
                at += 1;
            }
            list += 1;
        }
        assert!(count == COUNT && count <= u8::MAX as usize, "the lists have as many names as the table");
        Self { names, places }
    }

    fn contains(&self, name: &str) -> bool {
        let mut place = Self::place(name.as_bytes());
        while let Some(index) = usize::from(self.places[place]).checked_sub(1) {
            if self.names[index] == name {
                return true;
            }
            place = (place + 1) % PLACES;
        }
        false
    }

    /// The first place for a name, by its length and its outermost letters; the factors were tried out, and few of these
    /// names, or of those that clients send, meet another there.
    const fn place(name: &[u8]) -> usize {
        match name {
            [first, .., last] => (name.len() * 8 + *first as usize * 18 + *last as usize * 25) % PLACES,
            _ => name.len() % PLACES,
        }
    }
}

/// How long an upstream asks to be left alone: `retry-after-ms`, else `retry-after` as seconds or as a date.
///
/// A date that has passed is zero. What cannot be read, or is negative, is `None`.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok();
    if let Some(milliseconds) = text("retry-after-ms").and_then(number) {
        return Duration::try_from_secs_f64(milliseconds / 1000.0).ok();
    }
    let value = text("retry-after")?;
    if let Some(seconds) = number(value) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, value.parse().expect("the test's value is a header value"));
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn credentials_ways_and_connection_matters_stay_here() {
        // Written out, and not taken from the lists above: a name that is deleted there must be missed here.
        let dropped = "connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer \
            transfer-encoding upgrade http2-settings \
            authorization openai-organization openai-project api-key x-api-key cookie cookie2 x-goog-api-key \
            ocp-apim-subscription-key x-amz-security-token x-ms-authorization-auxiliary x-functions-key \
            forwarded via client-ip clientip x-real-ip x-remote-ip x-remote-addr x-originating-ip \
            x-original-forwarded-for cf-connecting-ip cf-connecting-ipv6 x-client-ip x-cluster-client-ip \
            true-client-ip fastly-client-ip x-azure-clientip x-azure-socketip x-azure-requestchain x-azure-fdid \
            x-ms-region x-ms-spillover-deployment azureml-model-deployment x-ms-deployment-name \
            x-forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-client-cert \
            x-original-host x-host referer x-original-url x-rewrite-url x-http-method-override x-method-override \
            x-http-method x-envoy-original-path x-portkey-custom-host x-litellm-tags helicone-target-url \
            cf-aig-authorization host content-length content-encoding accept-encoding expect x-causeway-labels";
        for name in dropped.split_whitespace() {
            assert!(forward_request_headers(&headers(&[(name, "x")])).is_empty(), "{name}");
        }
        let more = headers(&[
            ("x-forwarded-for", "1"),
            ("x-forwarded-proto", "https"),
            ("x-causeway-labels", "health"),
            ("x-causeway-class", "secret"),
            ("connection", "close, X-Secret"),
            ("connection", "other"),
            ("x-secret", "1"),
            ("other", "1"),
        ]);
        assert_eq!(names(&forward_request_headers(&more)), Vec::<&str>::new());
    }

    #[test]
    fn what_clients_tell_the_model_server_passes() {
        let sent = headers(&[
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "a"),
            ("anthropic-beta", "b"),
            ("x-stainless-lang", "python"),
            ("openai-beta", "x"),
            ("user-agent", "OpenAI/Python"),
            ("content-type", "application/json"),
            ("originator", "codex"),
            ("session-id", "s"),
            ("x-ms-client-request-id", "r"),
            ("x-azure-ref", "0a"),
            ("x-membership", "1"),
            ("x-codex-turn", "1"),
        ]);

        let forwarded = forward_request_headers(&sent);

        assert_eq!(forwarded, sent);
        assert_eq!(forwarded.get_all("anthropic-beta").iter().count(), 2);
    }

    #[test]
    fn an_upstream_sets_no_cookie_tells_nothing_of_its_engine_and_claims_none_of_our_headers() {
        let dropped = "connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer \
            transfer-encoding upgrade content-length set-cookie set-cookie2 alt-svc strict-transport-security \
            public-key-pins nel report-to reporting-endpoints clear-site-data location refresh x-causeway-decision \
            server via x-powered-by x-aspnet-version x-aspnetmvc-version x-envoy-upstream-service-time \
            endpoint-load-metrics azure-openai-deployment-utilization";
        for name in dropped.split_whitespace() {
            assert!(forward_response_headers(&headers(&[(name, "x")])).is_empty(), "{name}");
        }
        let answered = headers(&[
            ("x-causeway-endpoint", "forged"),
            ("connection", "x-inner"),
            ("x-inner", "1"),
            ("content-type", "text/event-stream"),
            ("server-timing", "a;dur=1"),
            ("x-request-id", "r"),
            ("retry-after", "1"),
            ("retry-after-ms", "1000"),
            ("x-ratelimit-remaining-tokens", "5"),
            ("openai-processing-ms", "3"),
        ]);
        let expected = [
            "content-type",
            "openai-processing-ms",
            "retry-after",
            "retry-after-ms",
            "server-timing",
            "x-ratelimit-remaining-tokens",
            "x-request-id",
        ];
        assert_eq!(names(&forward_response_headers(&answered)), expected);
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 10:00:00 GMT").expect("a date");
        type Row = (&'static [(&'static str, &'static str)], Option<u64>);
        let table: [Row; 11] = [
            (&[("retry-after-ms", "250"), ("retry-after", "9")], Some(250)),
            (&[("retry-after-ms", "250.5")], Some(250)),
            (&[("retry-after", "2")], Some(2000)),
            (&[("retry-after", " 0.5 ")], Some(500)),
            (&[("retry-after", "Mon, 23 Nov 2026 10:00:07 GMT")], Some(7000)),
            (&[("retry-after", "Mon, 23 Nov 2026 09:00:00 GMT")], Some(0)),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "inf")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ];
        for (list, expected) in table {
            let found = retry_after(&headers(list), now);
            assert_eq!(found.map(|wait| wait.as_millis()), expected.map(u128::from), "{list:?}");
        }
    }
}
