//! What is held back in a whole fleet: each gateway puts what it holds back on the board of the shared store, and does what
//! stands there.
//!
//! **Promises.** What an administrator holds back at one gateway is held back at all that reach the store, within a few seconds;
//! one that does not reach it holds back what it knew, and more when it is back. Letting go is put up first: where the store does not answer,
//! nothing is let go. A store that lost its memory learns it again from whoever holds it back. What is learnt there is kept in
//! the state folder before it is in force, so that no gateway that did what stood there lets it go when it starts anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ledger::Notice;
use telemetry::audit::AdminEvent;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{MissedTickBehavior, interval};

use super::{Held, Holding, Restraint, Restrictions};
use crate::gateway::Gateway;

/// How often the board is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Restraint {
    /// The name on the board.
    fn about(&self) -> String {
        match self {
            Self::Key(name) => format!("key {name}"),
            Self::App(name) => format!("app {name}"),
            Self::Endpoint(name) => format!("endpoint {name}"),
            Self::Model(name) => format!("model {name}"),
            Self::LocalOnly => "local only".to_owned(),
        }
    }

    fn named(about: &str) -> Option<Self> {
        let (kind, name) = about.split_once(' ')?;
        let name = name.to_owned();
        Some(match kind {
            "key" => Self::Key(name),
            "app" => Self::App(name),
            "endpoint" => Self::Endpoint(name),
            "model" => Self::Model(name),
            "local" => Self::LocalOnly,
            _ => return None,
        })
    }

    /// That it is let go, for the board.
    pub(crate) fn let_go(&self, at: u64) -> Notice {
        Notice { about: self.about(), at, text: None }
    }
}

/// What one look at the board led to.
#[derive(Debug, Default)]
struct Heard {
    /// What came into force.
    held: Vec<(Restraint, Held)>,
    let_go: Vec<Restraint>,
    /// What the board lacks.
    untold: Vec<Notice>,
    failed: Option<String>,
}

impl Holding {
    /// What is held back on the board and not here.
    fn news(&self, board: &[Notice]) -> Vec<(Restraint, Held)> {
        let now = self.current();
        let news = board.iter().filter_map(|notice| {
            let what = Restraint::named(&notice.about).filter(|what| now.held(what).is_none())?;
            Some((what, serde_json::from_str(notice.text.as_deref()?).ok()?))
        });
        news.collect()
    }

    /// Does what stands on the board, and says what is missing there.
    fn heed(&self, board: &[Notice]) -> Heard {
        let mut heard = Heard::default();
        // All at once: one by one, hundreds would keep even a good disk for longer than it is waited for.
        if let Err(error) = self.tighten_all(&self.news(board)) {
            heard.failed = Some(error.to_string());
        }
        for notice in board {
            let Some(what) = Restraint::named(&notice.about) else { continue };
            if let Err(error) = self.heed_one(&what, notice, &mut heard) {
                heard.failed = Some(error);
            }
        }
        heard.untold = self.untold(board);
        heard
    }

    fn heed_one(&self, what: &Restraint, notice: &Notice, heard: &mut Heard) -> Result<(), String> {
        let own = self.current().held(what).cloned();
        match (&notice.text, own) {
            // One that can be read is in force by now, or had no room.
            (Some(text), None) => {
                let read: Result<Held, _> = serde_json::from_str(text);
                read.map_err(|error| format!("{}: {error}", notice.about))?;
            }
            (None, Some(held)) if held.at <= notice.at => {
                self.lift(what).map_err(|error| error.to_string())?;
                self.latest_let_go(notice.at);
                heard.let_go.push(what.clone());
            }
            (None, _) => self.latest_let_go(notice.at),
            (Some(_), Some(_)) => {}
        }
        Ok(())
    }

    /// What is held back here and not on the board.
    fn untold(&self, board: &[Notice]) -> Vec<Notice> {
        let known: BTreeMap<&str, &Notice> = board.iter().map(|notice| (&*notice.about, notice)).collect();
        let mut untold = Vec::new();
        for (what, held) in Restrictions::clone(&self.current()).into_restraints() {
            let about = what.about();
            let stands = known.get(&*about);
            if stands.is_none_or(|notice| notice.text.is_none() && notice.at < held.at)
                && let Ok(text) = serde_json::to_string(&held)
            {
                untold.push(Notice { about, at: held.at, text: Some(text) });
            }
        }
        untold
    }
}

/// Whoever does here what stands on the board.
struct Follower {
    holding: Arc<Holding>,
    /// What was begun at an earlier look, and what the disk has not ended yet.
    heeding: Option<JoinHandle<Heard>>,
}

