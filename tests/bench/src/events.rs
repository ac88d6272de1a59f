//! Counts the events of a stream and notices one that was cut short.

const DONE: &[u8] = b"data: [DONE]\n\n";

/// A stream of server-sent events with bare line feeds, as `upstream` sends it.
#[derive(Debug, Default)]
pub struct Events {
    count: u64,
    tail: Vec<u8>,
}

impl Events {
    /// Takes the next bytes, however they were cut.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut previous = self.tail.last().copied();
        for byte in bytes {
            if *byte == b'\n' && previous == Some(b'\n') {
                self.count += 1;
            }
            previous = Some(*byte);
        }

        self.tail.extend_from_slice(bytes.get(bytes.len().saturating_sub(DONE.len())..).unwrap_or_default());
        self.tail.drain(..self.tail.len().saturating_sub(DONE.len()));
    }

    /// Events so far, the last `[DONE]` included.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether the stream ended as a complete one does.
    pub fn is_complete(&self) -> bool {
        self.tail == DONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_and_the_end_is_seen_wherever_the_stream_is_cut() {
        let stream = b"data: {}\n\ndata: {}\n\ndata: [DONE]\n\n";

        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            let mut events = Events::default();
            events.push(head);
            assert_eq!(events.is_complete(), cut == stream.len());
            events.push(tail);

            assert_eq!(events.count(), 3);
            assert!(events.is_complete());
        }
    }
}
