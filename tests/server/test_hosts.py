"""Behind proxies, under other names, below a path, for pages of other origins."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.http import ask, open_stream, request
from support.in_process import InProcess
from tickertape.cli.serve import warn_of_rebinding
from tickertape.errors import SettingsError
from tickertape.server.configuration import read_file, with_upstreams
from tickertape.server.hosts import TrustedProxies, checked
from tickertape.server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "chat.example.org"
OWN = f"https://{NAME}"
APP = "https://app.example.org"
MODELS = "/v1/models"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """Reached under a name, by a proxy that nobody has said to trust."""
    with InProcess(tmp_path_factory.mktemp("named"), allow_hosts=(NAME,), allow_origins=(APP,)) as server:
        yield server


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """Reached through a proxy that is trusted, below a path."""
    with InProcess(
        tmp_path_factory.mktemp("proxied"),
        allow_hosts=(NAME,),
        trusted_proxies=("127.0.0.1",),
        root_path="/chat",
        api_keys=("secret",),
        login_attempts=3,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with InProcess(tmp_path_factory.mktemp("keyed"), api_keys=("secret",), allow_origins=(APP,)) as server:
        yield server


# --- names


def test_a_proxy_that_hands_on_its_name_is_welcome_once_the_name_is_allowed(named: InProcess) -> None:
    for host in (NAME, f"{NAME}:8443", NAME.upper(), f"{NAME}.", "127.0.0.1:1"):
        assert request(named.url, "GET", MODELS, headers={"Host": host}).status == 200
    own = {"Host": NAME, "Origin": OWN}
    assert request(named.url, "POST", "/api/openai/stream", ask("hi"), own).status == 200


def test_both_refusals_name_the_option_that_mends_them(named: InProcess) -> None:
    refused = request(named.url, "GET", MODELS, headers={"Host": "other.example:80"})
    assert (refused.status, refused.error["code"]) == (421, "wrong_host")
    assert "--allow-host other.example" in refused.error["message"]
    refused = request(named.url, "GET", MODELS, headers={"Origin": "https://other.example"})
    assert (refused.status, refused.error["code"]) == (403, "wrong_origin")
    assert "--allow-origin https://other.example" in refused.error["message"]
    refused = request(named.url, "GET", MODELS, headers={"Origin": "null"})
    assert "--allow-origin URL" in refused.error["message"]


def test_of_several_names_each_must_be_a_known_one(named: InProcess) -> None:
    with socket.create_connection(("127.0.0.1", named.port)) as connection:
        connection.sendall(f"GET {MODELS} HTTP/1.1\r\nHost: {NAME}\r\nHost: other.example\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 421 ")


@pytest.mark.parametrize("name", ["x-forwarded-host", "X-Forwarded-Host"])
def test_what_a_stranger_says_to_have_been_forwarded_counts_for_nothing(named: InProcess, name: str) -> None:
    rebound = {"Host": "evil.example", name: "localhost"}
    assert request(named.url, "GET", MODELS, headers=rebound).status == 421
    hidden = {name: NAME, "Origin": OWN}
    assert request(named.url, "GET", MODELS, headers=hidden).status == 403


def test_a_trusted_proxy_says_the_name_and_both_names_must_be_known(proxied: InProcess) -> None:
    bearer = {"Authorization": "Bearer secret"}
    forwarded = bearer | {"X-Forwarded-Host": NAME, "Origin": OWN}
    assert request(proxied.url, "GET", MODELS, headers=forwarded).status == 200
    assert request(proxied.url, "GET", MODELS, headers=forwarded | {"X-Forwarded-Host": "evil.example"}).status == 421
    assert request(proxied.url, "GET", MODELS, headers=forwarded | {"Host": "evil.example"}).status == 421


def test_an_address_cannot_be_a_foreign_pages_name(tmp_path: Path) -> None:
    with InProcess(tmp_path, host="0.0.0.0", allow_hosts=(NAME,)) as server:
        assert request(server.url, "GET", MODELS, headers={"Host": "192.168.1.5:8000"}).status == 200
        assert request(server.url, "GET", MODELS, headers={"Host": "evil.example"}).status == 421


def test_a_load_balancer_that_names_no_host_is_answered(named: InProcess) -> None:
    """HTTP/1.0 needs none; every browser sends one, and so does a page whose name points here."""
    with socket.create_connection(("127.0.0.1", named.port)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("forwarded", "trusted", "client"),
    [
        ("203.0.113.9", ["127.0.0.1"], "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9", ["127.0.0.1"], "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9, 10.1.2.3", ["127.0.0.1", "10.0.0.0/8"], "203.0.113.9"),
        ("10.1.2.3", ["127.0.0.1", "10.0.0.0/8"], "10.1.2.3"),
        ("", ["127.0.0.1"], "127.0.0.1"),
        ("203.0.113.9", ["::1"], "127.0.0.1"),
    ],
)
def test_the_client_is_the_last_one_that_no_trusted_proxy_is(forwarded: str, trusted: list[str], client: str) -> None:
    scope: dict[str, Any] = {"client": ("127.0.0.1", 1), "scheme": "http", "path": "/", "headers": []}
    scope["headers"] = [(b"x-forwarded-for", forwarded.encode()), (b"x-forwarded-proto", b"https")]
    TrustedProxies(Settings(trusted_proxies=tuple(trusted))).apply(scope)
    assert scope["client"][0] == client
    assert scope["scheme"] == ("http" if trusted == ["::1"] else "https")


# --- below a path


@pytest.mark.parametrize("prefix", ["", "/chat"], ids=["taken off", "left on"])
def test_below_a_path_every_url_that_the_server_says_leads_back_to_it(proxied: InProcess, prefix: str) -> None:
    bearer = {"Authorization": "Bearer secret"}
    with open_stream(proxied.url, "POST", f"{prefix}/api/openai/stream", ask("hi"), bearer) as stream:
        stream.read()
    assert stream.headers["location"].startswith("/chat/v1/streams/")
    asked = request(proxied.url, "POST", f"{prefix}/v1/streams", ask("hi"), bearer)
    assert asked.json()["url"] == asked.headers["location"]
    inside = asked.headers["location"].removeprefix("/chat")
    assert request(proxied.url, "GET", prefix + inside, headers=bearer).status == 200
    made = request(proxied.url, "POST", f"{prefix}/backend-api/conversations", {"id": None}, bearer)
    assert made.headers["location"].startswith("/chat/backend-api/conversation/")


@pytest.mark.parametrize("prefix", ["", "/chat"], ids=["taken off", "left on"])
def test_below_a_path_the_page_finds_all_its_files(proxied: InProcess, prefix: str) -> None:
    for path in ("/", f"/c/{'a' * 32}"):
        page = request(proxied.url, "GET", prefix + path).body.decode()
        named = re.findall(r'(?:src|href)="(/[^"#]*)"', page)
        assert len(named) > 20
        assert all(one.startswith("/chat/") for one in named)
    for one in set(named):
        got = request(proxied.url, "GET", prefix + one.removeprefix("/chat"))
        assert got.status == 200
        if one.endswith("manifest.webmanifest"):
            assert (got.json()["start_url"], got.json()["scope"], got.json()["id"]) == ("../../", "../../", "../../")
    folder = next(one for one in named if "/assets/" in one).rpartition("/")[0]
    worker = request(proxied.url, "GET", prefix + folder.removeprefix("/chat") + "/service-worker.js")
    assert worker.headers["service-worker-allowed"] == "/chat/"


def test_the_path_without_its_slash_leads_to_the_page(proxied: InProcess) -> None:
    moved = request(proxied.url, "GET", "/chat")
    assert (moved.status, moved.headers["location"]) == (308, "/chat/")


def test_a_trusted_proxy_says_the_path_and_a_page_of_it_is_another_page(tmp_path: Path) -> None:
    with InProcess(tmp_path, trusted_proxies=("127.0.0.0/8",)) as server:
        plain = request(server.url, "GET", "/")
        below = request(server.url, "GET", "/", headers={"X-Forwarded-Prefix": "/a/b/"})
        assert b'href="/a/b/assets/' in below.body
        assert below.headers["etag"] != plain.headers["etag"]
        for bad in ('/"><script>', "//evil.example", "/../x y", "evil"):
            assert request(server.url, "GET", "/", headers={"X-Forwarded-Prefix": bad}).body == plain.body
    with InProcess(tmp_path / "b") as server:
        assert request(server.url, "GET", "/", headers={"X-Forwarded-Prefix": "/a"}).body == plain.body


# --- other origins


def test_a_page_of_an_allowed_origin_may_ask_what_it_may_do(keyed: InProcess) -> None:
    wanted = "authorization, content-type, idempotency-key, last-event-id, tickertape-disconnect, x-stainless-lang"
    headers = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
    reply = request(keyed.url, "OPTIONS", "/v1/chat/completions", headers=headers)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == APP
    assert reply.headers["access-control-allow-headers"] == wanted
    assert {"POST", "PATCH", "DELETE"} <= set(reply.headers["access-control-allow-methods"].split(", "))
    assert "access-control-allow-credentials" not in reply.headers
    assert reply.headers["vary"] == "origin"
    foreign = request(
        keyed.url, "OPTIONS", "/v1/chat/completions", headers=headers | {"Origin": "https://evil.example"}
    )
    assert (foreign.status, "access-control-allow-origin" in foreign.headers) == (403, False)


def test_a_page_of_an_allowed_origin_may_read_streams_and_errors(keyed: InProcess) -> None:
    bearer = {"Origin": APP, "Authorization": "Bearer secret"}
    with open_stream(keyed.url, "POST", "/api/openai/stream", ask("one two three"), bearer) as stream:
        stream.read()
    assert stream.events[-1].data == "[DONE]"
    missing = request(keyed.url, "GET", "/v1/streams/nothing", headers=bearer)
    locked = request(keyed.url, "GET", MODELS, headers={"Origin": APP})
    assert (missing.status, locked.status) == (404, 401)
    for headers in (stream.headers, missing.headers, locked.headers):
        assert headers["access-control-allow-origin"] == APP
        shown = headers["access-control-expose-headers"].split(", ")
        assert shown == ["Location", "Tickertape-Stream", "Tickertape-Cursor", "Retry-After"]


def test_the_cookie_of_who_is_signed_in_is_not_taken_from_another_page(keyed: InProcess) -> None:
    own = {"Origin": keyed.url}
    cookie = request(keyed.url, "POST", "/api/session", {"key": "secret"}, own).headers["set-cookie"].partition(";")[0]
    assert request(keyed.url, "GET", MODELS, headers=own | {"Cookie": cookie}).status == 200
    assert request(keyed.url, "GET", MODELS, headers={"Origin": APP, "Cookie": cookie}).status == 401
    for method, body in (("POST", {"key": "secret"}), ("DELETE", None)):
        reply = request(keyed.url, method, "/api/session", body, {"Origin": APP, "Cookie": cookie})
        assert (reply.status, "set-cookie" in reply.headers) == (403, False)
    assert request(keyed.url, "GET", MODELS, headers=own | {"Cookie": cookie}).status == 200


# --- settings


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"allow_hosts": ("https://example.org",)}, "--allow-host is a name without scheme and port"),
        ({"allow_hosts": ("example.org:80",)}, "--allow-host is a name"),
        ({"allow_hosts": ("*",)}, "--allow-host is a name"),
        ({"allow_origins": ("example.org",)}, "--allow-origin is a scheme, a name and perhaps a port"),
        ({"allow_origins": ("*",)}, "--allow-origin is a scheme"),
        ({"allow_origins": ("null",)}, "--allow-origin is a scheme"),
        ({"allow_origins": ("https://a.example/x",)}, "--allow-origin is a scheme"),
        ({"allow_origins": ("https://a.example:x",)}, "--allow-origin is a scheme"),
        ({"trusted_proxies": ("nginx",)}, "--trusted-proxy is an address or a network"),
        ({"root_path": "chat"}, "--root-path is a path like /chat"),
        ({"root_path": "/a b"}, "--root-path is a path"),
        ({"root_path": "/a/.."}, "--root-path is a path"),
        ({"root_path": "/v1/x"}, "routes of its own"),
    ],
)
def test_what_cannot_be_a_name_an_origin_or_a_path_is_one_sentence(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        checked(Settings(**settings))
    assert says in str(refused.value)


def test_what_is_given_is_brought_into_the_form_that_requests_have() -> None:
    given = Settings(
        allow_hosts=("Example.ORG.", "[::1]"),
        allow_origins=("HTTPS://App.Example.org:443/", "http://[::1]:80", "http://localhost:5173"),
        root_path="/chat/",
    )
    made = checked(given)
    assert made.allow_hosts == ("example.org", "::1")
    assert made.allow_origins == ("https://app.example.org", "http://[::1]", "http://localhost:5173")
    assert made.root_path == "/chat"


def test_the_file_says_it_too(tmp_path: Path) -> None:
    file = tmp_path / "tickertape.toml"
    file.write_text(
        f'allow_hosts = ["{NAME}"]\nallow_origins = ["{APP}"]\ntrusted_proxies = ["10.0.0.0/8"]\nroot_path = "/chat"\n'
        '[[upstream]]\nname = "one"\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    assert read_file(file).allow_hosts == (NAME,)
    made = with_upstreams(Settings(allow_hosts=("other.example",)), file)
    assert (made.allow_hosts, made.allow_origins) == (("other.example", NAME), (APP,))
    assert (made.trusted_proxies, made.root_path) == (("10.0.0.0/8",), "/chat")


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "allow_hosts": (NAME,)}, False),
        ({"host": "0.0.0.0", "api_keys": ("x",)}, False),
        ({}, False),
    ],
)
def test_whoever_opens_the_server_to_all_is_warned_of_dns_rebinding(
    capsys: pytest.CaptureFixture[str], settings: dict[str, Any], warned: bool
) -> None:
    warn_of_rebinding(Settings(**settings))
    said = capsys.readouterr().err
    assert ("DNS rebinding" in said and "--allow-host NAME" in said) is warned


# --- a real proxy

DOC = (Path(__file__).parents[2] / "docs" / "behind-a-proxy.md").read_text("utf-8")
NGINX = re.findall(r"```nginx\n(.*?)```", DOC, re.DOTALL)
CADDY = re.findall(r"```caddy\n(.*?)```", DOC, re.DOTALL)


class Proxy:
    """A proxy's program in front of a server, in a folder of its own; entered it gives the URL where it listens."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._command: list[str] = []

    def __enter__(self) -> str:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return f"http://127.0.0.1:{self.port}"
            except ConnectionRefusedError:
                time.sleep(0.01)
        raise AssertionError("the proxy has ended")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


