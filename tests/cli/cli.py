"""The command line, by what it prints: each file in `sessions` is what a person would see.

Lines that begin with `$` are run by bash, one after the other, with a weir on this machine whose
address stands in WEIR_ENDPOINT; behind each stands what it prints, standard output and errors
together, and `[exit N]` where the exit code is not 0. What differs from run to run (ids, times,
ports) stands as a word in angle brackets.

    cli.py [--update] [SESSION…]     compares, or writes down what is printed now

A comment begins with `#`. Each session has a weir of its own, without quotas; a line that begins
with `#!` says with which flags instead.
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

from harness.cases import Cases
from harness.weir_process import Weir, binary

TIMEOUT_S = 30
WORDS = [
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"\b1[789]\d{11}\b"), "<ms>"),
    (re.compile(r"127\.0\.0\.1:\d{2,}"), "<address>"),
    (re.compile(r'"(pid|uptime_ms)":\d+'), r'"\1":<number>'),
]


def masked(text, words):
    for pattern, word in words:
        text = pattern.sub(word, text)
    return text


def played(lines, environment, directory, words):
    """The session's lines with what they print now."""
    for line in lines:
        yield line
        if not line.startswith("$ "):
            continue
        done = subprocess.run(
            ["bash", "-c", line[2:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=directory,
            timeout=TIMEOUT_S,
        )
        # An empty line, or one that looks like a command, would be taken for something else.
        for printed in masked(done.stdout, words).splitlines():
            yield "  " + printed if printed else ""
        if done.returncode:
            yield f"  [exit {done.returncode}]"


def session(path, update):
    written = path.read_text().splitlines()
    # What is printed is indented, or empty and between such lines.
    said = [line for line in written if line.startswith(("$ ", "#"))]
    with tempfile.TemporaryDirectory(prefix="weir-cli-") as root:
        root = pathlib.Path(root)
        flags = [line[2:].split() for line in said if line.startswith("#!")]
        with Weir(root / "data", *(flags[0] if flags else ["--quotas", "off"])) as weir:
            environment = {
                "PATH": f"{binary().resolve().parent}:/usr/bin:/bin",
                "HOME": str(root),
                "WEIR_ENDPOINT": f"http://{weir.grpc}",
                "KAFKA": weir.kafka,
                "KINESIS": f"http://{weir.kinesis}",
                "HTTP": f"http://{weir.http}",
                "WEIR_HTTP_URL": f"http://{weir.http}",
                "COLUMNS": "100",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            directory = root / "work"
            directory.mkdir()
            words = [(re.compile(re.escape(str(directory))), "<directory>"), *WORDS]
            now = list(played(said, environment, directory, words))
    if update:
        path.write_text("\n".join(now) + "\n")
        return f"written, {len(said)} lines"
    if now != written:
        difference = difflib.unified_diff(written, now, "expected", "printed", lineterm="")
        raise AssertionError("\n" + "\n".join(difference))
    commands = sum(line.startswith("$ ") for line in said)
    return f"{commands} commands print what they should"


def commands(path=("weir",)):
    """Every command that `--help` tells of, and those below it."""
    printed = subprocess.run(
        [binary(), *path[1:], "--help"], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    ).stdout
    _, _, listed = printed.partition("\nCommands:\n")
    for line in listed.splitlines():
        if not line.strip():
            return
        # Longer descriptions go on below, further to the right.
        name = re.match(r"  (\S+)", line)
        if name and name[1] != "help":
            yield (*path, name[1])
            yield from commands((*path, name[1]))


def every_command_has_its_help(paths):
    said = "".join(path.read_text() for path in paths)
    missing = [" ".join(path) for path in commands() if f"$ {' '.join(path)} --help\n" not in said]
    # `weir stream` is `weir topic` under another name.
    missing = [path for path in missing if not path.startswith("weir stream ")]
    assert not missing, f"no session shows the help of {', '.join(missing)}"
    return f"{len(list(commands()))} commands"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--update", action="store_true")
    parser.add_argument("sessions", nargs="*")
    options = parser.parse_args()
    paths = sorted((HERE / "sessions").glob("*.txt"))
    every = list(paths)
    if options.sessions:
        paths = [path for path in paths if path.stem in options.sessions]
    assert os.access(binary(), os.X_OK), f"there is no {binary()}"
    cases = Cases()
    for path in paths:
        cases.run(path.stem, session, path, options.update)
    cases.run("every command's help", every_command_has_its_help, every)
    cases.finish()


if __name__ == "__main__":
    main()
