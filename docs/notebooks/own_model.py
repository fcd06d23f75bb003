# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own model
#
# A model is a Python file and a YAML. You register neither of them, and you change nothing in mmbench.

# %% [markdown]
# ## The model
#
# The vector of an item is the sum of its ID vector and one linear map per modality. `data.features` may hold any modalities
# or none; without any, the model is plain matrix factorisation.

# %% language="bash"
# mkdir -p my_models my_conf/model

# %%
# %%writefile my_models/additive.py
"""Item vector = ID vector + one linear map per modality."""

from torch import nn

from mmbench.nn.initialisation import table, xavier_normal
from mmbench.nn.losses import bpr_terms
from mmbench.nn.recommender import FactorModel


class Additive(FactorModel):
    def __init__(self, data, *, embedding_dim=32, reg_weight=0.1):
        super().__init__()
        self.reg_weight = reg_weight
        self.user_embedding = table(data.n_users, embedding_dim, xavier_normal)
        self.item_embedding = table(data.n_items, embedding_dim, xavier_normal)
        self.maps = nn.ModuleDict()
        for name, feature in data.features.items():
            self.register_buffer(f"{name}_feature", feature, persistent=False)
            self.maps[name] = nn.Linear(feature.shape[1], embedding_dim, bias=False)

    def forward(self):
        content = [layer(self.get_buffer(f"{name}_feature")) for name, layer in self.maps.items()]
        return self.user_embedding, sum(content, self.item_embedding)

    def loss(self, batch):
        return bpr_terms(*batch.rows(*self()), self.reg_weight)


# %% [markdown]
# ## Its settings and its search space
#
# `model` holds the defaults, `search` the space that is tuned. Hydra needs the first line of the file.

# %% language="bash"
# cat > my_conf/model/additive.yaml <<'END'
# # @package _global_
# model: {_target_: additive.Additive, embedding_dim: 32, reg_weight: 0.1}
# search:
#   optimizer: {lr: {low: 1.0e-3, high: 2.0e-2, log: true}}
#   model: {reg_weight: {low: 1.0e-2, high: 1.0, log: true}}
# END

# %% [markdown]
# ## Try it alone
#
# Before any sweep, build it on a small world, take a few steps and watch the loss.

# %%
import sys

import matplotlib.pyplot as plt
import torch

from mmbench.data.dataset import DatasetConfig, load_dataset
from mmbench.data.recdata import make_recdata
from mmbench.nn.negatives import NegativeSampler
from mmbench.nn.recommender import Triplets

sys.path.append("my_models")
from additive import Additive

dataset = load_dataset(DatasetConfig("toy", world="complementary", world_options={"n_users": 300, "n_items": 150}, protocol="given"))
data = make_recdata(dataset.split.train, dataset.features)
model = Additive(data)
sampler = NegativeSampler(data.edge_index, data.n_users, data.n_items)
draw = torch.Generator().manual_seed(0)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
losses = []
for _ in range(60):
    users, items = data.edge_index
    loss = sum(model.loss(Triplets(users, items, sampler.sample(users, draw))).values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

figure, axis = plt.subplots(figsize=(6, 2.4))
axis.plot(losses)
axis.set_xlabel("step")
axis.set_ylabel("loss")
figure.tight_layout()
print(f"modalities {', '.join(data.features)}; loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last")

# %% [markdown]
# ## In a sweep, beside the others
#
# `sys.path` finds the file, and on the command line `PYTHONPATH`; `--config-dir` finds the YAML. The model gets the trials,
# seeds and split that every model gets.

# %%
import mmbench

results = mmbench.sweep(
    *("--config-dir", "my_conf", "sweep.name=mine", "tracking=none", "model=bpr,fusion,additive", "modality=none,fused"),
    *("dataset.world=complementary", "dataset.world_options.n_users=600", "dataset.world_options.n_items=300"),
    *("budget=small", "budget.trials=3", "budget.max_steps=1", "budget.least_epochs=15"),
)

# %%
table = results.table()
for row in table[table["metric"] == "ndcg@20"].itertuples():
    print(f"{row.model:10}{row.modality:8}{row.mean:.4f} ± {row.sd_over_seeds:.4f}")

# %% [markdown]
# [Adding a model](../adding-a-model.md) says what a model needs to join the package.