class Caddy(Proxy):
    """Caddy with a site of the document."""

    def __init__(self, folder: Path, site: str, server: InProcess) -> None:
        super().__init__()
        assert "127.0.0.1:8000" in site
        assert site.startswith(f"{NAME} {{")
        site = site.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        (folder / "Caddyfile").write_text(
            f"{{\nadmin off\nauto_https off\n}}\nhttp://{NAME}:{self.port} {{{site.partition('{')[2]}"
        )
        environment = ["env", f"HOME={folder}", f"XDG_DATA_HOME={folder}", f"XDG_CONFIG_HOME={folder}"]
        self._command = [*environment, "caddy", "run", "--adapter=caddyfile", f"--config={folder / 'Caddyfile'}"]


class Nginx(Proxy):
    """nginx with a server block of the document."""

    def __init__(self, folder: Path, block: str, server: InProcess) -> None:
        super().__init__()
        assert "127.0.0.1:8000" in block
        assert "listen 80;" in block
        block = block.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}").replace(
            "listen 80;", f"listen 127.0.0.1:{self.port};"
        )
        paths = "".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
            f"events {{}} http {{ access_log off; {paths} {block} }}"
        )
        self._command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


@needs_nginx
@pytest.mark.parametrize("number", range(len(NGINX)))
@pytest.mark.parametrize("strip", [True, False], ids=["as written", "path left on"])
def test_behind_nginx_as_the_document_configures_it(tmp_path: Path, number: int, strip: bool) -> None:
    block = NGINX[number] if strip else NGINX[number].replace(":8000/;", ":8000;")
    prefix = "/chat" if "/chat" in block else ""
    (tmp_path / "nginx").mkdir()
    settings = {"allow_hosts": (NAME,), "trusted_proxies": ("127.0.0.1",), "root_path": prefix, "api_keys": ("secret",)}
    with InProcess(tmp_path / "data", **settings) as server, Nginx(tmp_path / "nginx", block, server) as url:
        own = {"Host": NAME, "Origin": f"http://{NAME}", "Authorization": "Bearer secret"}
        assert request(url, "GET", f"{prefix}/", headers=own).status == 200
        with open_stream(url, "POST", f"{prefix}/api/openai/stream", ask("one two three"), own) as stream:
            stream.read()
        assert stream.complete
        assert stream.events[-1].data == "[DONE]"
        assert stream.headers["location"].startswith(f"{prefix}/v1/streams/")
        again = request(url, "GET", stream.headers["location"], headers=own)
        assert again.body == stream.body
        assert request(url, "GET", f"{prefix}/", headers={"Host": "evil.example"}).status == 421
        if prefix:
            assert request(url, "GET", prefix, headers=own).headers["location"].endswith("/chat/")
        cookie = request(url, "POST", f"{prefix}/api/session", {"key": "secret"}, own | {"Authorization": ""})
        assert f"Path={prefix}/;" in cookie.headers["set-cookie"]
        assert "Secure" not in cookie.headers["set-cookie"]


