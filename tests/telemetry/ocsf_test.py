"""What `causeway audit export --format ocsf` prints is held to the schema of OCSF itself: CAUSEWAY_BINARY=… python ocsf_test.py"""

import json
import os
import subprocess
import unittest

import jsonschema
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from otlp_test import Gateway, Upstream, until

BINARY = os.environ["CAUSEWAY_BINARY"]
VERSION = "1.3.0"


class Export(unittest.TestCase):
    def test_every_event_is_valid_by_the_schema_of_its_class(self):
        busy, good = Upstream(503), Upstream(200)
        # Nobody listens at the collector's address; that is not looked at here.
        pseudonyms = '[audit]\npseudonyms = { key = "pseudonyms.key", held_by = "data protection office" }\n'
        made = subprocess.run([BINARY, "keys", "pseudonym"], capture_output=True, check=True)
        keys = [line for line in made.stdout.decode().splitlines() if line.startswith("PSEUDONYM+KEY+")]
        self.assertEqual(len(keys), 1, made)

        for more, key in (("", None), (pseudonyms, keys[0])):
            files = {} if key is None else {"pseudonyms.key": key + "\n"}
            gateway = Gateway("http", 9, [("first", busy, "false"), ("second", good, "true")], more, files)
            self.addCleanup(gateway.stop)
            self.assertEqual(gateway.ask(), 200)
            self.assertEqual(gateway.ask(model="no-such-model"), 404)
            gateway.process.send_signal(1)
            events = until("all kinds of events", lambda: self.events_of(gateway))
            self.hold(events)
            # A user is named where there is a key for pseudonyms, and only there.
            named = [event for event in events if event.get("actor", {}).get("user", {}).get("uid")]
            self.assertEqual(bool(named), key is not None)
        for one in (busy, good):
            one.stop()

    def events_of(self, gateway):
        command = [BINARY, "audit", "export", "--config", "causeway.toml", "--format", "ocsf"]
        printed = subprocess.run(command, cwd=gateway.folder, capture_output=True, check=True).stdout
        events = [json.loads(line) for line in printed.splitlines()]
        operations = {event["api"]["operation"] for event in events}
        return events if {"start", "reload", "decide", "answer", "refuse"} <= operations else None

    def hold(self, events):
        schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION)).get_class_schema(class_name="api_activity")
        judge = jsonschema.Draft202012Validator(schema)
        for event in events:
            faults = [f"{list(fault.path)}: {fault.message[:200]}" for fault in judge.iter_errors(event)]
            self.assertEqual(faults, [], event)
            self.assertEqual(event["metadata"]["version"], VERSION)
            self.assertEqual(event["type_uid"], event["class_uid"] * 100 + event["activity_id"])
        # The schema is one that can fail.
        for field in schema["required"]:
            without = {name: value for name, value in events[0].items() if name != field}
            self.assertFalse(judge.is_valid(without), field)


if __name__ == "__main__":
    unittest.main()
