//! The one walk over a request body: it checks the JSON, reads what the gateway needs and notes what policy must grant.

use std::borrow::Cow;
use std::ops::Range;

use super::address::{self, Check};
use super::feature::{FeatureKind, Features};
use super::item::{self, Substance};
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
    Array { empty: bool, has_id: bool },
    Object(Object),
}

impl Seen {
    /// Whether the value says anything: null, false, and what is empty do not.
    pub(super) fn says_something(&self) -> bool {
        match self {
            Self::Null | Self::False => false,
            Self::True | Self::Number => true,
            Self::Text(text) => text.len() > 0,
            Self::Array { empty, .. } => !empty,
            Self::Object(object) => !object.empty,
        }
    }

    /// Whether it is an object with an id, or an array that holds one.
    fn has_id(&self) -> bool {
        match self {
            Self::Array { has_id, .. } | Self::Object(Object { has_id, .. }) => *has_id,
            _ => false,
        }
    }
}

/// The members of an object that decide about the object itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) empty: bool,
    pub(super) has_id: bool,
    /// Of a message: a user said it.
    pub(super) is_users: bool,
    /// Of an input item: what is written out of it.
    substance: Substance,
    kind: Option<Text>,
    /// `type` is there, but not as a string or not in lower case.
    odd_kind: bool,
    /// A direct `url` that is an address, judged when the object's type is known.
    cited: Option<Text>,
    /// A direct `source` that is an address, judged likewise.
    source: Option<Text>,
    client_execution: bool,
    local_environment: bool,
    /// Of a tool: it has a `function`.
    has_function: bool,
    /// Of a tool: it has a name.
    has_name: bool,
    /// Of a tool: it has a schema for its input.
    has_schema: bool,
    /// Of a tool: one of its members was found to be a hosted tool.
    is_found: bool,
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
    /// Members named `text` that held some.
    texts: usize,
    /// Inside a tool's `environment`, whose paths (to skills) are on the caller's machine.
    in_environment: bool,
}

/// Bytes of text that one token stands for, for an input that came as token numbers.
const BYTES_PER_TOKEN: usize = 4;

impl<'a> Walker<'a> {
    pub(super) fn new(api: Api, scan: Scanner<'a>) -> Self {
        Self {
            api,
            scan,
            features: Features::default(),
            path: Vec::with_capacity(16),
            token_bytes: 0,
            texts: 0,
            in_environment: false,
        }
    }

    pub(super) fn input_bytes(&self) -> usize {
        self.scan.text_bytes + self.token_bytes
    }

    /// Walks the members of the top-level object and notes what they say.
    pub(super) fn top(&mut self, controls: &mut top::Controls) -> Result<(), DecodeError> {
        if self.scan.peek() != Some(b'{') {
            self.scan.skip_value()?;
            self.scan.end()?;
            return Err(DecodeError::NotAnObject);
        }
        controls.open = self.scan.position();
        controls.empty = self.members(|walker, key| top::member(walker, controls, key))?;
        Ok(self.scan.end()?)
    }

