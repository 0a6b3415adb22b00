"""Corpora: make, read, check, split and convert them. Recordings and text in, `Item`s out."""

from __future__ import annotations

from isogloss.corpora.audio import (
    AudioInfo,
    BrokenAudio,
    audio_blocks,
    probe_audio,
    read_audio,
    write_wav,
)
from isogloss.corpora.check import (
    CheckLimits,
    CheckReport,
    Finding,
    UsableCorpus,
    check_corpus,
    read_usable,
    usable,
)
from isogloss.corpora.jsonl import (
    content_sha,
    item_from_dict,
    item_to_dict,
    read_corpus,
    read_header,
    read_records,
    stream_items,
    write_corpus,
    write_items,
)
from isogloss.corpora.lhotse import from_cuts, read_cuts, to_cuts, write_cuts
from isogloss.corpora.script import characters_outside, normalise_script
from isogloss.corpora.split import find_leaks, prove_no_leak, split_items
from isogloss.corpora.stats import character_inventory, corpus_stats
from isogloss.corpora.tabular import read_table, write_table

__all__ = [
    "AudioInfo",
    "BrokenAudio",
    "CheckLimits",
    "CheckReport",
    "Finding",
    "UsableCorpus",
    "audio_blocks",
    "character_inventory",
    "characters_outside",
    "check_corpus",
    "content_sha",
    "corpus_stats",
    "find_leaks",
    "from_cuts",
    "item_from_dict",
    "item_to_dict",
    "normalise_script",
    "probe_audio",
    "prove_no_leak",
    "read_audio",
    "read_corpus",
    "read_cuts",
    "read_header",
    "read_records",
    "read_table",
    "read_usable",
    "split_items",
    "stream_items",
    "to_cuts",
    "usable",
    "write_corpus",
    "write_cuts",
    "write_items",
    "write_table",
    "write_wav",
]
