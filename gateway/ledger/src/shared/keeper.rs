//! The one task that speaks to the store.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use accounting::{Answer, Counter, Question};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::opening::{self, Opening};
use super::resp::{Commands, Link, Reply};
use super::scripts::{self, Asker, Scripts};
use super::{Account, Inner, Known, OnLoss, now};

/// How often counters are looked at that hold a part, and the store is called when it is lost.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The longest that the store may take for one exchange.
const ANSWERS_IN: Duration = Duration::from_millis(500);

/// The longest that a connection may take: at once where requests wait for it, and in the background.
const CONNECTS_IN: (Duration, Duration) = (Duration::from_millis(400), Duration::from_secs(3));

/// Most questions in one exchange.
const MOST_AT_ONCE: usize = 256;

/// Most exchanges of a round in which the store is told what the ledger knows, so that rates and requests in flight, of which the
/// ledger knows nothing, are not held up by a long list.
const MOST_TOLD_IN_A_ROUND: usize = 4;

/// The store, with the scripts that it has.
pub(super) struct Store {
    pub(super) link: Link,
    scripts: Scripts,
    /// The word that it remembers.
    memory: Vec<u8>,
    turn: u64,
}

/// What a connection is for.
pub(super) enum Calls {
    /// For counters. It takes the place of every earlier one, whose questions the store refuses from then on.
    Counters {
        /// What the store remembered when it was found last.
        memory: Option<Vec<u8>>,
    },
    /// For notices.
    Board,
}

/// What came of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// An answer for everybody.
    Answers,
    /// The store heard everybody, and grants nothing before it knows what all hold.
    Silence,
    /// Nothing: it is lost.
    Nothing,
}

/// A question that is asked, and for whom.
struct Asked {
    account: Arc<Account>,
    counter: Arc<dyn Counter>,
    question: Question,
}

impl Asked {
    /// It was sent, and whether the store acted on it is not known. What is owed may be told again, since that counts too much at
    /// worst; what was given back may not: given back twice, it would be used twice.
    fn is_told(&mut self) {
        if let Question::Flow { owed, .. } = &mut self.question {
            *owed = (*owed).max(0);
        }
    }
}

type Calling = Pin<Box<dyn Future<Output = Result<Store, String>> + Send>>;

pub(super) struct Keeper {
    inner: Arc<Inner>,
    store: Option<Store>,
    lost: bool,
    /// What the store remembered when it was found last.
    memory: Option<Vec<u8>>,
}

