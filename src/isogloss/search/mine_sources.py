"""A path in, a side to mine out: an index, a manifest with an encoder, or a folder of steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.errors import IsoglossError, UnknownName
from isogloss.search.mine_cells import CellSide
from isogloss.search.mine_sides import IndexSide, SequenceSide, VectorSide
from isogloss.search.open import is_index, open_index
from isogloss.types import Vectors

if TYPE_CHECKING:
    from isogloss.search.mine_sides import Side
    from isogloss.types import Item, Sequences

__all__ = ["Source", "SourceOptions", "open_source"]


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a corpus that is no index becomes vectors or steps.

    Attributes:
        encoder: a name for `load_encoder`; needed for a manifest.
        layer: of the encoder.
        device: of the encoder.
        cache: folder of single encoded items.
        pool: compare means of steps by cosine, not steps by SeqSim.
        center: take each side's mean vector away; with `pool`.
        split: of a manifest; None for all.
        candidates: of the search in an index.
        probes: with `pool`, look for neighbours in so many cells only (see `mine_cells`).
    """

    encoder: str | None = None
    layer: int | None = None
    device: str = "cpu"
    cache: Path | None = None
    pool: bool = False
    center: bool = False
    split: str | None = None
    candidates: int | None = None
    probes: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A side, its items where they are known, and (id, reason) of recordings that were left out."""

    side: Side
    items: tuple[Item, ...] | None
    skipped: tuple[tuple[str, str], ...] = ()


def open_source(
    path: Path | str, encoded: Path, options: SourceOptions, *, variety: str | None = None
) -> Source:
    """The side that `path` names.

    Args:
        path: folder or URL of an index; manifest, or the folder that holds it; or a folder that
            `isogloss speech encode --out FOLDER/` wrote.
        encoded: folder for the steps of a manifest's items; the same call goes on with it.
        options: what the command line said.
        variety: code of the only variety that counts; None for all.

    Raises:
        FileNotFoundError: nothing is there.
        IsoglossError: no encoder for a manifest, or a variety of steps without items.
        UnknownName: no item has this variety.
        ValueError: an option that does not fit this kind of source.
    """
    if is_index(path):
        return _of_index(path, options, variety)
    path = Path(path)
    if (path / "sequences.json").is_file():
        if variety is not None:
            raise IsoglossError(
                f"{path} holds steps without items, so their varieties are unknown; name a "
                "manifest or an index"
            )
        from isogloss.encoders.shards import read_folder

        return Source(_of_sequences(read_folder(path), options), None)
    return _of_manifest(path, encoded, options, variety)


def _of_index(path: Path | str, options: SourceOptions, variety: str | None) -> Source:
    from isogloss.search.store import Filter

    index = open_index(path)
    if options.probes is not None:
        raise ValueError(
            f"{index.shown} is an index, which has a search of its own; probes are for manifests "
            "and encoded folders"
        )
    if options.pool or options.center:
        raise ValueError(
            f"{index.shown} is an index, whose similarity and centre were chosen when it was "
            "built; pooling and centring are for manifests and encoded folders"
        )
    side = IndexSide(
        index,
        filter=None if variety is None else Filter(varieties=(variety,)),
        candidates=options.candidates,
    )
    items = index.items(side.ids)
    return Source(side, tuple(items[id] for id in side.ids if id in items))


def _of_manifest(path: Path, encoded: Path, options: SourceOptions, variety: str | None) -> Source:
    from isogloss.corpora.jsonl import manifest_path, read_corpus
    from isogloss.encoders.shards import encode_to_folder, read_folder

    if path.is_dir() and not manifest_path(path).is_file():
        raise FileNotFoundError(
            f"{path} holds neither an index nor manifest.jsonl nor steps of speech encode"
        )
    every = read_corpus(path).items
    if options.encoder is None:
        raise IsoglossError(f"{path} is a manifest: name the encoder of its items")
    items = [i for i in every if options.split in (None, i.split)]
    if variety is not None:
        known = sorted({i.variety for i in items})
        items = [i for i in items if i.variety == variety]
        if not items:
            raise UnknownName("variety in the manifest", variety, known)
    if not items:
        raise ValueError(f"{path} has no item" + (f" in split '{options.split}'" if every else ""))
    done = encode_to_folder(
        options.encoder,
        items,
        encoded,
        layer=options.layer,
        device=options.device,
        cache_dir=options.cache,
    )
    found = read_folder(encoded)
    kept = set(found.ids)
    return Source(
        _of_sequences(found, options), tuple(i for i in items if i.id in kept), done.skipped
    )


def _of_sequences(sequences: Sequences, options: SourceOptions) -> Side:
    if not options.pool:
        if options.center:
            raise ValueError("centring is for pooled vectors; pool, or leave it out")
        if options.probes is not None:
            raise ValueError("probes are for pooled vectors; pool, or leave them out")
        return SequenceSide(sequences)
    from isogloss.encoders.pool import mean_pool

    if (sequences.lengths == 1).all():
        # A step is its own mean; millions of them need not be held twice.
        vectors = Vectors(sequences.ids, sequences.values, f"{sequences.made_by};pool=mean")
    else:
        vectors = mean_pool(sequences)
    if options.probes is not None:
        return CellSide(vectors, center=options.center, probes=options.probes)
    return VectorSide(vectors, center=options.center)
