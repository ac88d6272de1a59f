//! What a public front says when it turns a request away: the texts by which a verified address turns out to lead there.
//!
//! A network can bring a packet for the right address to the wrong place. Nothing below HTTP shows that where the front
//! has the same name and the same certificate; its own words do.

use http::StatusCode;

use crate::fault::Code;

/// Most bytes of an answer's body that are searched. The fronts' errors are a few hundred bytes long.
pub const FRONT_BYTES: usize = 8 * 1024;

/// Texts as the services write them, in lower case, with the status that they come with.
///
/// Sources: the networking pages of Azure AI services and Key Vault, Amazon's page on VPC endpoint policies, and public
/// reports of each text.
const TEXTS: &[(u16, &str, Code)] = &[
    (403, "public access is disabled. please configure private endpoint", Code::Http01),
    (403, "public network access is disabled", Code::Http01),
    (403, "access denied due to virtual network/firewall rules", Code::Http02),
    (403, "a virtual network is configured for this resource. please use the correct endpoint", Code::Http03),
    (404, "subdomain does not map to a resource", Code::Http03),
    (403, "traffic is not from an approved private endpoint", Code::Http04),
    (403, "nor via an approved private link", Code::Http04),
    (403, "because no vpc endpoint policy allows", Code::Http05),
    (403, "with an explicit deny in a vpc endpoint policy", Code::Http05),
    (400, "invalid azurecognitivesearch configuration", Code::Http06),
];

/// The code of an answer that says how the request came, if it does; from the first [`FRONT_BYTES`] of its body.
#[must_use]
pub fn front_of(status: StatusCode, body: &[u8]) -> Option<Code> {
    let status = status.as_u16();
    if !TEXTS.iter().any(|(own, ..)| *own == status) {
        return None;
    }
    let body = body.get(..FRONT_BYTES).unwrap_or(body);
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    TEXTS.iter().find(|(own, words, _)| *own == status && text.contains(words)).map(|(.., code)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(status: u16, body: &str) -> Option<Code> {
        front_of(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn a_front_is_known_by_its_words() {
        let disabled =
            r#"{"error":{"code":"403","message":"Public access is disabled. Please configure private endpoint."}}"#;
        let rules =
            r#"{"error":{"code":"AccessDenied","message":"Access denied due to Virtual Network/Firewall rules."}}"#;

        assert_eq!(code(403, disabled), Some(Code::Http01));
        assert_eq!(code(403, rules), Some(Code::Http02));
        assert_eq!(code(404, r#"{"error":"Subdomain does not map to a resource."}"#), Some(Code::Http03));
        assert_eq!(code(403, "Traffic is not from an approved private endpoint"), Some(Code::Http04));
        assert_eq!(
            code(403, "… because no VPC endpoint policy allows the bedrock:InvokeModel action"),
            Some(Code::Http05)
        );
        assert_eq!(code(400, "Invalid AzureCognitiveSearch configuration: …"), Some(Code::Http06));
    }

    #[test]
    fn the_same_words_in_an_answer_of_the_model_mean_nothing() {
        assert_eq!(code(200, "Public access is disabled. Please configure private endpoint."), None);
        assert_eq!(code(403, r#"{"error":{"message":"wrong key"}}"#), None);
        assert_eq!(code(403, ""), None);
    }
}
