//! The script of a level in a real Valkey or Redis, asked by the counters of several gateways: what they may come to together at
//! every moment, and that somebody gets through where what is left suffices.
//!
//! Each gateway here is what a real one is between its requests and the store: a shared book, or shared seats, and the questions
//! that they ask. A question, what the store makes of it and its answer are three moments, and anything may happen in between.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounting::{
    Answer, Ask, Book, Counter, Denied, Limits, Moment, Money, Question, Reservation, Seats, Short, Tokens, Used,
};
use tokio::net::UnixStream;

use super::super::opening::{self, Opening};
use super::super::resp::{Link, Reply};
use super::super::scripts::{self, Asker, Scripts};
use super::*;

/// A unit of the store's, a millionth of a dollar.
const UNIT: u64 = 1_000;

/// So long a refusal is believed.
const BELIEVED: Duration = Duration::from_millis(100);

/// A store that is killed when this is dropped.
pub(super) struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts one; none, loudly, where the machine has none.
    pub(super) fn start(what: &str) -> Option<Self> {
        let is_there = |program: &&str| Command::new(program).arg("--version").output().is_ok();
        let Some(program) = ["valkey-server", "redis-server"].into_iter().find(is_there) else {
            not_tested(&format!("{what}: there is neither valkey-server nor redis-server"));
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let child = Command::new(program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "socket", "--dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it was found a moment ago");
        Some(Self { child, folder })
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub(super) async fn link(&self) -> Link {
        Link::new(Box::new(connected(&self.socket()).await))
    }
}

#[expect(clippy::disallowed_methods, reason = "the test speaks to a server that it started itself")]
pub(super) async fn connected(socket: &Path) -> UnixStream {
    for _ in 0..3_000 {
        if let Ok(stream) = UnixStream::connect(socket).await {
            return stream;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!("the store does not listen at {} after 30 s", socket.display())
}

/// Says it, and puts it into the list that `tests/run` prints at its end.
fn not_tested(what: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED: {what}");
    let Some(list) = std::env::var_os("CAUSEWAY_NOT_TESTED") else { return };
    let told = OpenOptions::new().append(true).create(true).open(list);
    told.and_then(|mut list| writeln!(list, "{what}")).expect("the list of what was not tested can be written");
}

/// What is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Money,
    Seats,
}

enum Level {
    Money(Arc<Book>),
    Seats(Arc<Seats>),
}

impl Level {
    fn counter(&self) -> &dyn Counter {
        match self {
            Self::Money(book) => &**book.purse(),
            Self::Seats(seats) => &**seats,
        }
    }
}

/// The script of a level as it was before gateways said what they hold while they ask.
const BEFORE: &str = include_str!("level_before.lua");

struct Gateway {
    owner: String,
    /// It asks as an earlier release does.
    is_earlier: bool,
    level: Level,
    running: Vec<(Option<Reservation>, u64)>,
    spent: u64,
    /// The amounts that wait for the store.
    waiting: Vec<u64>,
    /// A question that is on its way, and the answer once the store has made one.
    asked: VecDeque<(Question, Instant, Option<Answer>)>,
}

impl Gateway {
    fn new(number: usize, kind: Kind, limit: u64) -> Self {
        let level = match kind {
            Kind::Seats => Level::Seats(Arc::new(Seats::new(limit))),
            Kind::Money => {
                let book = Arc::new(Book::shared(Instant::now()));
                book.set_limits(Limits { per_month: Some(Money(limit * UNIT)), ..Limits::default() });
                Level::Money(book)
            }
        };
        let owner = format!("family{number}/process");
        let (running, waiting, asked) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { owner, is_earlier: false, level, running, spent: 0, waiting, asked }
    }

    fn held(&self) -> u64 {
        self.running.iter().map(|(_, held)| held).sum()
    }

    /// Whether it is to wait for the store.
    fn waits_for(&mut self, amount: u64, now: Instant) -> bool {
        let (reservation, amount) = match &self.level {
            Level::Seats(seats) => match seats.enter(now) {
                Ok(()) => (None, 1),
                Err(short) => return short == Short::Unleased,
            },
            Level::Money(book) => {
                let moment = Moment { at: now, month: 9, month_left: Duration::from_secs(1_000) };
                match book.reserve(None, Ask { money: Money(amount * UNIT), ..Ask::default() }, moment) {
                    Ok(reservation) => (Some(reservation), amount),
                    Err(denied) => return denied == Denied::Unleased,
                }
            }
        };
        self.running.push((reservation, amount));
        false
    }

    /// All who wait try again.
    fn try_again(&mut self, now: Instant) {
        let waiting = std::mem::take(&mut self.waiting);
        for amount in waiting {
            if self.waits_for(amount, now) {
                self.waiting.push(amount);
            }
        }
    }

    /// One of those that run ends, having cost this at most.
    fn settle(&mut self, which: usize, cost: u64) {
        if self.running.is_empty() {
            return;
        }
        let (reservation, held) = self.running.swap_remove(which % self.running.len());
        match (reservation, &self.level) {
            (Some(reservation), _) => {
                let cost = cost.min(held);
                let _ = reservation.settle(Used { input: Tokens(1), ..Used::default() }, Some(Money(cost * UNIT)));
                self.spent += cost;
            }
            (None, Level::Seats(seats)) => seats.leave(),
            (None, Level::Money(_)) => unreachable!("money is held by a reservation"),
        }
    }
}

/// A question as an earlier release puts it.
fn ask_as_before(commands: &mut Commands, account: &str, question: &Question, asker: &Asker<'_>) {
    let Question::Level { month, limit, used, kept, spent, need, want, .. } = *question else {
        unreachable!("a level")
    };
    let month = month.map(|month| format!(":{month}")).unwrap_or_default();
    let (key, hush) = (format!("{}:1:level:{account}{month}", asker.prefix), opening::hush_of(asker.prefix));
    let numbers = [limit, 3_000, used, kept, spent, need, want].map(|number| number.to_string());
    let mut parts = vec!["EVAL", BEFORE, "2", &key, &hush, asker.owner];
    parts.extend(numbers.iter().map(String::as_str));
    parts.extend([asker.adopt, "45"]);
    commands.add(&parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>());
}

fn answer_before(reply: &Reply) -> Answer {
    let Reply::Array(items) = reply else { unreachable!("{reply:?}") };
    let [Reply::Integer(ceiling), Reply::Integer(others), Reply::Integer(spent)] = items[..] else {
        unreachable!("{reply:?}")
    };
    let [ceiling, others, spent] = [ceiling, others, spent].map(i64::unsigned_abs);
    Answer::Level { ceiling, others, spent }
}

/// Several gateways and their store.
struct Fleet {
    link: Link,
    scripts: Scripts,
    prefix: String,
    gateways: Vec<Gateway>,
    limit: u64,
    /// By how much gateways of an earlier release may pass it.
    beyond: u64,
    /// Beside the real clock: so much later it is for the gateways.
    ahead: Duration,
}

impl Fleet {
    async fn new(server: &Server, prefix: &str, kind: Kind, (count, limit): (usize, u64)) -> Self {
        let mut link = server.link().await;
        let gateways: Vec<_> = (0..count).map(|number| Gateway::new(number, kind, limit)).collect();
        let mut commands = Commands::default();
        Scripts::load(&mut commands);
        for Gateway { owner, .. } in &gateways {
            Opening { prefix, owner, word: "word", turn: Some(1) }.ask(&mut commands);
        }
        // It is as if they had met it long ago.
        commands.add(&[b"DEL", opening::hush_of(prefix).as_bytes()]);
        let replies = link.ask(&commands).await.expect("the store answers");
        let scripts = Scripts::loaded(&replies[..3]).expect("the store takes the scripts");
        Self { link, scripts, prefix: prefix.to_owned(), gateways, limit, beyond: 0, ahead: Duration::ZERO }
    }

    fn now(&self) -> Instant {
        Instant::now() + self.ahead
    }

    fn later(&mut self, time: Duration) {
        self.ahead += time;
    }

    /// Its keeper begins a round, where none is on its way.
    fn ask(&mut self, number: usize) {
        let now = self.now();
        let gateway = &mut self.gateways[number];
        if gateway.asked.is_empty() {
            let questions = gateway.level.counter().questions(now);
            gateway.asked = questions.into_iter().map(|question| (question, now, None)).collect();
        }
    }

    /// The store makes an answer to what it was asked.
    async fn decide(&mut self, number: usize) {
        let Gateway { owner, is_earlier, asked, .. } = &mut self.gateways[number];
        for (question, _, answer) in asked.iter_mut().filter(|(_, _, answer)| answer.is_none()) {
            let mut commands = Commands::default();
            let asker = Asker { prefix: &self.prefix, owner, turn: 1, adopt: "" };
            if *is_earlier {
                ask_as_before(&mut commands, "app/limited/usd", question, &asker);
                let replies = self.link.ask(&commands).await.expect("the store answers");
                *answer = Some(answer_before(&replies[0]));
                continue;
            }
            self.scripts.ask(&mut commands, "app/limited/usd", question, &asker);
            let replies = self.link.ask(&commands).await.expect("the store answers");
            *answer = scripts::answer(question, &replies[0]).expect("it answers what it was asked");
        }
    }

    /// The answers that were made arrive.
    fn learn(&mut self, number: usize) {
        let Gateway { level, asked, .. } = &mut self.gateways[number];
        while let Some((question, sent_at, Some(answer))) = asked.front() {
            level.counter().learn(question, Some(*answer), *sent_at);
            asked.pop_front();
        }
    }

    /// A whole round.
    async fn round(&mut self, number: usize) {
        self.decide(number).await;
        self.learn(number);
        self.ask(number);
        self.decide(number).await;
        self.learn(number);
    }

    /// Requests of these amounts come to one gateway at the same time, and wait as long as only a part is wanting. Gives how
    /// many were let in.
    async fn press(&mut self, number: usize, amounts: &[u64]) -> usize {
        let before = self.gateways[number].running.len();
        self.gateways[number].waiting.extend(amounts);
        for _ in 0..32 {
            let now = self.now();
            self.gateways[number].try_again(now);
            self.check();
            if self.gateways[number].waiting.is_empty() {
                return self.gateways[number].running.len() - before;
            }
            self.round(number).await;
        }
        unreachable!("requests wait without end: {:?}", self.standing())
    }

    fn settle(&mut self, number: usize, which: usize, cost: u64) {
        self.gateways[number].settle(which, cost);
        self.check();
    }

    fn standing(&self) -> Vec<(u64, u64)> {
        self.gateways.iter().map(|gateway| (gateway.spent, gateway.held())).collect()
    }

    fn taken(&self) -> u64 {
        self.standing().iter().map(|(spent, held)| spent + held).sum()
    }

    /// INVARIANT of the store: what all of them have spent and hold is within the limit, at every moment.
    fn check(&self) {
        let most = self.limit + self.beyond;
        assert!(self.taken() <= most, "{}: {:?} of {} and {}", self.prefix, self.standing(), self.limit, self.beyond);
    }

    /// Whether a request of this amount gets through somewhere when each gateway is asked, in this order.
    async fn gets_through(&mut self, order: &[usize], amount: u64) -> bool {
        self.later(BELIEVED);
        for number in order {
            if self.press(*number, &[amount]).await > 0 {
                return true;
            }
        }
        false
    }
}

#[tokio::test]
async fn what_one_gateway_cannot_use_is_left_to_those_that_can_however_they_press() {
    let Some(server) = Server::start("what one gateway cannot use") else { return };
    // Below 64 nothing is handed out ahead of need.
    let mut fleet = Fleet::new(&server, "leftovers", Kind::Money, (3, 60)).await;
    assert!(fleet.gets_through(&[1], 50).await);

    // Ten are left, of use to nobody who wants thirty.
    assert!(!fleet.gets_through(&[0, 2], 30).await);
    fleet.settle(1, 0, 25);
    // By now it is thirty-five, and nobody but those who want thirty asks the store.
    let mut rounds = 0;
    while !fleet.gets_through(&[1, 2, 0], 30).await {
        rounds += 1;
        assert!(rounds < 20, "35 are left and nobody gets 30: {:?}", fleet.standing());
    }

    assert_eq!((rounds, fleet.taken()), (0, 55));
}

#[tokio::test]
async fn of_gateways_that_each_hold_too_little_the_second_that_asks_gets_what_it_needs() {
    let Some(server) = Server::start("parts of which none is enough") else { return };
    let mut fleet = Fleet::new(&server, "parts", Kind::Money, (3, 1_000)).await;
    // Each has used some lately, and holds a part ahead of need.
    for _ in 0..3 {
        for number in 0..3 {
            fleet.press(number, &[8, 8]).await;
        }
    }
    let left = 1_000 - fleet.taken();
    fleet.press(0, &[left - 80]).await;
    assert_eq!(fleet.taken(), 920);

    let through = fleet.gets_through(&[1, 2], 80).await;

    assert!(through, "80 are left, and neither of two that want them gets them: {:?}", fleet.standing());
}

#[tokio::test]
async fn a_refusal_of_much_is_none_of_little() {
    let Some(server) = Server::start("a refusal of much") else { return };
    let mut fleet = Fleet::new(&server, "much", Kind::Money, (2, 60)).await;
    assert_eq!(fleet.press(1, &[30]).await, 1);

    assert_eq!(fleet.press(0, &[40]).await, 0);

    assert_eq!(fleet.press(0, &[20]).await, 1);
    assert_eq!(fleet.press(0, &[40, 10]).await, 1);
}

#[tokio::test]
async fn of_those_that_wait_together_as_many_are_let_in_as_fit() {
    let Some(server) = Server::start("those that wait together") else { return };
    let mut fleet = Fleet::new(&server, "together", Kind::Money, (2, 50)).await;
    fleet.press(0, &[20]).await;

    let let_in = fleet.press(1, &[25, 10, 25, 10, 10, 40]).await;
    // Whoever comes next, elsewhere, finds what they left.
    let rest = 50 - fleet.taken();
    let after = if rest == 0 { 1 } else { fleet.press(0, &[rest]).await };

    assert!(let_in >= 1, "{:?}", fleet.standing());
    assert_eq!((after, fleet.taken()), (1, 50), "{:?}", fleet.standing());
}

#[tokio::test]
async fn what_a_busy_gateway_holds_ahead_is_left_to_a_neighbour_that_is_short() {
    let Some(server) = Server::start("a part ahead beside one that is short") else { return };
    let mut fleet = Fleet::new(&server, "busy", Kind::Seats, (2, 640)).await;
    // One is let out and one in, as often as it likes: 90 are in use there, and it holds a part of 20 ahead.
    assert_eq!(fleet.press(0, &[1; 90]).await, 90);
    fleet.later(Duration::from_millis(300));
    fleet.settle(0, 0, 1);
    assert_eq!(fleet.press(0, &[1]).await, 1);
    fleet.round(0).await;
    // All that is left but for that part.
    assert_eq!(fleet.press(1, &[1; 530]).await, 530);

    let mut looks = 0;
    while fleet.press(1, &[1]).await == 0 {
        looks += 1;
        assert!(looks < 20, "20 seats are free and nobody gets one: {:?}", fleet.standing());
        for _ in 0..5 {
            fleet.later(BELIEVED);
            for _ in 0..10 {
                fleet.settle(0, 0, 1);
                assert_eq!(fleet.press(0, &[1]).await, 1);
            }
        }
        fleet.round(0).await;
    }

    assert!((1..=2).contains(&looks), "{looks}");
    assert_eq!(fleet.taken(), 621);
}

/// Numbers by chance, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits fit") % bound
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// One thing that happens to one gateway.
async fn happen(fleet: &mut Fleet, dice: &mut Dice) {
    let number = dice.below(fleet.gateways.len());
    match dice.below(16) {
        0..=4 => {
            let now = fleet.now();
            let amounts: Vec<u64> = (0..=dice.below(6)).map(|_| dice.one_of(&[1, 5, 10, 30, 45])).collect();
            fleet.gateways[number].waiting.extend(amounts);
            fleet.gateways[number].try_again(now);
        }
        5 | 6 => {
            let now = fleet.now();
            fleet.gateways[number].try_again(now);
        }
        7 | 8 => fleet.ask(number),
        9 | 10 => fleet.decide(number).await,
        11 | 12 => fleet.learn(number),
        13 => {
            let times = [20, 130, 300, 600, 2_600];
            fleet.later(Duration::from_millis(dice.one_of(&times)));
        }
        _ => fleet.gateways[number].settle(dice.below(64), dice.one_of(&[0, 3, 10, 20])),
    }
    fleet.check();
}

#[tokio::test]
async fn whatever_happens_and_while_questions_are_on_their_way_the_sum_stays_within_the_limit() {
    let Some(server) = Server::start("any order of requests at several gateways") else { return };
    let seeds = if std::env::var_os("CAUSEWAY_FULL").is_some() { 2_000 } else { 96 };
    let mut let_in = 0;
    for seed in 0..seeds {
        let mut dice = Dice(seed);
        let kind = dice.one_of(&[Kind::Money, Kind::Money, Kind::Seats]);
        let limit = if kind == Kind::Seats { dice.one_of(&[40, 70, 320]) } else { dice.one_of(&[60, 100, 640, 3_200]) };
        let mut fleet = Fleet::new(&server, &format!("seed{seed}"), kind, (2 + dice.below(3), limit)).await;
        let count = fleet.gateways.len();
        for _ in 0..400 {
            happen(&mut fleet, &mut dice).await;
        }
        let_in += fleet.taken();
        // All that was on its way arrives, and what runs comes to its end.
        for number in 0..count {
            fleet.gateways[number].waiting.clear();
            fleet.round(number).await;
            while !fleet.gateways[number].running.is_empty() {
                fleet.settle(number, 0, 1);
            }
        }

        // Each tells with its own request what came of the earlier ones, so that the second time all is known.
        let amount = if kind == Kind::Seats { 1 } else { 30 };
        for _ in 0..400 {
            if fleet.limit - fleet.taken() < amount {
                break;
            }
            let mut order: Vec<usize> = (0..count).collect();
            order.rotate_left(dice.below(count));
            let through = fleet.gets_through(&order, amount).await || fleet.gets_through(&order, amount).await;
            assert!(through, "seed {seed}: {} of {limit} are left: {:?}", limit - fleet.taken(), fleet.standing());
            if kind == Kind::Money {
                (0..count).for_each(|number| fleet.settle(number, 0, 18));
            }
        }
        assert!(fleet.limit - fleet.taken() < amount, "seed {seed}: not used up: {:?}", fleet.standing());
    }
    assert!(let_in > seeds * 20, "{let_in} taken in {seeds} histories");
}

#[tokio::test]
async fn beside_gateways_of_an_earlier_release_the_sum_passes_the_limit_by_a_part_of_each_at_most() {
    let Some(server) = Server::start("gateways of an earlier release") else { return };
    let seeds = if std::env::var_os("CAUSEWAY_FULL").is_some() { 2_000 } else { 96 };
    let (mut let_in, mut furthest) = (0, 0);
    for seed in 0..seeds {
        let mut dice = Dice(seed);
        let limit = dice.one_of(&[60, 100, 640, 3_200]);
        let mut fleet = Fleet::new(&server, &format!("earlier{seed}"), Kind::Money, (2 + dice.below(3), limit)).await;
        let earlier = 1 + dice.below(fleet.gateways.len() - 1);
        fleet.gateways[..earlier].iter_mut().for_each(|gateway| gateway.is_earlier = true);
        fleet.beyond = accounting::part_of(limit) * earlier as u64;
        for _ in 0..400 {
            happen(&mut fleet, &mut dice).await;
            furthest = furthest.max(fleet.taken().saturating_sub(limit));
        }
        let_in += fleet.taken();
    }
    assert!(let_in > seeds * 20, "{let_in} taken in {seeds} histories");
    println!("beside an earlier release: at most {furthest} beyond the limit in {seeds} histories");
}
