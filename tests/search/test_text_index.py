"""An index of texts: built, asked, appended to and served with a text encoder."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from isogloss.cli.main import main
from isogloss.encoders import load_encoder

pytest.importorskip("transformers")
pytest.importorskip("numba")

from text_checkpoints import TEXTS, make

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)

MORE = "brza lisica i lenji pas"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny XLM-R, a manifest of texts with a blank one, and more.jsonl."""
    root = tmp_path_factory.mktemp("texts")
    make("xlm-roberta", root / "model")
    texts = [*TEXTS, *(f"{a} {b}" for a in TEXTS[:4] for b in TEXTS[4:])]
    rows = [
        # Some were spoken: a text encoder reads what was said.
        {"id": f"t{n}", "variety": "deu", "transcript" if n % 3 else "text": text}
        for n, text in enumerate(texts)
    ]
    rows.append({"id": "blank", "variety": "deu", "text": " "})
    _write(root / "manifest.jsonl", rows)
    _write(root / "more.jsonl", [{"id": "more", "variety": "deu", "text": MORE}])
    return root


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def index(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("index") / "index"
    name = f"hf:{folder / 'model'}?prompt=query: "
    code = main(
        [
            *("search", "build", str(folder / "manifest.jsonl"), "--encoder", name),
            *("--layer", "2", "--out", str(place), "--units", "256"),
        ]
    )
    assert code == 1  # the blank text was left out
    return place


def test_what_was_left_out_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        [
            *("search", "build", str(folder / "manifest.jsonl")),
            *("--encoder", f"hf:{folder / 'model'}"),
            *("--out", str(tmp_path / "means"), "--pooled", "--json"),
        ]
    )
    assert code == 1
    summary = json.loads(capsys.readouterr().out)
    assert summary["items"] == 24
    assert summary["skipped"] == {
        "blank": "item 'blank': its text is empty; leave the item out of the corpus"
    }


def test_a_text_finds_itself_by_the_noted_encoder(
    index: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(index.parent)
    assert main(["search", "query", str(index), "--text", TEXTS[2], "-k", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    first = answer["answers"][0]["hits"][0] if "answers" in answer else None
    assert first is not None, answer
    assert first["item"]["id"] == "t2"
    assert first["score"] > 0.99


def test_a_manifest_of_texts_asks(
    index: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        ["search", "query", str(index), "--manifest", str(folder / "more.jsonl"), "-k", "1"]
    )
    assert code == 0
    assert "t" in capsys.readouterr().out


def test_an_encoder_of_sound_is_not_asked_with_text(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["search", "query", str(index), "--encoder", "mel:", "--text", "fox"])
    assert code == 2
    assert "mel: takes recordings, no text" in capsys.readouterr().err


def test_texts_are_appended(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "index"
    name = f"hf:{folder / 'model'}"
    main(
        ["search", "build", str(folder / "manifest.jsonl"), "--encoder", name, "--out", str(place)]
    )
    assert main(["search", "append", str(place), str(folder / "more.jsonl")]) == 0
    capsys.readouterr()
    assert main(["search", "query", str(place), "--text", MORE, "-k", "1", "--json"]) == 0
    assert '"more"' in capsys.readouterr().out


def test_the_server_takes_texts_and_no_recordings(index: Path) -> None:
    pytest.importorskip("fastapi")
    from isogloss.search.encoder_note import read_note
    from isogloss.search.server.app import create_app
    from isogloss.search.server.settings import ServeSettings
    from serve_makers import client_of, open_live, wav_of

    note = read_note(index)
    assert note is not None
    assert (note.encoder.endswith("model?prompt=query: "), note.layer) == (True, 2)
    encoder = load_encoder(note.encoder, layer=note.layer)

    async def go() -> None:
        app = create_app(encoder, open_live(index), ServeSettings(), name="reader")
        async with client_of(app) as client:
            assert (await client.get("/v1/info")).json()["accepts"] == ["item", "text"]
            answer = await client.post("/v1/search", json={"text": TEXTS[1], "k": 1})
            assert answer.status_code == 200
            assert answer.json()["hits"][0]["id"] == "t1"
            answer = await client.post("/v1/search", json={"text": "\u3000"})
            assert (answer.status_code, _code(answer)) == (422, "bad_text")
            sound = {"file": ("x.wav", wav_of(torch.zeros(16000).numpy()))}
            answer = await client.post("/v1/search", files=sound)
            assert (answer.status_code, _code(answer)) == (400, "audio_not_supported")
            answer = await client.post("/v1/embeddings", json={"input": [TEXTS[0]], "model": "a"})
            assert answer.status_code == 200
            assert len(answer.json()["data"][0]["embedding"]) == 16

    asyncio.run(go())


def _code(answer: Any) -> str:
    return str(answer.json()["error"]["code"])
