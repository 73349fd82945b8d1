"""Read an event stream with nothing but a socket: python read_with_a_socket.py HOST PORT PATH."""

import socket
import sys

from tickertape import Decoder


def main(host: str, port: int, path: str) -> None:
    # HTTP/1.0 has no chunks: what follows the empty line is the stream.
    request = f"GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n"
    decoder = Decoder()
    with socket.create_connection((host, port), timeout=60) as connection, connection.makefile("rb") as file:
        connection.sendall(request.encode())
        status = file.readline()
        if status.split()[1] != b"200":
            raise SystemExit(f"The server answered {status.decode('latin-1').strip()}.")
        while file.readline().strip():
            pass
        while chunk := file.read1(65536):
            for event in decoder.feed(chunk):
                print(event.type, event.id, event.data)
    decoder.close()


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