impl Keeper {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, store: None, lost: false, memory: None }
    }

    pub(super) async fn run(mut self) {
        let inner = Arc::clone(&self.inner);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.connect(CONNECTS_IN.1).await;
        let mut calling: Option<Calling> = None;
        let mut may_call = true;
        loop {
            if self.lost && calling.is_none() && may_call {
                calling = Some(Box::pin(connect(Arc::clone(&inner), self.calls(), CONNECTS_IN.1)));
                may_call = false;
            }
            // While it is away requests are answered and the store is called at the same time.
            let found = async {
                match &mut calling {
                    Some(calling) => calling.await,
                    None => std::future::pending().await,
                }
            };
            let looks = tokio::select! {
                () = inner.rung.notified() => false,
                _ = look.tick() => {
                    may_call = true;
                    true
                }
                found = found => {
                    calling = None;
                    if let Ok(store) = found {
                        self.found(store);
                    }
                    true
                }
            };
            self.round(looks).await;
        }
    }

    /// Asks once for all who wait, and with `looks` for all who hold a part.
    async fn round(&mut self, looks: bool) {
        let number = self.inner.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let asked = self.collect(looks);
        let answered = self.answer_all(asked, looks).await;
        // Whoever waits sees the latest round only: an empty one after one that failed must not look like an answer.
        let answered = answered && !(self.lost && self.inner.settings.on_loss == OnLoss::Deny);
        self.inner.over.send_replace((number, answered));
    }

    fn collect(&self, looks: bool) -> Vec<Asked> {
        let now = now();
        let mut asked = Vec::new();
        for (account, counter) in self.inner.rang(looks) {
            let again = if !self.lost && account.untold.swap(false, Ordering::AcqRel) {
                account.share.lock().tell_again(now)
            } else {
                None
            };
            for question in again.into_iter().chain(counter.questions(now)) {
                let question = if self.lost { question } else { with_debt(&account, question, now) };
                asked.push(Asked { account: Arc::clone(&account), counter: Arc::clone(&counter), question });
            }
        }
        asked
    }

    /// Whether everybody got an answer, from the store or in its place.
    async fn answer_all(&mut self, mut asked: Vec<Asked>, looks: bool) -> bool {
        // INVARIANT: before any money is granted, so that none is while what was read from the ledger is not told. It is not read at
        // once: a store that lost its memory grants nothing for four seconds, and what a ledger that answers later than that knows
        // of gateways that are gone does not count until it was read.
        let is_all_told = self.lost || self.tell_known().await;
        if !is_all_told && !self.lost {
            self.put_off_money(&mut asked);
        }
        let slices: Vec<&mut [Asked]> =
            if asked.is_empty() && looks { vec![&mut []] } else { asked.chunks_mut(MOST_AT_ONCE).collect() };
        let mut answered = true;
        for slice in slices {
            let sent_at = now();
            let came = if self.lost { Came::Nothing } else { self.exchange(slice).await };
            answered &= match came {
                Came::Answers => true,
                Came::Silence => false,
                Came::Nothing => self.in_its_place(slice, sent_at),
            };
        }
        answered
    }

    /// Tells what the ledger knows, as much of it as fits into one round, and says whether that was all. What is not told stays to
    /// be told.
    async fn tell_known(&mut self) -> bool {
        for _ in 0..MOST_TOLD_IN_A_ROUND {
            let front = self.inner.untold.lock().front(MOST_AT_ONCE);
            if front.known.is_empty() {
                return true;
            }
            if let Err(why) = self.tell(&front.known).await {
                self.lose(why);
                return false;
            }
            self.inner.untold.lock().is_told(&front);
        }
        self.inner.untold.lock().is_empty()
    }

    /// Tells these, and a second time over a new connection where the first one broke: what is told twice counts once.
    async fn tell(&mut self, known: &[Known]) -> Result<(), String> {
        let mut why = "there is no connection".to_owned();
        for _ in 0..2 {
            if self.store.is_none()
                && let Err(error) = self.try_connect(CONNECTS_IN.0).await
            {
                why = error;
                continue;
            }
            let Some(store) = &mut self.store else { continue };
            let sent_at = now();
            match store.tell(&self.inner, known).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    self.store = None;
                    why = error;
                    if sent_at.elapsed() >= ANSWERS_IN {
                        break;
                    }
                }
            }
        }
        Err(why)
    }

    /// Puts those back that ask for money, with all who wait for it: the next round begins at once, and tells more.
    fn put_off_money(&self, asked: &mut Vec<Asked>) {
        asked.retain(|Asked { account, counter, question }| {
            let is_money = matches!(question, Question::Level { month: Some(_), .. });
            if is_money {
                counter.learn(question, None, now());
                self.inner.ring(account);
            }
            !is_money
        });
        self.inner.rung.notify_one();
    }

    /// Asks the store, and a second time over a new connection where the first one broke.
    async fn exchange(&mut self, asked: &mut [Asked]) -> Came {
        let mut why = "there is no connection".to_owned();
        for _ in 0..2 {
            if self.store.is_none()
                && let Err(error) = self.try_connect(CONNECTS_IN.0).await
            {
                why = error;
                continue;
            }
            let Some(store) = &mut self.store else { continue };
            let sent_at = now();
            match store.ask(&self.inner, asked).await {
                Ok(answers) => {
                    let is_silent = answers.contains(&None);
                    for (asked, answer) in asked.iter().zip(answers) {
                        if let Some(answer) = answer {
                            asked.account.share.lock().learn(&asked.question, answer, sent_at);
                        }
                        *asked.account.adopt.lock() = "";
                        asked.counter.learn(&asked.question, answer, sent_at);
                    }
                    self.inner.status.lock().rounds += 1;
                    return if is_silent { Came::Silence } else { Came::Answers };
                }
                Err(error) => {
                    self.store = None;
                    asked.iter_mut().for_each(Asked::is_told);
                    // One that is slow is not asked again while requests wait.
                    let is_slow = sent_at.elapsed() >= ANSWERS_IN;
                    why = error;
                    if is_slow {
                        break;
                    }
                }
            }
        }
        self.lose(why);
        Came::Nothing
    }

    /// What is said while the store is away.
    fn in_its_place(&self, asked: &[Asked], sent_at: Instant) -> bool {
        for Asked { account, counter, question } in asked {
            let answer: Option<Answer> = match self.inner.settings.on_loss {
                OnLoss::Deny => None,
                OnLoss::LocalShare { of } => Some(account.share.lock().answer(question, of, sent_at)),
            };
            counter.learn(question, answer, sent_at);
        }
        self.inner.settings.on_loss != OnLoss::Deny
    }

    async fn connect(&mut self, limit: Duration) {
        if let Err(why) = self.try_connect(limit).await {
            self.lose(why);
        }
    }

    fn calls(&self) -> Calls {
        Calls::Counters { memory: self.memory.clone() }
    }

    async fn try_connect(&mut self, limit: Duration) -> Result<(), String> {
        let store = connect(Arc::clone(&self.inner), self.calls(), limit).await?;
        self.found(store);
        Ok(())
    }

    fn found(&mut self, store: Store) {
        let memory = Some(store.memory.clone());
        if self.memory.is_some() && self.memory != memory {
            tracing::error!("ALARM store_lost: the shared store has lost its memory; every gateway tells it again");
            let accounts: Vec<_> = self.inner.accounts.lock().values().cloned().collect();
            for account in accounts {
                account.untold.store(true, Ordering::Release);
                if let Some(counter) = account.counter.upgrade() {
                    counter.tell_again();
                }
                self.inner.ring(&account);
            }
            self.inner.forgotten.send_modify(|times| *times += 1);
        }
        self.memory = memory;
        self.store = Some(store);
        let mut status = self.inner.status.lock();
        if self.lost {
            tracing::info!("the shared store answers again");
        }
        self.lost = false;
        (status.connected, status.lost) = (true, None);
    }

    fn lose(&mut self, why: String) {
        self.store = None;
        let mut status = self.inner.status.lock();
        if !self.lost {
            status.losses += 1;
            let on_loss = match self.inner.settings.on_loss {
                OnLoss::Deny => "requests that need more than was granted are refused",
                OnLoss::LocalShare { .. } => "this gateway goes on with its share of every limit",
            };
            tracing::error!(%why, "ALARM store_lost: the shared store does not answer; {on_loss}");
        }
        self.lost = true;
        (status.connected, status.lost) = (false, Some(why));
    }
}

