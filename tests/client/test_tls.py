"""Both clients over TLS: a certificate that is trusted, one that is not, and closing in the middle."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

import aiohttp
import pytest
import urllib3

from faults import server as faults
from support.closing import closing_ends_the_wait_for_a_head
from tickertape.client import AsyncEventSource, EventSource
from tickertape.errors import ConnectionFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")

BODY = b"id: 1\ndata: x\n\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key in the same file."""
    folder = tmp_path_factory.mktemp("certificate")
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    where = ("-keyout", folder / "key", "-out", folder / "certificate")
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *where)
    subprocess.run(make, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "certificate").read_bytes())
    return both


@pytest.fixture(scope="module")
def secure(certificate: Path) -> Iterator[faults.FaultServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with faults.FaultServer(tls=context) as running:
        yield running


def test_a_certificate_that_nobody_vouches_for_is_final(client, secure) -> None:
    outcome = client.read(secure.serve(faults.events(BODY)).url)
    assert isinstance(outcome.error, ConnectionFailed)
    assert "cannot be made" in str(outcome.error)
    assert outcome.waits == []


def test_a_blocking_source_reads_over_tls_and_can_be_closed_from_another_thread(secure, certificate) -> None:
    script = secure.serve(faults.events(BODY), faults.silence(BODY))
    with urllib3.PoolManager(ca_certs=str(certificate)) as pool:
        source = EventSource(script.url, pool=pool, reconnection_time=0.001)
        assert [next(source).data, next(source).data] == ["x", "x"]
        reader = threading.Thread(target=list, args=(source,))
        reader.start()
        source.close()
        reader.join(5)
        assert not reader.is_alive()
    assert script.closed_by_client.wait(5)


def test_a_blocking_source_is_closed_while_the_head_of_its_answer_is_awaited(
    secure, certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    closing_ends_the_wait_for_a_head(secure)


async def test_closing_an_asyncio_source_waits_for_no_goodbye_of_the_server(secure, certificate) -> None:
    """Guards hang_up: aiohttp alone leaves the socket open until the server answers the end of TLS, 30 s at most."""
    left = threading.Event()

    def silent(connection: faults.Connection) -> None:
        connection.head(chunked=True)
        connection.send(BODY)
        left.wait(60)  # reads nothing, so that it does not hear the goodbye either

    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certificate))
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            async with AsyncEventSource(secure.serve(silent).url, session=session) as source:
                await anext(source)
                sock = source._transport._response.connection.transport.get_extra_info("socket")
                assert sock.fileno() >= 0
            await asyncio.sleep(0)  # asyncio closes with the loop's next turn
            assert sock.fileno() == -1
    finally:
        left.set()


async def test_an_asyncio_source_reads_over_tls(secure, certificate) -> None:
    script = secure.serve(faults.events(BODY), faults.silence(BODY))
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certificate))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        AsyncEventSource(script.url, session=session, reconnection_time=0.001) as source,
    ):
        assert [(await anext(source)).data, (await anext(source)).data] == ["x", "x"]
