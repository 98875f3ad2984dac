"""The differences that are allowed: `allowed.toml`, each with its reason.

An entry names the scenario and, by regular expressions, the steps and the whole lines that only
Kafka or only weir shows there. An entry that matches nothing in a whole run is a failure too: a
difference that is gone must leave the list.
"""

import difflib
import pathlib
import re
import tomllib

ALLOWED = pathlib.Path(__file__).resolve().parent / "allowed.toml"


class Entry:
    def __init__(self, scenario, reason, step=".*", kafka=None, weir=None):
        assert kafka or weir, "an entry that allows nothing"
        self.scenario = scenario
        self.reason = reason
        self.step = re.compile(step)
        self.lines = {"-": kafka and re.compile(kafka), "+": weir and re.compile(weir)}
        self.unseen = {sign for sign, expression in self.lines.items() if expression}

    def allows(self, scenario, step, sign, line):
        if scenario != self.scenario or not self.step.fullmatch(step):
            return False
        expression = self.lines[sign]
        if expression is None or not expression.fullmatch(line):
            return False
        self.unseen.discard(sign)
        return True

    def __str__(self):
        return f"{self.scenario}: {self.step.pattern} ({self.reason})"


class Allowed:
    def __init__(self, path=ALLOWED):
        entries = tomllib.loads(path.read_text()).get("difference", [])
        self.entries = [Entry(**entry) for entry in entries]

    def differences(self, scenario, step, kafka, weir):
        """The lines that differ and are not allowed: `- ` shown by Kafka only, `+ ` by weir only."""
        return [
            line
            for line in difflib.ndiff(kafka, weir)
            if line[0] in "-+" and not self._is_allowed(scenario, step, line[0], line[2:])
        ]

    def _is_allowed(self, scenario, step, sign, line):
        # All of them are asked, so that each that applies counts as seen.
        return any([entry.allows(scenario, step, sign, line) for entry in self.entries])

    def unused(self, scenarios):
        """The entries of these scenarios that did not occur."""
        return [entry for entry in self.entries if entry.scenario in scenarios and entry.unseen]
