"""openai-python: the responses API, whole and streamed."""

import settings


def test_a_response_has_text_and_usage(chat):
    answer = chat.responses.create(model=settings.CHAT_MODEL, input="Where does the ferry go?", max_output_tokens=30)

    assert answer.output_text
    assert answer.usage.output_tokens > 0


def test_a_streamed_response_ends_with_the_whole_of_it(chat):
    stream = chat.responses.create(
        model=settings.CHAT_MODEL, input="Where does the ferry go?", max_output_tokens=30, stream=True
    )

    events = list(stream)
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert text
    assert events[-1].response.output[-1].content[0].text == text


def test_instructions_and_earlier_turns_are_sent_along(chat):
    turns = [
        {"role": "user", "content": "Where does the ferry go?"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "To the last harbour."}]},
        {"role": "user", "content": "And then?"},
    ]

    short = chat.responses.create(model=settings.CHAT_MODEL, input="And then?", max_output_tokens=4)
    long = chat.responses.create(model=settings.CHAT_MODEL, input=turns, instructions="Be brief.", max_output_tokens=4)

    assert long.usage.input_tokens > short.usage.input_tokens
