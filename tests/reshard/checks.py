"""What must hold of a reshard storm's history; each check returns what it found wrong, as sentences.

**Exactly once.** Each record that was answered is read once by the reader who follows the lineage,
and so is no record that was refused, and none that nobody wrote.

**Order.** A writer of PutRecords sends the next request when the last one was answered, and its
records of one key have ascending numbers. In that order they are read, across all reshards.

**Parents first.** The reader has read no record of a shard before it came to the end of its parents:
else it would prove nothing about the order.

**In place.** A record is read in the shard and under the number that its answer gave; a Kafka
consumer finds it in the partition and at the offset that its producer was told.

**Every dialect.** A Kafka consumer of all partitions has read the same records as the reader, in the
same order in each.

**Cover.** The open shards of each listing cover the hash keys exactly once.

**Lineage.** In the end a closed shard has children that cover it and an ending number; an open one
has neither. The numbers of a shard's records grow, between its starting and its ending number, and
its children start above its end.
"""

import collections
import copy

MOST_TOLD = 5
LAST_HASH_KEY = 2**128 - 1


def record(event):
    return event["key"], event["number"]


def of(events, *kinds):
    return [event for event in events if event["event"] in kinds]


def exactly_once(events):
    times = collections.Counter(record(event) for event in of(events, "read"))
    answered = {record(event) for event in of(events, "put", "produced")}
    perhaps = {record(event) for event in of(events, "unanswered")}
    wrong = [f"{one} was answered and not read" for one in answered if not times[one]]
    wrong += [f"{one} was read {count} times" for one, count in times.items() if count > 1]
    wrong += [f"{one} was read and never written" for one in times.keys() - answered - perhaps]
    return wrong


def order(events):
    put = {event["key"] for event in of(events, "put")}
    last, wrong = {}, []
    for event in of(events, "read"):
        key, number = record(event)
        if key in put and number <= last.get(key, -1):
            wrong.append(f"{key}: {number} in shard {event['shard']} was read after {last[key]}")
        last[key] = number
    return wrong


def parents_first(events):
    parents = {shard["shard"]: shard["parents"] for shard in final_shards(events)}
    ended, wrong = set(), []
    for event in of(events, "read", "ended"):
        shard = event["shard"]
        missing = [parent for parent in parents.get(shard, ()) if parent not in ended]
        if missing:
            wrong.append(f"shard {shard} was read before the end of {missing}")
        if event["event"] == "ended":
            ended.add(shard)
    return wrong


def in_place(events):
    read = {record(event): (event["shard"], event["sequence"]) for event in of(events, "read")}
    consumed = {
        record(event): (event["partition"], event["offset"]) for event in of(events, "consumed")
    }
    told = [(event, (event["shard"], event["sequence"]), read) for event in of(events, "put")]
    told += [
        (event, (event["partition"], event["offset"]), consumed)
        for event in of(events, "produced")
    ]
    return [
        f"{record(event)} was put in {place} and found in {found[record(event)]}"
        for event, place, found in told
        if found.get(record(event), place) != place
    ]


def every_dialect(events):
    read, consumed = collections.defaultdict(list), collections.defaultdict(list)
    for event in of(events, "read"):
        read[event["shard"]].append(record(event))
    for event in of(events, "consumed"):
        consumed[event["partition"]].append(record(event))
    return [
        f"shard {shard}: {len(read[shard])} records by lineage, {len(consumed[shard])} by Kafka,"
        " or in another order"
        for shard in sorted(read.keys() | consumed.keys())
        if read[shard] != consumed[shard]
    ]


def cover(events):
    wrong = []
    for event in of(events, "listed"):
        ranges = sorted(event["ranges"])
        ends = [-1] + [end for _, end in ranges]
        if [start for start, _ in ranges] != [end + 1 for end in ends[:-1]]:
            wrong.append(f"a hole or an overlap: {ranges}")
        elif ends[-1] != LAST_HASH_KEY:
            wrong.append(f"the last shard ends at {ends[-1]}")
    return wrong


def final_shards(events):
    listings = of(events, "lineage")
    return listings[-1]["shards"] if listings else []


