"""Training: a corpus in, a speech encoder out, by one loop that can be killed and resumed.

`train` and `TrainConfig` live in `isogloss.training.loop` and `isogloss.training.config`.
"""

from __future__ import annotations

__all__: list[str] = []
