//! The proofs: a permit, the warrant for one of its targets, and the request that was cleared for it.
//!
//! A warrant and a cleared request belong together when they hold *the same* permit, compared by the pointer of its
//! `Arc`, and name the same target. A number as the permit's id could be given twice; a pointer that both sides keep
//! alive cannot.

use std::fmt;
use std::sync::Arc;

use inspection::{Redacted, Restorer};

use crate::decision::Verdict;
use crate::question::{Grants, TargetId};

/// What has to be done to a request before it goes to a target; the default is nothing.
///
/// `policy` names it, `inspection` does it, and a [`Warrant`] clears no request without the proof that it was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Obligations {
    redact: Option<Arc<[Arc<str>]>>,
}

impl Obligations {
    /// Nothing has to be done.
    #[must_use]
    pub const fn none() -> Self {
        Self { redact: None }
    }

    /// Findings of these kinds are replaced by placeholders; no kind at all is no obligation.
    pub(crate) fn to_redact(kinds: impl IntoIterator<Item = Arc<str>>) -> Self {
        let mut kinds: Vec<Arc<str>> = kinds.into_iter().collect();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.is_empty() { Self::none() } else { Self { redact: Some(kinds.into()) } }
    }

    /// The kinds of finding that are replaced by placeholders, by the names that policies use, sorted.
    pub fn redact(&self) -> impl ExactSizeIterator<Item = &str> {
        self.redact.as_deref().unwrap_or_default().iter().map(|kind| &**kind)
    }

    /// Whether nothing has to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.redact.is_none()
    }
}

/// `redact:card,iban`, as policies write it; nothing for no obligation.
impl fmt::Display for Obligations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in self.redact().enumerate() {
            write!(f, "{}{kind}", if index == 0 { "`redact:" } else { "," })?;
        }
        if self.is_empty() { Ok(()) } else { f.write_str("`") }
    }
}

/// What policy allows for one request: a non-empty set of targets, in declared order.
///
/// Made by [`decide`](crate::decide) and by nothing else; nothing but a permit makes a warrant.
///
/// ```
/// # use policy::*;
/// # let candidates = [Candidate::new(TargetId(7), "gpu-01/llama")];
/// # let judge = Judge::of_grants(&candidates);
/// let permit: std::sync::Arc<Permit> = decide(&judge, &Question::about("claims", "chat", &candidates))?;
///
/// assert!(permit.warrant(TargetId(7)).is_some());
/// assert!(permit.warrant(TargetId(8)).is_none());
/// # Ok::<(), Denial>(())
/// ```
///
/// Outside this crate it cannot be written down, because its fields are private:
///
/// ```compile_fail,E0451
/// # use policy::*;
/// let permit = std::sync::Arc::new(Permit { covered: Box::default(), targets: Box::default(), verdicts: Box::default() });
/// ```
///
/// nor widened by copying one and changing the copy:
///
/// ```compile_fail,E0277
/// # use policy::*;
/// fn copied<T: Clone>() {}
/// copied::<Permit>();
/// ```
#[derive(Debug)]
pub struct Permit {
    // INVARIANT: never empty; `covering` is the only place that makes a permit.
    covered: Box<[Covered]>,
    /// The ids of `covered`, in the same order.
    targets: Box<[TargetId]>,
    verdicts: Box<[Verdict]>,
}

/// A target that a permit covers, with what its endpoint is granted and what has to be done before.
#[derive(Clone, Debug)]
pub(crate) struct Covered {
    pub(crate) target: TargetId,
    pub(crate) grants: Grants,
    pub(crate) obligations: Obligations,
}

impl Permit {
    /// A permit for `covered`, or the verdicts back when there is nothing to permit.
    pub(crate) fn covering(covered: Vec<Covered>, verdicts: Box<[Verdict]>) -> Result<Self, Box<[Verdict]>> {
        if covered.is_empty() {
            return Err(verdicts);
        }
        let targets = covered.iter().map(|covered| covered.target).collect();
        Ok(Self { covered: covered.into_boxed_slice(), targets, verdicts })
    }

    /// The targets that this permit covers, in declared order; at least one.
    #[must_use]
    pub fn targets(&self) -> &[TargetId] {
        &self.targets
    }

