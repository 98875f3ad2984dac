"""What the Kinesis API costs the broker, without quotas.

    throughput   PutRecords (500 x 1 KB to 64 shards, 8 connections, HTTP/1.1) and GetRecords in JSON
                 and in CBOR by `weir bench`: MB per second of the broker's processor time; at least
                 60 in and 150 out
    latency      PutRecord on one connection, half the answers within: 0.5 ms with `interval`; with
                 `group` 1.5 x the fdatasync measured just before in the same directory + 0.3 ms
    memory       RssAnon while all that was written is held and was read: at most 100 MB

A figure over its limit is a failure with --strict only, for other work on the machine bends the
latencies; what fails without it too is a record that is not there.
"""

import argparse
import base64
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "harness"))

import kinesis_wire
from cases import Cases
from flush_time import fdatasync_ms
from weir_process import Weir, binary

SHARDS = 64
CONNECTIONS = 8
RECORDS_PER_PUT, RECORD_BYTES = 500, 1000
MB_PER_CPU_SECOND_MIN = {"produce": 60, "consume": 150}
PUT_RECORD_BYTES = 100
INTERVAL_MS_MAX = 0.5
GROUP_FLUSHES, GROUP_MS = 1.5, 0.3
RSS_ANON_BYTES_MAX = 100e6


class Figures:
    def __init__(self, strict):
        self.strict = strict

    def judge(self, text, kept):
        """The text of a figure; over its limit it fails or is marked, as the run is strict."""
        if kept:
            return text
        assert not self.strict, f"over the limit: {text}"
        return f"over the limit (no failure without --strict): {text}"


def create_stream(weir, name, shards):
    with kinesis_wire.Connection(weir.kinesis) as connection:
        members = {"StreamName": name, "ShardCount": shards}
        connection.call("CreateStream", members).expect(200)


def bench(weir, what, encoding, records, *options):
    command = [
        str(binary()), "bench", what,
        "--kinesis", weir.endpoint,
        "--http", f"http://{weir.http}",
        "--topic", encoding,
        "--encoding", encoding,
        "--connections", str(CONNECTIONS),
        "--records", str(records),
        "--output", "json",
        *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"weir bench {what}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def throughput(weir, figures, what, encoding, records, *options):
    report = bench(weir, what, encoding, records, *options)
    assert report["records"] == records, f"{report['records']} of {records} records"
    assert not report["errors"] and not report["throttled"], f"{report['errors']}"
    cpu_seconds_per_gb = report["broker"]["cpu_seconds_per_gb"]
    rate, least = 1000 / cpu_seconds_per_gb, MB_PER_CPU_SECOND_MIN[what]
    text = (
        f"{rate:.0f} MB per second of the broker's processor time (at least {least}), "
        f"{report['mb_per_second']:.0f} MB/s, p50 {report['latency_ms']['p50']:.1f} ms, "
        f"p99 {report['latency_ms']['p99']:.1f} ms"
    )
    return figures.judge(text, rate >= least)


def memory(weir, figures, held_bytes):
    rss_anon_bytes = weir.rss_anon_bytes()
    text = f"RssAnon {rss_anon_bytes / 1e6:.0f} MB with {held_bytes / 1e9:.2f} GB held and read"
    return figures.judge(text, rss_anon_bytes <= RSS_ANON_BYTES_MAX)


def put_record_ms(weir, puts):
    """Median and 99th percentile of PutRecord on one connection, one after the other."""
    create_stream(weir, "single", 1)
    data = base64.b64encode(bytes(PUT_RECORD_BYTES)).decode()
    body = json.dumps({"StreamName": "single", "Data": data, "PartitionKey": "key"}).encode()
    headers = kinesis_wire.signed("PutRecord") | {"Host": weir.kinesis}
    headers["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body
    taken = []
    with kinesis_wire.RawConnection(weir.kinesis) as connection:
        for _ in range(puts):
            started = time.perf_counter()
            connection.socket.sendall(request)
            answer = connection.socket.recv(1 << 16)
            taken.append(time.perf_counter() - started)
            assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"}"), answer
    taken.sort()
    return statistics.median(taken) * 1000, taken[len(taken) * 99 // 100] * 1000


def latency(figures, directory, policy, puts):
    weir = Weir(pathlib.Path(directory) / f"data-{policy}", "--quotas", "off", "--flush", policy)
    with weir:
        flush_ms = fdatasync_ms(directory, append_bytes=2 * PUT_RECORD_BYTES)
        p50, p99 = put_record_ms(weir, puts)
    limit_ms = INTERVAL_MS_MAX
    text = f"p50 {p50:.3f} ms, p99 {p99:.3f} ms"
    if policy == "group":
        limit_ms = GROUP_FLUSHES * flush_ms + GROUP_MS
        text += f" beside an fdatasync of {flush_ms:.3f} ms"
    return figures.judge(f"{text} (p50 at most {limit_ms:.3f} ms)", p50 <= limit_ms)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=50_000, help="of each encoding")
    parser.add_argument("--puts", type=int, default=1000)
    parser.add_argument("--strict", action="store_true")
    arguments = parser.parse_args()
    figures, cases = Figures(arguments.strict), Cases()
    with tempfile.TemporaryDirectory(prefix="weir-kinesisload-") as directory:
        for policy in ["interval", "group"]:
            name = f"PutRecord, --flush {policy}"
            cases.run(name, latency, figures, directory, policy, arguments.puts)
        with Weir(pathlib.Path(directory) / "data", "--quotas", "off") as weir:
            put = ["--batch", str(RECORDS_PER_PUT), "--size", str(RECORD_BYTES)]
            for encoding in ["json", "cbor"]:
                create_stream(weir, encoding, SHARDS)
                for what, options in [("produce", put), ("consume", [])]:
                    cases.run(
                        f"{what}, {encoding}", throughput,
                        weir, figures, what, encoding, arguments.records, *options,
                    )  # fmt: skip
            held_bytes = 2 * arguments.records * RECORD_BYTES
            cases.run("memory", memory, weir, figures, held_bytes)
    cases.finish()


if __name__ == "__main__":
    main()
