"""What stands before every operation of the Kinesis port, as boto3 meets it.

    signatures  `--kinesis-keys`: a known key is let in, in a header and in a query string; a wrong
                secret, an unknown key, a wrong session token, a wrong clock and a changed body are
                refused with AWS's errors
    policies    a key of another account may do what a stream's policy allows it, and one's own key
                what no policy denies it
    modes       `--kinesis-auth none` asks for nothing, the default for a signature's shape
    rates       ListStreams is answered 5 times a second, whatever more is asked
    cors        a page of any origin may call
"""

import datetime
import hashlib
import json
import pathlib
import sys
import tempfile
import time
import urllib.error
import urllib.request

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "harness"))

from cases import Cases
from weir_process import Weir

KEYS = """
[[key]]
id = "OWNER"
secret = "secret/of+the=owner"

[[key]]
id = "GUEST"
secret = "secret of the guest"
account = "111122223333"
user = "guest"

[[key]]
id = "TEMPORARY"
secret = "short"
session-token = "token//with=signs"
"""
JSON = "application/x-amz-json-1.1"


def client(weir, key="OWNER", secret="secret/of+the=owner", token=None):
    return boto3.client(
        "kinesis",
        endpoint_url=weir.endpoint,
        region_name="eu-west-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )


def guest(weir):
    return client(weir, "GUEST", "secret of the guest")


def refused(call, code, text):
    try:
        call()
    except botocore.exceptions.ClientError as error:
        told = error.response["Error"]
        assert told["Code"] == code and text in told["Message"], told
        return
    raise AssertionError(f"not refused with {code}")


def post(weir, headers, body=b"{}", query="", method="POST"):
    """A request as it stands; its status, headers and body."""
    request = urllib.request.Request(f"{weir.endpoint}/{query}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


class BodySigningQueryAuth(botocore.auth.SigV4QueryAuth):
    """botocore's moves a body into the query string, which is right for S3 alone."""

    def payload(self, request):
        return hashlib.sha256(b"{}").hexdigest()


def signatures(weir):
    for call in [client(weir), client(weir, "TEMPORARY", "short", "token//with=signs")]:
        call.list_streams()
    mismatch = "does not match the signature you provided"
    refused(client(weir, secret="x").list_streams, "InvalidSignatureException", mismatch)
    unknown = "The security token included in the request is invalid."
    for key, token in [("NOBODY", None), ("TEMPORARY", None), ("TEMPORARY", "other"), ("OWNER", "t")]:
        call = client(weir, key, "short", token).list_streams
        refused(call, "UnrecognizedClientException", unknown)
    return "two keys let in, five refused"


def signed(weir, auth, headers=()):
    request = botocore.awsrequest.AWSRequest(
        "POST", f"{weir.endpoint}/", data=b"" if headers == () else b"{}",
        headers={"x-amz-target": "Kinesis_20131202.ListStreams", "content-type": JSON},
    )  # fmt: skip
    auth.add_auth(request)
    return request


def by_hand(weir):
    credentials = botocore.credentials.Credentials("OWNER", "secret/of+the=owner")
    request = signed(weir, BodySigningQueryAuth(credentials, "kinesis", "eu-west-1", 60))
    query = "?" + request.url.split("?", 1)[1]
    headers = dict(request.headers)
    status, _, body = post(weir, headers, query=query)
    assert status == 200, body
    status, _, body = post(weir, headers, b"{ }", query)
    assert json.loads(body)["__type"] == "InvalidSignatureException", (status, body)

    late = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=6)
    right_time = botocore.auth.get_current_datetime
    try:
        botocore.auth.get_current_datetime = lambda *_, **__: late.replace(tzinfo=None)
        refused(client(weir).list_streams, "InvalidSignatureException", "Signature expired: ")
    finally:
        botocore.auth.get_current_datetime = right_time
    status, _, body = post(weir, {"x-amz-target": "Kinesis_20131202.ListStreams", "content-type": JSON})
    assert json.loads(body)["__type"] == "MissingAuthenticationTokenException", (status, body)
    return "in a query string; a changed body, an old and a missing signature are refused"


def policies(weir):
    owner, stranger = client(weir), guest(weir)
    owner.create_stream(StreamName="shared", ShardCount=1)
    summary = owner.describe_stream_summary(StreamName="shared")["StreamDescriptionSummary"]
    arn = summary["StreamARN"]
    record = {"StreamARN": arn, "Data": b"x", "PartitionKey": "k"}
    denied = (
        "User: arn:aws:iam::111122223333:user/guest is not authorized to perform: "
        f"kinesis:PutRecord on resource: {arn} because no resource-based policy allows"
    )
    refused(lambda: stranger.put_record(**record), "AccessDeniedException", denied)

    def policy(*statements):
        document = {"Version": "2012-10-17", "Statement": statements}
        owner.put_resource_policy(ResourceARN=arn, Policy=json.dumps(document))

    allow = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
        "Action": ["kinesis:PutRecord", "kinesis:Get*"],
        "Resource": arn,
    }
    policy(allow)
    stranger.put_record(**record)
    iterator = stranger.get_shard_iterator(
        StreamARN=arn, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    assert len(stranger.get_records(ShardIterator=iterator, StreamARN=arn)["Records"]) == 1
    for call in [lambda: stranger.delete_stream(StreamARN=arn), stranger.list_streams]:
        refused(call, "AccessDeniedException", "is not authorized to perform: kinesis:")
    deny = {"Effect": "Deny", "Principal": "*", "Action": "kinesis:PutRecord", "Resource": "*"}
    policy(allow, deny)
    explicit = "with an explicit deny in a resource-based policy"
    for who in [stranger, owner]:
        refused(lambda who=who: who.put_record(**record), "AccessDeniedException", explicit)
    # A region in an ARN is nobody's way around a policy: there is one name space.
    elsewhere = {**deny, "Resource": arn.replace("eu-west-1", "us-east-1")}
    assert elsewhere["Resource"] != arn
    policy(allow, elsewhere)
    refused(lambda: owner.put_record(**record), "AccessDeniedException", explicit)
    owner.delete_resource_policy(ResourceARN=arn)
    owner.put_record(**record)
    consumer = owner.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]
    keep = {**deny, "Action": "kinesis:DeregisterStreamConsumer"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [keep]})
    owner.put_resource_policy(ResourceARN=consumer["ConsumerARN"], Policy=document)
    for name in [
        {"ConsumerARN": consumer["ConsumerARN"]},
        {"StreamARN": arn, "ConsumerName": "c"},
    ]:
        refused(
            lambda name=name: owner.deregister_stream_consumer(**name),
            "AccessDeniedException", explicit,
        )  # fmt: skip
    return "a guest gets what is allowed, nobody what is denied"


