"""A clean transcript from one of YuBao's, and the names of the rules that changed it.

The field notes mix what was said with what the transcriber thought about it. The rules, in the
order in which they work:

1. `blank`: blanks and line breaks go; between Latin words one blank stays.
2. `note`: whatever stands in brackets goes, （） () 【】 [] 〔〕 ［］ {}; a bracket without its
   partner goes alone.
3. `dialogue`: `a.` `b.` `A：` `甲：` at the start of a turn go, and so does a slash between turns;
   the turns stay in their order, one blank between them. This takes two speakers at least; the
   same one again after a slash only words the turn in another way and goes.
4. `variant`: of alternatives between slashes the first stays. When the alternatives are about as
   long as each other, they are whole sentences: `去咗/去左`, `佢去咗。/佢去左。`. Otherwise the
   slash only concerns the clause it stands in: `佢去咗/佢去左，我都同佢去`. Where even the clause's
   alternatives differ in length (more than 5 to 3), it cannot be known where a variant starts, so
   the longest stays, which is at least a clause.
5. `placeholder`: □, 囗, ×, ~ and a small x that touches no other Latin letter stand for syllables
   without a character; a number straight after □ or × counts them. They go, or each becomes one
   □.

Digits, Latin letters and 〇 stay: they are said. Nothing is changed between traditional and
simplified.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from isogloss.corpora.readers.text_rules import without_han_spaces

__all__ = ["CleanTranscript", "clean_transcript"]

_NOTE = re.compile(
    r"（[^（）]*）|\([^()]*\)|【[^【】]*】|\[[^\[\]]*\]|［[^［］]*］|〔[^〔〕]*〕|\{[^{}]*\}"
)
_BRACKET = re.compile(r"[（）()【】\[\]［］〔〕{}]")
_TURN = re.compile(
    r"(?:^|(?<=[\s/／。．！!？?；;，,、…”\"]))([aAbBcC甲乙丙ａｂＡＢ])\s*[.．、:：](?!\d)"
)
_SLASH = re.compile(r"[/／]")
_CLAUSE = re.compile(r"([。！？；，!?;,]+)")
_PLACEHOLDER = re.compile(
    r"[□囗×]\s*(?P<count>\d{0,2})|[~～]|(?<![A-Za-z])(?P<letters>x+)(?![A-Za-z])"
)
_SAID = re.compile(r"[^\W_]|[□囗~～×]")
_SIMILAR = 0.6


@dataclass(frozen=True, slots=True)
class CleanTranscript:
    """`text` after the rules, empty when nothing said is left; `rules` names those that worked."""

    text: str
    rules: tuple[str, ...] = ()


def clean_transcript(text: str, *, keep_placeholders: bool = False) -> CleanTranscript:
    """`text` without notes, variants, turn marks and placeholders; see the module for the rules.

    Args:
        text: a transcript or translation as the metadata has it.
        keep_placeholders: write one □ for each syllable without a character, not nothing.
    """
    rules: list[str] = []

    def applied(rule: str, before: str, after: str) -> str:
        if after != before:
            rules.append(rule)
        return after

    line = applied("blank", text, re.sub(r"\s+", " ", text).strip())
    line = applied("note", line, _without_notes(line))
    turns = _turns(line)
    if len(turns) > 1:
        rules.append("dialogue")
    else:
        turns = [line]
    chosen = [_first_variant(turn) for turn in turns]
    if chosen != turns:
        rules.append("variant")
    filled = [_without_placeholders(turn, keep_placeholders) for turn in chosen]
    if filled != chosen:
        rules.append("placeholder")
    # A dialogue keeps one blank between turns, so blanks go within each turn only.
    whole = [without_han_spaces(turn) for turn in filled]
    said = [turn for turn in whole if _SAID.search(turn)]
    if whole != filled and "blank" not in rules:
        rules.insert(0, "blank")
    return CleanTranscript(" ".join(said), tuple(rules))


def _without_notes(line: str) -> str:
    before = None
    while before != line:  # notes in notes: the innermost go first
        before, line = line, _NOTE.sub("", line)
    return _BRACKET.sub("", line)


def _turns(line: str) -> list[str]:
    marks = list(_TURN.finditer(line))
    if len({mark[1].lower() for mark in marks}) < 2:
        return [line]
    turns = [line[: marks[0].start()]]
    speaker = ""
    ends = [mark.start() for mark in marks[1:]] + [len(line)]
    for mark, end in zip(marks, ends, strict=True):
        # The same speaker again after a slash: another wording of the turn before.
        again = mark[1] == speaker and line[: mark.start()].rstrip().endswith(("/", "／"))
        if not again:
            turns.append(line[mark.end() : end])
        speaker = mark[1]
    return [turn for turn in (turn.strip(" /／") for turn in turns) if turn]


def _length(text: str) -> int:
    return len(_SAID.findall(text))


def _alternatives(text: str) -> tuple[list[str], bool]:
    """The parts between slashes that say something, and whether they are about equally long."""
    parts = [part.strip() for part in _SLASH.split(text)]
    parts = [part for part in parts if _length(part)]
    lengths = [_length(part) for part in parts]
    return parts, not lengths or min(lengths) >= _SIMILAR * max(lengths)


def _first_variant(line: str) -> str:
    if not _SLASH.search(line):
        return line
    parts, similar = _alternatives(line)
    if not parts:
        return ""
    if similar:
        return parts[0]
    pieces = _CLAUSE.split(line)
    clauses = []
    for clause in pieces[0::2]:
        options, similar = _alternatives(clause)
        if not options:
            clauses.append("")
        elif similar:
            clauses.append(options[0])
        else:
            clauses.append(max(options, key=_length))
    stops = [*pieces[1::2], ""]
    # A clause of which nothing is left takes its punctuation along.
    return "".join(c + s for c, s in zip(clauses, stops, strict=True) if c)


def _without_placeholders(line: str, keep: bool) -> str:
    def syllables(match: re.Match[str]) -> str:
        if not keep:
            return ""
        count = match["count"] or ""
        return "□" * (int(count) if count else len(match["letters"] or "□"))

    return _PLACEHOLDER.sub(syllables, line)
