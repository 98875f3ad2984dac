"""Every call of kadm and of confluent-kafka's AdminClient, made to Apache Kafka and to weir, and
what the clients show of the answers compared.

    admin.py [--only kadm|confluent] [--show] [--against-itself]

Both brokers are fresh. Beyond what each run makes up (ids, ports, directories, free space), the
only differences that pass are those of `allowed.toml`. `--against-itself` puts a second Kafka in weir's
place, to prove the calls right: nothing may differ then. The Java AdminClient is in ../parity.
"""

import argparse
import concurrent.futures
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from allowed import Allowed
from cases import Cases
from kafka_process import Kafka
from ports import free_port
from weir_process import REPOSITORY, Weir

HERE = pathlib.Path(__file__).parent
ALLOWED = HERE / "allowed.toml"
CLIENTS = {
    "kadm": [str(REPOSITORY / "tests/.cache/bin/kadm")],
    "confluent": [sys.executable, "-W", "ignore", str(HERE / "confluent_admin.py")],
}
CLIENT_TIMEOUT_S = 150


def steps(client, broker):
    """What a client shows of each of its calls to a broker: lines, by the name of the step."""
    output = subprocess.run(
        [*CLIENTS[client], broker.kafka],
        capture_output=True, text=True, timeout=CLIENT_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert output.returncode == 0, f"{client} ended with {output.returncode}: {output.stderr}"
    words = words_of(broker)
    shown = (json.loads(line) for line in output.stdout.splitlines())
    # Sorted, since ids are a part of the paths; a path names all that stands above its value.
    return {
        step["step"]: sorted(replaced(line, words) for line in step["lines"]) for step in shown
    }


def words_of(broker):
    """The expressions of what each run makes up, and the word for each."""
    port = broker.kafka.rsplit(":", 1)[1]
    table = [
        (re.escape(str(broker.data_dir)) + r"(/logs?)?", "<data>"),
        (rf"\b{port}\b", "<port>"),
        (r"\b(localhost|127\.0\.0\.1)\b", "<host>"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uuid>"),
        (r"(?<=[ \[])(?!A{22})[A-Za-z0-9_/+-]{22}(==)?(?=\]|$)", "<id>"),
        (r"(CONTROLLER://<host>|\d@<host>):\d+", r"\1:<port>"),
        (r"((Usable|Total)Bytes): \d+", r"\1: <bytes>"),
        (r"(LastTimestamp): \d+", r"\1: <now>"),
        (r"(ProducerID): \d+", r"\1: <id>"),
    ]
    return [(re.compile(pattern), word) for pattern, word in table]


def replaced(line, words):
    for pattern, word in words:
        line = pattern.sub(word, line)
    return line


def compare(allowed, client, step, kafka, weir):
    lines = allowed.differences(client, step, kafka, weir)
    assert not lines, f"{len(lines)} lines differ (-Kafka +weir): " + " | ".join(lines[:12])
    return f"{len(kafka)} lines"


@contextlib.contextmanager
def brokers(root, against_itself):
    """Kafka, and weir or what stands in its place."""
    kafka = Kafka(root / "kafka", free_port(), free_port())
    if against_itself:
        other = Kafka(root / "other", free_port(), free_port())
    else:
        other = Weir(root / "weir")
    with kafka, other:
        yield kafka, other


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CLIENTS)
    parser.add_argument("--against-itself", action="store_true", help="Kafka in weir's place")
    parser.add_argument("--show", action="store_true", help="print what Kafka showed")
    options = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="weir-admin-"))
    cases, allowed = Cases(), Allowed(ALLOWED)
    if options.against_itself:
        allowed.entries = []
    with (
        brokers(root, options.against_itself) as both,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        for client in [options.only] if options.only else CLIENTS:
            kafka, weir = pool.map(steps, [client, client], both)
            for step, lines in kafka.items():
                if options.show:
                    print("\n".join([f"  [{client}: {step}]", *(f"    {line}" for line in lines)]))
                cases.run(
                    f"{client}: {step}", compare, allowed, client, step, lines, weir.get(step, [])
                )
    for entry in [] if options.only else allowed.entries:
        cases.run(f"allowed: {entry}", entry.occurs)
    if cases.failed:
        print(f"the logs are in {root}", file=sys.stderr)
    else:
        shutil.rmtree(root)
    cases.finish()


if __name__ == "__main__":
    main()
