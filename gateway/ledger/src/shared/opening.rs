//! What is settled with the store before anything is asked of it: whose format is kept there, whether it remembers, and which
//! connection of this process counts.
//!
//! All three are one step of the store's, so that nobody can come in between. A store that remembers nothing grants nothing for
//! four seconds from the moment at which anybody met it, whoever that was: a gateway that never saw it before cannot know whether
//! others had taken of it.

use super::resp::{Commands, Reply};
use super::scripts::complaint;

/// The version of the scripts and of what they keep; it is part of every key, so two versions never read each other's.
///
/// A change that the scripts of the release before can read and be read by leaves it. One that they cannot raises it: then the
/// releases before refuse the store, see [`format_of`], and do not count beside the newer ones.
pub(super) const VERSION: &str = "1";

/// So long a store that lost its memory grants nothing: by then every gateway has told it what it holds.
const HUSH_MS: &str = "4000";

/// So long after a connection was opened, or used last, it is known that it was: longer than any question can be on its way.
const TURN_MS: &str = "86400000";

/// Opens a connection.
///
/// A word that was put into the store when it was empty is its memory: another word is another memory. Of a process's connections
/// the latest counts, also where an earlier one is opened behind it.
const OPEN: &str = r"
local version, format = tonumber(ARGV[1]), redis.call('GET', KEYS[1])
local known = tonumber(format or '0')
if not known or known > version then return redis.error_reply('FORMAT ' .. format) end
if known < version then redis.call('SET', KEYS[1], ARGV[1]) end
if redis.call('SET', KEYS[2], ARGV[2], 'NX') then redis.call('SET', KEYS[3], '1', 'PX', ARGV[3]) end
if ARGV[4] ~= '' and tonumber(redis.call('GET', KEYS[4]) or '0') < tonumber(ARGV[4]) then
  redis.call('SET', KEYS[4], ARGV[4], 'PX', ARGV[5])
end
return redis.call('GET', KEYS[2])
";

/// What a process says of a connection that it opens.
pub(super) struct Opening<'a> {
    /// Before every key.
    pub(super) prefix: &'a str,
    pub(super) owner: &'a str,
    /// A word that nobody has used, for a store that has none.
    pub(super) word: &'a str,
    /// Its number among those that ask for counters; none for others.
    pub(super) turn: Option<u64>,
}

impl Opening<'_> {
    /// Adds the question whose answer is for [`opened`].
    pub(super) fn ask(&self, commands: &mut Commands) {
        let Self { prefix, owner, word, turn } = *self;
        let keys = [format_of(prefix), memory_of(prefix), hush_of(prefix), turn_of(prefix, owner)];
        let turn = turn.map(|turn| turn.to_string()).unwrap_or_default();
        let mut parts = vec!["EVAL", OPEN, "4"];
        parts.extend(keys.iter().map(String::as_str));
        parts.extend([VERSION, word, HUSH_MS, &turn, TURN_MS]);
        commands.add(&parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>());
    }
}

/// The word that the store remembers.
///
/// # Errors
///
/// When a newer release keeps its counters there, and what else it complains of.
pub(super) fn opened(reply: &Reply) -> Result<Vec<u8>, String> {
    match reply {
        Reply::Bulk(word) => Ok(word.clone()),
        Reply::Error(error) => match error.strip_prefix("FORMAT ") {
            Some(format) => Err(newer(format)),
            None => Err(complaint(std::slice::from_ref(reply))),
        },
        other => Err(complaint(std::slice::from_ref(other))),
    }
}

/// Adds the question whose answer is for [`remembers`].
pub(super) fn ask_for_memory(commands: &mut Commands, prefix: &str) {
    commands.add(&[b"MGET", memory_of(prefix).as_bytes(), format_of(prefix).as_bytes()]);
}

/// Whether the store still has the word that it had when it was found, and the format.
///
/// # Errors
///
/// When it has none or another, because somebody emptied it, though the connection stands; or when a newer release came.
pub(super) fn remembers(reply: &Reply, memory: &[u8]) -> Result<(), String> {
    let Reply::Array(items) = reply else { return Err(complaint(std::slice::from_ref(reply))) };
    let [word, format] = &items[..] else { return Err(complaint(std::slice::from_ref(reply))) };
    if let Some(too_new) = too_new(format) {
        return Err(too_new);
    }
    match word {
        Reply::Bulk(word) if word == memory => Ok(()),
        _ => Err("the store has lost its memory".to_owned()),
    }
}

/// Adds that the latest connection of this process is in use. Nothing hangs on the answer.
pub(super) fn keep_turn(commands: &mut Commands, prefix: &str, owner: &str) {
    commands.add(&[b"PEXPIRE", turn_of(prefix, owner).as_bytes(), TURN_MS.as_bytes()]);
}

/// What is wrong with a format that a newer release keeps; nothing with ours, or where none is said.
pub(super) fn too_new(format: &Reply) -> Option<String> {
    let Reply::Bulk(format) = format else { return None };
    (format != VERSION.as_bytes()).then(|| newer(&String::from_utf8_lossy(format)))
}

/// What makes a store without memory grant nothing until everybody has told it.
pub(super) fn hush(prefix: &str) -> Commands {
    Commands::of(&[b"SET", hush_of(prefix).as_bytes(), b"1", b"PX", HUSH_MS.as_bytes()])
}

/// Whoever can write in the store writes this, so that only a number is shown.
fn newer(format: &str) -> String {
    let is_number = !format.is_empty() && format.len() <= 9 && format.bytes().all(|digit| digit.is_ascii_digit());
    let format = if is_number { format } else { "unknown" };
    format!("a newer release keeps its counters in the store, in format {format}; this one reads format {VERSION}")
}

pub(super) fn memory_of(prefix: &str) -> String {
    format!("{prefix}:{VERSION}:memory")
}

pub(super) fn hush_of(prefix: &str) -> String {
    format!("{prefix}:{VERSION}:hush")
}

/// The latest connection of a process.
pub(super) fn turn_of(prefix: &str, owner: &str) -> String {
    format!("{prefix}:{VERSION}:turn:{owner}")
}

/// The latest format that anybody has kept there. Its own name has no version: every release reads it.
pub(super) fn format_of(prefix: &str) -> String {
    format!("{prefix}:format")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_has_no_word_or_another_one_has_lost_its_memory() {
        let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        let of = |word: Reply, format: Reply| remembers(&Reply::Array(vec![word, format]), b"word");

        // A release that does not say its format has the first one.
        for format in [bulk("1"), Reply::Nothing] {
            assert_eq!(of(bulk("word"), format), Ok(()));
        }
        for word in [Reply::Nothing, bulk("other")] {
            assert_eq!(of(word, bulk("1")), Err("the store has lost its memory".to_owned()));
        }
        let busy = Reply::Error("LOADING not yet".to_owned());
        assert_eq!(remembers(&busy, b"word"), Err("the store answers LOADING".to_owned()));
    }

    #[test]
    fn a_format_of_a_newer_release_is_named_and_what_is_no_number_is_not_shown() {
        let error = |text: &str| opened(&Reply::Error(text.to_owned())).expect_err("it is refused");

        assert_eq!(
            error("FORMAT 2"),
            "a newer release keeps its counters in the store, in format 2; this one reads format 1"
        );
        assert!(error("FORMAT \u{1b}[31m").contains("format unknown"));
        assert_eq!(error("OOM no memory"), "the store answers OOM");
    }
}
