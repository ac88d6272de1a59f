"""openai-python: errors become the exceptions that applications catch, and retries happen when they should."""

import time

import openai
import pytest
import settings

QUESTION = [{"role": "user", "content": "Where does the ferry go?"}]


def test_a_wrong_key_is_an_authentication_error(make_client):
    with make_client(settings.CHAT_URL, api_key="wrong") as client, pytest.raises(openai.AuthenticationError) as refusal:
        client.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION)

    assert refusal.value.status_code == 401
    if settings.THROUGH_GATEWAY:
        assert refusal.value.code == "invalid_api_key"


@pytest.mark.gateway_only
@pytest.mark.parametrize("name", ["of-another-app", "of-nobody"])
def test_an_unknown_model_is_a_not_found_error(chat, name):
    with pytest.raises(openai.NotFoundError) as refusal:
        chat.chat.completions.create(model=name, messages=QUESTION)

    assert refusal.value.code == "model_not_found"
    assert refusal.value.request_id


def test_a_request_of_the_wrong_shape_is_a_bad_request_error(chat):
    with pytest.raises(openai.BadRequestError):
        chat.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION, temperature="warm")


def test_an_error_of_the_server_keeps_its_status_and_its_words(embeddings):
    """llama.cpp answers an input over its batch with 500 and an integer as `code`."""
    with pytest.raises(openai.InternalServerError) as failure:
        embeddings.embeddings.create(model=settings.EMBEDDINGS_MODEL, input="ferry " * 3000)

    assert "too large to process" in failure.value.message
    assert failure.value.body["type"] == "server_error"


@pytest.mark.gateway_only
def test_every_answer_carries_a_request_id(chat):
    answer = chat.chat.completions.with_raw_response.create(model=settings.CHAT_MODEL, messages=QUESTION, max_tokens=1)

    assert answer.parse()._request_id
    assert answer.headers["x-causeway-endpoint"] == "chat"


def test_a_busy_server_is_tried_again_after_the_time_it_names(make_client):
    """`moody-429` answers 429 with `retry-after-ms: 40` until the client says that this is its second retry."""
    with make_client(settings.MOODY_URL, max_retries=2) as client:
        began = time.monotonic()
        answer = client.chat.completions.create(model="moody-429", messages=QUESTION)

    assert answer.choices[0].message.content == "after 2 retries"
    assert time.monotonic() - began < 5, "retry-after-ms was not obeyed"


def test_a_busy_server_is_a_rate_limit_error_without_retries(make_client):
    with make_client(settings.MOODY_URL) as client, pytest.raises(openai.RateLimitError) as refusal:
        client.chat.completions.create(model="moody-429", messages=QUESTION)

    assert refusal.value.response.headers["retry-after-ms"] == "40"
    assert refusal.value.type == "moody"


def test_an_error_in_the_middle_of_a_stream_is_raised(make_client):
    with make_client(settings.MOODY_URL) as client, pytest.raises(openai.APIError) as failure:
        stream = client.chat.completions.create(model="moody-midstream", messages=QUESTION, stream=True)
        pieces = [chunk.choices[0].delta.content for chunk in stream]
        assert not pieces, "the stream ended as if it were whole"

    assert "lost its mind" in failure.value.message


@pytest.mark.gateway_only
def test_a_stream_that_breaks_off_is_raised(make_client):
    """Straight to such a server the client takes the piece for the whole, which is what a gateway is there to prevent."""
    with make_client(settings.MOODY_URL) as client, pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="moody-truncated", messages=QUESTION, stream=True))


@pytest.mark.gateway_only
def test_an_apps_own_rate_limit_is_a_rate_limit_error(make_client):
    with make_client(settings.CHAT_URL, api_key="cw_test_slow") as client:
        client.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION, max_tokens=1)
        with pytest.raises(openai.RateLimitError) as refusal:
            client.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION, max_tokens=1)

    assert refusal.value.code == "rate_limit_exceeded"
    assert int(refusal.value.response.headers["retry-after-ms"]) > 0
    assert int(refusal.value.response.headers["retry-after"]) > 0


@pytest.mark.gateway_only
@pytest.mark.parametrize(
    "asked",
    [{"store": True}, {"previous_response_id": "resp_1"}, {"tools": [{"type": "web_search"}]}],
    ids=["store", "previous response", "hosted tool"],
)
def test_what_no_policy_grants_is_a_permission_error(chat, asked):
    with pytest.raises(openai.PermissionDeniedError) as refusal:
        chat.responses.create(model=settings.CHAT_MODEL, input="hello", **asked)

    assert refusal.value.code == "feature_denied"
