r"""The whole API in an app of your own: its login says whose an answer is, and answers survive readers and restarts.

uvicorn mount_in_fastapi:app
curl -N -H 'X-User: ann' -H 'Content-Type: application/json' \
        -d '{"messages":[{"role":"user","content":"Hello there"}]}' http://127.0.0.1:8000/ai/api/openai/stream
"""

from fastapi import FastAPI, Request

from tickertape.asgi import App
from tickertape.core import Core
from tickertape.providers.echo import Echo

core = Core.on_disk("data", [Echo(20)])  # or tickertape.providers.openai.OpenAI(base_url, key), for example


def owner(request: Request) -> str | None:
    """Return whose the request is; None refuses it. Your session or token belongs here."""
    return request.headers.get("x-user")


api = App(core, owner=owner)
app = FastAPI(lifespan=api.lifespan)
app.mount("/ai", api)
