"""Signs requests as botocore does, for a test to compare: one JSON object a line in, one signature a line out."""

import json
import sys

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

for line in sys.stdin:
    asked = json.loads(line)
    credentials = Credentials(asked["id"], asked["secret"], asked["token"])
    signer = S3SigV4Auth if asked["service"] == "s3" else SigV4Auth
    signer = signer(credentials, asked["service"], asked["region"])
    request = AWSRequest(asked["method"], asked["url"], data=asked["body"].encode())
    for name, value in asked["headers"]:
        request.headers.add_header(name, value)
    request.context["timestamp"] = asked["date"]
    canonical = signer.canonical_request(request)
    print(signer.signature(signer.string_to_sign(request, canonical), request))
