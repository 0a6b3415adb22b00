"""A tiny masked language model, batches of plain text for it, and a few steps of training."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import text_checkpoints
from isogloss.training.objectives.text import make_objective, parse_objective
from isogloss.training.text_batch import TextBatch
from isogloss.training.text_model import TextModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.training.objectives.text import TextObjective

ENGLISH = (
    "the dog sees the house",
    "a cat drinks cold milk",
    "my friend reads old books",
    "two birds sing at night",
    "the child opens a window",
    "our teacher walks to town",
    "she buys bread and fish",
    "rain falls on the roof",
)
GERMAN = (
    "der Hund sieht das Haus",
    "eine Katze trinkt kalte Milch",
    "mein Freund liest alte Bücher",
    "zwei Vögel singen bei Nacht",
    "das Kind öffnet ein Fenster",
    "unser Lehrer geht zur Stadt",
    "sie kauft Brot und Fisch",
    "Regen fällt auf das Dach",
)


_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def _vocabulary() -> list[str]:
    """Words of the sentences; longer ones in two pieces, so that words have several tokens.

    Not trained: trainers break ties by a random order, and tests must give the same every time.
    """
    words = sorted({word for text in (*ENGLISH, *GERMAN) for word in text.split()})
    pieces = [piece for w in words for piece in ([w] if len(w) < 6 else [w[:3], f"##{w[3:]}"])]
    letters = sorted({letter for word in words for letter in word})
    known = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters), *pieces, "."]
    return list(dict.fromkeys(known))


@functools.cache
def checkpoint(architecture: str) -> Path:
    """A folder with random weights; dropout is off, the tokenizer knows the sentences above."""
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="isogloss-objectives-"))
    if architecture == "llama":
        return text_checkpoints.make(architecture, folder, texts=[*ENGLISH, *GERMAN], head=True)
    import transformers

    vocabulary = _vocabulary()
    tokenizer = transformers.BertTokenizer(
        vocab={token: number for number, token in enumerate(vocabulary)}, do_lower_case=False
    )
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny(architecture: str = "bert", *, max_tokens: int = 64, seed: int = 0) -> TextModel:
    """A new copy of the tiny model, dropout off."""
    torch.manual_seed(seed)
    return TextModel.load(checkpoint(architecture), max_tokens=max_tokens).eval()


def batch_of(
    model: TextModel,
    *sides: Sequence[str],
    varieties: Sequence[Sequence[str]] | None = None,
    links: Sequence[Sequence[tuple[int, int]]] | None = None,
) -> TextBatch:
    """Texts side by side: "eng" and "deu" unless said otherwise, every row of its own meaning."""
    rows = len(sides[0])
    codes = varieties or [[code] * rows for code in ("eng", "deu")[: len(sides)]]
    return TextBatch(
        sides=tuple(model.tokens(list(side)) for side in sides),
        names=tuple(f"m{i}" for i in range(rows)),
        varieties=tuple(tuple(own) for own in codes),
        links=None if links is None else tuple(tuple(own) for own in links),
        texts=tuple(tuple(side) for side in sides),
    )


def objective_of(spec: str) -> TextObjective:
    """The objective that a command line would ask for."""
    return make_objective(parse_objective(spec))


def generator(seed: int = 0) -> torch.Generator:
    """A generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def loss_of(
    objective: TextObjective,
    model: TextModel,
    batch: TextBatch,
    extra: torch.nn.Module | None = None,
    seed: int = 0,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Total and parts of one batch."""
    found = objective(model, batch, extra=extra, draw=generator(seed), step=0, steps=1)
    return found.total, dict(found.parts)


def trained(
    objectives: Sequence[TextObjective],
    model: TextModel,
    batch: TextBatch,
    *,
    steps: int,
    rate: float = 3e-3,
) -> list[torch.nn.Module | None]:
    """Train `model` in place on one batch with Adam; the extra parts come out."""
    extras = [objective.modules(model) for objective in objectives]
    parameters = [p for p in model.parameters() if p.requires_grad]
    for extra in extras:
        parameters += [p for p in extra.parameters() if p.requires_grad] if extra else []
    optimiser = torch.optim.Adam(parameters, lr=rate)
    for step in range(steps):
        optimiser.zero_grad()
        total = torch.zeros(())
        for objective, extra in zip(objectives, extras, strict=True):
            found = objective(
                model, batch, extra=extra, draw=generator(step), step=step, steps=steps
            )
            total = total + found.total
        if total.requires_grad:
            total.backward()
            optimiser.step()
    return extras


def with_noise_at_padding(model: TextModel) -> TextModel:
    """`model`, whose states at padding and special tokens are NaN from now on."""
    honest = model.states

    def states(tokens, *, attention=None):  # type: ignore[no-untyped-def]
        wrong = ~tokens.content
        return tuple(
            layer.masked_fill(wrong[..., None], torch.nan)
            for layer in honest(tokens, attention=attention)
        )

    model.states = states  # type: ignore[method-assign]
    return model
