"""A causal model, a new tokenizer and texts in; what each way to rebuild its embeddings costs, out.

Bits per character before and right after, and after some steps of training where the caller gives a
function that trains. Bits per character can be compared between tokenizers; losses cannot.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from isogloss.adapt.fertility import Fertility, fertility
from isogloss.adapt.vocabulary import Rebuilt, rebuild
from isogloss.adapt.vocabulary_inits import NEEDS
from isogloss.corpora.progress import with_progress
from isogloss.llm.hf_causal import CausalModel, load_causal
from isogloss.llm.hf_files import save_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["InitRow", "VocabularyComparison", "compare_inits"]


@dataclass(frozen=True, slots=True)
class InitRow:
    """One way to guess embeddings.

    Attributes:
        init: its name.
        bits: per character on the judged texts, before any training.
        trained_bits: the same after training; None without.
        counts: how many tokens got their embedding in which way.
        seconds: that rebuilding took.
    """

    init: str
    bits: float
    trained_bits: float | None
    counts: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class VocabularyComparison:
    """All rows, beside the model with its own tokenizer.

    Attributes:
        before: bits per character of the model as it was; None for `trained_before`, the same
            after as much training, where nothing trains.
        trained_before: what the old vocabulary would come to: the control.
        fertility_before: of the old tokenizer on the judged texts.
        fertility_after: of the new one.
        shared: how many tokens stand for the same in both.
        sizes: tokens of the old and of the new vocabulary.
        texts: how many texts were judged.
        left_out: inits that were asked for and lack a helper or texts, with the reason.
        rows: in the order of the inits.
    """

    before: float
    trained_before: float | None
    fertility_before: Fertility
    fertility_after: Fertility
    shared: int
    sizes: tuple[int, int]
    texts: int
    left_out: Mapping[str, str]
    rows: tuple[InitRow, ...]


def compare_inits(
    model: CausalModel,
    new_tokenizer: Any,
    inits: Sequence[str],
    judged: Sequence[str],
    *,
    texts: Sequence[str] | None = None,
    helper: Any = None,
    train: Callable[[Path, Path], Path] | None = None,
    keep: Callable[[Rebuilt], None] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> VocabularyComparison:
    """Rebuild `model` for `new_tokenizer` in every way of `inits`, and judge each on `judged`.

    Args:
        model: left as it is.
        new_tokenizer: a fast one.
        inits: of `adapt.vocabulary_inits.INITS`; those whose helper or texts are missing are left
            out, if others remain.
        judged: texts held out from `texts` and from training.
        texts: for the static spaces of 'unibridge'.
        helper: a model of transformers for the new tokenizer.
        train: (folder of a model, new folder to work in) to the folder of the trained model; the
            model with its old tokenizer is trained as much, for the control.
        keep: called with every rebuilt model, before any training.
        seed: of what is drawn.
        progress: bars on stderr.

    Raises:
        ValueError: no init can be made, `judged` holds no character or is among `texts`.
        IsoglossError: see `rebuild`.
    """
    if texts is not None:
        seen = set(texts)
        both = [text for text in judged if text in seen]
        if both:
            raise ValueError(
                f"{len(both)} texts to judge on are also among the texts to learn from, first "
                f"'{both[0][:60]}'"
            )
    lacking = {"helper": helper is None, "spaces": not texts}
    words = {"helper": "a helper model of the new tokenizer", "spaces": "texts"}
    left_out = {
        init: f"needs {words[NEEDS[init]]}"
        for init in inits
        if init in NEEDS and lacking[NEEDS[init]]
    }
    wanted = [init for init in inits if init not in left_out]
    if not wanted:
        raise ValueError("; ".join(f"{init} {why}" for init, why in left_out.items()))
    before = model.bits_per_character(judged)
    rows, shared = [], 0
    with TemporaryDirectory(prefix="isogloss-vocabulary-") as work:
        for init in with_progress(wanted, "rebuilding", total=len(wanted)) if progress else wanted:
            began = time.monotonic()
            made = rebuild(
                model.model,
                model.tokenizer,
                new_tokenizer,
                init=init,
                helper=helper,
                texts=texts,
                seed=seed,
            )
            seconds = time.monotonic() - began
            shared = made.shared
            if keep is not None:
                keep(made)
            changed = CausalModel(
                made.model, made.tokenizer, f"{model.name}+{init}", model.device, model.batch
            )
            bits = changed.bits_per_character(judged)
            trained = _trained(changed, judged, train, Path(work) / init)
            rows.append(InitRow(init, bits, trained, made.counts, seconds))
        control = _trained(model, judged, train, Path(work) / "control")
    return VocabularyComparison(
        before,
        control,
        fertility(model.tokenizer, judged),
        fertility(new_tokenizer, judged),
        shared,
        (len(model.tokenizer), len(new_tokenizer)),
        len(judged),
        left_out,
        tuple(rows),
    )


def _trained(
    model: CausalModel,
    judged: Sequence[str],
    train: Callable[[Path, Path], Path] | None,
    work: Path,
) -> float | None:
    if train is None:
        return None
    save_model(model.model, model.tokenizer, work / "start")
    folder = train(work / "start", work / "trained")
    trained = load_causal(folder, device=model.device, batch=model.batch)
    return trained.bits_per_character(judged)
