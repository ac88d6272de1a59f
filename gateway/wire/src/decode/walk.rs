//! The one walk over a request body: it checks the JSON, reads what the gateway needs and notes what policy must grant.

use std::borrow::Cow;
use std::ops::Range;

use super::address::{self, Check};
use super::feature::{FeatureKind, Features};
use super::tables::{self, Runs, ToolClaims};
use super::{DecodeError, top};
use crate::Api;
use crate::json::{Plain, Scanner, Text};

/// One step of the path from the top of the document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Key(Text),
    Index(usize),
}

/// What the walk expects of the value it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// The caller's own names or a schema: checked as JSON and counted, not judged.
    Opaque,
    /// Content, known or not; strings are looked at as the check says.
    Content(Check),
    /// Media written out as base64, not counted as text.
    Payload(Check),
    /// Text that may also come as token numbers.
    Tokens,
    /// The list of input items of the Responses API.
    Items,
    /// One input item.
    Item,
    /// A list of tools.
    Tools,
    /// One tool.
    Tool,
}

/// What was seen of a value, for whoever knows its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Null,
    True,
    False,
    Number,
    Text(Text),
    Array { empty: bool },
    Object(Object),
}

impl Seen {
    /// Whether the value says anything: null, false, and what is empty do not.
    pub(super) fn says_something(&self) -> bool {
        match self {
            Self::Null | Self::False => false,
            Self::True | Self::Number => true,
            Self::Text(text) => text.len() > 0,
            Self::Array { empty } => !empty,
            Self::Object(object) => !object.empty,
        }
    }
}

/// The members of an object that decide about the object itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) empty: bool,
    pub(super) has_id: bool,
    /// It has a `role` or a `content`: an item that is written out.
    has_content: bool,
    kind: Option<Text>,
    /// `type` is there, but not as a string or not in lower case.
    odd_kind: bool,
    /// A direct `url` that is an address, judged when the object's type is known.
    cited: Option<Text>,
    client_execution: bool,
    local_environment: bool,
}

impl Object {
    pub(super) fn kind<'a>(&self, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
        self.kind.map(|text| text.unescaped(bytes))
    }
}

pub(super) struct Walker<'a> {
    pub(super) api: Api,
    pub(super) scan: Scanner<'a>,
    pub(super) features: Features,
    path: Vec<Step>,
    /// Bytes that numbers stand for where they are tokens.
    token_bytes: usize,
}

/// Bytes of text that one token stands for, for an input that came as token numbers.
const BYTES_PER_TOKEN: usize = 4;

impl<'a> Walker<'a> {
    pub(super) fn new(api: Api, scan: Scanner<'a>) -> Self {
        Self { api, scan, features: Features::default(), path: Vec::with_capacity(16), token_bytes: 0 }
    }

    pub(super) fn input_bytes(&self) -> usize {
        self.scan.text_bytes + self.token_bytes
    }

    /// Walks the members of the top-level object.
    pub(super) fn top(&mut self) -> Result<top::Controls, DecodeError> {
        if self.scan.peek() != Some(b'{') {
            self.scan.skip_value()?;
            self.scan.end()?;
            return Err(DecodeError::NotAnObject);
        }
        let mut controls = top::Controls { open: self.scan.position(), ..top::Controls::default() };
        self.scan.enter()?;
        let mut keys = self.scan.object_keys();
        while let Some(key) = self.scan.key(&mut keys)? {
            self.path.push(Step::Key(key));
            top::member(self, &mut controls, key)?;
            self.path.pop();
        }
        controls.empty = keys.is_empty();
        self.scan.end()?;
        Ok(controls)
    }

    /// Walks one value and says where it lies.
    pub(super) fn spanned(&mut self, zone: Zone) -> Result<(Seen, Range<usize>), DecodeError> {
        self.scan.peek();
        let start = self.scan.position();
        let seen = self.value(zone)?;
        Ok((seen, start..self.scan.position()))
    }

