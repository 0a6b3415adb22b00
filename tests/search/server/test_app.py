from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from isogloss.search.sequence_index import SequenceIndex
from isogloss.search.server.app import create_app
from isogloss.search.server.settings import ServeSettings
from makers import MELODIES, VOICES, melody
from serve_makers import TextEncoder, TinyEncoder, client_of, open_live, small_index, wav_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_index(tmp_path_factory.mktemp("served"))


def said(meaning: int, variety: str = "cmn") -> bytes:
    _, lowest, overtones = VOICES[variety]
    return wav_of(melody(MELODIES[meaning], lowest_hz=lowest, overtones=overtones, seed=7))


def run(index: Path, ask: Any, encoder: TinyEncoder | None = None, **settings: Any) -> Any:
    async def go() -> Any:
        encoder_ = encoder or TinyEncoder()
        app = create_app(encoder_, open_live(index), ServeSettings(**settings), name="tiny")
        async with client_of(app) as client:
            return await ask(client)

    return asyncio.run(go())


def test_a_recording_finds_its_own_item_first_and_says_what_it_is(index: Path) -> None:
    async def ask(client: Any) -> None:
        for meaning in range(4):
            answer = await client.post(
                "/v1/search", files={"file": ("x.wav", said(meaning))}, data={"k": "3"}
            )
            assert answer.status_code == 200
            found = answer.json()
            assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
            assert found["hits"][0]["id"] == f"m{meaning}-cmn"
            assert found["hits"][0]["score"] > 0.99
            item = found["hits"][0]["item"]
            assert item["variety_native_name"] == "官话"
            assert item["site"] == "site-cmn"
            assert item["seconds"] == pytest.approx(0.8)
            assert found["query"]["kind"] == "audio"
            assert found["query"]["seconds"] == pytest.approx(0.8)
            assert found["query"]["steps"] == 20

    run(index, ask)


def test_filters_hold_and_unknown_names_are_not_found(index: Path) -> None:
    async def ask(client: Any) -> None:
        files = {"file": ("x.wav", said(1))}
        both = await client.post(
            "/v1/search", files=files, data={"variety": ["yue", "hak"], "k": "20"}
        )
        assert {hit["item"]["variety"] for hit in both.json()["hits"]} == {"yue", "hak"}
        assert len(both.json()["hits"]) == 8
        site = await client.post("/v1/search", json={"id": "m1-cmn", "sites": ["site-yue"]})
        assert {hit["item"]["site"] for hit in site.json()["hits"]} == {"site-yue"}
        unknown = await client.post("/v1/search", json={"id": "m1-cmn", "varieties": ["yeu"]})
        assert unknown.status_code == 404
        assert "did you mean yue" in unknown.json()["error"]["message"]
        later = await client.post("/v1/search", json={"id": "m1-cmn", "after": "2999-01-01"})
        assert later.json()["hits"] == []
        never = {"id": "m1-cmn", "after": "2020-01-02T00:00:00Z", "before": "2020-01-01T23:59:60z"}
        assert (await client.post("/v1/search", json=never)).json()["hits"] == []

    run(index, ask)


def test_an_item_finds_others_and_never_itself(index: Path) -> None:
    async def ask(client: Any) -> None:
        for k in (1, 5, 11, 100):
            answer = await client.post("/v1/search", json={"id": "m2-yue", "k": k})
            ids = [hit["id"] for hit in answer.json()["hits"]]
            assert len(ids) == min(k, 11)
            assert "m2-yue" not in ids
        assert answer.json()["query"]["kind"] == "item"
        assert answer.json()["took_ms"]["encode"] is None

    run(index, ask)


def test_text_is_refused_or_encoded_as_the_encoder_says(index: Path) -> None:
    async def refused(client: Any) -> None:
        answer = await client.post("/v1/search", json={"text": "四千"})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "text_not_supported"
        assert "text" not in (await client.get("/v1/info")).json()["accepts"]

    async def taken(client: Any) -> None:
        answer = await client.post("/v1/search", json={"text": "四千"})
        assert answer.status_code == 200
        assert answer.json()["query"]["kind"] == "text"
        assert answer.json()["query"]["steps"] == 2
        assert "text" in (await client.get("/v1/info")).json()["accepts"]
        query = answer.json()["query"]["id"]
        assert (await client.get(f"/v1/queries/{query}/audio")).status_code == 404

    run(index, refused)
    run(index, taken, TextEncoder())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "id"),
        ({"id": "m0-cmn", "text": "a"}, "id"),
        ({"id": ""}, "id"),
        ({"id": 3}, "id"),
        ({"id": None}, "id"),
        ({"id": "m0-cmn", "k": 0}, "k"),
        ({"id": "m0-cmn", "k": 101}, "k"),
        ({"id": "m0-cmn", "k": "5"}, "k"),
        ({"id": "m0-cmn", "k": True}, "k"),
        ({"id": "m0-cmn", "k": 1e400}, "k"),
        ({"id": "m0-cmn", "varieties": [1]}, "varieties"),
        ({"id": "m0-cmn", "varieties": {"a": 1}}, "varieties"),
        ({"id": "m0-cmn", "variety": ["a"] * 65}, "variety"),
        ({"id": "m0-cmn", "after": "yesterday"}, "after"),
        ({"id": "m0-cmn", "varietys": ["yue"]}, "varietys"),
    ],
)
def test_a_wrong_field_is_named(index: Path, body: dict[str, Any], param: str) -> None:
    async def ask(client: Any) -> None:
        import json

        answer = await client.post(
            "/v1/search", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "code", "param"}
        # 1e400 is written as Infinity, which is no JSON.
        assert error["param"] == (None if body.get("k") == float("inf") else param)

    run(index, ask)


