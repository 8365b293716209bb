"""The least that takes events: one uvicorn process, FastAPI, and the same write to the same store, nothing else.

`python -m tests.benchmarks.endpoints.bare_events <overrides, separated by spaces> <port>`. It checks nothing, and each
request is one write in a thread.
"""

import sys
import threading

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from conf.schema import load
from serve.events.event import MICROS, Event
from serve.events.stores import STATE_STORES


def main(overrides: str, port: str) -> None:
    config = load(overrides.split()).events
    store, lock, app = STATE_STORES[config.store](config), threading.Lock(), FastAPI()

    def write(body: bytes) -> int:
        events = [
            Event(
                event_id=event["event_id"],
                user_id=event["user_id"],
                item_id=event["item_id"],
                type=event["type"],
                time_us=int(event["time"] * MICROS),
            )
            for event in orjson.loads(body)["events"]
        ]
        with lock:
            return len(store.append(events))

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/events")
    async def post(http: Request) -> Response:
        accepted = await run_in_threadpool(write, await http.body())
        return Response(orjson.dumps({"accepted": accepted}), status_code=202, media_type="application/json")

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
