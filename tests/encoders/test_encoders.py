"""Every encoder that comes with the package: the kit, layers, posteriors, names, pooling."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from isogloss.corpora import probe_audio
from isogloss.encoders import check_encoder, encoder_names, load_encoder, mean_pool
from isogloss.errors import AudioError, IsoglossError, UnknownName
from isogloss.speech.checkpoint import save_model
from isogloss.speech.ctc import CtcModel
from isogloss.speech.features import fbank
from isogloss.speech.tokens import Tokenizer
from isogloss.speech.zipformer import ZipformerConfig
from isogloss.types import Item, Sequences
from makers import melody, write_wav

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)

SMALL = ZipformerConfig(
    layers=(1, 1),
    feedforward_dims=(32, 48),
    dims=(24, 32),
    unmasked_dims=(24, 24),
    heads=(2, 2),
    kernels=(7, 7),
    downsampling=(1, 2),
    query_head_dim=8,
    value_head_dim=6,
    position_head_dim=2,
    position_dim=12,
)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("audio")
    found = []
    for number, notes in enumerate(((0, 4), (7, 5, 3, 1, 0, 2, 4), (2,), (9, 9, 1))):
        path = write_wav(folder / f"{number}.wav", melody(notes, note_seconds=0.25, seed=number))
        found.append(Item(f"i{number}", "cmn", audio=str(path)))
    # A piece of a longer recording.
    piece = dataclasses.replace(found[1], id="piece", start_seconds=0.3, end_seconds=1.1)
    return [*found, piece]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    tokenizer = Tokenizer.characters(["一二三四五"])
    model = CtcModel(SMALL, tokenizer.vocab_size, dialect_head=True)
    save_model(folder, model, tokenizer, SMALL, extra={"steps": 3})
    return folder


def test_the_kit_passes_on_every_encoder_and_layer(items: list[Item], checkpoint: Path) -> None:
    check_encoder(load_encoder("mel:"), items)
    check_encoder(load_encoder("random:tiny"), items, durations_seconds=(0.1, 3.0))
    check_encoder(load_encoder(f"own:{checkpoint}"), items)
    for layer in (0, 1, 2, 3):
        encoder = load_encoder(f"own:{checkpoint}", layer=layer)
        check_encoder(encoder, items, durations_seconds=())


def test_mel_is_the_filterbank_itself(items: list[Item]) -> None:
    from isogloss.corpora import read_audio

    found = load_encoder("mel:").encode(items)
    assert found.step_seconds == 0.01
    samples = read_audio(str(items[0].audio))
    np.testing.assert_array_equal(found[0], fbank(samples).numpy())
    cut = samples_of_piece = read_audio(str(items[4].audio), start_seconds=0.3, end_seconds=1.1)
    assert len(found[4]) == round(len(cut) / 160)
    np.testing.assert_array_equal(found[4], fbank(samples_of_piece).numpy())


def test_layers_are_those_of_the_model(items: list[Item], checkpoint: Path) -> None:
    encoder = load_encoder(f"own:{checkpoint}")
    model = encoder.model  # type: ignore[attr-defined]
    features = torch.from_numpy(load_encoder("mel:").encode(items[:1])[0])[None]
    lengths = torch.tensor([features.shape[1]])
    with torch.inference_mode():
        expected = model.forward_layers(features, lengths)
        final, _ = model.states(features, lengths)
    assert encoder.layers == (0, 1, 2, 3)  # type: ignore[attr-defined]
    for layer in range(4):
        found = encoder.with_layer(layer).encode(items[:1])  # type: ignore[attr-defined]
        np.testing.assert_allclose(found[0], expected[layer][0][0].numpy(), atol=1e-5)
        assert found.step_seconds == expected[layer][2]
    np.testing.assert_allclose(encoder.encode(items[:1])[0], final[0].numpy(), atol=1e-6)
    # The last number and None are the same layer, under the same name, so cached once.
    assert encoder.with_layer(3).made_by == encoder.made_by  # type: ignore[attr-defined]
    names = {encoder.with_layer(i).made_by for i in range(4)}  # type: ignore[attr-defined]
    assert len(names) == 4


def test_all_layers_from_one_pass(items: list[Item], checkpoint: Path) -> None:
    encoder = load_encoder(f"own:{checkpoint}")
    found = encoder.encode_layers(items)  # type: ignore[attr-defined]
    for layer, steps in enumerate(found):
        alone = encoder.with_layer(layer).encode(items)  # type: ignore[attr-defined]
        np.testing.assert_allclose(steps.values, alone.values, atol=1e-5)
        assert (steps.made_by, steps.step_seconds) == (alone.made_by, alone.step_seconds)


def test_small_batches_change_nothing(items: list[Item], checkpoint: Path, monkeypatch) -> None:
    encoder = load_encoder(f"own:{checkpoint}")
    expected = encoder.encode(items)
    monkeypatch.setattr("isogloss.encoders.own._ITEMS_READ_AT_ONCE", 2)
    small = dataclasses.replace(encoder, batch_seconds=0.5)  # type: ignore[type-var]
    found = small.encode(items)
    assert found.ids == expected.ids
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5)


@pytest.mark.parametrize("head", ["standard", "dialect"])
def test_posteriors_are_log_probabilities(head, items: list[Item], checkpoint: Path) -> None:
    encoder = load_encoder(f"own:{checkpoint}")
    found = encoder.posteriors(items, head=head)  # type: ignore[attr-defined]
    assert found.values.shape[1] == encoder.tokenizer.vocab_size  # type: ignore[attr-defined]
    np.testing.assert_allclose(np.exp(found.values).sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(found.lengths, encoder.encode(items).lengths)
    readings = encoder.transcribe(items, head=head)  # type: ignore[attr-defined]
    best = found[1].argmax(axis=1)
    spelt = [b for b, previous in zip(best, [0, *best[:-1]], strict=True) if b and b != previous]
    assert list(readings[1].tokens) == spelt


def test_heads_that_are_not_there(items: list[Item], tmp_path: Path) -> None:
    tokenizer = Tokenizer.characters(["一二"])
    save_model(tmp_path, CtcModel(SMALL, tokenizer.vocab_size), tokenizer, SMALL)
    encoder = load_encoder(f"own:{tmp_path}")
    with pytest.raises(ValueError, match="no dialect output"):
        encoder.posteriors(items, head="dialect")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="'standard' or 'dialect'"):
        encoder.posteriors(items, head="both")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="no CTC output"):
        load_encoder("random:tiny").posteriors(items)  # type: ignore[attr-defined]


def test_random_weights_depend_on_seed_only(items: list[Item]) -> None:
    torch.manual_seed(1)
    first = load_encoder("random:tiny")
    state = torch.get_rng_state()
    second = load_encoder("random:tiny:0")
    assert torch.equal(state, torch.get_rng_state())
    other = load_encoder("random:tiny:1")
    assert first.made_by == second.made_by != other.made_by
    np.testing.assert_array_equal(first.encode(items).values, second.encode(items).values)
    assert np.abs(first.encode(items).values - other.encode(items).values).max() > 0.1


def test_made_by_follows_the_weights(checkpoint: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.characters(["一二"])
    save_model(tmp_path, CtcModel(SMALL, tokenizer.vocab_size), tokenizer, SMALL)
    assert load_encoder(f"own:{tmp_path}").made_by != load_encoder(f"own:{checkpoint}").made_by


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("owm:x", UnknownName, "did you mean own"),
        ("", UnknownName, "unknown encoder"),
        ("own:", ValueError, "needs the folder"),
        ("own:/nowhere", IsoglossError, "no such folder"),
        ("mel:80", ValueError, "nothing after the colon"),
        ("random:huge", UnknownName, "huge"),
        ("random:tiny:x", ValueError, "whole number"),
        ("zzz", UnknownName, "known: .*mel:.*own:.*random:"),
    ],
)
def test_wrong_names(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_encoder(name)


def test_wrong_layers(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="0 to 3"):
        load_encoder(f"own:{checkpoint}", layer=4)
    with pytest.raises(ValueError, match="0 to 7"):
        load_encoder("random:tiny", layer=-1)
    with pytest.raises(ValueError, match="one layer"):
        load_encoder("mel:", layer=1)


@pytest.mark.parametrize("name", ["mel:", "random:tiny"])
def test_unusable_items_are_named(name: str, items: list[Item], tmp_path: Path) -> None:
    encoder = load_encoder(name)
    short = write_wav(tmp_path / "short.wav", np.zeros(100, np.float32))
    fake = tmp_path / "fake.wav"
    fake.write_text("not audio")
    hours = write_wav(tmp_path / "hours.wav", np.zeros(16000 * 121, np.float32))
    for path, message in ((short, "'bad'"), (fake, "fake"), (hours, "lasts 121 s")):
        with pytest.raises(AudioError, match=message):
            encoder.encode([*items, Item("bad", "cmn", audio=str(path))])
    with pytest.raises(ValueError, match="'words' has no audio"):
        encoder.encode([Item("words", "cmn", text="x")])
    with pytest.raises(ValueError, match="no item"):
        encoder.encode([])


def test_less_than_one_step_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "blip.wav", np.zeros(1200, np.float32))
    with pytest.raises(AudioError, match=r"at least 0\.09 s"):
        load_encoder("random:tiny").encode([Item("blip", "cmn", audio=str(path))])


def test_mean_pool_by_hand() -> None:
    steps = Sequences.from_list(
        ["a", "b"],
        [np.array([[1, 2], [3, 6]], np.float32), np.array([[5, 5]], np.float32)],
        made_by="x",
    )
    found = mean_pool(steps)
    assert found.values.tolist() == [[2, 4], [5, 5]]
    assert (found.ids, found.made_by) == (("a", "b"), "x;pool=mean")
    assert mean_pool(steps.select([])).values.shape == (0, 2)
    hollow = Sequences(("a", "b"), steps[0], np.array([0, 2, 2]))
    with pytest.raises(ValueError, match="'b' has no steps"):
        mean_pool(hollow)


class Wrong:
    """An encoder with one fault."""

    made_by = "wrong"

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.calls = 0

    def encode(self, items: list[Item]) -> Sequences:
        self.calls += 1
        arrays = []
        for item in items:
            end = item.end_seconds or probe_audio(str(item.audio)).duration_seconds
            seconds = end - (item.start_seconds or 0.0)
            if self.fault == "refused" and seconds < 0.15:
                raise AudioError(str(item.audio), "too short")
            if self.fault == "30 seconds":
                seconds = min(seconds, 30.0)
            rng = np.random.default_rng(len(item.id) + ord(item.id[-1]))
            arrays.append(rng.standard_normal((round(seconds / 0.05), 4)).astype(np.float32))
        if self.fault == "padding":
            arrays = [a + np.float32(max(map(len, arrays))) for a in arrays]
        if self.fault == "random":
            arrays = [a + np.float32(self.calls) for a in arrays]
        if self.fault == "nan":
            arrays[0][0, 0] = np.nan
        ids = [item.id for item in items]
        if self.fault == "order":
            ids = sorted(ids)
        step = {"rate": 0.2, "no rate": None}.get(self.fault, 0.05)
        made_by = "other" if self.fault == "made_by" else self.made_by
        return Sequences.from_list(ids, arrays, step_seconds=step, made_by=made_by)


def test_the_kit_passes_a_sound_encoder(items: list[Item]) -> None:
    check_encoder(Wrong("nothing"), items)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("padding", "alone differs from the batch"),
        ("random", "second call"),
        ("nan", "NaN"),
        ("order", "not those of the items in their order"),
        ("rate", "its steps cover"),
        ("no rate", "step_seconds must be positive"),
        ("made_by", "made_by changed"),
        ("30 seconds", "'noise of 40.0 s' lasts 40.00 s but its steps cover 30.00 s"),
        ("refused", "a recording of 0.1 to 40.0 s is refused.*too short"),
    ],
)
def test_the_kit_finds_each_fault(fault: str, message: str, items: list[Item]) -> None:
    with pytest.raises(ValueError, match=message):
        check_encoder(Wrong(fault), items[::-1])


class Layered:
    """An encoder of two blocks whose layers may be wrong: twice the spectrum, then its square."""

    def __init__(self, fault: str = "", layer: int | None = None) -> None:
        self.fault = fault
        self.layer = None if layer == 3 else layer
        self.blocks = [torch.nn.Linear(4, 4), torch.nn.Tanh()]
        torch.nn.init.eye_(self.blocks[0].weight)  # type: ignore[arg-type]
        torch.nn.init.ones_(self.blocks[0].bias)  # type: ignore[arg-type]
        self.layers = (0, 1, 2, 3)

    @property
    def made_by(self) -> str:
        return "layered" if self.fault == "names" else f"layered;{self.layer}"

    def with_layer(self, layer: int | None) -> Layered:
        found = Layered(self.fault, layer)
        found.blocks = self.blocks
        return found

    def encode(self, items: list[Item]) -> Sequences:
        layer = 3 if self.layer is None else self.layer
        if self.fault == "other values" and layer == 1:
            layer = 0
        return self.with_layer(self.layer)._all(items)[layer]

    def encode_layers(self, items: list[Item]) -> list[Sequences]:
        found = self._all(items)
        if self.fault == "shifted":
            found = [found[0], *found[:3]]
        if self.fault == "few":
            found = found[:3]
        return [
            Sequences(s.ids, s.values, s.offsets, s.step_seconds, self.with_layer(i).made_by)
            for i, s in enumerate(found)
        ]

    def _all(self, items: list[Item]) -> list[Sequences]:
        first = Wrong("nothing").encode(items)
        states = []
        with torch.inference_mode():
            for index in range(len(first)):
                x = torch.from_numpy(first[index].copy())
                y = self.blocks[0](x)
                z = self.blocks[1](y)
                states.append([x.numpy(), y.numpy(), z.numpy(), 3 * z.numpy()])
        return [
            Sequences.from_list(first.ids, column, step_seconds=0.05, made_by=self.made_by)
            for column in map(list, zip(*states, strict=True))
        ]


def test_the_kit_passes_sound_layers(items: list[Item]) -> None:
    check_encoder(Layered(), items, durations_seconds=())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("names", "two layers have the same made_by"),
        ("few", r"gives 3 results for the layers \(0, 1, 2, 3\)"),
        ("other values", r"layer 1 of encode_layers is not what with_layer\(1\) gives"),
        ("shifted", "layer 1 is not the output of block 1; layer 2 is not the output of block 2"),
    ],
)
def test_the_kit_finds_wrong_layers(fault: str, message: str, items: list[Item]) -> None:
    with pytest.raises(ValueError, match=message):
        check_encoder(Layered(fault), items, durations_seconds=())


def test_the_kit_needs_two_items(items: list[Item]) -> None:
    with pytest.raises(ValueError, match="at least two items"):
        check_encoder(Wrong("nothing"), items[:1])


def test_third_party_encoders_come_in_by_entry_point(monkeypatch) -> None:
    class Point:
        name = "theirs"

        def load(self):
            return lambda argument, *, layer, device: (argument, layer, device)

    monkeypatch.setattr("isogloss.encoders.registry.entry_points", lambda group: [Point()])
    assert load_encoder("theirs:a:b", layer=2) == ("a:b", 2, "cpu")
    assert {"hf", "mel", "own", "random", "theirs"} <= set(encoder_names())
    assert list(encoder_names()) == sorted(encoder_names())


def test_importing_encoders_and_tasks_does_not_import_torch() -> None:
    code = "import sys, isogloss.encoders, isogloss.tasks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_devices_that_are_not_there(device: str, checkpoint: Path) -> None:
    for name in ("random:micro", f"own:{checkpoint}"):
        with pytest.raises(ValueError, match=f"device '{device}' cannot be used here"):
            load_encoder(name, device=device)


def test_a_broken_package_of_others_is_named(monkeypatch) -> None:
    class Point:
        name = "theirs"
        value = "theirs.encoder:load"

        def load(self):
            raise ModuleNotFoundError("No module named 'theirs'")

    monkeypatch.setattr("isogloss.encoders.registry.entry_points", lambda group: [Point()])
    with pytest.raises(IsoglossError, match=r"theirs\.encoder:load.*No module named"):
        load_encoder("theirs:a")
