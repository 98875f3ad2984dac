"""Completion as it is typed: bash, zsh and fish in a terminal of their own, where Tab is pressed
behind the beginning of a name that only the broker knows.

    completions.py     needs a built weir, and the three shells
"""

import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness.cases import Cases
from harness.weir_process import Weir, binary

WAIT_S = 20
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(weir completions bash)"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "autoload -Uz compinit; compinit -u; source <(weir completions zsh)",
    ),
    "fish": (["fish", "--no-config", "-i"], "weir completions fish | source"),
}
# What is typed in front of Tab, and the word that is to stand there then: never that of the line
# before, of which a slow terminal may still show the rest.
TYPED = [
    ("weir topic describe long-n", "long-named-orders"),
    ("weir consume other-th", "other-things"),
    ("weir topic alter long-n", "long-named-orders"),
    ("weir group describe bill", "billing-group"),
    ("weir completi", "completions"),
    ("weir topic create x --partit", "--partitions"),
]
ESCAPES = re.compile(r"\x1b(\[[0-9;?<>=]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\)|[=>()][0-9A-Z]?)")


class Terminal:
    """A shell that believes somebody sits before it."""

    def __init__(self, command, environment, directory):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execvpe(command[0], command, environment)
        self.seen = ""

    def type(self, text):
        os.write(self.descriptor, text.encode())

    def until(self, found):
        """Reads until what was printed since `forget` is what is wanted; None if it never is."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if found(ESCAPES.sub("", self.seen)):
                return True
            if select.select([self.descriptor], [], [], 0.1)[0]:
                try:
                    chunk = os.read(self.descriptor, 65536).decode(errors="replace")
                except OSError:
                    return False
                self.seen += chunk
                # fish asks what terminal this is, and waits for the answer.
                if "\x1b[c" in chunk or "\x1b[0c" in chunk:
                    self.type("\x1b[?62c")
        return False

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.descriptor)


def completes(shell, environment, directory):
    command, setup = SHELLS[shell]
    terminal = Terminal(command, environment, directory)
    try:
        # Not as it is typed, or its echo would be taken for the answer.
        terminal.type(f"{setup}; echo rea''dy\n")
        assert terminal.until(lambda seen: "ready" in seen), f"no answer: {terminal.seen!r}"
        for typed, word in TYPED:
            terminal.seen = ""
            terminal.type(f"{typed}\t")
            assert terminal.until(lambda seen, word=word: word in seen), (typed, terminal.seen)
            # Away with the line, and on to the next.
            terminal.type("\x15")
    finally:
        terminal.close()
    return f"{len(TYPED)} words"


def without_a_broker(environment):
    """Nothing is said, and it does not take long."""
    environment = environment | {
        "WEIR_ENDPOINT": "127.0.0.1:1", "COMPLETE": "fish", "_CLAP_COMPLETE_INDEX": "3",
    }  # fmt: skip
    asked = subprocess.run(
        ["weir", "--", "weir", "topic", "describe", "long"],
        env=environment, capture_output=True, text=True, timeout=WAIT_S,
    )  # fmt: skip
    assert (asked.returncode, asked.stdout.strip(), asked.stderr) == (0, "", ""), asked
    return "no names, and no complaint"


def main():
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-completions-") as root:
        root = pathlib.Path(root)
        with Weir(root / "data", "--quotas", "off") as weir:
            environment = {
                "PATH": f"{binary().resolve().parent}:/usr/bin:/bin",
                "HOME": str(root), "TERM": "xterm", "WEIR_ENDPOINT": weir.grpc, "COLUMNS": "120",
            }  # fmt: skip
            for name in ("long-named-orders", "other-things"):
                subprocess.run(["weir", "topic", "create", name], env=environment, check=True)
            consume = ["kcat", "-q", "-b", weir.kafka, "-G", "billing-group", "-e", "other-things"]
            subprocess.run(consume, check=True, stderr=subprocess.DEVNULL)
            for shell in SHELLS:
                cases.run(shell, completes, shell, environment, root)
            cases.run("without a broker", without_a_broker, environment)
    cases.finish()


if __name__ == "__main__":
    main()
