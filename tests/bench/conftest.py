"""A run with planted encoders, made once for all tests of the package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from isogloss.bench import RunConfig, run, run_benchmark


def _planted():
    """The makers beside this file; `importmode=importlib` puts no test folder on the path."""
    name = "bench_planted"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("planted.py"))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def planted():
    return _planted()


@pytest.fixture
def encoders(monkeypatch):
    """The encoders that a run will load, by name; change the mapping to load others."""
    makers = _planted()
    found = {"own:exp/a": makers.Planted(), "mel:": makers.Constant()}
    monkeypatch.setattr(run, "load_encoder", lambda name, **_: found[name])
    return found


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run: its corpus, results, configuration and folder."""
    makers = _planted()
    folder = tmp_path_factory.mktemp("bench")
    corpus = makers.planted_corpus(folder / "corpus")
    found = {"own:exp/a": makers.Planted(), "mel:": makers.Constant()}
    config = RunConfig(encoders=tuple(found), layers="all", bootstrap=50, examples=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "load_encoder", lambda name, **_: found[name])
        results = run_benchmark(
            corpus,
            config,
            cache_dir=folder / "cache",
            out=folder / "out",
            progress=False,
            manifest=folder / "corpus" / "manifest.jsonl",
        )
    return SimpleNamespace(
        corpus=corpus, results=results, config=config, out=folder / "out", encoders=found
    )
