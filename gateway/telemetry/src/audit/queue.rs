//! Entries on their way to the file, and who waits for them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::oneshot;

use super::bundle::MAX_ENTRY;
use super::entry::Entry;
use super::passed::Passed;

/// Whole entries that wait, oldest first. Its lock is never held while anything is written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    batch: Batch,
    /// Bytes of what is being written, which may come back.
    out: usize,
    /// Those of them that belong to no request that was sent.
    out_beside_requests: usize,
    /// What found no room to wait and is not told in the log yet.
    pub(super) unreported: Unreported,
    /// Requests that were sent without a record, or before it, and are not told in the log yet.
    pub(super) passed: Option<Passed>,
    /// Whether that was said aloud since the log last told it.
    pub(super) passed_is_said: bool,
    /// Nothing more is taken: the closing entry comes next.
    pub(super) sealed: bool,
}

/// How many entries of each kind found no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Unreported {
    /// Outcomes.
    #[serde(rename = "count")]
    pub(super) outcomes: u64,
    /// Administrative actions.
    #[serde(skip_serializing_if = "is_none_of_them")]
    pub(super) actions: u64,
    /// Refusals.
    #[serde(skip_serializing_if = "is_none_of_them")]
    pub(super) refusals: u64,
}

impl Unreported {
    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none_of_them(count: &u64) -> bool {
    *count == 0
}

/// Entries as they stand in a bundle, with one item for each.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Bytes at the front that are written.
    done: usize,
    items: VecDeque<Item>,
}

/// One entry of a batch.
#[derive(Debug)]
pub(super) struct Item {
    /// Its bytes, the length before it included.
    pub(super) length: usize,
    /// Whether it is an intent, whose outcome is still to come.
    pub(super) opens: bool,
    /// Whether it is an outcome, which may be counted where there is no room for it.
    closes: bool,
    wait: Wait,
}

impl Item {
    /// Its bytes where it belongs to no request that was sent, being an action or a refusal; otherwise none.
    fn bytes_beside_requests(&self) -> usize {
        if self.opens || self.closes { 0 } else { self.length }
    }
}

/// Who waits for an entry, and so takes it back when it cannot be written.
#[derive(Debug)]
pub(super) enum Wait {
    /// Nobody: it is kept until the disk takes it.
    Nobody,
    /// Who writes it itself, or finds that another has.
    Thread(Arc<Slot>),
    /// A task that the writer's thread tells.
    Task(oneshot::Sender<io::Result<()>>),
}

/// Where a waiting thread, or a task that has waited too long to keep its thread, finds what became of its entry.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    state: State,
    /// Tells the task that waits.
    told: Option<oneshot::Sender<()>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Waiting,
    /// Its writer gave up before anybody took it.
    Withdrawn,
    Taken,
    /// Its writer gave up after it was taken.
    Left,
    Settled(io::Result<()>),
}

impl Slot {
    /// What became of the entry; `None` while it waits.
    pub(super) fn settled(&self) -> Option<io::Result<()>> {
        match &self.0.lock().state {
            State::Settled(Ok(())) => Some(Ok(())),
            State::Settled(Err(error)) => Some(Err(again(error))),
            _ => None,
        }
    }

    /// Ends when the entry is settled. Who lets go of it before has left.
    pub(super) fn told(&self) -> oneshot::Receiver<()> {
        let (sender, told) = oneshot::channel();
        let mut inside = self.0.lock();
        if matches!(inside.state, State::Settled(_)) {
            let _ = sender.send(());
        } else {
            inside.told = Some(sender);
        }
        told
    }

    /// Takes the entry back; false where it is too late for that.
    pub(super) fn withdraw(&self) -> bool {
        let mut inside = self.0.lock();
        match inside.state {
            State::Waiting => inside.state = State::Withdrawn,
            State::Taken => inside.state = State::Left,
            State::Withdrawn | State::Left | State::Settled(_) => {}
        }
        matches!(inside.state, State::Withdrawn)
    }

    /// `opens`: the entry is an intent.
    fn take(&self, opens: bool) -> bool {
        let mut inside = self.0.lock();
        if matches!(inside.state, State::Waiting) {
            let wanted = opens || !inside.has_left();
            inside.state = if wanted { State::Taken } else { State::Withdrawn };
        }
        matches!(inside.state, State::Taken | State::Left)
    }