def lineage(events):
    shards = {shard["shard"]: shard for shard in final_shards(events)}
    wrong = [] if shards else ["nobody listed the shards in the end"]
    children = collections.defaultdict(list)
    for shard in shards.values():
        for parent in shard["parents"]:
            children[parent].append(shard)
    for number, shard in shards.items():
        start, end = shard["range"]
        if (shard["ending"] is not None) != bool(children[number]):
            wrong.append(f"shard {number} is closed without children, or open with some")
        covered = sorted(child["range"] for child in children[number])
        if len(covered) == 1 and not (covered[0][0] <= start and end <= covered[0][1]):
            wrong.append(f"shard {number} is not within its child")
        if len(covered) == 2 and (covered[0][0], covered[1][1]) != (start, end):
            wrong.append(f"shard {number} is not what its children are together")
        for child in children[number]:
            if shard["ending"] is not None and child["starting"] <= shard["ending"]:
                wrong.append(f"shard {child['shard']} starts below the end of its parent {number}")
    last = {number: shard["starting"] for number, shard in shards.items()}
    for event in of(events, "read"):
        number, sequence = event["shard"], event["sequence"]
        if number not in shards:
            wrong.append(f"shard {number} was read and is not listed")
            continue
        ending = shards[number]["ending"]
        if sequence <= last[number] or (ending is not None and sequence >= ending):
            wrong.append(f"shard {number}: number {sequence} after {last[number]}, end {ending}")
        last[number] = sequence
    return wrong


def nothing_failed(events):
    return [str(event.get("detail")) for event in of(events, "failed")]


CHECKS = {
    "exactly once": exactly_once,
    "order": order,
    "parents first": parents_first,
    "in place": in_place,
    "every dialect": every_dialect,
    "cover": cover,
    "lineage": lineage,
    "nothing failed": nothing_failed,
}


def faults(events):
    """What is wrong, by the name of the check."""
    found = {name: check(events) for name, check in CHECKS.items()}
    return {name: wrong for name, wrong in found.items() if wrong}


def told(found):
    """The first few faults of each check, for a person."""
    return "; ".join(
        f"{check}, {len(wrong)} times: " + " | ".join(map(str, wrong[:MOST_TOLD]))
        for check, wrong in found.items()
    )


def without(events, false):
    return [event for event in events if event is not false]


def instead(events, false, **members):
    return [event | members if event is false else event for event in events]


def swapped(events, one, other):
    swap = {id(one): other, id(other): one}
    return [swap.get(id(event), event) for event in events]


def relisted(events, change):
    """The same history, but for what `change` does to the final listing."""
    listing = of(events, "lineage")[-1]
    shards = copy.deepcopy(listing["shards"])
    change(shards)
    return instead(events, listing, shards=shards)


def falsehoods(events):
    """Histories that are false in one way each, with the check that is to find it."""
    put = of(events, "put")
    read = {record(event): event for event in of(events, "read")}
    produced = of(events, "produced")[0]
    key = put[0]["key"]
    first, *_, last = [read[record(event)] for event in put if event["key"] == key]
    shards = final_shards(events)
    children = {shard["shard"] for shard in shards if shard["parents"]}
    child = next(event for event in of(events, "read") if event["shard"] in children)
    closed = next(shard["shard"] for shard in shards if shard["ending"] is not None)
    listed = of(events, "listed")[-1]
    consumed = next(e for e in of(events, "consumed") if record(e) == record(put[0]))
    produced_there = next(e for e in of(events, "consumed") if record(e) == record(produced))
    refused = next(iter(of(events, "refused")), {"key": "nobody", "number": 0})

    def ending(end):
        """Gives the closed shard another end."""
        return relisted(
            events,
            lambda shards: next(s for s in shards if s["shard"] == closed).update(ending=end),
        )

    return [
        ("exactly once", without(events, first)),
        ("exactly once", [*events, first]),
        ("exactly once", [*events, first | {"key": refused["key"], "number": refused["number"]}]),
        ("order", swapped(events, first, last)),
        ("parents first", [child, *without(events, child)]),
        ("in place", instead(events, first, sequence=first["sequence"] + 1)),
        ("in place", instead(events, produced_there, offset=produced_there["offset"] + 1)),
        ("every dialect", without(events, consumed)),
        ("every dialect", [consumed, *without(events, consumed), consumed]),
        ("cover", instead(events, listed, ranges=listed["ranges"][1:])),
        ("cover", instead(events, listed, ranges=[*listed["ranges"], listed["ranges"][0]])),
        ("lineage", ending(None)),
        ("lineage", relisted(events, lambda shards: shards.pop())),
        ("lineage", ending(10**60)),
        ("nothing failed", [*events, {"event": "failed", "detail": "a lie"}]),
    ]


def prove(events):
    """Falsifies a history without faults in each way that a check is for, and raises unless that
    check finds it. So a storm whose events would show nothing does not pass either."""
    proofs = falsehoods(events)
    for check, false in proofs:
        if not CHECKS[check](false):
            raise RuntimeError(f"the check '{check}' does not see a false history")
    unproven = CHECKS.keys() - {check for check, _ in proofs}
    if unproven:
        raise RuntimeError(f"no false history for {unproven}")
    return len(proofs)
