"""A causal language model of transformers: prompts in, continuations out; texts in, bits out.

Loaded by `load_causal(FOLDER_OR_NAME)`. The loop over tokens is our own, so that it is known for
every state whether it belongs to padding, to a prompt or to what was generated (`token_marks`).
"""

from __future__ import annotations

import inspect
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.corpora.progress import with_progress
from isogloss.errors import IsoglossError
from isogloss.llm.hf_files import load_model, load_tokenizer
from isogloss.llm.token_marks import prompt_columns_are

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from isogloss.types import FloatArray

__all__ = ["CausalModel", "load_causal"]

# Where neither the model nor its tokenizer says how much fits.
_MOST_TOKENS = 2048


@dataclass(frozen=True, eq=False)
class CausalModel:
    """A Generator: a causal language model with its tokenizer.

    A prompt gives the same alone as in any batch, up to rounding: padding stands on the left,
    is masked, and is not counted in positions.

    Attributes:
        model: of transformers, in evaluation mode.
        tokenizer: that belongs to it.
        name: of the folder or repository, for signatures.
        device: where `model` is.
        batch: how many texts go through the model at a time.
    """

    model: Any
    tokenizer: Any
    name: str
    device: str = "cpu"
    batch: int = 16

    @property
    def made_by(self) -> str:
        """What identifies the model in signatures."""
        return f"lm:{self.name}"

    @property
    def most_tokens(self) -> int:
        """How many tokens fit, generated ones included."""
        of_model = getattr(self.model.config, "max_position_embeddings", None)
        of_model = of_model or getattr(self.model.config, "n_positions", None)
        return min(int(of_model or _MOST_TOKENS), int(self.tokenizer.model_max_length))

    @property
    def start_id(self) -> int | None:
        """The token that opens a text: the tokenizer's own, else its end-of-text; None if none."""
        for name in ("bos_token_id", "eos_token_id"):
            if getattr(self.tokenizer, name, None) is not None:
                return int(getattr(self.tokenizer, name))
        return None

    def token_ids(self, text: str, *, start: bool = True) -> list[int]:
        """The tokens of `text`, opened by the start token where there is one and `start` is True.

        No end of text is added, also where the tokenizer's own template would add one.
        """
        # verbose=False: what is too long is cut or windowed by the caller, knowingly.
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        opened = [self.start_id] if start and self.start_id is not None else []
        return [*opened, *map(int, ids)]

    def generate(
        self,
        prompts: Sequence[str],
        *,
        new_tokens: int = 32,
        least_tokens: int = 0,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        progress: bool = False,
    ) -> list[str]:
        """One continuation for each prompt, without the prompt and without special tokens.

        Args:
            prompts: any strings; the end of one that is too long is kept. An empty prompt asks
                for a text from nothing.
            new_tokens: most tokens of a continuation; the end-of-text token ends it earlier.
            least_tokens: the end-of-text token is not allowed before so many tokens.
            temperature: 0 takes the likeliest token (of equals the first); above, tokens are drawn
                from probabilities to the power 1 / temperature.
            top_p: draw only from the likeliest tokens that together hold this probability.
            seed: of the draws. Each prompt has draws of its own, by its place in the list, so that
                the size of a batch changes nothing.
            progress: show a bar on stderr.

        Raises:
            ValueError: an option is out of range, or a prompt is empty and the tokenizer has no
                token to start from.
        """
        if new_tokens < 1 or new_tokens >= self.most_tokens:
            raise ValueError(
                f"new_tokens must lie in 1 to {self.most_tokens - 1} (the model holds "
                f"{self.most_tokens} tokens), got {new_tokens}"
            )
        if not 0 <= least_tokens <= new_tokens:
            raise ValueError(
                f"least_tokens must lie in 0 to new_tokens {new_tokens}, got {least_tokens}"
            )
        if temperature < 0 or not 0 < top_p <= 1:
            raise ValueError(
                "temperature must not be negative and top_p lie in (0, 1], got "
                f"{temperature}, {top_p}"
            )
        ids = [self.token_ids(prompt) for prompt in prompts]
        room = self.most_tokens - new_tokens
        for number, row in enumerate(ids):
            if not row:
                raise ValueError(f"prompt {number} is empty and the tokenizer has no start token")
            if len(row) > room:
                head = 1 if row[0] == self.start_id else 0
                ids[number] = row[:head] + row[len(row) - room + head :]
        sampling = _Sampling(temperature, top_p, seed, least_tokens)
        made: list[str] = [""] * len(ids)
        batches = self._batches([len(row) for row in ids])
        for rows in self._shown(batches, "generating", progress):
            continued = self._continue([ids[i] for i in rows], rows, new_tokens, sampling)
            for i, tokens in zip(rows, continued, strict=True):
                made[i] = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return made

    def log_probs(
        self, texts: Sequence[str], *, prompts: Sequence[str] | None = None, progress: bool = False
    ) -> list[FloatArray]:
        """Natural log of the probability of every token of each text, (T,) float32 each.

        A text without tokens gives (0,). What does not fit the model is scored in windows of
        `most_tokens`, each opened anew. The first token of a model without a start token counts
        as drawn from its whole vocabulary.

        Args:
            texts: what is scored.
            prompts: what stands before each text and is not scored; the end of one that leaves no
                room is kept.
            progress: show a bar on stderr.

        Raises:
            ValueError: `prompts` is not as long as `texts`.
        """
        if prompts is not None and len(prompts) != len(texts):
            raise ValueError(f"{len(prompts)} prompts for {len(texts)} texts")
        windows = [
            (number, *window)
            for number, text in enumerate(texts)
            for window in self._windows(text, None if prompts is None else prompts[number])
        ]
        found: list[FloatArray | None] = [None] * len(windows)
        batches = self._batches([len(head) + len(body) for _, head, body in windows])
        for rows in self._shown(batches, "scoring", progress):
            scored = self._score([windows[i][1:] for i in rows])
            for i, values in zip(rows, scored, strict=True):
                found[i] = values
        pieces: list[list[FloatArray]] = [[np.zeros(0, dtype=np.float32)] for _ in texts]
        for (number, _, _), scores in zip(windows, found, strict=True):
            if scores is not None:
                pieces[number].append(scores)
        return [np.concatenate(parts) for parts in pieces]

    def bits(self, texts: Sequence[str], *, progress: bool = False) -> FloatArray:
        """Bits that each text costs, (N,) float32: its tokens' log probabilities in base 2."""
        scored = self.log_probs(texts, progress=progress)
        sums = [-float(values.sum(dtype=np.float64)) for values in scored]
        return np.array(sums, dtype=np.float32) / np.float32(math.log(2))

    def bits_per_character(self, texts: Sequence[str], *, progress: bool = False) -> float:
        """All bits of `texts` over all their characters: comparable between tokenizers.

        Smaller is better. The end of text is not scored. A tokenizer that loses characters (an
        unknown token for a whole word) is flattered by it; see `unknown_share`.

        Raises:
            ValueError: there is not one character.
        """
        characters = sum(map(len, texts))
        if not characters:
            raise ValueError(f"{len(texts)} texts hold no character to score")
        return float(self.bits(texts, progress=progress).sum(dtype=np.float64)) / characters

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Share of tokens of `texts` that are the unknown token, in [0, 1]; 0 for no tokens."""
        unknown = getattr(self.tokenizer, "unk_token_id", None)
        ids = [i for text in texts for i in self.token_ids(text, start=False)]
        return ids.count(unknown) / len(ids) if ids and unknown is not None else 0.0

    def passes(self, texts: Sequence[str], *, progress: bool = False) -> Iterator[list[int]]:
        """Send `texts` through the model, a batch a pass; after each, the numbers of its texts.

        For hooks that read states. A text is opened by the start token and cut at `most_tokens`;
        texts without any token are in no pass.
        """
        import torch

        ids = [self.token_ids(text)[: self.most_tokens] for text in texts]
        known = [number for number, row in enumerate(ids) if row]
        batches = self._batches([len(ids[number]) for number in known])
        for places in self._shown(batches, "states", progress):
            rows = [known[i] for i in places]
            tokens, is_real = self._padded([ids[i] for i in rows])
            columns = torch.full((len(rows), 1), tokens.shape[1], device=self.device)
            with torch.inference_mode(), prompt_columns_are(columns):
                self.model(**self._arguments(tokens, is_real), use_cache=False)
            yield rows

    @staticmethod
    def _shown(batches: list[list[int]], label: str, progress: bool) -> Iterable[list[int]]:
        return with_progress(batches, label, total=len(batches)) if progress else batches

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Numbers of rows, alike in length, the longest first so that memory fails early."""
        order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
        return [order[first : first + self.batch] for first in range(0, len(order), self.batch)]

    def _windows(self, text: str, prompt: str | None) -> Iterator[tuple[list[int], list[int]]]:
        """(what is not scored, what is) of each window of a text."""
        head = self.token_ids(prompt or "")
        body = self.token_ids(text, start=False)
        opened = [self.start_id] if self.start_id is not None else []
        room = self.most_tokens // 2
        if len(head) > room:
            head = [*opened, *head[len(head) - room + len(opened) :]]
        while body:
            size = self.most_tokens - max(len(head), 1)
            yield head, body[:size]
            head, body = [*opened], body[size:]

    def _score(self, batch: Sequence[tuple[list[int], list[int]]]) -> list[FloatArray]:
        import torch

        ids, is_real = self._padded([head + body for head, body in batch])
        columns = ids.shape[1] - torch.tensor([[len(body)] for _, body in batch])
        with torch.inference_mode(), prompt_columns_are(columns.to(self.device)):
            logits = self.model(**self._arguments(ids, is_real), use_cache=False).logits
            every = torch.log_softmax(logits.float(), dim=-1)
        of_next = every[:, :-1].gather(-1, ids[:, 1:, None])[..., 0].cpu().numpy()
        found = []
        for row, (head, body) in zip(of_next, batch, strict=True):
            values = row[len(row) - len(body) :] if head else row[len(row) - len(body) + 1 :]
            if not head:
                values = np.append(np.float32(-math.log(every.shape[-1])), values)
            found.append(values.astype(np.float32))
        return found

    def _continue(
        self, ids: list[list[int]], rows: Sequence[int], new_tokens: int, sampling: _Sampling
    ) -> list[list[int]]:
        """The new tokens of each row, the end of text left off."""
        import torch

        tokens, is_real = self._padded(ids)
        columns = torch.full((len(ids), 1), tokens.shape[1], device=self.device)
        draws = [sampling.draw_of(i) for i in rows]
        ends = self._end_ids()
        made: list[list[int]] = [[] for _ in ids]
        ended = [False] * len(ids)
        cache = None
        with torch.inference_mode(), prompt_columns_are(columns):
            for place in range(new_tokens):
                arguments = self._arguments(tokens, is_real)
                output = self.model(**arguments, past_key_values=cache, use_cache=True)
                cache = getattr(output, "past_key_values", None)
                if cache is None:
                    raise IsoglossError(
                        f"{self.name} ({type(self.model).__name__}) keeps no keys and values; "
                        "generating with it is not supported"
                    )
                logits = output.logits[:, -1].float().cpu()
                if place < sampling.least_tokens:
                    logits[:, sorted(ends)] = -torch.inf
                chosen = sampling.choose(logits, draws)
                for row, token in enumerate(chosen):
                    ended[row] = ended[row] or token in ends
                    if not ended[row]:
                        made[row].append(token)
                if all(ended):
                    break
                tokens = torch.tensor(chosen, device=self.device)[:, None]
                is_real = torch.cat([is_real, torch.ones_like(tokens)], dim=1)
        return made

    def _padded(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """(N, L) tokens with padding on the left, and 1 where a token is real."""
        import torch

        longest = max(map(len, ids))
        filler = self.tokenizer.pad_token_id or 0
        tokens = torch.full((len(ids), longest), filler)
        is_real = torch.zeros_like(tokens)
        for row, values in enumerate(ids):
            tokens[row, longest - len(values) :] = torch.tensor(values)
            is_real[row, longest - len(values) :] = 1
        return tokens.to(self.device), is_real.to(self.device)

    def _arguments(self, tokens: Tensor, is_real: Tensor) -> dict[str, Tensor]:
        """Arguments of one pass over the last columns of `is_real`."""
        arguments = {"input_ids": tokens, "attention_mask": is_real}
        if "position_ids" in inspect.signature(self.model.forward).parameters:
            positions = (is_real.cumsum(dim=1) - 1).clamp(min=0)
            arguments["position_ids"] = positions[:, -tokens.shape[1] :]
        return arguments

    def _end_ids(self) -> set[int]:
        named = getattr(self.model.generation_config, "eos_token_id", None)
        ids = named if isinstance(named, list) else [named]
        return {int(i) for i in (*ids, self.tokenizer.eos_token_id) if i is not None}


@dataclass(frozen=True)
class _Sampling:
    """How the next token is chosen."""

    temperature: float
    top_p: float
    seed: int
    least_tokens: int = 0

    def draw_of(self, row: int) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(f"{self.seed} {row}".encode()))

    def choose(self, logits: Tensor, draws: Sequence[np.random.Generator]) -> list[int]:
        """One token for each row of (N, V) logits."""
        if not self.temperature:
            return [int(i) for i in logits.argmax(dim=-1)]
        scaled = logits.double().numpy() / self.temperature
        probabilities = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        chosen = []
        for row, draw in zip(probabilities, draws, strict=True):
            order = np.argsort(-row, kind="stable")
            cumulated = np.cumsum(row[order])
            kept = int(np.searchsorted(cumulated, self.top_p)) + 1 if self.top_p < 1 else len(row)
            kept = min(kept, len(row))
            at = np.searchsorted(cumulated[:kept], draw.random() * cumulated[kept - 1], "right")
            chosen.append(int(order[min(int(at), kept - 1)]))
        return chosen


def load_causal(name: str | Path, *, device: str = "cpu", batch: int = 16) -> CausalModel:
    """The causal language model of a folder (as trained here or saved by transformers) or name.

    'hf:FOLDER', as encoders are named, is understood too.

    Raises:
        IsoglossError: it cannot be loaded or predicts no next token.
        MissingExtra: torch or transformers is not installed.
    """
    from pathlib import Path

    place = str(name).removeprefix("hf:")
    tokenizer = load_tokenizer(place)
    model = load_model(place, causal=True, device=device)
    size = int(model.get_input_embeddings().weight.shape[0])
    if len(tokenizer) > size:
        raise IsoglossError(
            f"{place}: the tokenizer has {len(tokenizer)} tokens and the model {size} embeddings; "
            "they do not belong together"
        )
    shown = Path(place).expanduser().resolve().name if Path(place).expanduser().is_dir() else place
    return CausalModel(model, tokenizer, shown, device, batch)
