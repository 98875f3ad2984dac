"""One `weir serve` process for a test: starts it, reads its ready line, kills or stops it, starts
it again.

Every test that runs weir does it through this module, so what the ready line looks like stands
here only. A second start uses the addresses that the first one got, as a service does that comes
back after a crash. The log of all starts goes to one file beside the data directory.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
READY_TIMEOUT_S = 30
STOP_TIMEOUT_S = 5


def binary():
    """The weir that the tests run; `WEIR_BINARY` names another."""
    return pathlib.Path(os.environ.get("WEIR_BINARY", REPOSITORY / "target/release/weir"))


class Weir:
    """A weir on `data_dir`, not yet started; `flags` are added to its command line."""

    def __init__(self, data_dir, *flags):
        self.data_dir = pathlib.Path(data_dir)
        self.flags = list(flags)
        self.log_path = self.data_dir.with_suffix(".log")
        self.process = None
        self.ready = None
        # Before the first start any free port will do.
        self.kafka = self.kinesis = self.kinesis_tls = self.grpc = self.http = "127.0.0.1:0"

    def command(self):
        return [
            str(binary()),
            "serve",
            "--data-dir", str(self.data_dir),
            "--kafka", self.kafka,
            "--kinesis", self.kinesis,
            "--kinesis-tls", self.kinesis_tls,
            "--grpc", self.grpc,
            "--http", self.http,
            "--log-format", "json",
            *self.flags,
        ]  # fmt: skip

    def start(self):
        """Starts it and waits until it serves."""
        assert self.process is None, "it runs already"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=log)
        ready = threading.Event()
        threading.Thread(
            target=self._read_output, args=(self.process.stdout, ready), daemon=True
        ).start()
        if not ready.wait(READY_TIMEOUT_S) or self.ready is None:
            self.kill()
            raise RuntimeError(f"weir did not become ready; its log ends so:\n{self.log_tail()}")
        listeners = ("kafka", "kinesis", "kinesis_tls", "grpc", "http")
        self.kafka, self.kinesis, self.kinesis_tls, self.grpc, self.http = (
            self.ready[listener][0] for listener in listeners
        )
        return self

    def _read_output(self, output, ready):
        """Takes the ready line; what follows goes to the log. The end of the output wakes `start`
        too.
        """
        self.ready = None
        with self.log_path.open("ab", buffering=0) as log:
            for line in output:
                try:
                    event = json.loads(line)
                except ValueError:
                    event = None
                if isinstance(event, dict) and event.get("event") == "ready":
                    self.ready = event
                    ready.set()
                log.write(line)
        ready.set()

    @property
    def endpoint(self):
        """The URL that an AWS SDK is given."""
        return f"http://{self.kinesis}"

    @property
    def tls_endpoint(self):
        """The same over TLS; `authority` is what to trust."""
        return f"https://{self.kinesis_tls}"

    @property
    def authority(self):
        return self.ready["tls_authority"]

    @property
    def pid(self):
        return self.process.pid

    def log_tail(self):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:])

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        """SIGTERM; it must end by itself with status 0 within five seconds."""
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(f"weir did not stop within {STOP_TIMEOUT_S} s of SIGTERM") from None
        if status != 0:
            raise RuntimeError(f"weir ended with status {status}:\n{self.log_tail()}")

    def cpu_seconds(self):
        """User and system time that the process has used so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_anon_bytes(self):
        """Memory of its own: no file pages, so no pages of mapped segments."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the kernel does not say RssAnon")

    def context_switches(self):
        """How often its threads have given up a processor, or were made to."""
        switches = 0
        for status in pathlib.Path(f"/proc/{self.pid}/task").glob("*/status"):
            for line in status.read_text().splitlines():
                if "ctxt_switches" in line:
                    switches += int(line.split()[1])
        return switches

    def __enter__(self):
        return self.start()

    def __exit__(self, failure, *_):
        if self.process is None:
            return
        if failure:
            print(f"the end of {self.log_path}:\n{self.log_tail()}", file=sys.stderr)
            self.kill()
        else:
            self.stop()
