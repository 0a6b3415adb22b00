from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from isogloss.encoders import encode_cached, load_encoder
from isogloss.encoders.shards import ShardJob, encode_to_folder, read_folder
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.types import Item
from makers import melody, write_wav

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

torch.set_num_threads(1)

ENCODER = "random:micro"


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("tones")
    made = []
    for number in range(24):
        path = folder / f"{number}.wav"
        write_wav(path, melody([number % 5, 3], note_seconds=0.2 + 0.02 * number, seed=number))
        made.append(Item(id=f"u{number}", variety="cmn", audio=str(path)))
    return made


def test_shards_joined_are_what_encoding_at_once_gives(items: list[Item], tmp_path: Path) -> None:
    result = encode_to_folder(ENCODER, items, tmp_path / "out", shard_items=5)
    found = read_folder(tmp_path / "out")
    whole = encode_cached(load_encoder(ENCODER), items, None, progress=False)
    assert found.ids == whole.ids
    assert np.array_equal(found.offsets, whole.offsets)
    assert np.allclose(found.values, whole.values, atol=1e-5)
    assert (found.made_by, found.step_seconds) == (whole.made_by, whole.step_seconds)
    assert (result.items, result.steps) == (24, len(whole.values))
    assert not (tmp_path / "out" / "parts").exists()


