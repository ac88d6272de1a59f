//! One pass over a body: every string is read, gathered and searched, and whoever asked is told of each find.

use std::collections::HashMap;
use std::ops::Range;

use super::letters::{self, Reading};
use super::media::{self, Substance};
use super::sheet::{Cursor, End, FULL, Sheet};
use super::strings::{Role, Strings, Token};
use super::twofold::{self, Find};
use super::unpacked::{self, Gathered, Inside, LAYERS, Unpacked};
use crate::engine::{ENGINE, Effort, Hit};
use crate::kind::TextKind;
use crate::own::OwnRecognisers;
use crate::recogniser::NEARBY;

/// Whoever wants to know what a body holds.
pub(crate) trait Listener {
    /// Whether the place of a find of this kind is wanted; finding it costs something.
    fn wants_place(&self, kind: TextKind) -> bool;

    /// Something was found in a string. The places are empty where they were not wanted; more than one where it was split
    /// across strings.
    fn found(&mut self, kind: TextKind, places: Vec<Range<usize>>);

    /// A text that was packed as base64 was read, and perhaps something was found in it.
    fn found_packed(&mut self, unpacked: Unpacked<'_>);

    /// The string at this place is media that was not read.
    fn media(&mut self, place: Range<usize>);

    /// The string at this place is an identifier of the caller's user.
    fn user(&mut self, place: Range<usize>);

    /// What comes at or behind this place was not read.
    fn uninspected(&mut self, at: usize);
}

/// Longest end of one string that is looked at together with the beginning of the next, in bytes.
const SEAM: usize = 64;

/// Longest end of the name of a member that is read again for each of many strings or numbers under it, in bytes of text: more
/// than a word that says what they are can stand before them.
const NAME: usize = 2 * NEARBY;

/// The same in bytes as it is written, since an escape takes six for a letter.
const WRITTEN_NAME: usize = 6 * NEARBY;

/// Longest name of a member that is read again for each of many numbers whatever it says, in bytes.
const SHORT_NAME: usize = 16;

/// How many numbers under one longer name are read with the end of it before only what a word of it says is.
const WITH_WHOLE_NAME: u32 = 8;

/// Most names of members, and most strings under one, of which ends are kept within a message.
const MOST_NAMES: usize = 8;

/// Members of the top level whose lists hold messages; parts of one message are read as one text.
const MESSAGES: [&[u8]; 4] = [b"messages", b"input", b"system", b"contents"];

/// Names of members that say what a part is; their values belong to nobody's text.
const NO_TEXT: [&[u8]; 6] = [b"type", b"role", b"id", b"name", b"status", b"call_id"];

/// Reads `body` whole.
pub(crate) fn read(body: &[u8], own: &OwnRecognisers, listener: &mut impl Listener) {
    let mut effort = Effort::new();
    let mut reader = Reader::new(body, own, &mut effort, listener);
    let mut strings = Strings::new(body).and_short_numbers(!own.is_empty());
    for token in strings.by_ref() {
        reader.token(&token);
        if reader.effort.is_spent() {
            reader.listener.uninspected(token.place.start);
            return;
        }
    }
    reader.finish();
    let is_spent = reader.effort.is_spent();
    if strings.is_broken || is_spent {
        listener.uninspected(body.len().saturating_sub(1));
    }
}

struct Reader<'a, L> {
    body: &'a [u8],
    own: &'a OwnRecognisers,
    sheet: Sheet,
    /// Texts that strings pack, to be read apart.
    gathered: Gathered,
    /// How many layers of packing are still undone.
    layers: u8,
    /// The last name of a member under which something was packed, and how its end is given to that.
    folded: (Range<usize>, Vec<u8>),
    /// Short numbers and their names, for recognisers of one's own.
    numbers: Sheet,
    /// The last name of a member whose end was asked for, and that end.
    name: (Range<usize>, Range<usize>),
    /// The name that the last short numbers stood under.
    under: Under,
    effort: &'a mut Effort,
    /// The message that `ends` belong to.
    message: u32,
    /// By the name of the member, the ends of the last strings of the message that is being read.
    ends: Vec<(Range<usize>, Vec<StringEnd>)>,
    /// Where in the body a sheet begins to report; what is before was reported with the sheet before.
    from: usize,
    listener: &'a mut L,
}

