// The official Node client: what an application does with it, straight to llama.cpp and through the gateway.
import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI, { AzureOpenAI } from "openai";

import { apiKey, chat, client, embeddings, moodyUrl, question, throughGateway, tools } from "./settings.mjs";

const gatewayOnly = { skip: throughGateway ? false : "llama.cpp has no such surface" };
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: { type: "object", properties: { city: { type: "string", enum: ["Bergen"] } }, required: ["city"] },
  },
};

test("a chat answers and counts its tokens", async () => {
  const answer = await client(chat.url).chat.completions.create({ model: chat.model, messages: question });

  assert.ok(answer.choices[0].message.content);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("a stream says the same as a whole answer", async () => {
  const asked = { model: chat.model, messages: question, temperature: 0, seed: 7, max_tokens: 40 };
  const openai = client(chat.url);

  const whole = await openai.chat.completions.create(asked);
  let text = "";
  for await (const chunk of await openai.chat.completions.create({ ...asked, stream: true })) {
    text += chunk.choices[0].delta.content ?? "";
  }

  assert.equal(text, whole.choices[0].message.content);
});

test("a stream with usage asked ends with it", async () => {
  const stream = await client(chat.url).chat.completions.create({
    model: chat.model, messages: question, max_tokens: 5, stream: true, stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);

  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, 5);
});

test("a tool is called, whole and streamed", async () => {
  const asked = { model: tools.model, messages: question, tools: [weather], max_tokens: 200, temperature: 0 };
  const openai = client(tools.url);

  const whole = await openai.chat.completions.create(asked);
  const streamed = await openai.chat.completions.stream(asked).finalChatCompletion();

  for (const answer of [whole, streamed]) {
    const [call] = answer.choices[0].message.tool_calls;
    assert.equal(call.function.name, "get_weather");
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Bergen" });
    assert.equal(answer.choices[0].finish_reason, "tool_calls");
  }
});

test("structured output fits its schema", async () => {
  const schema = { type: "object", properties: { count: { type: "integer" } }, required: ["count"], additionalProperties: false };
  const answer = await client(chat.url).chat.completions.create({
    model: chat.model, messages: question, max_tokens: 200, seed: 3,
    response_format: { type: "json_schema", json_schema: { name: "counted", strict: true, schema } },
  });

  assert.ok(Number.isInteger(JSON.parse(answer.choices[0].message.content).count));
});

test("embeddings are the same as numbers and as base64", async () => {
  const openai = client(embeddings.url);
  const asked = { model: embeddings.model, input: "The ferry leaves the harbour at noon." };

  const [unpacked] = (await openai.embeddings.create(asked)).data;
  const [numbers] = (await openai.embeddings.create({ ...asked, encoding_format: "float" })).data;

  assert.equal(unpacked.embedding.length, 384);
  numbers.embedding.forEach((value, i) => assert.ok(Math.abs(value - unpacked.embedding[i]) < 1e-6));
});

test("a response answers and streams", async () => {
  const openai = client(chat.url);
  const asked = { model: chat.model, input: "Where does the ferry go?", max_output_tokens: 20 };

  const whole = await openai.responses.create(asked);
  const types = [];
  for await (const event of await openai.responses.create({ ...asked, stream: true })) types.push(event.type);

  assert.ok(whole.output_text);
  assert.equal(types[0], "response.created");
  assert.equal(types.at(-1), "response.completed");
});

test("the list of models holds the model", async () => {
  const names = [];
  for await (const model of client(chat.url).models.list()) names.push(model.id);

  assert.ok(names.includes(chat.model));
});

test("a wrong key is an authentication error", async () => {
  const refused = client(chat.url, { apiKey: "wrong" }).chat.completions.create({ model: chat.model, messages: question });

  await assert.rejects(refused, OpenAI.AuthenticationError);
});

test("a request of the wrong shape is a bad request error", async () => {
  const refused = client(chat.url).chat.completions.create({ model: chat.model, messages: question, temperature: "warm" });

  await assert.rejects(refused, OpenAI.BadRequestError);
});

test("a busy server is tried again after the time it names", async () => {
  const answer = await client(moodyUrl, { maxRetries: 2 }).chat.completions.create({ model: "moody-429", messages: question });

  assert.equal(answer.choices[0].message.content, "after 2 retries");
});

test("an error in the middle of a stream is thrown", async () => {
  const read = async () => {
    for await (const chunk of await client(moodyUrl).chat.completions.create({ model: "moody-midstream", messages: question, stream: true })) {
      assert.ok(chunk.choices);
    }
  };

  await assert.rejects(read, OpenAI.APIError);
});

test("an unknown model is a not found error with a request id", gatewayOnly, async () => {
  const refused = client(chat.url).chat.completions.create({ model: "of-nobody", messages: question });

  await assert.rejects(refused, (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found" && Boolean(error.requestID));
});

test("a stream that breaks off is thrown", gatewayOnly, async () => {
  const read = async () => {
    const stream = await client(moodyUrl).chat.completions.create({ model: "moody-truncated", messages: question, stream: true });
    for await (const chunk of stream) assert.ok(chunk.choices);
  };

  await assert.rejects(read, OpenAI.APIError);
});

test("the AzureOpenAI class is answered on Azure's paths", gatewayOnly, async () => {
  const azure = new AzureOpenAI({ endpoint: chat.url.replace(/\/v1$/, ""), apiKey, apiVersion: "2024-10-21", maxRetries: 0 });
  const answer = await azure.chat.completions.create({ model: chat.model, messages: question, max_tokens: 5 });

  assert.equal(answer.usage.completion_tokens, 5);
});
