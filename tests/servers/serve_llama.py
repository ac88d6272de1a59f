"""Runs the real llama.cpp HTTP server (the code of `llama-server`, prebuilt in the PyPI wheel `xllamacpp`) on loopback.

Prints `listening PORT` once the model is loaded; serves until it is ended.

usage: serve_llama.py MODEL.gguf chat|embeddings [--port N] [--key KEY] [--batch N]
"""

import argparse
import pathlib
import signal

import xllamacpp


def parameters(options):
    given = xllamacpp.CommonParams()
    given.model.path = str(options.model)
    given.model_alias = {options.model.stem}
    given.hostnames = ["127.0.0.1"]
    given.port = options.port
    given.n_parallel = 4
    given.cpuparams.n_threads = given.cpuparams_batch.n_threads = 1
    given.endpoint_metrics = True
    given.use_jinja = True
    # The same question has the same answer on every run, unless a request names a seed of its own. Not by temperature 0:
    # the likeliest token of this small model never ends an answer.
    given.sampling.seed = 7
    if options.key:
        given.api_keys = [options.key]
    if options.mode == "chat":
        given.n_ctx = 131_072
        if options.batch:
            given.n_parallel, given.n_batch, given.n_ubatch = 1, options.batch, options.batch
    else:
        given.n_ctx = given.n_batch = given.n_ubatch = 2_048
        given.embedding = True
        given.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return given


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("mode", choices=["chat", "embeddings"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key")
    parser.add_argument("--batch", type=int, help="one request at a time, and so many tokens of its prompt: the fewer, the slower")
    server = xllamacpp.Server(parameters(parser.parse_args()))
    print("listening", server.listening_address.rsplit(":", 1)[1], flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