def test_similarity_map_is_that_of_query_and_item(index: Path) -> None:
    async def ask(client: Any) -> None:
        answer = await client.post("/v1/search", files={"file": ("x.wav", said(0, "yue"))})
        query, hit = answer.json()["query"], answer.json()["hits"][0]
        found = (await client.get(f"/v1/queries/{query['id']}/similarity/{hit['id']}")).json()
        cells = np.frombuffer(base64.b64decode(found["cosines"]), np.uint8)
        cosines = found["low"] + (found["high"] - found["low"]) * cells.reshape(20, 20) / 255
        assert found["score"] == pytest.approx(hit["score"], abs=2e-3)
        assert found["precision"] == pytest.approx(cosines.max(1).mean(), abs=5e-3)
        best = cosines[np.arange(20), found["best_columns"]]
        assert np.allclose(best, cosines.max(1), atol=5e-3)
        assert found["row_seconds"] == found["column_seconds"] == pytest.approx(0.04)
        sound = await client.get(f"/v1/queries/{query['id']}/audio")
        assert sound.headers["content-type"] == "audio/wav"
        assert sound.content[44:] == said(0, "yue")[44:]
        assert (await client.get("/v1/queries/q-nobody/audio")).status_code == 404
        nobody = await client.get(f"/v1/queries/{query['id']}/similarity/nobody")
        assert nobody.status_code == 404

    run(index, ask)


def test_a_map_with_too_many_cells_is_refused(index: Path) -> None:
    async def ask(client: Any) -> None:
        query = (await client.post("/v1/search", json={"id": "m0-cmn"})).json()["query"]["id"]
        answer = await client.get(f"/v1/queries/{query}/similarity/m1-cmn")
        assert answer.status_code == 422
        assert "20 x 20" in answer.json()["error"]["message"]

    run(index, ask, max_cells=399)


def test_items_by_id_as_json_and_as_sound(index: Path) -> None:
    async def ask(client: Any) -> None:
        item = (await client.get("/v1/items/m0-yue")).json()
        assert item["audio"] == "/v1/items/m0-yue/audio"
        assert (item["latitude"], item["longitude"]) == (23.1, 113.3)
        whole = await client.get(item["audio"])
        assert whole.content[:4] == b"RIFF"
        same = await client.get("/v1/items/m0-yue", headers={"Accept": "audio/wav"})
        assert same.content == whole.content
        part = await client.get(item["audio"], headers={"Range": "bytes=4-7"})
        assert part.status_code == 206
        assert part.content == whole.content[4:8]
        assert part.headers["content-range"] == f"bytes 4-7/{len(whole.content)}"
        old = {"Range": "bytes=4-7", "If-Range": '"another"'}
        assert (await client.get(item["audio"], headers=old)).status_code == 200
        beyond = await client.get(item["audio"], headers={"Range": "bytes=999999-"})
        assert beyond.status_code == 416
        assert beyond.headers["content-range"] == f"bytes */{len(whole.content)}"

    run(index, ask)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/items/../../../../etc/passwd",
        "/v1/items/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v1/items//etc/passwd/audio",
        "/v1/items/%2Fetc%2Fpasswd/audio",
        "/v1/items/file:%2F%2F%2Fetc%2Fpasswd",
        "/v1/items/a%00b",
        "/v1/items/%ff%fe",
        "/v1/items/audio",
        "/v1/queries/..%2f..%2fetc/audio",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/../../etc/passwd",
    ],
)
def test_paths_of_requests_lead_nowhere(index: Path, path: str) -> None:
    async def ask(client: Any) -> None:
        import httpx

        # httpx tidies paths; what goes over the wire is what stands here.
        url = httpx.URL("http://test").copy_with(raw_path=path.encode())
        answer = await client.get(url)
        assert answer.status_code == 404, answer.text
        assert "root:" not in answer.text

    run(index, ask)


