from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from isogloss._files import sha256_of_file
from isogloss.errors import IsoglossError
from isogloss.speech.checkpoint import FORMAT_VERSION, load_model, save_model
from isogloss.speech.ctc import CtcModel
from isogloss.speech.tokens import Tokenizer
from isogloss.speech.zipformer import ZipformerConfig

torch.set_num_threads(1)

CONFIG = ZipformerConfig(
    layers=(1, 1),
    feedforward_dims=(16, 16),
    dims=(8, 12),
    unmasked_dims=(8, 8),
    heads=(2, 2),
    kernels=(3, 3),
    downsampling=(1, 2),
    query_head_dim=4,
    value_head_dim=4,
    position_dim=8,
)
TOKENIZER = Tokenizer.characters(["我们去玩𠊎o̍"])
BPE = Tokenizer.bpe(["我们去玩 hello hello 我们"] * 3, 20)


def make_model(seed: int, tokenizer: Tokenizer = TOKENIZER, **options: bool) -> CtcModel:
    torch.manual_seed(seed)
    return CtcModel(CONFIG, tokenizer.vocab_size, **options)


def answers(model: CtcModel) -> torch.Tensor:
    features = torch.randn(1, 40, 80, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.eval()(features, torch.tensor([40]))[0]


@pytest.mark.parametrize("dialect_head", [False, True])
@pytest.mark.parametrize("tokenizer", [TOKENIZER, BPE], ids=["characters", "bpe"])
def test_loaded_gives_what_was_saved(tmp_path: Path, tokenizer, dialect_head: bool) -> None:
    model = make_model(1, tokenizer, dialect_head=dialect_head)
    revision = save_model(
        tmp_path / "new" / "a", model, tokenizer, CONFIG, extra={"transcripts": "standard"}
    )
    state = torch.get_rng_state()
    loaded = load_model(tmp_path / "new" / "a")
    assert torch.equal(torch.get_rng_state(), state)
    assert not loaded.model.training
    assert torch.equal(answers(loaded.model), answers(model))
    assert loaded.tokenizer == tokenizer
    assert loaded.config == CONFIG
    assert loaded.model.has_dialect_head == dialect_head
    assert loaded.extra == {"transcripts": "standard"}
    assert loaded.revision == revision
    assert revision == sha256_of_file(tmp_path / "new" / "a" / "model.safetensors")


def test_folder_holds_the_documented_files_and_leaves_others_alone(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("mine", encoding="utf-8")
    save_model(tmp_path, make_model(1, BPE), BPE, CONFIG)
    names = {"bpe.model", "config.json", "log.jsonl", "model.safetensors", "tokens.txt"}
    assert {path.name for path in tmp_path.iterdir()} == names
    save_model(tmp_path, make_model(1), TOKENIZER, CONFIG)
    assert {path.name for path in tmp_path.iterdir()} == names - {"bpe.model"}
    assert (tmp_path / "log.jsonl").read_text(encoding="utf-8") == "mine"
    assert load_model(tmp_path).tokenizer == TOKENIZER


def test_revision_follows_the_weights_only(tmp_path: Path) -> None:
    one = save_model(tmp_path / "a", make_model(1), TOKENIZER, CONFIG, extra={"step": 1})
    again = save_model(tmp_path / "b", make_model(1), TOKENIZER, CONFIG, extra={"step": 2})
    other = save_model(tmp_path / "c", make_model(2), TOKENIZER, CONFIG)
    assert one == again != other


class Killed(BaseException):
    """Stands for the process ending between two file operations."""


def test_a_kill_at_any_moment_leaves_the_old_model_or_the_new(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "model"
    expected = {
        save_model(tmp_path / "a", make_model(1, BPE), BPE, CONFIG): BPE,
        save_model(tmp_path / "b", make_model(2), TOKENIZER, CONFIG): TOKENIZER,
    }
    replace, unlink = Path.replace, Path.unlink
    seen = []
    for moment in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        save_model(folder, make_model(1, BPE), BPE, CONFIG)
        left = moment

        def count() -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1

        def counted_replace(self: Path, target: Path) -> Path:
            count()
            return replace(self, target)

        def counted_unlink(self: Path, missing_ok: bool = False) -> None:
            count()
            unlink(self, missing_ok=missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", counted_replace)
            patch.setattr(Path, "unlink", counted_unlink)
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a kill tidies nothing
            try:
                save_model(folder, make_model(2), TOKENIZER, CONFIG)
                finished = True
            except Killed:
                finished = False
        loaded = load_model(folder)
        assert loaded.tokenizer == expected[loaded.revision]
        seen.append(loaded.revision)
        # The next save finds its way from there and leaves no litter.
        final = save_model(folder, make_model(3), TOKENIZER, CONFIG)
        assert load_model(folder).revision == final
        names = {path.name for path in folder.iterdir()}
        assert names == {"config.json", "model.safetensors", "tokens.txt"}
        if finished:
            break
    assert finished
    assert seen == sorted(seen, key=list(expected).index)
    assert set(seen) == set(expected)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(tmp_path / "m", make_model(1), TOKENIZER, CONFIG)
    return tmp_path / "m"


def test_missing_files_are_all_named(saved: Path) -> None:
    (saved / "tokens.txt").unlink()
    (saved / "model.safetensors").unlink()
    with pytest.raises(IsoglossError, match=r"model\.safetensors, tokens\.txt missing$"):
        load_model(saved)
    with pytest.raises(IsoglossError, match="no such folder"):
        load_model(saved / "nowhere")


@pytest.mark.parametrize("name", ["tokens.txt", "model.safetensors"])
def test_changed_files_are_refused(saved: Path, name: str) -> None:
    with (saved / name).open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(IsoglossError, match=f"{name} changed since"):
        load_model(saved)


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    description = json.loads(path.read_text(encoding="utf-8")) | changes
    for name in description["files"]:
        description["files"][name] = sha256_of_file(folder / name)
    path.write_text(json.dumps(description), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format": "other"}, "describes no model"),
        ({"format_version": FORMAT_VERSION + 1}, "format version 2, .* upgrade"),
        ({"format_version": None}, "format version None"),
        ({"vocab_size": "many"}, "wrong type: vocab_size"),
        ({"encoder": {"dim": [8]}}, "unknown key of ZipformerConfig 'dim'; did you mean dims"),
        ({"encoder": {"dims": [8, 12]}}, "no encoder can be built"),
        ({"vocab_size": 5}, "tokens.txt has 8 units, config.json says 5"),
        ({"dialect_head": True}, "ctc_output_dialect.1.weight is missing"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(saved: Path, changes, problem: str) -> None:
    rewrite(saved, **changes)
    with pytest.raises(IsoglossError, match=problem):
        load_model(saved)


def test_broken_configuration_is_refused(saved: Path) -> None:
    (saved / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(IsoglossError, match="is not JSON"):
        load_model(saved)
    (saved / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(IsoglossError, match="describes no model"):
        load_model(saved)


def test_foreign_and_damaged_weights_are_refused(saved: Path) -> None:
    path = saved / "model.safetensors"
    weights = load_file(path)
    weights["ctc_output.1.bias"] = torch.zeros(3)
    weights["decoder.weight"] = torch.zeros(1)
    save_file(weights, path)
    rewrite(saved)
    with pytest.raises(IsoglossError) as caught:
        load_model(saved)
    assert "ctc_output.1.bias is (3,), expected (8,)" in str(caught.value)
    assert "decoder.weight is not of this encoder" in str(caught.value)
    path.write_bytes(path.read_bytes()[:100])
    rewrite(saved)
    with pytest.raises(IsoglossError, match="is damaged"):
        load_model(saved)


def test_models_that_make_no_sense_are_not_saved(tmp_path: Path) -> None:
    model = make_model(1)
    with pytest.raises(ValueError, match="20 units, the model 8"):
        save_model(tmp_path, model, BPE, CONFIG)
    with pytest.raises(ValueError, match="not as"):
        save_model(tmp_path, model, TOKENIZER, ZipformerConfig.of_size("tiny"))
    with pytest.raises(ValueError, match="JSON"):
        save_model(tmp_path, model, TOKENIZER, CONFIG, extra={"x": {1, 2}})
    with torch.no_grad():
        model.ctc_output[1].bias[0] = float("nan")
    with pytest.raises(ValueError, match=r"ctc_output\.1\.bias"):
        save_model(tmp_path, model, TOKENIZER, CONFIG)
    assert not list(tmp_path.iterdir())
