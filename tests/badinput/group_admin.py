"""Bad group and admin requests to a running weir; `tests/badinput/run groups`.

    group_admin.py                     sends them to weir and compares with `group_admin.json`
    group_admin.py record HOST:PORT    sends them to a Kafka and writes `group_admin.json`

The Kafka is a fresh one, of `tests/reference/run kafka`. Every request of `group_admin_requests` is cut short at each byte, made worse in each field, and
sent with members, generations and epochs that are not those of the group. The answer is Kafka's
own error code, as it was recorded, and the connection closes where Kafka closes it; where Kafka
only says UNKNOWN_SERVER_ERROR or closes without a word, any error code will do. Before and after,
good clients see the same topics, configs, groups, offsets and quotas, unless Kafka's changed too.
"""

import collections
import json
import pathlib
import sys
import tomllib

import kafka_wire
from bad_requests import worse
from good_cluster import GoodCluster
from group_admin_requests import OTHER_APIS, table
from kafka_messages import Message
from kafka_wire import Closed
from subject import Subject, main

HERE = pathlib.Path(__file__).parent
RECORDED = HERE / "group_admin.json"
ALLOWED = HERE / "group_admin_allowed.toml"
CLOSED, NO_ANSWER = "closed", "no answer"
# Requests that are answered, and told of in the log too: what the line says.
ANSWERED_WITH_A_LINE = {("Metadata 0", "Topics of 10000"): "not creating so many topics"}
CHANGES = ", and changes what is there"
ANSWER_TIMEOUT_S = 20
UNKNOWN_SERVER_ERROR = -1


def requests_of(row, version):
    """The name and the values of every request of a row that is whole."""
    message = Message(row.api, version)
    yield "as it is", row.refused
    yield from ((name, bad) for name, bad in worse(message, row.refused) if name not in row.good)
    usual = {message.encode(row.refused), message.encode(row.taken or row.refused)}
    for name, values in row.more.items():
        # In an old version it may lack the very field that makes it bad.
        if message.encode(values) not in usual:
            yield name, values


def codes_of(answer, above=""):
    """Every error code in an answer with the path of its field."""
    if isinstance(answer, list):
        for element in answer:
            yield from codes_of(element, above)
    elif isinstance(answer, dict):
        for name, value in answer.items():
            if name == "ErrorCode":
                yield f"{above}{name}", value
            else:
                yield from codes_of(value, f"{above}{name}.")


def outcome_of(message, connection, values):
    """What came of a request, in one line."""
    connection.send_frame(
        connection.request(message.key, message.version, message.encode(values), message.flexible)
    )
    try:
        answer = message.decode(connection.answer(message.flexible))
    except Closed:
        return CLOSED
    except TimeoutError:
        return NO_ANSWER
    counted = collections.Counter(codes_of(answer))
    return ", ".join(
        f"{path} {code}" + (f" × {count}" if count > 1 else "")
        for (path, code), count in sorted(counted.items())
    ) or "no error code"  # fmt: skip


class Sender:
    """Sends the requests to the broker at `address`, on one connection until that is closed."""

    def __init__(self, address, connect):
        self.address = address
        self.connect = connect
        self.cluster = GoodCluster(address)
        self.connection = None
        self.seen = self.cluster.look()
        self.closed_peers = []

    def send(self, row, version, values):
        """The outcome of one request, which says too when it changed what is there."""
        if self.connection is None:
            self.connection = self.connect()
            self.connection.socket.settimeout(ANSWER_TIMEOUT_S)
        outcome = outcome_of(Message(row.api, version), self.connection, values)
        if outcome == CLOSED:
            self.closed_peers.append(self.connection.peer)
        if outcome == CLOSED or outcome == NO_ANSWER:
            self.end_connection()
        return outcome + (CHANGES if self.changed() else "")

    def end_connection(self):
        """The next request is sent on another one, as another peer. Returns this peer."""
        peer = self.connection.peer
        self.connection.close()
        self.connection = None
        return peer

    def changed(self):
        """Whether good clients see something else than before; it is as before after this."""
        seen = self.cluster.look()
        if seen == self.seen:
            return False
        if not self.cluster.restore(self.seen):
            differs = {
                name: (self.seen.get(name), seen.get(name))
                for name in self.seen.keys() | seen.keys()
                if self.seen.get(name) != seen.get(name)
            }
            raise AssertionError(f"this changed and cannot be undone: {differs}")
        return True

    def cut_short(self, row, version):
        """How many requests were closed, each a good one with its end missing."""
        message = Message(row.api, version)
        body = message.encode(row.taken or row.refused)
        for end in range(len(body)):
            with self.connect() as connection:
                frame = connection.request(
                    message.key, version, body[:end], message.flexible
                )
                connection.send_frame(frame)
                try:
                    connection.wait_until_closed(ANSWER_TIMEOUT_S)
                except AssertionError as error:
                    raise AssertionError(f"cut at byte {end} of {len(body)}: {error}") from None
                self.closed_peers.append(connection.peer)
        assert not self.changed(), "what is there was changed"
        return len(body)


