//! The decisions of the store: one script for each, which runs there alone and whole.
//!
//! The clock of both is the store's own, so the gateways' need not agree. Keys carry the version of what they hold.
//!
//! Both refuse a question of a connection that is not its process's latest, and in a store that was emptied since: what is late,
//! or meets a store that knows nothing, changes nothing.

use std::time::Duration;

use accounting::{Answer, GOOD_FOR, Question, usable};

use super::Known;
use super::board::Notice;
use super::opening::{VERSION, hush_of, turn_of};
use super::resp::{Commands, Reply};

/// One bucket: what is used of it runs out by itself.
///
/// It keeps the units that are used and when that was. Numbers are written with their digits, since Lua would round them.
const FLOW: &str = r"
if redis.call('GET', KEYS[3]) ~= ARGV[6] then return redis.error_reply('STALE this connection does not count') end
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
///
/// What an owner tells for the first time, or again after its line was over, is taken off what [`KNOWN`] counts of its ledger as not
/// told: so much of it as the line did not say, since the line was counted beside it. While its line stands, what it tells anew was
/// spent anew.
const LEVEL: &str = r"
if redis.call('GET', KEYS[3]) ~= ARGV[13] then return redis.error_reply('STALE this connection does not count') end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local me, limit, lives = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local used, kept, spent = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local holds, least, need, want = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local adopt, days = ARGV[11], tonumber(ARGV[12])
local family = string.match(me, '^[^/]*/')
local ledger = (string.match(me, '^[^/]*/[^/]*/(.+)$') or '') .. '/ledger'
local others, gone, untold = 0, 0, 0
local is_there, before = false, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local owner = all[i]
  local ends, ceiling, keeps, spends = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+)$')
  local is_over = tonumber(ends) <= now
  if owner == me then
    is_there = not is_over
    before = math.max(tonumber(keeps), tonumber(spends))
  else
    local is_before = adopt ~= '' and string.sub(owner, 1, #family) == family and (is_over or adopt == 'live')
    if is_before or (is_over and tonumber(keeps) == 0) then redis.call('HDEL', KEYS[1], owner)
    else
      others = others + (is_over and tonumber(keeps) or tonumber(ceiling))
      gone = gone + tonumber(spends)
      if owner == ledger then untold = tonumber(keeps) end
    end
  end
end
if untold > 0 and not is_there then
  local told = math.min(untold, math.max(0, spent - before))
  local rest = string.format('%.0f', untold - told)
  redis.call('HSET', KEYS[1], ledger, '0 0 ' .. rest .. ' ' .. rest)
  others, gone = others - told, gone - told
end
local room = limit - others
local ceiling = math.min(holds, room)
local answer
local hush = redis.call('EXISTS', KEYS[2])
if hush == 1 then ceiling = holds
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
return {math.max(answer or ceiling, used), others, gone, hush}
";

/// What the ledger says that gateways have spent, each by the name of its ledger, for a level that may have forgotten them: what is
/// missing of it stands as the line of one that is gone. Those that are there may have spent what they may go up to; what is told by
/// owners of an earlier release, who do not name their ledgers, may be anybody's.
const KNOWN: &str = r"
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return redis.error_reply('STALE this connection does not count') end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local told, anybodys = {}, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if string.sub(all[i], -7) ~= '/ledger' then
    local ledger = string.match(all[i], '^[^/]*/[^/]*/(.+)$')
    local ends, ceiling, keeps, spends = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+)$')
    local most = tonumber(ends) <= now and math.max(tonumber(keeps), tonumber(spends)) or tonumber(ceiling)
    if ledger then told[ledger] = (told[ledger] or 0) + most else anybodys = anybodys + most end
  end
end
for i = 3, #ARGV, 2 do
  local missing = math.max(0, tonumber(ARGV[i + 1]) - (told[ARGV[i]] or 0))
  local covered = math.min(missing, anybodys)
  missing, anybodys = missing - covered, anybodys - covered
  if missing > 0 then
    local text = string.format('%.0f', missing)
    redis.call('HSET', KEYS[1], ARGV[i] .. '/ledger', '0 0 ' .. text .. ' ' .. text)
  else redis.call('HDEL', KEYS[1], ARGV[i] .. '/ledger') end