impl<'a, L: Listener> Reader<'a, L> {
    fn new(body: &'a [u8], own: &'a OwnRecognisers, effort: &'a mut Effort, listener: &'a mut L) -> Self {
        Self {
            body,
            own,
            sheet: Sheet::for_body(body.len()),
            gathered: Gathered::default(),
            layers: LAYERS,
            folded: (0..0, Vec::new()),
            numbers: Sheet::default(),
            name: (0..0, 0..0),
            under: Under::default(),
            effort,
            message: 0,
            ends: Vec::new(),
            from: 0,
            listener,
        }
    }

    /// Searches what was gathered and not searched yet.
    fn finish(&mut self) {
        self.search(None);
        self.search_numbers();
        self.read_gathered();
    }

    fn token(&mut self, token: &Token) {
        if token.role == Role::ShortNumber {
            return self.short_number(token);
        }
        let raw = self.body.get(token.place.clone()).unwrap_or_default();
        match token.role {
            Role::Key => self.key(token, raw),
            Role::Value if self.value(token, raw) => self.seam(token),
            Role::Value => return,
            Role::Number | Role::ShortNumber => {}
        }
        self.string(token);
    }

    /// A name may pack a text as any string. It is read as it stands in any case.
    fn key(&mut self, token: &Token, raw: &[u8]) {
        if let Substance::Packed { text, head, .. } = media::judge(raw)
            && self.layers > 0
        {
            self.unpack(token, &text, head);
        }
    }

    /// Takes out the text that a string packs, and says whether it is read as it stands as well.
    fn value(&mut self, token: &Token, raw: &[u8]) -> bool {
        if self.is_user(token) {
            self.listener.user(token.place.clone());
        }
        match media::judge(raw) {
            Substance::Text => true,
            Substance::Packed { text, head, stands, is_doubtful } if self.layers > 0 => {
                if is_doubtful {
                    self.listener.media(token.place.clone());
                }
                self.unpack(token, &text, head);
                stands
            }
            Substance::Packed { stands, .. } | Substance::Media { stands } => {
                self.listener.media(token.place.clone());
                stands
            }
        }
    }

    /// `user`, `safety_identifier`, and in Anthropic's API `metadata.user_id`.
    fn is_user(&self, token: &Token) -> bool {
        let name = |place: &Range<usize>| self.body.get(place.clone()).unwrap_or_default();
        let is_one = match token.depth {
            1 => matches!(name(&token.key), b"user" | b"safety_identifier"),
            2 => name(&token.top) == b"metadata" && name(&token.key) == b"user_id",
            _ => false,
        };
        is_one && !token.place.is_empty()
    }

    /// Puts one string onto the sheet, or onto as many as it takes.
    fn string(&mut self, token: &Token) {
        let mut at = self.sheet.add(self.body, token.place.clone(), false);
        while at < token.place.end {
            let (begin, report, threshold) = self.sheet.carry(self.body);
            self.search(Some(Until { text: threshold, raw: report }));
            self.from = report;
            at = self.sheet.add(self.body, begin..token.place.end, false);
            if self.effort.is_spent() {
                return;
            }
        }
        self.sheet.end(if token.role == Role::Key { End::Key } else { End::Value });
        // A key stays with its value.
        if self.sheet.is_full() && token.role != Role::Key {
            self.search(None);
        }
    }

    /// Searches what is on the sheet, up to `until` where the string goes on, and empties it.
    fn search(&mut self, until: Option<Until>) {
        match self.sheet.unfolded(self.body) {
            None => self.search_once(until),
            Some(unfolded) => self.search_twice(&unfolded, until),
        }
        self.sheet.clear();
        self.from = 0;
    }

