"""Credentials for AWS SDKs on a local endpoint, and a boto3 client with a test's own number of
attempts.
"""

import os

import boto3
from botocore.config import Config

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "weir",
    "AWS_SECRET_ACCESS_KEY": "weir",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    # Nothing outside this machine is asked for anything.
    "AWS_EC2_METADATA_DISABLED": "true",
}

# The same for a weir that verifies signatures.
KEYS = """
[[key]]
id = "weir"
secret = "weir"
"""


def kinesis(endpoint, **config):
    """A boto3 client with the SDK's defaults but for `config`."""
    os.environ.update(ENVIRONMENT)
    return boto3.client("kinesis", endpoint_url=endpoint, config=Config(**config))
