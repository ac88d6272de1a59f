"""Clients as an application would make them."""

import openai
import pytest

import settings


def openai_client(base_url, **options):
    """An OpenAI client with the tests' key; over HTTP/2 where the run asks for that."""
    given = {"api_key": settings.API_KEY, "base_url": base_url, "max_retries": 0} | options
    if settings.HTTP2:
        given["http_client"] = openai.DefaultHttpx2Client(http1=False, http2=True)
    return openai.OpenAI(**given)


@pytest.fixture
def chat():
    with openai_client(settings.CHAT_URL) as client:
        yield client


@pytest.fixture
def tools():
    with openai_client(settings.TOOLS_URL) as client:
        yield client


@pytest.fixture
def embeddings():
    with openai_client(settings.EMBEDDINGS_URL) as client:
        yield client


@pytest.fixture
def make_client():
    """For tests that need a client of their own."""
    return openai_client


only_through_the_gateway = pytest.mark.skipif(not settings.THROUGH_GATEWAY, reason="llama.cpp has no such surface")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("gateway_only"):
            item.add_marker(only_through_the_gateway)


def pytest_configure(config):
    config.addinivalue_line("markers", "gateway_only: needs a surface that llama.cpp does not have")
