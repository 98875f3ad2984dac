"""Figures of groups that do nothing: what idle members cost, and how soon groups are back.

    members   2,000 franz-go members in 20 groups, heartbeats each 3 s, fetches that wait 5 s: at
              most 5 % of a core; the figure for fetches that wait 500 ms is printed too
    restart   1,000 groups with committed offsets: from exec to the first OffsetFetch answer under
              1 s, after a clean stop and after kill -9

The figures are printed. They decide the result only with `--strict`, as a machine that does other
work at the same time is slow for no fault of weir's; without it only a wrong answer fails. The
members run in one process beside the broker and take much more of the machine than it does.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
CACHE = TESTS / ".cache"
sys.path.insert(0, str(TESTS))

from harness import kafka_wire
from harness.weir_process import Weir

CORE_PERCENT_MAX = 5
RESTART_S_MAX = 1
GROUPS = 1000
GROUPS_OF_MEMBERS = 20
PARTITIONS = 10
READY_TIMEOUT_S = 300


def report(what, value, unit, limit):
    within = value <= limit
    print(
        f"{'ok  ' if within else 'over'} {what}: {value:.2f} {unit}, at most {limit:g}",
        flush=True,
    )
    return within


class Members:
    """The process of the idle members."""

    def __init__(self, weir, members, fetch_wait):
        command = [
            CACHE / "bin/members", "-bootstrap", weir.kafka, "-groups", str(GROUPS_OF_MEMBERS),
            "-members", str(members // GROUPS_OF_MEMBERS), "-fetch-wait", fetch_wait,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait_until_ready(self):
        # Ends the wait with the process, as its output ends then.
        overdue = threading.Timer(READY_TIMEOUT_S, self.process.kill)
        overdue.start()
        line = self.process.stdout.readline()
        overdue.cancel()
        if line != "ready\n":
            raise RuntimeError(f"not all members own a partition within {READY_TIMEOUT_S} s")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def core_percent(root, members, fetch_wait, settle_s, seconds):
    """What the broker uses of a core while all members have their partitions and nothing comes."""
    with Weir(root / f"members-{fetch_wait}") as weir:
        with Members(weir, members, fetch_wait) as idle:
            idle.wait_until_ready()
            # The connections that only joining needed go away.
            time.sleep(settle_s)
            before, started = weir.cpu_seconds(), time.monotonic()
            time.sleep(seconds)
            used = weir.cpu_seconds() - before
            percent = used / (time.monotonic() - started) * 100
            if idle.process.poll() is not None:
                raise RuntimeError("the members ended before their time")
            memory = weir.rss_anon_bytes() / 1e6
    print(f"     RssAnon with {members} members: {memory:.1f} MB", flush=True)
    return percent


def commit_everywhere(weir):
    connection = kafka_wire.Connection(weir.kafka)
    kafka_wire.create_topic(connection, "topic", PARTITIONS)
    for group in range(GROUPS):
        for partition in range(PARTITIONS):
            code = kafka_wire.commit_offset(
                connection, f"group-{group}", "topic", group + partition, partition
            )
            assert code == kafka_wire.NONE, f"a commit was answered with error {code}"
    connection.close()


def restart_s(weir):
    """Seconds from exec to the first answer; the answers of all groups are checked then."""
    started = time.monotonic()
    starting = threading.Thread(target=weir.start)
    starting.start()
    code = None
    while code != kafka_wire.NONE:
        try:
            connection = kafka_wire.Connection(weir.kafka)
            code, _ = kafka_wire.committed_offset(connection, "group-0", "topic")
        except (ConnectionRefusedError, kafka_wire.Closed):
            assert time.monotonic() < started + 30, "weir did not begin to answer"
            time.sleep(0.0005)
    took = time.monotonic() - started
    starting.join()
    for group in range(GROUPS):
        for partition in range(PARTITIONS):
            found = kafka_wire.committed_offset(connection, f"group-{group}", "topic", partition)
            wanted = (kafka_wire.NONE, group + partition)
            assert found == wanted, f"group-{group}: {found} for {partition}, not {wanted}"
    connection.close()
    return took


def restarts(root, count):
    """Medians after a clean stop and after kill -9."""
    with Weir(root / "restarts") as weir:
        commit_everywhere(weir)
        medians = []
        for end in (weir.stop, weir.kill):
            took = []
            for _ in range(count):
                end()
                took.append(restart_s(weir))
            medians.append(statistics.median(took))
    return medians


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--members", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--settle-seconds", type=float, default=30)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument(
        "--strict", action="store_true", help="fail when a figure is over its limit"
    )
    # The file system counts: /tmp may be another than the one that data will lie on.
    parser.add_argument("--directory", default=CACHE)
    options = parser.parse_args()
    within = []
    with tempfile.TemporaryDirectory(prefix="members-", dir=options.directory) as scratch:
        root = pathlib.Path(scratch)
        for end, took in zip(("stop", "kill -9"), restarts(root, options.restarts)):
            what = f"first OffsetFetch answer of {GROUPS} groups after a {end}"
            within.append(report(what, took, "s", RESTART_S_MAX))
        measured = (options.members, "5s", options.settle_seconds, options.seconds)
        what = f"{options.members} idle members, fetches of 5 s"
        within.append(report(what, core_percent(root, *measured), "% of a core", CORE_PERCENT_MAX))
        measured = (options.members, "500ms", options.settle_seconds, options.seconds)
        percent = core_percent(root, *measured)
        print(f"     {options.members} idle members, fetches of 500 ms: {percent:.2f} % of a core")
    sys.exit(1 if options.strict and not all(within) else 0)


if __name__ == "__main__":
    main()
