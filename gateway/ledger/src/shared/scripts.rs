//! The decisions of the store: one script for each, which runs there alone and whole.
//!
//! The clock of both is the store's own, so the gateways' need not agree. Keys carry the version of what they hold.

use std::time::Duration;

use accounting::{Answer, GOOD_FOR, Question};

use super::board::Notice;
use super::resp::{Commands, Reply};

/// The version of the scripts and of what they keep; it is part of every key, so two versions never read each other's.
pub(super) const VERSION: &str = "1";

/// One bucket: what is used of it runs out by itself.
///
/// It keeps the units that are used and when that was. Numbers are written with their digits, since Lua would round them.
const FLOW: &str = r"
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local limit, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local owed, least, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local kept = redis.call('HMGET', KEYS[1], 'used', 'at')
local used, at = tonumber(kept[1] or '0'), tonumber(kept[2] or '0')
used = math.max(0, used - math.max(0, now - at) * limit / period)
used = math.min(math.max(0, used + owed), math.max(used, limit * 60))
local free, granted, wait = limit - used, 0, 0
local hush = redis.call('PTTL', KEYS[2])
if hush > 0 then wait = hush * 1000
elseif free >= least then granted = math.max(0, math.min(most, math.floor(free)))
else wait = math.ceil((least - free) * period / limit) end
used = used + granted
redis.call('HSET', KEYS[1], 'used', string.format('%.6f', used), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(used * period / limit / 1000) + 1000)
return {granted, math.floor(math.max(0, limit - used)), wait}
";

/// One level: each owner has what it may go up to and until when; one that is gone counts with what it kept.
///
/// What a gateway `holds` it lets in while its question is on its way, so nothing of that is given to others before it asks
/// again. What is left and too little for the smallest request that waits there (`least`) stays here: handed out, it would lie in
/// one gateway while another wants just as much more, and of several that press nobody would get through.
///
/// Where there is room for those who wait and not for what is wanted ahead, the answer is less than what is kept here: what the
/// gateway held may be in use by now, and its next question says whether it is. Were it told that it may keep it, it would hold
/// it unused for as long as it is busy, and others would be refused what lies there.
///
/// `adopt` names the owners before this one, whose part this one tells as its own: `live` with those that are not over yet.
const LEVEL: &str = r"
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local me, limit, lives = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local used, kept, spent = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local holds, least, need, want = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local adopt, days = ARGV[11], tonumber(ARGV[12])
local family = string.match(me, '^[^/]*/')
local others, gone = 0, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local owner = all[i]
  if owner ~= me then
    local ends, ceiling, keeps, spends = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+)$')
    local is_over = tonumber(ends) <= now
    local is_before = adopt ~= '' and string.sub(owner, 1, #family) == family and (is_over or adopt == 'live')
    if is_before or (is_over and tonumber(keeps) == 0) then redis.call('HDEL', KEYS[1], owner)
    else
      others = others + (is_over and tonumber(keeps) or tonumber(ceiling))
      gone = gone + tonumber(spends)
    end
  end
end
local room = limit - others
local ceiling = math.min(holds, room)
local answer
if redis.call('EXISTS', KEYS[2]) == 1 then ceiling = holds
elseif room >= want + 2 * (want - need) then ceiling = want
elseif room >= need then
  ceiling = math.max(ceiling, need)
  answer = need
elseif room >= least then ceiling = room end
ceiling = math.max(ceiling, used)
kept = math.min(kept, ceiling)
if ceiling == 0 and kept == 0 then redis.call('HDEL', KEYS[1], me)
else redis.call('HSET', KEYS[1], me, string.format('%.0f %.0f %.0f %.0f', now + lives, ceiling, kept, spent)) end
redis.call('PEXPIRE', KEYS[1], days * 86400000)
return {math.max(answer or ceiling, used), others, gone}
";

/// So long a store that lost its memory grants nothing: by then every gateway has told it what it holds.
const HUSH_MS: &[u8] = b"4000";

/// A level of a month is forgotten so long after its last change; the month and a few days of quarrel about it.
const DAYS_OF_A_MONTH: &[u8] = b"45";

/// What is held and given back is forgotten when nobody asks for a day.
const DAYS: &[u8] = b"1";

/// Half a second longer than it is good where it is used.
const LIVES: Duration = Duration::from_millis(3_000);

const _: () =
    assert!(LIVES.as_millis() > GOOD_FOR.as_millis(), "a part ends where it is used before it ends in the store");

/// The scripts by the names that the store gave them.
#[derive(Debug)]
pub(super) struct Scripts {
    flow: Vec<u8>,
    level: Vec<u8>,
    /// A word that was put into the store when it was empty. Another word is another memory.
    pub(super) memory: Vec<u8>,
}

/// Whose name a question is asked in.
pub(super) struct Asker<'a> {
    /// Before every key.
    pub(super) prefix: &'a str,
    pub(super) owner: &'a str,
    /// What becomes of the parts of the processes before this one: `live`, `over` or nothing.
    pub(super) adopt: &'static str,
}

