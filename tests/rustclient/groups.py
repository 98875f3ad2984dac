"""Members of a group on weir-client (tests/src/bin/group_member.rs), while a producer writes:

    handovers  members come and leave: every record is handled exactly once, those of a partition in
               their order
    mixed      the same with a Kafka consumer (confluent-kafka, KIP-848) among them
    hangs      a member whose program does not come back is out of the group, and comes back
    rebalances members come, leave and are killed (-9), the broker is killed (-9): every record
               is handled, and where partitions were handed over exactly once

What the members say is judged by history.py; falsified histories must not pass.
"""

import itertools
import json
import random
import subprocess
import threading
import time

import confluent_kafka
import history
from confluent_kafka.admin import AdminClient, NewTopic
from harness.weir_process import binary

PARTITIONS = 6
TIMEOUT_S = 60
# Who is killed together with the broker is in the way for a session.
SETTINGS = [
    "--quotas", "off",
    "--set", "group.consumer.min.heartbeat.interval.ms=500",
    "--set", "group.consumer.heartbeat.interval.ms=500",
    "--set", "group.consumer.min.session.timeout.ms=3000",
    "--set", "group.consumer.session.timeout.ms=4000",
]  # fmt: skip


def now_us():
    return time.monotonic_ns() // 1000


def wait_for(what, why, seconds=TIMEOUT_S):
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds, why() if callable(why) else why
        time.sleep(0.02)


class History:
    """What all members have said so far, and how far each partition was handled."""

    def __init__(self):
        self.lock = threading.Lock()
        self.entries = []
        self.handled = {}

    def add(self, at, member, what, *rest):
        with self.lock:
            self.entries.append((at, member, what, *rest))
            if what == "record":
                partition, offset = rest
                self.handled.setdefault(partition, set()).add(offset)

    def sorted(self):
        """By time; of one moment as it was said."""
        with self.lock:
            return sorted(self.entries, key=lambda entry: entry[0])

    def holds(self, member):
        """The partitions that it has."""
        held = set()
        for _, who, what, *rest in self.sorted():
            if who == member and what == "given":
                held |= set(rest[0])
            elif who == member and what in ("taken", "lost"):
                held -= set(rest[0])
        return held

    def missing(self, ends):
        with self.lock:
            return {
                partition: end - len(self.handled.get(partition, ()))
                for partition, end in ends.items()
                if end > len(self.handled.get(partition, ()))
            }

    def last(self, member):
        """When that member said something last."""
        with self.lock:
            return max((at for at, who, *_ in self.entries if who == member), default=0)

    def count(self, member, what):
        with self.lock:
            return sum(entry[1:3] == (member, what) for entry in self.entries)

    def has_begun(self, member):
        with self.lock:
            return any(entry[1:3] == (member, "given") for entry in self.entries)


