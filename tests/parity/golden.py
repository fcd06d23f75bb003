"""Golden cases of the reference and how a model of ours corresponds to one.

A golden case is a pair ``<case>.json`` / ``<case>.npz`` beside a ``dataset.npz``. Cases are looked for in
``tests/parity/a``, ``tests/parity/b`` and in and below every folder of the colon-separated ``$MMBENCH_PARITY``.

To cover a model, copy its golden files into ``tests/parity/a`` or ``b`` and add ``tests/parity/mappings/<model>.py``
with one constant ``MAPPING``; nothing else has to be edited::

    MAPPING = Mapping(
        reference="LightGCN",
        model=LightGCN,
        hyper_parameters={"embedding_dim": "embedding_size", "n_layers": "n_layers", "reg_weight": "reg_weight"},
        parameters={"user_embedding": "embedding_dict.user_emb", "item_embedding": "embedding_dict.item_emb"},
        losses={"bpr": "bpr", "reg": "weighted_regulariser"},
        graphs={"adjacency": "graph/norm_adj"},
    )

How a case runs: build the model in float64 from ``dataset.npz`` -> load ``param/*`` -> inject ``constants`` and, in the
run with given graphs, ``graphs`` -> ``train()``, ``begin_epoch()``, ``prepare(model, case)`` -> inject again, as an
epoch start draws graphs anew -> before every loss ``each_step(model, case)``. A closed-form model is built, fitted,
injected and scored only. Everything of the reference must be accounted for: a parameter or hyper-parameter that is
neither mapped nor declared in ``unused`` or ``ignored`` fails the test.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
from collections import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmbench.data.features import ItemFeature
from mmbench.data.interactions import Interactions
from mmbench.data.recdata import RecData, make_recdata
from mmbench.nn.recommender import FactorModel, Recommender, Triplets

HERE = Path(__file__).resolve().parent
MODALITIES: abc.Mapping[str, tuple[str, ...]] = {
    "none": (),
    "both": ("image", "text"),
    "text": ("text",),
    "image": ("image",),
}

#: Bounds on ``max|a - b| / max|b|`` per tensor: with graphs of our own, and with nothing but given arrays.
OWN_GRAPHS, GIVEN = 1e-6, 1e-9

Array = NDArray[Any]
Getter = Callable[[str], Array]


@dataclass(frozen=True)
class Case:
    """One golden case.

    Args:
        folder: where it lies, with the ``dataset.npz`` it belongs to.
        name: stem of its files.
        meta: the json.
        prefix: tells cases of further folders apart.
    """

    folder: Path
    name: str
    meta: abc.Mapping[str, Any]
    prefix: str = ""

    @property
    def id(self) -> str:
        return f"{self.prefix}{self.folder.name}/{self.name}"

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        return self.meta["hyper_parameters"]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the present modalities, in name order."""
        return MODALITIES[self.meta["modality"]]

    @cached_property
    def arrays(self) -> dict[str, Array]:
        with np.load(self.folder / f"{self.name}.npz") as stored:
            return dict(stored)

    @cached_property
    def dataset(self) -> dict[str, Array]:
        with np.load(self.folder / "dataset.npz") as stored:
            return dict(stored)

    def part(self, name: str) -> Interactions:
        """Interactions of one part: ``train``, ``valid`` or ``test``."""
        n_users, n_items = int(self.dataset["n_users"]), int(self.dataset["n_items"])
        return Interactions(self.dataset[f"{name}_users"], self.dataset[f"{name}_items"], n_users, n_items)

    def feature(self, modality: str) -> Array:
        """Raw features ``(n_items, d)`` of one modality."""
        return self.dataset[f"{modality}_feat"]

    @cached_property
    def data(self) -> RecData:
        """What the model sees, float32 features as in a real run."""
        present = np.ones(int(self.dataset["n_items"]), bool)
        return make_recdata(self.part("train"), {m: ItemFeature(self.feature(m), present) for m in self.modalities})

    @property
    def batch(self) -> Triplets:
        return Triplets(*(torch.from_numpy(self.arrays[name]) for name in ("users", "pos", "neg")))

    def name_order(self, array: Array, axis: int = -1) -> Array:
        """Re-order an axis that runs over features concatenated text first into name order (image, then text)."""
        if len(self.modalities) < 2:
            return array
        text = self.feature("text").shape[1]
        first, second = np.split(array, [text], axis=axis)
        return np.concatenate([second, first], axis=axis)


#: A golden array by its name, or computed: ``lambda case, get: case.name_order(get("item_linear.weight"))``.
ParameterSource = str | Callable[[Case, Getter], Array]
ParameterSources = abc.Mapping[str, ParameterSource]
#: A golden array by its full key (``graph/norm_adj``), or computed: ``lambda case: case.arrays["..."]``.
ArraySource = str | Callable[[Case], Array]
#: A loss term by its name without ``loss/``, or computed: ``lambda case: 0.1 * case.arrays["loss/reg_unweighted"]``.
LossSource = str | Callable[[Case], Array]
#: A reference hyper-parameter by its name, or computed from all: ``lambda given: len(given["weight_size"])``.
HyperParameterSource = str | Callable[[abc.Mapping[str, Any]], Any]
Hook = Callable[[Any, Case], None]


