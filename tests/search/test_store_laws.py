"""Whatever is done in whatever order, a store is what a dict would be, and old snapshots stay."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isogloss.search.store import Store, Writer, verify
from store_makers import contents, item, new_store, payload

NAMES = st.sampled_from([f"i{n}" for n in range(12)])
CHANGES = st.one_of(
    st.tuples(st.just("append"), st.lists(NAMES, max_size=6, unique=True)),
    st.tuples(st.just("put"), st.lists(NAMES, max_size=6, unique=True)),
    st.tuples(st.just("delete"), st.lists(NAMES, max_size=6)),
    st.tuples(st.just("compact"), st.lists(st.integers(0, 9), max_size=4)),
    st.tuples(st.sampled_from(["commit", "discard", "close"]), st.just([])),
)


class Model:
    """A dict that is committed and one that is not yet."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.pending: dict[str, str] = {}


def apply(writer: Writer, model: Model, kind: str, values: list, turn: int) -> None:
    """Make one change to both."""
    if kind in ("append", "put"):
        items = [item(name, f"{name} at {turn}") for name in values]
        if kind == "append":
            items = [one for one in items if one.id not in model.pending]
        writer.append(items, payload(items), replace=kind == "put", per_item=["lengths"])
        model.pending |= {one.id: one.text or "" for one in items}
    elif kind == "delete":
        assert writer.delete(values) == len(model.pending.keys() & set(values))
        model.pending = {k: v for k, v in model.pending.items() if k not in values}
    elif kind == "commit":
        writer.commit()
        model.kept = dict(model.pending)
    elif kind == "discard":
        writer.discard()
        model.pending = dict(model.kept)
    else:
        # Of what is committed: the writer shows no other state.
        writer.discard()
        model.pending = dict(model.kept)
        segments = writer.store.segments
        old = [segment for n, segment in enumerate(segments) if not values or n in values]
        items = [one for segment in old for one in segment.items()]
        writer.replace([segment.name for segment in old], items, payload(items))


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(CHANGES, max_size=14))
def test_a_store_is_a_dict_that_lasts(changes: list[tuple[str, list]]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "index"
        new_store(folder)
        model = Model()
        snapshots: list[tuple[Store, dict[str, str]]] = []
        turn = 0
        while turn <= len(changes):
            with Writer(folder) as writer:
                while turn < len(changes) and changes[turn][0] != "close":
                    apply(writer, model, *changes[turn], turn)
                    assert writer.count == len(model.pending)
                    now = Store.open(folder)
                    assert contents(now) == model.kept
                    snapshots.append((now, model.kept))
                    turn += 1
                writer.discard()
                model.pending = dict(model.kept)
            turn += 1
        assert verify(folder, deep=True) == []
        for store, kept in snapshots:
            assert contents(store) == kept
            assert store.count == len(kept)
            for name in [f"i{n}" for n in range(12)]:
                place = store.find(name)
                assert (place is not None) == (name in kept)
                if place is not None:
                    assert store.item(*place).text == kept[name]
        names = {segment.name for segment in Store.open(folder).segments}
        assert {path.name for path in (folder / "segments").iterdir()} == names