    pub(super) fn value(&mut self, zone: Zone) -> Result<Seen, DecodeError> {
        match (self.scan.peek(), zone) {
            (Some(b'"'), _) => self.text(zone).map(Seen::Text),
            (Some(b'{'), Zone::Opaque) => {
                self.scan.skip_value()?;
                Ok(Seen::Object(Object::default()))
            }
            (Some(b'{'), Zone::Tools | Zone::Tool) => self.tool().map(Seen::Object),
            (Some(b'{'), _) => self.object(zone).map(Seen::Object),
            (Some(b'['), _) => self.array(zone),
            _ => self.plain(zone),
        }
    }

    pub(super) fn found(&mut self, kind: FeatureKind) -> Result<(), DecodeError> {
        Ok(self.features.add(kind, &self.path, self.scan.bytes())?)
    }

    fn plain(&mut self, zone: Zone) -> Result<Seen, DecodeError> {
        Ok(match self.scan.plain()? {
            Plain::Null => Seen::Null,
            Plain::True => Seen::True,
            Plain::False => Seen::False,
            Plain::Number => {
                if zone == Zone::Tokens {
                    self.token_bytes += BYTES_PER_TOKEN;
                }
                Seen::Number
            }
        })
    }

    fn text(&mut self, zone: Zone) -> Result<Text, DecodeError> {
        let text = self.scan.string()?;
        let check = match zone {
            Zone::Content(check) | Zone::Payload(check) => check,
            _ => Check::No,
        };
        if address::is_remote(check, text, self.scan.bytes()) {
            self.found(FeatureKind::RemoteUrl)?;
        }
        let is_media = matches!(zone, Zone::Payload(_)) && looks_like_base64(text, self.scan.bytes());
        if !is_media {
            self.scan.count(text);
        }
        Ok(text)
    }

    fn array(&mut self, zone: Zone) -> Result<Seen, DecodeError> {
        let inner = match zone {
            Zone::Items => Zone::Item,
            Zone::Tools => Zone::Tool,
            other => other,
        };
        self.scan.enter()?;
        let mut count = 0;
        while self.scan.element(count == 0)? {
            self.path.push(Step::Index(count));
            self.value(inner)?;
            self.path.pop();
            count += 1;
        }
        Ok(Seen::Array { empty: count == 0 })
    }

    fn object(&mut self, zone: Zone) -> Result<Object, DecodeError> {
        // Strings directly below media or an address stay under watch, except that they need not be `data:` URLs.
        let inherited = match zone {
            Zone::Content(Check::No) | Zone::Tokens | Zone::Items | Zone::Item => Check::No,
            _ => Check::Media,
        };
        let mut seen = Object::default();
        self.scan.enter()?;
        let mut keys = self.scan.object_keys();
        while let Some(key) = self.scan.key(&mut keys)? {
            self.path.push(Step::Key(key));
            self.member(key, inherited, &mut seen)?;
            self.path.pop();
        }
        seen.empty = keys.is_empty();
        self.judge_object(zone, &seen)?;
        Ok(seen)
    }

    fn member(&mut self, key: Text, inherited: Check, seen: &mut Object) -> Result<(), DecodeError> {
        let name = key.unescaped_bytes(self.scan.bytes());
        if tables::opaque_below(self.api, &name) {
            return Ok(self.scan.skip_value()?);
        }
        let folded = tables::folded(&name);
        match &*folded {
            b"type" => {
                let value = self.value(Zone::Content(inherited))?;
                note_kind(seen, &value, *name == *folded);
            }
            b"id" => seen.has_id |= self.value(Zone::Content(inherited))?.says_something(),
            b"role" | b"content" => {
                seen.has_content = true;
                self.value(Zone::Content(inherited))?;
            }
            b"tools" => {
                self.value(Zone::Tools)?;
            }
            b"url" if self.scan.peek() == Some(b'"') => {
                let text = self.text(Zone::Content(Check::No))?;
                if address::is_remote(Check::Url, text, self.scan.bytes()) {
                    seen.cited = Some(key);
                }
            }
            b"file_id" | b"file_ids" => {
                if self.value(Zone::Content(inherited))?.says_something() {
                    self.found(FeatureKind::hosted("file_id"))?;
                }
            }
            b"audio" if self.api == Api::Chat => {
                let audio = self.value(Zone::Content(Check::Media))?;
                if matches!(audio, Seen::Object(Object { has_id: true, .. })) {
                    self.found(FeatureKind::KeepState)?;
                }
            }
            b"data" | b"file_data" | b"b64_json" | b"bytes" => {
                self.value(Zone::Payload(inherited))?;
            }
            other => {
                let check = match tables::check_of(other) {
                    Check::No => inherited,
                    check => check,
                };
                self.value(Zone::Content(check))?;
            }
        }
        Ok(())
    }