    /// Says what became of the entry; false where its writer left, and then it is as if nothing had been said.
    fn settle(&self, result: io::Result<()>) -> bool {
        let mut inside = self.0.lock();
        let is_there =
            !matches!(inside.state, State::Left) && inside.told.take().is_none_or(|told| told.send(()).is_ok());
        inside.state = if is_there { State::Settled(result) } else { State::Left };
        is_there
    }
}

impl Inside {
    /// Whether a task waited and went away.
    fn has_left(&self) -> bool {
        self.told.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

impl Wait {
    /// Claims the entry for a write; false where nobody wants it any more.
    fn take(&self, opens: bool) -> bool {
        match self {
            Self::Nobody => true,
            Self::Thread(slot) => slot.take(opens),
            // What closes an intent is behind it already. Nothing is behind another entry, and what it says was not done.
            Self::Task(sender) => opens || !sender.is_closed(),
        }
    }

    /// Says what became of the entry; false where nobody hears it, because its writer left and put what closes it behind it.
    ///
    /// INVARIANT: that it left and that it was told are one question. Whoever asks first whether somebody is there, and tells
    /// it then, may drop an intent whose request was sent.
    fn settle(self, result: io::Result<()>) -> bool {
        match self {
            Self::Nobody => false,
            Self::Thread(slot) => slot.settle(result),
            Self::Task(sender) => sender.send(result).is_ok(),
        }
    }
}

/// An entry is longer than a bundle can hold.
#[derive(Debug)]
pub(super) struct TooLong;

impl Queue {
    pub(super) fn push<T: Entry>(&mut self, kind: &str, body: &T, wait: Wait) -> Result<(), TooLong> {
        self.batch.push(kind, body, wait)
    }

    /// Takes the newest entry back, where it is an outcome; false where it stays.
    pub(super) fn pop_outcome(&mut self) -> bool {
        let item = self.batch.items.pop_back_if(|item| item.closes);
        if let Some(item) = &item {
            let length = self.batch.bytes.len().saturating_sub(item.length);
            self.batch.bytes.truncate(length);
        }
        item.is_some()
    }

    /// Takes the newest outcomes back until at most `most` bytes wait, and counts them as unreported; returns how many went.
    pub(super) fn shed(&mut self, most: usize) -> u64 {
        let mut over = self.batch.bytes.len().saturating_sub(most);
        let mut places = Vec::new();
        for (place, item) in self.batch.items.iter().enumerate().rev().filter(|(_, item)| item.closes) {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(item.length);
            places.push(place);
        }
        places.reverse();
        self.batch.remove(&places);
        let count = places.len() as u64;
        self.unreported.outcomes += count;
        count
    }

    /// Bytes of all that is not in the file, also while a write has it.
    pub(super) fn bytes(&self) -> usize {
        self.out + self.batch.bytes.len()
    }

    /// Of those, the bytes of entries that belong to no request that was sent: actions and refusals.
    pub(super) fn bytes_beside_requests(&self) -> usize {
        self.out_beside_requests + self.batch.items.iter().map(Item::bytes_beside_requests).sum::<usize>()
    }

    pub(super) fn entries(&self) -> usize {
        self.batch.items.len()
    }

    /// Everything that waits and is still wanted; `spare` is an empty batch whose memory is used again.
    pub(super) fn take(&mut self, spare: Batch) -> Batch {
        let mut batch = std::mem::replace(&mut self.batch, spare);
        let mut given_up = Vec::new();
        let mut beside_requests = 0;
        for (index, item) in batch.items.iter().enumerate() {
            if item.wait.take(item.opens) {
                beside_requests += item.bytes_beside_requests();
            } else {
                given_up.push(index);
            }
        }
        if !given_up.is_empty() {
            batch.remove(&given_up);
        }
        (self.out, self.out_beside_requests) = (batch.bytes.len(), beside_requests);
        batch
    }

    /// What was taken is in the file.
    pub(super) fn is_written(&mut self) {
        (self.out, self.out_beside_requests) = (0, 0);
    }

    /// Puts what could not be written back before what has come since.
    pub(super) fn put_back(&mut self, mut batch: Batch) {
        batch.bytes.drain(..batch.done);
        batch.done = 0;
        batch.bytes.extend_from_slice(&self.batch.bytes);
        batch.items.append(&mut self.batch.items);
        self.batch = batch;
        (self.out, self.out_beside_requests) = (0, 0);
    }
}

impl Batch {
    /// Adds `{"kind":…,<body>}` and a line feed, behind their length.
    pub(super) fn push<T: Entry>(&mut self, kind: &str, body: &T, wait: Wait) -> Result<(), TooLong> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(b"\0\0{\"kind\":\"");
        self.bytes.extend_from_slice(kind.as_bytes());
        self.bytes.push(b'"');
        body.write(&mut self.bytes);
        self.bytes.extend_from_slice(b"}\n");
        let length = self.bytes.len() - start;
        let Ok(entry) = u16::try_from(length - 2) else {
            debug_assert!(length - 2 > MAX_ENTRY);
            self.bytes.truncate(start);
            return Err(TooLong);
        };
        self.bytes[start..start + 2].copy_from_slice(&entry.to_be_bytes());
        self.items.push_back(Item { length, opens: kind == "intent", closes: kind == "outcome", wait });
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The first entries, at most `most` of them.
    pub(super) fn head(&self, most: u64) -> &[u8] {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let length: usize = self.items.iter().take(most).map(|item| item.length).sum();
        self.bytes.get(self.done..self.done + length).unwrap_or_default()
    }

    /// The first entry behind the last byte of its length, and the item that stands for it.
    pub(super) fn first(&mut self) -> Option<(&mut [u8], &Item)> {
        let item = self.items.front()?;
        Some((self.bytes.get_mut(self.done + 1..self.done + item.length)?, item))
    }

    /// The first entry is in the file.
    pub(super) fn written(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.done += item.length;
            item.wait.settle(Ok(()));
        }
    }

    /// The rest could not be written: who waits is told, what nobody waits for stays. So does an intent whose outcome is
    /// behind it, since an outcome alone would say nothing.
    pub(super) fn fail(&mut self, error: &io::Error) {
        let items = std::mem::take(&mut self.items);
        let mut kept = Vec::new();
        let mut at = self.done;
        for Item { length, opens, closes, wait } in items {
            let end = at + length;
            if matches!(wait, Wait::Nobody) || !wait.settle(Err(again(error))) && opens {
                kept.extend_from_slice(self.bytes.get(at..end).unwrap_or_default());
                self.items.push_back(Item { length, opens, closes, wait: Wait::Nobody });
            }
            at = end;
        }
        (self.bytes, self.done) = (kept, 0);
    }

    /// Empties it and gives back what a rare backlog needed.
    pub(super) fn cleared(mut self, most_bytes: usize) -> Self {
        self.bytes.clear();
        self.bytes.shrink_to(most_bytes);
        self.items.clear();
        self.items.shrink_to(most_bytes / 256);
        self.done = 0;
        self
    }

    /// Takes out the entries at these places, which are in order.
    #[cold]
    fn remove(&mut self, places: &[usize]) {
        let items = std::mem::take(&mut self.items);
        let mut kept = Vec::with_capacity(self.bytes.len());
        let mut at = self.done;
        for (place, item) in items.into_iter().enumerate() {
            let end = at + item.length;
            if places.binary_search(&place).is_err() {
                kept.extend_from_slice(self.bytes.get(at..end).unwrap_or_default());
                self.items.push_back(item);
            }
            at = end;
        }
        (self.bytes, self.done) = (kept, 0);
    }
}

/// The same error once more, for each who waits.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::super::entry::Seldom;
    use super::*;

