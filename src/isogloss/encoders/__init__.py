"""Items in, `Sequences` out: our checkpoints, floors and controls, pooling, a cache, a kit.

Nothing here imports torch before an encoder is loaded by name.
"""

from isogloss.encoders.cache import encode_cached
from isogloss.encoders.check import check_encoder
from isogloss.encoders.pool import mean_pool
from isogloss.encoders.registry import encoder_names, load_encoder

__all__ = ["check_encoder", "encode_cached", "encoder_names", "load_encoder", "mean_pool"]
