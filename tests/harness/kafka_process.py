"""One Apache Kafka broker for a test, the counterpart of `weir_process`: fresh data, one node, all
copies of everything on it.

As a program (`kafka_process.py PORT [SETTING=VALUE…]`) it serves on that port until Ctrl-C;
`reference/run kafka` installs its jars first.
"""

import base64
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

TESTS = pathlib.Path(__file__).resolve().parent.parent
JARS = TESTS / ".cache/kafka-broker/jars"
READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15

SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data_dir}/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
"""


def java(*arguments, heap="512m"):
    """The command that runs a class of Kafka's jars."""
    return ["java", f"-Xmx{heap}", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*", *arguments]


class Kafka:
    """A broker on `data_dir`, not yet started; `settings` are lines added to its properties."""

    def __init__(self, data_dir, port, controller_port, settings=()):
        self.data_dir = pathlib.Path(data_dir)
        self.kafka = f"127.0.0.1:{port}"
        self.controller = f"127.0.0.1:{controller_port}"
        self.log_path = self.data_dir.with_suffix(".log")
        self.process = None
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.properties = self.data_dir / "server.properties"
        properties = SETTINGS.format(
            port=port, controller_port=controller_port, data_dir=self.data_dir
        )
        self.properties.write_text(properties + "".join(f"{line}\n" for line in settings))

    def launch(self):
        """Starts it without waiting; `await_ready` does."""
        assert self.process is None, "it runs already"
        storage_tool = java("kafka.tools.StorageTool", heap="128m")
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        with self.log_path.open("ab") as log:
            subprocess.run(
                [*storage_tool, "format", f"--cluster-id={cluster_id}", "-c", str(self.properties)],
                check=True,
                stdout=log,
                stderr=log,
            )
            self.process = subprocess.Popen(
                java("kafka.Kafka", str(self.properties)), stdout=log, stderr=log
            )

    def await_ready(self):
        """Waits until it accepts connections, which it does once it has caught up with itself."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        host, port = self.kafka.split(":")
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"Kafka did not start; see {self.log_path}") from None
                time.sleep(0.1)

    def stop(self):
        """SIGTERM, and kill -9 where that does not end it in time."""
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self):
        self.launch()
        self.await_ready()
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.stop()


def main():
    port = int(sys.argv[1])
    root = tempfile.mkdtemp(prefix="kafka-")
    try:
        with Kafka(pathlib.Path(root) / "data", port, port + 1, sys.argv[2:]) as kafka:
            print(f"Kafka serves on {kafka.kafka}", flush=True)
            kafka.process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
