//! Which budgets a request pays into, and what each user has spent of those that count users.
//!
//! **Promises.** What is spent outlives a reload for as long as a budget is about the same requests in the same calendar; one that
//! is new, or about others, begins with what the ledger says. Users are bounded: those beyond share one amount, so that nobody
//! gets more by inventing names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounting::{Budget, Calendar, Money, Terms};
use ledger::{Known, Ledger, LedgerError, OfGateway, Shared, SpentBy, Told, Whose};
use parking_lot::Mutex;

use super::Snapshot;
use crate::configuration::{BudgetConfig, Compiled};

/// Most users of one budget that are counted apart in one stretch.
pub const MOST_USERS: usize = 16_384;

/// How often users who spent nothing are forgotten to make room: that goes through all of them.
const FORGETS_EVERY: Duration = Duration::from_secs(1);

/// All budgets, in the order of their names.
#[derive(Default)]
pub(crate) struct Budgets {
    rules: Vec<Rule>,
    /// Those that no snapshot before had.
    new: Vec<usize>,
}

/// One budget and the requests that it is about.
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    app: Option<Arc<str>>,
    team: Option<Arc<str>>,
    model: Option<Arc<str>>,
    pub(crate) terms: Terms,
    pub(crate) calendar: Calendar,
    pub(crate) thresholds: Box<[u32]>,
    pub(crate) webhook: Option<Arc<str>>,
    /// What it is about, in words that are the same in every gateway: its name in the store.
    key: Arc<str>,
    /// Kept over a reload.
    spent: Arc<Spent>,
}

/// What is spent, by one or by each.
enum Spent {
    Together(Arc<Budget>),
    Each(Users),
}

/// What a request is, as far as budgets ask.
#[derive(Clone, Copy)]
pub(crate) struct Payer<'a> {
    pub(crate) app: &'a str,
    pub(crate) team: &'a str,
    pub(crate) model: &'a str,
    /// The pseudonym of its user.
    pub(crate) user: Option<&'a str>,
}

impl Budgets {
    /// Those that are new are counted by `counters`, which several gateways share or not.
    pub(super) fn build(compiled: &Compiled, before: Option<&Snapshot>, counters: (&Shared, bool)) -> Self {
        let mut budgets = Self::default();
        for config in &compiled.budgets {
            let key: Arc<str> = key_of(config, compiled).into();
            let known = before.and_then(|before| before.budgets.rules.iter().find(|rule| rule.key == key));
            if known.is_none() {
                budgets.new.push(budgets.rules.len());
            }
            let new = || Arc::new(Spent::new(config, &key, counters));
            let spent = known.map_or_else(new, |rule| Arc::clone(&rule.spent));
            budgets.rules.push(Rule {
                name: config.name.as_str().into(),
                app: config.app.map(|app| compiled.apps[app].name.as_str().into()),
                team: config.team.as_deref().map(Into::into),
                model: config.model.as_deref().map(Into::into),
                terms: config.terms,
                calendar: config.calendar.clone(),
                thresholds: config.thresholds.as_slice().into(),
                webhook: config.webhook.as_deref().map(Into::into),
                key,
                spent,
            });
        }
        budgets
    }