end
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2]) * 86400000)
return 1
";

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
    known: Vec<u8>,
}

/// Whose name a question is asked in.
pub(super) struct Asker<'a> {
    /// Before every key.
    pub(super) prefix: &'a str,
    pub(super) owner: &'a str,
    /// The number of the connection that it is asked over.
    pub(super) turn: u64,
    /// What becomes of the parts of the processes before this one: `live`, `over` or nothing.
    pub(super) adopt: &'static str,
}

impl Scripts {
    /// Adds what hands the scripts over.
    pub(super) fn load(commands: &mut Commands) {
        for script in [FLOW, LEVEL, KNOWN] {
            commands.add(&[b"SCRIPT", b"LOAD", script.as_bytes()]);
        }
    }

    /// Reads the replies to [`Scripts::load`].
    pub(super) fn loaded(replies: &[Reply]) -> Result<Self, String> {
        match replies {
            [Reply::Bulk(flow), Reply::Bulk(level), Reply::Bulk(known)] => {
                Ok(Self { flow: flow.clone(), level: level.clone(), known: known.clone() })
            }
            other => Err(complaint(other)),
        }
    }

    /// Adds what is known of one account beside what gateways tell.
    pub(super) fn tell(&self, commands: &mut Commands, known: &Known, asker: &Asker<'_>) {
        let key = level_of(asker.prefix, &known.account, known.month);
        let (of_owner, turn) = (turn_of(asker.prefix, asker.owner), asker.turn.to_string());
        let spent: Vec<_> = known.spent.iter().map(|(ledger, money)| (ledger, usable(*money).to_string())).collect();
        let mut parts = vec![b"EVALSHA", self.known.as_slice(), b"2", key.as_bytes(), of_owner.as_bytes()];
        parts.extend([turn.as_bytes(), DAYS_OF_A_MONTH]);
        parts.extend(spent.iter().flat_map(|(ledger, units)| [ledger.as_bytes(), units.as_bytes()]));
        commands.add(&parts);
    }

    /// Adds the question about one account to what is sent.
    pub(super) fn ask(&self, commands: &mut Commands, account: &str, question: &Question, asker: &Asker<'_>) {
        let Asker { prefix, owner, turn, adopt } = asker;
        let (hush, of_owner, turn) = (hush_of(prefix), turn_of(prefix, owner), turn.to_string());
        let [hush, of_owner, turn] = [&hush, &of_owner, &turn].map(|text| text.as_bytes());
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
                let key = key.as_bytes();
                let flow = self.flow.as_slice();
                commands.add(&[b"EVALSHA", flow, b"3", key, hush, of_owner, limit, period, owed, least, most, turn]);
            }
            Question::Level { month, limit, used, kept, spent, holds, least, need, want } => {
                let (key, days) = match month {
                    Some(month) => (level_of(prefix, account, month), DAYS_OF_A_MONTH),
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
                    b"3",
                    key,
                    hush,
                    of_owner,
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
                    turn,
                ]);
            }
        }
    }
}

fn level_of(prefix: &str, account: &str, month: u32) -> String {
    format!("{prefix}:{VERSION}:level:{account}:{month}")
}

/// A key that nobody has, for whoever tries out what may be done.
pub(super) fn nobodys(prefix: &str) -> String {
    format!("{prefix}:{VERSION}:nobody")
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

/// What the store answers to a question; nothing of a level in a store that waits to be told what everybody holds.
pub(super) fn answer(question: &Question, reply: &Reply) -> Result<Option<Answer>, String> {
    let Reply::Array(items) = reply else { return Err(complaint(std::slice::from_ref(reply))) };
    let numbers: Option<Vec<u64>> = items
        .iter()
        .map(|item| if let Reply::Integer(number) = item { Some(u64::try_from(*number).unwrap_or(0)) } else { None })
        .collect();
    match (question, numbers.as_deref()) {
        (Question::Flow { .. }, Some(&[granted, left, wait])) => {
            Ok(Some(Answer::Flow { granted, left, wait: Duration::from_micros(wait) }))
        }
        (Question::Level { .. }, Some(&[ceiling, others, spent, hush])) => {
            Ok((hush == 0).then_some(Answer::Level { ceiling, others, spent }))
        }
        _ => Err("the store's answer is none of ours".to_owned()),
    }
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