class Member:
    """A process on weir-client."""

    def __init__(self, weir, said, name, topic, mode):
        self.said, self.name, self.is_over = said, name, False
        program = binary().parent / "group_member"
        self.process = subprocess.Popen(
            [program, f"http://{weir.grpc}", f"group-{topic}", topic, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors = []
        self.threads = [threading.Thread(target=self._listen), threading.Thread(target=self._err)]
        for thread in self.threads:
            thread.start()

    def _listen(self):
        for line in self.process.stdout:
            # The last line of one that was killed may be cut.
            if line.endswith("\n"):
                at, what, *rest = json.loads(line)
                self.said.add(at, self.name, what, *rest[:2])

    def _err(self):
        self.errors.extend(self.process.stderr)

    def is_alive(self):
        return self.process.poll() is None

    def close(self):
        self.process.stdin.close()
        status = self.process.wait(TIMEOUT_S)
        self._join()
        assert status == 0, (self.name, self.errors[-3:])

    def kill(self):
        before = now_us()
        self.process.kill()
        self.process.wait()
        self._join()
        # Others may have what it had before its parent hears of its death; what it has said last
        # is the last that it did.
        self.said.add(max(before, self.said.last(self.name)), self.name, "killed")

    def _join(self):
        for thread in self.threads:
            thread.join()


class KafkaMember:
    """The same by confluent-kafka. It commits each record before it takes the next."""

    def __init__(self, weir, said, name, topic, _mode):
        self.said, self.name, self.failure = said, name, None
        self.going = threading.Event()
        self.consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": weir.kafka,
                "group.id": f"group-{topic}",
                "client.id": name,
                "group.protocol": "consumer",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        self.consumer.subscribe(
            [topic],
            on_assign=self._on("given"),
            on_revoke=self._on("taken"),
            on_lost=self._on("lost"),
        )
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _on(self, what):
        return lambda _, partitions: partitions and self.said.add(
            now_us(), self.name, what, [one.partition for one in partitions]
        )

    def _run(self):
        try:
            while not self.going.is_set():
                message = self.consumer.poll(0.05)
                if message is None:
                    continue
                assert message.error() is None, message.error()
                self.said.add(
                    now_us(), self.name, "record", message.partition(), message.offset()
                )
                self._commit(message)
            self.consumer.close()
        except Exception as error:  # noqa: BLE001 - told when it is closed
            self.failure = error

    def _commit(self, message):
        """Again where the member's epoch has moved and its client did not know yet."""
        for _ in range(100):
            try:
                self.consumer.commit(message, asynchronous=False)
                return
            except confluent_kafka.KafkaException as error:
                if error.args[0].code() != confluent_kafka.KafkaError.STALE_MEMBER_EPOCH:
                    raise
                time.sleep(0.05)
        raise AssertionError("the epoch stays stale")

    def is_alive(self):
        return self.thread.is_alive()

    def close(self):
        self.going.set()
        self.thread.join(TIMEOUT_S)
        assert not self.thread.is_alive() and self.failure is None, self.failure


class Writer:
    """Writes to all partitions in turn until it is stopped, each record once."""

    def __init__(self, weir, topic):
        self.producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": weir.kafka,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": TIMEOUT_S * 1000,
                "reconnect.backoff.max.ms": 200,
                "log_level": 2,
            }
        )
        self.topic, self.ends, self.failures = topic, dict.fromkeys(range(PARTITIONS), 0), []
        self.going = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        for number in itertools.count():
            if self.going.is_set():
                return
            self.producer.produce(
                self.topic,
                str(number),
                partition=number % PARTITIONS,
                on_delivery=self._delivered,
            )
            self.producer.poll(0.002)

    def _delivered(self, error, message):
        if error:
            self.failures.append(error)
        else:
            partition = message.partition()
            self.ends[partition] = max(self.ends[partition], message.offset() + 1)

    def stop(self):
        """Where the partitions end."""
        self.going.set()
        self.thread.join()
        left = self.producer.flush(TIMEOUT_S)
        assert not left and not self.failures, (left, self.failures[:1])
        return self.ends


def make_topic(weir, name):
    admin = AdminClient({"bootstrap.servers": weir.kafka, "log_level": 2})
    admin.create_topics([NewTopic(name, PARTITIONS)])[name].result()


def kept(weir, topic):
    """The group's positions, as `weir group describe` shows them."""
    command = [binary(), "group", "describe", f"group-{topic}", "-o", "jsonl", "--grpc", weir.grpc]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done
    positions = json.loads(done.stdout)["positions"]
    return {one["partition"]: one["position"] for one in positions}


