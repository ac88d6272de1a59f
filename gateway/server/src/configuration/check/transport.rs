//! `endpoint.NAME.transport` and `resolver.NAME.stale_grace`: how connections are made, and how long an answer outlives itself.

use std::net::IpAddr;
use std::time::Duration;

use super::super::compile::TransportConfig;
use super::super::document::{EndpointTransport, Keepalive, Reach};
use super::super::report::quote;
use super::super::tree::Cursor;
use super::{Check, Owner};

/// The longest name of an interface on Linux.
const LONGEST_DEVICE: usize = 15;
/// The longest that verified addresses may outlive their answer.
const LONGEST_GRACE: Duration = Duration::from_secs(24 * 3600);

impl Check<'_> {
    pub(super) fn transport(
        &mut self,
        owner: Owner<'_>,
        transport: Option<&EndpointTransport>,
        reach: &Reach,
    ) -> Option<TransportConfig> {
        let at = self.of(owner).at("transport");
        let given = transport.cloned().unwrap_or_default();
        let EndpointTransport { keepalive, user_timeout_ms, mss, device, source, leaves_from, ipv6 } = given;
        let Keepalive { idle_ms, interval_ms, count } = keepalive.unwrap_or_default();
        let setting = |key: &str| owner.setting(&format!("transport.{key}"));
        if let Some(device) = &device
            && (device.is_empty()
                || device.len() > LONGEST_DEVICE
                || device.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'/'))
        {
            let message = format!("`{}`: {} is no name of an interface", setting("device"), quote(device));
            self.wrong(at.at("device").mark(), message, "write it as `ip link` does, such as `tun0`");
        }
        let source = source.map(|source| self.source(at.at("source"), &setting("source"), &source));
        let leaves_from = match &leaves_from {
            None => Some(Vec::new()),
            Some(networks) => {
                let remedy = "name the networks that its packets leave from, or leave it out";
                let empty = self.is_empty_list(at.at("leaves_from"), &setting("leaves_from"), networks.len(), remedy);
                (!empty).then(|| self.networks(at.at("leaves_from"), &setting("leaves_from"), networks)).flatten()
            }
        };
        let time = |value: Option<u64>, default: u64| Duration::from_millis(value.unwrap_or(default));
        Some(TransportConfig {
            keepalive_idle: time(idle_ms, 30_000),
            keepalive_interval: time(interval_ms, 10_000),
            keepalive_count: count.unwrap_or(3),
            user_timeout: time(user_timeout_ms, 60_000),
            mss,
            device,
            source: source.map_or(Some(None), |found| found.map(Some))?,
            leaves_from: leaves_from?,
            ipv6: ipv6.unwrap_or(!matches!(reach, Reach::PrivateLink { .. })),
        })
    }

    fn source(&mut self, at: Cursor<'_>, setting: &str, text: &str) -> Option<IpAddr> {
        let address =
            text.parse::<IpAddr>().ok().filter(|address| !address.is_unspecified() && !address.is_multicast());
        if address.is_none() {
            self.wrong(
                at.mark(),
                format!("`{setting}`: {} is no source address", quote(text)),
                "write it as `192.168.0.10`",
            );
        }
        address
    }

    pub(super) fn stale_grace(&mut self, at: Cursor<'_>, name: &str, text: Option<&str>) -> Duration {
        let Some(text) = text else { return egress::STALE_GRACE };
        match duration(text) {
            Some(grace) if grace <= LONGEST_GRACE => grace,
            Some(_) => {
                let message = format!("`resolver.{name}.stale_grace` is longer than a day");
                self.wrong(at.mark(), message, "a day without an answer is an outage; write at most `24h`");
                egress::STALE_GRACE
            }
            None => {
                let message = format!("`resolver.{name}.stale_grace`: {} is no time", quote(text));
                self.wrong(at.mark(), message, "write it as `15min`, `90s`, `2h`, or `0`");
                egress::STALE_GRACE
            }
        }
    }
}

/// `90s`, `15min`, `2h`, or `0`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (digits, unit) = text.split_at_checked(text.find(|character: char| !character.is_ascii_digit())?)?;
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(Duration::from_secs(digits.parse::<u64>().ok()?.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        let seconds = |text: &str| duration(text).map(|time| time.as_secs());

        assert_eq!(
            [seconds("0"), seconds("90s"), seconds("15min"), seconds("24h")],
            [Some(0), Some(90), Some(900), Some(86_400)]
        );
        for text in ["", "15", "15m", "min", "-1s", "1.5h", "1 h", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
