//! vLLM, `GET /metrics`. Names: docs.vllm.ai, "Production Metrics"; `gpu_cache_usage_perc` is what releases before V1 said.

use super::{Load, Page};

pub(super) fn read(page: &Page<'_>) -> Option<Load> {
    let by_reason = || page.count("vllm:num_requests_waiting_by_reason");
    let waiting = page.count("vllm:num_requests_waiting").or_else(by_reason);
    let running = page.count("vllm:num_requests_running");
    waiting.or(running)?;
    let cache_usage = page.part("vllm:kv_cache_usage_perc").or_else(|| page.part("vllm:gpu_cache_usage_perc"));
    let read = page.total("vllm:prompt_tokens_total");
    Some(Load { engine: "vllm", running, waiting, cache_usage, read })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page of a vLLM 0.26.0 with four places (`--max-num-seqs 4`) and 24 requests, taken on 2026-11-26. The model had
    /// random weights, so its lengths and times say nothing; names, labels and types are what counts.
    const PAGE_OF_0_26_0: &str = include_str!("vllm-0.26.0.txt");

    #[test]
    fn the_page_of_a_real_server_under_load_is_read() {
        let load = super::super::read(PAGE_OF_0_26_0).unwrap();

        assert_eq!((load.engine, load.running, load.waiting), ("vllm", Some(4), Some(20)));
        assert!(load.cache_usage.is_some_and(|part| (0.0006..0.0007).contains(&part)), "{load:?}");
        assert!(PAGE_OF_0_26_0.len() < super::super::MOST_PAGE / 10, "a page of many models must fit as well");
    }

    #[test]
    fn the_page_of_the_documentation_is_read() {
        let page = "# HELP vllm:num_requests_running Number of requests in model execution batches.\n\
                    # TYPE vllm:num_requests_running gauge\n\
                    vllm:num_requests_running{engine=\"0\",model_name=\"meta-llama/Llama-3.3-70B\"} 8.0\n\
                    # TYPE vllm:num_requests_waiting gauge\n\
                    vllm:num_requests_waiting{engine=\"0\",model_name=\"meta-llama/Llama-3.3-70B\"} 3.0\n\
                    # TYPE vllm:prompt_tokens_total counter\n\
                    vllm:prompt_tokens_total{engine=\"0\",model_name=\"meta-llama/Llama-3.3-70B\"} 1.2e+06\n\
                    # TYPE vllm:kv_cache_usage_perc gauge\n\
                    vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"meta-llama/Llama-3.3-70B\"} 0.42\n";

        let load = super::super::read(page);

        let expected =
            Load { engine: "vllm", running: Some(8), waiting: Some(3), cache_usage: Some(0.42), read: Some(1_200_000) };
        assert_eq!(load, Some(expected));
    }
}
