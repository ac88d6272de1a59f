//! What an endpoint is shown where a request names a user: on one's own sites the name, elsewhere a pseudonym.
//!
//! The pseudonym is keyed, stands for the same user of the same app as long as the key is the same, and cannot be joined with
//! the one in the audit log, which is of another realm.

use telemetry::pseudonym::Realm;
use wire::{Call, DecodeError};

use super::arrive::Caller;
use crate::snapshot::{Snapshot, Target};

/// How the name of a user went out, as records say it.
pub(super) const PSEUDONYM: &str = "pseudonym";
const AS_SENT: &str = "as_sent";

/// How `target` is shown the user that `call` names; nothing where it names none.
pub(super) fn shown(caller: Option<&Caller>, target: &Target, call: &Call) -> Option<&'static str> {
    // INVARIANT: without a caller, who could have said that it may be shown, it is not.
    let is_told = target.own_site || caller.is_some_and(|caller| caller.app.data.users_as_sent);
    call.names_a_user().then_some(if is_told { AS_SENT } else { PSEUDONYM })
}

/// The call with pseudonyms in place of names.
pub(super) fn replaced(snapshot: &Snapshot, caller: Option<&Caller>, call: &Call) -> Result<Call, DecodeError> {
    let app = caller.map_or("", |caller| &caller.app.name);
    call.with_users(|name| snapshot.shown_users.pseudonym(Realm::Provider, app, name))
}
