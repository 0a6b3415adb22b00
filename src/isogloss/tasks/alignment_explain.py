"""Every number of `isogloss measure`: what it means and where it misleads, in a sentence each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isogloss.errors import UnknownName

__all__ = ["EXPLAINED", "MEASURES", "Explained", "chosen_measures", "explained"]

Kind = Literal["pair", "varieties", "words", "matrix", "gradients"]


@dataclass(frozen=True, slots=True)
class Explained:
    """One number: its `name` in results, the `measure` that gives it, and what to know of it."""

    name: str
    measure: str
    means: str
    misleads: str


MEASURES: dict[str, Kind] = {
    "retrieval": "pair",
    "xsim": "pair",
    "separation": "pair",
    "mexa": "pair",
    "neuronxa": "pair",
    "anc": "pair",
    "cka": "pair",
    "debiased-cka": "pair",
    "rsa": "pair",
    "svcca": "pair",
    "pwcca": "pair",
    "words": "words",
    "concepts": "words",
    "identification": "varieties",
    "neutrality": "varieties",
    "v-measure": "varieties",
    "isotropy": "varieties",
    "outliers": "varieties",
    "dimension": "varieties",
    "similarity": "matrix",
    "gradients": "gradients",
}
"""Every measure that can be asked for, and what it is computed from."""

EXPLAINED: tuple[Explained, ...] = (
    Explained(
        "R@1",
        "retrieval",
        "share of items whose translation is the nearest of all by cosine, both ways",
        "it falls as the pool grows, and close varieties are found by shared words alone: hold it "
        "against the floor",
    ),
    Explained(
        "R@5",
        "retrieval",
        "share of items whose translation is among the five nearest",
        "in a pool of a few dozen it is high by chance (5 / pool)",
    ),
    Explained(
        "MRR",
        "retrieval",
        "mean of 1 / rank of the translation",
        "it mixes how often and how badly a search fails",
    ),
    Explained(
        "xSIM",
        "xsim",
        "share of items whose best translation by margin (4 neighbours) is wrong; small is good",
        "the margin repairs crowded neighbourhoods, so it can look good where plain cosine fails",
    ),
    Explained(
        "cosine matched",
        "separation",
        "mean cosine of translations",
        "high for any vectors that all point one way: read it only beside the random pairs",
    ),
    Explained(
        "cosine random",
        "separation",
        "mean cosine of items that are no translations",
        "near 1 shows a narrow cone, not alignment",
    ),
    Explained(
        "separation",
        "separation",
        "standard deviations by which translations stand above random pairs",
        "a mean over items: some may stand far out and the others not at all",
    ),
    Explained(
        "MEXA",
        "mexa",
        "share of translations nearer than everything else in both directions at once",
        "strict, and falls as items are added; compare only with the same number of items",
    ),
    Explained(
        "NeuronXA",
        "neuronxa",
        "the same share, on activations of the feed-forward layers (site mlp)",
        "whether neurons are taken by value or as on and off (--form) changes it",
    ),
    Explained(
        "ANC",
        "anc",
        "mean correlation of each dimension with itself across varieties",
        "a rotated copy of the same space scores low, although it is as useful after a map",
    ),
    Explained(
        "CKA",
        "cka",
        "whether items lie alike among themselves on both sides, whatever the rotation",
        "rises with fewer items than dimensions, and may rise with depth while retrieval falls",
    ),
    Explained(
        "debiased CKA",
        "debiased-cka",
        "the same without the part that comes from few items; about 0 for unrelated vectors",
        "may be negative, and a few dominant directions still decide it",
    ),
    Explained(
        "RSA",
        "rsa",
        "rank correlation of all similarities among items, one side with the other",
        "long and short items, or topics, can make it high without any translation being nearest",
    ),
    Explained(
        "SVCCA",
        "svcca",
        "mean canonical correlation of the leading directions of both sides",
        "depends on how many directions are kept, and is near 1 when items are few",
    ),
    Explained(
        "PWCCA",
        "pwcca",
        "canonical correlations weighted by what they tell of the first side",
        "as SVCCA, and not the same with the sides exchanged",
    ),
    Explained(
        "word R@1",
        "words",
        "share of words in context whose partner in the translation is the nearest (CSLS)",
        "without a lexicon the partners are written alike, which spelling alone would find",
    ),
    Explained(
        "word cosine matched",
        "words",
        "mean cosine of such word pairs",
        "read it only beside that of random words",
    ),
    Explained(
        "word cosine random",
        "words",
        "mean cosine of words that are no pair",
        "near 1 shows a narrow cone",
    ),
    Explained(
        "CALIGN",
        "concepts",
        "share of one variety's concept clusters that a cluster of the other translates",
        "moves with the number of clusters and the threshold: read the curve and the shuffled "
        "value",
    ),
    Explained(
        "COLAP",
        "concepts",
        "share of joint clusters in which both varieties are well represented",
        "one crowded cloud of everything overlaps without meaning",
    ),
    Explained(
        "variety identification",
        "identification",
        "accuracy of a linear probe that tells the variety of meanings it has not seen",
        "different scripts are told apart at the embedding by any model; chance is the largest "
        "variety's share",
    ),
    Explained(
        "neutrality",
        "identification",
        "1 where the probe is no better than chance, 0 where it is always right",
        "vectors that hold nothing at all are neutral",
    ),
    Explained(
        "variety identification centred",
        "neutrality",
        "the same probe after each variety's mean, of other meanings, is taken away",
        "a linear probe misses what is not linear",
    ),
    Explained(
        "neutrality centred",
        "neutrality",
        "neutrality that centring alone would give",
        "high here and low before means that a mean shift is all that parts the varieties",
    ),
    Explained(
        "family V-measure",
        "v-measure",
        "how well a tree of variety means, cut into as many groups, gives back the families",
        "with few varieties it is high by chance: read the shuffled value and p",
    ),
    Explained(
        "random cosine",
        "isotropy",
        "mean cosine of any two items, of all varieties; 0 for directions spread evenly",
        "one shared offset makes it 1; it is no measure of variance",
    ),
    Explained(
        "IsoScore",
        "isotropy",
        "share of dimensions that the variance uses evenly",
        "cannot reach 1 with fewer items than dimensions",
    ),
    Explained(
        "top component share",
        "isotropy",
        "share of the variance along one direction",
        "that direction may be length, script or variety, and not noise",
    ),
    Explained(
        "outlier dimensions",
        "outliers",
        "number of dimensions whose mean lies more than z standard deviations off",
        "they rule cosines whether or not they carry meaning",
    ),
    Explained(
        "TwoNN dimension",
        "dimension",
        "intrinsic dimension from distances to the first and second neighbour",
        "too low in many dimensions with few items; translations that coincide drop out",
    ),
    Explained(
        "participation ratio",
        "dimension",
        "number of directions, had all the same variance",
        "one large direction hides many small ones",
    ),
    Explained(
        "mean similarity",
        "similarity",
        "mean over pairs of varieties of the cosine of translations",
        "as the matched cosine: nothing without the random one",
    ),
    Explained(
        "correlation with * distance",
        "similarity",
        "rank correlation of the model's distances of varieties with others (Mantel's test)",
        "families, places and scripts go together; a correlation with one is no proof of it",
    ),
    Explained(
        "source choice stability",
        "similarity",
        "share of resamples in which a variety's most similar source stays the same",
        "stable is not useful: it says nothing about how well transfer works",
    ),
    Explained(
        "gradient cosine matched",
        "gradients",
        "cosine of the gradients that translations give each block: would they train it alike",
        "high for all text in early training: read it beside that of random pairs",
    ),
    Explained(
        "gradient cosine random",
        "gradients",
        "the same for items that are no translations",
        "shared punctuation and length alone raise it",
    ),
)
"""Every number, in the order of tables."""


def explained(name: str) -> Explained:
    """What is to be known of a number, by its name in results.

    Raises:
        UnknownName: there is no such number.
    """
    for one in EXPLAINED:
        start, star, end = one.name.partition("*")
        if name == one.name or (star and name.startswith(start) and name.endswith(end)):
            return one
    raise UnknownName("number", name, [one.name for one in EXPLAINED])


def chosen_measures(asked: tuple[str, ...]) -> tuple[str, ...]:
    """The measures asked for, in table order; none asked for is all of them.

    Raises:
        UnknownName: there is no such measure.
    """
    for name in asked:
        if name not in MEASURES:
            raise UnknownName("measure", name, MEASURES)
    return tuple(name for name in MEASURES if not asked or name in asked)
