//! What every gateway of a fleet is to know at once: notices on one board, of which the latest about a thing holds.

use std::time::Duration;

use super::keeper::{Calls, Store, connect};
use super::resp::{Commands, Reply};
use super::{Shared, scripts};

/// The longest that one look at the board takes, connection included.
const WITHIN: Duration = Duration::from_secs(3);

/// A notice about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub about: String,
    /// When it was said, in seconds since 1970. Of two the later one holds; of two at once the one that takes back.
    pub at: u64,
    /// What is said; nothing where it is taken back.
    pub text: Option<String>,
}

/// The board, over a connection of its own, so that a slow disk of whoever reads it holds up no limit.
pub struct Board {
    shared: Shared,
    store: Option<Store>,
}

impl Shared {
    /// The board in the same store.
    #[must_use]
    pub fn board(&self) -> Board {
        Board { shared: self.clone(), store: None }
    }
}

impl Board {
    /// All that stands there.
    ///
    /// # Errors
    ///
    /// What is wrong with the store.
    pub async fn read(&mut self) -> Result<Vec<Notice>, String> {
        let key = scripts::board_of(&self.shared.inner.settings.prefix);
        let replies = self.ask(&Commands::of(&[b"HGETALL", key.as_bytes()])).await?;
        let [Reply::Array(items)] = &replies[..] else { return Err(scripts::complaint(&replies)) };
        Ok(items.as_chunks().0.iter().filter_map(notice).collect())
    }

    /// Puts these up, where nothing later stands already.
    ///
    /// # Errors
    ///
    /// What is wrong with the store; whether it was put up is not known then.
    pub async fn put_up(&mut self, notices: &[Notice]) -> Result<(), String> {
        if notices.is_empty() {
            return Ok(());
        }
        let prefix = self.shared.inner.settings.prefix.clone();
        let mut commands = Commands::default();
        notices.iter().for_each(|notice| scripts::put_up(&mut commands, &prefix, notice));
        let replies = self.ask(&commands).await?;
        if replies.iter().all(|reply| matches!(reply, Reply::Integer(1 | 0))) {
            Ok(())
        } else {
            Err(scripts::complaint(&replies))
        }
    }

    async fn ask(&mut self, commands: &Commands) -> Result<Vec<Reply>, String> {
        let asked = async {
            let mut store = match self.store.take() {
                Some(store) => store,
                None => connect(self.shared.inner.clone(), Calls::Board, WITHIN).await?,
            };
            let replies = store.link.ask(commands).await.map_err(|error| error.to_string())?;
            self.store = Some(store);
            Ok(replies)
        };
        tokio::time::timeout(WITHIN, asked)
            .await
            .unwrap_or_else(|_| Err(format!("the store took longer than {WITHIN:?}")))
    }
}

fn notice([about, said]: &[Reply; 2]) -> Option<Notice> {
    let (Reply::Bulk(about), Reply::Bulk(said)) = (about, said) else { return None };
    let said = std::str::from_utf8(said).ok()?;
    let (at, text) = said.split_once(' ')?;
    let text = Some(text.to_owned()).filter(|text| !text.is_empty());
    Some(Notice { about: String::from_utf8(about.clone()).ok()?, at: at.parse().ok()?, text })
}

/// How long somebody has for what it has undertaken to do, before another may.
const UNDERTAKEN_FOR_MS: &[u8] = b"600000";

/// How long it is remembered that something was done.
const REMEMBERED_FOR_MS: &[u8] = b"3888000000";

/// What stands there of something that is done.
const DONE: &[u8] = b"done";

/// Who does something that is to be done once by all gateways together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undertaken {
    /// This one, within ten minutes.
    Here,
    /// Another one is about to.
    Elsewhere,
    /// It is done.
    Done,
}

impl Board {
    /// Undertakes to do something once. Whoever dies with it leaves it to another, ten minutes later.
    ///
    /// # Errors
    ///
    /// What is wrong with the store; whether it was undertaken is not known then.
    pub async fn undertake(&mut self, what: &str) -> Result<Undertaken, String> {
        let inner = &self.shared.inner;
        let (key, owner) = (scripts::once_of(&inner.settings.prefix, what), inner.owner.clone());
        let parts = [b"SET", key.as_bytes(), owner.as_bytes(), b"NX", b"GET", b"PX", UNDERTAKEN_FOR_MS];
        let replies = self.ask(&Commands::of(&parts)).await?;
        match &replies[..] {
            [Reply::Nothing] => Ok(Undertaken::Here),
            [Reply::Bulk(other)] if *other == DONE => Ok(Undertaken::Done),
            [Reply::Bulk(other)] if *other == owner.as_bytes() => Ok(Undertaken::Here),
            [Reply::Bulk(_)] => Ok(Undertaken::Elsewhere),
            _ => Err(scripts::complaint(&replies)),
        }
    }

    /// It is done; that is remembered for 45 days.
    ///
    /// # Errors
    ///
    /// What is wrong with the store.
    pub async fn done(&mut self, what: &str) -> Result<(), String> {
        let key = scripts::once_of(&self.shared.inner.settings.prefix, what);
        let replies = self.ask(&Commands::of(&[b"SET", key.as_bytes(), DONE, b"PX", REMEMBERED_FOR_MS])).await?;
        if matches!(replies[..], [Reply::Simple(_)]) { Ok(()) } else { Err(scripts::complaint(&replies)) }
    }
}
