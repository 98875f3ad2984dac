"""Differences from Kafka that are allowed: a file of them, each with its reason.

    [[difference]]
    part = "groups"                  which part of the run: a client, a scenario
    step = "listGroups.*"            which of its steps
    kafka = "group.max.size=.*"      a line that only Kafka shows there
    weir = "group.max.size=1000 .*"  a line that only weir shows
    reason = "…"

The first four are regular expressions that match as a whole; without `part` or `step` any, and one
of `kafka` and `weir` may be left out. An entry that matches nothing in a whole run is a failure
too: a difference that is gone must leave the list.
"""

import difflib
import re
import tomllib


class Entry:
    def __init__(self, reason, part=".*", step=".*", kafka=None, weir=None):
        assert kafka or weir, "an entry that allows nothing"
        self.reason = reason
        self.part = re.compile(part)
        self.step = re.compile(step)
        self.lines = {"-": kafka and re.compile(kafka), "+": weir and re.compile(weir)}
        self.unseen = {sign for sign, expression in self.lines.items() if expression}

    def allows(self, part, step, sign, line):
        expression = self.lines[sign]
        if expression is None or not expression.fullmatch(line):
            return False
        if not self.part.fullmatch(part) or not self.step.fullmatch(step):
            return False
        self.unseen.discard(sign)
        return True

    def __str__(self):
        return f"{self.part.pattern}, {self.step.pattern}: {self.reason}"

    def occurs(self):
        shown = {"-": "Kafka", "+": "weir"}
        by = " and ".join(shown[sign] for sign in sorted(self.unseen))
        assert not self.unseen, f"no longer shown by {by}, take it from the list"
        return "it occurs"


class Allowed:
    """The entries of the file at `path`, or none where there is no path."""

    def __init__(self, path=None):
        entries = tomllib.loads(path.read_text()).get("difference", []) if path else []
        self.entries = [Entry(**entry) for entry in entries]

    def differences(self, part, step, kafka, weir):
        """The lines that differ and may not: `-` shown by Kafka only, `+` by weir only."""
        return [
            line
            for line in difflib.unified_diff(kafka, weir, lineterm="", n=0)
            if line[0] in "-+"
            and line not in ("--- ", "+++ ")
            # All of them are asked, so that each that applies counts as seen.
            and not any([entry.allows(part, step, line[0], line[1:]) for entry in self.entries])
        ]
