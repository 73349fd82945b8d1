"""The HTTP server: routes, the streaming path and the page."""
