"""Bad input on the Kinesis port of a running weir; `tests/badinput/run kinesis`.

Every case ends in the error that AWS gives, or in a closed connection, with one log line that names
the peer and says why. All the while two well-behaved clients go on and the broker's memory is
watched.
"""

import base64
import json
import socket
import struct
import time

import cbor
import kafka_wire
import kinesis_wire
from http2_wire import Http2Connection
from kinesis_wire import CBOR, RawConnection, signed
from subject import MIB, Subject, main

STREAM = "badinput"
ACCOUNT = "000000000000"
NUMBER = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber"
NO_LIST = "Start of list found where not expected"
NO_MAP = "Start of structure or map found where not expected."
PUT = {"StreamName": STREAM, "PartitionKey": "k", "Data": "aGVsbG8="}
REFUSED = "refused"
FAILED = "failed to satisfy constraint: Member must"
SHORTER = "have length less than or equal to"


def data_of(length):
    return base64.b64encode(bytes(length)).decode()


def head(*lines):
    return "\r\n".join(("POST / HTTP/1.1", "Host: weir", *lines, "", "")).encode()


SIGNED_HEAD = [f"{name}: {value}" for name, value in signed("PutRecord").items()]


class KinesisPort(Subject):
    def connect(self):
        return kinesis_wire.Connection(self.weir.kinesis, source=self.own_address())

    def raw(self):
        return RawConnection(self.weir.kinesis, source=self.own_address())

    def call(self, operation, members):
        with self.connect() as connection:
            return connection.call(operation, members)

    def prepare(self):
        self.make(STREAM)

    def make(self, name, shards=1):
        self.call("CreateStream", {"StreamName": name, "ShardCount": shards}).expect(200)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            answer = self.call("DescribeStreamSummary", {"StreamName": name}).expect(200)
            if answer.json()["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                return
            time.sleep(0.05)
        raise AssertionError(f"stream {name} did not become active")

    def gets(self, headers, body, check, reason, path="/", method="POST"):
        """Sends one request; `check` looks at its answer, and the connection goes on."""
        with self.connect() as connection:
            detail = check(connection.post(headers, body, path, method))
            self.expect_line(connection.peer, reason)
            connection.call("DescribeAccountSettings", {}).expect(200)
            return detail

    def fails(self, name, message=None, status=400, member="message"):
        """A check: this error in JSON."""

        def check(answer):
            said = answer.expect_error(name, message, status, member)
            return f"{status} {name}" + (f": {said[:160]}" if said else ", no message")

        return check

    # ---- bodies ----

    def bodies(self):
        malformed = self.fails("SerializationException")
        for name, body in [
            ("malformed JSON", b'{"StreamName":'),
            ("JSON followed by more", b"{}{}"),
            ("JSON that is not UTF-8", b'{"StreamName":"\xff\xfe"}'),
            ("JSON that is a number", b"1"),
            ("a JSON number out of range", b'{"Limit":1e99999}'),
            ("a depth bomb of 1,000,000 lists in JSON", b"[" * 1_000_000),
            ("a depth bomb of 1,000,000 maps in JSON", b'{"a":' * 1_000_000),
            ("8,000,000 numbers in JSON", b"[" + b"0," * 8_000_000 + b"0]"),
        ]:
            yield name, self.gets, signed("PutRecord"), body, malformed, "Serialization"
        for name, body in [
            ("malformed CBOR", b"\xbf\x6aStreamName"),
            ("a CBOR list of 2^63 items", b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff\x00"),
            ("a CBOR byte string of 2^64-1 bytes", b"\x5b" + b"\xff" * 8),
            ("a depth bomb of 1,000,000 lists in CBOR", b"\x81" * 1_000_000),
            ("a depth bomb of 1,000,000 tags in CBOR", b"\xc2" * 1_000_000),
            ("8,000,000 numbers in CBOR", b"\x9f" + b"\x00" * 8_000_000 + b"\xff"),
        ]:
            headers = signed("PutRecord", CBOR)
            yield name, self.gets, headers, body, self.malformed_cbor, "Serialization"
        yield "an empty body", self.gets, signed("PutRecord"), b"", malformed, REFUSED
        yield "a body of 17 MiB", self.body_of_17_mib
        yield "a body of 10 GB announced", self.huge_announcement
        yield "a body of 20 MiB in chunks", self.endless_chunks

    def malformed_cbor(self, answer):
        answer.expect(400)
        assert answer.headers["Content-Type"] == CBOR, answer.headers["Content-Type"]
        said = cbor.decode(answer.body)
        assert said == {"__type": "SerializationException"}, said
        return "400 SerializationException in CBOR, no message"

    def closes_with_413(self, connection):
        answer = connection.read_until_closed(5)
        assert answer.startswith(b"HTTP/1.1 413"), answer[:100]
        self.expect_line(connection.peer, "413")
        return "413, and the connection is closed"

    def body_of_17_mib(self):
        with self.raw() as connection:
            connection.send(head(*SIGNED_HEAD, f"Content-Length: {17 * MIB}"))
            for _ in range(17):
                if not connection.send(b"x" * MIB):
                    break
            return self.closes_with_413(connection)

    def huge_announcement(self):
        with self.raw() as connection:
            connection.send(head(*SIGNED_HEAD, "Content-Length: 10000000000"))
            return self.closes_with_413(connection)

    def endless_chunks(self):
        with self.raw() as connection:
            connection.send(head(*SIGNED_HEAD, "Transfer-Encoding: chunked"))
            for _ in range(20):
                if not connection.send(b"100000\r\n" + b"x" * MIB + b"\r\n"):
                    break
            return self.closes_with_413(connection)

    # ---- targets, types of content, signatures ----

    def transport(self):
        def without(name):
            return {key: value for key, value in signed("PutRecord").items() if key != name}

        body = json.dumps(PUT).encode()
        unknown = self.fails("UnknownOperationException")
        for name, headers in [
            ("an unknown operation", signed("PutRecordz")),
            ("another service's target", signed("PutRecord") | {"X-Amz-Target": "DynamoDB.Get"}),
            ("no target", without("X-Amz-Target")),
            ("a target of 4,000 characters", signed("x" * 4000)),
        ]:
            yield name, self.gets, headers, body, unknown, "UnknownOperation"
        yield (
            "no signature",
            self.gets,
            without("Authorization"),
            body,
            self.fails("MissingAuthenticationTokenException", "Missing Authentication Token"),
            "MissingAuthenticationToken",
        )
        yield (
            "a signature in header and query",
            self.gets,
            signed("PutRecord"),
            body,
            self.fails(
                "InvalidSignatureException", "Found both 'X-Amz-Algorithm' as a query-string"
            ),
            "InvalidSignature",
            "/?X-Amz-Algorithm=AWS4-HMAC-SHA256",
        )
        clauses = "".join(
            f"Authorization header requires '{part}' parameter. "
            for part in ("Credential", "Signature", "SignedHeaders")
        )
        yield (
            "a signature without its parts",
            self.gets,
            signed("PutRecord") | {"Authorization": "AWS4-HMAC-SHA256"},
            body,
            self.fails("IncompleteSignatureException", clauses + "Authorization=AWS4-HMAC-SHA256"),
            "IncompleteSignature",
        )
        coral = "com.amazon.coral.service#UnknownOperationException"
        for name, media_type, status, text in [
            ("content type text/plain", "text/plain", 404, b"<UnknownOperationException/>"),
            ("content type application/json", "application/json", 404, coral.encode()),
        ]:
            headers = signed("PutRecord", media_type)
            yield name, self.gets, headers, body, self.has_text(status, text), REFUSED
        denied = self.has_text(403, b"<AccessDeniedException>")
        yield "GET", self.gets, signed("ListStreams"), None, denied, REFUSED, "/", "GET"
        yield "DELETE", self.gets, signed("ListStreams"), None, denied, REFUSED, "/", "DELETE"

    def has_text(self, status, text):
        def check(answer):
            answer.expect(status)
            assert text in answer.body, answer.body[:200]
            return f"{status} {text.decode()}"

        return check

    # ---- members ----

    def types(self):
        """Wrong types, in AWS's words."""
        for operation, members, text in [
            (
                "PutRecord",
                PUT | {"StreamName": True},
                "class java.lang.Boolean can not be converted to an String",
            ),
            ("PutRecord", PUT | {"StreamName": 1}, f"{NUMBER} can not be converted to an String"),
            ("PutRecord", PUT | {"StreamName": []}, NO_LIST),
            ("PutRecord", PUT | {"StreamName": {}}, NO_MAP),
            ("PutRecord", PUT | {"Data": 1}, f"{NUMBER} can not be converted to a Blob"),
            (
                "PutRecord",
                PUT | {"Data": "abc"},
                "'abc' can not be converted to a Blob: "
                "Base64 encoded length is expected a multiple of 4 bytes but found: 3",
            ),
            (
                "PutRecord",
                PUT | {"Data": "a*cd"},
                "'a*cd' can not be converted to a Blob: Invalid Base64 character: '*'",
            ),
            ("PutRecords", {"StreamName": STREAM, "Records": "x"}, "Expected list or null"),
            ("PutRecords", {"StreamName": STREAM, "Records": {}}, NO_MAP),
            ("PutRecords", {"StreamName": STREAM, "Records": ["x"]}, "Expected null"),
            (
                "CreateStream",
                {"StreamName": "n", "ShardCount": "1"},
                "class java.lang.String can not be converted to an Integer",
            ),
            ("GetRecords", {"ShardIterator": [1]}, NO_LIST),
            (
                "GetShardIterator",
                {"StreamName": STREAM, "Timestamp": "now"},
                "class java.lang.String can not be converted to milliseconds since epoch",
            ),
        ]:
            check = self.fails("SerializationException", text, member="Message")
            (member,) = [name for name, value in members.items() if PUT.get(name) != value][-1:]
            shown = json.dumps(members[member])
            body = json.dumps(members).encode()
            yield (
                f"{operation} with {member} {shown}",
                self.gets,
                signed(operation),
                body,
                check,
                "Serialization",
            )

    def constraints(self):
        start = "1 validation error detected: Value "
        records = [{"Data": "YQ==", "PartitionKey": "k"}] * 501
        entries = "[com.amazonaws.kinesis.v20131202.PutRecordsRequestEntry@"
        for name, operation, members, message in [
            (
                "PutRecords with 501 records",
                "PutRecords",
                {"StreamName": STREAM, "Records": records},
                f"{start}'{entries}",
            ),
            (
                "PutRecords with no records",
                "PutRecords",
                {"StreamName": STREAM, "Records": []},
                f"{start}'[]' at 'records' {FAILED} have length greater than or equal to 1",
            ),
            (
                "a stream name with a slash",
                "PutRecord",
                PUT | {"StreamName": "a/b"},
                f"{start}'a/b' at 'streamName' {FAILED} satisfy regular expression pattern: "
                "[a-zA-Z0-9_.-]+",
            ),
            (
                "a partition key of 257 characters",
                "PutRecord",
                PUT | {"PartitionKey": "é" * 257},
                f"{start}'" + "é" * 257 + f"' at 'partitionKey' {FAILED} {SHORTER} 256",
            ),
            (
                "no data",
                "PutRecord",
                {"StreamName": STREAM, "PartitionKey": "k"},
                f"{start}null at 'data' {FAILED} not be null",
            ),
            (
                "a limit of 10,001",
                "GetRecords",
                {"ShardIterator": "x", "Limit": 10001},
                f"{start}'10001' at 'limit' {FAILED} have value less than or equal to 10000",
            ),
            (
                "an iterator of 513 characters",
                "GetRecords",
                {"ShardIterator": "x" * 513},
                f"{start}'" + "x" * 513 + f"' at 'shardIterator' {FAILED} {SHORTER} 512",
            ),
            (
                "everything wrong at once",
                "PutRecords",
                {"Records": [{}] * 500},
                "10 validation errors detected: ",
            ),
        ]:
            check = self.fails("ValidationException", message)
            if len(members.get("Records", ())) == 501:
                check = self.too_many_records(message)
            body = json.dumps(members).encode()
            yield name, self.gets, signed(operation), body, check, "Validation"

    def too_many_records(self, start):
        end = f"]' at 'records' {FAILED} {SHORTER} 500"

        def check(answer):
            said = answer.expect_error("ValidationException", start)
            assert said.endswith(end), said[-200:]
            return f"400 ValidationException: {said[:90]}…{end}"

        return check

    # ---- well-formed requests that make no sense ----

    def refused_by_the_operation(self):
        for name, operation, members, error, message in [
            (
                "a record of 1 MiB and a byte",
                "PutRecord",
                PUT | {"Data": data_of(MIB)},
                "InvalidArgumentException",
                "",
            ),
            (
                "an explicit hash key of 2^128",
                "PutRecord",
                PUT | {"ExplicitHashKey": str(2**128)},
                "InvalidArgumentException",
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: "
                "[0, 2^128-1]. Specified value was 340282366920938463463374607431768211456",
            ),
            (
                "a stream that is not there",
                "PutRecord",
                PUT | {"StreamName": "nope"},
                "ResourceNotFoundException",
                f"Stream nope under account {ACCOUNT} not found.",
            ),
            (
                "a shard that is not there",
                "GetShardIterator",
                {
                    "StreamName": STREAM,
                    "ShardId": "shardId-000000000009",
                    "ShardIteratorType": "LATEST",
                },
                "ResourceNotFoundException",
                f"Shard shardId-000000000009 in stream {STREAM} under account {ACCOUNT} "
                "does not exist",
            ),
            (
                "a shard id above 2^31",
                "GetShardIterator",
                {
                    "StreamName": STREAM,
                    "ShardId": "shardId-002147483648",
                    "ShardIteratorType": "LATEST",
                },
                "ResourceNotFoundException",
                f"Could not find shard shardId-002147483648 in stream {STREAM} "
                f"under account {ACCOUNT}.",
            ),
            (
                "a sequence number from nowhere",
                "GetShardIterator",
                {
                    "StreamName": STREAM,
                    "ShardId": "0",
                    "ShardIteratorType": "AT_SEQUENCE_NUMBER",
                    "StartingSequenceNumber": "1234567890",
                },
                "InvalidArgumentException",
                "Invalid StartingSequenceNumber. It encodes ",
            ),
            (
                "an iterator of random text",
                "GetRecords",
                {"ShardIterator": "AAAAAAAAAAE" + "x" * 200},
                "InvalidArgumentException",
                "Invalid ShardIterator.",
            ),
            (
                "an iterator that is no base64",
                "GetRecords",
                {"ShardIterator": "not an iterator!"},
                "InvalidArgumentException",
                "Invalid ShardIterator.",
            ),
            (
                "a stream that exists",
                "CreateStream",
                {"StreamName": STREAM, "ShardCount": 1},
                "ResourceInUseException",
                f"Stream {STREAM} under account {ACCOUNT} already exists.",
            ),
            (
                "a stream of 1,000,000 shards",
                "CreateStream",
                {"StreamName": "wide", "ShardCount": 1_000_000},
                "LimitExceededException",
                "",
            ),
        ]:
            yield name, self.refused, operation, members, error, message
        yield "an iterator with one character changed", self.changed_iterators
        yield "an iterator of a stream made again", self.iterator_of_a_former_stream
        yield "a request of 10.5 MiB of records", self.too_many_bytes

    def refused(self, operation, members, error, message):
        with self.connect() as connection:
            said = connection.call(operation, members).expect_error(error, message)
            connection.call("DescribeAccountSettings", {}).expect(200)
            return f"400 {error}: {said[:160]}"

    def iterator(self, stream):
        start = {"StreamName": stream, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}
        return self.call("GetShardIterator", start).expect(200).json()["ShardIterator"]

    def changed_iterators(self):
        text = self.iterator(STREAM)
        with self.connect() as connection:
            for at in range(0, len(text) - 4, 7):
                changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
                answer = connection.call("GetRecords", {"ShardIterator": changed})
                answer.expect_error("InvalidArgumentException", "Invalid ShardIterator.")
        return "InvalidArgumentException: Invalid ShardIterator. wherever it was"

    def iterator_of_a_former_stream(self):
        self.make("former")
        iterator = self.iterator("former")
        self.call("DeleteStream", {"StreamName": "former"}).expect(200)
        deadline = time.monotonic() + 5
        while self.call("DescribeStreamSummary", {"StreamName": "former"}).status == 200:
            assert time.monotonic() < deadline, "the stream is still there"
            time.sleep(0.05)
        self.make("former")
        answer = self.call("GetRecords", {"ShardIterator": iterator}).expect(400)
        error = answer.json()["__type"]
        assert error in ("ResourceNotFoundException", "InvalidArgumentException"), error
        return f"400 {error}"

    def too_many_bytes(self):
        record = {"Data": data_of(MIB - 1), "PartitionKey": "k"}
        records = [record] * 10 + [{"Data": data_of(MIB // 2), "PartitionKey": "k"}]
        members = {"StreamName": STREAM, "Records": records}
        said = self.call("PutRecords", members).expect_error("InvalidArgumentException", "")
        return f"400 InvalidArgumentException: {said}"

    # ---- quotas ----

    def quotas(self):
        yield "an over-quota burst by PutRecords", self.burst_of_put_records
        yield "an over-quota burst by PutRecord", self.burst_of_put_record
        yield "an over-quota burst by GetRecords", self.burst_of_get_records

    def burst_of_put_records(self):
        """2 MB into a shard that takes 1 MiB a second."""
        self.make("burst")
        records = [{"Data": data_of(4000), "PartitionKey": str(key)} for key in range(500)]
        with self.connect() as connection:
            answer = connection.call("PutRecords", {"StreamName": "burst", "Records": records})
            result = answer.expect(200).json()
            refused = [record for record in result["Records"] if "ErrorCode" in record]
            assert result["FailedRecordCount"] == len(refused) > 0, result["FailedRecordCount"]
            codes = {record["ErrorCode"] for record in refused}
            assert codes == {"ProvisionedThroughputExceededException"}, codes
            texts = {record["ErrorMessage"] for record in refused}
            assert texts == {self.rate_exceeded("burst")}, texts
            taken = len(records) - len(refused)
            assert 200 <= taken <= 270, f"{taken} of 500 records were taken"
            assert all("SequenceNumber" not in record for record in refused)
            self.expect_line(connection.peer, "quota")
            return f"200, {taken} taken, {len(refused)} refused: {texts.pop()}"

    def rate_exceeded(self, stream):
        shard = "shardId-000000000000"
        return f"Rate exceeded for shard {shard} in stream {stream} under account {ACCOUNT}."

    def burst_of_put_record(self):
        """The shard is in debt from the case before, or is brought into it; then it recovers."""
        self.make("burst-single")
        record = {"StreamName": "burst-single", "PartitionKey": "k", "Data": data_of(900_000)}
        time.sleep(1)  # One line a second tells of quotas.
        with self.connect() as connection:
            for _ in range(4):
                answer = connection.call("PutRecord", record)
                if answer.status != 200:
                    break
            name = "ProvisionedThroughputExceededException"
            said = answer.expect_error(name, self.rate_exceeded("burst-single"))
            self.expect_line(connection.peer, "quota")
            started = time.monotonic()
            while connection.call("PutRecord", record).status != 200:
                assert time.monotonic() - started < 5, "refused for over 5 s"
                time.sleep(0.05)
            seconds = time.monotonic() - started
            return f"400 {name}: {said}; taken again after {seconds:.1f} s"

    def burst_of_get_records(self):
        iterator = self.iterator("burst")
        time.sleep(1)
        with self.connect() as connection:
            for _ in range(7):
                answer = connection.call("GetRecords", {"ShardIterator": iterator, "Limit": 1})
                if answer.status != 200:
                    break
            name = "ProvisionedThroughputExceededException"
            text = f"Rate exceeded for Shard - {ACCOUNT}/burst/shardId-000000000000"
            said = answer.expect_error(name, text)
            self.expect_line(connection.peer, "quota")
            return f"400 {name}: {said}"

    # ---- HTTP/1 ----

    def http1(self):
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)
        for name, data in [
            ("a Kafka request", struct.pack(">i", 30) + kafka_wire.header(18, 0, 1) + bytes(12)),
            ("a TLS hello", hello),
            ("random bytes", bytes(range(128, 256)) * 4 + b"\r\n\r\n"),
            ("a request line without a version", b"POST /\r\n\r\n"),
            ("a header without a colon", head("nonsense")),
            ("a content length that is no number", head("Content-Length: abc")),
            ("two content lengths", head("Content-Length: 1", "Content-Length: 2")),
            (
                "a chunk size that is no number",
                head(*SIGNED_HEAD, "Transfer-Encoding: chunked") + b"XYZ\r\n",
            ),
            ("a header of 1 MB", head("X-Large: " + "x" * 1_000_000)),
            ("101 headers", head(*(f"X-Header-{number}: x" for number in range(101)))),
            (
                "headers of 17 KiB",
                head(*SIGNED_HEAD, "X-Large: " + "x" * 17_000, "Content-Length: 0"),
            ),
        ]:
            yield name, self.closes, data
        yield "a second request in the body of the first", self.smuggled_request
        yield "a body cut short", self.body_cut_short
        yield "clients that ask and never read", self.clients_that_never_read
        yield "200 announcements of 15 MiB", self.announcements, 15 * MIB
        yield "200 clients that send their headers slowly", self.slow_headers

    def closes(self, data):
        with self.raw() as connection:
            connection.send(data)
            answer = connection.read_until_closed(3)
            status = answer.split(b"\r\n")[0].decode(errors="replace")
            assert not answer or status.startswith("HTTP/1.1 4"), status
            self.expect_line(connection.peer, "")
            return f"{status or 'no answer'}, closed"

    def smuggled_request(self):
        """Told a length and chunks, a server must not see two requests where a proxy saw one."""
        inner = head(*SIGNED_HEAD, "Content-Length: 0")
        with self.raw() as connection:
            lines = [
                *SIGNED_HEAD,
                f"Content-Length: {5 + len(inner)}",
                "Transfer-Encoding: chunked",
            ]
            connection.send(head(*lines) + b"0\r\n\r\n" + inner)
            connection.socket.settimeout(1)
            try:
                answers = connection.read_until_closed(1)
            except AssertionError as still_open:
                raise AssertionError(f"the connection may be reused: {still_open}") from None
            assert answers.count(b"HTTP/1.1 ") <= 1, "both were answered"
            return answers.split(b"\r\n")[0].decode() or "closed"

    def body_cut_short(self):
        with self.raw() as connection:
            connection.send(head(*SIGNED_HEAD, "Content-Length: 100") + b"{")
            connection.socket.shutdown(socket.SHUT_WR)
            connection.read_until_closed(3)
            self.expect_line(connection.peer, "")
            return "closed"

    def large_topic(self):
        """20 MB that Kinesis clients may read without a quota, since Kafka made the topic."""
        with kafka_wire.Connection(self.weir.kafka) as connection:
            if kafka_wire.create_topic(connection, "large") == kafka_wire.NONE:
                batch = kafka_wire.record_batch([bytes(1_000_000)])
                for _ in range(20):
                    assert kafka_wire.produce(connection, "large", batch)[0] == 0
        return self.iterator("large")

    def clients_that_never_read(self):
        """60 replies of 14 MB in base64 are asked for and not taken."""
        body = json.dumps({"ShardIterator": self.large_topic()}).encode()
        lines = [f"{name}: {value}" for name, value in signed("GetRecords").items()]
        request = head(*lines, f"Content-Length: {len(body)}") + body
        connections = [self.raw() for _ in range(60)]
        for connection in connections:
            connection.send(request)
        time.sleep(3)
        for connection in connections:
            connection.close()
        return "800 MB of replies asked for by 60 connections"

    def announcements(self, body_bytes):
        """Connections that announce a large body and send one byte of it."""
        connections = [self.raw() for _ in range(200)]
        try:
            for connection in connections:
                connection.send(head(*SIGNED_HEAD, f"Content-Length: {body_bytes}") + b"{")
            time.sleep(6)
            seen = self.bystanders.look()
        finally:
            for connection in connections:
                connection.close()
        return f"while they stood there: {seen}"

    def slow_headers(self):
        """A byte of a header every quarter of a second; their time ends after this test's."""
        connections = [self.raw() for _ in range(200)]
        try:
            for connection in connections:
                connection.send(head(*SIGNED_HEAD)[:60])
            for _ in range(12):
                time.sleep(0.25)
                for connection in connections:
                    connection.send(b"x")
            seen = self.bystanders.look()
        finally:
            for connection in connections:
                connection.close()
        return f"while they sent: {seen}"

    # ---- HTTP/2 ----

    def http2(self):
        yield "HTTP/2 works at all", self.good_http2
        yield "rapid reset of 20,000 streams", self.rapid_reset
        yield "1,000 streams at once", self.many_streams
        yield "headers without an end", self.endless_headers
        yield "an HPACK bomb", self.hpack_bomb
        yield "100,000 pings", self.pings
        yield "a frame of 16 MB", self.large_frame
        yield "replies behind a closed window", self.closed_window

    def http2_connection(self, window=65_535):
        return Http2Connection(self.weir.kinesis, window, source=self.own_address())

    def good_http2(self):
        with self.http2_connection() as connection:
            connection.request(1, signed("ListStreams"), b"{}")
            status, body = connection.response(1)
            assert status == "200" and STREAM in body.decode(), (status, body)
            return "200"

    def rapid_reset(self):
        with self.http2_connection() as connection:
            sent = 0
            for number in range(20_000):
                stream = 2 * number + 1
                connection.headers(stream, signed("DescribeAccountSettings"), ends=False)
                connection.reset(stream)
                sent += 1
                if connection.is_closed():
                    break
            code = connection.error_until_closed(5)
            self.expect_line(connection.peer, "")
            return f"GOAWAY with code {code} after {sent} streams at most"

    def many_streams(self):
        with self.http2_connection() as connection:
            for number in range(1_000):
                connection.headers(2 * number + 1, signed("DescribeAccountSettings"), ends=False)
            refused, goaway = connection.refused_streams(2)
            assert refused >= 900 or goaway is not None, f"only {refused} of 1,000 were refused"
            return f"{refused} streams refused, GOAWAY {goaway}"

    def endless_headers(self):
        with self.http2_connection() as connection:
            sent = connection.continuation_flood(10_000)
            code = connection.error_until_closed(5)
            self.expect_line(connection.peer, "")
            return f"code {code}, {sent * 16 // 1024} MiB were sent at most"

    def hpack_bomb(self):
        with self.http2_connection() as connection:
            connection.hpack_bomb(1, signed("DescribeAccountSettings"), 10_000)
            outcome = connection.outcome(1, 5)
            self.expect_line(connection.peer, "")
            return outcome

    def pings(self):
        with self.http2_connection() as connection:
            sent = connection.ping_flood(100_000, 3)
            return f"{sent} were taken, none of the answers read"

    def large_frame(self):
        with self.http2_connection() as connection:
            connection.frame_header(1, 0xFFFFFF)
            code = connection.error_until_closed(5)
            self.expect_line(connection.peer, "")
            return f"GOAWAY with code {code}"

    def closed_window(self):
        """Each of 400 replies of 14 MB may not be sent, since the client gives it no window."""
        body = json.dumps({"ShardIterator": self.large_topic()}).encode()
        connections = [self.http2_connection(window=0) for _ in range(4)]
        try:
            for connection in connections:
                for number in range(100):
                    connection.request(2 * number + 1, signed("GetRecords"), body)
            time.sleep(3)
            seen = self.bystanders.look()
        finally:
            for connection in connections:
                connection.close()
        return f"while they waited: {seen}"

    # ---- slow clients, which run beside the other cases ----

    def slow(self):
        for name, client, reason in [
            ("a body announced and never sent", self.silent_body, "408"),
            ("a body of one byte each half second", self.trickled_body, "408"),
        ]:
            yield name, client, reason

    def silent_body(self, connection):
        connection.http.sock.sendall(head(*SIGNED_HEAD, "Content-Length: 100"))
        return self.until_closed(connection, trickle=None)

    def trickled_body(self, connection):
        connection.http.sock.sendall(head(*SIGNED_HEAD, "Content-Length: 2000"))
        return self.until_closed(connection, trickle=b" ")

    def until_closed(self, connection, trickle):
        started = time.monotonic()
        connection.http.sock.settimeout(0.5)
        answer = b""
        while time.monotonic() - started < 30:
            try:
                if trickle:
                    connection.http.sock.sendall(trickle)
                part = connection.http.sock.recv(1000)
                answer += part
                if not part:
                    break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
        else:
            raise AssertionError("still open after 30 s")
        assert answer.startswith(b"HTTP/1.1 408"), answer[:100]
        return time.monotonic() - started

    def cases(self):
        yield from self.bodies()
        yield from self.transport()
        yield from self.types()
        yield from self.constraints()
        yield from self.refused_by_the_operation()
        yield from self.quotas()
        yield from self.http1()
        yield from self.http2()


if __name__ == "__main__":
    main(KinesisPort)
