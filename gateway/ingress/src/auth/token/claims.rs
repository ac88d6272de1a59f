//! Which app a token belongs to, by its audience and its claims.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::{AppIndex, AuthError, Identified, KeyIndex};
use super::Marks;

/// Longest name of a user that a token may carry, in bytes.
pub const LONGEST_USER: usize = 256;

/// The tokens of one issuer that stand for one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRule {
    /// The claim `iss`.
    pub issuer: Box<str>,
    /// One of the claim `aud`.
    pub audience: Box<str>,
    /// Claims that must have these values, by name. A claim that is a list must hold the value; `scope` and `scp` are lists
    /// of words (RFC 8693, section 4.2). A name that is no claim, but has dots, is a way into nested claims: `realm_access.roles`.
    pub claims: Box<[(Box<str>, Box<str>)]>,
    /// Claims and values that say something of the app's data, at most [`MOST_MARKS`](super::MOST_MARKS).
    pub marks: Box<[(Box<str>, Box<str>)]>,
    /// The claim that names the user, in the way in which `claims` are named; `None` where none does. A token in which it is
    /// not a text of 1 to [`LONGEST_USER`] bytes, without control characters, is refused.
    pub user: Option<Box<str>>,
    /// The app.
    pub app: AppIndex,
    /// The entry that limits and records go by.
    pub key: KeyIndex,
}

impl TokenRule {
    fn matches(&self, claims: &Map<String, Value>) -> bool {
        let is_for_us = claims.get("aud").is_some_and(|aud| holds(aud, &self.audience, false));
        is_for_us && self.claims.iter().all(|(name, value)| has(claims, name, value))
    }
}

/// The one app that the claims belong to.
///
/// # Errors
///
/// [`AuthError::NoApp`] when they belong to none, [`AuthError::GroupsOverage`] when a rule asks for groups that the token
/// had no room for, be it for whose it is or for what it says of the data, [`AuthError::Conflicting`] when they belong to two
/// apps, [`AuthError::NoUser`] when they do not name the user that the rule asks for.
pub(super) fn owner(rules: &[TokenRule], claims: &Map<String, Value>) -> Result<Identified, AuthError> {
    let mut found: Option<Identified> = None;
    for rule in rules.iter().filter(|rule| rule.matches(claims)) {
        // What the groups would have said of the data is not known, and less than they say is not taken.
        if rule.marks.iter().any(|(name, _)| &**name == "groups") && are_left_out(claims) {
            return Err(AuthError::GroupsOverage);
        }
        if found.as_ref().is_some_and(|earlier| earlier.app != rule.app) {
            return Err(AuthError::Conflicting);
        }
        let user = rule.user.as_deref().map(|name| user(claims, name)).transpose()?;
        let marks = Marks::of(&rule.marks, claims);
        found.get_or_insert(Identified { app: rule.app, key: rule.key, marks, user });
    }
    found.ok_or_else(|| if groups_left_out(rules, claims) { AuthError::GroupsOverage } else { AuthError::NoApp })
}

pub(super) fn has(claims: &Map<String, Value>, name: &str, value: &str) -> bool {
    find(claims, name).is_some_and(|(name, claim)| holds(claim, value, matches!(name, "scope" | "scp")))
}

/// The claim of this name, or the nested one that it is the way to, with the last part of the way.
fn find<'a>(claims: &'a Map<String, Value>, name: &'a str) -> Option<(&'a str, &'a Value)> {
    if let Some(claim) = claims.get(name) {
        return Some((name, claim));
    }
    let (outer, inner) = name.split_once('.')?;
    find(claims.get(outer)?.as_object()?, inner)
}

/// The user, by the claim of this name. What a body says cannot stand in for it.
fn user(claims: &Map<String, Value>, name: &str) -> Result<Arc<str>, AuthError> {
    let said = find(claims, name).and_then(|(_, claim)| claim.as_str());
    // A control character would reach the lines of a log.
    let named = said.filter(|said| (1..=LONGEST_USER).contains(&said.len()) && !said.chars().any(char::is_control));
    named.map(Into::into).ok_or(AuthError::NoUser)
}

