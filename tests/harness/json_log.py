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
        """Waits for a line about `peer` that says `reason`, and fails unless there is exactly one
        and no other closes the connection. There may be lines about requests that were answered.
        """
        deadline = time.monotonic() + timeout_s
        said = []
        while not said and time.monotonic() < deadline:
            lines = self.about(peer)
            said = [line for line in lines if reason in line]
            if not said:
                time.sleep(0.01)
        assert said, f"no log line about peer {peer} says {reason!r}: {lines}"
        assert len(said) == 1, f"{len(said)} log lines about peer {peer} say {reason!r}: {lines}"
        closing = [line for line in lines if "message=closing" in line and line not in said]
        assert not closing, f"peer {peer} is closed for another reason too: {closing}"
        return f"logged: {said[0]}"

    def count(self, text):
        """How many lines have this text."""
        return self.path.read_text(errors="replace").count(text)

    def has(self, text):
        """Whether any line has this text."""
        return self.count(text) > 0
