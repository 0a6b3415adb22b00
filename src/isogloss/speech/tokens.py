"""Text to output units and back: `Tokenizer`, used by training, decoding and checkpoints.

Unit 0 is always the CTC blank. A unit is a character with its combining marks
(`Tokenizer.characters`) or a piece learnt by sentencepiece (`Tokenizer.bpe`). Tables of public
models may also hold pieces without their model, or pieces of UTF-8 bytes. All read text as
`normalise_text` leaves it.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

from isogloss._files import atomic_writer, write_text
from isogloss.errors import BadRecord, IsoglossError, MissingExtra
from isogloss.speech.bbpe import byte_of_fallback, bytes_of_symbol, is_bbpe, spell, text_of_bytes
from isogloss.speech.pieces import fewest_pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["BLANK", "SPACE", "UNKNOWN", "Tokenizer", "normalise_text", "split_characters"]

BLANK = "<blk>"
"""Symbol of unit 0, as icefall writes it."""
UNKNOWN = "<unk>"
"""Symbol of the unit for what the vocabulary lacks."""
SPACE = "▁"
"""Symbol of a space between words (U+2581), as sentencepiece writes it."""
UNKNOWN_TEXT = "⁇"
"""What an unknown unit reads as (U+2047): one character, so that it counts as one error."""

# Sentence marks of public models; the tags of `transcripts="tagged"`.
_SILENT = ("<s>", "</s>", "<sos/eos>", "<sos>", "<eos>", "<pad>", "<standard>", "<dialect>")
_UNKNOWN_NAMES = (UNKNOWN, "<UNK>", "<oov>", "<OOV>")
_BLANK_NAMES = (BLANK, "<blank>", "<eps>")
_SPACE_NAMES = ("<space>", "<SPACE>")
_DISAMBIGUATION = re.compile(r"#\d+")
_TOKENS_FILE = "tokens.txt"
_BPE_FILE = "bpe.model"

# Scripts written without spaces. The private use areas are here because dialect fonts put Han
# characters there that Unicode lacks.
_UNSPACED = (
    (0x2E80, 0x312F),  # radicals, description characters, CJK punctuation, kana, bopomofo
    (0x31A0, 0x31FF),  # bopomofo of the dialects, strokes, small kana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xE000, 0xFAFF),  # private use, compatibility ideographs
    (0xFE30, 0xFE4F),
    (0xFF01, 0xFF0F),  # full-width punctuation; full-width letters and digits are words
    (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF9F),
    (0x16FE0, 0x16FFF),
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
    (0xF0000, 0x10FFFF),
)


def normalise_text(text: str) -> str:
    """`text` in NFC, with the spaces that mean something and no control characters.

    Runs of white space become one space; a space beside a character of a script written without
    spaces (Han, kana, bopomofo, their punctuation) is dropped, one between two words of any other
    script stays: "我 们 去 Hong  Kong 玩" is "我们去Hong Kong玩". Control and format characters
    (zero-width joiners, byte-order marks) are dropped, surrogates without a partner too. Letter
    case, digits and punctuation stay: they are for the corpus reader to decide. Applying it twice
    changes nothing.
    """
    kept = []
    for character in text.replace(SPACE, " "):
        if character.isspace():
            kept.append(" ")
        elif unicodedata.category(character) not in ("Cc", "Cf", "Cs"):
            kept.append(character)
    words = unicodedata.normalize("NFC", "".join(kept)).split()
    joined = words[0] if words else ""
    for word in words[1:]:
        glue = "" if _is_unspaced(_last_base(joined)) or _is_unspaced(word[0]) else " "
        joined += glue + word
    # A mark that stood after a dropped space may now compose with the character before it.
    return unicodedata.normalize("NFC", joined)


def split_characters(text: str) -> list[str]:
    """Units of `normalise_text(text)`: each character with the marks on it, `SPACE` for a space.

    A letter with a mark that has no composed form (o̍ in Pe̍h-ōe-jī) is one unit, a character beyond
    the basic plane (𠊎) too, because Python strings count code points. A mark with nothing to stand
    on is a unit of its own.
    """
    units: list[str] = []
    for character in normalise_text(text):
        if character == " ":
            units.append(SPACE)
        elif units and units[-1] != SPACE and unicodedata.category(character).startswith("M"):
            units[-1] += character
        else:
            units.append(character)
    return units


class Tokenizer:
    """Output units of a CTC model, by name and number.

    Make one with `characters`, `bpe` or `load`. `symbols[i]` is the symbol of unit i; `symbols[0]`
    is the blank. Two tokenizers with equal `symbols` and `kind` are equal. What kind the units are
    is seen from the symbols and from whether there is a sentencepiece model, see `kind`.
    """

    blank_id = 0

    def __init__(self, symbols: Sequence[str], *, bpe_model: bytes | None = None) -> None:
        """A tokenizer of known symbols.

        Args:
            symbols: the blank first, then in any order the unknown symbol and the units; all
                different, none empty, none with white space inside.
            bpe_model: a serialised sentencepiece model with exactly these pieces, or None where
                units are characters or the model is not at hand.

        Raises:
            ValueError: a symbol breaks these rules, or the model has other pieces.
        """
        self.symbols = tuple(symbols)
        self._ids = {symbol: i for i, symbol in enumerate(self.symbols)}
        self._bpe_model = bpe_model
        self._check_symbols()
        self.unknown_id = next(self._ids[name] for name in _UNKNOWN_NAMES if name in self._ids)
        self._special = {0, self.unknown_id} | {
            i for i, symbol in enumerate(self.symbols) if symbol in _SILENT
        }
        self._processor = None if bpe_model is None else _processor(bpe_model, self.symbols)
        self._fallback: dict[int, int] = {}
        for i, symbol in enumerate(self.symbols):
            byte = byte_of_fallback(symbol)
            if byte is not None:
                self._fallback[byte] = i
        bytes_alone = set(self._fallback.values())
        self._texts = {
            symbol: i
            for i, symbol in enumerate(self.symbols)
            if i not in self._special and i not in bytes_alone
        }
        self._is_bbpe = is_bbpe(self._texts)
        self._longest = max(map(len, self._texts), default=0)
        self._has_pieces = self._is_bbpe or any(map(_is_piece, self._texts))
        # Where a Han character never follows another inside a piece, a space stood between them.
        self._spaces_han = self._is_bbpe and any(
            len(symbol) > 1 and symbol[0] == SPACE and bytes_of_symbol(symbol[1])[0] >= 0xE3
            for symbol in self._texts
        )

    @classmethod
    def characters(cls, texts: Iterable[str], *, min_count: int = 1) -> Tokenizer:
        """A tokenizer whose units are the characters of `texts`, in code point order.

        Args:
            texts: training transcripts; read once.
            min_count: characters seen less often are left to the unknown unit.

        Raises:
            ValueError: no character is left.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(split_characters(text))
        units = sorted(unit for unit, count in counts.items() if count >= min_count)
        if not units:
            raise ValueError(
                f"no character occurs {min_count} times or more in the texts; give the training "
                "transcripts, or lower min_count"
            )
        return cls((BLANK, UNKNOWN, *units))

    @classmethod
    def bpe(cls, texts: Iterable[str], size: int) -> Tokenizer:
        """A tokenizer of `size` units learnt by byte-pair encoding (sentencepiece, in process).

        All characters of `texts` are units, so `size` must exceed their number by at least 2. The
        first word of a text gets no leading `SPACE`: in text without spaces, a sentence's first
        character would else be another unit than the same character elsewhere.

        Raises:
            MissingExtra: sentencepiece is not installed.
            ValueError: `size` is too small or too large for these texts.
        """
        try:
            import sentencepiece
        except ImportError as error:
            raise MissingExtra("speech", "sentencepiece") from error
        lines = [line for line in map(normalise_text, texts) if line]
        if not lines:
            raise ValueError("all texts are empty; give the training transcripts")
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                model_type="bpe",
                vocab_size=size,
                character_coverage=1.0,
                normalization_rule_name="identity",
                add_dummy_prefix=False,
                control_symbols=[BLANK],
                unk_id=1,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                max_sentence_length=1 << 20,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            different = len({character for line in lines for character in line})
            raise ValueError(
                f"no {size} byte-pair units can be learnt from {len(lines)} texts with "
                f"{different} different characters; choose a size between {different + 2} and "
                f"the number that sentencepiece names: {error}"
            ) from error
        pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        symbols = [pieces.id_to_piece(i) for i in range(pieces.get_piece_size())]
        return cls(symbols, bpe_model=model.getvalue())

    @property
    def kind(self) -> str:
        """Kind of the units: "characters", "bpe", "pieces" (without their model) or "bbpe"."""
        if self._is_bbpe:
            return "bbpe"
        if self._bpe_model is not None:
            return "bpe"
        return "pieces" if self._has_pieces else "characters"

    @property
    def vocab_size(self) -> int:
        """Number of units, blank and unknown included."""
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Unit numbers of `normalise_text(text)`; never the blank, empty for an empty text.

        Pieces without their model are chosen by `fewest_pieces`.
        """
        text = normalise_text(text)
        if self._is_bbpe:
            text = spell(text, space_han=self._spaces_han)
        if self._processor is not None:
            return [int(i) for i in self._processor.encode(text)]
        if self._has_pieces:
            return self._encode_pieces(text)
        ids = []
        for unit in split_characters(text):
            ids += [self._ids[unit]] if unit in self._ids else self._encode_unknown(unit)
        return ids

    def _encode_pieces(self, text: str) -> list[int]:
        if not text:
            return []
        # sentencepiece starts a text as it starts a word; scripts without spaces have no words.
        starts_word = self._spaces_han or not (self._is_bbpe or _is_unspaced(text[0]))
        spaced = (" " if starts_word else "") + text
        ids: list[int] = []
        for unit in fewest_pieces(spaced.replace(" ", SPACE), self._texts, self._longest):
            if isinstance(unit, int):
                ids.append(unit)
            elif unit != SPACE:
                ids += self._encode_unknown(unit)
        return ids

    def _encode_unknown(self, unit: str) -> list[int]:
        """The unit's bytes where all have units, else the unknown unit."""
        data = unit.encode("utf-8", "ignore")
        if self._fallback and all(byte in self._fallback for byte in data):
            return [self._fallback[byte] for byte in data]
        return [self.unknown_id]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of unit numbers, normalised as `normalise_text` does.

        Blanks and sentence marks read as nothing, an unknown unit as "⁇"; bytes that make no whole
        character are dropped. Repeats stay: merge them before, as the functions of
        `isogloss.speech.decode` do.

        Raises:
            ValueError: a number is outside the vocabulary.
        """
        data = bytearray()
        for i in ids:
            if not 0 <= i < len(self.symbols):
                raise ValueError(f"unit {i} is outside the vocabulary of {len(self.symbols)}")
            if i == self.unknown_id:
                data += UNKNOWN_TEXT.encode()
            elif i not in self._special:
                data += self._bytes(self.symbols[i])
        return normalise_text(text_of_bytes(bytes(data)))

    def _bytes(self, symbol: str) -> bytes:
        byte = byte_of_fallback(symbol) if self._fallback else None
        if byte is not None:
            return bytes((byte,))
        return bytes_of_symbol(symbol) if self._is_bbpe else symbol.encode("utf-8", "ignore")

    def unknown(self, texts: Iterable[str]) -> dict[str, int]:
        """Characters of `texts` that no unit covers, with their counts, most frequent first."""
        counts: Counter[str] = Counter()
        # Learnt units include every single character seen in training, so that the characters
        # among the symbols tell what is covered.
        known = {character for symbol in self._texts for character in symbol}
        every_byte = len(self._fallback) == 256
        for text in texts:
            for unit in split_characters(text):
                if self.kind == "characters":
                    missing = [] if unit in self._ids else [unit]
                elif self._is_bbpe:
                    missing = [unit] if set(spell(unit)) - known - {SPACE} else []
                else:
                    missing = [part for part in unit if part not in known]
                counts.update([] if every_byte else missing)
        return dict(counts.most_common())

    def save(self, folder: Path) -> None:
        """Write `tokens.txt` ("symbol number" lines, as icefall's) and, for bpe, `bpe.model`.

        Each file is whole or absent. A `bpe.model` left by another tokenizer is removed.
        """
        lines = [f"{symbol} {i}\n" for i, symbol in enumerate(self.symbols)]
        write_text(folder / _TOKENS_FILE, "".join(lines))
        if self._bpe_model is None:
            (folder / _BPE_FILE).unlink(missing_ok=True)
        else:
            with atomic_writer(folder / _BPE_FILE) as handle:
                handle.write(self._bpe_model)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """The tokenizer that `save` wrote to `folder`, or that icefall wrote as `tokens.txt`.

        Raises:
            IsoglossError: `tokens.txt` is missing, or does not belong to `bpe.model`.
            BadRecord: a line is not "symbol number", or a number is missing or given twice.
        """
        model = folder / _BPE_FILE
        return cls.read(
            folder / _TOKENS_FILE, bpe_model=model.read_bytes() if model.is_file() else None
        )

    @classmethod
    def read(
        cls, path: Path, *, bpe_model: bytes | None = None, units: int | None = None
    ) -> Tokenizer:
        """The tokenizer of one `tokens.txt`, with its sentencepiece model or none; see `load`.

        Args:
            path: of the table.
            bpe_model: as for `Tokenizer`.
            units: how many the model puts out; the disambiguation symbols (#0, #1) that icefall
                may list behind them are left out.

        Raises:
            IsoglossError: the table is missing, has another number of units, or does not belong to
                the model.
            BadRecord: see `load`.
        """
        if not path.is_file():
            raise IsoglossError(f"{path} is missing; a model's folder needs its list of units")
        symbols = _read_symbols(path)
        if units is not None:
            while len(symbols) > units and _DISAMBIGUATION.fullmatch(symbols[-1]):
                symbols.pop()
            if len(symbols) != units:
                raise IsoglossError(
                    f"{path} has {len(symbols)} units, the model puts out {units}; take the table "
                    "that was published with the model"
                )
        try:
            return cls(symbols, bpe_model=bpe_model)
        except ValueError as error:
            raise IsoglossError(f"{path}: {error}") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokenizer):
            return NotImplemented
        return self.symbols == other.symbols and self.kind == other.kind

    def __hash__(self) -> int:
        return hash((self.symbols, self.kind))

    def __repr__(self) -> str:
        return f"Tokenizer({self.kind}, {self.vocab_size} units)"

    def _check_symbols(self) -> None:
        if not self.symbols or self.symbols[0] not in _BLANK_NAMES:
            found = self.symbols[0] if self.symbols else "nothing"
            raise ValueError(f"unit 0 must be the blank {BLANK}, found {found}")
        if not any(name in self._ids for name in _UNKNOWN_NAMES):
            raise ValueError(f"no unit is {UNKNOWN}; add it, so that unseen characters have a unit")
        if len(self._ids) != len(self.symbols):
            twice = [symbol for symbol, n in Counter(self.symbols).items() if n > 1]
            raise ValueError(f"units given twice: {', '.join(twice[:5])}")
        for i, symbol in enumerate(self.symbols):
            if not symbol or any(character.isspace() for character in symbol):
                raise ValueError(f"unit {i} is {symbol!r}; write a space as {SPACE}")


def _is_piece(symbol: str) -> bool:
    """Whether `symbol` is more than one character with its marks."""
    if len(symbol) == 1:
        return False
    return SPACE in symbol or len(split_characters(symbol)) > 1


def _is_unspaced(character: str) -> bool:
    code = ord(character)
    return any(low <= code <= high for low, high in _UNSPACED)


def _last_base(text: str) -> str:
    """The last character of `text` that is not a mark, or the last one if all are marks."""
    for character in reversed(text):
        if not unicodedata.category(character).startswith("M"):
            return character
    return text[-1]


def _processor(model: bytes, symbols: tuple[str, ...]) -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingExtra("speech", "sentencepiece") from error
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise ValueError(f"{_BPE_FILE} is no sentencepiece model: {error}") from error
    pieces = tuple(processor.id_to_piece(i) for i in range(processor.get_piece_size()))
    if pieces != symbols:
        raise ValueError(
            f"{_BPE_FILE} has {len(pieces)} pieces that differ from the {len(symbols)} symbols of "
            f"{_TOKENS_FILE}; take both from the same training"
        )
    return processor


def _read_symbols(path: Path) -> list[str]:
    by_number: dict[int, str] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise IsoglossError(f"{path} is not UTF-8 text: {error}") from error
    # Only the line feed ends a line: other separators of str.splitlines may be symbols.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        *before, digits = line.rsplit(maxsplit=1)
        # A line of white space and a number is the space itself, unescaped.
        symbol = before[0] if before else SPACE if line[0].isspace() else ""
        if not symbol or not digits.isascii() or not digits.isdigit():
            raise BadRecord(path, number, "id", f"expected 'symbol number', found {line!r}")
        if int(digits) in by_number:
            raise BadRecord(path, number, "id", f"unit {digits} is given twice")
        by_number[int(digits)] = symbol
    missing = sorted(set(range(len(by_number))) - set(by_number))
    if missing:
        raise BadRecord(path, number, "id", f"unit {missing[0]} is missing")
    symbols = [by_number[i] for i in range(len(by_number))]
    if SPACE not in symbols:
        symbols = [SPACE if symbol in _SPACE_NAMES else symbol for symbol in symbols]
    return symbols