impl Scripts {
    /// What hands the scripts over, and the word where there is none.
    pub(super) fn load(prefix: &str, word: &str) -> Commands {
        let mut commands = Commands::default();
        let key = memory_of(prefix);
        commands.add(&[b"SET", key.as_bytes(), word.as_bytes(), b"NX"]);
        commands.add(&[b"GET", key.as_bytes()]);
        for script in [FLOW, LEVEL] {
            commands.add(&[b"SCRIPT", b"LOAD", script.as_bytes()]);
        }
        commands
    }

    /// Reads the replies to [`Scripts::load`].
    pub(super) fn loaded(replies: &[Reply]) -> Result<Self, String> {
        match replies {
            [Reply::Simple(_) | Reply::Nothing, Reply::Bulk(memory), Reply::Bulk(flow), Reply::Bulk(level)] => {
                Ok(Self { flow: flow.clone(), level: level.clone(), memory: memory.clone() })
            }
            other => Err(complaint(other)),
        }
    }

    /// Adds the question for the word, whose answer is for [`Scripts::remembers`].
    pub(super) fn ask_for_memory(commands: &mut Commands, prefix: &str) {
        commands.add(&[b"GET", memory_of(prefix).as_bytes()]);
    }

    /// Whether the store still has the word that it had when it was found.
    ///
    /// # Errors
    ///
    /// When it has none or another: somebody emptied it, though the connection stands.
    pub(super) fn remembers(&self, reply: &Reply) -> Result<(), String> {
        match reply {
            Reply::Bulk(memory) if *memory == self.memory => Ok(()),
            Reply::Bulk(_) | Reply::Nothing => Err("the store has lost its memory".to_owned()),
            other => Err(complaint(std::slice::from_ref(other))),
        }
    }

    /// What makes a store without memory grant nothing until everybody has told it.
    pub(super) fn hush(prefix: &str) -> Commands {
        Commands::of(&[b"SET", hush_of(prefix).as_bytes(), b"1", b"PX", HUSH_MS])
    }

    /// Adds the question about one account to what is sent.
    pub(super) fn ask(&self, commands: &mut Commands, account: &str, question: &Question, asker: &Asker<'_>) {
        let Asker { prefix, owner, adopt } = asker;
        let hush = hush_of(prefix);
        let hush = hush.as_bytes();
        match *question {
            Question::Flow { limit, period, owed, least, most } => {
                let key = format!("{prefix}:{VERSION}:flow:{account}");
                let numbers = [
                    limit.to_string(),
                    period.as_micros().to_string(),
                    owed.to_string(),
                    least.to_string(),
                    most.to_string(),
                ];
                let [limit, period, owed, least, most] = numbers.each_ref().map(|number| number.as_bytes());
                commands.add(&[b"EVALSHA", &self.flow, b"2", key.as_bytes(), hush, limit, period, owed, least, most]);
            }
            Question::Level { month, limit, used, kept, spent, holds, least, need, want } => {
                let (key, days) = match month {
                    Some(month) => (format!("{prefix}:{VERSION}:level:{account}:{month}"), DAYS_OF_A_MONTH),
                    None => (format!("{prefix}:{VERSION}:level:{account}"), DAYS),
                };
                let lives = u64::try_from(LIVES.as_millis()).unwrap_or(u64::MAX);
                let numbers =
                    [limit, lives, used, kept, spent, holds, least, need, want].map(|number| number.to_string());
                let [limit, lives, used, kept, spent, holds, least, need, want] =
                    numbers.each_ref().map(|number| number.as_bytes());
                let owner = owner.as_bytes();
                let key = key.as_bytes();
                let adopt = if month.is_some() { adopt.as_bytes() } else { b"" };
                commands.add(&[
                    b"EVALSHA",
                    &self.level,
                    b"2",
                    key,
                    hush,
                    owner,
                    limit,
                    lives,
                    used,
                    kept,
                    spent,
                    holds,
                    least,
                    need,
                    want,
                    adopt,
                    days,
                ]);
            }
        }
    }
}

