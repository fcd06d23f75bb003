"""CLCRec: Wei et al., "Contrastive Learning for Cold-Start Recommendation", ACM Multimedia 2021."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mmbench.data.recdata import RecData
from mmbench.nn.content_features import concatenated
from mmbench.nn.content_weights import weighed
from mmbench.nn.distinct import distinct
from mmbench.nn.hyperparameters import at_least, nonnegative, positive, share
from mmbench.nn.initialisation import table, xavier_normal
from mmbench.nn.kernels import ChosenProducts, add_rows
from mmbench.nn.negatives import NegativeSampler
from mmbench.nn.noise import Noise
from mmbench.nn.propagation import halves
from mmbench.nn.recommender import FactorModel, Triplets, UnseenItems
from mmbench.nn.towers import hidden_layer

#: Width of the hidden layer of the encoder.
HIDDEN = 256
#: Tables with more products of rows than this per product that is asked for are not multiplied as a whole.
PRODUCTS_PER_CHOICE = 8


class CLCRec(FactorModel):
    r"""ID vectors and encoded content of an item, trained by two contrasts to stand for each other.

    .. math::
        L = \lambda\, C(\hat e_{i_0}, \hat\varphi_{i_k}) + (1 - \lambda)\, C(e_u, v_{i_k})
        + \tfrac{\gamma}{2} \big(\textstyle\frac{1}{B}\sum_u \|e_u\| + \frac{1}{B(1+n)}\sum_{k} \|e_{i_k}\|\big),
        \quad C(a, c_k) = -\frac{1}{B}\sum_b \log \mathrm{softmax}_k(\langle a_b, c_{bk}\rangle / \tau)_0

    :math:`i_0` is a positive of the user and :math:`i_1 \dots i_n` are training items that the user does not have. The
    encoder :math:`\varphi_i = W_2\,\mathrm{lrelu}(W_1 x_i + b_1) + b_2` reads the features of all present modalities in
    name order, each at length :math:`c\,a_m`; hats mean vectors of length one. :math:`v` is the ID vector :math:`e`,
    but :math:`\varphi` in a share of the B(1 + n) places. Items with training interactions are ranked by their ID
    vectors, the others by :math:`\varphi`. Without any modality, or with ``content_weight`` 0, the first contrast and
    the replacement fall away, and the others have the vector zero.

    The model draws its negatives itself and does not read those of the batch; a user who lacks fewer than n training
    items gets all of those. By default every place is replaced at most once. ``as_reference`` draws the places with
    replacement and passes the gradient of an encoded vector as often as its place was drawn, which is all it changes.

    Args:
        data: training data.
        embedding_dim: size of all vectors.
        n_negatives: negatives of a positive, n.
        temperature: of both contrasts, :math:`\tau`.
        agreement_weight: weight of the contrast between ID vectors and content against the other one, :math:`\lambda`.
        replaced: share of the places in which encoded content replaces the ID vector.
        reg_weight: weight of the un-squared norms of the ID vectors, :math:`\gamma`.
        content_weight: weight of content, c; 0 leaves it out.
        first_modality_weight: share of the first of two modalities in name order (image before text); 0 or 1 leaves one
            of them out.
        modality_weights: relative weights of more than two modalities by name, 1 where none is given; 0 leaves one out.
        as_reference: reproduce the numbers of the reference implementation.
    """

    content_ignored_by: ClassVar[str] = "content_weight"
    read_by_content: ClassVar[frozenset[str]] = frozenset({"replaced"})
    unseen_items_by: ClassVar[UnseenItems] = UnseenItems.ENCODED_CONTENT
    content: Tensor
    unseen_items: Tensor

    def __init__(
        self,
        data: RecData,
        *,
        embedding_dim: int = 64,
        n_negatives: int = 128,
        temperature: float = 2.0,
        agreement_weight: float = 0.5,
        replaced: float = 0.5,
        reg_weight: float = 0.1,
        content_weight: float = 1.0,
        first_modality_weight: float = 0.5,
        modality_weights: Mapping[str, float] | None = None,
        as_reference: bool = False,
    ) -> None:
        super().__init__()
        at_least(1, embedding_dim=embedding_dim, n_negatives=n_negatives)
        nonnegative(reg_weight=reg_weight)
        self.agreement_weight = share("agreement_weight", agreement_weight)
        self.replaced, self.temperature = share("replaced", replaced), positive("temperature", temperature)
        self.reg_weight, self.as_reference = reg_weight, as_reference
        data, weights = weighed(data, first_modality_weight, modality_weights, content_weight=content_weight)
        weights = {name: content_weight * weight for name, weight in weights.items()}
        content = concatenated(data, weights, unit=True)
        self.register_buffer("content", content, persistent=False)
        self.register_buffer("unseen_items", torch.nonzero(~data.warm).squeeze(1), persistent=False)
        self.n_users = data.n_users
        self.id_embedding = table(data.n_users + data.n_items, embedding_dim, xavier_normal)
        self.encoder = hidden_layer(HIDDEN, embedding_dim)(content.shape[1]) if content.shape[1] else None
        self.negatives = NegativeSampler(data.edge_index, data.n_users, data.n_items)
        self.n_negatives = min(n_negatives, int(self.negatives.free.max()))
        self.noise = Noise("negatives", "replaced")

    def forward(self) -> tuple[Tensor, Tensor]:
        """ID vectors, and encoded content of the items that training has not seen."""
        users, items = halves(self.id_embedding, self.n_users)
        if self.encoder is None:
            return users, items.index_fill(0, self.unseen_items, 0.0)
        encoded = self.encoder(self.content[self.unseen_items])
        return users, items.index_copy(0, self.unseen_items, encoded.to(items.dtype))

    def loss(self, batch: Triplets) -> dict[str, Tensor]:
        """Both contrasts and the norms; of users and items of the batch only the distinct ones are computed."""
        negatives, counted = self.negatives.sample_distinct(
            batch.users, self.n_negatives, self.noise.stream("negatives", batch.users.device)
        )
        candidates = torch.cat([batch.positives.unsqueeze(1), negatives], dim=1)
        counted = functional.pad(counted, (1, 0), value=True)
        n_items = len(self.id_embedding) - self.n_users
        (users, of_user), (items, place) = distinct(batch.users), distinct(candidates, n_items)
        user, ids = self.id_embedding[users], self.id_embedding[self.n_users + items]
        terms = {}
        if self.encoder is None:
            scores = inner_products(user, of_user, ids, place)
        else:
            contents = self.encoder(self.content.index_select(0, items))
            scores = self._partly_replaced(user, of_user, ids, contents, place)
            positives, of_positive = distinct(place[:, 0])
            known = functional.normalize(ids[positives], dim=1, eps=1e-12)
            agreement = inner_products(known, of_positive, functional.normalize(contents, dim=1, eps=1e-12), place)
            terms["agreement"] = self.agreement_weight * self._contrast(agreement, counted)
        terms["ranking"] = (1.0 - self.agreement_weight) * self._contrast(scores, counted)
        times = add_rows(ids.new_zeros(len(ids)), place.flatten(), counted.flatten().to(ids.dtype))
        norms = (times * torch.linalg.vector_norm(ids, dim=1)).sum() / times.sum()
        norms_of_users = torch.linalg.vector_norm(user, dim=1)[of_user].mean()
        terms["reg"] = 0.5 * self.reg_weight * (norms_of_users + norms)
        return terms

    def _partly_replaced(self, user: Tensor, of_user: Tensor, ids: Tensor, contents: Tensor, place: Tensor) -> Tensor:
        """Scores ``(B, 1 + n)`` of ID vectors, and in the drawn places those of encoded content."""
        size = int(place.numel() * self.replaced)
        drawn = self.noise.rows("replaced", place.numel(), size, place.device, repeats=self.as_reference)
        replaced = torch.zeros(place.numel(), dtype=torch.bool, device=place.device).index_fill_(0, drawn, True)
        chosen = place + len(ids) * replaced.view_as(place)
        scores = inner_products(user, of_user, torch.cat([ids, contents]), chosen)
        if self.as_reference:  # its deviation: what was drawn again passes its gradient to the encoder again
            again = inner_products(user.detach(), of_user, contents, place)
            times = place.new_zeros(place.numel()).index_add_(0, drawn, torch.ones_like(drawn)).view_as(place)
            scores = scores + (times - 1).clamp_min(0) * (again - again.detach())
        return scores

    def _contrast(self, scores: Tensor, counted: Tensor) -> Tensor:
        """Cross entropy of the first candidate among those that count, ``(B, 1 + n)`` each."""
        scores = (scores / self.temperature).masked_fill(~counted, -torch.inf)
        return functional.cross_entropy(scores, torch.zeros_like(counted[:, 0], dtype=torch.long))


def inner_products(anchors: Tensor, of_anchor: Tensor, rows: Tensor, place: Tensor) -> Tensor:
    r"""Inner products of anchors with chosen rows of a table, :math:`\langle a_{q_b}, r_{p_{bk}}\rangle`: ``(B, k)``.

    Of few anchors and rows all products are computed, which is faster than to look at every choice.

    Args:
        anchors: a, ``(l, d)``.
        of_anchor: q, ``(B,)``.
        rows: r, ``(m, d)``.
        place: p, ``(B, k)``.
    """
    if len(anchors) * len(rows) <= PRODUCTS_PER_CHOICE * place.numel():
        chosen = place + len(rows) * of_anchor.unsqueeze(1)
        return (anchors @ rows.T).flatten().index_select(0, chosen.flatten()).view_as(place)
    each = functional.embedding(of_anchor, anchors)
    if each.device.type != "cpu":  # its sparse products do not promise to take columns in any order
        return torch.linalg.vecdot(each.unsqueeze(1), functional.embedding(place, rows))
    return ChosenProducts.apply(each, rows.to(each.dtype), place)
