"""The differences that are allowed: `allowed.toml`, each with its reason.

An entry names the client and, by regular expressions that match as a whole, the steps and the lines
that only Kafka or only weir shows there. An entry that matches nothing in a run is a failure too: a
difference that is gone must leave the list.
"""

import difflib
import pathlib
import re
import tomllib

ALLOWED = pathlib.Path(__file__).with_name("allowed.toml")


class Entry:
    def __init__(self, reason, client=".*", step=".*", kafka=None, weir=None):
        assert kafka or weir, "an entry that allows nothing"
        self.reason = reason
        self.client = re.compile(client)
        self.step = re.compile(step)
        self.lines = {"-": kafka and re.compile(kafka), "+": weir and re.compile(weir)}
        self.unseen = {sign for sign, expression in self.lines.items() if expression}

    def allows(self, client, step, sign, line):
        expression = self.lines[sign]
        if expression is None or not expression.fullmatch(line):
            return False
        if not self.client.fullmatch(client) or not self.step.fullmatch(step):
            return False
        self.unseen.discard(sign)
        return True

    def __str__(self):
        lines = [expression.pattern for expression in self.lines.values() if expression]
        return f"{self.client.pattern}, {self.step.pattern}: {' and '.join(lines)}"

    def occurs(self):
        shown = {"-": "Kafka", "+": "weir"}
        by = " and ".join(shown[sign] for sign in sorted(self.unseen))
        assert not self.unseen, f"no longer shown by {by}, take it from {ALLOWED.name}"
        return self.reason


class Allowed:
    def __init__(self):
        entries = tomllib.loads(ALLOWED.read_text()).get("difference", [])
        self.entries = [Entry(**entry) for entry in entries]

    def differences(self, client, step, kafka, weir):
        """The lines that differ and may not: `- ` shown by Kafka only, `+ ` by weir only."""
        return [
            line
            for line in difflib.unified_diff(kafka, weir, lineterm="", n=0)
            if line[0] in "-+" and line[:3] not in ("---", "+++")
            # All of them are asked, so that each that applies counts as seen.
            and not any([entry.allows(client, step, line[0], line[1:]) for entry in self.entries])
        ]
