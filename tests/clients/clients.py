"""Runs the stock clients, one small program each, and says which of them pass.

Against a weir of its own, with the shard quotas of AWS, or against the servers that `--bootstrap`
and `--endpoint` name (the reference servers of `../reference/run`, on which the programs were
proven). Those of Kinesis run twice against an own weir: plain, and over TLS (`NAME/tls`), where they
trust weir's authority by the means that each has for that; each request's signature is verified.
Three programs run at a time. Each prints one line of JSON; it is printed here behind PASS
or FAIL.
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import uuid

CLIENTS = pathlib.Path(__file__).resolve().parent
CACHE = CLIENTS.parent / ".cache"
sys.path.insert(0, str(CLIENTS.parent))

from harness import aws
from harness.weir_process import Weir

PYTHON = sys.executable
TIMEOUT_S = 240
# The Kinesis programs mostly wait for the quotas of their shards.
AT_ONCE = 3


def java(name, program):
    return ["java", "-cp", f"{CACHE / name / 'jars'}/*:{CACHE / name / 'classes'}", program]


KAFKA = {
    "kcat": [CLIENTS / "kcat/kcat_client"],
    "confluent-kafka": [PYTHON, CLIENTS / "python/confluent_kafka_client.py"],
    "kafka-python": [PYTHON, CLIENTS / "python/kafka_python_client.py"],
    "aiokafka": [PYTHON, CLIENTS / "python/aiokafka_client.py"],
    "kafkajs": ["node", CLIENTS / "js/kafkajs_client.js"],
    "franz-go": [CACHE / "bin/franz-go"],
    "sarama": [CACHE / "bin/sarama"],
    "java": java("java-kafka", "KafkaClient"),
}
KINESIS = {
    "aws-sdk-java-v2": java("java-kinesis", "KinesisClientCheck"),
    "boto3": [PYTHON, CLIENTS / "python/boto3_client.py"],
    "aws-sdk-js-v3": ["node", CLIENTS / "js/kinesis_client.js"],
    "aws-sdk-go-v2": [CACHE / "bin/kinesis"],
    "aws-sdk-rust": [CACHE / "bin/rust-kinesis"],
}


TLS = {f"{name}/tls": command for name, command in KINESIS.items()}
TRUST_STORE_PASSWORD = "changeit"


def arguments_of(name, servers):
    run = f"{name.replace('/', '-')}-{uuid.uuid4().hex[:8]}"
    if name in KAFKA:
        return [*KAFKA[name], "--bootstrap", servers.kafka, "--topic-prefix", run]
    endpoint = servers.tls_endpoint if name in TLS else servers.endpoint
    arguments = [*(KINESIS | TLS)[name], "--endpoint", endpoint, "--stream", run]
    return [*arguments, "--expect-throttle"] if servers.quotas else arguments


def trusting(authority):
    """The variables by which SDKs are told to trust another authority."""
    store = pathlib.Path(authority).with_name("trust.p12")
    if not store.exists():
        subprocess.run(
            ["keytool", "-importcert", "-noprompt", "-alias", "weir", "-file", authority,
             "-keystore", store, "-storepass", TRUST_STORE_PASSWORD],
            check=True, capture_output=True,
        )  # fmt: skip
    options = {"trustStore": store, "trustStorePassword": TRUST_STORE_PASSWORD}
    return {
        "AWS_CA_BUNDLE": authority,
        "NODE_EXTRA_CA_CERTS": authority,
        "SSL_CERT_FILE": authority,
        "JAVA_TOOL_OPTIONS": " ".join(f"-Djavax.net.ssl.{o}={v}" for o, v in options.items()),
    }


def run_client(name, servers):
    """Runs one program; returns whether it passed and what it printed."""
    environment = os.environ | aws.ENVIRONMENT | {"KAFKAJS_NO_PARTITIONER_WARNING": "1"}
    if name in TLS:
        environment |= servers.trust
    try:
        done = subprocess.run(
            list(map(str, arguments_of(name, servers))),
            env=environment, capture_output=True, text=True, timeout=TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as expired:
        output = ((expired.stdout or b"") + (expired.stderr or b"")).decode(errors="replace")
        return False, f"{name}: not done after {TIMEOUT_S} s\n{output[-4000:]}"
    if done.returncode != 0:
        return False, f"{name}: {done.stdout.strip()}\n{done.stderr[-4000:]}"
    return True, f"{name}: {done.stdout.strip()}"


class External:
    """Servers that somebody else started; they may know no quotas."""

    quotas = False

    def __init__(self, kafka, endpoint):
        self.kafka = kafka
        self.endpoint = endpoint


@contextlib.contextmanager
def own_weir():
    with tempfile.TemporaryDirectory(prefix="weir-clients-") as root:
        keys = pathlib.Path(root) / "keys.toml"
        keys.write_text(aws.KEYS)
        keys.chmod(0o600)
        with Weir(pathlib.Path(root) / "data", "--kinesis-keys", str(keys)) as weir:
            weir.quotas = True
            weir.trust = trusting(weir.authority)
            yield weir


def main():
    # The longest first.
    names = [*KINESIS, *TLS, *KAFKA]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--bootstrap", metavar="HOST:PORT", help="a Kafka broker instead of an own weir"
    )
    parser.add_argument(
        "--endpoint", metavar="URL", help="a Kinesis endpoint instead of an own weir"
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all by default"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"no such client: {', '.join(unknown)}")
    chosen = options.names or names
    if options.bootstrap or options.endpoint:
        chosen = [
            name
            for name in chosen
            if name not in TLS and (options.bootstrap if name in KAFKA else options.endpoint)
        ]
        servers = contextlib.nullcontext(External(options.bootstrap, options.endpoint))
    else:
        servers = own_weir()
    failed = 0
    with servers as there, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(run_client, name, there): name for name in chosen}
        for done in concurrent.futures.as_completed(running):
            passed, output = done.result()
            failed += not passed
            print("PASS" if passed else "FAIL", output or running[done], flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
