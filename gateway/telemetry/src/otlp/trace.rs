//! The spans of one request: the request itself, its stages, and each attempt at an endpoint.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::context::TraceContext;
use super::proto::{KeyValue, Span, Status, text};

/// Most spans of one request besides its own; further ones are left out.
const MOST: usize = 64;

const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const ERROR: i32 = 2;

/// A request on its way.
#[derive(Debug)]
pub struct RequestTrace {
    own: TraceContext,
    parent: Option<[u8; 8]>,
    /// The same moment by both clocks.
    began: (u64, Instant),
    last: Instant,
    spans: Vec<Span>,
}

/// An attempt that ended.
#[derive(Debug)]
pub struct AttemptSpan {
    /// Its id, which the endpoint may have been told.
    pub id: [u8; 8],
    /// What it is called.
    pub name: String,
    /// When it began and ended.
    pub time: (Instant, Instant),
    /// What went wrong, by its class.
    pub failed: Option<&'static str>,
    /// What is known of it.
    pub attributes: Vec<KeyValue>,
}

/// How a request ended.
#[derive(Debug)]
pub struct Ended<'a> {
    /// What it is called.
    pub name: String,
    /// When.
    pub at: Instant,
    /// The code that it failed with.
    pub failed: Option<&'a str>,
    /// What is known of it.
    pub attributes: Vec<KeyValue>,
}

impl RequestTrace {
    /// A request that began now, by both clocks. Its place is its own, with the trace of `caller` where that has one.
    #[must_use]
    pub fn begin(caller: Option<TraceContext>, mut own: TraceContext, (wall, steady): (SystemTime, Instant)) -> Self {
        let mut parent = None;
        if let Some(caller) = caller {
            parent = Some(caller.span);
            own = TraceContext { span: own.span, ..caller };
        }
        let nanos = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos();
        let began = (u64::try_from(nanos).unwrap_or(u64::MAX), steady);
        Self { own, parent, began, last: steady, spans: Vec::new() }
    }

    /// Whether its spans are wanted.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.own.sampled
    }

    /// Its place for a span of this id, to be told to somebody else.
    #[must_use]
    pub fn at_span(&self, id: [u8; 8]) -> TraceContext {
        TraceContext { span: id, ..self.own.clone() }
    }

    /// A stage ended that began when the one before it did.
    pub fn stage(&mut self, name: &'static str, id: [u8; 8], now: Instant) {
        let began = std::mem::replace(&mut self.last, now);
        if !self.own.sampled {
            return;
        }
        let span = self.span((id, INTERNAL), name.to_owned(), (began, now));
        self.add(span);
    }

    /// An attempt ended.
    pub fn attempt(&mut self, attempt: AttemptSpan) {
        let AttemptSpan { id, name, time, failed, attributes } = attempt;
        let mut span = self.span((id, CLIENT), name, time);
        span.attributes = attributes;
        fail(&mut span, failed);
        self.add(span);
    }

    /// All spans of the request, its own first.
    #[must_use]
    pub fn end(mut self, ended: Ended<'_>) -> Vec<Span> {
        let mut own = self.span((self.own.span, SERVER), ended.name, (self.began.1, ended.at));
        own.parent_span_id = self.parent.map(Vec::from).unwrap_or_default();
        own.attributes = ended.attributes;
        fail(&mut own, ended.failed);
        let mut spans = vec![own];
        spans.append(&mut self.spans);
        spans
    }

    fn add(&mut self, span: Span) {
        if self.own.sampled && self.spans.len() < MOST {
            self.spans.push(span);
        }
    }

    fn span(&self, (id, kind): ([u8; 8], i32), name: String, (began, ended): (Instant, Instant)) -> Span {
        let at = |moment: Instant| {
            let since = moment.saturating_duration_since(self.began.1).as_nanos();
            self.began.0.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
        };
        Span {
            trace_id: self.own.trace.to_vec(),
            span_id: id.to_vec(),
            // What callers write there is handed on to endpoints that are told of traces, and kept nowhere.
            trace_state: String::new(),
            parent_span_id: self.own.span.to_vec(),
            name,
            kind,
            start_time_unix_nano: at(began),
            end_time_unix_nano: at(ended),
            attributes: Vec::new(),
            status: None,
            flags: u32::from(self.own.sampled),
        }
    }
}

fn fail(span: &mut Span, failed: Option<&str>) {
    if let Some(failed) = failed {
        span.attributes.push(text("error.type", failed));
        span.status = Some(Status { message: String::new(), code: ERROR });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(sampled: bool) -> TraceContext {
        TraceContext { trace: [1; 16], span: [2; 8], sampled, state: None }
    }

    #[test]
    fn a_request_of_a_trace_is_a_span_of_it_and_its_parts_are_below() {
        let (wall, steady) = (UNIX_EPOCH + Duration::from_secs(1), Instant::now());
        let caller = TraceContext { trace: [7; 16], span: [8; 8], sampled: true, state: Some("a=b".into()) };
        let mut trace = RequestTrace::begin(Some(caller), context(false), (wall, steady));

        trace.stage("decode", [3; 8], steady + Duration::from_millis(5));
        let told = trace.at_span([4; 8]);
        let ended = Ended {
            name: "chat m".into(),
            at: steady + Duration::from_millis(9),
            failed: Some("x"),
            attributes: vec![],
        };
        let spans = trace.end(ended);

        assert_eq!((told.trace, told.span, told.state.as_deref()), ([7; 16], [4; 8], Some("a=b")));
        assert_eq!((spans[0].parent_span_id.as_slice(), spans[0].span_id.as_slice()), (&[8; 8][..], &[2; 8][..]));
        assert_eq!((spans[1].parent_span_id.as_slice(), spans[1].name.as_str()), (&[2; 8][..], "decode"));
        assert_eq!((spans[1].start_time_unix_nano, spans[1].end_time_unix_nano), (1_000_000_000, 1_005_000_000));
        assert!(spans.iter().all(|span| span.trace_id == [7; 16]));
    }

    #[test]
    fn a_request_has_a_bounded_number_of_spans() {
        let now = Instant::now();
        let mut trace = RequestTrace::begin(None, context(true), (UNIX_EPOCH, now));

        (0..1_000).for_each(|_| trace.stage("again", [3; 8], now));

        let ended = Ended { name: String::new(), at: now, failed: None, attributes: vec![] };
        assert_eq!(trace.end(ended).len(), 1 + MOST);
    }
}
