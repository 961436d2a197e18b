# pip install -r requirements.txt && componentize-py -d ../../wit -w sink-connector componentize connector -o python-connector.wasm
#
# A connector in Python: pages whoever is on call for every event. What is not in here is the point: no token, since the host
# attaches it to the request on its way out; no retry and no record of requests, since those are the host's. There is no
# socket behind it: `http.send` of the contract is the way out.

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.describe import CredentialSlot_Header, Descriptor, HeaderSlot, UpstreamRequest
from wit_world.imports import http, log, settings, types
from wit_world.imports.types import Failure, FailureKind, Receipt


class Describe(exports.Describe):
    """First, say what you are. An admin reads this before granting anything."""

    def describe(self) -> Descriptor:
        return Descriptor(
            name="python-connector",
            version="0.1.0",
            summary="Pages whoever is on call for every event.",
            settings_schema=json.dumps(
                {"type": "object", "properties": {"team": {"type": "string", "title": "Whom to page"}}}
            ),
            upstreams=[
                UpstreamRequest(
                    name="pager",
                    base_url=None,
                    reason="Pages.",
                    methods=["POST"],
                    path_prefixes=["/pages"],
                    credential=CredentialSlot_Header(HeaderSlot(name="x-pager-key", prefix="")),
                )
            ],
            inbound=None,
            consumes=[],
            produces=[],
            wants_state=False,
            poll_every_s=None,
        )


class Sink(exports.Sink):
    """Then, do one thing. What is raised as `Err` is a `failure` of the contract; the host has the last word on it."""

    def deliver(self, event: types.Event, attempt: types.Attempt) -> Receipt:
        team = json.loads(settings.get()).get("team", "on-call")
        page = {"team": team, "title": f"{event.type} from {event.source}", "text": event.data.decode(errors="replace")}
        response = send("/pages", page, attempt.idempotency_key)
        if not 200 <= response.status < 300:
            log.emit(log.Level.WARN, f"the pager answered {response.status}", [("team", team)])
            raise failure(FailureKind.DEPENDENCY, str(response.status), "the pager did not take the page")
        log.emit(log.Level.INFO, "paged", [("team", team)])
        page_id = json.loads(response.body)["id"]
        return Receipt(external_id=page_id, summary=f"page {page_id} sent to {team}", confirmation=None)


def send(path: str, body: dict, key: str) -> http.Response:
    request = http.Request(
        upstream="pager",
        method="POST",
        path=path,
        query=None,
        # The same in every attempt, so that the other side can tell a repetition.
        headers=[("content-type", b"application/json"), ("x-request-key", key.encode())],
        body=json.dumps(body).encode(),
        timeout_ms=None,
    )
    try:
        return http.send(request)
    except Err as error:
        raise failure(FailureKind.DEPENDENCY, "send", f"no answer: {error.value}") from error


def failure(kind: FailureKind, code: str, message: str) -> Err:
    return Err(Failure(kind=kind, code=code, message=message, retry_after_ms=None))
