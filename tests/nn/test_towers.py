from __future__ import annotations

import torch
from torch import nn

from mmbench.nn.towers import FreeItems, MappedFeatures, Tower, Towers, hidden_layer
from mmbench.nn.user_item_graph import symmetric_normalised
from tests.conftest import BlockWorld


def linear(raw: int) -> nn.Module:
    return nn.Linear(raw, 6)


def test_rows_of_a_tower_have_length_one(block_world: BlockWorld) -> None:
    features = block_world.data(("text",)).features["text"].clone()
    features[3] = 0.0
    layer = nn.Linear(12, 6, bias=False)
    x = Tower(44, MappedFeatures(features, layer), 6)()
    lengths = x.norm(dim=1)
    assert x.shape == (80, 6)
    assert not x[44 + 3].any()  # nothing to scale, and no NaN
    torch.testing.assert_close(lengths[torch.arange(80) != 47], torch.ones(79))
    torch.testing.assert_close(x[44 + 8], nn.functional.normalize(layer(features[8]), dim=0))


def test_features_are_constant_and_no_state(block_world: BlockWorld) -> None:
    tower = Tower(44, MappedFeatures(block_world.data(("text",)).features["text"], nn.Linear(12, 6)), 6)
    assert sorted(tower.state_dict()) == ["items.layers.bias", "items.layers.weight", "preference"]


def test_untrained_preferences_are_state_but_no_parameter() -> None:
    tower = Tower(5, FreeItems(4, 3), 3, trained=False)
    assert [name for name, _ in tower.named_parameters()] == ["items.table"]
    assert sorted(tower.state_dict()) == ["items.table", "preference"]


def test_a_tower_per_modality_or_a_free_one(block_world: BlockWorld) -> None:
    assert list(Towers(block_world.data(("audio", "image", "text")), 6, linear)) == ["audio", "image", "text"]
    free = Towers(block_world.data(()), 6, linear)
    assert list(free) == ["free"]
    assert sorted(dict(free.named_parameters())) == ["free.items.table", "free.preference"]


def test_items_may_be_computed_from_what_a_tower_is_given() -> None:
    class Scaled(nn.Module):
        def forward(self, table: torch.Tensor) -> torch.Tensor:
            return 3 * table

    tower, table = Tower(5, Scaled(), 4), torch.randn(7, 4)
    torch.testing.assert_close(tower(table)[5:], nn.functional.normalize(table, dim=1))


def test_the_items_of_the_free_tower_can_be_given(block_world: BlockWorld) -> None:
    towers = Towers(block_world.data(()), 6, linear, lambda: MappedFeatures(torch.eye(36), linear(36)))
    assert list(towers) == ["free"]
    assert sorted(dict(towers.named_parameters())) == [
        "free.items.layers.bias",
        "free.items.layers.weight",
        "free.preference",
    ]


def test_ego_vectors_stand_side_by_side(block_world: BlockWorld) -> None:
    towers = Towers(block_world.data(("image", "text")), 6, linear)
    assert torch.equal(towers.ego(), torch.cat([towers["image"](), towers["text"]()], dim=1))


def test_preferences_of_all_or_named_towers(block_world: BlockWorld) -> None:
    towers = Towers(block_world.data(("image", "text")), 6, linear)
    rows = torch.tensor([3, 3, 0])
    image, text = towers.preferences(rows)
    assert torch.equal(image, towers["image"].preference[rows])
    assert torch.equal(text, towers["text"].preference[rows])
    (only,) = towers.preferences(slice(None), ["text"])
    assert torch.equal(only, towers["text"].preference)
    assert towers.preferences(rows, []) == []


def test_sum_of_hops_keeps_towers_apart(block_world: BlockWorld) -> None:
    data = block_world.data(("image", "text"))
    towers = Towers(data, 6, linear)
    graph = symmetric_normalised(data.edge_index, data.n_users, data.n_items)
    outputs = towers.sum_of_hops(graph, 2)
    assert outputs.shape == (80, 2, 6)
    for place, name in enumerate(["image", "text"]):
        x, a = towers[name](), graph.to_dense()
        torch.testing.assert_close(outputs[:, place], x + a @ x + a @ a @ x)


def test_hidden_layer() -> None:
    layers = hidden_layer(7, 3)(5)
    x = torch.randn(4, 5)
    hidden = x @ layers[0].weight.T + layers[0].bias
    expected = torch.where(hidden > 0, hidden, 0.01 * hidden) @ layers[2].weight.T + layers[2].bias
    torch.testing.assert_close(layers(x), expected)
    assert hidden.shape == (4, 7)
