"""The AzureOpenAI class: Azure's paths and its `api-key` header, answered by whatever serves the model."""

import openai
import pytest
import settings

pytestmark = pytest.mark.gateway_only
QUESTION = [{"role": "user", "content": "Where does the ferry go?"}]


@pytest.fixture
def azure():
    with openai.AzureOpenAI(
        azure_endpoint=settings.ROOT_URL, api_key=settings.API_KEY, api_version="2024-10-21", max_retries=0
    ) as client:
        yield client


def test_a_deployment_answers_by_the_models_name(azure):
    answer = azure.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION, max_tokens=5)

    assert answer.usage.completion_tokens == 5


def test_a_deployment_streams(azure):
    stream = azure.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION, max_tokens=5, stream=True)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def test_a_deployment_embeds(azure):
    answer = azure.embeddings.create(model=settings.EMBEDDINGS_MODEL, input="the ferry")

    assert len(answer.data[0].embedding) == 384


def test_the_v1_path_of_azure_answers():
    with openai.OpenAI(base_url=f"{settings.ROOT_URL}/openai/v1/", api_key=settings.API_KEY, max_retries=0) as client:
        answer = client.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION, max_tokens=5)
        response = client.responses.create(model=settings.CHAT_MODEL, input="hello", max_output_tokens=5)

    assert answer.usage.completion_tokens == 5
    assert response.usage.output_tokens == 5


def test_a_wrong_key_is_an_authentication_error():
    with openai.AzureOpenAI(
        azure_endpoint=settings.ROOT_URL, api_key="wrong", api_version="2024-10-21", max_retries=0
    ) as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model=settings.CHAT_MODEL, messages=QUESTION)
