"""One kinesis-mock (npm's kinesis-local) for a test, the counterpart of `weir_process` and
`kafka_process`: it keeps its data in memory.
"""

import os
import pathlib
import signal
import socket
import subprocess
import time

from harness.pins import load
from harness.ports import free_port

TESTS = pathlib.Path(__file__).resolve().parent.parent
READY_TIMEOUT_S = 30
STOP_TIMEOUT_S = 5


def package():
    """Where `tests/install kinesis-mock` put it."""
    version = load()["reference"]["kinesis-local"]
    return TESTS / f".cache/reference/kinesis-local@{version}/node_modules/kinesis-local"


class KinesisMock:
    """A server that is not started yet; its log goes to `log_path`."""

    def __init__(self, log_path):
        self.log_path = pathlib.Path(log_path)
        self.port = free_port()
        self.process = None

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        environment = {
            **os.environ,
            "KINESIS_MOCK_PLAIN_PORT": str(self.port),
            "KINESIS_MOCK_TLS_PORT": str(free_port()),
            "LOG_LEVEL": "WARN",
        }
        with self.log_path.open("ab") as log:
            # It reads its certificate from the directory that it is started in.
            self.process = subprocess.Popen(
                ["node", "main.js"], cwd=package(), env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"it did not start; see {self.log_path}") from None
                time.sleep(0.1)

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
