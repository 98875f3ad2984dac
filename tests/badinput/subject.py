"""The weir that bad input is sent to: its cases, the bystanders, what must hold for all."""

import pathlib
import sys
import tempfile
import threading

from bystanders import STREAM, TOPIC, Bystanders
from cases import Cases
from json_log import JsonLog
from weir_process import Weir

MIB = 1 << 20
# What others may wait for one request while something bad goes on.
LATENCY_S_MAX = 2
# The budget of request bytes, 256 MiB, is what clients can make weir hold; 64 MiB are its own, with
# the 10,000 topics that a case makes.
RSS_ANON_BYTES_MAX = (256 + 64) * MIB


class Subject:
    """A program is a subclass: `prepare`, then its `cases`; its `slow` clients run beside them."""

    def __init__(self, weir):
        self.weir = weir
        self.log = JsonLog(weir.log_path)
        self.bystanders = Bystanders(weir, LATENCY_S_MAX, RSS_ANON_BYTES_MAX)
        self.lines_expected = {}
        self.addresses_used = 0

    def own_address(self):
        """A loopback address for one connection: no other is the same peer to the log."""
        self.addresses_used += 1
        high, low = divmod(self.addresses_used, 250)
        return f"127.1.{high}.{low + 1}"

    def expect_line(self, peer, reason, timeout_s=2):
        """Fails unless exactly one log line is about the peer and says the reason."""
        self.lines_expected[peer] = reason
        return self.log.one_line_about(peer, reason, timeout_s)

    def watched(self, case, *arguments):
        """Runs a case, then asks whether the others were served and the memory was bounded."""
        try:
            detail = case(*arguments)
        except Exception:
            # What the bystanders saw of it must not be blamed on the next case.
            self.bystanders.forget()
            raise
        return f"{detail or 'as expected'}; {self.bystanders.look()}"

    def no_further_lines(self):
        """A reason may be logged twice only later, so lines are counted once more at the end."""
        for peer, reason in self.lines_expected.items():
            self.log.one_line_about(peer, reason)
        assert not self.log.has("panicked"), "the log tells of a panic"
        return f"{len(self.lines_expected)} bad peers, one log line each"

    def prepare(self):
        pass

    def slow(self):
        return ()


class SlowClient(threading.Thread):
    """Runs one client that takes its time, on a connection of its own."""

    def __init__(self, connection, client):
        super().__init__(daemon=True)
        self.connection = connection
        self.client = client
        self.seconds = self.error = None
        self.start()

    def run(self):
        try:
            self.seconds = self.client(self.connection)
        except Exception as error:
            self.error = error

    def result(self, subject, reason):
        self.join(60)
        assert not self.is_alive(), "the client is still at it"
        if self.error is not None:
            raise self.error
        self.connection.close()
        subject.expect_line(self.connection.peer, reason)
        return f"closed after {self.seconds:.1f} s"


def main(subject_class):
    with tempfile.TemporaryDirectory(prefix="weir-badinput-") as directory:
        flags = ["--topic", TOPIC, "--stream", STREAM]
        cases = Cases()
        with Weir(pathlib.Path(directory) / "data", *flags) as weir:
            subject = subject_class(weir)
            subject.prepare()
            slow = [
                (name, SlowClient(subject.connect(), client), reason)
                for name, client, reason in subject.slow()
            ]
            for name, case, *arguments in subject.cases():
                cases.run(name, subject.watched, case, *arguments)
            for name, client, reason in slow:
                cases.run(name, subject.watched, client.result, subject, reason)
            cases.run("one log line for each bad peer", subject.no_further_lines)
            subject.bystanders.close()
            if cases.failed:
                print(f"the end of the log:\n{weir.log_tail()}", file=sys.stderr)
            cases.run("SIGTERM ends it in order, with status 0", weir.stop)
        highest_mb = subject.bystanders.highest_bytes / 1e6
        print(f"highest RssAnon: {highest_mb:.0f} MB")
        cases.finish()
