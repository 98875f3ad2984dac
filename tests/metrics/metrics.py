"""What Prometheus and the dashboards that people have see of a loaded weir.

    exposition   both formats; promtool reads the older one and likes weir's own names
    numbers      what was written, committed and left is what weir's own names say
    latency      the stages of a request add up to the whole
    dashboards   every query of dashboards.toml returns data, and the right number where it is known
    own          every query of docs/grafana/weir.json returns data
    levels       log levels that change while weir runs
    minutes      what CloudWatch shows of a stream, by YACE's names, of the last whole minute
    log form     text on a terminal, JSON otherwise
"""

import argparse
import json
import os
import pathlib
import pty
import re
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request

from load import CLICKS, GROUP, STREAM, TOPIC, Load
from prometheus import Prometheus, promtool

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from harness import aws
from harness.cases import Cases
from harness.weir_process import REPOSITORY, Weir, binary

OWN_DASHBOARD = REPOSITORY / "docs/grafana/weir.json"
FOREIGN = ("kafka_", "aws_kinesis_", "redpanda_")


def scrape(weir, accept="*/*"):
    """The media type and the text of `/metrics`."""
    request = urllib.request.Request(f"http://{weir.http}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def api(weir, path, body=None, method="GET", media_type="application/json"):
    """A request to the control API: its status and its JSON."""
    data = None if body is None else json.dumps(body).encode()
    url = f"http://{weir.http}/api/v1/{path}"
    request = urllib.request.Request(url, data, {"Content-Type": media_type}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


# ---- what was scraped ----


def exposition(weir, prometheus):
    kind, text = scrape(weir)
    assert kind.startswith("application/openmetrics-text; version=1.0.0"), kind
    assert text.endswith("# EOF\n"), text[-200:]
    targets = prometheus.wait_until_up()
    assert all(target["lastError"] == "" for target in targets), targets
    kind, text = scrape(weir, "text/plain")
    assert kind.startswith("text/plain; version=0.0.4"), kind
    status, lines = promtool(text)
    # 3: it was read, and names are not as promtool would have them. Those are not ours to choose.
    ours = [line for line in lines if not line.startswith(FOREIGN)]
    assert status in (0, 3) and not ours, (status, ours)
    # The check can fail: a metric of ours that is named badly is found.
    status, found = promtool("# HELP weir_x X\n# TYPE weir_x counter\nweir_x 1\n")
    assert status == 3 and any(line.startswith("weir_x") for line in found), (status, found)
    return f"{len(text.splitlines())} lines, {len(lines)} remarks, all on others' names"


def total(prometheus, expression):
    samples = prometheus.query(expression)
    assert samples, f"no data: {expression}"
    return sum(value for _, value in samples)


def numbers(prometheus, load):
    known = load.known()
    of_topic = f'{{job="kafka",stream="{TOPIC}"}}'
    for expression, wanted in [
        (f"weir_stream_written_records_total{of_topic}", known["records"]),
        (f'weir_stream_written_records_total{{stream="{STREAM}"}}', CLICKS),
        (f"weir_group_lag{of_topic}", known["lag"]),
        (f'weir_group_members{{group="{GROUP}"}}', known["members"]),
        ('weir_partitions{job="kafka",state="open"}', known["all_partitions"]),
        ('weir_written_records_total{job="kafka",api="Produce"}', known["records"]),
    ]:
        found = total(prometheus, expression)
        assert found == wanted, (expression, found, wanted)
    held = total(prometheus, f"weir_stream_bytes{of_topic}")
    written = total(prometheus, f"weir_stream_written_bytes_total{of_topic}")
    assert held == written > known["records"] * 100, (held, written)
    read = total(prometheus, f"weir_stream_read_bytes_total{of_topic}")
    assert read >= known["committed"] * 100, read
    assert total(prometheus, 'weir_flush_seconds_count{job="kafka"}') > 0
    return f"{known['records']} records, {known['committed']} committed, {known['lag']} left"


def latency(prometheus):
    seen = []
    for dialect, call, stages in [
        ("kafka", "Produce", {"receive", "begin", "turn", "answer", "send"}),
        ("kafka", "Fetch", {"receive", "begin", "turn", "answer", "send"}),
        ("kinesis", "PutRecords", {"receive", "begin", "answer"}),
    ]:
        labels = f'{{job="kafka",dialect="{dialect}",api="{call}"}}'
        samples = prometheus.query(f"weir_request_stage_seconds_sum{labels}")
        by_stage = {sample["stage"]: value for sample, value in samples}
        assert set(by_stage) == stages, (call, by_stage)
        whole = total(prometheus, f"weir_request_seconds_sum{labels}")
        parts = sum(value for stage, value in by_stage.items() if stage != "receive")
        # Kinesis' total has the time around its two stages too; and requests are under way.
        assert 0.5 * whole < parts <= 1.001 * whole, (call, by_stage, whole)
        count = total(prometheus, f"weir_request_seconds_count{labels}")
        requests = total(prometheus, f"weir_requests_total{labels}")
        # A member's fetch waits while this is asked.
        assert requests - 10 <= count <= requests, (call, count, requests)
        seen.append(f"{call} {1e3 * whole / count:.2f} ms")
    return ", ".join(seen)


def replaced(expression, variables):
    for name, value in variables.items():
        expression = re.sub(rf"\$({name}\b|{{{name}}})", lambda _: value, expression)
    assert "$" not in expression, expression
    return expression


def dashboard(prometheus, load, board, weir):
    variables = {
        "job": board["job"], "instance": weir.http, "topic": TOPIC, "consumergroup": GROUP,
    }  # fmt: skip
    for selector, label in board.get("variables", []):
        values = prometheus.label_values(replaced(selector, variables), label)
        assert variables[label] in values, (selector, label, values)
    known = load.known()
    for query in board["query"]:
        samples = prometheus.query(replaced(query["expr"], variables))
        if "without" in query:
            assert not samples, f"{query['title']}: there is data: {samples}"
            continue
        assert samples, f"{query['title']}: no data"
        found = sum(value for _, value in samples)
        if query["is"] == "positive":
            assert found > 0, (query, samples)
        else:
            assert found == known[query["is"]], (query, samples, known)
    without = sum("without" in query for query in board["query"])
    return f"{len(board['query']) - without} queries" + (f", {without} without" if without else "")


def own(prometheus, weir):
    board = json.loads(OWN_DASHBOARD.read_text())
    assert board["templating"]["list"][0]["type"] == "datasource", "the data source is chosen"
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels), "ids are given twice"
    variables = {"instance": ".*", "stream": ".*", "__rate_interval": "1m"}
    for variable in board["templating"]["list"][1:]:
        selector, label = re.fullmatch(
            r"label_values\((\w+), (\w+)\)", variable["query"]["query"]
        ).groups()
        values = prometheus.label_values(selector, label)
        assert {"instance": weir.http, "stream": TOPIC}[label] in values, (selector, values)
    count = 0
    for panel in panels:
        assert (panel["type"] == "row") == (not panel.get("targets")), panel["title"]
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}", target
            assert prometheus.query(replaced(target["expr"], variables)), (
                f"{panel['title']}: no data for {target['expr']}"
            )
            count += 1
    return f"{count} queries in {len(panels)} panels"


