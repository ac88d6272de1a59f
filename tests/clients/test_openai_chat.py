"""openai-python: chat completions, whole and streamed."""

import asyncio
import json

import openai
import pydantic
import settings

QUESTION = [{"role": "user", "content": "Where does the ferry go?"}]


def test_a_chat_answers_and_counts_its_tokens(chat):
    answer = chat.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION)

    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_token_limit_ends_the_answer(chat):
    answer = chat.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION, max_tokens=3)

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_a_stream_says_the_same_as_a_whole_answer(chat):
    asked = {"model": settings.CHAT_MODEL, "messages": QUESTION, "seed": 7, "temperature": 0, "max_tokens": 40}

    whole = chat.chat.completions.create(**asked)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chat.chat.completions.create(**asked, stream=True)]

    assert len(pieces) > 3
    assert "".join(pieces) == whole.choices[0].message.content


def test_a_stream_without_usage_asked_has_a_choice_in_every_chunk(chat):
    chunks = list(chat.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION, stream=True))

    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_stream_with_usage_asked_ends_with_it(chat):
    asked = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5}
    chunks = list(chat.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION, **asked))

    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 5


def test_a_stream_that_is_left_early_does_not_spoil_the_next_call(chat):
    stream = chat.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION, stream=True)
    next(iter(stream))
    stream.close()

    answer = chat.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION)

    assert answer.choices[0].message.content


class Sighting(pydantic.BaseModel):
    city: str
    count: int


def test_structured_output_fits_its_schema(chat):
    answer = chat.chat.completions.parse(
        model=settings.CHAT_MODEL, messages=QUESTION, response_format=Sighting, max_tokens=400, seed=3
    )

    assert isinstance(answer.choices[0].message.parsed, Sighting)


def test_structured_output_arrives_in_a_stream(chat):
    schema = {"type": "json_schema", "json_schema": {"name": "sighting", "schema": Sighting.model_json_schema()}}
    stream = chat.chat.completions.create(
        model=settings.CHAT_MODEL, messages=QUESTION, response_format=schema, max_tokens=400, seed=3, stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    Sighting.model_validate(json.loads(text))


def test_a_long_prompt_arrives_whole(chat):
    """80 KB is what a coding agent sends with every call."""
    words = "the old ferry carries a letter from home under a clear sky. " * 1400
    answer = chat.chat.completions.create(
        model=settings.CHAT_MODEL, messages=[{"role": "user", "content": words}], max_tokens=2
    )

    assert answer.usage.prompt_tokens > 10_000


def test_twenty_calls_at_once_all_answer():
    async def call(client, number):
        asked = {"model": settings.CHAT_MODEL, "messages": QUESTION, "max_tokens": 20}
        if number % 2:
            answer = await client.chat.completions.create(**asked)
            return answer.choices[0].message.content
        stream = await client.chat.completions.create(**asked, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_calls():
        async with openai.AsyncOpenAI(api_key=settings.API_KEY, base_url=settings.CHAT_URL, max_retries=0) as client:
            return await asyncio.gather(*(call(client, number) for number in range(20)))

    assert all(asyncio.run(all_calls()))


def test_legacy_completions_answer_whole_and_streamed(chat):
    asked = {"model": settings.CHAT_MODEL, "prompt": "The old ferry", "max_tokens": 6, "temperature": 0}

    whole = chat.completions.create(**asked)
    pieces = [chunk.choices[0].text for chunk in chat.completions.create(**asked, stream=True)]

    assert whole.choices[0].text
    assert "".join(pieces) == whole.choices[0].text
