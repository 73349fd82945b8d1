"""Read an event stream with httpx2: python read_with_httpx2.py URL."""

import sys

import httpx2

from tickertape import Decoder


def main(url: str) -> None:
    decoder = Decoder()
    headers = {"Accept": "text/event-stream"}
    with httpx2.stream("GET", url, headers=headers, timeout=httpx2.Timeout(10, read=60)) as response:
        response.raise_for_status()
        for chunk in response.iter_bytes():
            for event in decoder.feed(chunk):
                print(event.type, event.id, event.data)
    decoder.close()


main(sys.argv[1])