    /// What they allow from now on; with a store it is asked from now on as well.
    pub(super) fn take_effect(&self, counters: &Shared) {
        for rule in &self.rules {
            rule.spent.set(rule.terms);
            if let Spent::Together(budget) = &*rule.spent {
                counters.enrol(&rule.key, budget.purse());
            }
        }
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether any of them counts the users of such requests.
    pub(crate) fn count_users(&self, payer: Payer<'_>) -> bool {
        self.rules.iter().any(|rule| matches!(*rule.spent, Spent::Each(_)) && rule.is_about(payer))
    }

    /// Those that such a request pays into, at a moment in seconds since 1970.
    pub(crate) fn of(&self, payer: Payer<'_>, seconds: u64) -> Vec<Arc<Budget>> {
        let about = self.rules.iter().filter(|rule| rule.is_about(payer));
        about.map(|rule| rule.spent.of(payer.user.unwrap_or_default(), seconds)).collect()
    }

    /// What the ledger says was spent of those that are new, in their stretches of this moment.
    ///
    /// # Errors
    ///
    /// When it cannot say.
    pub(crate) fn spendings(
        &self,
        ledger: &Ledger,
        seconds: u64,
        whose: Whose,
    ) -> Result<BudgetSpendings, LedgerError> {
        let new = self.new.iter().filter_map(|index| self.rules.get(*index));
        let stretches: BTreeSet<_> = new.map(|rule| window(&rule.calendar, seconds)).collect();
        let mut spent = HashMap::new();
        for (begins, ends) in stretches {
            spent.insert((begins, ends), ledger.spent_by((begins, ends), whose)?);
        }
        Ok(BudgetSpendings { seconds, spent })
    }

    /// What the ledger says that each gateway has spent of each of them, for the store that they share.
    ///
    /// # Errors
    ///
    /// When it cannot say.
    pub(crate) fn known(&self, ledger: &Ledger, seconds: u64) -> Result<Vec<Known>, LedgerError> {
        let stretches: BTreeSet<_> = self.rules.iter().map(|rule| window(&rule.calendar, seconds)).collect();
        let mut spent = HashMap::new();
        for stretch in stretches {
            spent.insert(stretch, ledger.spent_by_of_each(stretch)?);
        }
        let known = self.rules.iter().flat_map(|rule| {
            let of_stretch = spent.get(&window(&rule.calendar, seconds)).into_iter().flatten();
            rule.known(of_stretch.filter(|of| rule.is_about(payer_of(&of.spent))), seconds)
        });
        Ok(known.collect())
    }

    pub(crate) fn has_new(&self) -> bool {
        !self.new.is_empty()
    }

    /// Whether an account of this name is of a budget that is new.
    pub(crate) fn has_new_account(&self, name: &str) -> bool {
        let mut new = self.new.iter().filter_map(|index| self.rules.get(*index));
        new.any(|rule| name.strip_prefix(&*rule.key).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
    }

    /// Tells those that are new, but for what other processes of the state folder tell of them.
    pub(crate) fn restore(&self, spendings: &BudgetSpendings, told: &Told) {
        let seconds = spendings.seconds;
        for rule in self.new.iter().filter_map(|index| self.rules.get(*index)) {
            let spent = spendings.spent.get(&window(&rule.calendar, seconds)).into_iter().flatten();
            let mut of_users: HashMap<&str, Money> = HashMap::new();
            for one in spent.filter(|one| rule.is_about(payer_of(one))) {
                let user = one.user.as_deref().filter(|_| rule.counts_users()).unwrap_or_default();
                let of_user = of_users.entry(user).or_default();
                *of_user = *of_user + one.money;
            }
            let month = rule.calendar.at(seconds).number;
            for (user, spent) in of_users {
                let left = spent.less(told.of(&rule.account(user), month));
                if left > Money::ZERO {
                    rule.spent.of(user, seconds).restore(seconds, left);
                }
            }
        }
    }
}

/// What the ledger says was spent in the stretches that budgets count in.
#[derive(Debug, Default)]
pub struct BudgetSpendings {
    seconds: u64,
    spent: HashMap<(u64, u64), Vec<SpentBy>>,
}

fn window(calendar: &Calendar, seconds: u64) -> (u64, u64) {
    let stretch = calendar.at(seconds);
    (stretch.begins, stretch.ends)
}

fn payer_of(spent: &SpentBy) -> Payer<'_> {
    Payer { app: &spent.app, team: &spent.team, model: &spent.model, user: spent.user.as_deref() }
}

/// What a budget is about. It is a part of its name in the store, so that one which is about something else begins anew.
fn key_of(config: &BudgetConfig, compiled: &Compiled) -> String {
    let BudgetConfig { name, app, team, model, each_user, calendar, .. } = config;
    let app = app.map_or("", |app| &compiled.apps[app].name);
    let (team, model) = (team.as_deref().unwrap_or_default(), model.as_deref().unwrap_or_default());
    let whose = if *each_user { "each user" } else { "all" };
    format!("budget {name} {} {} {whose} {app:?} {team:?} {model:?}", calendar.period().name(), calendar.zone())
}

/// The amount of one user, by its name in the store.
fn of_user(key: &str, user: &str) -> String {
    format!("{key} user {user}")
}

impl Rule {
    /// What it is about, in words that are the same in every gateway.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The name under which it is counted what a user spends.
    fn account(&self, user: &str) -> String {
        if self.counts_users() { of_user(&self.key, user) } else { self.key.to_string() }
    }

