"""One of the two brokers that are compared, and the JVM that makes the calls to it.

`Side.show` makes one step and gives back what it showed, as lines that are equal where the brokers
behave alike: names that each run makes up (ids, ports, directories, the time) are replaced by words.
"""

import json
import pathlib
import re
import shlex
import subprocess
import sys
import time

import scenario as scenarios

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.kafka_process import JARS, java

CLASSES = pathlib.Path(__file__).resolve().parent.parent / ".cache/java-parity/classes"
UNTIL_S = 25
PAUSE_S = 0.25
# A frame of a stack that a tool printed: only the exceptions themselves are compared.
STACK_FRAME = re.compile(r"(error: )?(at [\w.$/<>]+\(.*\)|\.\.\. \d+ more)$|error:$")


class Side:
    """`bootstrap` is the broker's address, `files` a directory for what the tools read."""

    def __init__(self, name, bootstrap, data_dir, files):
        self.name = name
        self.bootstrap = bootstrap
        self.files = pathlib.Path(files)
        self.files.mkdir(parents=True)
        self.saved = {}
        self.words = words(bootstrap, data_dir, files)
        self.errors = (self.files / "jvm.log").open("w")
        command = java("Parity", bootstrap, heap="256m")
        command[command.index("-cp") + 1] = f"{CLASSES}:{JARS}/*"
        command[1:1] = ["--add-opens", "java.base/java.lang=ALL-UNNAMED"]
        self.jvm = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )

    def ask(self, **request):
        self.jvm.stdin.write(json.dumps(request) + "\n")
        self.jvm.stdin.flush()
        answer = self.jvm.stdout.readline()
        if not answer:
            raise RuntimeError(f"the JVM of {self.name} ended: {self.log()}")
        return json.loads(answer)

    def log(self):
        return (self.files / "jvm.log").read_text()[-2000:]

    def admin_calls(self):
        return self.ask(admin_calls=True)["calls"]

    def show(self, step):
        """The lines that a step shows, its last try where it is repeated."""
        deadline = time.monotonic() + UNTIL_S
        while True:
            lines = self.normal(self.once(step), step)
            if not step.until or any(re.search(step.until, line) for line in lines):
                return lines
            if time.monotonic() > deadline:
                return [*lines, f"(never showed {step.until})"]
            time.sleep(PAUSE_S)

    def once(self, step):
        if step.admin:
            answer = self.ask(admin=step.admin)
            return answer.get("output") or answer["failure"]
        if step.member or step.write:
            kind = "member" if step.member else "write"
            answer = self.ask(**{kind: shlex.split(getattr(step, kind))})
            return answer.get("output") or answer["failure"]
        answer = self.ask(**self.tool_request(step))
        if step.save:
            path = self.files / step.save
            path.write_text(answer["stdout"])
            self.saved[step.save] = path
        errors = "".join(f"error: {line}\n" for line in answer["stderr"].splitlines())
        return f"{answer['stdout']}\n{errors}status {answer['status']}"

    def tool_request(self, step):
        paths = dict(self.saved)
        for name, content in step.files.items():
            paths[name] = self.files / name
            paths[name].write_text(content)
        line = step.run
        if "{bootstrap}" not in line:
            line += " --bootstrap-server {bootstrap}"
        for name, value in [("bootstrap", self.bootstrap), *paths.items()]:
            line = line.replace(f"{{{name}}}", str(value))
        tool, *arguments = shlex.split(line)
        return {
            "tool": scenarios.TOOLS[tool],
            "arguments": arguments,
            "input": step.input,
            "timeout_s": step.timeout_s,
        }

    def normal(self, text, step):
        for mask in step.mask:
            text = re.sub(mask, "<masked>", text)
        for pattern, word in self.words:
            text = pattern.sub(word, text)
        lines = [" ".join(line.split()) for line in text.splitlines()]
        lines = [line for line in lines if line and not STACK_FRAME.match(line)]
        return sorted(lines) if step.unordered else lines

    def close(self):
        self.jvm.stdin.close()
        try:
            self.jvm.wait(20)
        except subprocess.TimeoutExpired:
            self.jvm.kill()
            self.jvm.wait()
        self.errors.close()


def words(bootstrap, data_dir, files):
    """The expressions of what differs from run to run, and the word for each, in this order."""
    port = bootstrap.rsplit(":", 1)[1]
    # Until the day is over all times of now in milliseconds begin with these digits.
    now = str(int(time.time() * 1000))[:5]
    # Kafka's ids in base 64, told from words of the same length by their capitals.
    identifier = r"(?<![\w-])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{22}(?![\w-])"
    table = [
        (re.escape(str(files)), "<files>"),
        # Where the logs are is a matter of taste.
        (re.escape(str(data_dir)) + "(/logs?)?", "<data>"),
        (rf"(localhost|127\.0\.0\.1):{port}\b", "<broker>"),
        (rf"(localhost|127\.0\.0\.1)(:?\s*){port}\b", r"<host>\2<port>"),
        (rf"\b{port}\b", "<port>"),
        (r"\b(localhost|127\.0\.0\.1)\b(:\d+)?", "<host>"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uuid>"),
        (identifier, "<id>"),
        (rf"\b{now}\d{{8}}\b", "<now>"),
        (r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d([.,:]\d+)?(Z|[+-]\d\d:?\d\d)?", "<now>"),
        (r"@[0-9a-f]{5,8}\b", "@<hash>"),
        (r"(correlation id )\d+", r"\1<n>"),
        # What a setting means is told in each broker's own words.
        (r"documentation=(?!null\b).*\)$", "documentation=<text>)"),
        # How far a client had got when it gave up, up to the quote that may end it.
        (r"Call\(callName=.*attempt\(s\)|Timed out waiting for a node assign[^\"\n]*", "<gave up>"),
    ]
    return [(re.compile(pattern, re.MULTILINE), word) for pattern, word in table]
