"""Read an event stream with requests: python read_with_requests.py URL."""

import sys

import requests  # type: ignore[import-untyped,import-not-found,unused-ignore]

from tickertape import Decoder


def main(url: str) -> None:
    decoder = Decoder()
    with requests.get(url, headers={"Accept": "text/event-stream"}, stream=True, timeout=(10, 60)) as response:
        response.raise_for_status()
        for chunk in response.iter_content(chunk_size=None):
            for event in decoder.feed(chunk):
                print(event.type, event.id, event.data)
    decoder.close()


main(sys.argv[1])
