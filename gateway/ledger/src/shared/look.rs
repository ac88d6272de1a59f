//! A look at the store: does it let us in, and may everything be done there that gateways do?

use std::time::Duration;

use super::resp::{Commands, Link, Reply};
use super::{Dial, Settings, opening, scripts};
use crate::look::{Look, LookFault, LookKind, LookStep, in_time};

/// The digest of no script.
const NO_SCRIPT: &[u8] = b"0000000000000000000000000000000000000000";

impl Settings {
    /// Looks at the store as a gateway would meet it, with so much time for each step; nothing is made or changed there.
    pub async fn look(&self, dial: &Dial, limit: Duration) -> Vec<LookStep> {
        let mut look = Look::new();
        let Some(mut link) = look.step("login", in_time(limit, logged_in(self, dial)).await) else {
            return look.steps();
        };
        let Some(()) = look.step("format", in_time(limit, format(self, &mut link)).await) else { return look.steps() };
        look.step("rights", in_time(limit, rights(self, &mut link)).await);
        look.steps()
    }
}

async fn logged_in(settings: &Settings, dial: &Dial) -> Result<(Link, String), LookFault> {
    let stream = dial().await.map_err(|said| LookFault::of(LookKind::Other, said))?;
    let mut link = Link::new(stream);
    if let Some(login) = settings.login() {
        let replies = ask(&mut link, &login).await?;
        if !matches!(replies[..], [Reply::Simple(_)]) {
            return Err(fault(&replies));
        }
    }
    let replies = ask(&mut link, &Commands::of(&[b"PING"])).await?;
    if !matches!(&replies[..], [Reply::Simple(pong)] if pong == "PONG") {
        return Err(fault(&replies));
    }
    let user = settings.user.as_deref().unwrap_or("default");
    let Some(server) = Server::of(&ask(&mut link, &Commands::of(&[b"HELLO"])).await?) else {
        return Ok((link, format!("it lets in `{user}`, and does not say what it is")));
    };
    if server.mode == "cluster" {
        let said = format!("it is a cluster of {} {}, and no cluster is followed", server.name, server.version);
        return Err(LookFault::of(LookKind::Other, said));
    }
    let Server { name, version, role, .. } = server;
    Ok((link, format!("{name} {version} ({role}) lets in `{user}`")))
}

/// What a server says of itself.
struct Server {
    name: String,
    version: String,
    role: String,
    mode: String,
}

impl Server {
    /// By the answer to `HELLO`; none where it knows no such thing or does not tell.
    fn of(replies: &[Reply]) -> Option<Self> {
        let [Reply::Array(items)] = replies else { return None };
        let text = |wanted: &str| {
            let pairs = items.as_chunks::<2>().0;
            let is_wanted = |key: &Reply| matches!(key, Reply::Bulk(key) if key == wanted.as_bytes());
            let Reply::Bulk(text) = pairs.iter().find_map(|[key, value]| is_wanted(key).then_some(value))? else {
                return None;
            };
            // It goes to a terminal.
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            let text = String::from_utf8(text.clone()).ok()?;
            (text.len() <= 32 && text.bytes().all(plain)).then_some(text)
        };
        Some(Self { name: text("server")?, version: text("version")?, role: text("role")?, mode: text("mode")? })
    }
}

/// Whether gateways have used it, and in a format that this release reads.
async fn format(settings: &Settings, link: &mut Link) -> Result<((), String), LookFault> {
    let mut commands = Commands::default();
    opening::ask_for_memory(&mut commands, &settings.prefix);
    let replies = ask(link, &commands).await?;
    let (prefix, version) = (&settings.prefix, opening::VERSION);
    let [Reply::Array(items)] = &replies[..] else { return Err(fault(&replies)) };
    let [memory, format] = &items[..] else { return Err(fault(&replies)) };
    if let Some(too_new) = opening::too_new(format) {
        return Err(LookFault::of(LookKind::Other, too_new));
    }
    if *memory == Reply::Nothing {
        let said = format!("no counters of format {version} below `{prefix}` yet; the first gateway begins them");
        return Ok(((), said));
    }
    Ok(((), format!("gateways have counters of format {version} below `{prefix}`")))
}

/// Everything that gateways do there, to a key that nobody has, so that nothing comes of it.
async fn rights(settings: &Settings, link: &mut Link) -> Result<((), String), LookFault> {
    let key = scripts::nobodys(&settings.prefix);
    let key = key.as_bytes();
    let mut commands = Commands::default();
    commands.add(&[b"HGETALL", key]);
    commands.add(&[b"HDEL", key, b"x"]);
    commands.add(&[b"PEXPIRE", key, b"1"]);
    commands.add(&[b"SET", key, b"x", b"XX"]);
    commands.add(&[b"SCRIPT", b"EXISTS", NO_SCRIPT]);
    let replies = ask(link, &commands).await?;
    if replies.iter().any(|reply| matches!(reply, Reply::Error(_))) {
        return Err(fault(&replies));
    }
    Ok(((), "everything that a gateway does is permitted".to_owned()))
}

async fn ask(link: &mut Link, commands: &Commands) -> Result<Vec<Reply>, LookFault> {
    link.ask(commands)
        .await
        .map_err(|error| LookFault::of(LookKind::Other, format!("it answers like no store: {error}")))
}

/// What the first complaint means, by the word that it begins with.
fn fault(replies: &[Reply]) -> LookFault {
    let word = scripts::word_of(replies).unwrap_or_default();
    let kind = match word {
        "WRONGPASS" | "NOAUTH" => LookKind::Login,
        "NOPERM" => LookKind::Rights,
        "READONLY" | "OOM" | "MISCONF" | "NOREPLICAS" | "MASTERDOWN" => LookKind::ReadOnly,
        _ => LookKind::Other,
    };
    LookFault::of(kind, scripts::complaint(replies))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_known_by_its_first_word_and_its_text_is_left_out() {
        let of = |text: &str| fault(&[Reply::Integer(0), Reply::Error(text.to_owned())]);

        assert_eq!(
            of("WRONGPASS invalid username-password pair"),
            LookFault::of(LookKind::Login, "the store answers WRONGPASS")
        );
        for (text, kind) in [
            ("NOAUTH Authentication required.", LookKind::Login),
            ("NOPERM this user has no permissions", LookKind::Rights),
            ("READONLY You can't write against a read only replica.", LookKind::ReadOnly),
            ("OOM command not allowed when used memory > 'maxmemory'.", LookKind::ReadOnly),
            ("ERR unknown command", LookKind::Other),
        ] {
            assert_eq!(of(text).kind, kind, "{text}");
        }
        assert_eq!(fault(&[Reply::Integer(3)]).kind, LookKind::Other);
    }

    #[test]
    fn what_a_server_says_of_itself_is_taken_only_where_it_is_plain() {
        let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        let hello = |version: &str| {
            let pairs = [("server", "valkey"), ("version", version), ("mode", "standalone"), ("role", "master")];
            vec![Reply::Array(pairs.iter().flat_map(|(key, value)| [bulk(key), bulk(value)]).collect())]
        };

        let server = Server::of(&hello("8.1.0")).expect("it says all");
        assert_eq!(
            (server.name.as_str(), server.version.as_str(), server.role.as_str()),
            ("valkey", "8.1.0", "master")
        );
        for odd in ["8 \u{1b}[31m", &"8".repeat(33)] {
            assert!(Server::of(&hello(odd)).is_none(), "{odd:?}");
        }
        assert!(Server::of(&[Reply::Error("ERR unknown command".to_owned())]).is_none());
    }
}
