"""A suite's name or TOML file in, a checked `Suite` out: its corpus, tasks and floors.

    about = "what it asks"                     one line
    floors = ["mel:", "random:micro"]          encoders that are run beside those asked for
    [corpus]                                   see `CorpusSpec`
    [defaults]                                 options for every task that has them
    [[tasks]]                                  name, task, and the task's own options

The kinds of tasks are those of `task_kinds.py`.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isogloss._config import config_from_mapping
from isogloss.bench.task_kinds import (
    RETRIEVALS,
    SHOWN,
    TEXT_TASKS,
    checked_options,
    load_task,
    option_names,
)
from isogloss.errors import IsoglossError, UnknownName

__all__ = ["CorpusSpec", "Suite", "TaskSpec", "load_suite", "read_suite", "suite_names"]

_FOLDER = Path(__file__).with_name("suites")


@dataclass(frozen=True, slots=True)
class CorpusSpec:
    """Where the items of a suite come from: a reader, a manifest, or the synthesiser.

    Attributes:
        needs: in words, what a user must have.
        reader: of `isogloss corpus readers`; its folder is searched below the data folder.
        folder: name of that folder.
        signs: file patterns of which one must match in the folder, to tell it from others.
        options: of the reader. `work_folder` is set by the run. In a list, a word that ends in
            '?' is left out where the folder has nothing of that name.
        manifest: a manifest instead, relative to the TOML file.
        synth: fields of `SynthConfig` instead: spoken when no such corpus is found.
        speak: options of `speak_corpus`: the reader's texts are given synthetic voices.
        by: what coverage is counted by where the reader does not count it.
    """

    needs: str = ""
    reader: str | None = None
    folder: str = ""
    signs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    manifest: str | None = None
    synth: Mapping[str, Any] | None = None
    speak: Mapping[str, Any] | None = None
    by: str = "variety"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task of a suite.

    Attributes:
        name: in results and tables; unique in its suite.
        task: its kind, one of `task_names`.
        options: fields of its class, with the suite's defaults.
        show: names of the measures that a comparison shows.
        optional: whether a corpus or encoder that lacks what it needs is no failure.
    """

    name: str
    task: str
    options: Mapping[str, Any] = field(default_factory=dict)
    show: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark: one corpus, several tasks, and the encoders that are its floor.

    `examples` is how many queries of the first retrieval the page plays and maps. `settings` is
    what every task shares beyond its own options; it is part of every key.
    """

    name: str
    tasks: tuple[TaskSpec, ...]
    corpus: CorpusSpec = field(default_factory=CorpusSpec)
    about: str = ""
    floors: tuple[str, ...] = ()
    examples: int = 8
    seed: int = 0
    level: float = 0.95
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"suite '{self.name}': task '{repeated[0]}' is named twice")
        if not names:
            raise ValueError(f"suite '{self.name}' has no task; add a [[tasks]] table")
        if self.examples < 0:
            raise ValueError(f"examples must not be negative, got {self.examples}")

    @property
    def by(self) -> str:
        """What the first retrieval compares: 'variety', 'site' or 'group'."""
        first = next((t for t in self.tasks if t.task in RETRIEVALS), None)
        return str(first.options.get("by", "variety")) if first else "variety"

    @property
    def of_text(self) -> bool:
        """Whether its tasks read sentences, so that items without a recording count."""
        return any(task.task in TEXT_TASKS for task in self.tasks)

    def only(self, names: tuple[str, ...]) -> Suite:
        """This suite with some of its tasks, in its own order.

        Raises:
            UnknownName: it has no such task; near matches are offered.
        """
        known = [task.name for task in self.tasks]
        for name in names:
            if name not in known:
                raise UnknownName(f"task of suite '{self.name}'", name, known)
        return dataclasses.replace(self, tasks=tuple(t for t in self.tasks if t.name in names))

    def with_defaults(self, values: Mapping[str, Any]) -> Suite:
        """This suite with other options in every task that has them, such as `bootstrap`.

        Raises:
            UnknownName: no task has such an option.
        """
        known = {name for task in self.tasks for name in option_names(load_task(task.task))}
        for name in values:
            if name not in known:
                raise UnknownName(f"option of the tasks of suite '{self.name}'", name, known)
        tasks = []
        for task in self.tasks:
            cls = load_task(task.task)
            fitting = {k: v for k, v in values.items() if k in option_names(cls)}
            options = checked_options(cls, {**task.options, **fitting}, f"task '{task.name}'")
            tasks.append(dataclasses.replace(task, options=options))
        shared = {k: values[k] for k in ("seed", "level") if k in values}
        return dataclasses.replace(self, tasks=tuple(tasks), **shared)


def suite_names() -> tuple[str, ...]:
    """Names of the suites that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_suite(name: str | Path) -> Suite:
    """The suite of this name, or the one in this TOML file.

    Raises:
        UnknownName: there is no such suite; near matches are offered.
        IsoglossError, ValueError: as `read_suite`.
    """
    if str(name) in suite_names():
        return read_suite(_FOLDER / f"{name}.toml")
    if Path(name).suffix == ".toml":
        return read_suite(Path(name))
    raise UnknownName("suite", str(name), suite_names())


