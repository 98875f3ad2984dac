"""A rebalance storm: 50 franz-go members in one process and 6 Java ones in another share 200
partitions, and join, leave, pause and die at random, while records are written and committed.

    eager          range and roundrobin, of which the group chooses one
    cooperative    cooperative-sticky
    consumer       KIP-848, assigned by the broker

Then quiet comes: in 30 seconds every partition has an owner that has read it to its end. What must
hold of the history is in checks.py, which is also shown to find each kind of false history. With
`--kill-every` weir is killed (-9) and started again on its directory and ports meanwhile. Only what
the members do comes from the seed; what the group makes of it is the machine's.

With `--bootstrap` the storm is over another broker, as `../reference/run kafka 39192
group.consumer.session.timeout.ms=6000 group.consumer.min.session.timeout.ms=6000 …` starts it.
"""

import argparse
import collections
import contextlib
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

STORM = pathlib.Path(__file__).resolve().parent
CACHE = STORM.parent / ".cache"
sys.path.insert(0, str(STORM.parent))

import checks
from harness.weir_process import Weir
from history import History

MODES = ["eager", "cooperative", "consumer"]
PARTITIONS = 200
GO_MEMBERS, JAVA_MEMBERS = 50, 6
START_TIMEOUT_S = 60
QUIET_S = 30
# How long everything must stay as it is for the quiet to end before its time.
STILL_S = 5
# In KIP-848 groups these are the broker's to say; classic members bring their own.
SETTINGS = {
    "group.consumer.session.timeout.ms": 6000,
    "group.consumer.min.session.timeout.ms": 6000,
    "group.consumer.heartbeat.interval.ms": 1000,
    "group.consumer.min.heartbeat.interval.ms": 1000,
}