def nothing(model: Recommender, case: Case) -> None:
    """The hook that does nothing."""


@dataclass(frozen=True)
class Mapping:
    """How a model of ours corresponds to the reference's.

    Args:
        reference: name of the model in the golden files.
        model: our class.
        hyper_parameters: reference name (or a function of all of them) by our keyword.
        fixed: further keyword arguments, such as ``{"as_reference": True}``.
        ignored: reference hyper-parameters without effect or without counterpart.
        parameters: reference name (or a function) by our parameter name; where their number depends on a size, a
            function of the reference's hyper-parameters that gives them. Parameters that the model lacks in a case (a
            tower of an absent modality) are skipped; a parameter of ours without an entry fails.
        unused: reference parameters without a gradient in the cases where we do not have them.
        losses: golden term by our term; terms that one side lacks are left out, the total is always compared.
        graphs: golden array by the name of our buffer; injected in the second run, in the layout of our buffer.
        give_graphs: called after ``graphs`` are injected, for a model whose graphs are no plain buffers.
        constants: golden array by the name of our buffer or parameter without gradient; injected in both runs.
        prepare: called once at the start of the epoch, to freeze random draws (``noise/*``, ``sample/*``).
        each_step: called before every loss.
        compare_forward: whether ``forward()`` is laid out as ``user_repr`` and ``item_repr``.
    """

    reference: str
    model: type[Recommender]
    hyper_parameters: abc.Mapping[str, HyperParameterSource] = field(default_factory=dict)
    fixed: abc.Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    parameters: ParameterSources | Callable[[abc.Mapping[str, Any]], ParameterSources] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    losses: abc.Mapping[str, LossSource] = field(default_factory=dict)
    graphs: abc.Mapping[str, ArraySource] = field(default_factory=dict)
    give_graphs: Hook = nothing
    constants: abc.Mapping[str, ArraySource] = field(default_factory=dict)
    prepare: Hook = nothing
    each_step: Hook = nothing
    compare_forward: bool = True

    @property
    def has_graphs(self) -> bool:
        """Whether there is a second run, with given graphs."""
        return bool(self.graphs) or self.give_graphs is not nothing

    def keywords(self, given: abc.Mapping[str, Any]) -> dict[str, Any]:
        """Our keyword arguments for the reference's hyper-parameters."""
        keywords = {
            k: given[source] if isinstance(source, str) else source(given)
            for k, source in self.hyper_parameters.items()
        }
        return {**keywords, **self.fixed}

    def parameters_of(self, case: Case) -> ParameterSources:
        """Sources of our parameters in one case."""
        return self.parameters(case.hyper_parameters) if callable(self.parameters) else self.parameters

    def arrays_of(self, case: Case, kind: str, names: abc.Mapping[str, Any]) -> dict[str, Array]:
        """Golden arrays of one kind (``param``, ``grad``, ``traj/param``) under our names, for the given names."""

        def get(name: str) -> Array:
            key = f"{kind}/{name}"
            if kind == "grad" and key not in case.arrays:  # the reference gives none: it must be zero here
                return np.zeros_like(case.arrays[f"param/{name}"])
            return case.arrays[key]

        parameters = self.parameters_of(case)
        sources = {name: parameters[name] for name in names}
        return {name: get(source) if isinstance(source, str) else source(case, get) for name, source in sources.items()}


class Recorded(abc.Mapping[str, Any]):
    """A read-only mapping that remembers which keys were asked for."""

    def __init__(self, content: abc.Mapping[str, Any]) -> None:
        self.content = content
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return self.content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


def cases() -> list[Case]:
    """All golden cases of this folder and of ``$MMBENCH_PARITY``."""
    roots = [("", HERE)]
    for number, name in enumerate(f for f in os.environ.get("MMBENCH_PARITY", "").split(":") if f):
        if not Path(name).is_dir():
            raise ValueError(f"$MMBENCH_PARITY names {name}, which is not a folder")
        roots.append((f"further{number}:", Path(name)))
    collected = []
    for prefix, root in roots:
        for file in sorted(root.rglob("*.json")):
            meta = json.loads(file.read_text(encoding="utf-8"))
            if "model" in meta:
                collected.append(Case(file.parent, file.stem, meta, prefix))
    return collected


MAPPING_FILES = [info.name for info in pkgutil.iter_modules([str(HERE / "mappings")])]


def mapping_of(file: str) -> Mapping:
    """The mapping of one file."""
    return importlib.import_module(f"tests.parity.mappings.{file}").MAPPING


