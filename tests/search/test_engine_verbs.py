"""An engine index by the command line and by HTTP: what works on a folder works on it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("psycopg")
pytest.importorskip("numba")
pytest.importorskip("fastapi")

from engine_makers import Server, need_servers, open_folder
from isogloss.cli.main import main
from isogloss.corpora.jsonl import item_to_dict, read_corpus
from isogloss.search.engine import EngineIndex
from isogloss.search.index_settings import IndexSettings
from isogloss.search.open import open_index
from isogloss.search.server.app import create_app
from isogloss.search.server.live import Live
from isogloss.search.server.settings import ServeSettings
from makers import MELODIES, VOICES, melody, melody_corpus, write_manifest
from serve_makers import TinyEncoder, client_of, placed, wav_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    need_servers()
    made = Server(open_folder() / "one")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return melody_corpus(tmp_path_factory.mktemp("melodies"))


def output(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any, str]:
    code = main(["search", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


@pytest.mark.parametrize("served", [True, False], ids=["server", "folder"])
def test_all_verbs(
    served: bool,
    server: Server,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Unfinished work of an index on a server lies in the working directory.
    monkeypatch.chdir(tmp_path)
    records = [item_to_dict(item) for item in read_corpus(corpus).items]
    write_manifest(tmp_path / "most" / "manifest.jsonl", records[:-2])
    write_manifest(tmp_path / "last" / "manifest.jsonl", records[-2:])
    url = server.url.replace("postgres@", "postgres:unused-secret@")
    place = f"{url}#verbs" if served else str(open_folder() / "index")
    named = ["--encoder", "mel:"]
    code, found, _ = output(
        capsys,
        "build",
        tmp_path / "most",
        *named,
        "--out",
        place,
        *([] if served else ["--engine"]),
    )
    assert (code, found["items"]) == (0, 10)
    shown = found["index"]
    assert ("***" in shown) == served
    code, found, _ = output(capsys, "info", place)
    assert (code, found["items"], found["kind"], found["shards"]) == (0, 10, "sequences", 1)
    assert found["index"] == shown
    assert sum(found["varieties"].values()) == 10
    assert found["bytes"] > 0
    assert found["encoder"] == (None if served else "mel:")
    given = named if served else []
    code, found, _ = output(capsys, "append", place, tmp_path / "last", *given)
    assert (code, found["items"], found["index"]) == (0, 2, shown)
    code, _, error = output(capsys, "append", place, tmp_path / "last", *given)
    assert code == 1
    assert "in the index already" in error
    assert output(capsys, "append", place, tmp_path / "last", *given, "--replace")[0] == 0
    code, found, _ = output(capsys, "query", place, records[0]["audio"], *given, "-k", 3)
    assert code == 0
    assert found["answers"][0]["hits"][0]["item"]["id"] == records[0]["id"]
    name = records[-1]["id"]
    code, found, _ = output(
        capsys, "query", place, "--id", name, "-k", 2, "--variety", "cmn", "--check-exactness"
    )
    assert (code, len(found["answers"][0]["hits"])) == (0, 2)
    pairs = tmp_path / "pairs.tsv"
    mined = ["mine", place, "--varieties", "cmn", "yue", "--out", pairs, "--neighbours", 2]
    code, found, _ = output(capsys, *mined, "--threshold", "-1", "--gold", "meaning")
    assert code == 0
    assert pairs.is_file()
    code, found, error = output(capsys, "verify", place, "--deep")
    assert (code, found["problems"], found["index"]) == (0, [], shown)
    assert "pg_amcheck" in error
    code, found, _ = output(capsys, "delete", place, name, "nobody")
    assert (code, found["deleted"], found["not_there"], found["items"]) == (1, 1, 1, 11)
    code, found, _ = output(capsys, "compact", place)
    assert (code, found["items"]) == (0, 11)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "last",
        "most",
        "pairs.tsv",
        "pairs.tsv.json",
    ]


def test_mistakes_are_one_line_without_the_password(capsys: pytest.CaptureFixture[str]) -> None:
    place = "postgresql://u:secret@127.0.0.1:1/b#tales"
    for verb in (["info"], ["query", "--id", "x"], ["verify"], ["delete", "x"], ["serve"]):
        assert main(["search", verb[0], place, *verb[1:]]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "no connection to postgresql://u:***@127.0.0.1:1/b" in said


def said(meaning: int, variety: str = "cmn") -> bytes:
    _, lowest, overtones = VOICES[variety]
    return wav_of(melody(MELODIES[meaning], lowest_hz=lowest, overtones=overtones, seed=7))


async def counted(client: Any, items: int) -> None:
    """Wait until the server has taken over what another client wrote."""
    for _ in range(1200):
        info = (await client.get("/v1/info")).json()
        if info["items"] == items:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(info)


def test_http(server: Server, corpus: Path) -> None:
    items = [placed(item) for item in read_corpus(corpus).items]
    encoder = TinyEncoder()
    place = f"{server.url}#http"
    writer = EngineIndex.build(
        place, encoder.encode(items), items, settings=IndexSettings(units=256)
    )
    index = open_index(place)

    async def ask() -> None:
        live = Live(index.newest, index.mark)
        app = create_app(encoder, live, ServeSettings(reload_seconds=0.05), name="tiny")
        async with client_of(app) as client:
            answer = await client.post(
                "/v1/search", files={"file": ("x.wav", said(2))}, data={"k": "3"}
            )
            assert answer.status_code == 200, answer.text
            found = answer.json()
            assert found["hits"][0]["id"] == "m2-cmn"
            assert found["hits"][0]["item"]["site"] == "site-cmn"
            assert found["hits"][0]["item"]["seconds"] == pytest.approx(0.8)
            cut = await client.post("/v1/search", json={"id": "m1-cmn", "varieties": ["yue"]})
            assert {hit["item"]["variety"] for hit in cut.json()["hits"]} == {"yue"}
            unknown = await client.post("/v1/search", json={"id": "m1-cmn", "sites": ["x\0"]})
            assert unknown.status_code in (404, 422)
            number = found["query"]["id"]
            drawn = await client.get(f"/v1/queries/{number}/similarity/m2-yue")
            assert drawn.json()["rows"] == found["query"]["steps"]
            item = await client.get("/v1/items/m2-yue")
            assert item.json()["latitude"] == pytest.approx(23.1)
            sound = await client.get("/v1/items/m2-yue/audio")
            assert sound.content[:4] == b"RIFF"
            assert (await client.get("/v1/items/nobody")).status_code == 404
            info = (await client.get("/v1/info")).json()
            assert info["items"] == 12
            assert {row["code"] for row in info["varieties"]} == {"cmn", "yue", "hak"}
            # What another client writes is found at once, and counted soon.
            writer.delete(["m2-cmn"])
            again = await client.post("/v1/search", files={"file": ("x.wav", said(2))})
            assert "m2-cmn" not in [hit["id"] for hit in again.json()["hits"]]
            await counted(client, 11)
            server.kill()
            gone = await client.post("/v1/search", json={"id": "m1-cmn"})
            assert gone.status_code == 503
            assert gone.json()["error"]["code"] == "index_unavailable"
            assert "127.0.0.1" not in gone.text
            assert (await client.get("/v1/items/m1-cmn")).status_code == 503
            server.start()
            back = await client.post("/v1/search", json={"id": "m1-cmn"})
            assert back.status_code == 200
            writer.delete(["m3-cmn"])
            await counted(client, 10)

    asyncio.run(ask())
    index.close()
    writer.close()