    /// The search of a text that can be read in one way only.
    fn search_once(&mut self, until: Option<Until>) {
        let mut cursor = Cursor::default();
        let until = until.map_or(usize::MAX, |until| until.text);
        let (sheet, body, from) = (&self.sheet, self.body, self.from);
        let listener = &mut *self.listener;
        let mut told = |hit: Hit, cursor: &mut Cursor| {
            if hit.place.start >= until || sheet.is_half_of_a_seam(&hit.place) {
                return;
            }
            // Only where a string was carried on can something have been reported before.
            let places = if from > 0 || listener.wants_place(hit.kind) {
                sheet.written(body, &hit.place, cursor)
            } else {
                Vec::new()
            };
            if places.first().is_none_or(|place| place.start >= from || places.len() > 1) {
                listener.found(hit.kind, places);
            }
        };
        ENGINE.search(&sheet.text, self.effort, |hit| told(hit, &mut cursor));
        cursor = Cursor::default();
        self.own.search(&sheet.text, self.effort, |hit| told(hit, &mut cursor));
    }

    /// The search of a text in which a backslash may be one or begin an escape: both readings, and what both find once.
    fn search_twice(&mut self, unfolded: &Sheet, until: Option<Until>) {
        let until = until.map_or(usize::MAX, |until| until.raw);
        let literal = finds(&self.sheet, self.body, self.effort);
        let mut all = twofold::once(self.body, literal, finds(unfolded, self.body, self.effort));
        all.extend(self.own_of_both(unfolded));
        for find in all {
            let (start, is_split) = (find.start(), find.places.len() > 1);
            if is_split || (self.from..until).contains(&start) {
                self.listener.found(find.kind, find.places);
            }
        }
    }

    /// What recognisers of one's own find in either reading, each apart from all others: what one finds is never a part of
    /// what another does.
    fn own_of_both(&mut self, unfolded: &Sheet) -> Vec<Find> {
        let mut by_kind: HashMap<TextKind, [Vec<Find>; 2]> = HashMap::new();
        for (reading, sheet) in [&self.sheet, unfolded].into_iter().enumerate() {
            for find in own_finds(self.own, sheet, self.body, self.effort) {
                if let Some(finds) = by_kind.entry(find.kind).or_default().get_mut(reading) {
                    finds.push(find);
                }
            }
        }
        let each = self.own.all().filter_map(|kind| by_kind.remove(&kind));
        each.flat_map(|[literal, unfolded]| twofold::once(self.body, literal, unfolded)).collect()
    }

    /// Puts a short number, under what its name may say of it, onto the sheet that recognisers of one's own alone are shown.
    fn short_number(&mut self, token: &Token) {
        if let Some(name) = self.telling_name(&token.key) {
            self.numbers.add(self.body, name, true);
            self.numbers.end(End::Key);
        }
        self.numbers.add(self.body, token.place.clone(), false);
        self.numbers.end(End::Value);
        if self.numbers.is_full() {
            self.search_numbers();
        }
    }

    fn search_numbers(&mut self) {
        for find in own_finds(self.own, &self.numbers, self.body, self.effort) {
            self.listener.found(find.kind, find.places);
        }
        self.numbers.clear();
    }

    /// What may say of a short number under this name what it is; none where nothing of it can.
    ///
    /// Many numbers may stand under one long name. After the first ones only the part with words is repeated.
    fn telling_name(&mut self, name: &Range<usize>) -> Option<Range<usize>> {
        if !self.own.have_words() {
            return None;
        }
        if self.under.name != *name {
            self.under = Under { name: name.clone(), ..Under::default() };
        }
        self.under.count = self.under.count.saturating_add(1);
        if name.len() <= SHORT_NAME || self.under.count <= WITH_WHOLE_NAME {
            return Some(self.end_of_name(name));
        }
        if self.under.words.is_none() {
            let end = self.end_of_name(name);
            self.under.words = Some(words_of(self.body, &end, self.own));
        }
        self.under.words.clone().flatten()
    }

