"""`weir produce --follow` on the log of a real nginx under load.

While wrk asks nginx for numbered pages, the log is rotated as logrotate does it (renamed, then
nginx is told by a signal), the follower is killed and started again, and weir is killed and
started again, each at moments of chance, some of them at the same time. In the end each line that
nginx wrote, in whichever file, is in the topic: at least once, byte for byte, and those that came
once are in the order of their file. How many came again is printed.

    rotations   rotations, kills of the follower, kills of weir
    cut         the log is copied and cut to nothing (copytruncate) while nobody writes: nothing lost
    away        two rotations while nobody follows: what was rotated is read
"""

import argparse
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import confluent_kafka

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))
sys.path.insert(0, str(TESTS / "realinput"))

from harness.cases import Cases
from harness.weir_process import Weir, binary
from web import WebServer, number_of

TIMEOUT_S = 60
# Eight connections then ask about 2,000 times a second, so that there is time for what happens.
DELAY_MS = 4


class Follower:
    """`weir produce TOPIC --follow FILE`, started again and again on one position."""

    def __init__(self, weir, topic, file, root):
        self.command = [
            binary(), "produce", topic, "--grpc", f"http://{weir.grpc}", "--follow", file,
            "--position", root / f"{topic}-position.json",
        ]  # fmt: skip
        self.errors = (root / f"{topic}-follower.log").open("ab")
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            self.command, stdout=self.errors, stderr=self.errors, stdin=subprocess.DEVNULL
        )

    def check(self):
        status = self.process.poll()
        assert status is None, f"the follower ended with {status}: see {self.errors.name}"

    def kill(self):
        self.check()
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.check()
        self.process.terminate()
        assert self.process.wait(10) == 0, "SIGTERM ends it with status 0"


def make_topic(weir, name):
    command = [binary(), "topic", "create", name, "-p", "1", "--grpc", f"http://{weir.grpc}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)


def values(weir, topic):
    """All values of the topic, in its order."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": weir.kafka, "group.id": "reader", "log_level": 2}
    )
    partition = confluent_kafka.TopicPartition(topic, 0, 0)
    _, end = consumer.get_watermark_offsets(partition, TIMEOUT_S)
    consumer.assign([partition])
    got = []
    while len(got) < end:
        messages = consumer.consume(min(1000, end - len(got)), 10)
        assert messages, f"{len(got)} of {end} records of {topic} came"
        got += [message.value() for message in messages]
    consumer.close()
    return got


def wait_for(weir, topic, lines):
    """Until all lines are in the topic; its values."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        got = values(weir, topic)
        missing = set(lines) - set(got)
        if not missing:
            return got
        assert time.monotonic() < deadline, f"{len(missing)} lines are missing: {min(missing)}"
        time.sleep(0.2)


def check_order(files, got):
    """Lines that came once are in the order of their file."""
    count = {}
    for value in got:
        count[value] = count.get(value, 0) + 1
    place = {value: index for index, value in enumerate(got)}
    for lines in files:
        places = [place[line] for line in lines if count[line] == 1]
        assert places == sorted(places), "lines of one file changed places"
    return sum(times - 1 for times in count.values())


def rotate(web, number):
    web.log.rename(web.root / f"access.log.{number}")
    web.process.send_signal(signal.SIGUSR1)


def log_files(web):
    files = sorted(web.root.glob("access.log*"), key=lambda path: path.stat().st_mtime)
    return [path.read_bytes().splitlines() for path in files]


def rotations(weir, root, options):
    chance = random.Random(options.seed)
    make_topic(weir, "web")
    made = {"rotation": 0, "follower": 0, "weir": 0}
    with WebServer(root / "web") as web:
        follower = Follower(weir, "web", web.log, root)
        follower.start()
        web.start_load(options.lines, DELAY_MS)
        deadline = time.monotonic() + 300
        while sum(1 for lines in log_files(web) for _ in lines) < options.lines:
            assert time.monotonic() < deadline, "nginx did not write all lines"
            time.sleep(chance.uniform(0.05, 0.4))
            kinds = [kind for kind, count in made.items() if count < options.kills]
            for kind in chance.sample(kinds, min(len(kinds), chance.choice([1, 1, 2]))):
                made[kind] += 1
                if kind == "rotation":
                    rotate(web, made[kind])
                elif kind == "follower":
                    follower.kill()
                    time.sleep(chance.uniform(0, 0.3))
                    follower.start()
                else:
                    weir.kill()
                    time.sleep(chance.uniform(0, 0.3))
                    weir.start()
        files = log_files(web)
        lines = [line for file in files for line in file]
        numbers = sorted(map(number_of, lines))
        assert numbers == list(range(1, options.lines + 1)), "nginx lost a line of its log"
        got = wait_for(weir, "web", lines)
        follower.stop()
    assert set(got) == set(lines), "there is a line that nginx did not write"
    assert all(count == options.kills for count in made.values()), f"the load was too short: {made}"
    again = check_order(files, got)
    return f"{len(lines)} lines, {made}, {again} came again (seed {options.seed})"


def cut(weir, root, _):
    make_topic(weir, "cut")
    log = root / "cut.log"
    log.write_text("one\ntwo\n")
    follower = Follower(weir, "cut", log, root)
    follower.start()
    wait_for(weir, "cut", [b"one", b"two"])
    log.write_text("three\n")
    wait_for(weir, "cut", [b"three"])
    with log.open("a") as out:
        out.write("no end yet")
        out.flush()
        time.sleep(0.5)
        assert b"no end yet" not in values(weir, "cut"), "a line without an end was sent"
        out.write(", now\n")
    got = wait_for(weir, "cut", [b"no end yet, now"])
    follower.stop()
    assert got == [b"one", b"two", b"three", b"no end yet, now"], got
    return "a log that was cut is read from its beginning; a line is sent with its end"


def away(weir, root, _):
    make_topic(weir, "away")
    log = root / "away.log"
    log.write_text("1\n2\n")
    follower = Follower(weir, "away", log, root)
    follower.start()
    wait_for(weir, "away", [b"1", b"2"])
    follower.stop()
    with log.open("a") as out:
        out.write("3\n")
    # Compressed ones, and others beside it, are none of its business.
    (root / "away.log.9.gz").write_bytes(b"\x1f\x8b")
    (root / "away.logs").write_text("no line of it\n")
    for number, text in [(2, "4\n5\n"), (1, "6\n")]:
        time.sleep(0.02)
        log.rename(root / f"away.log.{number}")
        log.write_text(text)
    follower.start()
    got = wait_for(weir, "away", [b"6"])
    follower.stop()
    assert got == [b"1", b"2", b"3", b"4", b"5", b"6"], got
    return "what was rotated meanwhile is read first, each line once after a clean end"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=3, help="and as many rotations")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-follow-") as root:
        root = pathlib.Path(root)
        with Weir(root / "data", "--quotas", "off") as weir:
            for case in (cut, away, rotations):
                cases.run(case.__name__, case, weir, root, options)
    cases.finish()


if __name__ == "__main__":
    main()