impl Store {
    /// Tells all of these in one exchange.
    async fn tell(&mut self, inner: &Inner, known: &[Known]) -> Result<(), String> {
        let mut commands = Commands::default();
        let asker = Asker { prefix: &inner.settings.prefix, owner: &inner.owner, turn: self.turn, adopt: "" };
        known.iter().for_each(|known| self.scripts.tell(&mut commands, known, &asker));
        opening::keep_turn(&mut commands, asker.prefix, asker.owner);
        let replies = match timeout(ANSWERS_IN, self.link.ask(&commands)).await {
            Ok(replies) => replies.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("the store took longer than {ANSWERS_IN:?}")),
        };
        let is_told = replies.iter().all(|reply| matches!(reply, Reply::Integer(_)));
        if is_told { Ok(()) } else { Err(scripts::complaint(&replies)) }
    }

    /// Asks all of these in one exchange; nothing but whether it is there and remembers where there are none.
    async fn ask(&mut self, inner: &Inner, asked: &[Asked]) -> Result<Vec<Option<Answer>>, String> {
        let mut commands = Commands::default();
        // INVARIANT: asked first in every exchange, so that nothing is granted by a store that was emptied while the connection
        // stood. It then counts as lost, and over a new connection it is told everything again. Emptied behind this question, it
        // refuses the others: it knows nothing of this connection.
        opening::ask_for_memory(&mut commands, &inner.settings.prefix);
        for Asked { account, question, .. } in asked {
            let adopt = *account.adopt.lock();
            let asker = Asker { prefix: &inner.settings.prefix, owner: &inner.owner, turn: self.turn, adopt };
            self.scripts.ask(&mut commands, &account.key, question, &asker);
        }
        opening::keep_turn(&mut commands, &inner.settings.prefix, &inner.owner);
        let replies = match timeout(ANSWERS_IN, self.link.ask(&commands)).await {
            Ok(replies) => replies.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("the store took longer than {ANSWERS_IN:?}")),
        };
        let Some((memory, replies)) = replies.split_first() else { return Err(scripts::complaint(&replies)) };
        opening::remembers(memory, &self.memory)?;
        asked.iter().zip(replies).map(|(asked, reply)| scripts::answer(&asked.question, reply)).collect()
    }
}

