"""What is done to both brokers: scenarios of steps, read from `scenarios/*.toml`.

A scenario is a file; its steps run in order, each on what the ones before it left. A step is a
command line as one would type it, to which `--bootstrap-server` is added where no `{bootstrap}`
stands in it, or a table:

    run        the command line
    member     instead of `run`: an order to a background consumer, see Members.java
    write      instead of `run`: topic, partition and count of records to write, see Records.java
    input      what the tool reads from its standard input
    files      files that it reads: each name stands in the command line as {name}
    save       the name under which later steps find what it wrote to its standard output
    until      repeat until a line of it matches this expression: for what takes effect in time
    mask       expressions of which the match is not compared
    unordered  the order of its lines means nothing
    timeout_s  how long it may take, where that is not 60
"""

import dataclasses
import pathlib
import re
import tomllib

SCENARIOS = pathlib.Path(__file__).resolve().parent / "scenarios"

# The scripts of Kafka's bin directory by the main classes that they run.
TOOLS = {
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-client-metrics": "org.apache.kafka.tools.ClientMetricsCommand",
    "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-dump-log": "kafka.tools.DumpLogSegments",
    "kafka-e2e-latency": "org.apache.kafka.tools.EndToEndLatency",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-groups": "org.apache.kafka.tools.GroupsCommand",
    "kafka-leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "kafka-verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
}  # fmt: skip

# What only looks may be done again.
LOOKS = re.compile(r"kafka-get-offsets |kafka-[a-z-]+ --(describe|list)\b|(list|describe)[A-Z]")


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing done to both brokers: exactly one of `run`, `member`, `write` and `admin`."""

    run: str = ""
    member: str = ""
    write: str = ""
    admin: str = ""
    input: str = ""
    files: dict = dataclasses.field(default_factory=dict)
    save: str = ""
    until: str = ""
    mask: tuple = ()
    unordered: bool = False
    timeout_s: int = 60

    def __post_init__(self):
        assert sum(map(bool, (self.run, self.member, self.write, self.admin))) == 1, f"one kind only: {self}"
        tool = self.run.split(" ")[0]
        assert not tool or tool in TOOLS, f"no tool is called {tool}"

    @property
    def title(self):
        if self.member:
            return f"member {self.member}"
        return self.run or self.admin or f"write {self.write}"

    @property
    def only_looks(self):
        return LOOKS.match(self.title) is not None


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    steps: tuple


def load(path):
    steps = tomllib.loads(path.read_text())["steps"]
    tables = [{"run": step} if isinstance(step, str) else step for step in steps]
    return Scenario(path.stem, tuple(Step(**table) for table in tables))


def load_all():
    """Every scenario, in the order of their names."""
    return [load(path) for path in sorted(SCENARIOS.glob("*.toml"))]
