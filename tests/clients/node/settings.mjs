// What the tests are told by their surroundings; tests/servers/with_servers.py sets it all.
import OpenAI from "openai";

const given = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run these tests with tests/servers/with_servers.py`);
  return value;
};

export const throughGateway = process.env.THROUGH === "gateway";
export const apiKey = given("API_KEY");
export const chat = { url: given("CHAT_BASE_URL"), model: given("CHAT_MODEL") };
export const tools = { url: given("TOOLS_BASE_URL"), model: given("TOOLS_MODEL") };
export const embeddings = { url: given("EMBEDDINGS_BASE_URL"), model: given("EMBEDDINGS_MODEL") };
export const moodyUrl = given("MOODY_BASE_URL");
export const question = [{ role: "user", content: "Where does the ferry go?" }];

export const client = (baseURL, options = {}) => new OpenAI({ apiKey, baseURL, maxRetries: 0, ...options });