impl Follower {
    /// Does what stands on the board; what the disk does not end in time is told at a later look.
    async fn heed(&mut self, board: Vec<Notice>) -> Heard {
        let news = self.holding.news(&board);
        let mut heard = self.look_with(&news, board).await;
        let now = self.holding.current();
        heard.held = news.into_iter().filter(|(what, held)| now.held(what) == Some(held)).collect();
        heard
    }

    async fn look_with(&mut self, news: &[(Restraint, Held)], board: Vec<Notice>) -> Heard {
        let before = match &mut self.heeding {
            // INVARIANT: one at a time. A second one would wait behind the first, and one more thread with it each second; and
            // what the fleet says meanwhile does not wait for that disk.
            Some(heeding) if !heeding.is_finished() => {
                self.holding.hold_unkept(news);
                return Heard { untold: self.holding.untold(&board), ..Heard::default() };
            }
            Some(heeding) => ended(heeding.await),
            None => Heard::default(),
        };
        let holding = Arc::clone(&self.holding);
        // A disk that hangs must not hang the timers beside this one.
        let heeding = self.heeding.insert(tokio::task::spawn_blocking(move || holding.heed(&board)));
        let Some(done) = self.holding.in_time(news, &mut *heeding).await else { return before };
        self.heeding = None;
        let mut heard = ended(done);
        heard.let_go.splice(..0, before.let_go);
        heard.failed = heard.failed.or(before.failed);
        heard
    }
}

fn ended(heeding: Result<Heard, JoinError>) -> Heard {
    heeding.unwrap_or_else(|fault| Heard { failed: Some(fault.to_string()), ..Heard::default() })
}

/// Reads the board for as long as it is not dropped; at once over where no store is shared.
pub(crate) async fn follow(gateway: &Arc<Gateway>) {
    let Some(sharing) = gateway.snapshot().sharing.clone() else { return };
    let mut board = sharing.counters.board();
    let mut follower = Follower { holding: Arc::clone(&gateway.restrictions), heeding: None };
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        look.tick().await;
        let outcome = follow_once(gateway, &mut board, &mut follower).await;
        match outcome {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "what the fleet holds back is not known; what this gateway holds back stays");
            }
            Err(_) => {}
        }
    }
}

async fn follow_once(gateway: &Gateway, board: &mut ledger::Board, follower: &mut Follower) -> Result<(), String> {
    let heard = follower.heed(board.read().await?).await;
    for (what, held) in &heard.held {
        tracing::warn!(%what, by = held.by, because = held.because, "held back by the fleet");
        record(gateway, "fleet_holds_back", &held.by, &format!("{what}: {}", held.because)).await;
    }
    for what in &heard.let_go {
        tracing::warn!(%what, "let go again by the fleet");
        record(gateway, "fleet_lets_go", "fleet", &what.to_string()).await;
    }
    board.put_up(&heard.untold).await?;
    heard.failed.map_or(Ok(()), Err)
}