    /// What only the whole object can tell.
    fn judge_object(&mut self, zone: Zone, seen: &Object) -> Result<(), DecodeError> {
        let kind = seen.kind.map(|text| text.unescaped_bytes(self.scan.bytes()));
        if let Some(url) = seen.cited
            && !kind.as_deref().is_some_and(tables::cites)
        {
            self.path.push(Step::Key(url));
            self.found(FeatureKind::RemoteUrl)?;
            self.path.pop();
        }
        // An item that is only an id means the item that the provider has stored under it.
        let bare_id = zone == Zone::Item && kind.is_none() && seen.has_id && !seen.has_content;
        if bare_id || kind.as_deref() == Some(b"item_reference") {
            self.found(FeatureKind::KeepState)?;
        }
        Ok(())
    }

    fn tool(&mut self) -> Result<Object, DecodeError> {
        let mut seen = Object::default();
        self.scan.enter()?;
        let mut keys = self.scan.object_keys();
        while let Some(key) = self.scan.key(&mut keys)? {
            self.path.push(Step::Key(key));
            self.tool_member(key, &mut seen)?;
            self.path.pop();
        }
        let kind = seen.kind(self.scan.bytes());
        let claims = ToolClaims {
            kind: kind.as_deref(),
            client_execution: seen.client_execution,
            local_environment: seen.local_environment,
        };
        if seen.odd_kind || tables::tool(self.api, claims) == Runs::Provider {
            let kind = FeatureKind::hosted(kind.as_deref().unwrap_or("unknown"));
            self.found(kind)?;
        }
        if let Some(url) = seen.cited {
            self.path.push(Step::Key(url));
            self.found(FeatureKind::RemoteUrl)?;
            self.path.pop();
        }
        Ok(seen)
    }

    fn tool_member(&mut self, key: Text, seen: &mut Object) -> Result<(), DecodeError> {
        let name = key.unescaped_bytes(self.scan.bytes());
        match &*name {
            // The declaration of a function: a name, a description and a schema.
            b"function" | b"format" => Ok(self.scan.skip_value()?),
            b"execution" => {
                let value = self.value(Zone::Opaque)?;
                seen.client_execution = self.is_text(&value, "client");
                Ok(())
            }
            b"environment" => {
                let value = self.value(Zone::Content(Check::No))?;
                if let Seen::Object(environment) = value {
                    let kind = environment.kind(self.scan.bytes());
                    seen.local_environment = kind.as_deref() == Some("local");
                }
                Ok(())
            }
            _ => self.member(key, Check::No, seen),
        }
    }

    pub(super) fn is_text(&self, value: &Seen, expected: &str) -> bool {
        matches!(value, Seen::Text(text) if text.unescaped(self.scan.bytes()) == expected)
    }
}

fn note_kind(seen: &mut Object, value: &Seen, exact: bool) {
    match value {
        Seen::Text(text) if exact => seen.kind = Some(*text),
        Seen::Null if exact => {}
        _ => seen.odd_kind = true,
    }
}

/// Base64 has no spaces; a document given as plain text has one soon.
fn looks_like_base64(text: Text, bytes: &[u8]) -> bool {
    let raw = text.raw(bytes);
    let head = raw.get(..256).unwrap_or(raw);
    memchr::memchr(b' ', head).is_none()
}
