//! The signal that says: finish what runs, take nothing new.

use tokio::sync::watch;

/// Makes a switch and the signal it gives.
pub fn drain() -> (DrainSwitch, Drain) {
    let (sender, receiver) = watch::channel(false);
    (DrainSwitch { sender }, Drain { receiver })
}

/// Begins the drain, for every [`Drain`] cloned from the one it was made with.
///
/// Dropping it begins the drain too: a process that lost its switch is leaving.
#[derive(Debug)]
pub struct DrainSwitch {
    sender: watch::Sender<bool>,
}

impl DrainSwitch {
    /// Begins the drain; further calls change nothing.
    pub fn begin(&self) {
        self.sender.send_replace(true);
    }
}

/// Tells a connection when to finish.
#[derive(Debug, Clone)]
pub struct Drain {
    receiver: watch::Receiver<bool>,
}

impl Drain {
    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        *self.receiver.borrow() || self.receiver.has_changed().is_err()
    }

    /// Whether there were news since this was cloned; much cheaper than asking again whether it has begun.
    pub(super) fn may_have_begun(&self) -> bool {
        self.receiver.has_changed().unwrap_or(true)
    }

    /// Waits until the drain has begun.
    pub async fn begun(&mut self) {
        // The error says that the switch is gone, which is the same news.
        let _ = self.receiver.wait_for(|begun| *begun).await;
    }
}

/// A lifecycle that has a shutdown watch of its own (pingora's) gives it as it is.
impl From<watch::Receiver<bool>> for Drain {
    fn from(receiver: watch::Receiver<bool>) -> Self {
        Self { receiver }
    }
}

#[cfg(test)]
mod tests {
    use super::drain;

    #[tokio::test]
    async fn a_drain_is_seen_by_every_clone_and_by_latecomers() {
        let (switch, first) = drain();
        let mut second = first.clone();
        assert!(!first.has_begun());

        switch.begin();

        second.begun().await;
        first.clone().begun().await;
        assert!(first.has_begun());
    }

    #[tokio::test]
    async fn a_lost_switch_begins_the_drain() {
        let (switch, mut signal) = drain();

        drop(switch);

        signal.begun().await;
        assert!(signal.has_begun());
    }
}
