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
# `mmbench plan` takes the same words as the sweep, trains each model for some epochs and extrapolates.

# %% language="bash"
# python -m mmbench plan dataset.world=complementary dataset.world_options.n_users=600 dataset.world_options.n_items=300 \
#     model=popularity,fusion modality=none,text,image,fused budget=small budget.trials=4 budget.max_steps=1 budget.least_epochs=15

# %% [markdown]
# ## Run it
#
# Every condition gets the same four configurations, the same seeds and the same split. `budget=small` trains three final
# seeds; the other two settings make the sweep shorter than a real question needs, and with four trials no word about a
# difference is allowed: `°` marks such gains in the table.

# `mmbench.sweep` takes the words of the command line, prints its progress here, and returns the results when it is done.

# %%
import mmbench

words = (
    "sweep.name=first_notebook tracking=none model=popularity,fusion modality=none,text,image,fused "
    "dataset.world=complementary dataset.world_options.n_users=600 dataset.world_options.n_items=300 "
    "budget=small budget.trials=4 budget.max_steps=1 budget.least_epochs=15"
).split()
results = mmbench.sweep(*words)

# %% [markdown]
# ## The table
#
# All results are in `multirun/first_notebook/report`, as Markdown, CSV, LaTeX and HTML. Start with the table
# `benchmark.md`; [Reading the table](../reading.md) explains every mark.

# %%
from IPython.display import Markdown

Markdown((results.folder / "report/benchmark.md").read_text())

# %% [markdown]
# ## The conditions side by side
#
# The same folder holds figures, and the results draw them too. This one has a line for each model and a point for each
# condition.

# %%
results.plot_conditions()

# %% [markdown]
# ## The same as DataFrames
#
# [Python](../python.md) lists what the results can tell. `mmbench.read("multirun/first_notebook")` reads them again at any time.
# `gain` is what is judged, that of [tuning](../protocol.md#tuned-gain); `configuration_gain` is that of the two
# configurations that were chosen, with its interval over users and seeds.

# %%
for row in results.contrast("fused_vs_text").itertuples():
    bounds = f"{row.configuration_lo95:+.1%} to {row.configuration_hi95:+.1%}"
    print(f"{row.model}, the two configurations, fused over text: {row.configuration_gain:+.1%}, 95 % interval {bounds}")

# %% [markdown]
# Every training is a row, with its hyper-parameters.

# %%
trials = results.trials()
trials[trials["model"] == "fusion"][["modality", "stage", "number", "optimizer.lr", "validation", "test", "chosen"]].head(8)

# %% [markdown]
# ## The same call again
#
# Finished trainings never run twice, so a sweep that was stopped resumes where it was.

# %%
mmbench.sweep(*words)
