//! A chain of names from the one that is asked for to its addresses, hop by hop.
//!
//! The walk follows a chain inside an answer for as long as the next name belongs to the same servers, and asks the
//! servers of the next name where it does not. A name that no resolver has is asked of no one; what the answer at hand
//! says about it is still followed, so that the report can show where the chain leads.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::time::Instant;

use super::answer::{Data, Question, Told};
use super::ask::{Asker, Freshness};
use super::exchange::Failure;

/// Most hops of a chain. The longest of a real service has five.
const MOST_HOPS: usize = 12;
/// Most questions for one chain.
const MOST_QUESTIONS: usize = 6;

/// One record of a chain, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The name that the record belongs to.
    pub owner: String,
    /// `CNAME`, `A` or `AAAA`.
    pub kind: &'static str,
    /// The name or address that it gives.
    pub data: String,
    /// Its lifetime in seconds, as the server gave it.
    pub ttl: u32,
    /// The server that gave it.
    pub server: SocketAddr,
    /// `udp`, `tcp`, `tls` or `https`.
    pub transport: &'static str,
    /// The resolver in the configuration that the server belongs to.
    pub resolver: Arc<str>,
}

/// Where a chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// At addresses.
    Addresses(Vec<IpAddr>),
    /// At a name that does not exist, or (`exists`) has no address of this kind.
    Nothing { exists: bool, zone: Option<String> },
    /// At a name that no resolver may be asked for.
    NoZone,
    /// At servers that do not answer.
    Unanswered { resolver: Arc<str>, failures: Arc<[Failure]> },
    /// It does not end, or contradicts itself; in words.
    Broken(&'static str),
}

/// A chain of one family.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) hops: Vec<Hop>,
    /// The name at which it ends.
    pub(crate) last: String,
    pub(crate) end: End,
    /// Until when all of it counts; `None` where nobody was asked.
    pub(crate) until: Option<Instant>,
}

/// Says whom to ask for a name; the servers that gave the name before are at hand for names that follow from the service.
pub(crate) trait Route: Sync {
    /// The resolver of a name.
    fn to(&self, name: &Name, before: Option<&Arc<Asker>>) -> Option<Arc<Asker>>;
}

/// Walks from `name` to its addresses of one family.
pub(crate) async fn walk(route: &impl Route, name: &Name, kind: RecordType, freshness: Freshness) -> Chain {
    let mut walker =
        Walker { at: name.clone(), hops: Vec::new(), seen: HashSet::from([name.to_lowercase()]), until: None };
    let end = walker.run(route, kind, freshness).await;
    let Walker { at, hops, until, .. } = walker;
    Chain { hops, last: readable(&at), end, until }
}

struct Walker {
    at: Name,
    hops: Vec<Hop>,
    seen: HashSet<Name>,
    until: Option<Instant>,
}

/// How far one answer led.
enum Step {
    Ended(End),
    /// The answer says no more about the name that was reached.
    AskOn,
}

impl Walker {
    async fn run(&mut self, route: &impl Route, kind: RecordType, freshness: Freshness) -> End {
        let mut before: Option<Arc<Asker>> = None;
        for _ in 0..MOST_QUESTIONS {
            let Some(asker) = route.to(&self.at, before.as_ref()) else { return End::NoZone };
            let question = Question { name: self.at.clone(), kind };
            let told = match asker.ask(&question, freshness).await {
                Ok(told) => told,
                Err(failures) => return End::Unanswered { resolver: Arc::clone(&asker.name), failures },
            };
            self.until = Some(self.until.map_or(told.until, |until| until.min(told.until)));
            if let Step::Ended(end) = self.follow(&told, &asker, route) {
                return end;
            }
            before = Some(asker);
        }
        End::Broken("it takes more questions than a chain may")
    }

    /// Follows the chain through one answer.
    fn follow(&mut self, told: &Told, asker: &Arc<Asker>, route: &impl Route) -> Step {
        let asked = self.at.clone();
        loop {
            let own: Vec<_> = told.records.iter().filter(|record| record.owner == self.at).collect();
            let mut aliases = own.iter().filter_map(|record| match &record.data {
                Data::Alias(target) => Some((record.ttl, target)),
                Data::Address(_) => None,
            });
            let alias = aliases.next();
            let addresses: Vec<(u32, IpAddr)> = own
                .iter()
                .filter_map(|record| match record.data {
                    Data::Address(address) => Some((record.ttl, address)),
                    Data::Alias(_) => None,
                })
                .collect();
            match alias {
                Some((_, target)) if aliases.any(|(_, other)| other != target) => {
                    return Step::Ended(End::Broken("one name points to two others"));
                }
                Some(_) if !addresses.is_empty() => {
                    return Step::Ended(End::Broken("one name points to another and has addresses of its own"));
                }
                Some((ttl, target)) => {
                    let target = target.clone();
                    self.note("CNAME", readable(&target), ttl, (told, asker));
                    self.at = target;
                    if !self.seen.insert(self.at.to_lowercase()) {
                        return Step::Ended(End::Broken("it comes back to a name that it has passed"));
                    }
                    if self.hops.len() >= MOST_HOPS {
                        return Step::Ended(End::Broken("it is longer than a chain may be"));
                    }
                    // A name of other servers is theirs to answer for, whatever stands here about it.
                    if route.to(&self.at, Some(asker)).is_some_and(|owner| !Arc::ptr_eq(&owner, asker)) {
                        return Step::AskOn;
                    }
                }
                None if !addresses.is_empty() && told.no_such_name => {
                    return Step::Ended(End::Broken("a name that is said not to exist has addresses"));
                }
                None if !addresses.is_empty() => {
                    for (ttl, address) in &addresses {
                        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
                        self.note(kind, address.to_string(), *ttl, (told, asker));
                    }
                    return Step::Ended(End::Addresses(addresses.into_iter().map(|(_, address)| address).collect()));
                }
                None => return self.nothing(told, &asked),
            }
        }
    }

    fn nothing(&self, told: &Told, asked: &Name) -> Step {
        let zone = told.negative_zone.as_ref().map(readable);
        if told.no_such_name {
            return Step::Ended(End::Nothing { exists: false, zone });
        }
        // A chain that stops without a word about its last name was not followed to its end by the server.
        if zone.is_none() && self.at != *asked {
            return Step::AskOn;
        }
        Step::Ended(End::Nothing { exists: true, zone })
    }

    fn note(&mut self, kind: &'static str, data: String, ttl: u32, (told, asker): (&Told, &Arc<Asker>)) {
        self.hops.push(Hop {
            owner: readable(&self.at),
            kind,
            data,
            ttl,
            server: told.server,
            transport: told.transport,
            resolver: Arc::clone(&asker.name),
        });
    }
}

/// A name as people write it: lower case, without the dot at its end.
pub(crate) fn readable(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    match text.strip_suffix('.') {
        Some("") | None => text,
        Some(short) => short.to_owned(),
    }
}