    fn entry(queue: &mut Queue, kind: &str) -> usize {
        let before = queue.bytes();
        queue.push(kind, &Seldom(&serde_json::json!({"at": 1})), Wait::Nobody).unwrap();
        queue.bytes() - before
    }

    #[test]
    fn what_is_being_written_counts_until_it_is_in_the_file_or_back() {
        let mut queue = Queue::default();
        let one = entry(&mut queue, "outcome");
        let mut batch = queue.take(Batch::default());
        assert_eq!(queue.bytes(), one);
        let other = entry(&mut queue, "admin");
        assert_eq!(queue.bytes(), one + other);

        batch.fail(&io::ErrorKind::StorageFull.into());
        queue.put_back(batch);
        assert_eq!((queue.bytes(), queue.entries()), (one + other, 2));
        drop(queue.take(Batch::default()));
        queue.is_written();
        assert_eq!((queue.bytes(), queue.entries()), (0, 0));
    }

    #[test]
    fn actions_and_refusals_count_apart_from_requests_until_they_are_in_the_file_or_back() {
        let mut queue = Queue::default();
        let [action, refusal] = ["admin", "refused"].map(|kind| entry(&mut queue, kind));
        let slot = Arc::new(Slot::default());
        queue.push("admin", &Seldom(&serde_json::json!({"at": 1})), Wait::Thread(Arc::clone(&slot))).unwrap();
        assert!(slot.withdraw());
        entry(&mut queue, "intent");
        entry(&mut queue, "outcome");

        let mut batch = queue.take(Batch::default());
        assert_eq!(queue.bytes_beside_requests(), action + refusal, "what nobody wants any more is not written");
        let later = entry(&mut queue, "admin");
        assert_eq!(queue.bytes_beside_requests(), action + refusal + later);

        batch.fail(&io::ErrorKind::StorageFull.into());
        queue.put_back(batch);
        assert_eq!(queue.bytes_beside_requests(), action + refusal + later);
        drop(queue.take(Batch::default()));
        queue.is_written();
        assert_eq!(queue.bytes_beside_requests(), 0);
    }

