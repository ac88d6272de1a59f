//! llama.cpp with `--metrics`, `GET /metrics`. Names: the README of `llama-server`, section on `/metrics`.

use super::{Load, Page};

pub(super) fn read(page: &Page<'_>) -> Option<Load> {
    let (running, waiting) = (page.count("llamacpp:requests_processing"), page.count("llamacpp:requests_deferred"));
    waiting.or(running)?;
    Some(Load { engine: "llama.cpp", running, waiting, cache_usage: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_documentation_is_read() {
        let page = "# HELP llamacpp:prompt_tokens_seconds Average prompt throughput in tokens/s.\n\
                    llamacpp:prompt_tokens_seconds 210.5\n\
                    # HELP llamacpp:requests_processing Number of requests processing.\n\
                    llamacpp:requests_processing 2\n\
                    # HELP llamacpp:requests_deferred Number of requests deferred.\n\
                    llamacpp:requests_deferred 5\n";

        let load = super::super::read(page);

        assert_eq!(load, Some(Load { engine: "llama.cpp", running: Some(2), waiting: Some(5), cache_usage: None }));
    }
}