    /// The end of a name of a member, as long as a word that says what something is can stand before it. A list of short
    /// strings may have a long name, so it is not gone through for each of them.
    fn end_of_name(&mut self, name: &Range<usize>) -> Range<usize> {
        if self.name.0 != *name {
            self.name = (name.clone(), end_of_name(self.body, name));
        }
        self.name.1.clone()
    }

    /// The end of the strings before it and the beginning of this one, as one text of their own.
    fn seam(&mut self, token: &Token) {
        let name = |place: &Range<usize>| self.body.get(place.clone()).unwrap_or_default();
        if token.depth < 2 || token.place.is_empty() || !MESSAGES.contains(&name(&token.top)) {
            return;
        }
        if self.message != token.message {
            self.message = token.message;
            self.ends.clear();
        }
        let key = name(&token.key);
        if NO_TEXT.contains(&key) {
            return;
        }
        // One place is one name. Long names are not compared for each string of a long list.
        let is_short = key.len() <= NAME;
        let known = self.ends.iter().position(|(other, _)| *other == token.key || (is_short && name(other) == key));
        let Some(known) = known else {
            if self.ends.len() < MOST_NAMES {
                self.ends.push((token.key.clone(), vec![StringEnd::of(self.body, &token.place)]));
            }
            return;
        };
        let Some((_, ends)) = self.ends.get_mut(known) else { return };
        let before = last_letters(self.body, ends);
        if ends.len() >= SEAM {
            ends.remove(0);
        }
        ends.push(StringEnd::of(self.body, &token.place));
        for place in before {
            self.sheet.add(self.body, place, true);
        }
        let head = first_letters(self.body, &token.place);
        self.sheet.add(self.body, head, true);
        self.sheet.end(End::Value);
        // The name that stood before all this says of the string itself as well what it is.
        let name = self.end_of_name(&token.key);
        self.sheet.add(self.body, name, true);
        self.sheet.end(End::Key);
    }

    /// Gathers the text that was packed into a string, to be read under the name of its member; a name has none.
    fn unpack(&mut self, token: &Token, text: &[u8], head: usize) {
        if token.role == Role::Key {
            self.folded = (0..0, Vec::new());
        } else if self.folded.0 != token.key {
            let end = self.end_of_name(&token.key);
            self.folded = (token.key.clone(), folded(self.body, &end));
        }
        self.gathered.add(token.place.start + head..token.place.end, &self.folded.1, text);
        if self.gathered.is_full() {
            self.read_gathered();
        }
    }

    /// Reads the texts that were gathered.
    fn read_gathered(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        if gathered.entries.is_empty() {
            return;
        }
        let mut inside = Inside::default();
        let reader = Reader::new(&gathered.body, self.own, &mut *self.effort, &mut inside);
        let mut reader = Reader { layers: self.layers.saturating_sub(1), ..reader };
        for entry in &gathered.entries {
            reader.sheet.add(&gathered.body, entry.name.clone(), true);
            reader.sheet.end(End::Key);
            reader.token(&entry.token());
            if reader.effort.is_spent() {
                break;
            }
        }
        reader.finish();
        gathered.tell(inside, self.listener);
    }
}

/// Most digits of the name of a member that a path shows. A number of more may be one that only a word beside it gives away.
const MOST_DIGITS: usize = 5;

/// Longest name of a member that a path shows, in bytes: longer ones are secrets as often as names.
const LONGEST_NAME: usize = 32;

