"""Texts in, a tokenizer of a given size out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["train_tokenizer"]

_SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def train_tokenizer(
    texts: Sequence[str], size: int, *, kind: Literal["bpe", "unigram"] = "bpe"
) -> Any:
    """A tokenizer of transformers with at most `size` tokens, four of them special.

    Args:
        texts: at least one with a character.
        size: least is what the alphabet needs: 260 for 'bpe', which is byte-level and knows every
            text; 'unigram' marks words by '▁' and has an unknown token for what it has not seen.
        kind: 'bpe' or 'unigram'.

    Raises:
        ValueError: `size` is too small, there is no text, or no such kind.
        MissingExtra: transformers is not installed.
    """
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast
    except ImportError as error:
        raise MissingExtra("text", error.name or "transformers") from error
    if kind not in ("bpe", "unigram"):
        raise ValueError(f"kind must be 'bpe' or 'unigram', got '{kind}'")
    if not any(text.strip() for text in texts):
        raise ValueError(f"{len(texts)} texts hold nothing to make a tokenizer of")
    least = len(_SPECIAL) + 256 if kind == "bpe" else len(_SPECIAL) + len(set("".join(texts))) + 1
    if size < least:
        raise ValueError(f"a vocabulary of {kind} on these texts needs {least} tokens, got {size}")
    special = list(_SPECIAL.values())
    trainer: Any
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
        trainer = trainers.UnigramTrainer(
            vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_SPECIAL)
