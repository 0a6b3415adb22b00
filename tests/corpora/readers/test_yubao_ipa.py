from __future__ import annotations

import pytest

from isogloss.corpora.readers.yubao_ipa import phones_of_ipa


@pytest.mark.parametrize(
    ("ipa", "phones"),
    [
        ("tʰa⁵⁵", "tʰ a ⁵⁵"),
        ("ŋɔ23 hɵy33", "ŋ ɔ 23 h ɵ y 33"),
        ("t͡sʰã˥˧", "t͡sʰ ã ˥˧"),
        ("kʷa:n", "kʷ a n"),
        ("aː²¹/a²²", "aː ²¹"),
        ("ma(轻声)55", "m a 55"),
        ("n̩²¹³⁻²¹", "n̩ ²¹³ ²¹"),
        ("□ 。", ""),
        ("", ""),
    ],
)
def test_by_hand(ipa, phones) -> None:
    assert phones_of_ipa(ipa) == phones
