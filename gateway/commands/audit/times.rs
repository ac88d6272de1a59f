//! Spans of time. Entries write theirs in one form, which sorts as text.

use super::AuditCommandError;

/// The form of a time in the log.
const FORM: &str = "2026-11-26T08:00:00.000000Z";

/// From a time on, and before another.
#[derive(Debug, Default)]
pub(in crate::commands) struct Span {
    pub(in crate::commands) since: Option<String>,
    pub(in crate::commands) until: Option<String>,
}

impl Span {
    pub(in crate::commands) fn parse(since: Option<&str>, until: Option<&str>) -> Result<Self, AuditCommandError> {
        let parse = |text: Option<&str>| {
            text.map(|text| parse(text).ok_or_else(|| AuditCommandError::Time(text.to_owned()))).transpose()
        };
        Ok(Self { since: parse(since)?, until: parse(until)? })
    }

    pub(in crate::commands) fn is_everything(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }

    /// Whether an entry of this time lies in it; one without a time lies in none.
    pub(in crate::commands) fn holds(&self, time: Option<&str>) -> bool {
        time.is_some_and(|time| {
            self.since.as_deref().is_none_or(|since| time >= since)
                && self.until.as_deref().is_none_or(|until| time < until)
        })
    }
}

/// `text` in the form of the log; `None` where it is no time in UTC.
fn parse(text: &str) -> Option<String> {
    let text = text.trim();
    let day = text.get(..10)?;
    let rest = match text.get(10..)? {
        "" => "T00:00:00.000000Z".to_owned(),
        rest => {
            let clock = rest.strip_prefix('T')?.strip_suffix('Z')?;
            let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
            format!("T{clock}.{fraction:0<6}Z")
        }
    };
    let time = format!("{day}{rest}");
    let fits = |(found, form): (u8, u8)| if form.is_ascii_digit() { found.is_ascii_digit() } else { found == form };
    (time.len() == FORM.len() && time.bytes().zip(FORM.bytes()).all(fits)).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_day_or_an_instant_in_utc() {
        assert_eq!(parse("2026-11-26").as_deref(), Some("2026-11-26T00:00:00.000000Z"));
        assert_eq!(parse("2026-11-26T08:00:00Z").as_deref(), Some(FORM));
        assert_eq!(parse("2026-11-26T08:00:00.5Z").as_deref(), Some("2026-11-26T08:00:00.500000Z"));
        for wrong in ["", "yesterday", "2026-11", "2026-11-26T08:00Z", "2026-11-26T08:00:00+01:00", "26.11.2026"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_span_holds_its_first_instant_and_not_its_last() {
        let span = Span::parse(Some("2026-11-26"), Some("2026-11-27")).unwrap();

        assert!(span.holds(Some("2026-11-26T00:00:00.000000Z")));
        assert!(!span.holds(Some("2026-11-27T00:00:00.000000Z")));
        assert!(!span.holds(None));
    }
}
