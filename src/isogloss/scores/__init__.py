"""Two sets of representations in, an (N, M) array out, for ranking: larger is nearer."""

from isogloss.scores.cosine import cosine
from isogloss.scores.csls import csls, csls_scores
from isogloss.scores.edit import edit_similarity, paired_edit_similarity
from isogloss.scores.margin import margin
from isogloss.scores.seqsim import seqsim, seqsim_pair, similarity_map

__all__ = [
    "cosine",
    "csls",
    "csls_scores",
    "edit_similarity",
    "margin",
    "paired_edit_similarity",
    "seqsim",
    "seqsim_pair",
    "similarity_map",
]
