"""Kill a writer with SIGKILL again and again, and look whether the index is whole each time.

A child appends, deletes and compacts in a loop and says when each change is committed. The parent
kills it at a random moment, opens the index, verifies every byte, and compares it with a model in
memory: the state must be that of the last change that the child reported, or of the one after,
which it may have committed without living to say so. The next child goes on from there.

    python scripts/kill_index.py --kills 200
    python scripts/kill_index.py --kills 50 --what index
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

# One thread: the parent forks, and a fork takes no threads along.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np  # noqa: E402

from isogloss.search.store import Filter, Store, Writer, verify  # noqa: E402
from isogloss.search.store_commit import read_commit  # noqa: E402
from isogloss.types import Item, Sequences  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

State = dict[str, str]
"""Id to text of every item that is alive; the text says by which change it was written."""

VARIETIES = ("cmn", "yue", "hak")
DIM = 8
_MOST_ALIVE = 150
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Change:
    """One committed change: what is deleted, then what is written; or a compaction."""

    kind: str
    written: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


def next_change(seed: int, number: int, state: State, kinds: Mapping[str, int]) -> Change:
    """The change that follows `state`, the same in parent and child; `kinds` are weighted."""
    draw = random.Random(f"{seed}/{number}")
    alive = sorted(state)
    kind = draw.choices(list(kinds), list(kinds.values()))[0]
    if len(alive) > _MOST_ALIVE:
        return Change("delete", deleted=tuple(draw.sample(alive, 100)))
    if not alive or kind == "append":
        return Change("append", written=tuple(f"i{number}-{n}" for n in range(draw.randint(1, 30))))
    if kind == "compact":
        return Change("compact")
    some = tuple(draw.sample(alive, draw.randint(1, min(20, len(alive)))))
    if kind == "delete":
        return Change("delete", deleted=some)
    if kind == "replace":
        return Change("replace", written=(*some, f"i{number}"))
    return Change("both", written=(some[0], f"i{number}"), deleted=some)


def after(state: State, change: Change, number: int) -> State:
    """The state when `change` is made."""
    kept = {name: text for name, text in state.items() if name not in change.deleted}
    return kept | {name: f"{name}@{number}" for name in change.written}


def item_of(name: str, text: str) -> Item:
    """The item that is stored under `name`."""
    digits = sum(map(ord, text))
    return Item(name, VARIETIES[digits % 3], text=text, speaker=f"s{digits % 5}")


def steps_of(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Steps that belong to a text: (T, D) float32, T from 3 to 9."""
    draw = np.random.default_rng([ord(letter) for letter in text])
    return draw.standard_normal((3 + sum(map(ord, text)) % 7, DIM)).astype(np.float32)


class Subject(Protocol):
    """What is being killed."""

    kinds: Mapping[str, int]
    forks: bool

    def create(self, folder: Path, state: State) -> None:
        """Make it in `folder`, with the items of `state`."""

    def apply(self, folder: Path, change: Change, number: int) -> None:
        """Make one change and commit it."""

    def read(self, folder: Path) -> State:
        """What is there; raises ValueError when it does not hang together."""


