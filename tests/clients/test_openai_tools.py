"""openai-python: tool calls, whole and streamed. The model behind always calls a tool."""

import json

import settings

QUESTION = [{"role": "user", "content": "What is the weather in Bergen?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Bergen", "Oslo"]}},
            "required": ["city"],
        },
    },
}
CALM = {"temperature": 0, "max_tokens": 200}


def test_a_tool_call_has_a_name_an_id_and_arguments(tools):
    answer = tools.chat.completions.create(model=settings.TOOLS_MODEL, messages=QUESTION, tools=[WEATHER], **CALM)

    call = answer.choices[0].message.tool_calls[0]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.id
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] in ("Bergen", "Oslo")


def test_a_streamed_tool_call_comes_in_pieces_that_fit(tools):
    stream = tools.chat.completions.create(
        model=settings.TOOLS_MODEL, messages=QUESTION, tools=[WEATHER], **CALM, stream=True
    )

    names, arguments, finish = [], "", None
    for chunk in stream:
        finish = chunk.choices[0].finish_reason or finish
        for call in chunk.choices[0].delta.tool_calls or []:
            names += [call.function.name] if call.function.name else []
            arguments += call.function.arguments or ""
    assert names == ["get_weather"]
    assert json.loads(arguments)["city"] in ("Bergen", "Oslo")
    assert finish == "tool_calls"


def test_the_answer_of_a_tool_goes_back_into_the_conversation(tools):
    first = tools.chat.completions.create(model=settings.TOOLS_MODEL, messages=QUESTION, tools=[WEATHER], **CALM)
    called = first.choices[0].message
    result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": '{"sky": "rain"}'}

    second = tools.chat.completions.create(
        model=settings.TOOLS_MODEL,
        messages=[*QUESTION, called.model_dump(exclude_none=True), result],
        tools=[WEATHER],
        **CALM,
    )

    assert second.usage.prompt_tokens > first.usage.prompt_tokens
