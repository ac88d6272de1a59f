use accounting::{Answer, Bell, Left, Question};

use super::*;

mod beside;
mod flows;
mod levels;
mod openings;

/// A counter that asks what it is told to.
#[derive(Debug, Default)]
struct Wants {
    questions: Mutex<Vec<Question>>,
    learned: Mutex<Vec<Option<Answer>>>,
}

impl Counter for Wants {
    fn ring_by(&self, _: Bell) {}

    fn questions(&self, _: Instant) -> Vec<Question> {
        std::mem::take(&mut *self.questions.lock())
    }

    fn learn(&self, _: &Question, answer: Option<Answer>, _: Instant) {
        self.learned.lock().push(answer);
    }

    fn tell_again(&self) {}

    fn is_busy(&self) -> bool {
        !self.questions.lock().is_empty()
    }

    fn share(&self) {}

    fn own(&self, _: &Left, _: Instant) {}

    fn last_known(&self) -> Left {
        Left::default()
    }
}

fn settings(on_loss: OnLoss) -> Settings {
    Settings { prefix: "test".to_owned(), user: None, password: None, on_loss }
}

fn nobody() -> Dial {
    Arc::new(|| Box::pin(async { Err("nobody listens".to_owned()) }))
}

async fn learned_without_store(on_loss: OnLoss) -> (Result<(), StoreLost>, Vec<Option<Answer>>) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let shared = Shared::open(folder.path(), folder.path(), settings(on_loss)).expect("the folder can be used");
    shared.reach_by(nobody());
    let counter = Arc::new(Wants::default());
    let question = Question::Flow { limit: 300, period: Duration::from_secs(60), owed: 0, least: 1, most: 1 };
    counter.questions.lock().push(question);
    shared.enrol("a", &counter);
    let keeper = shared.clone();
    let running = tokio::spawn(async move { keeper.run().await });

    let outcome = shared.round(shared.latest()).await;

    running.abort();
    let learned = counter.learned.lock().clone();
    (outcome, learned)
}

#[tokio::test]
async fn while_the_store_is_away_nobody_is_let_in_where_that_was_chosen() {
    assert_eq!(learned_without_store(OnLoss::Deny).await, (Err(StoreLost), vec![None]));
}

#[tokio::test]
async fn while_the_store_is_away_each_goes_on_with_its_share_where_that_was_chosen() {
    let (outcome, learned) = learned_without_store(OnLoss::LocalShare { of: 3 }).await;

    assert_eq!(outcome, Ok(()));
    assert_eq!(learned, [Some(Answer::Flow { granted: 1, left: 99, wait: Duration::ZERO })]);
}

#[test]
fn processes_of_one_folder_have_one_family_and_only_the_first_is_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let open = || Shared::open(folder.path(), folder.path(), settings(OnLoss::Deny)).expect("the folder can be used");

    let (first, second) = (open(), open());

    let family = |shared: &Shared| shared.inner.owner.split('/').next().map(str::to_owned);
    assert_eq!(family(&first), family(&second));
    assert_ne!(first.inner.owner, second.inner.owner);
    assert_eq!((first.is_alone(), second.is_alone()), (true, false));
    drop((first, second));
    assert!(open().is_alone());
}

#[test]
fn a_password_does_not_stand_in_what_is_printed() {
    let settings = Settings { password: Some("hush-hush".to_owned()), ..settings(OnLoss::Deny) };

    assert!(!format!("{settings:?}").contains("hush"), "{settings:?}");
}

#[test]
fn of_two_upgrades_in_a_row_the_third_process_is_not_alone_beside_the_second() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let open = || Shared::open(folder.path(), folder.path(), settings(OnLoss::Deny)).expect("the folder can be used");

    let first = open();
    let second = open();
    drop(first);
    let third = open();
    let seen = [second.is_alone(), third.is_alone()];
    drop((second, third));

    assert_eq!(seen, [false, false]);
    assert!(open().is_alone());
}

#[test]
fn one_that_hangs_while_it_takes_its_place_stops_no_other_for_ever() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let hangs = turn(&folder.path().join("replica.turn"), Duration::ZERO).expect("nobody has it");

    let refused = take_place(folder.path(), Duration::from_millis(20)).expect_err("somebody else takes its place");
    drop(hangs);

    assert!(refused.to_string().contains("replica.turn"), "{refused}");
    assert!(take_place(folder.path(), Duration::ZERO).is_ok_and(|(_, alone)| alone));
}