class StoreSubject:
    """The store by itself, with ragged steps as its payload."""

    kinds: Mapping[str, int] = {"append": 5, "delete": 3, "compact": 3, "replace": 2, "both": 2}
    forks = True

    def create(self, folder: Path, state: State) -> None:
        """An empty store, then one append."""
        Store.create(folder, kind="kill", settings={}, shared={"eye": np.eye(DIM)})
        with Writer(folder) as writer:
            self._append(writer, state, replace=False)
            writer.commit()

    def _append(self, writer: Writer, texts: State, *, replace: bool) -> None:
        steps = [steps_of(text) for text in texts.values()]
        writer.append(
            [item_of(name, text) for name, text in texts.items()],
            {"steps": steps, "lengths": np.array([len(one) for one in steps], dtype=np.int32)},
            replace=replace,
            per_item=["lengths"],
        )

    def apply(self, folder: Path, change: Change, number: int) -> None:
        """Delete, write or compact, in one commit."""
        with Writer(folder) as writer:
            if change.kind == "compact":
                self._compact(writer, random.Random(number))
            writer.delete(change.deleted)
            if change.written:
                texts = {name: f"{name}@{number}" for name in change.written}
                self._append(writer, texts, replace=change.kind == "replace")
            writer.commit()

    def _compact(self, writer: Writer, draw: random.Random) -> None:
        segments = writer.store.segments
        old = segments if draw.random() < 0.5 else draw.sample(segments, (len(segments) + 1) // 2)
        with writer.replacing([segment.name for segment in old], per_item=["lengths"]) as batch:
            for segment in old:
                ends = np.cumsum(segment.arrays["lengths"])
                for row in np.flatnonzero(segment.alive).tolist():
                    length = int(segment.arrays["lengths"][row])
                    steps = segment.arrays["steps"][int(ends[row]) - length : int(ends[row])]
                    lengths = segment.arrays["lengths"][row : row + 1]
                    batch.add([segment.item(row)], {"steps": steps, "lengths": lengths})

    def read(self, folder: Path) -> State:
        """Every item and every step, compared with what its text says they are."""
        store = Store.open(folder)
        if not np.array_equal(store.shared["eye"], np.eye(DIM)):
            raise ValueError("the shared array changed")
        state = {}
        for segment in store.segments:
            ends = np.cumsum(segment.arrays["lengths"])
            for row in np.flatnonzero(segment.alive).tolist():
                item = segment.item(row)
                first = int(ends[row] - segment.arrays["lengths"][row])
                steps = segment.arrays["steps"][first : int(ends[row])]
                if item.text is None or item != item_of(item.id, item.text):
                    raise ValueError(f"item {item.id} is not the one that was written")
                if not np.array_equal(steps, steps_of(item.text)):
                    raise ValueError(f"the steps of {item.id} are not those that were written")
                if store.find(item.id) != (store.segments.index(segment), row):
                    raise ValueError(f"{item.id} is not found where it is")
                state[item.id] = item.text
        chosen = sum(
            segment.count if mask is None else int(mask.sum())
            for segment, mask in zip(
                store.segments, store.chosen(Filter(before=time.time() + 1)), strict=True
            )
        )
        if not len(state) == store.count == chosen:
            raise ValueError(f"{len(state)} items, count {store.count}, {chosen} chosen")
        return state


class IndexSubject:
    """A real index of sequences."""

    kinds: Mapping[str, int] = {"append": 5, "delete": 3, "compact": 3}
    forks = False  # numba's threads do not survive a fork

    def create(self, folder: Path, state: State) -> None:
        """Build it of the items of `state`."""
        from isogloss.search.sequence_index import SequenceIndex

        SequenceIndex.build(folder, _sequences(state), _items(state))

    def apply(self, folder: Path, change: Change, number: int) -> None:
        """Append, delete or compact."""
        from isogloss.search.sequence_index import SequenceIndex

        index = SequenceIndex.open(folder)
        if change.kind == "compact":
            index.compact()
        elif change.kind == "delete":
            index.delete(change.deleted)
        else:
            texts = {name: f"{name}@{number}" for name in change.written}
            index.append(_sequences(texts), _items(texts))

    def read(self, folder: Path) -> State:
        """Every item; one of them must be the best answer to its own steps."""
        from isogloss.search.sequence_index import SequenceIndex

        index = SequenceIndex.open(folder)
        state = {item.id: item.text or "" for item in Store.open(folder).items()}
        if len(index) != len(state):
            raise ValueError(f"{len(state)} items, and the index counts {len(index)}")
        for name in sorted(state)[:1]:
            hits = index.search(_sequences({name: state[name]}), k=1)
            if hits.ids[0] != (name,):
                raise ValueError(f"searching for {name} finds {hits.ids[0]}")
        return state


def _items(texts: State) -> list[Item]:
    return [item_of(name, text) for name, text in texts.items()]


def _sequences(texts: State) -> Sequences:
    steps = [steps_of(text) for text in texts.values()]
    return Sequences.from_list(list(texts), steps, step_seconds=0.04, made_by="kill_index")


SUBJECTS: Mapping[str, Subject] = {"store": StoreSubject(), "index": IndexSubject()}


def work(
    subject: Subject, folder: Path, seed: int, number: int, say: Callable[[str], None]
) -> None:
    """Make one change after the other, for ever, from change `number` on."""
    state = subject.read(folder)
    say("ready")
    while True:
        change = next_change(seed, number, state, subject.kinds)
        subject.apply(folder, change, number)
        say(f"done {number}")
        state = after(state, change, number)
        number += 1


@dataclass
class Child:
    """A process that works; `heard` is what it has said, line by line."""

    process: int
    pipe: int
    heard: str = ""

    def listen(self, seconds: float) -> bool:
        """Hear what is said within `seconds`, or the end; whether the child is still there."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self.pipe], [], [], left)[0]:
                return True
            if not (said := os.read(self.pipe, 1 << 16)):
                return False
            self.heard += said.decode()
            if self.heard == "ready\n":
                return True
        return True

    def kill(self) -> int:
        """SIGKILL; the number of the last change that was reported, -1 for none."""
        os.kill(self.process, signal.SIGKILL)
        while said := os.read(self.pipe, 1 << 16):
            self.heard += said.decode()
        os.close(self.pipe)
        if os.waitpid(self.process, 0)[1] != signal.SIGKILL:
            raise SystemExit("the child ended before it was killed")
        # The last line counts only when its end came through.
        lines = self.heard[: self.heard.rfind("\n") + 1].splitlines()
        return max((int(line.split()[1]) for line in lines if line.startswith("done")), default=-1)


def speaker(pipe: int) -> Callable[[str], None]:
    """A function that writes a line to the parent."""

    def say(line: str) -> None:
        os.write(pipe, f"{line}\n".encode())

    return say


def start(what: str, folder: Path, seed: int, number: int) -> Child:
    """A child at work from change `number` on."""
    reading, writing = os.pipe()
    if SUBJECTS[what].forks:
        if (process := os.fork()) == 0:
            try:
                work(SUBJECTS[what], folder, seed, number, speaker(writing))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
    else:
        words = [sys.executable, __file__, "--what", what, "--child"]
        words += [str(folder), str(seed), str(number), str(writing)]
        process = subprocess.Popen(words, pass_fds=[writing]).pid
    os.close(writing)
    return Child(process, reading)


@dataclass
class Summary:
    """What happened in all the kills."""

    kills: int = 0
    changes: int = 0
    during: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    committed_unsaid: int = 0
    problems: list[str] = field(default_factory=list)


def lived(child: Child, draw: random.Random, pace: float) -> tuple[bool, float]:
    """Let a child make one to four changes and begin another one.

    Whether it is still there comes out, and the seconds that a change takes: machines differ, and
    the moment of the kill must be anywhere in a change.
    """
    changes, began = draw.randint(1, 4), 0.0
    while (made := child.heard.count("done")) < changes:
        # The first change is slower: a child compiles and loads what it needs.
        began = began or (time.monotonic() if made else 0.0)
        if not child.listen(0.001):
            return False, pace
    if began:
        pace = 0.5 * pace + 0.5 * (time.monotonic() - began) / changes
    return child.listen(draw.uniform(0.0, 1.3 * pace)), pace


def run(what: str, folder: Path, kills: int, seed: int) -> Summary:
    """Kill `kills` children; stops at the first index that is not as it must be."""
    subject, draw, summary = SUBJECTS[what], random.Random(seed), Summary()
    state = {f"first-{n}": f"first-{n}@0" for n in range(40)}
    subject.create(folder, state)
    number, pace = 1, 0.05
    for _ in range(kills):
        child = start(what, folder, seed, number)
        while "ready" not in child.heard:
            if not child.listen(_START_SECONDS) or not child.heard:
                raise SystemExit("the child did not come to work")
        alive, pace = lived(child, draw, pace)
        last = child.kill() if alive else -1
        if not alive:
            raise SystemExit("the child ended by itself; its error is above")
        while number <= last:
            state = after(state, next_change(seed, number, state, subject.kinds), number)
            number += 1
            summary.changes += 1
        summary.kills += 1
        change = next_change(seed, number, state, subject.kinds)
        summary.during[change.kind] += 1
        left = unnamed(folder)
        following = after(state, change, number)
        summary.problems = verify(folder, deep=True)
        if summary.problems:
            return summary
        found = subject.read(folder)
        if found not in (state, following):
            summary.problems = [f"change {number - 1} was committed, and is lost or torn"]
            return summary
        if found == following and found != state:
            state = following
            number += 1
            summary.committed_unsaid += 1
            summary.found["committed, not reported"] += 1
        elif any(name.endswith(".tmp") for name in left):
            summary.found["files written, commit half-written"] += 1
        else:
            summary.found["files half-written" if left else "no file begun"] += 1
    summary.problems = leftovers(folder)
    return summary


def leftovers(folder: Path) -> list[str]:
    """What no commit names and the next writer did not remove."""
    with Writer(folder):
        pass
    return [f"{name}: left behind" for name in unnamed(folder)]


def unnamed(folder: Path) -> list[str]:
    """Files that the commit does not name: what a killed change had begun to write."""
    commit = read_commit(folder)
    named = {"commit.json", "lock"} | {f"shared/{name}.npy" for name in commit.shared}
    for record in commit.segments:
        named |= {f"segments/{record.name}/{name}" for name in record.every_file}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    return sorted(there - named)


def main() -> int:
    """Exit status 0 when every state was whole."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--what", choices=sorted(SUBJECTS), default="store")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, help="where to make the index; kept (default: temporary)"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        folder, seed, number, pipe = options.child
        say = speaker(int(pipe))
        work(SUBJECTS[options.what], Path(folder), int(seed), int(number), say)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="isogloss-kill-") as temporary:
        folder = options.folder or Path(temporary) / "index"
        summary = run(options.what, folder, options.kills, options.seed)
    record: dict[str, Any] = {
        "what": options.what,
        "kills": summary.kills,
        "killed_during": dict(sorted(summary.during.items())),
        "found_after_kill": dict(sorted(summary.found.items())),
        "commits_reported": summary.changes,
        "commits_made_but_not_reported": summary.committed_unsaid,
        "seconds": round(time.monotonic() - began, 1),
        "problems": summary.problems,
    }
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in record.items()]
    sys.stdout.write((json.dumps(record) if options.json else "\n".join(lines)) + "\n")
    return 1 if summary.problems else 0


if __name__ == "__main__":
    sys.exit(main())