/// What was used of a flow while the store was away is owed to it.
fn with_debt(account: &Account, question: Question, now: Instant) -> Question {
    let Question::Flow { limit, period, owed, least, most } = question else { return question };
    let owed = owed.saturating_add(account.share.lock().take_debt(limit, period, now));
    Question::Flow { limit, period, owed, least, most }
}

/// Dials, logs in and hands the scripts over. A store that does not remember what it did is told to wait for the others
/// before anything is asked of it.
pub(super) async fn connect(inner: Arc<Inner>, calls: Calls, limit: Duration) -> Result<Store, String> {
    let dial = inner.dial.lock().clone().ok_or("nobody said how it is reached")?;
    // Counted before anything is sent, so that of two connections the one that was wanted later is the later one.
    let turn = inner.turns.fetch_add(1, Ordering::Relaxed) + 1;
    let opened = async {
        let mut link = Link::new(dial().await?);
        let settings = &inner.settings;
        if let Some(login) = settings.login() {
            let replies = link.ask(&login).await.map_err(|error| error.to_string())?;
            if !matches!(replies[..], [Reply::Simple(_)]) {
                return Err(scripts::complaint(&replies));
            }
        }
        let (prefix, word) = (&settings.prefix, super::random().map_err(|error| error.to_string())?);
        let counts = matches!(calls, Calls::Counters { .. }).then_some(turn);
        let mut commands = Commands::default();
        Opening { prefix, owner: &inner.owner, word: &word, turn: counts }.ask(&mut commands);
        Scripts::load(&mut commands);
        let replies = link.ask(&commands).await.map_err(|error| error.to_string())?;
        let Some((first, rest)) = replies.split_first() else { return Err(scripts::complaint(&replies)) };
        let memory = opening::opened(first)?;
        let scripts = Scripts::loaded(rest)?;
        if let Calls::Counters { memory: Some(known) } = calls
            && known != memory
        {
            let replies = link.ask(&opening::hush(prefix)).await.map_err(|error| error.to_string())?;
            if !matches!(replies[..], [Reply::Simple(_)]) {
                return Err(scripts::complaint(&replies));
            }
        }
        Ok(Store { link, scripts, memory, turn })
    };
    match timeout(limit, opened).await {
        Ok(opened) => opened,
        Err(_) => Err(format!("no connection within {limit:?}")),
    }
}
