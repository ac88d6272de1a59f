"""What the client tests are told by their surroundings; `tests/servers/with_servers.py` sets it all.

The same tests run straight against llama.cpp and through the gateway: only the base URL and the key differ.
"""

import os

THROUGH_GATEWAY = os.environ.get("THROUGH") == "gateway"
# The program, for tests that start one of their own.
GATEWAY = os.environ.get("GATEWAY")
API_KEY = os.environ["API_KEY"]

CHAT_URL, CHAT_MODEL = os.environ["CHAT_BASE_URL"], os.environ["CHAT_MODEL"]
TOOLS_URL, TOOLS_MODEL = os.environ["TOOLS_BASE_URL"], os.environ["TOOLS_MODEL"]
EMBEDDINGS_URL, EMBEDDINGS_MODEL = os.environ["EMBEDDINGS_BASE_URL"], os.environ["EMBEDDINGS_MODEL"]
# A scripted server that refuses a call until the client's own retry counter has reached a number.
MOODY_URL = os.environ["MOODY_BASE_URL"]

# The root of the chat server, without /v1: where Azure's and Anthropic's clients begin.
ROOT_URL = CHAT_URL.removesuffix("/v1")
SECURE = ROOT_URL.startswith("https://")
HTTP2 = os.environ.get("HTTP2") == "1"
