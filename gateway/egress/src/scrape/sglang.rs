//! SGLang with `--enable-metrics`, `GET /metrics`. Names: SGLang's documentation, "Production Metrics".

use super::{Load, Page};

pub(super) fn read(page: &Page<'_>) -> Option<Load> {
    let (running, waiting) = (page.count("sglang:num_running_reqs"), page.count("sglang:num_queue_reqs"));
    waiting.or(running)?;
    let (cache_usage, read) = (page.part("sglang:token_usage"), page.total("sglang:prompt_tokens_total"));
    Some(Load { engine: "sglang", running, waiting, cache_usage, read })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_documentation_is_read() {
        let page = "# TYPE sglang:num_running_reqs gauge\n\
                    sglang:num_running_reqs{model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 162.0\n\
                    sglang:token_usage{model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 0.28\n\
                    sglang:prompt_tokens_total{model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 8.128902e+06\n\
                    sglang:num_queue_reqs{model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 2826.0\n";

        let load = super::super::read(page);

        let expected = Load {
            engine: "sglang",
            running: Some(162),
            waiting: Some(2_826),
            cache_usage: Some(0.28),
            read: Some(8_128_902),
        };
        assert_eq!(load, Some(expected));
    }
}
