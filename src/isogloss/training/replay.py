"""Old items among the new ones: two corpora as one, and which items an epoch takes; for `loop`."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from isogloss.errors import IsoglossError
from isogloss.training.examples import Chosen

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from isogloss.training.tuning import Tuning

__all__ = ["epoch_members", "with_replay"]

_PREFIX = "replay/"


def with_replay(new: Chosen, old: Chosen, tuning: Tuning, *, seed: int) -> Chosen:
    """Items of both corpora, those of the old one under `replay/<id>` and in `replayed`.

    At most `replay_items` old items are taken, chosen by `seed`; dev is that of the new corpus.
    The sha is of both. With a share of 0 nothing old is taken.

    Raises:
        IsoglossError: a new item has the name of a replayed one.
    """
    sha = hashlib.sha256(f"{new.sha} {old.sha}".encode()).hexdigest()
    if tuning.replay_share == 0.0:
        return replace(new, sha=sha)
    items = list(old.train)
    if len(items) > tuning.replay_items:
        kept = set(random.Random(f"{seed} replay").sample(range(len(items)), tuning.replay_items))
        items = [item for i, item in enumerate(items) if i in kept]
    renamed = [replace(item, id=_PREFIX + item.id) for item in items]
    replayed = frozenset(item.id for item in renamed)
    twice = [item.id for item in (*new.train, *new.dev) if item.id in replayed]
    if twice:
        raise IsoglossError(
            f"new item {twice[0]} has the name under which an old one is replayed; ids must not "
            f"begin with {_PREFIX}"
        )
    skipped = [replace(entry, id=_PREFIX + entry.id) for entry in old.skipped]
    return Chosen((*new.train, *renamed), new.dev, (*new.skipped, *skipped), sha, replayed)


def epoch_members(
    seconds: Sequence[float], replayed: Collection[int], share: float, *, seed: int, epoch: int
) -> list[int]:
    """Indices of what epoch number `epoch` takes: everything new, and a draw of the old.

    Old utterances are drawn, without repetition while there are enough, until they are `share` of
    all seconds (to half an utterance). (seed, epoch) decide which. Where the old ones are too few,
    they come several times.

    Args:
        seconds: of each utterance, new and old.
        replayed: indices of the old ones.
        share: in [0, 1).
        seed: of the run.
        epoch: number of the epoch.
    """
    if not replayed:
        return list(range(len(seconds)))
    members = [i for i in range(len(seconds)) if i not in replayed]
    wanted = sum(seconds[i] for i in members) * share / (1.0 - share)
    generator = random.Random(f"{seed} {epoch} replay")
    taken = 0.0
    while taken < wanted:
        order = sorted(replayed)
        generator.shuffle(order)
        for i in order:
            if taken + seconds[i] / 2.0 > wanted:
                return members
            members.append(i)
            taken += seconds[i]
    return members
