"""Trims OpenAI's OpenAPI document to the operations that the gateway serves, with every schema they reach.

Source: https://github.com/openai/openai-openapi, commit f85dbe2 (2026-08-21), MIT. Prose and code samples are left
out, because the mock server needs none of it; nothing else is changed.

usage: trim_openapi.py OPENAI-OPENAPI.yaml > openai-openapi.trimmed.yaml
"""

import sys

import yaml

KEPT = {
    "/chat/completions": ["post"],
    "/completions": ["post"],
    "/embeddings": ["post"],
    "/models": ["get"],
    "/models/{model}": ["get"],
    "/responses": ["post"],
}
PROSE = {"description", "x-oaiMeta", "x-oaiExpandable", "x-code-samples", "summary"}
HEADER = """\
# OpenAI's OpenAPI document, trimmed by tests/servers/trim_openapi.py. Not written by hand.
# Source: https://github.com/openai/openai-openapi at f85dbe2 (2026-08-21).
#
# MIT License. Copyright (c) 2023 OpenAI. Permission is hereby granted, free of charge, to any person obtaining a copy
# of this software and associated documentation files (the "Software"), to deal in the Software without restriction,
# including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
# copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following
# conditions: The above copyright notice and this permission notice shall be included in all copies or substantial
# portions of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED,
# INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.
# IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN
# ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
# DEALINGS IN THE SOFTWARE.
"""


def without_prose(node, keys_are_names=False):
    """Drops prose, but never a property that happens to be called `description`."""
    if isinstance(node, list):
        return [without_prose(item) for item in node]
    if not isinstance(node, dict):
        return node
    # OpenAPI demands a description of every response, which is the object with a content or with headers.
    prose = PROSE - {"description"} if "content" in node or "headers" in node else PROSE
    return {
        key: without_prose(value, keys_are_names=key == "properties" and not keys_are_names)
        for key, value in node.items()
        if keys_are_names or key not in prose
    }


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        yield from (found for value in node.values() for found in references(value))
        # Discriminators name schemas outside of `$ref`.
        yield from (target for target in node.get("mapping", {}).values() if isinstance(target, str))
    elif isinstance(node, list):
        yield from (found for item in node for found in references(item))


def trim(document):
    paths = {path: {verb: document["paths"][path][verb] for verb in verbs} for path, verbs in KEPT.items()}
    components = {"securitySchemes": document["components"]["securitySchemes"]}
    waiting = list(references(paths))
    while waiting:
        reference = waiting.pop()
        if not reference.startswith("#/components/"):
            continue
        kind, name = reference.removeprefix("#/components/").split("/")
        if name not in components.setdefault(kind, {}):
            components[kind][name] = document["components"][kind][name]
            waiting += references(components[kind][name])
    trimmed = {key: document[key] for key in ("openapi", "info", "servers", "security")}
    return without_prose(trimmed | {"paths": paths, "components": components})


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        document = yaml.load(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    sys.stdout.write(HEADER)
    yaml.dump(trim(document), sys.stdout, sort_keys=True, width=160, allow_unicode=True)


if __name__ == "__main__":
    main()
