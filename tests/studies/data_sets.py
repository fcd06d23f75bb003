"""What the data of the study are: titles, sources, licences, and what made their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.studies.sweeps import ROOT

MINILM = "all-MiniLM-L6-v2, 384 numbers of unit norm"
LITE0 = "EfficientNet-lite0"
MOVIELENS = (
    "research use with acknowledgement, no redistribution, no commercial use. F. M. Harper and J. A. Konstan, The "
    "MovieLens Datasets: History and Context, ACM TiiS 5 (4), 2015"
)


@dataclass(frozen=True)
class DataSet:
    """What a page says of a data set beside what its records count.

    Args:
        title: its name in print.
        interactions: what counts as one, and what was left out.
        source: where it comes from.
        licence: what may be done with it, and what to cite.
        encoders: what each modality is and what made the vectors that the main study reads.
        remarks: what a reader has to know before a number is read.
        further: what other vectors are that lie beside them, by modality and label (``image=lite2``).
    """

    title: str
    interactions: str
    source: str
    licence: str
    encoders: Mapping[str, str]
    remarks: str = ""
    further: Mapping[str, str] = field(default_factory=dict)

    def encoder(self, modality: str, label: str) -> str:
        """What made the vectors of a modality that have a label.

        >>> DATA_SETS["ml100k"].encoder("text", "ngram")
        'title, genres and overview as character n-grams (TF-IDF, then 256 principal components)'
        """
        return self.further.get(f"{modality}={label}", self.encoders[modality])


DATA_SETS = {
    "ml100k": DataSet(
        "MovieLens 100K",
        "every rating counts as one; films and users with at least five",
        "GroupLens; posters and overviews (TMDB) by film from github.com/amitkaps/recommendation",
        f"{MOVIELENS}. Overviews: TMDB terms, non-commercial. Posters: copyright of the studios",
        {
            "text": f"title, genres and overview by {MINILM}",
            "image": f"poster (92 x 138 pixels) by {LITE0}, 1,280 numbers",
        },
        "The split is random within each user, so it may look into the future.",
        {
            "text=ngram": "title, genres and overview as character n-grams (TF-IDF, then 256 principal components)",
            "image=histograms": "poster as histograms of colours, textures and oriented gradients, 712 numbers",
            "image=lite2": "poster by EfficientNet-lite2, 1,280 numbers",
        },
    ),
    "ml1m": DataSet(
        "MovieLens 1M",
        "every rating counts as one; films and users with at least five",
        "pairs of users and films from github.com/bigdataguide/AuraSparkTraining; plots (IMDb, OMDb) of MeLU from "
        "github.com/recohut/coldstart-recsys; posters by film from github.com/antonsteenvoorden/ml1m-images",
        f"{MOVIELENS}. Plots: non-commercial. Posters: copyright of the studios",
        {
            "text": f"title, genres and plot by {MINILM}",
            "image": f"poster by {LITE0}, then 768 principal components",
        },
        "The same films as MovieLens 100K. The copy that was used holds neither ratings nor times, so no split by time "
        "is possible.",
    ),
    "uci_retail": DataSet(
        "UCI Online Retail",
        "the first purchase of a product by a customer; customers and products with at least five; 264,317 in all",
        "UCI Machine Learning Repository, data set 352, https://doi.org/10.24432/C5BW33",
        "CC BY 4.0. D. Chen, S. L. Sain and K. Guo, Data mining for the online retail industry, Journal of Database "
        "Marketing & Customer Strategy Management 19 (3), 2012",
        {"text": f"name of the product (median of four words) by {MINILM}"},
        "A British shop of gifts, many of whose customers are wholesalers, from 1 December 2010 on. **The split is by "
        "time and its test part is the weeks before Christmas**: purchases from 16 November to 9 December 2011. The "
        "training part ends on 24 October 2011.",
    ),
    "lfm2k": DataSet(
        "Last.fm-2K",
        "a user listened to an artist; users and artists with at least five, then artists with text, cover and songs; "
        "56,345 in all",
        "HetRec 2011 (GroupLens); split and audio vectors from github.com/swapUniba/multimodal_ml1m_dbbook_lfm2k",
        "non-commercial research. I. Cantador, P. Brusilovsky and T. Kuflik, HetRec 2011, RecSys 2011; the vectors "
        "carry no licence",
        {
            "text": f"name of the artist by {MINILM}; tags are not read, because the listeners of this log gave them",
            "audio": "songs by VGGish, mean over the songs of an artist, 128 numbers, not normalised, as published",
        },
        "The published split is random within each user, so it may look into the future.",
        {
            "text=default": f"tags of the artist, which the listeners of this log gave, so that they leak, by {MINILM}",
            "audio=whisper": "songs by the encoder of Whisper, 512 numbers, not normalised, as published",
        },
    ),
    "hm_sample": DataSet(
        "H&M sample",
        "the first purchase of a product by a customer; a random thousandth of the customers, at least two of each",
        "Kaggle competition H&M Personalized Fashion Recommendations, as sampled in "
        "github.com/hungle45/PSE-Recommendor-System",
        "terms of the competition: academic and non-commercial use, no redistribution. Photos: copyright of H&M",
        {
            "text": f"name, type, group, colour, pattern, department and section by {MINILM}",
            "image": f"photo of the product by {LITE0}, then 512 principal components",
        },
        "Sparse: eight products in the median history.",
        {
            "text=ngram": "name, type, group, colour, pattern, department and section as character n-grams (TF-IDF, "
            "then 256 principal components)"
        },
    ),
    "tiktok": DataSet(
        "TikTok",
        "a user met a clip, in the published split; 68,722 in all",
        "ICME 2019 short video challenge (ByteDance), as MMSSL, DiffMM and MMHCL published it",
        "research use; the repositories carry no licence",
        {"image": "128 numbers as published", "audio": "128 numbers as published"},
        "What made the vectors is not known; the published text vectors could not be had.",
    ),
    "baby": DataSet(
        "Amazon Baby",
        "a user reviewed a product; users and products with at least five; 160,792 in all",
        "Amazon reviews 2014, in the numbering of MMRec",
        "research use. R. He and J. McAuley, WWW 2016; J. McAuley et al., SIGIR 2015",
        {"text": f"title, and the description of one product in seven, by {MINILM}"},
        "3,416 of the 7,050 products have a text; they carry three quarters of the interactions. The study with text "
        "takes these products alone and their 5-core, 94,184 reviews, split at random; the one without content takes "
        "all products and the split of BM3.",
    ),
}


@dataclass(frozen=True)
class Variant:
    """What a study does that is not the main one of its data set.

    Args:
        title: in print.
        beside: whether it runs conditions of the main study in another way. Then it writes no tuned configurations,
            because those of the data set are the main study's.
        remarks: what stands in place of the remarks of the data set; None leaves them.
    """

    title: str
    beside: bool = False
    remarks: str | None = None


#: Variants by the end of a study's name.
VARIANTS = {
    "_draws": Variant("several draws of the whole tuning", beside=True),
    "_splits": Variant("three random splits", beside=True),
    "_last_out": Variant(
        "the last interactions held out",
        beside=True,
        remarks="The last interaction of each user is the test part, the one before it that of validation.",
    ),
    "_text_encoders": Variant("several encoders of texts", beside=True),
    "_image_encoders": Variant("several encoders of images", beside=True),
    "_audio_encoders": Variant("several encoders of audio", beside=True),
    "_cold": Variant("folds of new items"),
    "_ids": Variant("all products, no content"),
}


#: A study of one model alone has its name at the end.
MODELS = frozenset(file.stem for file in (ROOT / "conf" / "model").glob("*.yaml"))


def part_of(study: str) -> tuple[str, str] | None:
    """Data set and model of a study that runs one model of the main one; None for any other study.

    >>> part_of("uci_retail_vbpr")
    ('uci_retail', 'vbpr')
    >>> part_of("uci_retail")
    """
    data, _, model = study.rpartition("_")
    return (data, model) if data in DATA_SETS and model in MODELS else None


def variant_of(study: str) -> Variant | None:
    """What a study does that is not the main one of its data set, nor one of a single model.

    >>> variant_of("ml100k_splits").title
    'three random splits'
    >>> variant_of("ml100k")
    """
    return next((variant for ending, variant in VARIANTS.items() if study.endswith(ending)), None)


def data_of(study: str) -> DataSet:
    """The data set of a study.

    Raises:
        KeyError: for a data set that is not known.
    """
    if part := part_of(study):
        return DATA_SETS[part[0]]
    for ending, variant in VARIANTS.items():
        if study.endswith(ending):
            known = DATA_SETS[study.removesuffix(ending)]
            return known if variant.remarks is None else replace(known, remarks=variant.remarks)
    return DATA_SETS[study]


def title_of(study: str) -> str:
    """The name of a study in print.

    >>> title_of("ml100k_draws")
    'MovieLens 100K, several draws of the whole tuning'
    >>> title_of("ml100k_vbpr")
    'MovieLens 100K, vbpr'
    """
    variant, part = variant_of(study), part_of(study)
    return ", ".join([data_of(study).title, *([variant.title] if variant else []), *([part[1]] if part else [])])