def read_suite(path: Path) -> Suite:
    """The suite in a TOML file, every option checked against the class of its task.

    Raises:
        IsoglossError: it is not TOML, or a task's class cannot be imported.
        UnknownName: a key, a kind of task or an option is unknown; near matches are offered.
        ValueError: a value has the wrong type or is not allowed.
        OSError: the file cannot be read.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IsoglossError(f"{path}: not TOML: {error}") from error
    known = ("name", "about", "floors", "examples", "corpus", "defaults", "tasks")
    for key in values:
        if key not in known:
            raise UnknownName(f"key of a suite ({path.name})", key, known)
    corpus, defaults, tasks = (
        values.pop("corpus", {}),
        values.pop("defaults", {}),
        values.pop("tasks", []),
    )
    if not isinstance(corpus, Mapping) or not isinstance(defaults, Mapping):
        raise ValueError(f"{path}: [corpus] and [defaults] are tables")
    if not isinstance(tasks, list) or not all(isinstance(task, Mapping) for task in tasks):
        raise ValueError(f"{path}: every task is a table under [[tasks]]")
    _check_defaults(defaults, tasks, path)
    spec = _corpus_spec(corpus, path)
    head = config_from_mapping(_Head, {"name": path.stem, **values})
    shared = {k: defaults[k] for k in ("seed", "level") if k in defaults}
    return Suite(
        name=head.name,
        tasks=tuple(_task_spec(task, defaults, path) for task in tasks),
        corpus=spec,
        about=head.about,
        floors=head.floors,
        examples=head.examples,
        **shared,
    )


@dataclass(frozen=True, slots=True)
class _Head:
    name: str
    about: str = ""
    floors: tuple[str, ...] = ()
    examples: int = 8


def _corpus_spec(values: Mapping[str, Any], path: Path) -> CorpusSpec:
    tables = {name: values[name] for name in ("options", "synth", "speak") if name in values}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise ValueError(f"{path}: corpus.{name} is a table, got {table!r}")
    known = {f.name for f in dataclasses.fields(CorpusSpec)}
    plain = {}
    for name, value in values.items():
        if name not in known:
            raise UnknownName(f"key of [corpus] in {path.name}", name, known)
        if name == "signs":
            value = tuple(value)
        elif name not in tables and not isinstance(value, str):
            raise ValueError(f"{path}: corpus.{name}: expected text, got {value!r}")
        plain[name] = value
    spec = CorpusSpec(**plain)
    kinds = [kind for kind in ("reader", "manifest", "synth") if getattr(spec, kind) is not None]
    if len(kinds) != 1:
        raise ValueError(
            f"{path}: [corpus] names one of reader, manifest and synth, "
            f"got {', '.join(kinds) or 'none'}"
        )
    if spec.manifest is not None:
        spec = dataclasses.replace(spec, manifest=str(path.resolve().parent / spec.manifest))
    return spec


def _task_spec(values: Mapping[str, Any], defaults: Mapping[str, Any], path: Path) -> TaskSpec:
    given = dict(values)
    kind = given.pop("task", None)
    name = given.pop("name", kind)
    show = given.pop("show", None)
    optional = given.pop("optional", False)
    if not isinstance(kind, str) or not isinstance(name, str):
        raise ValueError(f'{path}: a task says which: task = "retrieval", got {dict(values)}')
    where = f"{path.name}, task '{name}'"
    if not isinstance(optional, bool):
        raise ValueError(f"{where}: optional is true or false, got {optional!r}")
    if show is not None and not (
        isinstance(show, list) and all(isinstance(one, str) for one in show)
    ):
        raise ValueError(f"{where}: show is a list of measures, got {show!r}")
    cls = load_task(kind)
    fitting = {k: v for k, v in defaults.items() if k in option_names(cls)}
    options = checked_options(cls, {**fitting, **given}, where)
    return TaskSpec(
        name=name,
        task=kind,
        options=options,
        show=tuple(SHOWN.get(kind, ()) if show is None else show),
        optional=optional,
    )


def _check_defaults(
    defaults: Mapping[str, Any], tasks: list[Mapping[str, Any]], path: Path
) -> None:
    kinds = [task.get("task") for task in tasks]
    known = {n for kind in kinds if isinstance(kind, str) for n in option_names(load_task(kind))}
    for name in defaults:
        if name not in known:
            raise UnknownName(f"key of [defaults] in {path.name}", name, known)