def mappings() -> dict[str, Mapping]:
    """Mappings by the reference's name of the model. A file that cannot be imported fails its own test only."""
    by_reference = {}
    for file in MAPPING_FILES:
        with contextlib.suppress(Exception):
            mapping = mapping_of(file)
            by_reference[mapping.reference] = mapping
    return by_reference


def close(ours: Any, golden: Any, tolerance: float, what: str) -> None:
    """Assert ``max|ours - golden| <= tolerance * max|golden| + 1e-12``."""
    a = ours.detach().to_dense().numpy() if isinstance(ours, torch.Tensor) else np.asarray(ours)
    b = np.asarray(golden)
    assert a.shape == b.shape, f"{what}: shape {a.shape}, the reference has {b.shape}"
    error, scale = float(np.abs(a - b).max(initial=0.0)), float(np.abs(b).max(initial=0.0))
    # Not `error > bound`: a NaN must fail.
    assert error <= tolerance * scale + 1e-12, f"{what}: off by {error:.3g} where the largest value is {scale:.3g}"


def total_of(terms: abc.Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The loss: the sum of its terms, as a scalar."""
    return torch.stack([value.reshape(()) for value in terms.values()]).sum()


def like(golden: Array, ours: torch.Tensor) -> torch.Tensor:
    """A golden array in type and layout of a tensor of ours."""
    tensor = torch.from_numpy(np.asarray(golden)).to(ours.dtype)
    if ours.layout == torch.sparse_csr:
        return tensor.to_sparse_csr()
    return tensor.to_sparse() if ours.layout == torch.sparse_coo else tensor


@dataclass
class Run:
    """A model of ours in the state of a golden case.

    Args:
        case: the golden case.
        mapping: how we correspond to it.
        given_graphs: whether the golden graphs replace ours.
    """

    case: Case
    mapping: Mapping
    given_graphs: bool

    @property
    def tolerance(self) -> float:
        """Strict where nothing of ours but the equations enters.

        The reference guards its logarithm, ``log(1e-10 + sigmoid(x))``, which changes the gradient of a pair by
        ``1e-10 / sigmoid(x)`` relative to the log-sigmoid; the worst pair of the batch is allowed that much more.
        """
        if self.mapping.has_graphs and not self.given_graphs:
            return OWN_GRAPHS
        users, positives, negatives = (self.case.arrays[name] for name in ("users", "pos", "neg"))
        scores = self.case.arrays["scores"]
        worst = float((scores[users, positives] - scores[users, negatives]).min())
        return min(OWN_GRAPHS, GIVEN + 1e-10 * (1.0 + float(np.exp(-worst))))

    def build(self) -> Any:
        """A fresh model with the golden parameters, constants and, if given, graphs; in eval mode."""
        model = self.mapping.model(self.case.data, **self.mapping.keywords(self.case.hyper_parameters))
        if not isinstance(model, FactorModel):
            model.fit(self.case.data)
        own = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in self.mapping.arrays_of(self.case, "param", own).items():
                assert own[name].shape == value.shape, (
                    f"{name}: shape {own[name].shape}, the reference has {value.shape}"
                )
                own[name].copy_(torch.from_numpy(value))
        self.inject(model)
        return model.eval()

    def inject(self, model: Any) -> None:
        """Put golden constants and, if given, graphs in place of ours."""
        sources = {**self.mapping.constants, **(self.mapping.graphs if self.given_graphs else {})}
        owners = dict(model.named_modules())
        for name, source in sources.items():
            owner_name, _, attribute = name.rpartition(".")
            ours = getattr(owners.get(owner_name), attribute, None)
            if ours is None:  # belongs to a modality that the case lacks
                continue
            golden = self.case.arrays[source] if isinstance(source, str) else source(self.case)
            with torch.no_grad():
                if isinstance(ours, torch.nn.Parameter):
                    ours.copy_(like(golden, ours))
                else:
                    setattr(owners[owner_name], attribute, like(golden, ours))
        if self.given_graphs:
            self.mapping.give_graphs(model, self.case)

    def in_epoch(self) -> Any:
        """A fresh model at the start of an epoch, random draws frozen."""
        model = self.build().train()
        model.begin_epoch()
        self.mapping.prepare(model, self.case)
        self.inject(model)
        return model

    def loss(self, model: Any) -> dict[str, torch.Tensor]:
        """Loss terms of the golden batch."""
        self.mapping.each_step(model, self.case)
        return model.loss(self.case.batch)

    def adam(self, steps: int) -> tuple[Any, list[float]]:
        """The model after Adam steps of lr 0.01 on the golden batch, and the loss before each and after the last."""
        model = self.in_epoch()
        decay = self.case.meta.get("trajectory", {}).get("weight_decay", 0.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=decay)
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            total = total_of(self.loss(model))
            total.backward()
            optimizer.step()
            losses.append(total.item())
        losses.append(total_of(self.loss(model)).item())
        return model.eval(), losses
