"""An endpoint that keeps no events says so for good: nobody is to send them again, or to ask again."""

import grpc

from conf.schema import Config
from serve.api import recommender_pb2 as pb
from serve.api.problems import EVENTS_OFF
from serve.deployment.ingress import api
from serve.releases.registry import ReleaseRegistry
from tests.serve.deployment.answers.test_background import settings_of
from tests.serve.ingress_alone import ingress_alone
from tests.serve.rollout.test_two_phase import registry

__all__ = ["registry"]

EVENT = {"event_id": "1", "user_id": "u", "item_id": "i", "type": "click"}


async def test_events_and_users_are_not_here(tiny: Config, registry: ReleaseRegistry) -> None:
    async with ingress_alone(settings_of(tiny, registry)) as endpoint:
        for method, path, json in (
            ("POST", "/v1/events", {"events": [EVENT]}),
            ("GET", "/v1/users/u", None),
            ("DELETE", "/v1/users/u", None),
        ):
            refused = await endpoint.http(method, path, json=json)
            assert (refused.status_code, refused.headers.get("retry-after")) == (404, None)
            assert refused.json()["detail"].startswith(EVENTS_OFF)
        for name, message in (
            ("PostEvents", pb.EventsRequest(events=[pb.Event(**EVENT)])),
            ("GetUser", pb.UserRequest(user_id="u")),
            ("ForgetUser", pb.UserRequest(user_id="u")),
        ):
            call = await endpoint.grpc(name, message)
            assert (call.code, call.details) == (grpc.StatusCode.NOT_FOUND, refused.json()["detail"])


def test_openapi_says_so() -> None:
    paths = api.openapi()["paths"]
    asked = [paths["/v1/events"]["post"], paths["/v1/users/{user_id}"]["get"], paths["/v1/users/{user_id}"]["delete"]]
    assert all("404" in each["responses"] for each in asked)