/// Whether the name of a member may tell what was found: it holds a finding in some reading, packs a text, or looks as if a word
/// elsewhere made it one.
pub(crate) fn is_telling(body: &[u8], name: &Range<usize>, own: &OwnRecognisers) -> bool {
    let mut sheet = Sheet::default();
    let end = sheet.add(body, name.clone(), false);
    let digits = sheet.text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let packs_a_text = || matches!(media::judge(body.get(name.clone()).unwrap_or_default()), Substance::Packed { .. });
    if end < name.end || name.len() > LONGEST_NAME || digits > MOST_DIGITS || packs_a_text() {
        return true;
    }
    let unfolded = sheet.unfolded(body);
    let mut effort = Effort::new();
    let mut found = false;
    for sheet in [Some(sheet), unfolded].iter().flatten() {
        ENGINE.search(&sheet.text, &mut effort, |_| found = true);
        own.search(&sheet.text, &mut effort, |_| found = true);
    }
    found
}

/// Where a sheet ends to report although its string goes on: in its text, and in the body.
struct Until {
    text: usize,
    raw: usize,
}

/// Everything that is found on a sheet, with its places.
fn finds(sheet: &Sheet, body: &[u8], effort: &mut Effort) -> Vec<Find> {
    let mut cursor = Cursor::default();
    let mut finds = Vec::new();
    ENGINE.search(&sheet.text, effort, |hit| {
        if !sheet.is_half_of_a_seam(&hit.place) {
            finds.push(Find { kind: hit.kind, places: sheet.written(body, &hit.place, &mut cursor) });
        }
    });
    finds
}

/// The same of recognisers of one's own.
fn own_finds(own: &OwnRecognisers, sheet: &Sheet, body: &[u8], effort: &mut Effort) -> Vec<Find> {
    let mut cursor = Cursor::default();
    let mut finds = Vec::new();
    own.search(&sheet.text, effort, |hit| {
        if !sheet.is_half_of_a_seam(&hit.place) {
            finds.push(Find { kind: hit.kind, places: sheet.written(body, &hit.place, &mut cursor) });
        }
    });
    finds
}

/// The name that short numbers stand under.
#[derive(Default)]
struct Under {
    name: Range<usize>,
    /// How many stood under it so far.
    count: u32,
    /// Its part with words of recognisers, once it was asked for; none where there are none.
    words: Option<Option<Range<usize>>>,
}

/// The end of a string, at most [`SEAM`] bytes.
struct StringEnd {
    place: Range<usize>,
    /// The string begins before it, so that nothing of another may be put in front of it.
    is_cut: bool,
}

impl StringEnd {
    fn of(body: &[u8], string: &Range<usize>) -> Self {
        let place = end_of(body, string, SEAM);
        Self { is_cut: place.start > string.start, place }
    }
}

/// The last letters of the last strings, [`SEAM`] bytes together.
fn last_letters(body: &[u8], strings: &[StringEnd]) -> Vec<Range<usize>> {
    let mut left = SEAM;
    let mut parts = Vec::new();
    for end in strings.iter().rev() {
        parts.push(end_of(body, &end.place, left));
        left = left.saturating_sub(end.place.len());
        // A cut one may be a few bytes short of all, since no letter is cut.
        if left == 0 || end.is_cut {
            break;
        }
    }
    parts.reverse();
    parts
}

/// The end of a name of a member, by what it is read as: at most [`NAME`] bytes of text, [`WRITTEN_NAME`] as it is written.
fn end_of_name(body: &[u8], name: &Range<usize>) -> Range<usize> {
    let end = end_of(body, name, WRITTEN_NAME);
    if !body.get(end.clone()).unwrap_or_default().contains(&b'\\') {
        return end_of(body, name, NAME);
    }
    let mut read = Vec::new();
    let mut at = end.start;
    while at < end.end {
        let rest = body.get(at..end.end).unwrap_or_default();
        let letter = letters::letter(rest, Reading::Unfolded);
        // Where the readings differ the other one may be as long as what is written.
        let literal = letters::letter(rest, Reading::Literal);
        let bytes = if literal.written == letter.written { literal.bytes().len() } else { letter.written };
        read.push((at, bytes));
        at += letter.written;
    }
    let mut left = NAME;
    let fitting = read.iter().rev().take_while(|(_, bytes)| {
        let fits = *bytes <= left;
        left = left.saturating_sub(*bytes);
        fits
    });
    fitting.last().map_or(end.end, |(at, _)| *at)..end.end
}

