from __future__ import annotations

from importlib.resources import files

import pytest

from isogloss.bench import load_suite, suite_names
from isogloss.bench.suite import read_suite
from isogloss.bench.task_kinds import TASKS, load_task, option_names
from isogloss.errors import IsoglossError, UnknownName

CORPUS = '[corpus]\nmanifest = "m.jsonl"\n'
TASK = '[[tasks]]\ntask = "retrieval"\n'


def written(tmp_path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_suite_loads_and_is_short() -> None:
    of_speech = ("demo", "fleurs-sinitic", "words-cmn-yue", "xsid-intent", "yubao")
    assert tuple(n for n in suite_names() if not n.startswith("text-")) == of_speech
    for name in suite_names():
        suite = load_suite(name)
        assert suite.name == name and suite.about
        assert suite.of_text == name.startswith("text-")
        assert suite.floors == (("ngram:",) if suite.of_text else ("mel:", "random:micro"))
        text = (files("isogloss.bench") / "suites" / f"{name}.toml").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 42 and text.startswith("#")


@pytest.mark.parametrize("name", ["demo", "fleurs-sinitic", "words-cmn-yue", "yubao"])
def test_retrieval_suites_have_controls_and_variants(name: str) -> None:
    suite = load_suite(name)
    assert {"retrieval", "layers", "controlled", "probe"} <= {task.task for task in suite.tasks}
    options = [task.options for task in suite.tasks]
    assert any(o.get("center") for o in options) and any(o.get("whiten") for o in options)
    assert {o.get("adjust") for o in options} >= {"csls", "margin"}


def test_yubao_resamples_sites_and_expects_eight_groups() -> None:
    suite = load_suite("yubao")
    assert suite.by == "site" and suite.corpus.reader == "yubao"


def test_defaults_go_to_the_tasks_that_have_them(tmp_path) -> None:
    text = (
        '[defaults]\nbootstrap = 7\nby = "site"\nseed = 3\n'
        + CORPUS
        + TASK
        + '[[tasks]]\ntask = "probe"\ntarget = "site"\nbootstrap = 9\n'
    )
    suite = read_suite(written(tmp_path, text))
    retrieval, probe = suite.tasks
    assert retrieval.options == {"bootstrap": 7, "by": "site", "seed": 3}
    assert probe.options == {"bootstrap": 9, "seed": 3, "target": "site"}
    assert (suite.name, suite.seed, suite.by) == ("mine", 3, "site")
    assert suite.corpus.manifest == str(tmp_path / "m.jsonl")


def test_only_and_other_defaults(tmp_path) -> None:
    suite = read_suite(written(tmp_path, CORPUS + TASK + '[[tasks]]\ntask = "controlled"\n'))
    assert [task.name for task in suite.only(("controlled",)).tasks] == ["controlled"]
    changed = suite.with_defaults({"bootstrap": 5, "split": None})
    assert [task.options for task in changed.tasks] == [{"bootstrap": 5, "split": None}] * 2
    with pytest.raises(UnknownName, match="did you mean controlled"):
        suite.only(("controled",))
    with pytest.raises(UnknownName, match="did you mean bootstrap"):
        suite.with_defaults({"bootstraps": 5})


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        (CORPUS + '[[tasks]]\ntask = "retreival"\n', UnknownName, "did you mean retrieval"),
        (CORPUS + TASK + "centre = true\n", UnknownName, "did you mean center"),
        (CORPUS + TASK + 'score = "dtw"\n', ValueError, "task 'retrieval': score must be one of"),
        (CORPUS + TASK + 'ks = "1"\n', ValueError, "task 'retrieval'"),
        (CORPUS + TASK + TASK, ValueError, "named twice"),
        (CORPUS + TASK + 'show = "R@1"\n', ValueError, "list of measures"),
        (CORPUS + TASK + "optional = 1\n", ValueError, "true or false"),
        (CORPUS + '[[tasks]]\nname = "x"\n', ValueError, "a task says which"),
        (CORPUS, ValueError, "no task"),
        (TASK, ValueError, "reader, manifest and synth"),
        ('corpus = "m"\n' + TASK, ValueError, "are tables"),
        ('floor = ["mel:"]\n' + CORPUS + TASK, UnknownName, "did you mean floors"),
        ("examples = -1\n" + CORPUS + TASK, ValueError, "examples"),
        (CORPUS + TASK + "[defaults]\nbootstraps = 1\n", UnknownName, "did you mean bootstrap"),
        ('[corpus]\nreeder = "fleurs"\n' + TASK, UnknownName, "did you mean reader"),
        ("[corpus]\nreader = 1\n" + TASK, ValueError, "corpus.reader"),
        ("x", IsoglossError, "not TOML"),
    ],
)
def test_a_bad_suite_is_refused(tmp_path, text: str, error, match: str) -> None:
    with pytest.raises(error, match=match):
        read_suite(written(tmp_path, text))


def test_an_unknown_suite_is_refused_with_a_near_one() -> None:
    with pytest.raises(UnknownName, match="did you mean words-cmn-yue"):
        load_suite("words-cmn-yeu")


@pytest.mark.parametrize("kind", sorted(set(TASKS)))
def test_every_kind_is_a_frozen_dataclass_with_run(kind: str) -> None:
    cls = load_task(kind)
    assert cls.__dataclass_params__.frozen and callable(cls.run)
    assert "cache_dir" not in option_names(cls)


def test_kinds_of_other_packages_are_told_when_they_cannot_be_imported(monkeypatch) -> None:
    from isogloss.bench import task_kinds

    monkeypatch.setitem(task_kinds.TASKS, "broken", "isogloss.bench.nothing:Nothing")
    with pytest.raises(IsoglossError, match="cannot be imported"):
        load_task("broken")
    monkeypatch.setitem(task_kinds.TASKS, "broken", "isogloss.bench.suite:load_suite")
    with pytest.raises(IsoglossError, match="no dataclass"):
        load_task("broken")