def test_recordings_outside_the_root_are_not_served(index: Path, tmp_path: Path) -> None:
    async def outside(client: Any) -> None:
        answer = await client.get("/v1/items/m0-yue/audio")
        assert answer.status_code == 404
        assert str(index.parent) not in answer.text

    async def inside(client: Any) -> None:
        assert (await client.get("/v1/items/m0-yue/audio")).status_code == 200

    async def none(client: Any) -> None:
        assert (await client.get("/v1/items/m0-yue/audio")).status_code == 404
        assert (await client.get("/v1/items/m0-yue")).json()["audio"] is None

    run(index, outside, audio_roots=(tmp_path,))
    run(index, inside, audio_roots=(tmp_path, index.parent))
    run(index, none, serve_audio=False)


def test_info_counts_varieties_and_sites(index: Path) -> None:
    async def ask(client: Any) -> None:
        info = (await client.get("/v1/info")).json()
        assert info["items"] == 12
        assert {(row["code"], row["items"]) for row in info["varieties"]} == {
            ("cmn", 4),
            ("hak", 4),
            ("yue", 4),
        }
        yue = next(row for row in info["sites"] if row["site"] == "site-yue")
        assert (yue["variety"], yue["items"], yue["latitude"]) == ("yue", 4, 23.1)
        assert info["encoder"] == "tiny"
        assert info["needs_token"] is False
        assert info["limits"]["k"] == 100

    run(index, ask)


def test_two_hundred_requests_at_once_get_the_answers_they_get_alone(index: Path) -> None:
    encoder = TinyEncoder()
    varieties = ("cmn", "yue", "hak")
    jobs = [(m, v, k) for m in range(4) for v in varieties for k in (1, 3)]

    async def ask(client: Any) -> None:
        async def one(meaning: int, variety: str, k: int) -> Any:
            answer = await client.post(
                "/v1/search", files={"file": ("x.wav", said(meaning, variety))}, data={"k": str(k)}
            )
            assert answer.status_code == 200
            return [(hit["id"], hit["score"]) for hit in answer.json()["hits"]]

        alone = {job: await one(*job) for job in jobs}
        encoder.calls.clear()
        many = [jobs[i % len(jobs)] for i in range(200)]
        together = await asyncio.gather(*(one(*job) for job in many))
        for job, found in zip(many, together, strict=True):
            assert [name for name, _ in found] == [name for name, _ in alone[job]]
            assert np.allclose([s for _, s in found], [s for _, s in alone[job]], atol=1e-5)
        assert sum(encoder.calls) == 200
        assert len(encoder.calls) < 100
        numbers = (await client.get("/metrics")).text
        assert 'isogloss_batch_size_count{stage="encode"}' in numbers

    run(index, ask, encoder)


def test_a_broken_recording_fails_alone_in_its_batch(index: Path) -> None:
    async def ask(client: Any) -> None:
        short = wav_of(np.zeros(100, np.float32))
        bodies = [said(1), short, said(2), short, said(3)]
        answers = await asyncio.gather(
            *(client.post("/v1/search", files={"file": ("x", body)}) for body in bodies)
        )
        assert [answer.status_code for answer in answers] == [200, 422, 200, 422, 200]
        assert "shorter than 0.040 s" in answers[1].json()["error"]["message"]

    run(index, ask, batch_window_seconds=0.05)


def test_a_new_commit_is_served_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    folder = small_index(tmp_path)

    async def ask(client: Any) -> None:
        assert (await client.get("/v1/items/m0-cmn")).status_code == 200
        SequenceIndex.open(folder).delete(["m0-cmn"])
        for _ in range(200):
            if (await client.get("/v1/items/m0-cmn")).status_code == 404:
                break
            await asyncio.sleep(0.02)
        info = (await client.get("/v1/info")).json()
        assert info["items"] == 11
        (folder / "commit.json").write_text("{", encoding="utf-8")
        for _ in range(200):
            if 'reloads_total{result="failed"} ' in (await client.get("/metrics")).text:
                break
            await asyncio.sleep(0.02)
        assert (await client.get("/v1/info")).json() == info
        assert (await client.get("/readyz")).status_code == 200

    run(folder, ask, reload_seconds=0.05)


def test_an_item_whose_name_holds_a_slash_is_found(tmp_path: Path) -> None:
    from dataclasses import replace

    from isogloss.corpora.jsonl import read_corpus
    from isogloss.search.index_settings import IndexSettings
    from makers import melody_corpus

    items = read_corpus(melody_corpus(tmp_path / "corpus")).items[:3]
    names = ["a/b", "a/b/audio", "../c d?#"]
    items = [replace(item, id=name) for item, name in zip(items, names, strict=True)]
    steps = TinyEncoder().encode(items)
    SequenceIndex.build(tmp_path / "index", steps, items, settings=IndexSettings(units=256))

    async def ask(client: Any) -> None:
        hits = (await client.post("/v1/search", json={"id": "a/b"})).json()["hits"]
        for hit in hits:
            address = hit["item"]["audio"]
            assert (await client.get(address)).content[:4] == b"RIFF"
            item = await client.get(address.removesuffix("/audio"))
            assert item.json()["id"] == hit["id"]

    run(tmp_path / "index", ask)
