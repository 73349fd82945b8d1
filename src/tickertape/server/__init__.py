"""A process around `tickertape.asgi`: everything that only who owns the process may do.

It reads settings (`settings`, `configuration`, `upstreams`), builds the `Core` and the `App` (`app`), adds the page,
the probes and the metrics (`routes`), and serves on sockets with limits of its own (`run`, `listener`,
`http_protocol`).
It sets up logging, handles signals, freezes the garbage collector, starts workers (`workers`) and hands its socket to
the next process (`takeover`).

A request passes, in this order: `Listener` (how many connections) → `HttpProtocol` (the size and time of a head and
a body) → `AccessLog` → `AccessControl` (host, origin, key) → `tickertape.asgi.App`. There is no second path:
what the server serves is what others mount.

**Its end.** The first signal closes the listening sockets, cuts the readers, which reconnect to the next process, and
gives running answers ``grace`` seconds; the second ends them as lost. A killed process leaves its streams to whoever
shares the engine.
"""
