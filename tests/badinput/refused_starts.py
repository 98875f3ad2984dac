"""Starts that must be refused in one sentence; `tests/badinput/run start`."""

import json
import pathlib
import subprocess
import tempfile

import kafka_wire
from cases import Cases
from weir_process import Weir, binary

REFUSED_S_MAX = 5
LISTENERS = ("kafka", "kinesis", "http")


def refused(*flags, says):
    """Starts a weir with these flags; returns the sentence with which it refuses."""
    done = subprocess.run(
        [str(binary()), "serve", *map(str, flags)],
        capture_output=True,
        text=True,
        timeout=REFUSED_S_MAX,
    )
    assert done.returncode > 0, f"status {done.returncode}"
    assert done.stdout == "", f"standard output has {done.stdout!r}"
    sentences = [sentence for line in done.stderr.splitlines() if (sentence := error_of(line))]
    assert len(sentences) == 1, f"standard error has {len(sentences)} errors: {done.stderr!r}"
    for text in says:
        assert text in sentences[0], f"{sentences[0]!r} does not say {text!r}"
    return f"status {done.returncode}: {sentences[0]}"


def error_of(line):
    """What a line of standard error complains of: programs are told in JSON, people without."""
    if not line.startswith("{"):
        return line
    entry = json.loads(line)
    return entry["message"] if entry["level"] == "ERROR" else None


class RefusedStarts:
    def __init__(self, weir, directory):
        self.weir = weir
        self.directory = directory
        self.free_ports = [f"--{listener}=127.0.0.1:0" for listener in LISTENERS]

    def second_process(self):
        data_dir = self.weir.data_dir
        sentence = refused("--data-dir", data_dir, *self.free_ports, says=[str(data_dir)])
        self.still_serves()
        return sentence

    def taken_port(self, listener):
        """By the other weir, which is named with its process id."""
        address = getattr(self.weir, listener)
        ports = [flag for flag in self.free_ports if not flag.startswith(f"--{listener}=")]
        flags = ["--data-dir", self.directory / "second", f"--{listener}", address, *ports]
        sentence = refused(*flags, says=[address, f"--{listener}", "weir", str(self.weir.pid)])
        self.still_serves()
        return sentence

    def taken_localhost_port(self):
        """`localhost` is refused when only one of its two addresses is taken."""
        port = self.weir.kafka.rsplit(":", 1)[1]
        flags = ["--data-dir", self.directory / "third", "--kafka", f"localhost:{port}"]
        return refused(*flags, *self.free_ports[1:], says=[f"127.0.0.1:{port}", "--kafka"])

    def start_after_refusals(self):
        """A refused start leaves nothing behind that hinders the next."""
        with Weir(self.directory / "second"):
            return "a start on the directory of a refused one succeeds"

    def file_as_directory(self):
        path = self.directory / "file"
        path.write_text("")
        return refused("--data-dir", path, *self.free_ports, says=[str(path)])

    def someone_elses_directory(self):
        """A newer weir's data is not touched."""
        path = self.directory / "newer"
        path.mkdir()
        (path / "FORMAT").write_text("a format that no weir has written\n")
        return refused("--data-dir", path, *self.free_ports, says=[str(path)])

    def bad_flags(self):
        sentences = [
            refused("--flush", "always", says=["--flush", "always"]),
            refused("--kafka", "nonsense", says=["--kafka", "nonsense"]),
            refused("--quotas=-1", says=["--quotas", "-1"]),
        ]
        return "; ".join(sentences)

    def unknown_setting(self):
        path = self.directory / "weir.toml"
        path.write_text("kafak = 'off'\n")
        return refused("--config", path, says=["kafak"])

    def still_serves(self):
        with kafka_wire.Connection(self.weir.kafka) as connection:
            assert kafka_wire.metadata(connection, []) == {}

    def cases(self):
        yield "a second process on the data directory", self.second_process
        for listener in LISTENERS:
            yield f"a taken port, --{listener}", self.taken_port, listener
        yield "a taken port, localhost", self.taken_localhost_port
        yield "a start after refusals", self.start_after_refusals
        yield "a file as data directory", self.file_as_directory
        yield "a data directory of an unknown format", self.someone_elses_directory
        yield "flags that mean nothing", self.bad_flags
        yield "an unknown key in the settings file", self.unknown_setting


def main():
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-starts-") as directory:
        directory = pathlib.Path(directory)
        with Weir(directory / "data") as weir:
            for name, case, *arguments in RefusedStarts(weir, directory).cases():
                cases.run(name, case, *arguments)
    cases.finish()


if __name__ == "__main__":
    main()