    /// Why each candidate was in or out, in declared order.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// The proof that this permit covers `target`, or nothing when it does not.
    ///
    /// Each attempt takes a warrant of its own, because sending consumes it.
    #[must_use]
    pub fn warrant(self: &Arc<Self>, target: TargetId) -> Option<Warrant> {
        let covered = self.covered.iter().find(|covered| covered.target == target)?;
        let obligations = covered.obligations.clone();
        Some(Warrant { permit: Arc::clone(self), target, grants: covered.grants, obligations })
    }
}

/// The proof that a permit covers one target. Sending consumes it.
///
/// ```
/// # use policy::*;
/// # let candidates = [Candidate::new(TargetId(7), "gpu-01/llama")];
/// # let judge = Judge::of_grants(&candidates);
/// # let permit = decide(&judge, &Question::about("claims", "chat", &candidates))?;
/// fn send(warrant: Warrant) -> TargetId {
///     warrant.target()
/// }
///
/// let warrant = permit.warrant(TargetId(7)).expect("the permit covers it");
///
/// assert_eq!(send(warrant), TargetId(7));
/// # Ok::<(), Denial>(())
/// ```
///
/// One warrant is one attempt; it cannot be used twice:
///
/// ```compile_fail,E0382
/// # use policy::*;
/// # let candidates = [Candidate::new(TargetId(7), "gpu-01/llama")];
/// # let judge = Judge::of_grants(&candidates);
/// # let permit = decide(&judge, &Question::about("claims", "chat", &candidates))?;
/// fn send(warrant: Warrant) -> TargetId {
///     warrant.target()
/// }
///
/// let warrant = permit.warrant(TargetId(7)).expect("the permit covers it");
///
/// assert_eq!(send(warrant), TargetId(7));
/// assert_eq!(send(warrant), TargetId(7));
/// # Ok::<(), Denial>(())
/// ```
///
/// nor copied:
///
/// ```compile_fail,E0277
/// # use policy::*;
/// fn copied<T: Clone>() {}
/// copied::<Warrant>();
/// ```
///
/// nor pointed at another target, or written down, because its fields are private:
///
/// ```compile_fail,E0616
/// # use policy::*;
/// fn redirect(mut warrant: Warrant) {
///     warrant.target = TargetId(8);
/// }
/// ```
///
/// ```compile_fail,E0451
/// # use policy::*;
/// fn forge(permit: std::sync::Arc<Permit>) -> Warrant {
///     Warrant { permit, target: TargetId(8), grants: NO_GRANTS, obligations: Obligations::none() }
/// }
/// ```
#[derive(Debug)]
#[must_use = "a warrant does nothing until a request is sent with it"]
pub struct Warrant {
    permit: Arc<Permit>,
    target: TargetId,
    grants: Grants,
    obligations: Obligations,
}

impl Warrant {
    /// The target that it covers.
    #[must_use]
    pub fn target(&self) -> TargetId {
        self.target
    }

    /// What the target's endpoint is granted; a dialect reads it to know, for example, whether state may be kept.
    #[must_use]
    pub fn grants(&self) -> Grants {
        self.grants
    }

    /// What has to be done to the request before it goes to the target.
    #[must_use]
    pub fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// Clears `call` as it came for the target, where nothing has to be done before.
    ///
    /// # Errors
    ///
    /// [`Owed`] where something has: then [`Warrant::clear_redacted`] is the way.
    pub fn clear<C>(&self, call: C) -> Result<Cleared<C>, Owed> {
        if self.obligations.is_empty() { Ok(self.cleared(call)) } else { Err(self.owed()) }
    }

    /// Clears the redacted body for the target, and hands over what puts the answer right.
    ///
    /// # Errors
    ///
    /// [`Owed`] where the warrant obliges to redact a kind that was not.
    pub fn clear_redacted(&self, redacted: Redacted) -> Result<(Cleared<Vec<u8>>, Restorer), Owed> {
        if !self.obligations.redact().all(|name| redacted.covers(name)) {
            return Err(self.owed());
        }
        let (body, restorer) = redacted.into_parts();
        Ok((self.cleared(body), restorer))
    }

    // INVARIANT: only the two functions above call it, each after it has looked at the obligations.
    fn cleared<C>(&self, content: C) -> Cleared<C> {
        Cleared { permit: Arc::clone(&self.permit), target: self.target, content }
    }

    fn owed(&self) -> Owed {
        Owed { target: self.target, obligations: self.obligations.clone() }
    }
}

/// The request may not go to the target as it is: what the permit obliges to was not done, and nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request for target {target} may be sent only with {obligations}")]
pub struct Owed {
    /// The target that the request was to be cleared for.
    pub target: TargetId,
    /// What has to be done before.
    pub obligations: Obligations,
}

