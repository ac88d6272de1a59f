//! A timer that is asked often and goes off seldom.

use std::future::Future as _;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is looked at far more often than it goes off: whoever waits for it is made known to it once, and not at
/// every poll.
#[derive(Debug)]
pub struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// When it goes off: the sleep knows, but lies elsewhere.
    due: Instant,
    /// Whom it wakes.
    known: Option<Waker>,
}

impl Alarm {
    /// One that goes off at `due`.
    #[must_use]
    pub fn at(due: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(due)), due, known: None }
    }

    /// When it goes off.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Lets it go off at another time, also where it has gone off already.
    pub fn set(&mut self, due: Instant) {
        self.sleep.as_mut().reset(due);
        self.due = due;
        self.known = None;
    }

    /// Ready when its time has come, and until it is set again.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_at(Instant::now(), context)
    }

    /// The same for whoever has just looked at the clock.
    pub fn poll_at(&mut self, now: Instant, context: &mut Context<'_>) -> Poll<()> {
        let is_known = self.known.as_ref().is_some_and(|known| known.will_wake(context.waker()));
        // When it goes off later than this look, it wakes whom it knows.
        if is_known && now < self.due {
            return Poll::Pending;
        }
        // Not charged to the task: when tokio's budget of it is used up, a timer says that it waits, and knows of nobody.
        let polled = pin!(unconstrained(self.sleep.as_mut())).poll(context);
        self.known = polled.is_pending().then(|| context.waker().clone());
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counted() -> (Arc<Counted>, Waker) {
        let counted = Arc::new(Counted::default());
        (Arc::clone(&counted), Waker::from(counted))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn whoever_asked_last_is_woken_once() {
        let ((first, one), (second, other)) = (counted(), counted());
        let mut alarm = Alarm::at(Instant::now() + SECOND);
        for waker in [&one, &one, &other, &other] {
            assert!(alarm.poll(&mut Context::from_waker(waker)).is_pending());
        }

        tokio::time::sleep(2 * SECOND).await;

        assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (0, 1));
        assert!(alarm.poll(&mut Context::from_waker(&other)).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_put_off_goes_off_then_for_the_one_it_knew() {
        let (woken, waker) = counted();
        let context = &mut Context::from_waker(&waker);
        let mut alarm = Alarm::at(Instant::now() + SECOND);
        assert!(alarm.poll(context).is_pending());
        let later = Instant::now() + 3 * SECOND;
        alarm.set(later);
        assert!(alarm.poll(context).is_pending());

        tokio::time::sleep(2 * SECOND).await;
        assert_eq!((woken.0.load(Ordering::SeqCst), alarm.due()), (0, later));
        tokio::time::sleep(2 * SECOND).await;

        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(alarm.poll(context).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_used_up_its_budget_is_woken_as_well() {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        (0..1_000).for_each(|number| sender.send(number).unwrap());
        let mut alarm = Alarm::at(Instant::now() + SECOND);
        let mut is_first = true;

        poll_fn(|context| {
            while is_first && receiver.poll_recv(context).is_ready() {}
            is_first = false;
            alarm.poll(context)
        })
        .await;

        assert!(!receiver.is_empty(), "the budget ended before the messages did");
    }
}
