"""anthropic-python: messages, streams and token counts, answered by a server that speaks Anthropic's API itself."""

import anthropic
import pytest
import settings

QUESTION = [{"role": "user", "content": "Where does the ferry go?"}]
# This client has no parameter for it, and the model needs it to be the same every time.
CALM = {"temperature": 0}


@pytest.fixture(params=["x-api-key", "bearer"])
def claude(request):
    key = {"api_key": settings.API_KEY} if request.param == "x-api-key" else {"auth_token": settings.API_KEY}
    with anthropic.Anthropic(base_url=settings.ROOT_URL, max_retries=0, **key) as client:
        yield client


def test_a_message_is_answered(claude):
    answer = claude.messages.create(model=settings.CHAT_MODEL, messages=QUESTION, max_tokens=8, extra_body=CALM)

    assert answer.content[0].text
    assert answer.usage.output_tokens == 8
    assert answer.stop_reason == "max_tokens"


def test_a_message_streams_event_by_event(claude):
    with claude.messages.stream(model=settings.CHAT_MODEL, messages=QUESTION, max_tokens=8, extra_body=CALM) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()

    assert text
    assert final.content[0].text == text
    assert final.usage.output_tokens == 8


def test_tokens_are_counted(claude):
    assert claude.messages.count_tokens(model=settings.CHAT_MODEL, messages=QUESTION).input_tokens > 5


def test_a_tool_is_called():
    weather = {
        "name": "get_weather",
        "description": "The weather of a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Bergen"]}}, "required": ["city"]},
    }
    root = settings.TOOLS_URL.removesuffix("/v1")
    with anthropic.Anthropic(base_url=root, api_key=settings.API_KEY, max_retries=0) as client:
        answer = client.messages.create(model=settings.TOOLS_MODEL, messages=QUESTION, tools=[weather], max_tokens=200, extra_body=CALM)

    call = next(block for block in answer.content if block.type == "tool_use")
    assert call.name == "get_weather"
    assert call.input == {"city": "Bergen"}


def test_a_wrong_key_is_an_authentication_error():
    with anthropic.Anthropic(base_url=settings.ROOT_URL, api_key="wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError) as refusal:
            client.messages.create(model=settings.CHAT_MODEL, messages=QUESTION, max_tokens=8)

    if settings.THROUGH_GATEWAY:
        assert refusal.value.body["type"] == "error"
        assert refusal.value.body["error"]["type"] == "authentication_error"
        assert refusal.value.body["error"]["code"] == "invalid_api_key"


@pytest.mark.gateway_only
def test_an_unknown_model_is_a_not_found_error(claude):
    with pytest.raises(anthropic.NotFoundError) as refusal:
        claude.messages.create(model="of-nobody", messages=QUESTION, max_tokens=8)

    assert refusal.value.request_id
    assert refusal.value.body["error"]["code"] == "model_not_found"


@pytest.mark.gateway_only
def test_beta_headers_and_the_query_string_do_no_harm(claude):
    answer = claude.beta.messages.create(
        model=settings.CHAT_MODEL, messages=QUESTION, max_tokens=8, betas=["context-management-2025-06-27"], extra_body=CALM
    )

    assert answer.usage.output_tokens == 8
