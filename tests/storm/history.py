"""What happened in a storm: the events that the members and the witness wrote, in the order of
their times.

An event is an object with `at`, the reading of CLOCK_MONOTONIC in nanoseconds when it was written,
which is one clock for all processes of a machine, and `event`:

    joined left died paused resumed    what a member did; a member lives from joined to left or died
    assigned revoked lost              its client's callbacks: `partitions` came or went, in
                                       `generation` (in KIP-848 groups: at that member epoch)
    committed                          the broker accepted `offsets`; the request was sent after
                                       `began`; `generation` 0 where it is not known
    fenced                             a poll said that the member was thrown out
    refused                            a commit was refused, or its outcome is not known (`detail`)
    observed                           OffsetFetch, sent after `began`, answered these `offsets`
    ended                              each partition's end, when nothing is written any more
    described                          the group's members as the broker describes them
    ready quiet failed                 of the programs themselves

A member's name is that of one life: who joins again has another.
"""

import json
import threading


class Ownership:
    """Who owns what by its own lights; follows the events one after the other."""

    def __init__(self):
        self.owned = {}

    def follow(self, event):
        kind, member = event["event"], event.get("member")
        if kind == "joined":
            self.owned[member] = set()
        elif kind in ("left", "died"):
            self.owned.pop(member, None)
        elif kind in ("assigned", "revoked", "lost") and member in self.owned:
            partitions = set(event.get("partitions") or ())
            if kind == "assigned":
                self.owned[member] |= partitions
            else:
                self.owned[member] -= partitions

    def owners(self):
        """The living owners of each partition that has one."""
        owners = {}
        for member, partitions in self.owned.items():
            for partition in partitions:
                owners.setdefault(partition, []).append(member)
        return owners


class History:
    """Events as they come, from several threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.events = []
        self.ownership = Ownership()
        self.changed_at = 0

    def read(self, lines):
        """Takes events, a line of JSON each, until the lines end."""
        for line in lines:
            event = parsed(line)
            with self.lock:
                self.events.append(event)
                self.ownership.follow(event)
                if event["event"] in ("assigned", "revoked", "lost", "left", "died"):
                    self.changed_at = event["at"]

    def last(self, kind):
        """The last event of this kind, or none."""
        with self.lock:
            return next((e for e in reversed(self.events) if e["event"] == kind), None)

    def owners(self):
        with self.lock:
            return self.ownership.owners()

    def in_order(self):
        """All events by time: each process writes its own in order, but two mix as they are
        read."""
        with self.lock:
            return sorted(self.events, key=lambda event: event["at"])


def parsed(line):
    """An event with numbers for keys; what is empty may have been left out."""
    event = json.loads(line)
    places = {"committed": "offsets", "observed": "offsets", "ended": "ends"}
    if field := places.get(event["event"]):
        event[field] = {int(place): at for place, at in event.get(field, {}).items()}
    return event