    #[test]
    fn the_newest_outcomes_make_room_and_nothing_else_does() {
        let mut queue = Queue::default();
        let lengths = ["outcome", "intent", "outcome", "admin", "outcome"].map(|kind| entry(&mut queue, kind));
        let all: usize = lengths.iter().sum();

        assert_eq!(queue.shed(all), 0);
        assert_eq!(queue.shed(all - 1), 1);
        assert_eq!((queue.bytes(), queue.entries()), (all - lengths[4], 4));
        assert_eq!(queue.shed(0), 2);
        let batch = queue.take(Batch::default());
        let left: Vec<usize> = batch.items.iter().map(|item| item.length).collect();
        assert_eq!((left, batch.head(2).len()), (vec![lengths[1], lengths[3]], lengths[1] + lengths[3]));
        assert_eq!(queue.unreported.outcomes, 3);
    }

    #[test]
    fn an_intent_whose_writer_does_not_hear_that_it_failed_is_kept() {
        let mut queue = Queue::default();
        let mut push = |kind: &str, wait: Wait| queue.push(kind, &Seldom(&serde_json::json!({"at": 1})), wait).unwrap();
        let (there, gone) = (Arc::new(Slot::default()), Arc::new(Slot::default()));
        let (sender, mut hears) = oneshot::channel();
        let (late, left) = oneshot::channel();
        push("intent", Wait::Thread(Arc::clone(&there)));
        push("intent", Wait::Thread(Arc::clone(&gone)));
        push("intent", Wait::Task(sender));
        push("intent", Wait::Task(late));
        push("admin", Wait::Nobody);
        let told = (there.told(), gone.told());
        let mut batch = queue.take(Batch::default());

        // They leave once it is being written.
        drop((told.1, left));
        batch.fail(&io::ErrorKind::StorageFull.into());

        assert_eq!(batch.items.iter().filter(|item| item.opens).count(), 2, "those that nobody was told of");
        assert_eq!(batch.items.len(), 3);
        assert!(there.settled().is_some_and(|settled| settled.is_err()) && hears.try_recv().is_ok());
        assert!(gone.settled().is_none() && !gone.withdraw(), "it is too late to take it back");
    }

    #[test]
    fn only_an_outcome_is_taken_back_for_want_of_room() {
        for other in ["intent", "admin"] {
            let mut queue = Queue::default();
            entry(&mut queue, other);
            entry(&mut queue, "outcome");

            assert_eq!([queue.pop_outcome(), queue.pop_outcome()], [true, false], "{other}");
            assert_eq!(queue.entries(), 1);
        }
    }
}