async fn record(gateway: &Gateway, action: &'static str, actor: &str, detail: &str) {
    let snapshot = gateway.snapshot();
    let event =
        AdminEvent { at: SystemTime::now(), action, actor, done: true, configuration: Some(&snapshot.hash), detail };
    if let Err(error) = gateway.audit.admin_or_late(&event).await {
        tracing::error!(%error, action, "what the fleet did could not be recorded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(at: u64) -> Held {
        Held { at, by: "olga".to_owned(), because: "leaked".to_owned(), named: None }
    }

    fn notice(what: &Restraint, at: u64, held: Option<&Held>) -> Notice {
        Notice { about: what.about(), at, text: held.map(|held| serde_json::to_string(held).unwrap()) }
    }

    fn app() -> Restraint {
        Restraint::App("claims".to_owned())
    }

    #[test]
    fn what_stands_on_the_board_is_held_back_here_and_not_put_up_again() {
        let holding = Holding::default();

        let heard = holding.heed(&[notice(&app(), 7, Some(&held(7)))]);

        assert_eq!(heard.untold, []);
        assert_eq!(holding.current().held(&app()), Some(&held(7)));
    }

    #[test]
    fn what_is_new_on_the_board_is_what_is_held_back_there_and_not_here() {
        let holding = Holding::default();
        holding.tighten(&app(), &held(7)).unwrap();
        let (endpoint, let_go) = (Restraint::Endpoint("gpu-01".to_owned()), notice(&Restraint::LocalOnly, 7, None));
        let board = [notice(&app(), 7, Some(&held(7))), notice(&endpoint, 8, Some(&held(8))), let_go];

        assert_eq!(holding.news(&board), [(endpoint, held(8))]);
    }

    #[test]
    fn what_is_held_back_here_is_put_up_where_it_does_not_stand() {
        let holding = Holding::default();
        holding.tighten(&app(), &held(7)).unwrap();

        assert_eq!(holding.heed(&[]).untold, [notice(&app(), 7, Some(&held(7)))]);
        assert_eq!(holding.heed(&[notice(&app(), 6, None)]).untold.len(), 1);
        assert!(holding.current().held(&app()).is_some());
    }

    #[test]
    fn what_was_let_go_later_is_let_go_here() {
        let holding = Holding::default();
        holding.tighten(&app(), &held(7)).unwrap();

        let heard = holding.heed(&[notice(&app(), 7, None)]);

        assert_eq!((heard.let_go, heard.untold), (vec![app()], vec![]));
        assert_eq!(holding.current().held(&app()), None);
    }

    #[test]
    fn what_is_said_after_a_letting_go_outlives_it_whatever_the_clock_here_says() {
        let holding = Holding::default();
        let let_go = notice(&app(), 9, None);
        holding.heed(std::slice::from_ref(&let_go));

        let at = holding.said_at(7);
        assert!(holding.hold_at_once(&app(), &held(at)));
        let heard = holding.heed(&[let_go]);

        assert_eq!((at, heard.let_go.len(), heard.untold.len()), (10, 0, 1));
        assert_eq!(holding.current().held(&app()), Some(&held(10)));
    }

    fn key(number: u64) -> Restraint {
        Restraint::Key(format!("leaked {number}"))
    }

    fn leaks(numbers: std::ops::RangeInclusive<u64>) -> Vec<Notice> {
        numbers.map(|number| notice(&key(number), number, Some(&held(number)))).collect()
    }

    /// The writer meets a pipe in place of its file, which shows what it writes first and refuses to be synced.
    #[test]
    fn what_is_new_on_the_board_is_written_together() {
        let folder = tempfile::tempdir().unwrap();
        let holding = Arc::new(Holding::default());
        holding.open(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("restrictions")).unwrap();
        let pipe = folder.path().join("restrictions").join(format!(".restrictions.{}.tmp", std::process::id()));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let heeding = {
            let holding = Arc::clone(&holding);
            std::thread::spawn(move || holding.heed(&leaks(1..=3)))
        };

        let first = std::io::read_to_string(std::fs::File::open(&pipe).unwrap()).unwrap();
        heeding.join().unwrap();

        assert_eq!((1..=3).filter(|number| first.contains(&format!("leaked {number}"))).count(), 3, "{first}");
        assert_eq!(holding.current().len(), 3, "what the disk refuses is in force");
    }

    /// The disk hangs: whoever writes waits for a lock that the test has.
    #[tokio::test]
    async fn a_disk_that_hangs_makes_no_gateway_deaf_to_what_the_fleet_says_next() {
        let folder = tempfile::tempdir().unwrap();
        let holding = Arc::new(Holding::default());
        holding.open(folder.path()).unwrap();
        let mut follower = Follower { holding: Arc::clone(&holding), heeding: None };
        std::fs::create_dir(folder.path().join("restrictions")).unwrap();
        let disk = std::fs::File::create(folder.path().join("restrictions/lock")).unwrap();
        disk.lock().unwrap();

        let first = follower.heed(leaks(1..=1)).await;
        let begun = follower.heeding.as_ref().map(|heeding| heeding.id());
        let mut board = leaks(1..=2);
        let second = follower.heed(board.clone()).await;
        holding.hold_unkept(&[(app(), held(7))]);
        let third = follower.heed(board.clone()).await;

        assert_eq!((first.held, second.held), (vec![(key(1), held(1))], vec![(key(2), held(2))]));
        assert_eq!((third.held, third.untold), (vec![], vec![notice(&app(), 7, Some(&held(7)))]));
        assert_eq!(follower.heeding.as_ref().map(|heeding| heeding.id()), begun, "no second one waits for the disk");

        drop(disk);
        board.push(notice(&key(3), 3, Some(&held(3))));
        while follower.heeding.as_ref().is_some_and(|heeding| !heeding.is_finished()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(follower.heed(board).await.held, [(key(3), held(3))]);
        assert!(follower.heeding.is_none());
        let after_a_kill = Holding::default();
        after_a_kill.open(folder.path()).unwrap();
        assert_eq!(after_a_kill.current().len(), 4, "what was in force unkept is kept when the disk is back");
    }

    #[test]
    fn every_restraint_has_a_name_on_the_board() {
        let all = [
            Restraint::Key("sha256:ab".to_owned()),
            app(),
            Restraint::Endpoint("gpu-01".to_owned()),
            Restraint::Model("chat large".to_owned()),
            Restraint::LocalOnly,
        ];

        for what in all {
            assert_eq!(Restraint::named(&what.about()), Some(what));
        }
        assert_eq!(Restraint::named("planet mars"), None);
    }
}