/// The end of a name as text within a JSON string, short enough to be put before each of many short texts: as much of it as a
/// word can stand in, and twice that where a backslash may begin an escape.
fn folded(body: &[u8], name: &Range<usize>) -> Vec<u8> {
    const CONTROL: u8 = 2;
    let mut text = Vec::with_capacity(name.len());
    let mut rest = body.get(name.clone()).unwrap_or_default();
    while !rest.is_empty() {
        let letter = letters::letter(rest, Reading::Literal);
        match letter.is_unseen && letter.bytes() == b"\n" {
            // It stays one, to be read in both ways again; a run of them is as good as one.
            true if text.last() == Some(&CONTROL) => {}
            true => text.push(CONTROL),
            false => text.extend_from_slice(letter.bytes()),
        }
        rest = rest.get(letter.written..).unwrap_or_default();
    }
    let most = if text.contains(&b'\\') { NAME } else { NEARBY };
    let cut = text.len().saturating_sub(most);
    let end = text.get(cut..).unwrap_or_default();
    let letters = end.iter().position(|byte| byte & 0xC0 != 0x80).and_then(|at| end.get(at..));
    let mut out = Vec::new();
    unpacked::escape(letters.unwrap_or_default(), &mut out);
    out
}

/// The part of the end of a name that holds the words of recognisers of one's own; none where it holds none.
fn words_of(body: &[u8], name: &Range<usize>, own: &OwnRecognisers) -> Option<Range<usize>> {
    let mut sheet = Sheet::default();
    sheet.add(body, name.clone(), true);
    if sheet.unfolded(body).is_some() {
        return Some(name.clone());
    }
    // A sign of its own stands between the name and its value, and counts.
    let from = sheet.text.len().saturating_sub(NEARBY - 1);
    let words = own.last_words_in(sheet.text.get(from..).unwrap_or_default())?;
    let places = sheet.written(body, &(from + words.start..from + words.end), &mut Cursor::default());
    places.into_iter().next().or_else(|| Some(name.clone()))
}

/// The last `most` bytes of a string, from where a letter begins.
fn end_of(body: &[u8], place: &Range<usize>, most: usize) -> Range<usize> {
    let start = if place.len() <= most { place.start } else { letter_at_or_behind(body, place, place.end - most) };
    start..place.end
}

fn first_letters(body: &[u8], place: &Range<usize>) -> Range<usize> {
    place.start..letter_at_or_behind(body, place, place.end.min(place.start + SEAM))
}

/// The first offset from `at` on at which a letter of the string begins.
fn letter_at_or_behind(body: &[u8], place: &Range<usize>, at: usize) -> usize {
    // From the string's beginning, since what a backslash means depends on those before it. A long string without any in
    // sight is entered right there.
    let near = at.saturating_sub(32).max(place.start);
    let clear = !body.get(near..at).unwrap_or_default().contains(&b'\\');
    let mut from = if clear { at } else { place.start };
    while clear && from < place.end && body.get(from).is_some_and(|byte| byte & 0xC0 == 0x80) {
        from += 1;
    }
    while from < at {
        let rest = body.get(from..place.end).unwrap_or_default();
        let run = letters::plain_run(rest).min(at - from);
        from += run;
        if from < at {
            // What is one letter in either reading is not cut.
            from += letters::letter(body.get(from..place.end).unwrap_or_default(), Reading::Unfolded).written;
        }
    }
    from.min(place.end)
}

const _: () = assert!(FULL > 4 * super::sheet::OVERLAP, "most of a sheet is new");