# ---- recording ----


def record(address):
    """Writes what a Kafka does with each request."""
    sender = Sender(address, lambda: kafka_wire.Connection(address, ANSWER_TIMEOUT_S))
    recorded = {}
    for row in table(sender.cluster):
        for version in row.versions:
            name = f"{row.api} {version}"
            sender.cut_short(row, version)
            outcomes = collections.defaultdict(list)
            for case, values in requests_of(row, version):
                try:
                    outcomes[sender.send(row, version, values)].append(case)
                except AssertionError as error:
                    raise AssertionError(f"{name}, {case}: {error}") from None
            recorded[name] = dict(sorted(outcomes.items()))
            print(f"{name}: {sum(map(len, outcomes.values()))} requests", flush=True)
    RECORDED.write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n")


# ---- weir ----


def agrees(outcome, expected):
    """Whether an outcome is as good as Kafka's."""
    if outcome == expected:
        return True
    if outcome.endswith(CHANGES) or expected.endswith(CHANGES):
        return False
    has_no_code = f" {UNKNOWN_SERVER_ERROR}" in expected or expected in (CLOSED, NO_ANSWER)
    return has_no_code and (outcome == CLOSED or _is_refusal(outcome))


def _is_refusal(outcome):
    codes = [part.split(" × ")[0].rsplit(" ", 1)[1] for part in outcome.split(", ")]
    return any(code.lstrip("-").isdigit() and code != "0" for code in codes)


class GroupAdmin(Subject):
    def connect(self):
        return kafka_wire.Connection(self.weir.kafka, source=self.own_address())

    def prepare(self):
        self.sender = Sender(self.weir.kafka, self.connect)
        self.rows = table(self.sender.cluster)
        recorded = json.loads(RECORDED.read_text())
        self.recorded = {
            name: {case: outcome for outcome, cases in outcomes.items() for case in cases}
            for name, outcomes in recorded.items()
        }
        self.allowed = {
            (request, case): entry["weir"]
            for entry in tomllib.loads(ALLOWED.read_text()).get("difference", [])
            for request in entry["requests"]
            for case in entry["cases"]
        }
        self.allowed_seen = set()

    def cases(self):
        yield "every group and admin request that is served stands in the table", self.covered
        for row in self.rows:
            for version in row.versions:
                yield f"{row.api} {version} cut short", self.cut_short, row, version
                yield f"{row.api} {version} with bad fields", self.bad_fields, row, version
        yield "no allowed difference is out of date", self.allowed_occur

    def covered(self):
        mine = {Message(row.api, row.versions[0]).key for row in self.rows}
        unknown = set(self.sender.cluster.served) - mine - set(OTHER_APIS.values())
        assert not unknown, f"served, but in no row of group_admin_requests: keys {unknown}"
        return f"{len(mine)} requests"

    def lines_of_the_closed(self):
        peers, self.sender.closed_peers = self.sender.closed_peers, []
        for peer in peers:
            self.expect_line(peer, "malformed")
        return len(peers)

    def must_serve(self, row, version):
        served = self.sender.cluster.serves(row.api, version)
        assert served, f"{row.api} {version} is not served"

    def cut_short(self, row, version):
        self.must_serve(row, version)
        cuts = self.sender.cut_short(row, version)
        assert self.lines_of_the_closed() == cuts
        return f"{cuts} requests, each closed with its line"

    def bad_fields(self, row, version):
        name, expected = f"{row.api} {version}", self.recorded[f"{row.api} {version}"]
        self.must_serve(row, version)
        count, problems = 0, []
        for case, values in requests_of(row, version):
            outcome = self.sender.send(row, version, values)
            count += 1
            if (name, case) in ANSWERED_WITH_A_LINE:
                peer = self.sender.end_connection()
                self.expect_line(peer, ANSWERED_WITH_A_LINE[name, case])
            if not self.is_allowed(name, case, outcome) and not agrees(outcome, expected[case]):
                problems.append(f"{case}: {outcome!r}, Kafka {expected[case]!r}")
        closed = self.lines_of_the_closed()
        assert not problems, f"{len(problems)} of {count} differ: " + "; ".join(problems)
        return f"{count} requests as Kafka, {closed} of them closed with a line"

    def is_allowed(self, name, case, outcome):
        if self.allowed.get((name, case)) != outcome:
            return False
        self.allowed_seen.add((name, case))
        return True

    def allowed_occur(self):
        unseen = set(self.allowed) - self.allowed_seen
        assert not unseen, f"no longer so, take it from {ALLOWED.name}: {sorted(unseen)}"
        return f"{len(self.allowed)} differences, each with its reason"


if __name__ == "__main__":
    if sys.argv[1:2] == ["record"]:
        record(sys.argv[2])
    else:
        main(GroupAdmin)