/// A request that was cleared for one target under one permit, with every obligation of that target done.
///
/// What is inside can be changed (encoded for the upstream) but not taken out, except with a warrant of the same permit
/// for the same target.
///
/// ```
/// # use policy::*;
/// # let candidates = [Candidate::new(TargetId(7), "gpu-01/llama")];
/// # let judge = Judge::of_grants(&candidates);
/// # let permit = decide(&judge, &Question::about("claims", "chat", &candidates))?;
/// let warrant = permit.warrant(TargetId(7)).expect("the permit covers it");
///
/// let cleared: Cleared<String> = warrant.clear("hello")?.encode(str::to_uppercase);
///
/// assert_eq!(cleared.open(&warrant)?, "HELLO");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Without a warrant there is no way in:
///
/// ```compile_fail,E0616
/// # use policy::*;
/// fn take(cleared: Cleared<String>) -> String {
///     cleared.content
/// }
/// ```
///
/// and no way to make one without a permit:
///
/// ```compile_fail,E0451
/// # use policy::*;
/// fn forge(permit: std::sync::Arc<Permit>) -> Cleared<String> {
///     Cleared { permit, target: TargetId(7), content: String::new() }
/// }
/// ```
#[must_use = "a cleared request does nothing until it is sent"]
pub struct Cleared<C> {
    permit: Arc<Permit>,
    target: TargetId,
    content: C,
}

impl<C> Cleared<C> {
    /// The target that it was cleared for.
    #[must_use]
    pub fn target(&self) -> TargetId {
        self.target
    }

    /// Changes what is inside, for example from a call into the bytes of the upstream's dialect.
    ///
    /// The closure sees the content, so it must do nothing but translate.
    pub fn encode<D>(self, translate: impl FnOnce(C) -> D) -> Cleared<D> {
        Cleared { permit: self.permit, target: self.target, content: translate(self.content) }
    }

    /// The same for a translation that can fail; the content is dropped then.
    ///
    /// # Errors
    ///
    /// Those of `translate`.
    pub fn try_encode<D, E>(self, translate: impl FnOnce(C) -> Result<D, E>) -> Result<Cleared<D>, E> {
        Ok(Cleared { permit: self.permit, target: self.target, content: translate(self.content)? })
    }

    /// Takes the content out with the warrant that it was cleared for.
    ///
    /// # Errors
    ///
    /// [`WrongWarrant`] when the warrant is another permit's, or another target's. The content is dropped then: a request
    /// that nearly went to the wrong place is not offered again.
    pub fn open(self, warrant: &Warrant) -> Result<C, WrongWarrant> {
        let same_permit = Arc::ptr_eq(&self.permit, &warrant.permit);
        if same_permit && self.target == warrant.target {
            return Ok(self.content);
        }
        Err(WrongWarrant { cleared_for: self.target, warrant_for: warrant.target, same_permit })
    }
}

/// Shows the target, and nothing of the content.
impl<C> fmt::Debug for Cleared<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleared").field("target", &self.target).finish_non_exhaustive()
    }
}

/// A cleared request met a warrant that it was not cleared for: a fault in the gateway, and nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a request cleared for target {cleared_for} met a warrant for target {warrant_for} of {} decision",
    if *.same_permit { "the same" } else { "another" }
)]
pub struct WrongWarrant {
    /// The target that the request was cleared for.
    pub cleared_for: TargetId,
    /// The target of the warrant.
    pub warrant_for: TargetId,
    /// Whether both came from one permit.
    pub same_permit: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::NO_GRANTS;
    use crate::{Candidate, Judge, Question, decide};

    fn permit(ids: &[u32]) -> Arc<Permit> {
        let candidates: Vec<Candidate> = ids
            .iter()
            .map(|id| Candidate {
                grants: Grants { keep_state: *id == 2, ..Grants::default() },
                ..Candidate::new(TargetId(*id), format!("gpu/{id}"))
            })
            .collect();
        decide(&Judge::of_grants(&candidates), &Question::about("claims", "chat", &candidates)).unwrap()
    }

    #[test]
    fn a_warrant_is_minted_only_for_a_target_that_the_permit_covers() {
        let permit = permit(&[1, 2]);

        assert_eq!(permit.warrant(TargetId(1)).unwrap().target(), TargetId(1));
        assert!(permit.warrant(TargetId(3)).is_none());
    }

