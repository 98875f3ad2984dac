"""What only a terminal shows, colours and a line that says how far it is; and that a pipe, a file
and whoever sets NO_COLOR see none of it.

    terminal.py     needs a built weir
"""

import os
import pathlib
import pty
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness.cases import Cases
from harness.weir_process import Weir, binary

ESCAPE = b"\x1b["
BOLD, RED = b"\x1b[1m", b"\x1b[1m\x1b[31m"
TIMEOUT_S = 120
# A line appears after 0.3 s: as many records as take longer, here.
RECORDS_FIRST, RECORDS_MAX = 50_000, 12_800_000


def on_terminal(arguments, environment):
    """All that a person sees, standard output and errors."""
    pid, descriptor = pty.fork()
    if pid == 0:
        os.execve(binary(), ["weir", *arguments], environment)
    seen = b""
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    _, status = os.waitpid(pid, 0)
    os.close(descriptor)
    return seen, os.waitstatus_to_exitcode(status)


def piped(arguments, environment):
    done = subprocess.run(
        [binary(), *arguments], env=environment, capture_output=True, timeout=TIMEOUT_S
    )
    return done.stdout + done.stderr, done.returncode


def colours(arguments, wanted, environment):
    """On a terminal, and nowhere else; the words are the same."""
    seen, code = on_terminal(arguments, environment)
    assert wanted in seen, seen
    plain, plain_code = on_terminal(arguments, environment | {"NO_COLOR": "1"})
    assert ESCAPE not in plain, plain
    assert code == plain_code
    elsewhere, code = piped(arguments, environment)
    assert ESCAPE not in elsewhere and code == plain_code, elsewhere
    # An empty NO_COLOR is as if it were not set.
    assert wanted in on_terminal(arguments, environment | {"NO_COLOR": ""})[0]
    return wanted.decode().replace("\x1b", "ESC")


def progress(command_for, environment):
    count = RECORDS_FIRST
    while True:
        arguments = command_for(count)
        seen, code = on_terminal(arguments, environment)
        assert code == 0, seen[:500]
        if b"[#" in seen:
            break
        assert count < RECORDS_MAX, f"no line of {count} records: {seen[:500]}"
        count *= 4
    assert b" %  " in seen, seen[:500]
    # What is left is the result; the line was taken away before.
    last = seen.rsplit(b"\r\x1b[K", 1)[-1]
    assert b" %  " not in last and last.strip(), last
    seen, code = on_terminal(arguments, environment | {"TERM": "dumb"})
    assert code == 0 and b"[#" not in seen, seen[:500]
    seen, code = piped(arguments, environment)
    assert code == 0 and b"[#" not in seen and b"\r" not in seen, seen[:500]
    return f"{count} records: {last.strip().splitlines()[0].decode()}"


def main():
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-terminal-") as root:
        root = pathlib.Path(root)
        with Weir(root / "data", "--quotas", "off") as weir:
            environment = {
                "WEIR_ENDPOINT": weir.grpc, "PATH": "/usr/bin:/bin", "TERM": "xterm",
            }  # fmt: skip
            made = piped(["topic", "create", "orders"], environment)
            assert made[1] == 0, made
            doctor = ["doctor", "--kafka", weir.kafka]
            for off in ("kinesis", "grpc", "http"):
                doctor += [f"--{off}", "off"]
            for name, arguments, wanted in [
                ("heading", ["topic", "list"], BOLD),
                ("failure", ["topic", "describe", "nobody"], RED),
                ("doctor", [*doctor, "--data-dir", str(root)], b"\x1b[32mok"),
                ("help", ["topic", "--help"], ESCAPE),
            ]:
                cases.run(name, colours, arguments, wanted, environment)

            def produce(count):
                lines = root / "lines.txt"
                lines.write_text("".join(f"line {number} of a file\n" for number in range(count)))
                return ["produce", "orders", str(lines)]

            def bench(count):
                return ["bench", "produce", "--kafka", weir.kafka, "--records", str(count)]

            cases.run("progress of produce", progress, produce, environment)
            cases.run("progress of bench", progress, bench, environment)
    cases.finish()


if __name__ == "__main__":
    main()