@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed")
@pytest.mark.parametrize("number", range(len(CADDY)))
def test_behind_caddy_as_the_document_configures_it(tmp_path: Path, number: int) -> None:
    prefix = "/chat" if "/chat" in CADDY[number] else ""
    (tmp_path / "caddy").mkdir()
    settings: dict[str, Any] = {"allow_hosts": (NAME,), "trusted_proxies": ("127.0.0.1",)}
    with InProcess(tmp_path / "data", **settings) as server, Caddy(tmp_path / "caddy", CADDY[number], server) as url:
        own = {"Host": NAME, "Origin": f"http://{NAME}"}
        page = request(url, "GET", f"{prefix}/", headers=own)
        assert f'href="{prefix}/assets/'.encode() in page.body
        with open_stream(url, "POST", f"{prefix}/api/openai/stream", ask("one two three"), own) as stream:
            stream.read()
        assert stream.events[-1].data == "[DONE]"
        assert request(url, "GET", stream.headers["location"], headers=own).body == stream.body


@needs_nginx
def test_a_proxy_that_hands_nothing_on_is_mended_by_the_origin(tmp_path: Path) -> None:
    """nginx sends its own name for the server, unless told otherwise."""
    block = "server { listen 80; location / { proxy_pass http://127.0.0.1:8000; } }"
    (tmp_path / "nginx").mkdir()
    with InProcess(tmp_path / "a", allow_origins=(OWN,)) as server, Nginx(tmp_path / "nginx", block, server) as url:
        page = {"Host": NAME, "Origin": OWN}
        assert request(url, "POST", "/v1/streams", ask("hi"), page).status == 202
        refused = request(url, "POST", "/v1/streams", ask("hi"), page | {"Origin": "https://b.example"})
        assert "--allow-origin https://b.example" in refused.error["message"]