def test_a_job_that_was_stopped_goes_on(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_to_folder(ENCODER, items, tmp_path / "whole", shard_items=5)
    done: list[int] = []
    real = ShardJob.encode

    def stopping(self: ShardJob, encoder: object, shard: int, part: list[Item]) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(shard)
        real(self, encoder, shard, part)  # type: ignore[arg-type]

    monkeypatch.setattr(ShardJob, "encode", stopping)
    with pytest.raises(KeyboardInterrupt):
        encode_to_folder(ENCODER, items, tmp_path / "out", shard_items=5)
    with pytest.raises(IsoglossError, match=r"sequences\.json is missing"):
        read_folder(tmp_path / "out")
    done.clear()
    monkeypatch.setattr(
        ShardJob,
        "encode",
        lambda self, e, shard, part: (done.append(shard), real(self, e, shard, part)),
    )
    encode_to_folder(ENCODER, items, tmp_path / "out", shard_items=5)
    assert done == [2, 3, 4]
    again, whole = read_folder(tmp_path / "out"), read_folder(tmp_path / "whole")
    assert np.array_equal(again.values, whole.values)
    done.clear()
    assert encode_to_folder(ENCODER, items, tmp_path / "out", shard_items=5).items == 24
    assert done == []


def test_another_job_is_refused(items: list[Item], tmp_path: Path) -> None:
    encode_to_folder(ENCODER, items, tmp_path, shard_items=5)
    with pytest.raises(IsoglossError, match="other items or another encoder"):
        encode_to_folder("mel:", items, tmp_path, shard_items=5)


def test_recordings_that_cannot_be_read_are_left_out(items: list[Item], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    mixed = [Item("x0", "cmn", audio=str(broken)), Item("x1", "cmn", audio=str(broken)), *items[:3]]
    result = encode_to_folder("mel:", mixed, tmp_path / "out", shard_items=2)
    assert [name for name, _ in result.skipped] == ["x0", "x1"]
    assert read_folder(tmp_path / "out").ids == ("u0", "u1", "u2")
    with pytest.raises(IsoglossError, match=r"none of 2 items could be encoded.*broken\.wav"):
        encode_to_folder("mel:", mixed[:2], tmp_path / "none", shard_items=2)


def test_bad_arguments_are_refused(items: list[Item], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no item"):
        encode_to_folder("mel:", [], tmp_path)
    with pytest.raises(ValueError, match="1 ids repeat"):
        encode_to_folder("mel:", [items[0], items[0]], tmp_path)
    with pytest.raises(ValueError, match="shard_items must be at least 1"):
        encode_to_folder("mel:", items, tmp_path, shard_items=0)


def test_two_ray_workers_give_what_one_process_gives_also_when_one_is_killed(
    items: list[Item], tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    encode_to_folder(ENCODER, items, tmp_path / "one", shard_items=2)
    out = tmp_path / "two"
    killed: list[int] = []

    def kill_one() -> None:
        while len(list(out.glob("parts/*.npz"))) < 2:
            time.sleep(0.01)
        workers = ray_workers()
        os.kill(workers[-1], signal.SIGKILL)
        killed.append(workers[-1])

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    result = encode_to_folder(ENCODER, items, out, shard_items=2, ray_workers=2)
    thread.join(timeout=10)
    assert killed
    assert result.items == 24
    one, two = read_folder(tmp_path / "one"), read_folder(out)
    assert two.ids == one.ids
    assert np.array_equal(two.offsets, one.offsets)
    assert np.array_equal(two.values, one.values)


def ray_workers() -> list[int]:
    """Processes of this test's Ray, and of no other on the machine, that run the encoder."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    parents = {int(row[0]): int(row[1]) for row in rows}

    def is_ours(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return [int(row[0]) for row in rows if "_Worker" in row[-1] and is_ours(int(row[0]))]


def test_ids_of_any_kind_come_back(items: list[Item], tmp_path: Path) -> None:
    names = ["a b", "ü/../字", 'x"y', "🙂", "n\\l\t", ",;"]
    odd = [dataclasses.replace(item, id=name) for item, name in zip(items, names, strict=False)]
    encode_to_folder("mel:", odd, tmp_path / "out", shard_items=4)
    assert read_folder(tmp_path / "out").ids == tuple(names)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("values.npy", b""),
        ("offsets.npy", b"\x93NUMPY"),
        ("sequences.json", b"{"),
        ("values.npy", None),
    ],
)
def test_a_finished_folder_that_was_damaged_is_told(
    file: str, content: bytes | None, items: list[Item], tmp_path: Path
) -> None:
    encode_to_folder("mel:", items[:3], tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(IsoglossError, match=r"encode again|is missing"):
        read_folder(tmp_path)
    with pytest.raises(IsoglossError, match=r"encode again|is missing"):
        encode_to_folder("mel:", items[:3], tmp_path)


def test_a_part_cut_short_is_named(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isogloss.encoders.shards._joined", lambda *_: None)
    encode_to_folder("mel:", items[:4], tmp_path, shard_items=2)
    monkeypatch.undo()
    part = tmp_path / "parts" / "00000001.npz"
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(IsoglossError, match=r"00000001\.npz cannot be read.*remove it and repeat"):
        encode_to_folder("mel:", items[:4], tmp_path, shard_items=2)
    part.unlink()
    assert encode_to_folder("mel:", items[:4], tmp_path, shard_items=2).items == 4


def test_without_ray(items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"isogloss\[ray\]"):
        encode_to_folder("mel:", items[:2], tmp_path, ray_workers=2)
    # Nothing is in the way of going on without.
    assert encode_to_folder("mel:", items[:2], tmp_path).items == 2


def test_words_travel_with_shards(tmp_path: Path, text_folder: Callable[[str], Path]) -> None:
    """Texts, some of them blank: the same steps and words as at once, and what was left out."""
    from text_checkpoints import TEXTS

    texts = [Item(f"t{n}", "deu", text=text) for n, text in enumerate([*TEXTS, " ", "fox"])]
    name = f"hf:{text_folder('bert')}?prompt=query: "
    done = encode_to_folder(name, texts, tmp_path / "out", shard_items=3)
    assert [found for found, _ in done.skipped] == [f"t{len(TEXTS)}"]
    skipped: list[tuple[str, str]] = []
    whole = encode_cached(load_encoder(name), texts, None, progress=False, skipped=skipped)
    found = read_folder(tmp_path / "out")
    assert found.ids == whole.ids
    assert found.words is not None
    assert whole.words is not None
    assert np.array_equal(found.words, whole.words)
    assert np.allclose(found.values, whole.values, atol=1e-5)
    again = encode_to_folder(name, texts, tmp_path / "out", shard_items=3)
    assert again == done
    other = [dataclasses.replace(texts[0], words=("The",)), *texts[1:]]
    with pytest.raises(IsoglossError, match="steps of other items"):
        encode_to_folder(name, other, tmp_path / "out", shard_items=3)
    (tmp_path / "out" / "words.npy").unlink()
    with pytest.raises(IsoglossError, match=r"words\.npy is missing"):
        read_folder(tmp_path / "out")