class Program:
    """A process of members: takes commands, writes events."""

    def __init__(self, name, command, history, root):
        self.name = name
        self.errors = (root / f"{name}.errors").open("wb")
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.reader = threading.Thread(
            target=history.read, args=(self.process.stdout,), daemon=True
        )
        self.reader.start()

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def check_alive(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the {self.name} members ended: status {self.process.returncode}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.errors.close()


def start_members(stack, mode, bootstrap, seed, history, root):
    """Both programs; the Java one when the first has made the topic."""
    names = {"bootstrap": bootstrap, "topic": f"storm-{mode}-{seed}", "group": f"{mode}-{seed}"}
    command = [CACHE / "bin/storm", "-mode", mode, "-seed", seed]
    command += ["-members", GO_MEMBERS, "-partitions", PARTITIONS]
    command += [word for name, value in names.items() for word in (f"-{name}", value)]
    go = stack.enter_context(Program("go", command, history, root))
    wait_for("the topic", START_TIMEOUT_S, lambda: history.last("ready"), go.check_alive)
    classes = f"{CACHE / 'java-kafka/jars'}/*:{CACHE / 'java-kafka/classes'}"
    command = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", classes]
    command += ["StormMembers", *names.values(), mode, JAVA_MEMBERS, seed]
    java = stack.enter_context(Program("java", command, history, root))
    return go, java


class TooLate(RuntimeError):
    pass


def wait_for(what, seconds, condition, check):
    deadline = time.monotonic() + seconds
    while not (reached := condition()):
        check()
        if time.monotonic() > deadline:
            raise TooLate(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)
    return reached


class Weather:
    """What comes from outside during the storm: the Java process is stopped for longer than its
    sessions, and weir is killed."""

    def __init__(self, options, chance, weir, java):
        self.chance = chance
        self.weir = weir
        self.java = java
        self.kill_every_s = options.kill_every
        self.kills = self.stops = 0
        now = time.monotonic()
        self.kill_at = now + options.kill_every if options.kill_every else float("inf")
        self.stop_at = now + chance.uniform(5, 8)
        self.go_on_at = float("inf")

    def blow(self):
        now = time.monotonic()
        if now >= self.stop_at:
            self.java.process.send_signal(signal.SIGSTOP)
            self.stops += 1
            self.go_on_at = now + self.chance.uniform(4, 9)
            self.stop_at = self.go_on_at + self.chance.uniform(10, 40)
        if now >= self.go_on_at:
            self.calm()
        if now >= self.kill_at:
            self.weir.kill()
            time.sleep(self.chance.uniform(0, 1))
            self.weir.start()
            self.kills += 1
            self.kill_at = now + self.kill_every_s

    def calm(self):
        self.java.process.send_signal(signal.SIGCONT)
        self.go_on_at = float("inf")


def owned_and_still(history):
    owners = history.owners()
    if sorted(owners) != list(range(PARTITIONS)):
        return False
    if any(len(members) != 1 for members in owners.values()):
        return False
    return time.monotonic_ns() - history.changed_at > STILL_S * 1e9


def read_to_the_end(history):
    return not checks.all_committed([history.last("observed"), history.last("ended")])


def storm(mode, options, seed, bootstrap, weir, history, root):
    """One storm, written into `history`; returns what to print of it."""
    chance = random.Random(seed)
    with contextlib.ExitStack() as stack:
        go, java = start_members(stack, mode, bootstrap, seed, history, root)

        def check():
            go.check_alive()
            java.check_alive()

        # Starting a JVM is no part of the storm.
        wait_for("a Java member", START_TIMEOUT_S, lambda: has_java_member(history), check)
        go.say("storm")
        weather = Weather(options, chance, weir, java)
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            check()
            weather.blow()
            time.sleep(0.05)
        weather.calm()
        for program in (go, java):
            program.say("quiet")
        settled_s = quiet(go, history, check)
        for program in (go, java):
            program.say("stop")
            program.process.wait(20)
            program.reader.join(20)
    return figures(history, settled_s) | {"java_stops": weather.stops, "kills": weather.kills}


def quiet(go, history, check):
    """Waits until all is as it should be, and has the broker asked. What is missing when the quiet
    is over is for the checks to say. Returns after how many seconds the last owner changed."""
    began = time.monotonic()
    settled_s = None

    def wait_in_quiet(what, condition):
        left_s = max(began + QUIET_S - time.monotonic(), 1)
        wait_for(what, left_s, condition, check)

    with contextlib.suppress(TooLate):
        wait_in_quiet("the last record", lambda: history.last("quiet"))
        wait_in_quiet("an owner for each partition", lambda: owned_and_still(history))
        settled_s = round(max(history.changed_at / 1e9 - began, 0), 1)
    go.say("conclude")
    wait_for(
        "the broker's description",
        START_TIMEOUT_S,
        lambda: history.last("described") or history.last("failed"),
        check,
    )
    if history.last("ended"):
        with contextlib.suppress(TooLate):
            wait_in_quiet("the last commits", lambda: read_to_the_end(history))
    return settled_s


def has_java_member(history):
    members = {member for members in history.owners().values() for member in members}
    return any(member.startswith("java") for member in members)


def figures(history, settled_s):
    counts = collections.Counter(event["event"] for event in history.events)
    kinds = ("joined", "left", "died", "paused", "committed", "refused", "fenced", "observed")
    lost = [e for e in history.events if e["event"] == "lost" and e.get("partitions")]
    generations = {e["generation"] for e in history.events if e["event"] == "assigned"}
    return {kind: counts[kind] for kind in kinds} | {
        "lost": len(lost),
        "generations": len(generations),
        "records": sum((history.last("ended") or {"ends": {}})["ends"].values()),
        "settled_s": settled_s,
    }


def judge(mode, events):
    """Raises if anything is wrong, or if the storm was none."""
    found = checks.faults(events, mode, PARTITIONS)
    if found:
        raise RuntimeError(checks.told(found))
    happened = collections.Counter(event["event"] for event in events)
    for kind in ("left", "died", "paused", "committed"):
        if not happened[kind]:
            raise RuntimeError(f"no member has {kind}: that was no storm")
    return checks.prove(events, mode, PARTITIONS)


def run_mode(mode, options, seed, root):
    with contextlib.ExitStack() as stack:
        bootstrap, weir = options.bootstrap, None
        if bootstrap is None:
            flags = []
            if mode == "consumer":
                flags = [word for item in SETTINGS.items() for word in ("--set", "%s=%s" % item)]
            weir = stack.enter_context(Weir(root / "data", *flags))
            bootstrap = weir.kafka
        history = History()
        try:
            seen = storm(mode, options, seed, bootstrap, weir, history, root)
        finally:
            with (root / "events.json").open("w") as kept:
                kept.writelines(json.dumps(event) + "\n" for event in history.in_order())
        events = history.in_order()
        falsehoods = judge(mode, events)
        if weir:
            weir.kill()  # How it stops is for other tests.
    return {"mode": mode, "seed": seed} | seen | {"falsehoods_found": falsehoods}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--seconds", type=float, default=20, help="of storm, in each mode")
    parser.add_argument("--kill-every", type=float, metavar="SECONDS", help="kill -9 of weir")
    parser.add_argument("--bootstrap", help="another broker than a weir of its own")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    options = parser.parse_args()
    if options.bootstrap and options.kill_every:
        parser.error("only a weir of its own can be killed")
    failed = 0
    for mode in options.modes.split(","):
        root = pathlib.Path(tempfile.mkdtemp(prefix=f"weir-storm-{mode}-"))
        started = time.monotonic()
        try:
            seen = run_mode(mode, options, options.seed, root)
        except Exception as failure:
            failed += 1
            print(
                f"FAIL {mode}: {type(failure).__name__}: {failure};"
                f" seed {options.seed}; kept: {root}",
                flush=True,
            )
            continue
        shutil.rmtree(root)
        seen["seconds"] = round(time.monotonic() - started, 1)
        print(f"PASS {mode}: {json.dumps(seen)}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
