"""What the members of a group did, and whether it may be so.

A history is a list of entries, `(time, member, what, …)` in the order of their times:

    given PARTITIONS           the member has them from now on
    taken, lost PARTITIONS     it has them no more: handed over, or lost without its doing
    record PARTITION OFFSET    it has handled that record
    closes                     it handles nothing more, and hands everything over
    killed                     it, or the broker (member None), was killed

From a giving of a partition to its end is a life of it. What must hold:

    once       every record up to the end of its partition was handled
    order      in a life each record follows the one before
    no gap     a life begins at no record behind what was handled before
    clean      after a life that was handed over the next one begins exactly where it ended, unless
               the broker was killed meanwhile
    one owner  a life begins after the end of the one before, if that was handed over or its member
               was killed. (Of what it has lost a member may hear late.)
"""

from dataclasses import dataclass

# A program hears of what was taken, or leaves, at most this long after the broker was killed.
HANDING_OVER_US = 1_000_000


@dataclass
class Life:
    member: str
    begun: int
    first: int | None = None
    next: int | None = None
    ended: int | None = None
    how: str | None = None


def lives(history):
    """The lives of each partition, in the order of their beginnings, and what is wrong with who
    handled what."""
    all_lives, open_lives, wrong = {}, {}, []

    def end(member, partitions, time, how):
        for partition in partitions:
            life = open_lives.pop((member, partition), None)
            if life is None:
                wrong.append(f"{member} ends with partition {partition}, which it has not")
            else:
                life.ended, life.how = time, how

    for time, member, what, *rest in history:
        own = [partition for owner, partition in open_lives if owner == member]
        if what == "given":
            for partition in rest[0]:
                if (member, partition) in open_lives:
                    wrong.append(f"{member} was given partition {partition} twice")
                life = open_lives[member, partition] = Life(member, time)
                all_lives.setdefault(partition, []).append(life)
        elif what in ("taken", "lost"):
            end(member, rest[0], time, what)
        elif member is None:
            continue
        elif what in ("closes", "killed"):
            end(member, own, time, what)
        else:
            partition, offset = rest
            life = open_lives.get((member, partition))
            if life is None:
                wrong.append(f"{member} handles {partition}:{offset}, which it has not")
                continue
            if life.next is None:
                life.first = life.next = offset
            if offset != life.next:
                wrong.append(f"{member} handles {partition}:{offset}, where {life.next} is next")
            life.next = offset + 1
    return all_lives, wrong


def judge(history, ends):
    """What is wrong with a history of records up to these ends, by partition; nothing, if it may
    be so."""
    all_lives, wrong = lives(history)
    kills = [time for time, member, *_ in history if member is None]
    for partition, end in ends.items():
        handled = {rest[1] for _, _, what, *rest in history if what == "record" and
                   rest[0] == partition}  # fmt: skip
        missing = set(range(end)) - handled
        if missing:
            wrong.append(f"of partition {partition} {len(missing)} were not handled")
    for partition, own in all_lives.items():
        # Where the next life begins: exactly after a clean end, at most else.
        reached, is_exact, before = 0, True, None
        for life in own:
            name = f"partition {partition} of {life.member}"
            if before is not None and before.ended is not None:
                since = before.ended - HANDING_OVER_US
                is_exact &= not any(since < kill < life.begun for kill in kills)
            if before is not None and before.how in ("taken", "closes", "killed"):
                if before.ended is None or life.begun < before.ended:
                    wrong.append(f"{name} begins before {before.member} has ended")
            elif before is not None and before.how is None:
                wrong.append(f"{name} begins, and {before.member} never ends")
            if life.first is not None:
                if life.first > reached or (is_exact and life.first != reached):
                    wrong.append(f"{name} begins at {life.first}, and {reached} is next")
                reached = life.next
            before = life
            # A life in which nothing was handled is as clean as the one before it.
            is_exact = life.how in ("taken", "closes") and (is_exact or life.first is not None)
    return wrong


def again(history):
    """How many records were handled more than once."""
    records = [tuple(rest) for _, _, what, *rest in history if what == "record"]
    return len(records) - len(set(records))


def falsified(history):
    """The same history, each time with something that must not be: by its name."""
    records = [at for at, entry in enumerate(history) if entry[2] == "record"]
    middle = records[len(records) // 2]
    time, member, what, partition, offset = history[middle]
    before, behind = history[:middle], history[middle + 1 :]
    yield "a record that nobody handled", [
        entry for entry in history if entry[2:] != ("record", partition, offset)
    ]
    yield "a record that was handled twice", [*before, history[middle], *history[middle:]]
    yield "a record that somebody else handled", [
        *before, (time, "nobody", what, partition, offset), *behind,
    ]  # fmt: skip
    taken = next((at for at, entry in enumerate(history) if entry[2] == "taken"), None)
    if taken is None:
        return
    time, member, _, partitions = history[taken]
    given = next(
        at
        for at, entry in enumerate(history)
        if at > taken and entry[2] == "given" and set(entry[3]) & set(partitions)
    )
    late = (history[given][0] + 1, *history[taken][1:])
    yield "a partition that two had at once", [
        *history[:taken], *history[taken + 1 : given + 1], late, *history[given + 1 :],
    ]  # fmt: skip
