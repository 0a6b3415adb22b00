"""Texts in, token numbers with the characters they stand for out; used by `hf_text`.

Spans are the tokenizer's own. Only tokenizers written in Python (M2M100, CANINE, ByT5) have none;
theirs are found by following the pieces through the text, never by tokenising its parts.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Pieces", "Window", "pieces_of", "special_ids", "windows_of"]

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Tokens of one text: `before` and `behind` are special tokens that the tokenizer adds.

    `ids` are those of prompt and text, the first `prompt` of them the prompt's. `spans` has the
    characters of the text that each token behind the prompt stands for, `is_step` says which of
    those tokens are no special token written out in the text.
    """

    before: tuple[int, ...]
    ids: tuple[int, ...]
    behind: tuple[int, ...]
    prompt: int
    spans: tuple[Span, ...]
    is_step: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """What a model reads at once of a text: all token numbers, and the text's tokens in them.

    `first` is the place in `ids` of the text's token `start`; of the tokens that this window reads,
    those from `keep_from` to `keep_to` (numbers in the text) are taken from it.
    """

    ids: tuple[int, ...]
    first: int
    start: int
    keep_from: int
    keep_to: int


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Numbers that are no content: all special tokens but the one for the unknown.

    Where that one is also the end or the padding (GPT-2), it is special: such tokenizers know all.
    """
    found = set(tokenizer.all_special_ids)
    roles = ("bos", "eos", "pad", "cls", "sep", "mask")
    others = {getattr(tokenizer, f"{role}_token_id", None) for role in roles}
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is not None and unknown not in others:
        found.discard(unknown)
    return frozenset(found)


def pieces_of(tokenizer: Any, texts: Sequence[str], *, prompt: str = "") -> list[Pieces]:
    """The tokens of each of `texts`, with `prompt` before it; nothing is cut off.

    A token over the border of prompt and text belongs to the text.
    """
    special = special_ids(tokenizer)
    whole = [prompt + text for text in texts]
    if tokenizer.is_fast:
        backend = tokenizer.backend_tokenizer
        # Files of sentence encoders bring lengths to cut and to pad to.
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = bool(getattr(tokenizer, "split_special_tokens", False))
        tokens = [
            (one.ids, one.offsets, _ends(one.special_tokens_mask))
            for one in backend.encode_batch(whole, add_special_tokens=True)
        ]
    else:
        tokens = [_slow(tokenizer, text) for text in whole]
    return [_pieces(*found, len(prompt), special) for found in tokens]


def windows_of(pieces: Pieces, longest: int) -> list[Window]:
    """The windows of at most `longest` tokens in which a text is read.

    One where it fits. Else each has the special tokens and the prompt, and shares a quarter of its
    tokens with the next; a token read twice is taken from the window in which it is farther from
    the edge.

    Raises:
        ValueError: special tokens and prompt leave less than 4 tokens for the text.
    """
    head = pieces.before + pieces.ids[: pieces.prompt]
    content = pieces.ids[pieces.prompt :]
    room = longest - len(head) - len(pieces.behind)
    if len(content) <= room:
        return [Window(head + content + pieces.behind, len(head), 0, 0, len(content))]
    if room < 4:
        raise ValueError(
            f"max_tokens is {longest}, of which special tokens and prompt take "
            f"{longest - room}; that leaves {max(room, 0)} for the text"
        )
    shared = room // 4
    starts = [*range(0, len(content) - room, room - shared), len(content) - room]
    # Borders lie in the middle of what two neighbours share.
    borders = [(b + a + room) // 2 for a, b in pairwise(starts)]
    return [
        Window(head + content[start : start + room] + pieces.behind, len(head), start, low, high)
        for start, low, high in zip(starts, [0, *borders], [*borders, len(content)], strict=True)
    ]


def _ends(mask: Sequence[int]) -> Span:
    """How many tokens the tokenizer put before and behind the text."""
    before = 0
    while before < len(mask) and mask[before]:
        before += 1
    behind = 0
    while behind < len(mask) - before and mask[-1 - behind]:
        behind += 1
    return before, behind


def _pieces(
    ids: Sequence[int], spans: Sequence[Span], ends: Span, skipped: int, special: frozenset[int]
) -> Pieces:
    before, behind = ends
    last = len(ids) - behind
    inner, inner_spans = tuple(ids[before:last]), spans[before:last]
    prompt = 0
    while skipped and prompt < len(inner) and inner_spans[prompt][1] <= skipped:
        prompt += 1
    own = [(max(a - skipped, 0), max(b - skipped, 0)) for a, b in inner_spans[prompt:]]
    return Pieces(
        tuple(ids[:before]),
        inner,
        tuple(ids[last:]),
        prompt,
        tuple(own),
        tuple(one not in special for one in inner[prompt:]),
    )


def _slow(tokenizer: Any, text: str) -> tuple[list[int], list[Span], Span]:
    """Numbers, spans and ends by a tokenizer in Python."""
    tokens = tokenizer.tokenize(text)
    inner = tokenizer.convert_tokens_to_ids(tokens)
    ids = list(tokenizer.build_inputs_with_special_tokens(inner))
    before = next(
        (i for i in range(len(ids) - len(inner) + 1) if ids[i : i + len(inner)] == inner), 0
    )
    behind = len(ids) - before - len(inner)
    spans = _followed(tokens, text)
    return ids, [(0, 0)] * before + spans + [(0, 0)] * behind, (before, behind)


def _followed(tokens: Sequence[str], text: str) -> list[Span]:
    """Spans of pieces, by matching each with what stands next in the text, spaces aside.

    Compared without case and in compatibility form, as tokenizers may change both. A piece that
    does not follow gets an empty span, and the next is looked for from there.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    if len(tokens) == len(encoded) and all(len(token) == 1 for token in tokens):
        if "".join(tokens) != text:  # bytes, each shown as a character
            places = [i for i, c in enumerate(text) for _ in c.encode("utf-8", "surrogatepass")]
            return [(place, place + 1) for place in places]
    plain: list[str] = []
    places = []
    for place, character in enumerate(text):
        for one in _plain(character):
            plain.append(one)
            places.append(place)
    stream = "".join(plain)
    at = 0
    spans: list[Span] = []
    for token in tokens:
        surface = "".join(_plain(token.replace("\u2581", " ").replace("</w>", "")))
        surface = surface.removeprefix("##").removesuffix("@@") or surface
        found = stream.find(surface, at) if surface else -1
        # What stands further on belongs to a later piece, if this one is nowhere near.
        if found < 0 or found > at + 4:
            here = places[at] if at < len(places) else len(text)
            spans.append((here, here))
            continue
        at = found + len(surface)
        spans.append((places[found], places[at - 1] + 1))
    return spans


def _plain(text: str) -> list[str]:
    return [c for c in unicodedata.normalize("NFKC", text).lower() if not c.isspace()]
