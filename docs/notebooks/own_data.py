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
# # Your own data
#
# From two tables to a verdict: a log of purchases and a list of products. This notebook makes both, so that it runs
# anywhere; in your study they are the export of your shop.

# %% [markdown]
# ## A log and a catalogue
#
# The customers of this shop choose by sixteen properties that the titles name, by some that only pictures show, and by
# some that neither shows.

# %%
import numpy as np
import pandas as pd

from mmbench.data.planted import make_world

world = make_world("complementary", n_users=900, n_items=250, per_user=12)
pairs = (
    "light/heavy round/square wooden/steel indoor/garden matt/glossy plain/patterned low/tall folding/fixed "
    "washable/dry-clean Nordic/vintage single/family handmade/industrial imported/domestic daily/festive gift/refill red/blue"
).split()
halves = np.hstack([world.truth["factors_shared"], world.truth["factors_text"]]) > 0
titles = [" ".join(pair.split("/")[high] for pair, high in zip(pairs, row.astype(int))) for row in halves]
items = pd.DataFrame({"sku": world.items["item_id"], "title": titles})
log = world.log[["user_id", "item_id"]].set_axis(["customer", "sku"], axis=1)
days = np.random.default_rng(0).integers(0, 365, len(log))
log["bought_at"] = (pd.Timestamp("2025-01-01") + pd.to_timedelta(days, unit="D")).strftime("%Y-%m-%d")
items.to_csv("items.csv", index=False)
log.to_csv("log.csv", index=False)
log.head(3)

# %%
items.head(3)

# %% [markdown]
# ## Prepare
#
# `prepare` recognises columns with usual names; `--map` names any other. It encodes titles without any downloaded weights
# and splits by time where enough test users remain. The last line names the next command.

# %% language="bash"
# python -m mmbench prepare log.csv --items items.csv --text title --map timestamp=bought_at --out data/shop

# %% [markdown]
# ## Check
#
# `check` finds what would spoil a study before the study costs anything.

# %% language="bash"
# python -m mmbench check data/shop gain=0.05

# %% [markdown]
# ## Vectors you have
#
# Vectors from another system come with the ids they belong to, one per line. Their order does not matter: rows are found by
# id, never by position.

# %%
from pathlib import Path

order = np.random.default_rng(1).permutation(len(items))
np.save("clip.npy", world.features["image"].values[order])
Path("clip.ids.txt").write_text("\n".join(items["sku"].iloc[order]));

# %% language="bash"
# python -m mmbench prepare log.csv --items items.csv --text title --map timestamp=bought_at \
#     --features image=clip.npy --out data/shop --overwrite | grep -E "^(text|image) "

# %% [markdown]
# ## Is there a signal?
#
# `signal` answers before any recommender is trained: how much of what customers buy together do the vectors predict, and how
# much of that does only one of them predict?

# %% language="bash"
# python -m mmbench signal dataset=folder dataset.name=shop dataset.path=data/shop > signal.log
# tail -n 1 signal.log

# %%
from IPython.display import Markdown

pretest = Path("multirun/signal-shop/signal.md").read_text()
Markdown(pretest[pretest.index("| modality | worth") : pretest.index("| modalities | predicts")])

# %% [markdown]
# ## A small sweep
#
# Text against no content, with the simplest model that can use it. Images can join the same sweep later: finished cells
# never run again.

# %%
import mmbench

results = mmbench.sweep(
    *("sweep.name=shop", "dataset=folder", "dataset.name=shop", "dataset.path=data/shop", "tracking=none"),
    *("model=popularity,fusion", "modality=none,text", "budget=small", "budget.max_steps=1", "budget.least_epochs=20"),
)

# %%
for row in results.verdicts().itertuples():
    print(f"{row.model}, {row.contrast}: {row.verdict}\n    {row.sentence}\n    {row.reason}")
