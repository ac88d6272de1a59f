//! A usage object in the form in which nearly all servers write it, read without serde, which took a fiftieth of the
//! instructions of a small request for it.
//!
//! **Promise.** What is read here is what serde reads of the same bytes.
//!
//! **Does not do.** Whatever is out of the ordinary is left to serde: an escape, a fraction, a name that comes twice, a list,
//! an object without members or two levels down.

use super::{Count, Details, Fields};

/// Longest run of digits that is read: more may not fit.
const MAX_DIGITS: usize = 18;

/// Reads the object with which `bytes` begins, and gives its length in bytes. Where it is left to serde, `fields` may hold some
/// of it.
pub(super) fn read(bytes: &[u8], fields: &mut Fields) -> Option<usize> {
    let mut reader = Reader { rest: bytes };
    reader.expect(b'{')?;
    reader.members(|reader, name| reader.field(name, fields))?;
    Some(bytes.len() - reader.rest.len())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            self.rest = rest;
            if !matches!(first, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(first);
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// The members of an object whose brace was read.
    fn members(&mut self, mut each: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        loop {
            self.expect(b'"')?;
            let name = self.written()?;
            self.expect(b':')?;
            each(self, name)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// What is written up to the next quote, behind one that was read: a string, where it is plain.
    fn written(&mut self) -> Option<&'a [u8]> {
        let length = self.rest.iter().position(|byte| *byte == b'"')?;
        let (written, rest) = self.rest.split_at(length);
        self.rest = rest.get(1..)?;
        Some(written)
    }

    fn word(&mut self, rest_of_it: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(rest_of_it)?;
        Some(())
    }

    /// A whole number of which the first digit was read. What follows it is seen by whoever reads on.
    fn number(&mut self, first: u8) -> Option<u64> {
        let mut number = u64::from(first - b'0');
        let mut digits = 1;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            if number == 0 || digits == MAX_DIGITS {
                return None;
            }
            number = number * 10 + u64::from(digit - b'0');
            digits += 1;
            self.rest = rest;
        }
        Some(number)
    }

    /// A number of tokens, or null.
    fn count(&mut self, count: &mut Count) -> Option<()> {
        if count.1 {
            return None; // A second one of that name.
        }
        let number = match self.next()? {
            first @ b'0'..=b'9' => Some(self.number(first)?),
            b'n' => self.word(b"ull").map(|()| None)?,
            _ => return None,
        };
        *count = Count(number, true);
        Some(())
    }

    fn field(&mut self, name: &[u8], fields: &mut Fields) -> Option<()> {
        match name {
            b"prompt_tokens" => self.count(&mut fields.prompt_tokens),
            b"completion_tokens" => self.count(&mut fields.completion_tokens),
            b"input_tokens" => self.count(&mut fields.input_tokens),
            b"output_tokens" => self.count(&mut fields.output_tokens),
            b"total_tokens" => self.count(&mut fields.total_tokens),
            b"cache_read_input_tokens" => self.count(&mut fields.cache_read_input_tokens),
            b"cache_creation_input_tokens" => self.count(&mut fields.cache_creation_input_tokens),
            b"prompt_cache_hit_tokens" => self.count(&mut fields.prompt_cache_hit_tokens),
            b"prompt_tokens_details" => self.details(&mut fields.prompt_tokens_details),
            b"input_tokens_details" => self.details(&mut fields.input_tokens_details),
            b"completion_tokens_details" => self.details(&mut fields.completion_tokens_details),
            b"output_tokens_details" => self.details(&mut fields.output_tokens_details),
            _ => self.other(name),
        }
    }

    /// Details of a number, or null, which says as little as details without a member that is known.
    fn details(&mut self, details: &mut Option<Details>) -> Option<()> {
        if details.is_some() {
            return None;
        }
        let details = details.insert(Details::default());
        match self.next()? {
            b'{' => self.members(|reader, name| match name {
                b"cached_tokens" => reader.count(&mut details.cached_tokens),
                b"reasoning_tokens" => reader.count(&mut details.reasoning_tokens),
                b"thinking_tokens" => reader.count(&mut details.thinking_tokens),
                _ => reader.plain_member(name),
            }),
            b'n' => self.word(b"ull"),
            _ => None,
        }
    }

    /// Steps over a member that is not known.
    fn other(&mut self, name: &[u8]) -> Option<()> {
        is_plain(name)?;
        match self.next()? {
            b'{' => self.members(Self::plain_member),
            first => self.plain(first),
        }
    }

    fn plain_member(&mut self, name: &[u8]) -> Option<()> {
        is_plain(name)?;
        let first = self.next()?;
        self.plain(first)
    }

    /// Steps over a value that is no object, of which the first byte was read.
    fn plain(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => is_plain(self.written()?),
            b'0'..=b'9' => self.number(first).map(drop),
            b'n' => self.word(b"ull"),
            b't' => self.word(b"rue"),
            b'f' => self.word(b"alse"),
            _ => None,
        }
    }
}

