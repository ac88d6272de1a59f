//! A timer that is looked at far more often than it fires.

use std::future::Future as _;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// Asking tokio's timer costs more than looking whether it has anything to say. It is asked again only once it has fired,
/// was set anew, or is to wake somebody else.
pub(super) struct Alarm {
    timer: Pin<Box<Sleep>>,
    /// Whom the timer wakes.
    wakes: Option<Waker>,
}

impl Alarm {
    pub(super) fn at(at: Instant) -> Self {
        Self { timer: Box::pin(sleep_until(at)), wakes: None }
    }

    pub(super) fn set(&mut self, at: Instant) {
        self.timer.as_mut().reset(at);
        self.wakes = None;
    }

    /// Ready when its time has come, and until it is set again.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let is_known = self.wakes.as_ref().is_some_and(|known| known.will_wake(context.waker()));
        if is_known && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        // INVARIANT: what is not asked again must have been told whom to wake, whatever is left of the task's budget.
        let fired = pin!(unconstrained(self.timer.as_mut())).poll(context);
        self.wakes = fired.is_pending().then(|| context.waker().clone());
        fired
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asked_last_is_woken_each_time_that_it_is_set() {
        let (first, last) = (Arc::new(Counted::default()), Arc::new(Counted::default()));
        let of = |counted: &Arc<Counted>| Waker::from(Arc::clone(counted));
        let woken = |counted: &Counted| counted.0.load(Ordering::Relaxed);
        let (one, other) = (of(&first), of(&last));
        let (mut one, mut other) = (Context::from_waker(&one), Context::from_waker(&other));
        let step = Duration::from_secs(10);
        let mut alarm = Alarm::at(Instant::now() + step);

        assert!(alarm.poll(&mut one).is_pending() && alarm.poll(&mut other).is_pending());
        assert!(alarm.poll(&mut other).is_pending());
        tokio::time::sleep(step).await;
        assert_eq!((woken(&first), woken(&last)), (0, 1));
        assert!(alarm.poll(&mut other).is_ready() && alarm.poll(&mut other).is_ready());

        alarm.set(Instant::now() + step);
        assert!(alarm.poll(&mut other).is_pending());
        tokio::time::sleep(step).await;
        assert_eq!((woken(&first), woken(&last)), (0, 2));
        assert!(alarm.poll(&mut one).is_ready());
    }
}
