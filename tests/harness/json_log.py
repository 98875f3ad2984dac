"""Reads the log of a weir that runs with `--log-format json`: one object on each line."""

import json
import pathlib
import time

# Levels that a person reads by default.
SHOWN_LEVELS = ("INFO", "WARN", "ERROR")


class JsonLog:
    """The log file at `path`, which may still grow."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def entries(self):
        """Every whole entry, its fields and its message on one level."""
        text = self.path.read_text(errors="replace")
        for line in text[: text.rfind("\n") + 1].splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry | entry.pop("fields", {})

    def about(self, peer):
        """What a person is shown about `peer`, an ADDRESS:PORT: the entries without the peer."""
        return [
            {name: value for name, value in entry.items() if name != "peer"}
            for entry in self.entries()
            if entry.get("peer") == peer and entry.get("level") in SHOWN_LEVELS
        ]

    def one_line_about(self, peer, reason, timeout_s=2):
        """Waits for a line about `peer`, and fails unless it is the only one and says `reason`."""
        deadline = time.monotonic() + timeout_s
        while not (lines := self.about(peer)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert lines, f"no log line names peer {peer} (expected one that says {reason!r})"
        assert len(lines) == 1, f"{len(lines)} log lines name peer {peer}: {lines}"
        shown = " ".join(f"{name}={value}" for name, value in lines[0].items())
        assert reason in shown, f"the log line does not say {reason!r}: {shown}"
        return shown

    def has(self, text):
        """Whether any line has this text."""
        return text in self.path.read_text(errors="replace")
