"""What must hold of a storm's history; each check returns what it found wrong, as sentences.

**One owner.** An assignment belongs to a generation, which all members of a classic group share, or
to a member epoch of a KIP-848 group. In one of them a partition has one owner. (Over time there may
be two: a paused member learns late that it was thrown out. Its generation is what tells the broker
the difference.) In a KIP-848 group a member's epoch also rises while it keeps what it has, without
a callback; then its accepted commits show what it owns at which epoch. The broker raises an epoch
only after the member has given up what it must, so two members never own a partition at one epoch.

**Commits.** A member commits what it has processed, and begins at the committed offset that it
fetched when it was assigned the partition. It does so before its client may take part in a
rebalance, so its commits lie between its assignment and its next request to join, or, in a KIP-848
group, before the heartbeat that confirms the revocation. The next owner fetches offsets when it has
been assigned the partition, behind all that; and a member that was thrown out is refused. (What it
was refused it commits again, unless a callback has told it meanwhile that the partition is gone.)
So the only legal order is upwards: an accepted commit is at least as high as each one that had been
accepted before it was sent. Nobody here asks to go back. Two commits that were under way at once
may have come in either order. What OffsetFetch answers is held against the same rule, and is never
below what was accepted before it was asked: that is what a kill -9 may not lose.

**Generations.** When a member of a classic group has been assigned anything in a generation, a
commit that is sent later in a lower one is refused.

**Quiet.** In the end each partition has one living owner, by the members' own words and by the
broker's description, and the commits have come to the end of each partition.
"""

import bisect
import collections
import copy

from history import Ownership

MOST_TOLD = 5


def one_owner(events, mode):
    ownership, owner_in, wrong = Ownership(), {}, []
    for event in events:
        ownership.follow(event)
        member, generation = event.get("member"), event.get("generation", 0)
        owned = ownership.owned.get(member, ())
        if event["event"] == "assigned":
            claimed = owned
        elif event["event"] == "committed" and mode == "consumer":
            claimed = [partition for partition in event["offsets"] if partition in owned]
        else:
            continue
        if generation <= 0:
            continue
        for partition in claimed:
            first = owner_in.setdefault((generation, partition), member)
            if first != member:
                wrong.append(
                    f"partition {partition} is owned by {first} and {member} in {generation}"
                )
    return wrong


class Floors:
    """The highest offset of each partition that is known to have been committed by a time."""

    def __init__(self, events):
        self.times = collections.defaultdict(list)
        self.highest = collections.defaultdict(list)
        for event in events:
            if event["event"] not in ("committed", "observed"):
                continue
            for partition, offset in event["offsets"].items():
                highest = self.highest[partition]
                self.times[partition].append(event["at"])
                highest.append(max([offset, *highest[-1:]]))

    def before(self, partition, time):
        index = bisect.bisect_left(self.times[partition], time)
        return self.highest[partition][index - 1] if index else -1

    def partitions(self):
        return self.times.keys()


def commits_rise(events):
    floors, wrong = Floors(events), []
    for event in events:
        if event["event"] == "committed":
            for partition, offset in event["offsets"].items():
                floor = floors.before(partition, event["began"])
                if offset < floor:
                    wrong.append(
                        f"{event['member']} committed {offset} for partition {partition}, where"
                        f" {floor} had been committed (generation {event['generation']})"
                    )
    return wrong


def commits_last(events):
    floors, wrong = Floors(events), []
    for event in events:
        if event["event"] == "observed":
            for partition in floors.partitions():
                offset = event["offsets"].get(partition, -1)
                floor = floors.before(partition, event["began"])
                if offset < floor:
                    wrong.append(
                        f"the broker answers {offset} for partition {partition}, where"
                        f" {floor} had been committed"
                    )
    return wrong


