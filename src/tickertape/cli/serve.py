"""``tickertape serve``: the page and the API on one port."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from tickertape.asgi.requests import parse_disconnect
from tickertape.cli.data_folder import data_option
from tickertape.errors import SettingsError
from tickertape.server.configuration import with_upstreams
from tickertape.server.hosts import checked, is_loopback
from tickertape.server.providers import PROVIDERS, select_or_echo
from tickertape.server.settings import Settings, shared, tuned
from tickertape.storage.folder import check_agreement

_DEFAULTS = Settings()


@click.command()
@click.option("--host", default=_DEFAULTS.host, show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=_DEFAULTS.port, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one."
)
@data_option
@click.option(
    "--provider", type=click.Choice(PROVIDERS), help="What answers. [default: every upstream that is known, else local]"
)
@click.option(
    "--upstream", metavar="URL", help="Base URL of one upstream, like http://localhost:8080/v1; else see --config."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="TICKERTAPE_CONFIG",
    help="File that names several upstreams. [default: tickertape.toml, here or in the user's configuration folder]",
)
@click.option("--model", help="Default model, if not the first one served.")
@click.option("--model-path", type=click.Path(path_type=Path), help="A GGUF file in place of the built-in model.")
@click.option(
    "--echo-rate",
    default=_DEFAULTS.echo_rate,
    show_default=True,
    help="Tokens a second of the echo model; 0 is unpaced.",
)
@click.option(
    "--api-key",
    "api_keys",
    multiple=True,
    envvar="TICKERTAPE_API_KEY",
    help="Key that callers must send; may be repeated.",
)
@click.option("--insecure", is_flag=True, help="Allow an address that others can reach without a key.")
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    envvar="TICKERTAPE_ALLOW_HOST",
    help="A name under which this server is reached, like example.org or host.docker.internal; may be repeated.",
)
@click.option(
    "--allow-origin",
    "allow_origins",
    multiple=True,
    metavar="URL",
    envvar="TICKERTAPE_ALLOW_ORIGIN",
    help="Origin of another page that may use this server, like https://example.org; may be repeated.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    envvar="TICKERTAPE_TRUSTED_PROXY",
    help="Address or network of a proxy whose X-Forwarded-* headers count, like 127.0.0.1; may be repeated.",
)
@click.option(
    "--root-path",
    default="",
    metavar="PATH",
    envvar="TICKERTAPE_ROOT_PATH",
    help="Path below which a proxy has this server, like /chat.",
)
@click.option(
    "--disconnect",
    default=_DEFAULTS.disconnect,
    show_default=True,
    help="What becomes of an answer that nobody reads: continue, cancel or abandon_after=SECONDS. "
    "The page's answers continue; those of /v1/chat/completions without an Idempotency-Key are cancelled at once.",
)
@click.option(
    "--set",
    "tune",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a setting or limit, like limits.running=100; docs/settings.md lists them. May be repeated.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Server processes.")
@click.option(
    "--takeover", is_flag=True, help="Take the port over from the server that runs on the same --data folder."
)
@click.option(
    "--log-level",
    default=_DEFAULTS.log_level,
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
)
def serve(
    *, workers: int, insecure: bool, takeover: bool, tune: tuple[str, ...], config: Path | None, **options: Any
) -> None:
    """Serve the page and the API.

    Without options a small built-in model answers, on this machine, without a key. With OPENAI_API_KEY,
    ANTHROPIC_API_KEY or GEMINI_API_KEY in the environment, an Ollama that runs, a tickertape.toml or --upstream,
    those services do.
    """
    from tickertape.server.run import bind, prepare
    from tickertape.server.run import serve as run
    from tickertape.server.takeover import Handover, Takeover

    for name in ("provider", "upstream", "model", "model_path", "host"):
        if str(options[name]) == "":
            raise SettingsError(f"--{name.replace('_', '-')} is empty; give it a value, or leave it out.")
    settings = checked(with_upstreams(tuned(Settings(**options), tune), config))
    _check_reach(settings, insecure=insecure)
    try:
        parse_disconnect(settings.disconnect)
    except ValueError:
        raise SettingsError(
            f"--disconnect is continue, cancel or abandon_after=SECONDS; it was {settings.disconnect!r}."
        ) from None
    prepare(settings)
    if not takeover:
        check_agreement(settings.data, shared(settings))
    old = Takeover(settings.data) if takeover else None
    listener = old.listener if old else bind(settings.host, settings.port)
    warn_of_rebinding(settings)
    try:
        catalog, model_file = select_or_echo(settings, lambda sentence: click.echo(f"tickertape: {sentence}", err=True))
    except BaseException:
        listener.close()
        raise

    if settings.upstreams:
        names = ", ".join(upstream.name for upstream in settings.upstreams)
        click.echo(f"tickertape: what answers: {names}", err=True)

    def started() -> None:
        if old:
            old.started()
        if hasattr(socket, "AF_UNIX"):
            Handover(settings.data, listener, replace=takeover).start()
        _announce(f"tickertape is listening on {_address(listener)} (Ctrl-C to stop)")

    if workers == 1:
        with suppress(KeyboardInterrupt):  # raised again once the server has ended in order
            run(settings, catalog, listener, started)
    else:
        from tickertape.server.workers import supervise

        sys.exit(supervise(settings, model_file, listener, workers, started))


def _check_reach(settings: Settings, *, insecure: bool) -> None:
    """Refuse to be open to the network by accident."""
    if not all(key.strip() for key in settings.api_keys):
        raise SettingsError("An --api-key is empty; anybody could use this server.")
    if not (is_loopback(settings.host) or settings.api_keys or insecure):
        raise SettingsError(
            f"Others can reach {settings.host}, and anybody could use this server. "
            "Give it a key with --api-key, or say --insecure if that is meant."
        )


def warn_of_rebinding(settings: Settings) -> None:
    """Say what an open server is open to, beside the network that it is meant for."""
    if not (is_loopback(settings.host) or settings.api_keys or settings.allow_hosts):
        click.echo(
            "tickertape: without a key and without --allow-host, every web page that somebody in this network opens "
            "can use this server, by a name that is made to point here (DNS rebinding). Give it a key, or name it "
            "with --allow-host NAME.",
            err=True,
        )


def _announce(sentence: str) -> None:
    """Print where the server is. Where standard output takes nothing, it serves all the same, and says so."""
    try:
        click.echo(sentence)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the exit would try once more
        click.echo(f"{sentence}; standard output cannot be written: {error.strerror}.", err=True)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
