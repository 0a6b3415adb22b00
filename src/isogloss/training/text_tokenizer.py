"""Texts in, a tokenizer out: byte-pair pieces, trained once for a run and kept beside it."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["SPECIAL", "kept_tokenizer", "train_tokenizer"]

SPECIAL = {
    "pad_token": "<pad>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
"""Special tokens by their role, the first ids of a vocabulary in this order."""

_SPACE = "▁"


def train_tokenizer(
    texts: Iterable[str], *, pieces: int, kind: str = "encoder", max_tokens: int = 128
) -> Any:
    """A fast tokenizer of transformers with at most `pieces` pieces.

    Text is brought to Unicode NFC and nothing else: case and accents stay. A space becomes "▁",
    also in front of the text, and no piece reaches over one. Characters that are too rare to be in
    the vocabulary (at most half of it is single characters) are spelt in bytes, so nothing is ever
    unknown, and decoding gives the text back, but for a space in front of it.

    An encoder's texts stand between <s> and </s>; a decoder's follow <s>, so that a prompt is not
    ended. Special tokens have the first ids, then come the 256 bytes.

    Args:
        texts: what to learn the pieces from; from none, only the bytes are known.
        pieces: of the vocabulary, at least 300.
        kind: "encoder" or "decoder".
        max_tokens: `model_max_length`.

    Raises:
        ValueError: too few pieces.
        MissingExtra: tokenizers or transformers is not installed.
    """
    if pieces < 300:
        raise ValueError(f"pieces must be at least 300, got {pieces}")
    try:
        import tokenizers
        from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
        from transformers import PreTrainedTokenizerFast
    except ImportError as error:
        package = "transformers" if error.name == "transformers" else "tokenizers"
        raise MissingExtra("text", package) from error
    texts = list(texts)
    alphabet = _alphabet(texts, max(1, (pieces - 261) // 2))
    # Merges that are equally frequent must not depend on the order in which threads finish.
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        made = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token=SPECIAL["unk_token"]))
        made.normalizer = normalizers.NFC()
        made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always")
        made.decoder = decoders.Sequence(
            [
                decoders.ByteFallback(),
                decoders.Metaspace(replacement=_SPACE, prepend_scheme="always"),
            ]
        )
        own = [f"<0x{number:02X}>" for number in range(256)]
        trainer = trainers.BpeTrainer(
            vocab_size=pieces,
            special_tokens=[*SPECIAL.values(), *own],
            # Left to itself it cuts characters of equal frequency off by chance.
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        )
        made.train_from_iterator(texts, trainer)
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before
    made = _with_plain_bytes(made)
    begin, end = SPECIAL["bos_token"], SPECIAL["eos_token"]
    template = f"{begin} $A {end}" if kind == "encoder" else f"{begin} $A"
    pair = f"{begin} $A {end} $B {end}" if kind == "encoder" else f"{begin} $A $B"
    made.post_processor = processors.TemplateProcessing(
        single=template,
        pair=pair,
        special_tokens=[(token, made.token_to_id(token)) for token in (begin, end)],
    )
    roles = dict(SPECIAL)
    if kind == "encoder":
        roles |= {"cls_token": begin, "sep_token": end}
    else:
        del roles["mask_token"]
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=max_tokens, padding_side="right", **roles
    )


def _alphabet(texts: list[str], most: int) -> list[str]:
    """The most frequent characters, the space's sign always; of equal ones the lower code point."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(unicodedata.normalize("NFC", text))
    counts = Counter({c: n for c, n in counts.items() if not c.isspace() and c != _SPACE})
    ranked = sorted(counts, key=lambda c: (-counts[c], c))
    return [_SPACE, *ranked[: most - 1]]


def kept_tokenizer(
    folder: Path, texts: Iterable[str], *, pieces: int, kind: str, max_tokens: int
) -> Any:
    """The tokenizer in `folder`, trained and written there first when it is not.

    Raises:
        As `train_tokenizer`.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtra("text", "transformers") from error
    if not folder.is_dir():
        made = train_tokenizer(texts, pieces=pieces, kind=kind, max_tokens=max_tokens)
        half = folder.with_name(f".{folder.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        made.save_pretrained(half)
        half.rename(folder)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _with_plain_bytes(made: Any) -> Any:
    """The same tokenizer with its bytes as pieces of the vocabulary and not as special tokens.

    Training reserves room for the bytes by calling them special; a special token would be left out
    of decoded text.
    """
    import json

    import tokenizers

    described = json.loads(made.to_str())
    special = set(SPECIAL.values())
    described["added_tokens"] = [
        token for token in described["added_tokens"] if token["content"] in special
    ]
    return tokenizers.Tokenizer.from_str(json.dumps(described))
