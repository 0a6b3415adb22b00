"""Parallel texts in, a BiLSTM that puts translations in one place out (`laser:FOLDER`).

A decoder writes the other side's text from nothing but the sentence's vector and the name of the
variety it should write. It is thrown away afterwards. A `TextLearner` of `text_loop`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from isogloss.encoders.bilstm import TOKENIZER
from isogloss.encoders.bilstm_network import Bilstm, BilstmShape, most_of_each, padded_ids
from isogloss.encoders.own_text_files import write_own_text
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.training.objectives.contrastive import info_nce
from isogloss.training.objectives.text import TextLoss
from isogloss.training.optim import ClippedAdamW
from isogloss.training.pair_names import pair_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from isogloss.training.text_batch import TextRows

__all__ = ["LaserLearner", "LaserTraining", "train_tokenizer"]

_SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
_PAD, _BEGIN, _END = 0, 2, 3
# What stands for a space in the pieces of a text.
_SPACE = "▁"


@dataclass(frozen=True, slots=True)
class LaserTraining:
    """How a BiLSTM is trained to translate.

    Args:
        vocabulary: most tokens, learnt by byte-pair merges of characters.
        embedding: of a token.
        hidden: of each direction of the encoder.
        layers: of the encoder.
        decoder: hidden values of the decoder, which has one layer.
        variety: values of the name of a variety.
        dropout: between the layers and on what the decoder reads.
        contrast: weight of InfoNCE between the vectors of both sides; 0 leaves translation alone,
            as LASER has it.
        temperature: of InfoNCE.
    """

    vocabulary: int = 8000
    embedding: int = 256
    hidden: int = 256
    layers: int = 1
    decoder: int = 512
    variety: int = 32
    dropout: float = 0.1
    contrast: float = 0.0
    temperature: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if not self.contrast >= 0 or not self.temperature > 0:
            raise ValueError(
                f"contrast must be at least 0 and temperature above 0, got {self.contrast} and "
                f"{self.temperature}"
            )
        for name in ("decoder", "variety"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class LaserLearner:
    """Encoder and decoder, and the loss of writing each side from the vector of the other.

    Args:
        options: how it is trained.
        tokenizer: as `train_tokenizer` makes it.
        varieties: codes of all varieties that are to be written.
        max_tokens: longer texts are cut here while training, never when encoding.
        seed: of the first weights.

    Attributes:
        kind: the name of its encoder, without the colon.
        needs: rows of two sides.
        module: all that is learnt.
        spent: passes, tokens and floating-point operations, estimated, since it was emptied.
    """

    kind: ClassVar[str] = "laser"
    needs: ClassVar[frozenset[str]] = frozenset({"pairs"})

    def __init__(
        self,
        options: LaserTraining,
        tokenizer: Any,
        *,
        varieties: Iterable[str],
        max_tokens: int,
        seed: int,
    ) -> None:
        self.options = options
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.varieties = {code: place for place, code in enumerate(sorted(set(varieties)))}
        self.shape = BilstmShape(
            tokenizer.get_vocab_size(), options.embedding, options.hidden, options.layers
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = Bilstm(self.shape, dropout=options.dropout)
            self.decoder = _Decoder(self.shape, options, len(self.varieties))
        self.module: nn.Module = nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder})
        self.spent: dict[str, float] = {}

    def optimizer(self, rate: float, clip: float | None) -> torch.optim.Optimizer:
        """AdamW over encoder and decoder."""
        return ClippedAdamW(self.module.parameters(), rate, clip=clip)

    def loss(self, rows: TextRows, *, draw: torch.Generator, step: int, steps: int) -> TextLoss:
        """Nats for each token of the translations, and of telling partners apart where asked for.

        Raises:
            IsoglossError: a row is of a variety that was not named at the start.
        """
        del draw, step, steps
        device = next(self.module.parameters()).device
        sides = [self._ids(texts) for texts in rows.texts]
        vectors = []
        for ids, lengths in sides:
            states = self.encoder(ids.to(device), lengths)[-1]
            vectors.append(most_of_each(states, lengths))
        nats = [
            self.decoder(
                self.encoder.embedding,
                vectors[side],
                self._numbers(rows.varieties[1 - side]),
                other,
            )
            for side, other in ((0, sides[1]), (1, sides[0]))
        ]
        total = 0.5 * (nats[0] + nats[1])
        parts = {"translation": total.detach()}
        if self.options.contrast:
            contrast = info_nce(
                vectors[0], vectors[1], pair_names(rows.names), 1.0 / self.options.temperature
            )
            parts["contrast"] = contrast.detach()
            total = total + self.options.contrast * contrast
        return TextLoss(total, parts)

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many texts have more than `max_tokens` tokens."""
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return sum(len(encoding.ids) > self.max_tokens for encoding in encodings)

    def describe(self) -> dict[str, Any]:
        """Kind and size; the encoder's alone are saved."""
        count = sum(p.numel() for p in self.module.parameters())
        saved = sum(p.numel() for p in self.encoder.parameters())
        return {"kind": self.kind, "weights": saved, "learning": count, **asdict(self.options)}

    def save(self, folder: Path) -> None:
        """Write `laser:FOLDER`, the decoder left out."""
        tensors = {
            name: tensor.detach().cpu().numpy()
            for name, tensor in self.encoder.state_dict().items()
        }
        write_own_text(
            folder,
            self.kind,
            asdict(self.shape),
            tensors,
            files={TOKENIZER: self.tokenizer.to_str()},
            extra={"options": asdict(self.options), "varieties": list(self.varieties)},
        )

    def _numbers(self, codes: Sequence[str]) -> Tensor:
        unknown = sorted(set(codes) - set(self.varieties))
        if unknown:
            raise IsoglossError(f"variety '{unknown[0]}' was not in the corpus when the run began")
        return torch.tensor([self.varieties[code] for code in codes])

    def _ids(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        ids, lengths = padded_ids([encoding.ids[: self.max_tokens] for encoding in encodings])
        weights = (
            sum(p.numel() for p in self.module.parameters()) - self.encoder.embedding.weight.numel()
        )
        tokens = int(lengths.sum())
        for name, amount in {"passes": 1, "tokens": tokens, "flops": 6 * tokens * weights}.items():
            self.spent[name] = self.spent.get(name, 0.0) + amount
        return ids, lengths


class _Decoder(nn.Module):
    """An LSTM that reads the last token, the sentence's vector and the variety at every step."""

    def __init__(self, shape: BilstmShape, options: LaserTraining, varieties: int) -> None:
        super().__init__()
        self.varieties = nn.Embedding(varieties, options.variety)
        self.start = nn.Linear(shape.dimension, 2 * options.decoder)
        self.lstm = nn.LSTM(
            shape.embedding + shape.dimension + options.variety, options.decoder, batch_first=True
        )
        self.out = nn.Linear(options.decoder, shape.vocabulary)
        self.dropout = nn.Dropout(options.dropout)

    def forward(
        self,
        embedding: nn.Module,
        vectors: Tensor,
        varieties: Tensor,
        wanted: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Mean nats for each token of `wanted` and its end."""
        device = vectors.device
        ids, lengths = wanted[0].to(device), wanted[1].to(device)
        rows = torch.arange(len(ids), device=device)
        read = functional.pad(ids, (1, 0), value=_BEGIN)
        right = functional.pad(ids, (0, 1), value=_PAD)
        right[rows, lengths] = _END
        beside = torch.cat([vectors, self.varieties(varieties.to(device))], dim=1)
        inputs = [embedding(read), beside[:, None].expand(-1, read.shape[1], -1)]
        hidden, cell = self.start(vectors).tanh().chunk(2, dim=1)
        states, _ = self.lstm(
            self.dropout(torch.cat(inputs, dim=2)),
            (hidden[None].contiguous(), cell[None].contiguous()),
        )
        is_real = right != _PAD
        return functional.cross_entropy(self.out(self.dropout(states[is_real])), right[is_real])


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """A tokenizer of the package tokenizers: byte-pair merges of characters in lower case.

    Every text that is not blank has a token; characters that `texts` do not have are '<unk>'.

    Raises:
        ValueError: `vocabulary` is too small for the special tokens.
        MissingExtra: tokenizers is not installed.
    """
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    except ImportError as error:
        raise MissingExtra("text", "tokenizers") from error
    if vocabulary <= len(_SPECIAL):
        raise ValueError(f"vocabulary must be above {len(_SPECIAL)}, got {vocabulary}")
    tokenizer = Tokenizer(models.BPE(unk_token=_SPECIAL[1]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    # Of characters that are equally rare the package would leave out any: the choice is made here.
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenizer.normalizer.normalize_str(text))
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    room = (vocabulary - len(_SPECIAL)) // 2
    alphabet = [_SPACE, *[c for c in ranked if not c.isspace() and c != _SPACE][:room]]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(set(texts)), trainer)
    return tokenizer