def modes(weir):
    headers = {"x-amz-target": "Kinesis_20131202.ListStreams", "content-type": JSON}
    status, _, body = post(weir, headers)
    assert (status, json.loads(body)["HasMoreStreams"]) == (200, False), body
    return "no signature is asked for"


def rates(weir):
    call, admitted, asked = client(weir), 0, 0
    begun = time.monotonic()
    while time.monotonic() - begun < 4:
        asked += 1
        try:
            call.list_streams()
            admitted += 1
        except call.exceptions.LimitExceededException as error:
            told = error.response["Error"]["Message"]
            assert told == "Rate exceeded for account 000000000000.", told
    # A full bucket, four seconds' worth, and one call into debt at the most.
    assert asked > 100 and 24 <= admitted <= 26, f"{admitted} of {asked} in 4 s"
    return f"{admitted} of {asked} ListStreams in 4 s"


def cors(weir):
    asked = {
        "Origin": "http://example.com",
        "Access-Control-Request-Headers": "x-amz-target,authorization",
        "Access-Control-Request-Method": "POST",
    }
    status, headers, _ = post(weir, asked, None, method="OPTIONS")
    assert status == 200 and headers["Access-Control-Allow-Origin"] == "*", headers
    assert headers["Access-Control-Allow-Headers"] == asked["Access-Control-Request-Headers"]
    status, headers, _ = post(weir, {"Origin": "http://example.com", "content-type": JSON})
    assert headers["Access-Control-Allow-Origin"] == "*", headers
    ids = [headers["x-amzn-RequestId"], headers["x-amz-id-2"]]
    status, headers, _ = post(weir, {"content-type": JSON})
    assert ids != [headers["x-amzn-RequestId"], headers["x-amz-id-2"]], "the same ids twice"
    return "preflight and answers, each with its own ids"


def main():
    cases = Cases()
    with tempfile.TemporaryDirectory(prefix="weir-wire-") as directory:
        keys = pathlib.Path(directory) / "keys.toml"
        keys.write_text(KEYS)
        keys.chmod(0o600)
        weir = Weir(pathlib.Path(directory) / "data", "--kinesis-keys", str(keys), "--quotas", "off")
        with weir:
            for name, case in [
                ("signatures", signatures), ("by hand", by_hand), ("policies", policies),
                ("cors", cors),
            ]:  # fmt: skip
                cases.run(name, case, weir)
        weir = Weir(pathlib.Path(directory) / "open", "--kinesis-auth", "none")
        with weir:
            for name, case in [("modes", modes), ("rates", rates)]:
                cases.run(name, case, weir)
    cases.finish()


if __name__ == "__main__":
    main()
