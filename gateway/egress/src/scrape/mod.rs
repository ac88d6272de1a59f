//! What a server's own page says of its load: the exact names of each engine, one file and one line in [`ENGINES`].
//!
//! The page is fetched from the endpoint itself, over the connection that is verified as every other one, at most every
//! [`INTERVAL`] and only while requests go there. What was read carries its time; whoever uses it says when it is stale.

mod llamacpp;
mod ollama;
mod sglang;
mod vllm;

use std::time::Duration;

/// Time between two readings of a page.
///
/// In the simulation of eight gateways before four servers, a report every 0.2 s costs a fifth more cloud dollars than
/// none between gateways that share everything, and one every second half more.
pub const INTERVAL: Duration = Duration::from_millis(200);

/// Most bytes of a page that are read; vLLM's has some 60 KB.
pub const MOST_PAGE: usize = 1 << 20;

/// What a page says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// The engine whose names were found.
    pub engine: &'static str,
    /// Requests that are worked on.
    pub running: Option<u32>,
    /// Requests that have not begun.
    pub waiting: Option<u32>,
    /// The part of the key-value cache in use, from 0 to 1.
    pub cache_usage: Option<f64>,
    /// Prompt tokens read since the server started: by it several gateways know what the others send.
    pub read: Option<u64>,
}

/// Reads a page of one engine; nothing where it is no page of that engine.
type Engine = fn(&Page<'_>) -> Option<Load>;

const ENGINES: [Engine; 4] = [vllm::read, sglang::read, llamacpp::read, ollama::read];

/// Reads a page of whichever engine wrote it.
#[must_use]
pub fn read(page: &str) -> Option<Load> {
    let page = Page(page);
    ENGINES.into_iter().find_map(|engine| engine(&page))
}

/// A page in Prometheus' text format, or in JSON.
struct Page<'a>(&'a str);

impl Page<'_> {
    /// The sum over all series of this name: a server with several models has one for each.
    fn sum(&self, name: &str) -> Option<f64> {
        let values = self.0.lines().filter_map(|line| value_of(line, name));
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// The largest of all series of this name.
    fn most(&self, name: &str) -> Option<f64> {
        self.0.lines().filter_map(|line| value_of(line, name)).reduce(f64::max)
    }

    fn count(&self, name: &str) -> Option<u32> {
        let sum = self.sum(name).filter(|sum| (0.0..=f64::from(u32::MAX)).contains(sum))?;
        Some(sum as u32)
    }

    fn total(&self, name: &str) -> Option<u64> {
        // Above 2^53 a counter in this format is no exact number any more.
        self.sum(name).filter(|sum| (0.0..=9_007_199_254_740_992.0).contains(sum)).map(|sum| sum as u64)
    }

    fn part(&self, name: &str) -> Option<f64> {
        self.most(name).filter(|part| (0.0..=1.0).contains(part))
    }
}

/// The value in `name{labels} value [timestamp]` or `name value [timestamp]`.
fn value_of(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let value = match rest.strip_prefix('{') {
        // A label's value may hold a brace, but then the last one ends the labels all the same.
        Some(labels) => labels.rsplit_once('}')?.1,
        None => rest.strip_prefix([' ', '\t'])?,
    };
    value.split_ascii_whitespace().next()?.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_whole_name_with_and_without_labels() {
        let page = Page("# HELP a b\na_total 9\na 1\na{m=\"x\"} 2.5 1700000000\na{m=\"}\"} 3\nab 7\na NaN\n");

        assert_eq!((page.sum("a"), page.most("a"), page.sum("c")), (Some(6.5), Some(3.0), None));
    }

    #[test]
    fn a_page_of_nobody_says_nothing() {
        for page in ["", "<html>", "{}", "{", "up 1\n", "vllm:num_requests_waiting many\n"] {
            assert_eq!(read(page), None, "{page}");
        }
    }
}
