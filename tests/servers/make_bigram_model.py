"""Writes a small chat model as GGUF, without downloading any weights.

The model is a table of which token follows which, learnt from a few thousand generated sentences, and stored so that
llama.cpp reads it as a Llama of one layer:

* the embedding is the identity, so the state after a token is the one-hot vector of that token;
* attention and feed-forward weights are zero, so that state reaches the output unchanged;
* RMS-norm turns a one-hot vector of width D into sqrt(D) times itself, so the output matrix holds
  log P(next | current) / sqrt(D), and the logits are exactly the table.

It speaks English of a sort, ends by itself, and costs next to nothing to run. The `tools` variant opens every answer
with `<tool_call>`; llama.cpp's grammar then forces well-formed arguments, which gives real streamed tool calls.

usage: make_bigram_model.py chat|tools FILE.gguf
"""

import json
import math
import pathlib
import random
import sys

import gguf
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
CONTEXT_TOKENS = 131_072
HEAD_WIDTH = 64
SEED = 20

WHO = ["the harbour pilot", "a night train", "our lighthouse", "the old ferry", "a quiet crew", "the canal keeper",
       "one small boat", "the signal box", "a morning tide", "the ship's clerk"]
DOES = ["watches", "carries", "follows", "answers", "counts", "greets", "passes", "writes down", "waits for", "guides"]
WHAT = ["every lamp", "the northern light", "a letter from home", "the long bridge", "two empty barges", "the next bell",
        "a careful map", "the slow river", "its own shadow", "the last harbour"]
HOW = ["before the fog", "with steady hands", "on the third day", "without a word", "under a clear sky", "at half speed",
       "when the wind turns", "beyond the sandbar", "after the storm", "by the stone quay"]

CHAT_TEMPLATE = (
    "{%- if tools -%}<|im_start|>system\nYou can call these functions:\n<tools>"
    "{%- for tool in tools -%}{{ '\n' }}{{ tool | tojson }}{%- endfor -%}{{ '\n' }}</tools>\n"
    "A call is one JSON object with a name and arguments:\n"
    "<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call><|im_end|>{{ '\n' }}"
    "{%- endif -%}"
    "{%- for message in messages -%}<|im_start|>{{ message.role }}{{ '\n' }}{{ message.content or '' }}"
    "{%- for call in message.tool_calls or [] -%}"
    "{{ '\n' }}<tool_call>\n{\"name\": \"{{ call.function.name }}\", \"arguments\": {{ call.function.arguments | tojson }}}"
    "\n</tool_call>"
    "{%- endfor -%}<|im_end|>{{ '\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant{{ '\n' }}{%- endif -%}"
)


def sentences(dice):
    """Four thousand short sentences, the same ones for the same seed."""
    for _ in range(4000):
        text = f"{dice.choice(WHO)} {dice.choice(DOES)} {dice.choice(WHAT)} {dice.choice(HOW)}."
        yield text[0].upper() + text[1:]


def data_lines():
    """JSON and numbers, so that a grammar always finds tokens it can use."""
    return ['{"city": "Bergen", "unit": "celsius", "answer": true, "count": 7}', "0 1 2 3 4 5 6 7 8 9 10 16 32 64 2026"] * 50


def train_tokenizer(lines):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens([PAD, START, END])
    tokenizer.add_tokens([CALL_OPEN, CALL_CLOSE])
    # llama.cpp's matrix kernels want a width that is a multiple of 64, and the width is the vocabulary.
    tokenizer.add_special_tokens([f"<|unused{i}|>" for i in range(-tokenizer.get_vocab_size() % HEAD_WIDTH)])
    return tokenizer