    /// One, or one for each user: those who have spent most, and no more than are counted apart.
    fn known<'a>(&self, spent: impl Iterator<Item = &'a OfGateway<SpentBy>>, seconds: u64) -> Vec<Known> {
        let mut of_names: HashMap<String, BTreeMap<Arc<str>, Money>> = HashMap::new();
        for OfGateway { gateway, spent } in spent {
            let name = self.account(spent.user.as_deref().unwrap_or_default());
            let of_gateway = of_names.entry(name).or_default().entry(Arc::clone(gateway)).or_default();
            *of_gateway = *of_gateway + spent.money;
        }
        let month = self.calendar.at(seconds).number;
        let known = |(name, spent): (String, BTreeMap<_, _>)| {
            let spent: Vec<_> = spent.into_iter().collect();
            Known { account: name.into(), month, spent }
        };
        let mut known: Vec<Known> = of_names.into_iter().map(known).collect();
        let sum = |known: &Known| known.spent.iter().map(|(_, money)| *money).sum::<Money>();
        known.sort_by_cached_key(|known| std::cmp::Reverse(sum(known)));
        known.truncate(MOST_USERS);
        known
    }

    fn is_about(&self, payer: Payer<'_>) -> bool {
        let fits = |wanted: &Option<Arc<str>>, is: &str| wanted.as_ref().is_none_or(|wanted| **wanted == *is);
        fits(&self.app, payer.app) && fits(&self.team, payer.team) && fits(&self.model, payer.model)
    }

    /// Whether each user has the amount.
    pub(crate) fn counts_users(&self) -> bool {
        matches!(*self.spent, Spent::Each(_))
    }

    /// What is spent: one, or one for each user whose pseudonym stands beside it; without one for those who name none.
    pub(crate) fn all(&self) -> Vec<(Option<Arc<str>>, Arc<Budget>)> {
        match &*self.spent {
            Spent::Together(budget) => vec![(None, Arc::clone(budget))],
            Spent::Each(users) => users.all(),
        }
    }
}

impl Spent {
    fn new(config: &BudgetConfig, key: &Arc<str>, (counters, is_shared): (&Shared, bool)) -> Self {
        let make = Make {
            name: config.name.as_str().into(),
            calendar: config.calendar.clone(),
            key: Arc::clone(key),
            counters: counters.clone(),
            is_shared,
        };
        if config.each_user {
            return Self::Each(Users::new(make, config.terms, MOST_USERS));
        }
        Self::Together(make.budget(config.terms))
    }

    fn set(&self, terms: Terms) {
        match self {
            Self::Together(budget) => budget.set(terms),
            Self::Each(users) => users.set(terms),
        }
    }

    fn of(&self, user: &str, seconds: u64) -> Arc<Budget> {
        match self {
            Self::Together(budget) => Arc::clone(budget),
            Self::Each(users) => users.of(user, seconds),
        }
    }
}

/// What all amounts of one budget have in common.
struct Make {
    name: Arc<str>,
    calendar: Calendar,
    key: Arc<str>,
    counters: Shared,
    /// Several gateways share them at all times.
    is_shared: bool,
}

impl Make {
    fn budget(&self, terms: Terms) -> Arc<Budget> {
        Arc::new(Budget::new(Arc::clone(&self.name), self.calendar.clone(), terms, self.is_shared))
    }

    /// The same, which is kept from now on.
    fn enrolled(&self, terms: Terms, name: &str) -> Arc<Budget> {
        let budget = self.budget(terms);
        self.counters.enrol(name, budget.purse());
        budget
    }
}

/// What each user has spent.
struct Users {
    make: Make,
    known: Mutex<Amounts>,
    most: usize,
}

struct Amounts {
    terms: Terms,
    of: HashMap<Arc<str>, Arc<Budget>>,
    /// Of all who found no room, together.
    rest: Option<Arc<Budget>>,
    forgotten: Option<Instant>,
}

impl Users {
    fn new(make: Make, terms: Terms, most: usize) -> Self {
        let known = Amounts { terms, of: HashMap::new(), rest: None, forgotten: None };
        Self { make, known: Mutex::new(known), most }
    }

    fn set(&self, terms: Terms) {
        let mut known = self.known.lock();
        known.terms = terms;
        known.of.values().chain(&known.rest).for_each(|budget| budget.set(terms));
    }