/// Whether a string as it is written is the string that is meant, and text.
fn is_plain(written: &[u8]) -> Option<()> {
    let is_letter = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
    written.iter().all(is_letter).then_some(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::Usage;
    use super::*;

    fn usage(fields: &Fields, writes: bool) -> Option<Usage> {
        fields.usage(writes, Bytes::new())
    }

    /// What is read is what serde reads; says whether anything was.
    fn as_serde(bytes: &[u8]) -> bool {
        let mut fields = Fields::default();
        let Some(length) = read(bytes, &mut fields) else {
            return false;
        };
        let theirs: Fields = serde_json::from_slice(&bytes[..length]).expect("serde reads it as well");
        for writes in [false, true] {
            assert_eq!(usage(&fields, writes), usage(&theirs, writes), "{}", String::from_utf8_lossy(bytes));
        }
        true
    }

    #[test]
    fn what_servers_write_is_read_here() {
        let table: [&[u8]; 5] = [
            br#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}"#,
            br#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
            br#"{"prompt_tokens": 10, "total_tokens": 15, "completion_tokens": 5, "prompt_tokens_details": null}"#,
            br#"{"input_tokens":10,"input_tokens_details":{"cached_tokens":0},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":15}"#,
            br#"{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":5,"service_tier":"standard","inference_geo":"eu"}"#,
        ];
        for bytes in table {
            assert!(as_serde(bytes), "{}", String::from_utf8_lossy(bytes));
            for cut in 0..bytes.len() {
                assert!(!as_serde(&bytes[..cut]), "{}", String::from_utf8_lossy(&bytes[..cut]));
            }
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_left_to_serde() {
        let table = [
            r#"{}"#,
            r#"{"prompt_tokens":1.0}"#,
            r#"{"prompt_tokens":1e3}"#,
            r#"{"prompt_tokens":-1}"#,
            r#"{"prompt_tokens":01}"#,
            r#"{"prompt_tokens":00}"#,
            r#"{"prompt_tokens":1234567890123456789}"#,
            r#"{"prompt_tokens":"1"}"#,
            r#"{"prompt_tokens":true}"#,
            r#"{"prompt_tokens":nul}"#,
            r#"{"prompt_tokens":nulll}"#,
            r#"{"prompt_tokens":1,}"#,
            r#"{"prompt_tokens":1 2}"#,
            r#"{"prompt_tokens":1,"prompt_tokens":1}"#,
            r#"{"prompt_tokens":null,"prompt_tokens":1}"#,
            r#"{"prompt_tokens_details":null,"prompt_tokens_details":{"cached_tokens":1}}"#,
            r#"{"prompt_tokens_details":{"cached_tokens":1,"cached_tokens":1}}"#,
            r#"{"prompt_tokens_details":{"more":{"cached_tokens":1}}}"#,
            r#"{"prompt_tokens_details":7}"#,
            r#"{"prompt\u005ftokens":1}"#,
            r#"{"tier":"a\"b","prompt_tokens":1}"#,
            r#"{"other":[1],"prompt_tokens":1}"#,
            "{\"tier\":\"\u{e9}\",\"prompt_tokens\":1}",
            "{\"tier\":\"\u{7f}\",\"prompt_tokens\":1}",
            "{\"tier\":\"\n\",\"prompt_tokens\":1}",
        ];
        for text in table {
            assert!(!as_serde(text.as_bytes()), "{text}");
        }
    }

    /// A usage object, mostly in good order.
    fn object() -> impl Strategy<Value = String> {
        let number = || {
            prop_oneof![
                6 => (0_u64..2000).prop_map(|number| number.to_string()),
                1 => any::<u64>().prop_map(|number| number.to_string()),
                1 => prop::sample::select(vec!["null", "0", "-1", "1.0", "1e2", "\"7\"", "true", "false", "[]", "{}", "07", ""])
                    .prop_map(str::to_owned),
            ]
        };
        let space = || prop::sample::select(vec!["", "", "", " ", "\n ", "\t", "\r"]);
        let named = |names: Vec<&'static str>| prop::sample::select(names);
        let detail =
            (named(vec!["cached_tokens", "reasoning_tokens", "thinking_tokens", "audio_tokens", "x"]), number())
                .prop_map(|(name, number)| format!("\"{name}\":{number}"));
        let details = prop_oneof![
            Just("null".to_owned()),
            number(),
            prop::collection::vec(detail, 0..4).prop_map(|details| format!("{{{}}}", details.join(","))),
        ];
        let names = vec![
            "prompt_tokens",
            "completion_tokens",
            "input_tokens",
            "output_tokens",
            "total_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            "prompt_cache_hit_tokens",
            "service_tier",
            "prompt_tokens\\u0073",
            "Prompt_Tokens",
        ];
        let with_details = vec![
            "prompt_tokens_details",
            "input_tokens_details",
            "completion_tokens_details",
            "output_tokens_details",
            "cache_creation",
        ];
        let member = prop_oneof![
            3 => (named(names), space(), space(), number()),
            1 => (named(with_details), space(), space(), details),
        ];
        let member = member
            .prop_map(|(name, before, behind, value)| format!("{before}\"{name}\"{behind}:{behind}{value}{before}"));
        prop::collection::vec(member, 0..8).prop_map(|members| format!("{{{}}}", members.join(",")))
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_serde_reads(text in object(), more in "[ ,}x]{0,3}") {
            as_serde(format!("{text}{more}").as_bytes());
        }

        #[test]
        fn what_is_read_of_damaged_bytes_is_what_serde_reads(text in object(), at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            as_serde(&bytes);
        }
    }
}