def follow_table(tokenizer, prose, data, always_call):
    """log P(row | column) for every pair of tokens."""
    size = tokenizer.get_vocab_size()
    token = tokenizer.token_to_id
    newline = tokenizer.encode("\n").ids[-1]
    counts = np.full((size, size), 1e-4)

    def learn(text):
        ids = [newline, *tokenizer.encode(text).ids, token(END)]
        for current, following in zip(ids, ids[1:]):
            counts[following, current] += 1

    for i in range(0, len(prose), 3):
        learn(" ".join(prose[i : i + 3]))
    for line in data:
        learn(line)
    # Without this a string inside a JSON grammar would run on until the token limit.
    counts[tokenizer.encode('"').ids[-1], :] += 0.02
    never = [PAD, START, *(name for name in tokenizer.get_vocab() if name.startswith("<|unused"))]
    counts[[token(name) for name in never], :] = 1e-9
    if always_call:
        counts[token(CALL_OPEN), newline] = 1e6
        counts[newline, token(CALL_OPEN)] = 1e6
        # How a call ends; the grammar rules out everything else there.
        closing = [*tokenizer.encode('{"city": "Bergen"}}\n').ids, token(CALL_CLOSE), token(END)]
        for current, following in zip(closing, closing[1:]):
            counts[following, current] += 100
        counts[token(END), token(CALL_CLOSE)] = 1e9
    return np.log(counts / counts.sum(axis=0, keepdims=True)).astype(np.float32)


def write_model(path, name, tokenizer, table):
    size = width = tokenizer.get_vocab_size()
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_name(name)
    out.add_context_length(CONTEXT_TOKENS)
    out.add_embedding_length(width)
    out.add_block_count(1)
    out.add_feed_forward_length(HEAD_WIDTH)
    out.add_head_count(1)
    out.add_head_count_kv(1)
    out.add_key_length(HEAD_WIDTH)
    out.add_value_length(HEAD_WIDTH)
    out.add_rope_dimension_count(HEAD_WIDTH)
    out.add_layer_norm_rms_eps(1e-6)
    out.add_vocab_size(size)
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    write_tokenizer(out, tokenizer)

    ones = np.ones(width, np.float32)
    zeros = lambda rows, columns: np.zeros((rows, columns), np.float32)
    out.add_tensor("token_embd.weight", np.eye(size, width, dtype=np.float32))
    out.add_tensor("output_norm.weight", ones)
    out.add_tensor("output.weight", table / math.sqrt(width))
    for part, tensor in {
        "attn_norm": ones,
        "attn_q": zeros(HEAD_WIDTH, width),
        "attn_k": zeros(HEAD_WIDTH, width),
        "attn_v": zeros(HEAD_WIDTH, width),
        "attn_output": zeros(width, HEAD_WIDTH),
        "ffn_norm": ones,
        "ffn_gate": zeros(HEAD_WIDTH, width),
        "ffn_up": zeros(HEAD_WIDTH, width),
        "ffn_down": zeros(width, HEAD_WIDTH),
    }.items():
        out.add_tensor(f"blk.0.{part}.weight", tensor)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def write_tokenizer(out, tokenizer):
    token = tokenizer.token_to_id
    names = sorted(tokenizer.get_vocab(), key=token)

    def kind(name):
        if name.startswith("<|"):
            return gguf.TokenType.CONTROL
        return gguf.TokenType.USER_DEFINED if name in (CALL_OPEN, CALL_CLOSE) else gguf.TokenType.NORMAL

    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(names)
    out.add_token_types([kind(name) for name in names])
    out.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    out.add_bos_token_id(token(START))
    out.add_eos_token_id(token(END))
    out.add_pad_token_id(token(PAD))
    out.add_add_bos_token(False)
    out.add_chat_template(CHAT_TEMPLATE)


def main():
    variant, path = sys.argv[1], pathlib.Path(sys.argv[2])
    prose, data = list(sentences(random.Random(SEED))), data_lines()
    tokenizer = train_tokenizer(prose + data)
    table = follow_table(tokenizer, prose, data, always_call=variant == "tools")
    # Written beside and renamed, so that an interrupted run leaves no half model behind.
    unfinished = path.with_suffix(".part")
    write_model(unfinished, path.stem, tokenizer, table)
    unfinished.rename(path)
    print(f"{path.name}: {tokenizer.get_vocab_size()} tokens, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
