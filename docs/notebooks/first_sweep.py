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
# # A first sweep
#
# Does content help? Here the answer is known: the data are a *planted world* in which text and images each say
# something that the other does not. The sweep has to find that.
#
# A sweep is every combination of data set, model and *condition*. A condition says which modalities a model may see:
# `none`, `text`, `image` or `fused` (both).

# %% [markdown]
# ## What would it cost?
#
# `mmbench plan` takes the same words as the sweep, trains each model for two epochs and extrapolates.

# %% language="bash"
# python -m mmbench plan dataset.world=complementary dataset.world_options.n_users=600 dataset.world_options.n_items=300 \
#     model=popularity,fusion modality=none,text,image,fused budget=small budget.trials=4 budget.max_steps=1 budget.least_epochs=15

# %% [markdown]
# ## Run it
#
# Every condition gets the same four configurations, the same seeds and the same split. `budget=small` trains three final
# seeds; the other two settings make the sweep shorter than a real question needs, and with four trials no word about a
# difference is allowed: `°` marks such gains in the table.

# %% language="bash"
# python -m mmbench -m sweep.name=first tracking=none \
#     dataset.world=complementary dataset.world_options.n_users=600 dataset.world_options.n_items=300 \
#     model=popularity,fusion modality=none,text,image,fused budget=small budget.trials=4 budget.max_steps=1 budget.least_epochs=15 \
#     > first.log
# head -n 6 first.log
# grep trainings, first.log | tail -n 1

# %% [markdown]
# ## The table
#
# All results are in `multirun/first/report`, as Markdown, CSV, LaTeX and one HTML page. Start with the table
# `benchmark.md`; [Reading the table](../reading.md) explains every mark.

# %%
from pathlib import Path

from IPython.display import Image, Markdown

report = Path("multirun/first/report")
Markdown(report.joinpath("benchmark.md").read_text())

# %% [markdown]
# ## The conditions side by side
#
# The same folder holds figures. This one has a line for each model and a point for each condition.

# %%
Image(report / "conditions.png", width=640)

# %% [markdown]
# ## The same from Python
#
# `read_sweep` reads the records of every cell, and `change` returns the relative gain of the two configurations that were
# chosen, with its interval over users and seeds. What is judged is another gain, that of [tuning](../protocol.md#tuned-gain).

# %%
from mmbench.report.reading import read_sweep

table = read_sweep(Path("multirun/first"))
gain = table.change("planted-complementary", "fusion", "fused", "text", "ndcg@20")
print(f"the two configurations, fused over text: {gain.mean:+.1%}, 95 % interval {gain.lo:+.1%} to {gain.hi:+.1%}")

# %% [markdown]
# ## The same command again
#
# Finished trainings never run twice, so a sweep that was stopped resumes where it was.

# %% language="bash"
# python -m mmbench -m sweep.name=first tracking=none \
#     dataset.world=complementary dataset.world_options.n_users=600 dataset.world_options.n_items=300 \
#     model=popularity,fusion modality=none,text,image,fused budget=small budget.trials=4 budget.max_steps=1 budget.least_epochs=15 \
#     | grep planned
