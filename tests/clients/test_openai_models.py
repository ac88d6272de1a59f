"""openai-python: the list of models."""

import openai
import pytest
import settings


def test_the_list_holds_the_model(chat):
    assert settings.CHAT_MODEL in [model.id for model in chat.models.list()]


@pytest.mark.gateway_only
def test_the_list_holds_only_what_this_key_may_use(chat):
    names = {model.id for model in chat.models.list()}

    assert {settings.CHAT_MODEL, settings.TOOLS_MODEL, settings.EMBEDDINGS_MODEL} <= names
    assert "of-another-app" not in names


@pytest.mark.gateway_only
def test_one_model_can_be_looked_up(chat):
    assert chat.models.retrieve(settings.CHAT_MODEL).id == settings.CHAT_MODEL


@pytest.mark.gateway_only
@pytest.mark.parametrize("name", ["of-another-app", "of-nobody"])
def test_a_model_that_is_not_for_this_key_is_not_there(chat, name):
    with pytest.raises(openai.NotFoundError) as refusal:
        chat.models.retrieve(name)

    assert refusal.value.code == "model_not_found"