def generations_fence(events, mode):
    if mode == "consumer":
        return []
    times, highest, wrong = [], [], []
    for event in events:
        if event["event"] == "assigned":
            times.append(event["at"])
            highest.append(max([event["generation"], *highest[-1:]]))
    for event in events:
        index = bisect.bisect_left(times, event.get("began", 0))
        if event["event"] == "committed" and event["generation"] > 0 and index:
            if event["generation"] < highest[index - 1]:
                wrong.append(
                    f"{event['member']} committed in generation {event['generation']} after"
                    f" generation {highest[index - 1]} had begun"
                )
    return wrong


def all_owned(events, partitions):
    described = collections.defaultdict(list)
    for owner in last(events, "described").get("owners", ()):
        for partition in owner.get("partitions") or ():
            described[partition].append(owner["member"])
    owners, wrong = replayed(events).owners(), []
    for partition in range(partitions):
        by_members, by_broker = owners.get(partition, []), described[partition]
        if len(by_members) != 1 or by_members != by_broker:
            wrong.append(
                f"in the end the members that say they own partition {partition} are"
                f" {by_members}, and the broker names {by_broker}"
            )
    return wrong


def all_committed(events):
    ended, offsets = last(events, "ended"), last(events, "observed").get("offsets", {})
    if not ended:
        return ["nobody could say where the partitions end"]
    return [
        f"in the end partition {partition} has {end} records and {offsets.get(partition)} committed"
        for partition, end in ended["ends"].items()
        if end > 0 and offsets.get(partition) != end
    ]


def nothing_failed(events):
    return [str(event.get("detail")) for event in events if event["event"] == "failed"]


def last(events, kind):
    return next((event for event in reversed(events) if event["event"] == kind), {})


def faults(events, mode, partitions):
    """What is wrong, by the name of the check."""
    found = {
        "one owner": one_owner(events, mode),
        "commits rise": commits_rise(events),
        "commits last": commits_last(events),
        "generations fence": generations_fence(events, mode),
        "all owned": all_owned(events, partitions),
        "all committed": all_committed(events),
        "nothing failed": nothing_failed(events),
    }
    return {check: wrong for check, wrong in found.items() if wrong}


def told(found):
    """The first few faults of each check, for a person."""
    return "; ".join(
        f"{check}, {len(wrong)} times: " + " | ".join(wrong[:MOST_TOLD])
        for check, wrong in found.items()
    )


def prove(events, mode, partitions):
    """Falsifies a history without faults in each way that a check is for, and raises unless
    that check finds it. So a storm whose events would show nothing does not pass either."""
    end = events[-1]["at"]
    assigned = next(
        e for e in events if e["event"] == "assigned" and e["generation"] and e.get("partitions")
    )
    observed = last(events, "observed")
    partition, offset = max(observed["offsets"].items(), key=lambda item: item[1])
    lower = {"event": "committed", "member": "intruder", "began": end + 1, "at": end + 2}
    lower |= {"generation": 0, "offsets": {partition: offset - 1}}
    owner = next(member for member, owned in replayed(events).owned.items() if 0 in owned)
    falsehoods = {
        "one owner": [
            {"event": "joined", "member": "intruder", "at": assigned["at"]},
            assigned | {"member": "intruder"},
        ],
        "commits rise": [lower],
        "commits last": [observed | {"began": end + 1, "at": end + 2, "offsets": lower["offsets"]}],
        "all owned": [{"event": "lost", "member": owner, "partitions": [0], "at": end + 1}],
        "all committed": [{"event": "ended", "ends": {partition: offset + 1}, "at": end + 1}],
        "nothing failed": [{"event": "failed", "detail": "a lie", "at": end + 1}],
    }
    if mode != "consumer":
        late = lower | {"generation": 1, "offsets": {partition: offset}}
        falsehoods["generations fence"] = [late]
    for check, lies in falsehoods.items():
        false = sorted(copy.copy(events) + lies, key=lambda event: event["at"])
        if check not in faults(false, mode, partitions):
            raise RuntimeError(f"the check '{check}' does not see a false history")
    return len(falsehoods)


def replayed(events):
    ownership = Ownership()
    for event in events:
        ownership.follow(event)
    return ownership
