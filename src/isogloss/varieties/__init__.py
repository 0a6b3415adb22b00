"""Languages and dialects as a checked table, the distances between them, and survey sites."""

from isogloss.varieties.distance import genealogical_distance, geographic_distance_km
from isogloss.varieties.rows import COLUMNS, VarietyRow
from isogloss.varieties.sites import Site, yubao_sites
from isogloss.varieties.table import VarietyTable, builtin_table, load_table

__all__ = [
    "COLUMNS",
    "Site",
    "VarietyRow",
    "VarietyTable",
    "builtin_table",
    "genealogical_distance",
    "geographic_distance_km",
    "load_table",
    "yubao_sites",
]
