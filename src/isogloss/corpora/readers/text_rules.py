"""Small rules on transcripts that several readers share. Traditional and simplified stay as is."""

from __future__ import annotations

import re

__all__ = ["without_han_spaces"]

# Scripts that put no blanks between words: Han and its radicals and extensions, kana, bopomofo,
# and their punctuation.
_UNSPACED = (
    r"\u2e80-\u2fdf\u3001-\u30ff\u3105-\u312f\u31a0-\u31bf\u3400-\u9fff\uf900-\ufaff"
    r"\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f\U00020000-\U0003ffff"
)
_BETWEEN = re.compile(rf"(?<=[{_UNSPACED}]) | (?=[{_UNSPACED}])")


def without_han_spaces(text: str) -> str:
    """`text` without the blanks beside Han characters; between Latin words one blank stays.

    AISHELL-1 puts blanks between words and FLEURS between characters; neither is writing.
    """
    return _BETWEEN.sub("", re.sub(r"\s+", " ", text.strip()))
