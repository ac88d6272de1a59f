"""langchain-openai: what a retrieval application uses of it."""

from typing import Literal

import langchain_openai
import settings
from langchain_core.tools import tool


def model(**options):
    given = {"model": settings.CHAT_MODEL, "base_url": settings.CHAT_URL, "api_key": settings.API_KEY, "max_retries": 0}
    return langchain_openai.ChatOpenAI(**given | options)


def test_a_message_is_answered_with_usage():
    answer = model(max_tokens=8).invoke("Where does the ferry go?")

    assert answer.content
    assert answer.usage_metadata["output_tokens"] == 8


def test_a_stream_adds_up_and_carries_usage():
    whole = None
    for chunk in model(max_tokens=8, stream_usage=True).stream("Where does the ferry go?"):
        whole = chunk if whole is None else whole + chunk

    assert whole.content
    assert whole.usage_metadata["output_tokens"] == 8


def test_a_bound_tool_is_called():
    @tool
    def get_weather(city: Literal["Bergen", "Oslo"]) -> str:
        """The weather of a city."""
        return f"rain in {city}"

    caller = model(model=settings.TOOLS_MODEL, base_url=settings.TOOLS_URL, max_tokens=300, temperature=0)
    answer = caller.bind_tools([get_weather]).invoke("What is the weather in Bergen?")

    assert answer.tool_calls[0]["name"] == "get_weather"
    assert answer.tool_calls[0]["args"]["city"] in ("Bergen", "Oslo")


def test_documents_are_embedded():
    embedder = langchain_openai.OpenAIEmbeddings(
        model=settings.EMBEDDINGS_MODEL,
        base_url=settings.EMBEDDINGS_URL,
        api_key=settings.API_KEY,
        check_embedding_ctx_length=False,
    )

    assert [len(vector) for vector in embedder.embed_documents(["the ferry", "the train"])] == [384, 384]
