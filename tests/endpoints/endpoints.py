"""The client commands mean the same whatever they talk to.

`kafka.txt` is played on Apache Kafka, on weir by its Kafka dialect and on weir by its native API;
`kinesis.txt` on kinesis-mock, on weir by its Kinesis dialect and on weir by its native API. The
lines name no endpoint: WEIR_ENDPOINT does. What is printed has to be the same, ids, times and
positions masked; `allowed.toml` names each difference that may be, with its reason.
`refusals.txt` is played on the real servers, and what it prints stands in it. `signed` has a weir
check signatures, and TLS.

    endpoints.py [--update]     --update writes the answers of refusals.txt
"""

import argparse
import difflib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness.allowed import Allowed
from harness.cases import Cases
from harness.kafka_process import Kafka
from harness.kinesis_mock_process import KinesisMock
from harness.ports import free_port
from harness.weir_process import Weir, binary

TIMEOUT_S = 60
# Only why something is refused: servers say it in their own words.
JQ_REASON = 'jq_reason() { grep -o \'"reason":"[^"]*"\'; }; '
WORDS = [
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"\b1[789]\d{11}\b"), "<ms>"),
    (re.compile(r"127\.0\.0\.1:\d{2,}"), "<address>"),
    (re.compile(r'"sequence_number":( ?)"\d{50,}"'), r'"sequence_number":\1<number>'),
]


def lines_of(name):
    return (HERE / name).read_text().splitlines()


def environment(root, **variables):
    return {
        "PATH": f"{binary().resolve().parent}:/usr/bin:/bin",
        "HOME": str(root),
        "COLUMNS": "100",
        **variables,
    }


def played(line, variables, directory):
    """What a line prints, masked, one string for each line of it."""
    done = subprocess.run(
        ["bash", "-c", JQ_REASON + line[2:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="backslashreplace",
        env=variables,
        cwd=directory,
        timeout=TIMEOUT_S,
    )
    text = done.stdout
    for pattern, word in WORDS:
        text = pattern.sub(word, text)
    # Columns are as wide as what stands in them.
    printed = [" ".join(part.split()) for part in text.splitlines()]
    return printed + ([f"[exit {done.returncode}]"] if done.returncode else [])


def on_all(table, endpoints, brokers, root):
    """What each endpoint prints for each line of a table; `brokers` are those that kcat asks."""
    answers = {}
    for name, endpoint in endpoints.items():
        directory = root / f"{table}-{name}"
        directory.mkdir()
        broker = brokers.get(name, "")
        variables = environment(root, WEIR_ENDPOINT=endpoint, BROKER=broker)
        lines = [line for line in lines_of(f"{table}.txt") if line.startswith("$ ")]
        answers[name] = [(line, played(line, variables, directory)) for line in lines]
    return answers


def compared(reference, other, part, allowed):
    """Every line prints the same on both, but for what is allowed."""
    differences = []
    for (line, expected), (_, printed) in zip(reference, other, strict=True):
        wrong = allowed.differences(part, line[2:], expected, printed)
        differences += [f"{line}\n    {difference}" for difference in wrong]
    assert not differences, "\n" + "\n".join(differences)
    return f"{len(reference)} commands print the same"


def refusals(variables, root, update):
    path = HERE / "refusals.txt"
    written = path.read_text().splitlines()
    now = []
    for line in written:
        if line.startswith("#"):
            now.append(line)
        if line.startswith("$ "):
            now += [line, *(f"  {part}" for part in played(line, variables, root))]
    if update:
        path.write_text("\n".join(now) + "\n")
    elif now != written:
        difference = difflib.unified_diff(written, now, "expected", "printed", lineterm="")
        raise AssertionError("\n" + "\n".join(difference))
    return f"{sum(line.startswith('$ ') for line in now)} commands refuse, or say what they did"


def signed(root):
    """Signatures are the ones that a checking server makes itself, over HTTP and over TLS."""
    keys = root / "keys.toml"
    keys.write_text('[[key]]\nid = "me"\nsecret = "a/secret+of=mine"\n')
    keys.chmod(0o600)
    trusted = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "a/secret+of=mine"}
    wrong = {**trusted, "AWS_SECRET_ACCESS_KEY": "another"}
    line = "$ weir stream create s && echo v | weir produce s -k k && weir consume s --exit -f '%k %v\\n'"
    done = ["s made, with 1 partition", "1 record kept in s", "k v"]
    with Weir(root / "signed", "--quotas", "off", "--kinesis-keys", str(keys)) as weir:
        plain, tls = f"kinesis+http://{weir.kinesis}", f"kinesis+{weir.tls_endpoint}"
        authority = {"AWS_CA_BUNDLE": str(weir.authority)}
        for endpoint, variables in (
            (plain, trusted),
            (tls, {**trusted, **authority, "AWS_REGION": "eu-central-1"}),
        ):
            variables = environment(root, WEIR_ENDPOINT=endpoint, **variables)
            answer = played(line, variables, root)
            assert answer == done, answer
            answer = played("$ weir stream delete s", variables, root)
            assert answer == ["s removed"], answer
        refused = (
            (plain, wrong, "not_allowed"),
            (plain, {**trusted, "AWS_ACCESS_KEY_ID": "you"}, "not_allowed"),
            (tls, {**trusted, "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}, "unreachable"),
        )
        for endpoint, variables, reason in refused:
            variables = environment(root, WEIR_ENDPOINT=endpoint, **variables)
            answer = played("$ weir stream list -o jsonl | jq_reason", variables, root)
            assert answer == [f'"reason":"{reason}"'], answer
    return "right over HTTP and TLS; a wrong secret, a wrong key and an unknown authority are refused"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    assert os.access(binary(), os.X_OK), f"there is no {binary()}"
    cases = Cases()
    allowed = Allowed(HERE / "allowed.toml")
    with tempfile.TemporaryDirectory(prefix="weir-endpoints-") as root:
        root = pathlib.Path(root)
        ports = free_port(), free_port()
        with (
            Weir(root / "weir", "--quotas", "off") as weir,
            Kafka(root / "kafka", *ports) as kafka,
            KinesisMock(root / "mock.log") as mock,
        ):
            native = f"http://{weir.grpc}"
            endpoints = {
                "reference": f"kafka://{kafka.kafka}",
                "kafka": f"kafka://{weir.kafka}",
            }
            brokers = {"reference": kafka.kafka, "kafka": weir.kafka, "grpc": weir.kafka}
            answers = on_all("kafka", {**endpoints, "grpc": native}, brokers, root)
            endpoints = {
                "reference": f"kinesis+{mock.endpoint}",
                "kinesis": f"kinesis+http://{weir.kinesis}",
            }
            streams = on_all("kinesis", {**endpoints, "grpc": native}, {}, root)
            for name in ("kafka", "grpc"):
                part = f"Kafka and weir --{name}"
                cases.run(part, compared, answers["reference"], answers[name], part, allowed)
            for name in ("kinesis", "grpc"):
                part = f"kinesis-mock and weir --{name}"
                cases.run(part, compared, streams["reference"], streams[name], part, allowed)
            variables = environment(root, KAFKA=kafka.kafka, KINESIS=mock.endpoint)
            cases.run("refusals", refusals, variables, root, options.update)
            cases.run("signed", signed, root)
            for entry in allowed.entries:
                cases.run(f"allowed: {entry}", entry.occurs)
    cases.finish()


if __name__ == "__main__":
    main()
