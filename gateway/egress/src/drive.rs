//! An HTTP/1.1 connection without a task of its own: whoever waits for its reply drives it.
//!
//! A task for each connection would be woken for each piece of a reply, hand it on, wake the caller's task, and be woken
//! again when the piece was taken: three turns of the scheduler where one does. Here the caller's own poll reads the socket.
//! What the connection does to itself while it is driven wakes nobody, and a poll that finds no news costs two looks at
//! a flag.
//!
//! A connection that lies idle is driven by nobody. The news that its server closed it waits until somebody looks: the
//! next request that would use it, or the pool's sweep.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::task::unconstrained;

use crate::body::UpstreamBody;
use crate::connect::Stream;

/// Turns in a row before other tasks get theirs.
const TURNS: usize = 8;

/// A connection, driven from outside.
pub(crate) struct Driven {
    /// Gone when it has ended.
    connection: Option<http1::Connection<TokioIo<Stream>, UpstreamBody>>,
    /// TLS says goodbye, so that its peer can tell an end from a cut.
    says_goodbye: bool,
    line: Arc<Line>,
    /// What the connection knows us by, for all its life: the socket remembers it from one wait to the next.
    waker: Waker,
}

impl Driven {
    pub(crate) fn new(connection: http1::Connection<TokioIo<Stream>, UpstreamBody>, says_goodbye: bool) -> Self {
        let line = Arc::new(Line::default());
        let waker = Waker::from(Arc::clone(&line));
        Self { connection: Some(connection), says_goodbye, line, waker }
    }

    /// Lets the connection get on and asks what came of it, until there is an answer or nothing more to do.
    ///
    /// `ask` must wait for nothing but this connection; it gets a context that leads back here.
    pub(crate) fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        mut ask: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.line.listens.store(false, Ordering::SeqCst);
        for _ in 0..TURNS {
            if !self.line.take_news() && !self.line.wait(context.waker()) {
                return Poll::Pending;
            }
            self.get_on();
            if let Poll::Ready(answer) = ask(&mut Context::from_waker(&self.waker)) {
                // The answer that was taken may have made room for the next one.
                self.stir();
                return Poll::Ready(answer);
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells the connection that it has something to do.
    pub(crate) fn stir(&self) {
        self.line.news.store(true, Ordering::SeqCst);
    }

    /// Lets the connection get on as far as it can, for nobody. Whoever waited for it is forgotten.
    ///
    /// Many connections may be looked at in one poll of a caller's task. A look is not charged to that task: when tokio's
    /// budget of it is used up, a socket says that nothing is there, and a dead connection would pass for an open one.
    pub(crate) fn look(&mut self) {
        self.line.forget();
        for _ in 0..TURNS {
            if !self.line.take_news() {
                return;
            }
            let looking = pin!(unconstrained(poll_fn(|_| {
                self.get_on();
                Poll::Ready(())
            })));
            let _ = looking.poll(&mut Context::from_waker(Waker::noop()));
        }
        // What is left is for the next look.
        self.stir();
    }

    fn get_on(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        if let Poll::Ready(ended) = Pin::new(connection).poll(&mut Context::from_waker(&self.waker)) {
            self.connection = None;
            if let Err(error) = ended {
                tracing::debug!(%error, "an upstream connection ended with an error");
            }
        }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        // Its sender is gone by now, so that it closes. What does not go out at once is not worth waiting for.
        if self.says_goodbye {
            self.line.forget();
            self.get_on();
        }
    }
}

/// From a connection to whoever waits for it.
struct Line {
    /// Something happened since the connection was driven last.
    news: AtomicBool,
    /// Somebody waits and wants to be woken.
    listens: AtomicBool,
    /// Kept from wait to wait: it is nearly always the same.
    caller: Mutex<Option<Waker>>,
}

impl Default for Line {
    /// A connection that was never driven has something to do.
    fn default() -> Self {
        Self { news: AtomicBool::new(true), listens: AtomicBool::new(false), caller: Mutex::default() }
    }
}

impl Line {
    fn take_news(&self) -> bool {
        // Looking is cheaper than swapping, and mostly there are none.
        self.news.load(Ordering::SeqCst) && self.news.swap(false, Ordering::SeqCst)
    }

    /// Lets `waker` be woken by the next news; true when they came in between, and were taken.
    fn wait(&self, waker: &Waker) -> bool {
        let mut caller = self.caller.lock();
        if !caller.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *caller = Some(waker.clone());
        }
        drop(caller);
        // INVARIANT: this comes before the last look at the news, and whoever brings them looks here after that. One of
        // the two sees the other, so no news are slept through.
        self.listens.store(true, Ordering::SeqCst);
        let came = self.take_news();
        if came {
            self.listens.store(false, Ordering::SeqCst);
        }
        came
    }

    fn forget(&self) {
        self.listens.store(false, Ordering::SeqCst);
        let caller = self.caller.lock().take();
        drop(caller);
    }
}

impl Wake for Line {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.news.store(true, Ordering::SeqCst);
        if self.listens.swap(false, Ordering::SeqCst)
            && let Some(caller) = &*self.caller.lock()
        {
            caller.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

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

    fn fresh() -> Arc<Line> {
        let line = Arc::new(Line::default());
        assert!(line.take_news(), "a new connection has something to do");
        line
    }

    #[test]
    fn whoever_waits_is_woken_once_by_the_first_news() {
        let (woken, waker) = counted();
        let line = fresh();

        assert!(!line.wait(&waker));
        line.wake_by_ref();
        line.wake_by_ref();

        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(line.take_news());
        assert!(!line.take_news());
    }

    #[test]
    fn news_that_come_while_nobody_waits_are_found_by_the_next_who_would() {
        let (woken, waker) = counted();
        let line = fresh();

        line.wake_by_ref();

        assert!(line.wait(&waker));
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn one_who_has_left_is_neither_woken_nor_kept() {
        let (woken, waker) = counted();
        let line = fresh();
        assert!(!line.wait(&waker));
        drop(waker);

        line.forget();
        line.wake_by_ref();

        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&woken), 1);
    }

    /// Two threads bring news and wait for them as fast as they can; each wait ends, or this test does not.
    #[test]
    fn no_news_are_slept_through() {
        struct Unpark(std::thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let line = fresh();
        let (sent, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let bringer = {
            let (line, sent, taken) = (Arc::clone(&line), Arc::clone(&sent), Arc::clone(&taken));
            std::thread::spawn(move || {
                for number in 1..=300 {
                    sent.store(number, Ordering::SeqCst);
                    line.wake_by_ref();
                    while taken.load(Ordering::SeqCst) < number {
                        std::thread::yield_now();
                    }
                }
            })
        };

        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        while taken.load(Ordering::SeqCst) < 300 {
            line.listens.store(false, Ordering::SeqCst);
            if !line.take_news() && !line.wait(&waker) {
                std::thread::park();
            }
            taken.store(sent.load(Ordering::SeqCst), Ordering::SeqCst);
        }

        bringer.join().unwrap();
    }
}