    #[test]
    fn a_warrant_carries_the_grants_of_its_target() {
        let permit = permit(&[1, 2]);

        let granted = [1, 2].map(|id| permit.warrant(TargetId(id)).unwrap().grants().keep_state);

        assert_eq!(granted, [false, true]);
    }

    #[test]
    fn a_cleared_request_opens_with_any_warrant_of_its_permit_and_target() {
        let permit = permit(&[1]);
        let (first, second) = (permit.warrant(TargetId(1)).unwrap(), permit.warrant(TargetId(1)).unwrap());

        let cleared = first.clear(40).unwrap().encode(|number| number + 2);

        assert_eq!(cleared.open(&second), Ok(42));
    }

    #[test]
    fn a_request_cleared_for_one_target_does_not_open_for_another() {
        let permit = permit(&[1, 2]);
        let (one, two) = (permit.warrant(TargetId(1)).unwrap(), permit.warrant(TargetId(2)).unwrap());

        let refused = one.clear("prompt").unwrap().open(&two).unwrap_err();

        assert_eq!(refused, WrongWarrant { cleared_for: TargetId(1), warrant_for: TargetId(2), same_permit: true });
        assert_eq!(
            refused.to_string(),
            "a request cleared for target #1 met a warrant for target #2 of the same decision"
        );
    }

    #[test]
    fn a_request_cleared_under_one_permit_does_not_open_under_an_equal_one() {
        let (mine, other) = (permit(&[1]), permit(&[1]));
        let (warrant, foreign) = (mine.warrant(TargetId(1)).unwrap(), other.warrant(TargetId(1)).unwrap());

        assert!(!warrant.clear("prompt").unwrap().open(&foreign).unwrap_err().same_permit);
        assert!(!foreign.clear("prompt").unwrap().open(&warrant).unwrap_err().same_permit);
    }

    #[test]
    fn a_cleared_request_shows_no_content_when_it_is_printed() {
        let permit = permit(&[1]);
        let warrant = permit.warrant(TargetId(1)).unwrap();

        let shown = format!("{:?}", warrant.clear("a secret prompt").unwrap());

        assert!(!shown.contains("secret"), "{shown}");
    }

    /// A permit for one target that obliges to redact `names`.
    fn obliging(names: &[&str]) -> Arc<Permit> {
        let obligations = Obligations::to_redact(names.iter().map(|name| Arc::from(*name)));
        let covered = Covered { target: TargetId(1), grants: NO_GRANTS, obligations };
        Arc::new(Permit::covering(vec![covered], Box::default()).unwrap())
    }

    #[test]
    fn what_has_to_be_redacted_is_cleared_by_the_proof_that_it_was_and_by_nothing_else() {
        let body = br#"{"input":"card 4111 1111 1111 1111, anna@example.org"}"#;
        let warrant = obliging(&["card"]).warrant(TargetId(1)).unwrap();
        let redacted = |names: &[&str]| inspection::redact(body, names.iter().copied()).unwrap();

        let as_it_came = warrant.clear(body).unwrap_err();
        let of_another_kind = warrant.clear_redacted(redacted(&["email"])).unwrap_err();
        let (cleared, restorer) = warrant.clear_redacted(redacted(&["email", "card"])).unwrap();

        assert_eq!(as_it_came.to_string(), "a request for target #1 may be sent only with `redact:card`");
        assert_eq!(of_another_kind, as_it_came);
        assert_eq!(cleared.open(&warrant).unwrap(), br#"{"input":"card [CARD_1], [EMAIL_1]"}"#);
        assert!(!restorer.is_empty());
    }

    #[test]
    fn a_group_is_redacted_by_its_kinds_and_not_by_one_of_them() {
        let body = br#"{"input":"hello"}"#;
        let warrant = obliging(&["financial"]).warrant(TargetId(1)).unwrap();

        assert!(warrant.clear_redacted(inspection::redact(body, ["card"]).unwrap()).is_err());
        assert!(warrant.clear_redacted(inspection::redact(body, ["financial"]).unwrap()).is_ok());
    }

    #[test]
    fn an_obligation_that_nothing_recognises_is_never_done() {
        let warrant = obliging(&["shoe_size"]).warrant(TargetId(1)).unwrap();

        assert!(warrant.clear_redacted(inspection::redact(b"{}", ["shoe_size"]).unwrap()).is_err());
    }
}