    /// The amount of a user; users who name none are one.
    fn of(&self, user: &str, seconds: u64) -> Arc<Budget> {
        let mut known = self.known.lock();
        let Amounts { terms, of, rest, forgotten } = &mut *known;
        if let Some(budget) = of.get(user) {
            return Arc::clone(budget);
        }
        if of.len() >= self.most && forgotten.is_none_or(|at| at.elapsed() >= FORGETS_EVERY) {
            // INVARIANT: whoever is held elsewhere, by a request that is about to take of it, stays: two amounts of one user
            // would be twice as much.
            of.retain(|_, budget| Arc::strong_count(budget) > 1 || !budget.is_idle(seconds));
            *forgotten = Some(Instant::now());
        }
        if of.len() >= self.most {
            let rest = rest.get_or_insert_with(|| self.make.enrolled(*terms, &format!("{} rest", self.make.key)));
            return Arc::clone(rest);
        }
        let budget = self.make.enrolled(*terms, &of_user(&self.make.key, user));
        of.insert(user.into(), Arc::clone(&budget));
        budget
    }

    fn all(&self) -> Vec<(Option<Arc<str>>, Arc<Budget>)> {
        let known = self.known.lock();
        let of = known.of.iter().map(|(user, budget)| (Some(Arc::clone(user)), Arc::clone(budget)));
        of.chain(known.rest.iter().map(|rest| (None, Arc::clone(rest)))).collect()
    }
}

/// How a budget stands, for the status page and the figures.
pub(crate) struct BudgetReport {
    pub(crate) limit: Money,
    pub(crate) spent: Money,
    pub(crate) held: Money,
    /// The amounts there are: one, or one for each user who is counted.
    pub(crate) amounts: usize,
    /// The share of its amount that is spent, of whoever has spent most.
    pub(crate) most_spent: f64,
}

impl Rule {
    pub(crate) fn report(&self, seconds: u64) -> BudgetReport {
        let limit = self.terms.limit;
        let mut report = BudgetReport { limit, spent: Money::ZERO, held: Money::ZERO, amounts: 0, most_spent: 0.0 };
        for (_, budget) in self.all() {
            let standing = budget.standing(seconds);
            report.spent = report.spent + standing.spent;
            report.held = report.held + standing.held;
            report.amounts += 1;
            report.most_spent = report.most_spent.max(share(standing.spent, limit));
        }
        report
    }
}

/// For people and figures only: what is charged is counted in whole units.
fn share(spent: Money, limit: Money) -> f64 {
    spent.0 as f64 / limit.0.max(1) as f64
}

#[cfg(test)]
mod tests {
    use accounting::{Held, Mode, OverBudget, Period};

    use super::*;

    const MORNING: u64 = 1_795_687_200;
    const DAY: u64 = 86_400;

    fn users(most: usize) -> Users {
        let counters = Shared::beside(std::path::Path::new("nowhere"));
        let make = Make {
            name: "each".into(),
            calendar: Calendar::utc(Period::Day),
            key: "each".into(),
            counters,
            is_shared: false,
        };
        Users::new(make, Terms { limit: Money(10), mode: Mode::Hard }, most)
    }

    fn spend(users: &Users, user: &str, seconds: u64) -> Result<(), OverBudget> {
        let budget = users.of(user, seconds);
        Held::of(&[Arc::clone(&budget)], Money(10), (Instant::now(), seconds)).map(drop)?;
        budget.restore(seconds, Money(10));
        Ok(())
    }

    #[test]
    fn each_user_has_the_amount_and_those_who_name_none_have_one_together() {
        let users = users(8);

        for user in ["p1:a", "p1:b", ""] {
            assert_eq!(spend(&users, user, MORNING), Ok(()), "{user}");
            spend(&users, user, MORNING).expect_err("it is spent");
        }
    }

    #[test]
    fn users_beyond_the_bound_share_one_amount_until_those_before_them_are_idle() {
        let users = users(2);
        spend(&users, "p1:a", MORNING).expect("the first");
        spend(&users, "p1:b", MORNING).expect("the second");

        spend(&users, "p1:c", MORNING).expect("the rest has an amount");
        spend(&users, "p1:d", MORNING).expect_err("and it is one amount");
        spend(&users, "p1:a", MORNING).expect_err("what was spent is not forgotten");
        assert_eq!(users.known.lock().of.len(), 2);

        users.known.lock().forgotten = None;
        spend(&users, "p1:c", MORNING + DAY).expect("nobody has spent anything today");
        spend(&users, "p1:d", MORNING + DAY).expect("so there is room for two");
        assert!(!users.known.lock().of.contains_key("p1:a"));
    }
}
