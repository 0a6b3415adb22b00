from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from isogloss.corpora import catalogue
from isogloss.corpora.catalogue import (
    READERS,
    load_reader,
    reader_names,
    reader_options,
    reader_summary,
)
from isogloss.corpora.readers import OptionError, ReadResult
from isogloss.errors import IsoglossError, UnknownName
from isogloss.types import Corpus

SEEN: dict[str, object] = {}


def read_everything(
    root: Path,
    *,
    needed: str,
    flag: bool = False,
    size: float = 1.5,
    place: Path | None = None,
    words: tuple[str, ...] = (),
    pairs: dict[str, str] | None = None,
) -> ReadResult:
    """A corpus of nothing.

    Args:
        root: where.
        needed: must be given,
            on two lines.
        flag: yes or no.

    Raises:
        Nothing: at all.
    """
    SEEN.clear()
    SEEN.update(needed=needed, flag=flag, size=size, place=place, words=words, pairs=pairs)
    return ReadResult(Corpus("nothing", (), root=str(root)))


def read_badly(root: Path, *, options: set[int]) -> ReadResult:
    return ReadResult(Corpus("bad", ()))


@pytest.fixture
def installed(monkeypatch) -> None:
    points = [
        EntryPoint(name, f"{__name__}:{attribute}", catalogue.ENTRY_POINTS)
        for name, attribute in (
            ("everything", "read_everything"),
            ("badly", "read_badly"),
            ("nothing", "SEEN"),
        )
    ]
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    monkeypatch.setattr(catalogue, "entry_points", lambda *, group: points)


def _this_module() -> object:
    return importlib.import_module(__name__)


def test_every_reader_is_a_function_with_a_layout_and_described_options() -> None:
    assert reader_names() == tuple(sorted(READERS))
    for name in READERS:
        reader = load_reader(name)
        module = sys.modules[reader.function.__module__]
        assert "\n    " in module.__doc__, f"{name}: no layout drawn in the docstring"
        assert reader_summary(name).endswith(".")
        for option in reader_options(name):
            assert option.help, f"{name}.{option.name} is not described"


def test_an_unknown_reader_or_option_gets_near_matches(tmp_path) -> None:
    with pytest.raises(UnknownName, match="did you mean kespeech"):
        load_reader("kspeech")
    with pytest.raises(UnknownName, match="option of reader 'fleurs' 'split'; did you mean splits"):
        load_reader("fleurs")(tmp_path, split="test")


def test_readers_of_other_packages(installed, tmp_path) -> None:
    assert {"everything", "fleurs"} <= set(reader_names())
    result = load_reader("everything")(str(tmp_path), needed="x")
    assert result.corpus.root == str(tmp_path)
    assert reader_summary("everything") == "A corpus of nothing."
    options = {option.name: option for option in reader_options("everything")}
    assert options["needed"].required
    assert options["needed"].help == "must be given, on two lines."
    assert options["flag"].help == "yes or no."
    assert [option.kind for option in options.values()] == [
        "text",
        "flag",
        "number",
        "path",
        "list",
        "pairs",
    ]
    with pytest.raises(IsoglossError, match=r"annotated 'set\[int\]'"):
        load_reader("badly")
    with pytest.raises(IsoglossError, match="is not a function"):
        load_reader("nothing")
    with pytest.raises(UnknownName, match="did you mean everything"):
        load_reader("everythin")


def test_words_of_a_command_line_are_understood(installed, tmp_path) -> None:
    load_reader("everything")(
        tmp_path,
        needed="n",
        flag="Yes",
        size="3",
        place="a/b",
        words="x, y,",
        pairs=["a=1", "b=c=d"],
    )
    assert SEEN == {
        "needed": "n",
        "flag": True,
        "size": 3.0,
        "place": Path("a/b"),
        "words": ("x", "y"),
        "pairs": {"a": "1", "b": "c=d"},
    }
    load_reader("everything")(tmp_path, needed="n", flag=None, words=["x"], pairs={"a": "b"})
    assert (SEEN["flag"], SEEN["size"], SEEN["words"]) == (False, 1.5, ("x",))
    load_reader("everything")(tmp_path, needed="n", pairs="cmn/word=a,yue=b, c,hak=d")
    assert SEEN["pairs"] == {"cmn/word": "a", "yue": "b, c", "hak": "d"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("needed", 3),
        ("needed", None),
        ("flag", "maybe"),
        ("flag", 1),
        ("size", "big"),
        ("size", True),
        ("place", 3),
        ("words", [1]),
        ("words", 5),
        ("pairs", "a"),
        ("pairs", ["a=1", "a=2"]),
        ("pairs", {"a": 1}),
        ("pairs", "=x"),
    ],
)
def test_values_of_another_kind_are_refused(installed, tmp_path, option, value) -> None:
    with pytest.raises(OptionError, match=f"option '{option}'"):
        load_reader("everything")(tmp_path, **{"needed": "n", option: value})


def test_a_needed_option_that_is_absent_is_named(installed, tmp_path) -> None:
    with pytest.raises(OptionError, match="'needed': reader 'everything' needs it"):
        load_reader("everything")(tmp_path)


def test_naming_the_readers_loads_nothing_heavy() -> None:
    code = (
        "import sys; from isogloss.corpora.catalogue import reader_names, load_reader, READERS\n"
        "[load_reader(name) for name in READERS]\n"
        "sys.exit(bool({'torch', 'lhotse', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
