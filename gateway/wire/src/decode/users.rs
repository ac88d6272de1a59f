//! The names by which an app knows its users: found in a body, and replaced there by others.
//!
//! **Promises.** Every byte but those of the names stays as it came. Whatever stands where a name belongs is replaced, also
//! what is no text, and also under a key that differs in upper and lower case only.
//!
//! **Does not do.** It looks for names nowhere else: one that stands in a prompt is the prompt's.

use std::ops::Range;

use bytes::Bytes;

use super::top::Controls;
use super::walk::{Seen, Walker, Zone};
use super::{Call, DecodeError, decode};
use crate::Api;
use crate::json::Text;

/// Members of the top level, and of an object that some server merges into it, that name a user.
pub(super) fn names_a_user(folded: &[u8]) -> bool {
    matches!(folded, b"user" | b"safety_identifier")
}

/// Notes the value that was read last, where it is a name.
pub(super) fn note(controls: &mut Controls, seen: &Seen, place: Range<usize>) {
    let is_nothing = match seen {
        Seen::Null => true,
        Seen::Text(text) => text.len() == 0,
        _ => false,
    };
    if !is_nothing {
        controls.users.push(place);
    }
}

/// `metadata`, an object: the caller's own, in which Anthropic's API has a place for the user. Gives where it lies.
pub(super) fn metadata(walker: &mut Walker<'_>, controls: &mut Controls) -> Result<Range<usize>, DecodeError> {
    let start = walker.scan.position();
    let names_users = matches!(walker.api, Api::Messages | Api::CountTokens);
    walker.members(|walker, key: Text| {
        let (seen, place) = walker.spanned(Zone::Opaque)?;
        let is_user = names_users && key.unescaped_bytes(walker.scan.bytes()).eq_ignore_ascii_case(b"user_id");
        if is_user {
            note(controls, &seen, place);
        }
        Ok(())
    })?;
    Ok(start..walker.scan.position())
}

impl Call {
    /// Whether the body names a user anywhere.
    #[must_use]
    pub fn names_a_user(&self) -> bool {
        !self.controls().users.is_empty()
    }

    /// The same call with every name of a user replaced by what `rename` makes of it; of what is no text it is given the
    /// JSON. A call that names none is given back as it is.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the call is none any more, which only a name of many megabytes could bring about.
    pub fn with_users(&self, rename: impl Fn(&str) -> String) -> Result<Self, DecodeError> {
        if !self.names_a_user() {
            return Ok(self.clone());
        }
        let body = self.body();
        let mut renamed = Vec::with_capacity(body.len() + 64);
        let mut copied = 0;
        let mut places = self.controls().users.clone();
        places.sort_unstable_by_key(|place| place.start);
        for place in places {
            let raw = body.get(place.clone()).unwrap_or_default();
            let name =
                serde_json::from_slice::<String>(raw).unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned());
            renamed.extend_from_slice(body.get(copied..place.start).unwrap_or_default());
            renamed.extend_from_slice(serde_json::Value::String(rename(&name)).to_string().as_bytes());
            copied = place.end;
        }
        renamed.extend_from_slice(body.get(copied..).unwrap_or_default());
        // The model was read from the path or the body before; it stays what it was.
        decode(self.api(), Some(self.model()), Bytes::from(renamed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(api: Api, body: &str) -> String {
        let call = decode(api, None, Bytes::from(body.to_owned())).unwrap();
        let renamed = call.with_users(|name| format!("<{name}>")).unwrap();
        assert_eq!((renamed.model(), renamed.stream()), (call.model(), call.stream()));
        String::from_utf8(renamed.body().to_vec()).unwrap()
    }

    #[test]
    fn a_user_is_replaced_and_every_other_byte_stays() {
        for (api, body, expected) in [
            (
                Api::Chat,
                r#"{ "model":"m",  "user" : "erika" ,"messages":[{"role":"user","content":"erika \u00e9 1.50"}]}"#,
                r#"{ "model":"m",  "user" : "<erika>" ,"messages":[{"role":"user","content":"erika \u00e9 1.50"}]}"#,
            ),
            (
                Api::Responses,
                r#"{"safety_identifier":"a\u0041","input":"x","user":"b","model":"m"}"#,
                r#"{"safety_identifier":"<aA>","input":"x","user":"<b>","model":"m"}"#,
            ),
            (
                Api::Messages,
                r#"{"model":"m","metadata":{"other":"user_id", "user_id":"erika"},"max_tokens":1,"messages":[]}"#,
                r#"{"model":"m","metadata":{"other":"user_id", "user_id":"<erika>"},"max_tokens":1,"messages":[]}"#,
            ),
            // What is no text, and what a lenient server would take for the member.
            (Api::Chat, r#"{"model":"m","user":7}"#, r#"{"model":"m","user":"<7>"}"#),
            (Api::Chat, r#"{"model":"m","user":{"id":1}}"#, r#"{"model":"m","user":"<{\"id\":1}>"}"#),
            (Api::Chat, r#"{"model":"m","User":"erika"}"#, r#"{"model":"m","User":"<erika>"}"#),
            // What some server merges into the top level.
            (
                Api::Chat,
                r#"{"model":"m","user":"a","extra_body":{"user":"erika","extra_body":{"Safety_Identifier":"b"}}}"#,
                r#"{"model":"m","user":"<a>","extra_body":{"user":"<erika>","extra_body":{"Safety_Identifier":"<b>"}}}"#,
            ),
            (
                Api::Messages,
                r#"{"model":"m","extra_body":{"metadata":{"user_id":"erika"}},"messages":[]}"#,
                r#"{"model":"m","extra_body":{"metadata":{"user_id":"<erika>"}},"messages":[]}"#,
            ),
        ] {
            assert_eq!(renamed(api, body), expected);
        }
    }

    #[test]
    fn what_names_nobody_is_given_back_as_it_is() {
        for (api, body) in [
            (Api::Chat, r#"{"model":"m","user":null,"safety_identifier":""}"#),
            (Api::Chat, r#"{"model":"m","metadata":{"user_id":"erika"},"messages":[{"role":"user","user":"x"}]}"#),
            (Api::Messages, r#"{"model":"m","metadata":{"a":{"user_id":"erika"}},"messages":[]}"#),
        ] {
            assert_eq!(renamed(api, body), body);
        }
    }
}
