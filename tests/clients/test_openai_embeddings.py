"""openai-python: embeddings with real weights, as numbers and as base64."""

import base64
import struct

import pytest
import settings

SENTENCES = ["The ferry leaves the harbour at noon.", "At midday the boat departs from the port.", "Tax law changed in May."]


def similarity(one, other):
    return sum(a * b for a, b in zip(one, other))


def test_alike_sentences_lie_close_together(embeddings):
    """The client asks for base64 by default and unpacks it."""
    answer = embeddings.embeddings.create(model=settings.EMBEDDINGS_MODEL, input=SENTENCES)

    ferry, boat, tax = (item.embedding for item in answer.data)
    assert len(ferry) == 384
    assert similarity(ferry, boat) > 0.6 > 0.3 > similarity(ferry, tax)
    assert answer.usage.prompt_tokens > 0


def test_numbers_and_base64_are_the_same_vector(embeddings):
    asked = {"model": settings.EMBEDDINGS_MODEL, "input": SENTENCES[0]}

    numbers = embeddings.embeddings.create(**asked, encoding_format="float").data[0].embedding
    packed = embeddings.embeddings.create(**asked, encoding_format="base64").data[0].embedding

    assert isinstance(packed, str)
    unpacked = struct.unpack(f"<{len(numbers)}f", base64.b64decode(packed))
    assert unpacked == pytest.approx(numbers, abs=1e-6)


def test_a_batch_keeps_its_order(embeddings):
    batch = embeddings.embeddings.create(model=settings.EMBEDDINGS_MODEL, input=SENTENCES)
    alone = embeddings.embeddings.create(model=settings.EMBEDDINGS_MODEL, input=SENTENCES[2])

    assert [item.index for item in batch.data] == [0, 1, 2]
    assert batch.data[2].embedding == pytest.approx(alone.data[0].embedding, abs=1e-4)