# ---- the log ----


def levels(weir):
    def logged():
        """The modules of the lines that are debug, since the start."""
        lines = weir.log_path.read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [event["target"] for event in events if event.get("level") == "DEBUG"]

    def make_lines():
        # A connection that ends is a line of the Kafka dialect, an error one of Kinesis'.
        kinesis = aws.kinesis(weir.endpoint, retries={"max_attempts": 0})
        try:
            kinesis.describe_stream(StreamName="nowhere")
            raise AssertionError("there is no such stream")
        except kinesis.exceptions.ResourceNotFoundException:
            pass
        with socket.create_connection(tuple(weir.kafka.rsplit(":", 1))):
            pass
        time.sleep(0.3)

    start = {"levels": {"default": "info", "h2": "error"}}
    assert api(weir, "log-levels") == (200, start), api(weir, "log-levels")
    make_lines()
    assert logged() == [], "debug lines at info"
    status, now = api(weir, "log-levels", {"weir_kafka": "debug"}, "PUT")
    assert status == 200, now
    assert now == {"levels": start["levels"] | {"weir_kafka": "debug"}}, now
    make_lines()
    modules = logged()
    assert modules and all(module.startswith("weir_kafka") for module in modules), modules
    status, now = api(weir, "log-levels", {"weir_kinesis": "debug"}, "PUT")
    assert now["levels"] == start["levels"] | {"weir_kinesis": "debug"}, "in the others' place"
    before = len(modules)
    make_lines()
    modules = logged()[before:]
    assert modules and all(module.startswith("weir_kinesis") for module in modules), modules
    for body, why in [
        ({"weir_kafka": "loud"}, "is not a level"),
        ({"weir kafka": "info"}, "is not a module"),
        ({"weir_kafka": 3}, "expected a string"),
    ]:
        status, answer = api(weir, "log-levels", body, "PUT")
        assert status == 400 and why in answer["error"], (body, status, answer)
    form = api(weir, "log-levels", {"a": "info"}, "PUT", "text/plain")
    assert form[0] == 415, form
    assert api(weir, "log-levels", {}, "POST")[0] == 405
    assert api(weir, "log-levels")[1] == now, "what was refused has changed something"
    assert api(weir, "log-levels", method="DELETE") == (200, start)
    before = len(logged())
    make_lines()
    assert logged()[before:] == [], "debug lines after the levels were taken back"
    return "debug of one dialect, of the other, of none"


# ---- streams by the minute ----


