from __future__ import annotations

from isogloss.training.text_tokenizer import train_tokenizer

# Two thousand characters, each in two texts: which of them enter the vocabulary is a tie.
RARE = ["".join(chr(0x4E00 + i) for i in range(j, j + 40)) + " one two" for j in range(0, 2000, 20)]


def test_characters_of_equal_frequency_are_cut_off_in_the_same_place() -> None:
    made = {train_tokenizer(RARE, pieces=400).backend_tokenizer.to_str() for _ in range(4)}
    assert len(made) == 1


def test_of_equally_frequent_characters_the_lower_code_points_are_kept() -> None:
    known = set(train_tokenizer(RARE[1:-1], pieces=300).get_vocab())
    kept = sorted(piece for piece in known if len(piece) == 1 and piece >= "一")
    assert kept == [chr(0x4E28 + i) for i in range(len(kept))]
    assert kept


def test_the_rest_is_spelt_in_bytes() -> None:
    tokenizer = train_tokenizer(RARE, pieces=300)
    text = "one " + chr(0x4E00 + 2000)
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True).strip() == text
