"""Reads the log of a weir that runs with `--log-format json`: one object on each line."""

import json
import pathlib
import time

# Levels that a person reads by default.
SHOWN_LEVELS = ("INFO", "WARN", "ERROR")
# Fields that every line has, or that say who and not why.
NOT_A_REASON = ("timestamp", "level", "target", "peer")


class JsonLog:
    """The log file at `path`, which may still grow."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.read_bytes = 0
        self.lines_of_peer = {}

    def _read_on(self):
        """Reads what was appended since the last call, whole lines only."""
        with self.path.open("rb") as log:
            log.seek(self.read_bytes)
            appended = log.read()
        appended = appended[: appended.rfind(b"\n") + 1]
        self.read_bytes += len(appended)
        for line in appended.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("level") in SHOWN_LEVELS:
                self.lines_of_peer.setdefault(entry.get("peer"), []).append(entry)

    def about(self, peer):
        """What a person is shown about `peer`, an ADDRESS:PORT: each line's fields that say why."""
        self._read_on()
        return [
            " ".join(f"{name}={value}" for name, value in line.items() if name not in NOT_A_REASON)
            for line in self.lines_of_peer.get(peer, [])
        ]

    def one_line_about(self, peer, reason, timeout_s=2):
        """Waits for a line about `peer`, and fails unless it is the only one and says `reason`."""
        deadline = time.monotonic() + timeout_s
        while not (lines := self.about(peer)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lines, f"no log line names peer {peer} (expected one that says {reason!r})"
        assert len(lines) == 1, f"{len(lines)} log lines name peer {peer}: {lines}"
        assert reason in lines[0], f"the log line does not say {reason!r}: {lines[0]}"
        return f"logged: {lines[0]}"

    def count(self, text):
        """How many lines have this text."""
        return self.path.read_text(errors="replace").count(text)

    def has(self, text):
        """Whether any line has this text."""
        return self.count(text) > 0