def minutes(weir, prometheus):
    kinesis = aws.kinesis(weir.endpoint, retries={"max_attempts": 0})
    name = {"StreamName": "by-minute"}
    kinesis.create_stream(**name, ShardCount=1)
    records = [{"Data": b"12345", "PartitionKey": "key"} for _ in range(500)]
    kinesis.put_records(**name, Records=records)
    kinesis.put_records(**name, Records=records)
    throttled = kinesis.put_records(**name, Records=records)["FailedRecordCount"]
    assert throttled == 500, "the first 1,000 are the second's quota, and the clock stands"
    api(weir, "clock", {"advance_ms": 2_000}, "POST")
    kinesis.put_record(**name, Data=b"12345", PartitionKey="key")
    iterator = kinesis.get_shard_iterator(
        **name, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    page = kinesis.get_records(ShardIterator=iterator, Limit=1_000)
    assert len(page["Records"]) == 1_000
    selector = '{job="minutes",dimension_StreamName="by-minute"}'
    before = prometheus.query(f"aws_kinesis_incoming_records_sum{selector}")
    assert not before, "shown before the minute is over"
    status, answer = api(weir, "clock", {"advance_ms": 60_000}, "POST")
    assert status == 200, answer
    prometheus.wait_for_scrapes()
    wanted = {
        "incoming_records_sum": 1_001,
        "incoming_bytes_sum": 1_001 * 8,
        "put_record_success_sum": 1,
        "put_record_bytes_sum": 8,
        "put_records_success_sum": 2,
        "put_records_bytes_sum": 8_000,
        "put_records_total_records_sum": 1_500,
        "put_records_successful_records_sum": 1_000,
        "put_records_throttled_records_sum": 500,
        "put_records_failed_records_sum": 0,
        "write_provisioned_throughput_exceeded_sum": 500,
        "read_provisioned_throughput_exceeded_sum": 0,
        "get_records_success_sum": 1,
        "get_records_records_sum": 1_000,
        "get_records_bytes_sum": 8_000,
        "subscribe_to_shard_event_records_sum": 0,
    }
    for metric, value in wanted.items():
        found = prometheus.query(f"aws_kinesis_{metric}{selector}")
        assert [value] == [number for _, number in found], (metric, found, value)
    # What is left was written 2 s after the first of the stream, and read at once.
    age = total(prometheus, f"aws_kinesis_get_records_iterator_age_milliseconds_maximum{selector}")
    assert age == page["MillisBehindLatest"], (age, page["MillisBehindLatest"])
    for call in ("put_record", "put_records", "get_records"):
        took = total(prometheus, f"aws_kinesis_{call}_latency_average{selector}")
        assert 0 < took < 5_000, (call, took)
    api(weir, "clock", {"advance_ms": 60_000}, "POST")
    prometheus.wait_for_scrapes()
    assert total(prometheus, f"aws_kinesis_incoming_records_sum{selector}") == 0
    idle = prometheus.query(f"aws_kinesis_get_records_latency_average{selector}")
    assert not idle, "nobody called in the last minute"
    return f"{len(wanted)} sums, 3 averages, the age"


# ---- where the log goes ----


def log_form(root):
    """Runs weir with standard output once into a pipe and once into a terminal."""
    listeners = ("--kafka", "--kinesis", "--kinesis-tls", "--grpc", "--http")
    off = [part for listener in listeners for part in (listener, "off")]
    command = [str(binary()), "serve", "--ephemeral", *off]

    def run(name, output, first_output):
        """The log of a run that ends when it has said that it is ready, and what it said."""
        log = root / name
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdout=output, stderr=stream, cwd=root)
        said = first_output(process)
        process.terminate()
        assert process.wait(10) == 0, log.read_text()
        return log.read_text().splitlines(), said

    piped, ready = run("piped", subprocess.PIPE, lambda process: process.stdout.readline())
    assert json.loads(ready)["event"] == "ready", ready
    assert piped and all(json.loads(line)["level"] == "INFO" for line in piped), piped
    master, terminal = pty.openpty()
    try:
        shown, banner = run("shown", terminal, lambda _: os.read(master, 4096))
    finally:
        os.close(terminal)
        os.close(master)
    assert shown and not any(line.startswith("{") for line in shown), shown
    assert b"weir" in banner and not banner.startswith(b"{"), banner
    return f"{len(piped)} lines of JSON, {len(shown)} of text"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8, help="how long the load lasts")
    options = parser.parse_args()
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-metrics-") as root:
        root = pathlib.Path(root)
        with (
            Weir(root / "data", "--quotas", "off") as weir,
            Prometheus(root / "prometheus", {"kafka": weir.http}) as prometheus,
        ):
            load = Load(weir, aws.kinesis(weir.endpoint))
            load.prepare()
            prometheus.wait_until_up()
            load.run(options.seconds)
            prometheus.wait_for_scrapes()
            cases.run("exposition", exposition, weir, prometheus)
            cases.run("numbers", numbers, prometheus, load)
            cases.run("latency", latency, prometheus)
            boards = tomllib.loads((TESTS / "metrics/dashboards.toml").read_text())["dashboard"]
            for board in boards:
                cases.run(board["name"], dashboard, prometheus, load, board, weir)
            cases.run("own", own, prometheus, weir)
            load.close()
            cases.run("levels", levels, weir)
        with (
            Weir(root / "minutes", "--manual-clock") as weir,
            Prometheus(root / "prometheus-minutes", {"minutes": weir.http}) as prometheus,
        ):
            cases.run("minutes", minutes, weir, prometheus)
        cases.run("log form", log_form, root)
    cases.finish()


if __name__ == "__main__":
    main()
