"""The one workload that every Kafka client of `tests/clients` does, as its Python programs share
it.

For each codec that the client has:

    create a topic of 4 partitions -> write 1,000 keyed records -> a group member reads at least
    500, commits, closes -> a new member of the same group goes on from the commit and reads
    exactly the rest

`Round` collects what was read and says what is wrong with it. The programs in other languages
(`../js`, `../go`, `../java-kafka`) do the same; a difference between them is a mistake.
"""

import argparse
import json
import sys
import time

PARTITIONS = 4
RECORDS = 1000
KEYS = 50
# The first group member stops after at least this many records.
HALF = 500
# No step of a round may take longer than this, in seconds.
DEADLINE_S = 60
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def arguments():
    """Where the broker is, and how this run's topics begin."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True, metavar="HOST:PORT")
    parser.add_argument("--topic-prefix", required=True)
    return parser.parse_args()


def key_of(number):
    return f"key-{number % KEYS:02}".encode()


def value_of(codec, number):
    """Long and repetitive enough that each codec makes it smaller."""
    return (f"{codec} record {number:04} " + "all work and no play " * 5).encode()


def header_of(number):
    return ("number", str(number).encode())


class Mismatch(Exception):
    """What came back is not what was written."""


class Round:
    """What one group read of one topic, in the order in which it came."""

    def __init__(self, codec):
        self.codec = codec
        self.numbers = []
        self.partition_of_key = {}
        self.deadline = time.monotonic() + DEADLINE_S

    def take(self, partition, key, value, headers):
        """One record as the client handed it over."""
        words = value.split(b" ", 3)
        number = int(words[2])
        if value != value_of(self.codec, number):
            raise Mismatch(f"{self.codec}: record {number} has another value: {value!r}")
        if key != key_of(number):
            raise Mismatch(f"{self.codec}: record {number} has key {key!r}")
        if list(headers) != [header_of(number)]:
            raise Mismatch(f"{self.codec}: record {number} has headers {headers!r}")
        if self.partition_of_key.setdefault(key, partition) != partition:
            raise Mismatch(f"{self.codec}: key {key!r} lies in two partitions")
        self.numbers.append(number)

    def wants_more(self, count):
        """Whether fewer than `count` records came so far; ends the run when that lasts too long."""
        if len(self.numbers) >= count:
            return False
        if time.monotonic() > self.deadline:
            raise Mismatch(
                f"{self.codec}: only {len(self.numbers)} of {count} records came in {DEADLINE_S} s"
            )
        return True

    def check(self, first_half_count):
        """Every record once, in order per key, and both members had a share."""
        if not HALF <= first_half_count < RECORDS:
            raise Mismatch(
                f"{self.codec}: the first member read {first_half_count} records, not its share"
            )
        if sorted(self.numbers) != list(range(RECORDS)):
            missing = sorted(set(range(RECORDS)) - set(self.numbers))
            twice = sorted({n for n in self.numbers if self.numbers.count(n) > 1})
            raise Mismatch(
                f"{self.codec}: {len(missing)} records missing {missing[:5]},"
                f" {len(twice)} read twice {twice[:5]};"
                f" the first member had read {first_half_count}"
            )
        last_of_key = {}
        for number in self.numbers:
            if last_of_key.get(number % KEYS, -1) > number:
                raise Mismatch(
                    f"{self.codec}: record {number} came after {last_of_key[number % KEYS]}"
                )
            last_of_key[number % KEYS] = number


def report(client, version, checks, started, error=None):
    """Prints the one line of result and ends the program."""
    result = {
        "client": client,
        "version": version,
        "ok": error is None,
        "checks": checks,
        "seconds": round(time.monotonic() - started, 2),
    }
    if error is not None:
        result["error"] = f"{type(error).__name__}: {error}"
        print(f"{client}: {result['error']}", file=sys.stderr)
    print(json.dumps(result), flush=True)
    sys.exit(0 if error is None else 1)
