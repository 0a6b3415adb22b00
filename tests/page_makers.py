"""Makers for the tests of the search page: a small index with places, and the real server."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.corpora.jsonl import read_corpus
from makers import MELODIES, VOICES, melody, melody_corpus, write_wav
from serve_makers import TinyEncoder, open_live

if TYPE_CHECKING:
    from collections.abc import Iterator

    from isogloss.search.server.settings import ServeSettings

HOSTILE = '<script>window.hacked = 1</script><img src="x" onerror="window.hacked = 2">'
"""What a transcript may hold; the page shows it as text."""

UPLOAD_BYTES = 400_000
"""Largest upload of the server in these tests."""

PLACES = {
    "cmn": ("河北_承德市_滦平县", 40.9, 117.3),
    "yue": ("广东_广州_（无）", 23.1, 113.3),
    "hak": ("广东_梅州_梅江区", 24.3, 116.1),
}


def page_index(folder: Path) -> Path:
    """An index of 13 melodies at three places; m0-cmn and twin are the same recording.

    The transcript of m1-yue is hostile, m2-hak has none, m3-hak has a translation of 300
    characters without a space, and the recording of m1-yue is gone.
    """
    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.sequence_index import SequenceIndex

    corpus = read_corpus(melody_corpus(folder / "corpus"))
    changes: dict[str, dict[str, Any]] = {
        "m1-yue": {"transcript": HOSTILE},
        "m2-hak": {"transcript": None},
        "m3-hak": {"translation": "x" * 300},
        "m2-yue": {"translation": "二四六"},
    }
    items = []
    for item in corpus.items:
        site, latitude, longitude = PLACES[item.variety]
        extra = {"latitude": str(latitude), "longitude": str(longitude)}
        items.append(replace(item, site=site, extra=extra, **changes.get(item.id, {})))
    first = next(item for item in items if item.id == "m0-cmn")
    items.append(replace(first, id="twin/0 & co"))
    steps = TinyEncoder().encode(items)
    SequenceIndex.build(folder / "index", steps, items, settings=IndexSettings(units=256))
    Path(next(item for item in items if item.id == "m1-yue").audio or "").unlink()
    return folder / "index"


def microphone_wav(path: Path) -> Path:
    """What the browser's microphone hears: half a second of room, m2 as said in yue, room again."""
    _, lowest_hz, overtones = VOICES["yue"]
    said = melody(MELODIES[2], lowest_hz=lowest_hz, overtones=overtones, seed=2)
    room = 2e-4 * np.random.default_rng(0).standard_normal(8000)
    return write_wav(path, np.concatenate([room, said, np.tile(room, 20)]))


@contextlib.contextmanager
def serving(
    index: Path, *, encoder: TinyEncoder | None = None, settings: ServeSettings | None = None
) -> Iterator[str]:
    """The address of the real application, served by uvicorn in a thread."""
    import uvicorn

    from isogloss.search.server.app import create_app

    app = create_app(encoder or TinyEncoder(), open_live(index), settings, name="tiny")
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, access_log=False, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        for _ in range(600):
            if server.started and app.state.isogloss.ready:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("the server did not become ready")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=15)
