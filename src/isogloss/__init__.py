"""Isogloss: meaning that survives the crossing between dialects and languages.

The map, in the order data flows::

    corpora -> encoders -> scores -> measures -> tasks -> bench -> report

`types` holds the nouns; `speech` and `training` make encoders. Importing this package loads
neither torch nor any other heavy library.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
