"""Kafka's command-line tools and its AdminClient, against Kafka and against weir: the same calls
to both, fresh, and what they show compared.

Beyond what each run makes up (ids, ports, the time), the only differences that pass are those of
`allowed.toml`. `--against-itself` puts a second Kafka in weir's place, to prove the scenarios right:
nothing may differ then, and nothing is allowed.
"""

import argparse
import concurrent.futures
import contextlib
import pathlib
import shutil
import sys
import tempfile
import time

import scenario as scenarios
from side import PAUSE_S, Side

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.allowed import Allowed
from harness.cases import Cases
from harness.kafka_process import Kafka
from harness.ports import free_port
from harness.weir_process import Weir

ALLOWED = pathlib.Path(__file__).with_name("allowed.toml")
ADMIN = "admin-client"
SETTLE_S = 2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="only this scenario; repeatable")
    parser.add_argument("--against-itself", action="store_true", help="Kafka in weir's place")
    parser.add_argument("--show", action="store_true", help="print what Kafka showed too")
    return parser.parse_args()


def chosen(all_of_them, only):
    names = [scenario.name for scenario in all_of_them]
    for name in only or []:
        if name not in names:
            sys.exit(f"no scenario '{name}'; there are: {' '.join(names)}")
    return [scenario for scenario in all_of_them if not only or scenario.name in only]


def admin_scenario(side):
    steps = tuple(scenarios.Step(admin=name) for name in side.admin_calls())
    return scenarios.Scenario(ADMIN, steps)


class Comparison:
    """The two sides, the differences that are allowed, and whether to print what is equal too."""

    def __init__(self, kafka, weir, allowed, show):
        self.sides = (kafka, weir)
        self.allowed = allowed
        self.show = show
        self.pool = concurrent.futures.ThreadPoolExecutor()

    def run(self, scenario):
        """Makes the steps on both sides; raises when one differs, and prints how."""
        differing = 0
        for step in scenario.steps:
            expected, differences = self.compare(scenario, step)
            if self.show or differences:
                print(f"  [{step.title}]")
            if self.show:
                print("".join(f"    {line}\n" for line in expected), end="")
            print("".join(f"  {line}\n" for line in differences), end="", flush=True)
            differing += bool(differences)
        assert not differing, f"{differing} of {len(scenario.steps)} steps differ, printed above"
        return f"{len(scenario.steps)} steps show the same"

    def compare(self, scenario, step):
        """What Kafka shows, and the lines that differ.

        A change takes effect in Kafka when its broker has read it from its controller, so a step
        that only looks is made again for a while where the sides differ.
        """
        deadline = time.monotonic() + SETTLE_S
        while True:
            expected, actual = self.pool.map(lambda side: side.show(step), self.sides)
            lines = self.allowed.differences(scenario.name, step.title, expected, actual)
            if not lines or not step.only_looks or time.monotonic() > deadline:
                return expected, lines
            time.sleep(PAUSE_S)


@contextlib.contextmanager
def brokers(root, against_itself):
    """Both brokers, serving: Kafka, and weir or what stands in its place."""
    with contextlib.ExitStack() as stack:
        kafka = Kafka(root / "kafka", free_port(), free_port())
        other = Weir(root / "weir")
        if against_itself:
            other = Kafka(root / "weir", free_port(), free_port())
            stack.enter_context(other)
        with kafka:
            if not against_itself:
                stack.enter_context(other)
            yield kafka, other


def main():
    options = arguments()
    root = pathlib.Path(tempfile.mkdtemp(prefix="parity-"))
    cases = Cases()
    allowed = Allowed(None if options.against_itself else ALLOWED)
    with brokers(root, options.against_itself) as (kafka, weir), contextlib.ExitStack() as stack:
        sides = []
        for name, broker in (("kafka", kafka), ("weir", weir)):
            side = Side(name, broker.kafka, broker.data_dir, root / f"{name}-files")
            stack.callback(side.close)
            sides.append(side)
        run = chosen([admin_scenario(sides[0]), *scenarios.load_all()], options.only)
        comparison = Comparison(*sides, allowed, options.show)
        for scenario in run:
            cases.run(scenario.name, comparison.run, scenario)
        # A part of the scenarios says nothing of what is allowed elsewhere.
        for entry in [] if options.only else allowed.entries:
            cases.run(f"allowed: {entry}", entry.occurs)
    if cases.failed:
        print(f"the logs are in {root}")
    else:
        shutil.rmtree(root)
    cases.finish()


if __name__ == "__main__":
    main()
