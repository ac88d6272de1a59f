//! One event, with the bytes it came as.

use std::borrow::Cow;

use bytes::Bytes;

/// One server-sent event (or comment) and the exact bytes that carried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The bytes, blank line included; blank lines in front belong to the frame as well.
    pub raw: Bytes,
    terminated: bool,
    bom: bool,
    /// It is one line `data:…` and the blank line that ends it, as nearly all are: then no line is looked for.
    lone_data: bool,
}

impl Frame {
    /// A frame of `lines` that are not blank.
    pub(super) fn new(raw: Bytes, terminated: bool, bom: bool, lines: usize) -> Self {
        let lone_data = terminated && lines == 1 && raw.starts_with(b"data:");
        Self { raw, terminated, bom, lone_data }
    }

    /// Whether it is one line of data and the blank line that ends it.
    pub(crate) fn is_lone_data(&self) -> bool {
        self.lone_data
    }

    /// The value of the only line, where it is one of data.
    fn lone_data(&self) -> Option<&[u8]> {
        let value = self.raw.strip_prefix(b"data:").filter(|_| self.lone_data)?;
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let end = value.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        value.get(..end)
    }

    /// Whether a blank line ended it. Only the last frame of a stream can lack one.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.terminated
    }

    /// The last `event:` field.
    #[must_use]
    pub fn event(&self) -> Option<&[u8]> {
        if self.lone_data {
            return None;
        }
        self.fields().filter(|(name, _)| *name == b"event").last().map(|(_, value)| value)
    }

    /// The data: the frame's own bytes where there is one `data:` line, else the lines joined by LF.
    #[must_use]
    pub fn data(&self) -> Cow<'_, [u8]> {
        if let Some(data) = self.lone_data() {
            return Cow::Borrowed(data);
        }
        let mut values = self.fields().filter(|(name, _)| *name == b"data").map(|(_, value)| value);
        let Some(first) = values.next() else {
            return Cow::Borrowed(&[]);
        };
        let Some(second) = values.next() else {
            return Cow::Borrowed(first);
        };
        let mut joined = [first, b"\n", second].concat();
        for value in values {
            joined.push(b'\n');
            joined.extend_from_slice(value);
        }
        Cow::Owned(joined)
    }

    /// The value of the first field with this name.
    #[must_use]
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        if self.lone_data {
            return self.lone_data().filter(|_| name == b"data");
        }
        self.fields().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Whether it has no field: only comments, or only blank lines.
    #[must_use]
    pub fn is_comment(&self) -> bool {
        !self.lone_data && self.fields().next().is_none()
    }

    /// The fields in order, each with the one space behind its colon taken off. Comments are left out.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines().filter(|line| !line.is_empty() && line.first() != Some(&b':')).map(|line| {
            let Some(colon) = memchr::memchr(b':', line) else {
                return (line, &[][..]);
            };
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default();
            (name, value.strip_prefix(b" ").unwrap_or(value))
        })
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.raw.get(if self.bom { 3 } else { 0 }..).unwrap_or_default();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let (line, tail) = rest.split_at(end);
            rest = tail.strip_prefix(b"\r\n").or_else(|| tail.get(1..)).unwrap_or_default();
            Some(line)
        })
    }
}
