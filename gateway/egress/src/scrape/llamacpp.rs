//! llama.cpp with `--metrics`, `GET /metrics`. Names: the README of `llama-server`, section on `/metrics`.

use super::{Load, Page};

pub(super) fn read(page: &Page<'_>) -> Option<Load> {
    let (running, waiting) = (page.count("llamacpp:requests_processing"), page.count("llamacpp:requests_deferred"));
    waiting.or(running)?;
    let read = page.total("llamacpp:prompt_tokens_total");
    Some(Load { engine: "llama.cpp", running, waiting, cache_usage: None, read })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_documentation_is_read() {
        let page = "# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.\n\
                    llamacpp:prompt_tokens_total 8403\n\
                    # HELP llamacpp:prompt_tokens_seconds Average prompt throughput in tokens/s.\n\
                    llamacpp:prompt_tokens_seconds 210.5\n\
                    # HELP llamacpp:requests_processing Number of requests processing.\n\
                    llamacpp:requests_processing 2\n\
                    # HELP llamacpp:requests_deferred Number of requests deferred.\n\
                    llamacpp:requests_deferred 5\n";

        let load = super::super::read(page);

        let expected =
            Load { engine: "llama.cpp", running: Some(2), waiting: Some(5), cache_usage: None, read: Some(8_403) };
        assert_eq!(load, Some(expected));
    }
}
