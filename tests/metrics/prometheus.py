"""A Prometheus server of Debian's, which scrapes every second, and what it answers."""

import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from harness.ports import free_port

BIN = TESTS / ".cache/bin"
START_TIMEOUT_S = 60


class Prometheus:
    """Scrapes `targets`: the address of each job, by its name. Keeps its data in `root`."""

    def __init__(self, root, targets):
        self.root, self.targets = pathlib.Path(root), targets
        self.root.mkdir()
        self.address = f"127.0.0.1:{free_port()}"
        self.process = None

    def __enter__(self):
        jobs = [
            {"job_name": job, "static_configs": [{"targets": [target]}]}
            for job, target in self.targets.items()
        ]
        settings = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        # YAML that is JSON too.
        config = self.root / "prometheus.yml"
        config.write_text(json.dumps({"global": settings, "scrape_configs": jobs}))
        with (self.root / "prometheus.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(BIN / "prometheus"),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={self.root / 'tsdb'}",
                    f"--web.listen-address={self.address}",
                ],
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def get(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {json.load(error)['error']}") from None

    def wait_until_up(self):
        """Waits until every target has been scraped well; says what is wrong with one that is
        not."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            targets = []
            try:
                targets = self.get("targets", state="active")["activeTargets"]
            except (urllib.error.URLError, ConnectionError):
                assert self.process.poll() is None, (self.root / "prometheus.log").read_text()
            if len(targets) == len(self.targets) and all(t["health"] == "up" for t in targets):
                return targets
            assert time.monotonic() < deadline, targets
            time.sleep(0.2)

    def wait_for_scrapes(self, count=2):
        """Returns when every target has been scraped so often from now on."""
        for _ in range(count):
            before = {t["scrapeUrl"]: t["lastScrape"] for t in self.wait_until_up()}
            while any(before[t["scrapeUrl"]] == t["lastScrape"] for t in self.wait_until_up()):
                time.sleep(0.2)

    def query(self, expression):
        """The samples of an instant query: labels and value of each."""
        data = self.get("query", query=expression)
        assert data["resultType"] == "vector", data
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def label_values(self, selector, label):
        """What Grafana's label_values(selector, label) gives."""
        return self.get(f"label/{label}/values", **{"match[]": selector})


def promtool(text):
    """What `promtool check metrics` says of metrics in the older text format: the status, and its
    lines."""
    done = subprocess.run(
        [str(BIN / "promtool"), "check", "metrics"], input=text.encode(), capture_output=True
    )
    return done.returncode, (done.stdout + done.stderr).decode().splitlines()
