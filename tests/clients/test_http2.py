"""HTTP/2: httpx over one connection, by ALPN where there is TLS and by prior knowledge where there is none."""

import asyncio

import httpx
import pytest
import settings

pytestmark = pytest.mark.gateway_only
BODY = {"model": settings.CHAT_MODEL, "messages": [{"role": "user", "content": "Where does the ferry go?"}], "max_tokens": 20}
KEY = {"authorization": f"Bearer {settings.API_KEY}"}


def client():
    # Without TLS there is no ALPN, so HTTP/1.1 is switched off: that makes httpx speak HTTP/2 from the first byte.
    return httpx.AsyncClient(http1=settings.SECURE, http2=True, headers=KEY, timeout=30)


def test_a_call_and_a_stream_go_over_http2():
    async def both():
        async with client() as http:
            whole = await http.post(f"{settings.CHAT_URL}/chat/completions", json=BODY)
            async with http.stream("POST", f"{settings.CHAT_URL}/chat/completions", json=BODY | {"stream": True}) as streamed:
                lines = [line async for line in streamed.aiter_lines()]
            return whole, streamed, lines

    whole, streamed, lines = asyncio.run(both())

    assert (whole.http_version, whole.status_code) == ("HTTP/2", 200)
    assert (streamed.http_version, streamed.status_code) == ("HTTP/2", 200)
    assert [line for line in lines if line][-1] == "data: [DONE]"


def test_thirty_calls_share_one_connection():
    async def calls():
        async with client() as http:
            answers = await asyncio.gather(*(http.post(f"{settings.CHAT_URL}/chat/completions", json=BODY) for _ in range(30)))
            return answers, len(http._transport._pool.connections)

    answers, connections = asyncio.run(calls())

    assert {answer.status_code for answer in answers} == {200}
    assert connections == 1