class Play:
    """Members that come and go by chance, and a producer beside them."""

    def __init__(self, weir, topic, seed, kinds=(Member,)):
        self.weir, self.topic, self.chance = weir, topic, random.Random(seed)
        self.said, self.members, self.made = History(), [], {}
        self.kinds = itertools.cycle(kinds)
        self.modes = itertools.cycle(["automatic", "manual"])
        make_topic(weir, topic)
        self.writer = Writer(weir, topic)

    def come(self):
        name = f"{self.topic}-{self.made.get('come', 0)}"
        member = next(self.kinds)(self.weir, self.said, name, self.topic, next(self.modes))
        self.members.append(member)

    def leave(self):
        self.members.pop(self.chance.randrange(len(self.members))).close()

    def kill_member(self):
        self.members.pop(self.chance.randrange(len(self.members))).kill()

    def kill_broker(self):
        self.weir.kill()
        self.said.add(now_us(), None, "killed")
        time.sleep(self.chance.uniform(0, 0.2))
        self.weir.start()

    def change(self, what):
        self.made[what.__name__] = self.made.get(what.__name__, 0) + 1
        what()
        for member in self.members:
            assert member.is_alive(), (member.name, getattr(member, "errors", None))

    def run(self, changes, whats):
        self.change(self.come)
        for number in range(changes):
            # Each kind of change comes, however few there are.
            what = whats[number % len(whats)]
            if what in (self.leave, self.kill_member) and len(self.members) < 2:
                self.change(self.come)
                self.settle()
            if what == self.come and len(self.members) > 3:
                what = self.leave
            self.change(what)
            self.settle()

    def settle(self):
        """Mostly until the newest member has something, sometimes not so long."""
        if self.chance.random() < 0.7:
            newest = self.members[-1]
            wait_for(lambda: self.said.has_begun(newest.name), f"{newest.name} is given nothing")
        time.sleep(self.chance.uniform(0.05, 0.5))

    def end(self):
        """The history, and where the partitions end; everything is handled and kept."""
        ends = self.writer.stop()
        wait_for(lambda: not self.said.missing(ends), lambda: f"missing {self.said.missing(ends)}")
        while self.members:
            self.members.pop().close()
        told = self.said.sorted()
        wrong = history.judge(told, ends)
        assert not wrong, (len(wrong), wrong[:5])
        for how, false in history.falsified(told):
            assert history.judge(false, ends), f"{how} is not found"
        positions = kept(self.weir, self.topic)
        assert positions == ends, (positions, ends)
        return told, ends

    def abandon(self):
        """Ends what a failure has left."""
        self.writer.going.set()
        for member in self.members:
            if isinstance(member, Member):
                member.process.kill()
            else:
                member.going.set()


def played(weir, topic, options, kinds, whats, count):
    play = Play(weir, topic, options.seed, kinds)
    try:
        play.run(count, [getattr(play, what) for what in whats])
        told, ends = play.end()
    except BaseException:
        play.abandon()
        raise
    made = ", ".join(f"{count} {what}" for what, count in sorted(play.made.items()))
    return told, f"{sum(ends.values())} records, {history.again(told)} again; {made}"


def handovers(weir, options):
    told, what = played(
        weir, "handovers", options, (Member,), ["come", "come", "leave"], options.changes
    )
    assert not history.again(told), what
    return what


def mixed(weir, options):
    told, what = played(
        weir, "mixed", options, (Member, KafkaMember), ["come", "come", "leave"], options.changes
    )
    assert not history.again(told), what
    return what


def hangs(weir, options):
    play = Play(weir, "hangs", options.seed)
    try:
        play.modes = iter(["automatic", "hangs"])
        play.come()
        wait_for(lambda: play.said.has_begun("hangs-0"), "nothing is given")
        play.made["come"] = 1
        play.come()
        wait_for(lambda: play.said.count("hangs-1", "record"), "the second reads nothing")
        begun = time.monotonic()
        own = next(rest[0] for _, who, what, *rest in play.said.sorted()
                   if (who, what) == ("hangs-1", "given"))  # fmt: skip
        wait_for(lambda: play.said.holds("hangs-0") >= set(own), "it has its partitions for ever")
        out = time.monotonic() - begun
        assert not play.said.count("hangs-1", "lost"), "it hangs no more"
        wait_for(lambda: play.said.count("hangs-1", "given") > 1, "it does not come back")
        told, _ = play.end()
    except BaseException:
        play.abandon()
        raise
    return f"out after {out:.1f} s, back later; {history.again(told)} again"


def rebalances(weir, options):
    whats = ["come", "kill_member", "come", "kill_broker", "leave"]
    _, what = played(weir, "rebalances", options, (Member,), whats, options.changes)
    return what
