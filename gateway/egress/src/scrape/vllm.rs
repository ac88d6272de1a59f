//! vLLM, `GET /metrics`. Names: docs.vllm.ai, "Production Metrics"; `gpu_cache_usage_perc` is what releases before V1 said.

use super::{Load, Page};

pub(super) fn read(page: &Page<'_>) -> Option<Load> {
    let by_reason = || page.count("vllm:num_requests_waiting_by_reason");
    let waiting = page.count("vllm:num_requests_waiting").or_else(by_reason);
    let running = page.count("vllm:num_requests_running");
    waiting.or(running)?;
    let cache_usage = page.part("vllm:kv_cache_usage_perc").or_else(|| page.part("vllm:gpu_cache_usage_perc"));
    Some(Load { engine: "vllm", running, waiting, cache_usage })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_documentation_is_read() {
        let page = "# HELP vllm:num_requests_running Number of requests in model execution batches.\n\
                    # TYPE vllm:num_requests_running gauge\n\
                    vllm:num_requests_running{engine=\"0\",model_name=\"meta-llama/Llama-3.3-70B\"} 8.0\n\
                    # TYPE vllm:num_requests_waiting gauge\n\
                    vllm:num_requests_waiting{engine=\"0\",model_name=\"meta-llama/Llama-3.3-70B\"} 3.0\n\
                    # TYPE vllm:kv_cache_usage_perc gauge\n\
                    vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"meta-llama/Llama-3.3-70B\"} 0.42\n";

        let load = super::super::read(page);

        let expected = Load { engine: "vllm", running: Some(8), waiting: Some(3), cache_usage: Some(0.42) };
        assert_eq!(load, Some(expected));
    }
}
