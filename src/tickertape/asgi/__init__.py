"""What any ASGI server or app can mount: requests in, streams out. Knows no process, socket or setting of a server."""

from tickertape.asgi.app import App, AppOptions

__all__ = ["App", "AppOptions"]