    /// Hands each member of the object that was peeked to `each`; says whether there was none.
    pub(super) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, Text) -> Result<(), DecodeError>,
    ) -> Result<bool, DecodeError> {
        self.scan.enter()?;
        let mut keys = self.scan.object_keys();
        while let Some(key) = self.scan.key(&mut keys)? {
            self.path.push(Step::Key(key));
            each(self, key)?;
            self.path.pop();
        }
        Ok(keys.is_empty())
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
            (Some(b'"'), Zone::Tool) => self.tool_by_name().map(Seen::Text),
            (Some(b'"'), _) => self.text(zone).map(Seen::Text),
            (Some(b'{'), Zone::Opaque) => {
                self.scan.skip_value()?;
                Ok(Seen::Object(Object::default()))
            }
            (Some(b'{'), Zone::Tools | Zone::Tool) => self.tool().map(Seen::Object),
            (Some(b'{'), Zone::Items) => self.object(Zone::Item).map(Seen::Object),
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
        self.elements(zone, |_, _| {})
    }

    /// Walks the array that was peeked; `each` gets what was seen of an element, and where it ends.
    pub(super) fn elements(&mut self, zone: Zone, mut each: impl FnMut(&Seen, usize)) -> Result<Seen, DecodeError> {
        let inner = match zone {
            Zone::Items => Zone::Item,
            Zone::Tools => Zone::Tool,
            other => other,
        };
        self.scan.enter()?;
        let mut count = 0;
        let mut has_id = false;
        while self.scan.element(count == 0)? {
            self.path.push(Step::Index(count));
            let seen = self.value(inner)?;
            has_id |= seen.has_id();
            each(&seen, self.scan.position());
            self.path.pop();
            count += 1;
        }
        Ok(Seen::Array { empty: count == 0, has_id })
    }

    fn object(&mut self, zone: Zone) -> Result<Object, DecodeError> {
        // Strings directly below media or an address stay under watch, except that they need not be `data:` URLs.
        let inherited = match zone {
            // No API has objects for a prompt. llama.cpp takes media in one; another server may take what it likes.
            Zone::Tokens if self.api == Api::Completions => Check::Media,
            Zone::Content(Check::No) | Zone::Tokens | Zone::Items | Zone::Item => Check::No,
            _ => Check::Media,
        };
        let mut seen = Object::default();
        seen.empty = match zone {
            Zone::Item => self.members(|walker, key| walker.item_member(key, &mut seen))?,
            _ => self.members(|walker, key| walker.member(key, inherited, &mut seen))?,
        };
        self.judge_object(zone, &seen)?;
        Ok(seen)
    }

    /// A member of an input item, of which it must be known whether it is more than an id.
    fn item_member(&mut self, key: Text, seen: &mut Object) -> Result<(), DecodeError> {
        let substance = item::substance_of(&key.unescaped_bytes(self.scan.bytes()));
        self.scan.peek();
        let (start, texts) = (self.scan.position(), self.texts);
        self.member(key, Check::No, seen)?;
        let written = self.scan.bytes().get(start..self.scan.position()).unwrap_or_default();
        if substance.is_in(written, self.texts > texts) {
            seen.substance = seen.substance.and(substance);
        }
        Ok(())
    }

    fn member(&mut self, key: Text, inherited: Check, seen: &mut Object) -> Result<(), DecodeError> {
        let name = key.unescaped_bytes(self.scan.bytes());
        // Within media nothing is the caller's own: `image_url: {"metadata": {"url": ...}}` has been tried.
        if inherited == Check::No && tables::opaque_below(self.api, &name) {
            return Ok(self.scan.skip_value()?);
        }
        let folded = tables::folded(&name);
        match &*folded {
            b"type" => {
                let value = self.value(Zone::Content(inherited))?;
                note_kind(seen, &value, *name == *folded);
            }
            b"id" => seen.has_id |= self.value(Zone::Content(inherited))?.says_something(),
            b"role" => {
                let value = self.value(Zone::Content(inherited))?;
                seen.is_users |= self.is_text(&value, "user");
            }
            b"text" | b"title" | b"filename" | b"caption" | b"transcript" | b"prompt_string"
                if self.scan.peek() == Some(b'"') && tables::is_words(&name) =>
            {
                let text = self.text(Zone::Content(Check::No))?;
                self.texts += usize::from(*folded == *b"text" && text.len() > 0);
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
                if audio.has_id() {
                    self.found(FeatureKind::KeepState)?;
                }
            }
            b"source" if inherited == Check::No && self.scan.peek() == Some(b'"') => {
                let text = self.text(Zone::Content(Check::No))?;
                if address::is_remote(Check::Media, text, self.scan.bytes()) {
                    seen.source = Some(key);
                }
            }
            b"data" => {
                self.value(Zone::Payload(inherited))?;
            }
            b"file_data" | b"b64_json" | b"bytes" => {
                self.value(Zone::Payload(Check::Media))?;
            }
            b"path" if self.in_environment => {
                self.value(Zone::Content(Check::No))?;
            }
            state if tables::is_state(state) => {
                if self.value(Zone::Content(inherited))?.says_something() {
                    self.found(FeatureKind::KeepState)?;
                }
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
        let cites = kind.as_deref().is_some_and(|kind| tables::cites(self.api, kind));
        self.found_at(seen.cited.filter(|_| !cites))?;
        let is_media = kind.as_deref().is_some_and(tables::is_media);
        self.found_at(seen.source.filter(|_| is_media))?;
        // An item that is only an id means the item that the provider has stored under it.
        let bare_id = zone == Zone::Item && seen.has_id && item::is_bare(kind.as_deref(), seen.substance);
        if bare_id || kind.as_deref() == Some(b"item_reference") {
            self.found(FeatureKind::KeepState)?;
        }
        Ok(())
    }

    /// Notes the address in the direct member `key`, where there is one.
    fn found_at(&mut self, key: Option<Text>) -> Result<(), DecodeError> {
        if let Some(key) = key {
            self.path.push(Step::Key(key));
            self.found(FeatureKind::RemoteUrl)?;
            self.path.pop();
        }
        Ok(())
    }

    /// A tool that is no more than a name is one that the server has.
    fn tool_by_name(&mut self) -> Result<Text, DecodeError> {
        let name = self.text(Zone::Tool)?;
        self.found(FeatureKind::hosted(&name.unescaped(self.scan.bytes())))?;
        Ok(name)
    }

    fn tool(&mut self) -> Result<Object, DecodeError> {
        let mut seen = Object::default();
        self.members(|walker, key| walker.tool_member(key, &mut seen))?;
        let kind = seen.kind(self.scan.bytes());
        let claims = ToolClaims {
            kind: kind.as_deref(),
            client_execution: seen.client_execution,
            local_environment: seen.local_environment,
            declared: seen.has_function || (seen.has_name && seen.has_schema),
        };
        let is_named = kind.is_none() && seen.is_found;
        if !is_named && (seen.odd_kind || tables::tool(self.api, claims) == Runs::Provider) {
            let kind = FeatureKind::hosted(kind.as_deref().unwrap_or("unknown"));
            self.found(kind)?;
        }
        self.found_at(seen.cited)?;
        Ok(seen)
    }

    fn tool_member(&mut self, key: Text, seen: &mut Object) -> Result<(), DecodeError> {
        let name = key.unescaped_bytes(self.scan.bytes());
        match &*name {
            // The declaration of a function: a name, a description and a schema.
            b"function" => {
                seen.has_function = self.scan.peek() == Some(b'{') && !self.api.is_anthropic();
                Ok(self.scan.skip_value()?)
            }
            b"input_schema" | b"parameters" => {
                seen.has_schema |= self.scan.peek() == Some(b'{');
                Ok(self.scan.skip_value()?)
            }
            b"format" => Ok(self.scan.skip_value()?),
            b"name" => {
                seen.has_name = self.value(Zone::Content(Check::No))?.says_something();
                Ok(())
            }
            b"execution" => {
                let value = self.value(Zone::Opaque)?;
                seen.client_execution = self.is_text(&value, "client");
                Ok(())
            }
            b"environment" => {
                self.in_environment = true;
                let value = self.value(Zone::Content(Check::No))?;
                self.in_environment = false;
                if let Seen::Object(environment) = value {
                    let kind = environment.kind(self.scan.bytes());
                    seen.local_environment = kind.as_deref() == Some("local");
                }
                Ok(())
            }
            other => match tables::hosted_tool_key(&tables::folded(other)) {
                None => self.member(key, Check::No, seen),
                Some(kind) => {
                    let value = self.value(Zone::Content(Check::No))?;
                    if value.says_something() || matches!(value, Seen::Object(_)) {
                        seen.is_found = true;
                        self.found(FeatureKind::hosted(kind))?;
                    }
                    Ok(())
                }
            },
        }
    }

    pub(super) fn is_text(&self, value: &Seen, expected: &str) -> bool {
        matches!(value, Seen::Text(text) if *text.unescaped_bytes(self.scan.bytes()) == *expected.as_bytes())
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