fn holds(claim: &Value, value: &str, is_words: bool) -> bool {
    match claim {
        Value::String(text) if is_words => text.split(' ').any(|word| word == value),
        Value::String(text) => text == value,
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(value)),
        Value::Bool(flag) => value == if *flag { "true" } else { "false" },
        Value::Number(number) => number.to_string() == value,
        Value::Null | Value::Object(_) => false,
    }
}

/// Entra ID leaves groups out of a token when there are more than 200, and says so in `_claim_names`.
fn groups_left_out(rules: &[TokenRule], claims: &Map<String, Value>) -> bool {
    let asked = rules.iter().any(|rule| rule.claims.iter().any(|(name, _)| &**name == "groups"));
    asked && are_left_out(claims)
}

fn are_left_out(claims: &Map<String, Value>) -> bool {
    let is_named = matches!(claims.get("_claim_names"), Some(Value::Object(names)) if names.contains_key("groups"));
    is_named || claims.contains_key("hasgroups")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(app: u32, claims: &[(&str, &str)]) -> TokenRule {
        let claims = claims.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        TokenRule {
            issuer: "i".into(),
            audience: "causeway".into(),
            claims,
            marks: Box::default(),
            user: None,
            app: AppIndex(app),
            key: KeyIndex(app),
        }
    }

    fn owner_of(rules: &[TokenRule], claims: Value) -> Result<u32, AuthError> {
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        owner(rules, &claims).map(|identified| identified.app.0)
    }

    #[test]
    fn an_audience_is_one_of_a_list_or_the_only_one_and_compared_whole() {
        let rules = [rule(1, &[])];

        assert_eq!(owner_of(&rules, json!({ "aud": "causeway" })), Ok(1));
        assert_eq!(owner_of(&rules, json!({ "aud": ["other", "causeway"] })), Ok(1));
        for aud in [
            json!("causeway2"),
            json!("Causeway"),
            json!("other causeway"),
            json!([]),
            json!({"causeway": 1}),
            json!(null),
        ] {
            assert_eq!(owner_of(&rules, json!({ "aud": aud })), Err(AuthError::NoApp), "{aud}");
        }
        assert_eq!(owner_of(&rules, json!({})), Err(AuthError::NoApp));
    }

    #[test]
    fn a_claim_is_a_value_or_in_a_list_and_every_claim_of_the_rule_must_hold() {
        let rules = [rule(1, &[("azp", "claims-ui"), ("roles", "Prompt.Send")])];
        let with =
            |azp: Value, roles: Value| owner_of(&rules, json!({ "aud": "causeway", "azp": azp, "roles": roles }));

        assert_eq!(with(json!("claims-ui"), json!(["Other", "Prompt.Send"])), Ok(1));
        assert_eq!(with(json!("claims-ui"), json!("Prompt.Send")), Ok(1));
        assert_eq!(with(json!("claims-ui"), json!(["Prompt.Sendx"])), Err(AuthError::NoApp));
        assert_eq!(with(json!("other"), json!(["Prompt.Send"])), Err(AuthError::NoApp));
    }

    #[test]
    fn scopes_are_words_and_other_claims_are_not() {
        let scoped = [rule(1, &[("scp", "prompt.send")])];
        let named = [rule(1, &[("name", "prompt.send")])];

        assert_eq!(owner_of(&scoped, json!({ "aud": "causeway", "scp": "openid prompt.send" })), Ok(1));
        assert_eq!(owner_of(&scoped, json!({ "aud": "causeway", "scp": "prompt.sender" })), Err(AuthError::NoApp));
        assert_eq!(owner_of(&named, json!({ "aud": "causeway", "name": "a prompt.send" })), Err(AuthError::NoApp));
    }

    #[test]
    fn a_nested_claim_is_named_by_its_way_and_a_claim_with_dots_by_itself() {
        let keycloak = [rule(1, &[("realm_access.roles", "prompt")])];
        let kubernetes = [rule(1, &[("kubernetes.io.namespace", "claims")])];

        assert_eq!(owner_of(&keycloak, json!({ "aud": "causeway", "realm_access": { "roles": ["prompt"] } })), Ok(1));
        assert_eq!(owner_of(&kubernetes, json!({ "aud": "causeway", "kubernetes.io.namespace": "claims" })), Ok(1));
    }

    #[test]
    fn a_token_of_two_apps_belongs_to_neither() {
        let rules = [rule(1, &[]), rule(2, &[("roles", "a")])];

        assert_eq!(owner_of(&rules, json!({ "aud": "causeway", "roles": ["b"] })), Ok(1));
        assert_eq!(owner_of(&rules, json!({ "aud": "causeway", "roles": ["a"] })), Err(AuthError::Conflicting));
    }

    #[test]
    fn groups_that_the_token_had_no_room_for_are_told_apart_from_groups_that_are_not_there() {
        let rules = [rule(1, &[("groups", "g-1")])];

        let left_out = owner_of(&rules, json!({ "aud": "causeway", "_claim_names": { "groups": "src1" } }));

        assert_eq!(left_out, Err(AuthError::GroupsOverage));
        assert_eq!(owner_of(&rules, json!({ "aud": "causeway", "groups": ["g-2"] })), Err(AuthError::NoApp));
    }

    #[test]
    fn a_user_is_the_text_of_its_claim_and_a_token_without_one_is_refused() {
        let named = |name: &str| TokenRule { user: Some(name.into()), ..rule(1, &[]) };
        let user_of = |name: &str, claims: Value| {
            let Value::Object(claims) = claims else { panic!("claims are an object") };
            owner(&[named(name)], &claims).map(|identified| identified.user.as_deref().map(str::to_owned))
        };
        let with = |sub: Value| user_of("sub", json!({ "aud": "causeway", "sub": sub }));
        let (longest, too_long) = ("u".repeat(LONGEST_USER), "u".repeat(LONGEST_USER + 1));

        assert_eq!(with(json!("u")), Ok(Some("u".to_owned())));
        assert_eq!(with(json!(longest)), Ok(Some(longest)));
        for sub in [json!(""), json!(too_long), json!(7), json!(["u"]), json!({"u": 1}), json!(null), json!("u\nv")] {
            assert_eq!(with(sub.clone()), Err(AuthError::NoUser), "{sub}");
        }
        assert_eq!(user_of("sub", json!({ "aud": "causeway", "oid": "u" })), Err(AuthError::NoUser));
        assert_eq!(user_of("who.id", json!({ "aud": "causeway", "who": { "id": "u" } })), Ok(Some("u".to_owned())));
        assert_eq!(user_of("a.b", json!({ "aud": "causeway", "a.b": "u" })), Ok(Some("u".to_owned())));
        assert_eq!(user_of("sub", json!({ "aud": "other" })), Err(AuthError::NoApp), "whose it is comes first");
    }

    #[test]
    fn groups_that_would_say_something_of_the_data_and_are_left_out_are_not_taken_for_none() {
        let marked = TokenRule { marks: [("groups".into(), "g-1".into())].into(), ..rule(1, &[]) };
        let rules = [marked];

        assert_eq!(owner_of(&rules, json!({ "aud": "causeway", "groups": ["g-2"] })), Ok(1));
        assert_eq!(owner_of(&rules, json!({ "aud": "causeway" })), Ok(1));
        for left_out in [
            json!({ "aud": "causeway", "hasgroups": true }),
            json!({ "aud": "causeway", "_claim_names": { "groups": "src1" } }),
        ] {
            assert_eq!(owner_of(&rules, left_out), Err(AuthError::GroupsOverage));
        }
    }
}
