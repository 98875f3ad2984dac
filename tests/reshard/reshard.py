"""A reshard storm: shards are split, merged and scaled at random each second, while three writers
use PutRecords, a Kafka producer picks among the partitions that it takes for open, a reader follows
the lineage, and others list the shards all the time.

Then everything is read to its end by the lineage and by a Kafka consumer. What must hold of the
history is in checks.py, which is also shown to find each kind of false history. Quotas are off: how
fast shards may be written is for other tests. With `--kill-every` weir is killed (-9) and started
again on its directory and ports meanwhile. Only what is done to the shards comes from the seed;
when it meets the writers is the machine's.
"""

import argparse
import contextlib
import json
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

RESHARD = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(RESHARD.parent))

import checks
import load
import readers
from harness.weir_process import Weir
from history import History

STREAM = "storm"
SHARDS = 4
WRITERS = 3
LOOKERS_ON = 2
QUIET_ROUNDS = 3
THREAD_TIMEOUT_S = 60


class Threads:
    """Threads that run until they are stopped; what they raise is noted as failed."""

    def __init__(self, history):
        self.history = history
        self.stopped = threading.Event()
        self.threads = []
        self.results = []

    def start(self, work, *arguments):
        def run():
            try:
                self.results.append(work(*arguments, self.stopped))
            except Exception as error:
                detail = f"{work.__name__}: {type(error).__name__}: {error}"
                self.history.note("failed", detail=detail)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.threads.append(thread)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(THREAD_TIMEOUT_S)
            if thread.is_alive():
                self.history.note("failed", detail="a thread of the test did not end")


def storm(weir, options, history):
    """One storm, written into `history`; returns what to print of it."""
    weir_client = load.client(weir)
    weir_client.create_stream(StreamName=STREAM, ShardCount=SHARDS)
    reader = readers.LineageReader(weir, STREAM, history)
    writing, looking = Threads(history), Threads(history)
    looking.start(reader.read_until)
    for _ in range(LOOKERS_ON):
        looking.start(readers.look_on, weir, STREAM, history)
    for writer in range(WRITERS):
        writing.start(load.put_records, weir, STREAM, writer, options.seed + writer, history)
    guarantee = load.ONCE if options.kill_every else load.IDEMPOTENT
    writing.start(load.produce, weir, STREAM, guarantee, options.seed, history)
    writing.start(load.reshard, weir, STREAM, options.seed, history)
    weather(weir, options, history)
    writing.stop()
    looking.stop()
    calm_at = time.monotonic()
    reader.read_to_the_end(QUIET_ROUNDS)
    read_at = time.monotonic()
    readers.final_lineage(weir, STREAM, history)
    readers.consume_everything(weir, STREAM, history)
    return {
        "listings": sum(result or 0 for result in looking.results),
        "reader_behind_s": round(read_at - calm_at, 1),
        "consumed_s": round(time.monotonic() - read_at, 1),
    }


def weather(weir, options, history):
    """Lets the storm last as long as it shall, and kills weir as often."""
    chance = random.Random(options.seed)
    end = time.monotonic() + options.seconds
    kill_at = time.monotonic() + (options.kill_every or float("inf"))
    while time.monotonic() < end:
        time.sleep(0.05)
        if weir.process.poll() is not None:
            raise RuntimeError(f"weir ended by itself:\n{weir.log_tail()}")
        if time.monotonic() > kill_at:
            time.sleep(chance.uniform(0, 1))
            weir.kill()
            weir.start()
            history.note("killed")
            kill_at = time.monotonic() + options.kill_every


def figures(history):
    kinds = ["split", "merged", "scaled", "put", "produced", "refused", "unanswered", "read"]
    kinds += ["killed", "outage"]
    counts = {kind: history.count(kind) for kind in kinds}
    shards = checks.final_shards(history.events)
    closed = sum(shard["ending"] is not None for shard in shards)
    return counts | {"shards": len(shards), "closed": closed}


def judge(history):
    """Raises if anything is wrong, or if the storm was none."""
    found = checks.faults(history.events)
    if found:
        raise RuntimeError(checks.told(found))
    if not history.count("killed") and history.count("outage"):
        raise RuntimeError(f"requests found nobody: {history.of('outage')[0]['detail']}")
    for kind in ("split", "merged", "scaled", "put", "produced", "refused"):
        if not history.count(kind):
            raise RuntimeError(f"nothing was {kind}: that was no storm")
    return checks.prove(history.events)


def run(options, root):
    with contextlib.ExitStack() as stack:
        weir = stack.enter_context(Weir(root / "data", "--quotas", "off"))
        history = History()
        try:
            seen = storm(weir, options, history)
        finally:
            with (root / "events.json").open("w") as kept:
                kept.writelines(json.dumps(event) + "\n" for event in history.events)
        falsehoods = judge(history)
    return {"seed": options.seed} | figures(history) | seen | {"falsehoods_found": falsehoods}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=15, help="of storm")
    parser.add_argument("--kill-every", type=float, metavar="SECONDS", help="kill -9 of weir")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    options = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="weir-reshard-"))
    started = time.monotonic()
    try:
        seen = run(options, root)
    except Exception as failure:
        print(
            f"FAIL reshard: {type(failure).__name__}: {failure};"
            f" seed {options.seed}; kept: {root}",
            flush=True,
        )
        sys.exit(1)
    shutil.rmtree(root)
    seen["seconds"] = round(time.monotonic() - started, 1)
    print(f"PASS reshard: {json.dumps(seen)}", flush=True)


if __name__ == "__main__":
    main()
