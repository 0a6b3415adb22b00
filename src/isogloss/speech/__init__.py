"""The acoustic model that is ours: features, Zipformer, CTC, decoding, checkpoints.

Modules are imported by name (`from isogloss.speech.features import fbank`), so that a command that
needs one does not pay for all.
"""

from __future__ import annotations

__all__: list[str] = []
