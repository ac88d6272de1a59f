"""A pytest plugin that runs openai-python's own test suite against a gateway.

It deselects what `exclusions.txt` names, says how many tests each rule took, and fails when a rule takes none: a rule
that excludes nothing is a rule whose reason has gone. `CAUSEWAY_FRACTION` (0 to 1) and `CAUSEWAY_SEED` choose a part
of the rest; the same seed chooses the same part.
"""

import hashlib
import os
import pathlib
import re

import pytest

RULES = pathlib.Path(__file__).with_name("exclusions.txt")


def rules():
    for line in RULES.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern, reason = re.split(r" {2,}", line, maxsplit=1)
            yield re.compile(pattern), reason


def lot(seed, node_id):
    """A number from 0 to 1 that depends on nothing but the seed and the test's name."""
    digest = hashlib.sha256(f"{seed}:{node_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    fraction, seed = float(os.environ.get("CAUSEWAY_FRACTION", "1")), os.environ.get("CAUSEWAY_SEED", "1")
    taken, kept, dropped = {}, [], []
    known = list(rules())
    for item in items:
        rule = next(((pattern, reason) for pattern, reason in known if pattern.search(item.nodeid)), None)
        if rule:
            taken[rule] = taken.get(rule, 0) + 1
        (dropped if rule or lot(seed, item.nodeid) >= fraction else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)
    config.causeway_exclusions = [(taken.get(rule, 0), rule[1]) for rule in known]
    idle = [pattern.pattern for pattern, reason in known if (pattern, reason) not in taken]
    if idle:
        raise pytest.UsageError(f"exclusions that exclude nothing: {idle}")


def pytest_terminal_summary(terminalreporter, config):
    for count, reason in getattr(config, "causeway_exclusions", []):
        terminalreporter.write_line(f"excluded {count:4}: {reason}")
