//! Where an answer says that it was made: Azure's headers `x-ms-region` and `x-ms-deployment-name`, and `usage.inference_geo` of
//! Anthropic's API.
//!
//! It is the provider's own word, and is passed on as a word: what it means is for whoever has the facts. A provider that says
//! nothing contradicts nothing.

use std::borrow::Cow;

use http::HeaderMap;
use serde::Deserialize;

use super::text;
use crate::{Api, Frame};

/// The header by which Azure says in which region a request was answered.
pub const REGION_HEADER: &str = "x-ms-region";

/// The header by which Azure says which deployment answered. It is another than the one that was asked where a provisioned
/// deployment is full and spills over (<https://learn.microsoft.com/azure/foundry/openai/how-to/spillover-traffic-management>).
pub const DEPLOYMENT_HEADER: &str = "x-ms-deployment-name";

/// The member by which Anthropic says where inference ran.
pub const GEO_MEMBER: &str = "usage.inference_geo";

/// Longest word that is taken, in bytes: names of regions have at most some thirty.
const LONGEST: usize = 64;

/// What the head of an answer says.
#[must_use]
pub fn region_said(headers: &HeaderMap) -> Option<&str> {
    text(headers, REGION_HEADER).filter(|said| is_plain(said))
}

/// The deployment that the head of an answer names.
#[must_use]
pub fn deployment_said(headers: &HeaderMap) -> Option<&str> {
    text(headers, DEPLOYMENT_HEADER).filter(|said| is_plain(said))
}

/// What a whole answer says.
#[must_use]
pub fn geo_said(api: Api, body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Reply {
        usage: Option<Usage>,
    }
    let reply: Reply = read(api, body)?;
    reply.usage?.said()
}

/// What the first event of a stream says.
#[must_use]
pub fn geo_said_first(api: Api, frame: &Frame) -> Option<String> {
    #[derive(Deserialize)]
    struct Start {
        message: Message,
    }
    #[derive(Deserialize)]
    struct Message {
        usage: Option<Usage>,
    }
    let data: Cow<'_, [u8]> = frame.data();
    let start: Start = read(api, &data)?;
    start.message.usage?.said()
}

#[derive(Deserialize)]
struct Usage {
    inference_geo: Option<String>,
}

impl Usage {
    fn said(self) -> Option<String> {
        self.inference_geo.filter(|said| is_plain(said))
    }
}

/// Most answers say nothing, and are not worth a second reading.
fn read<'a, T: Deserialize<'a>>(api: Api, bytes: &'a [u8]) -> Option<T> {
    const NAME: &[u8] = b"\"inference_geo\"";
    let may_say = api == Api::Messages && bytes.windows(NAME.len()).any(|window| window == NAME);
    may_say.then(|| serde_json::from_slice(bytes).ok()).flatten()
}

fn is_plain(said: &str) -> bool {
    !said.is_empty() && said.len() <= LONGEST && said.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::SseFramer;

    #[test]
    fn a_region_is_a_short_plain_word_of_the_header() {
        let said = |value: &'static str| {
            let headers: HeaderMap =
                [(HeaderName::from_static("x-ms-region"), HeaderValue::from_static(value))].into_iter().collect();
            region_said(&headers).map(str::to_owned)
        };

        assert_eq!(said("Sweden Central").as_deref(), Some("Sweden Central"));
        assert_eq!(said(""), None);
        assert_eq!(said("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), None);
        assert_eq!(region_said(&HeaderMap::new()), None);
    }

    #[test]
    fn a_deployment_is_named_by_a_header_of_its_own() {
        let headers: HeaderMap = [("x-ms-region", "Sweden Central"), ("x-ms-deployment-name", "gpt-5.2_2025-12-11")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();

        assert_eq!(deployment_said(&headers), Some("gpt-5.2_2025-12-11"));
        assert_eq!(deployment_said(&HeaderMap::new()), None);
    }

    #[test]
    fn a_message_says_where_it_was_made_whole_and_as_a_stream() {
        let whole = br#"{"type":"message","content":[],"usage":{"input_tokens":1,"inference_geo":"us"}}"#;
        assert_eq!(geo_said(Api::Messages, whole).as_deref(), Some("us"));
        // Nobody else has the member, and one in the text of an answer is no word of the provider's.
        assert_eq!(geo_said(Api::Chat, whole), None);
        assert_eq!(geo_said(Api::Messages, br#"{"content":[{"text":"\"inference_geo\": us"}],"usage":{}}"#), None);
        assert_eq!(geo_said(Api::Messages, br#"{"usage":{"inference_geo":"a\u0000b"}}"#), None);

        let mut framer = SseFramer::with_max_frame(1 << 20);
        framer.push(Bytes::from_static(
            b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"inference_geo\":\"global\"}}}\n\n",
        ));
        let frame = framer.next_frame().unwrap().unwrap();
        assert_eq!(geo_said_first(Api::Messages, &frame).as_deref(), Some("global"));
    }
}