pub(super) fn memory_of(prefix: &str) -> String {
    format!("{prefix}:{VERSION}:memory")
}

/// A key that nobody has, for whoever tries out what may be done.
pub(super) fn nobodys(prefix: &str) -> String {
    format!("{prefix}:{VERSION}:nobody")
}

fn hush_of(prefix: &str) -> String {
    format!("{prefix}:{VERSION}:hush")
}

/// One notice: it is put up unless a later one stands there, and the board is bounded.
const NOTICE: &str = r"
local stands = redis.call('HGET', KEYS[1], ARGV[1])
if stands then
  local known, at = tonumber(string.match(stands, '^%d+')), tonumber(ARGV[2])
  if at < known or (at == known and ARGV[3] ~= '') then return 0 end
elseif redis.call('HLEN', KEYS[1]) >= 16384 then return redis.error_reply('FULL the board is full') end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
return 1
";

/// Adds a notice to what is sent.
pub(super) fn put_up(commands: &mut Commands, prefix: &str, notice: &Notice) {
    let (key, at) = (board_of(prefix), notice.at.to_string());
    let text = notice.text.as_deref().unwrap_or_default();
    let parts = [NOTICE, "1", &key, &notice.about, &at, text];
    let [script, count, key, about, at, text] = parts.map(str::as_bytes);
    commands.add(&[b"EVAL", script, count, key, about, at, text]);
}

/// Where notices stand.
pub(super) fn board_of(prefix: &str) -> String {
    format!("{prefix}:{VERSION}:board")
}

/// Where it stands who does something that is to be done once.
pub(super) fn once_of(prefix: &str, what: &str) -> String {
    format!("{prefix}:{VERSION}:once:{what}")
}

/// What the store answers to a question.
pub(super) fn answer(question: &Question, reply: &Reply) -> Result<Answer, String> {
    let Reply::Array(items) = reply else { return Err(complaint(std::slice::from_ref(reply))) };
    let [Reply::Integer(first), Reply::Integer(second), Reply::Integer(third)] = items[..] else {
        return Err("the store's answer is none of ours".to_owned());
    };
    let [first, second, third] = [first, second, third].map(|number| u64::try_from(number).unwrap_or(0));
    Ok(match question {
        Question::Flow { .. } => Answer::Flow { granted: first, left: second, wait: Duration::from_micros(third) },
        Question::Level { .. } => Answer::Level { ceiling: first, others: second, spent: third },
    })
}

/// What the store complains of, without what was sent to it.
pub(super) fn complaint(replies: &[Reply]) -> String {
    match word_of(replies) {
        Some(word) => format!("the store answers {word}"),
        None => "the store's answer is none of ours".to_owned(),
    }
}

/// The word that the first complaint begins with.
pub(super) fn word_of(replies: &[Reply]) -> Option<&str> {
    let error = replies.iter().find_map(|reply| if let Reply::Error(error) = reply { Some(error) } else { None });
    error.and_then(|error| error.split(' ').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_has_no_word_or_another_one_has_lost_its_memory() {
        let [word, flow, level] = [&b"word"[..], b"flow", b"level"].map(|text| Reply::Bulk(text.to_vec()));
        let scripts = Scripts::loaded(&[Reply::Nothing, word.clone(), flow.clone(), level]).unwrap();

        assert_eq!(scripts.remembers(&word), Ok(()));
        for reply in [Reply::Nothing, flow] {
            assert_eq!(scripts.remembers(&reply), Err("the store has lost its memory".to_owned()), "{reply:?}");
        }
        let busy = Reply::Error("LOADING not yet".to_owned());
        assert_eq!(scripts.remembers(&busy), Err("the store answers LOADING".to_owned()));
    }
}
