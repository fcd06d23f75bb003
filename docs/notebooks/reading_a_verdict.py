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
# # Reading a verdict
#
# Every planned comparison ends in one word. This notebook shows where the word comes from: first an interval, then
# a sweep, then the records on disk.

# %% [markdown]
# ## From an interval to a word
#
# The rule is a function. It takes a relative gain with its interval over users and seeds, and the margin δ that was fixed
# beforehand, here 2 %.

# %%
from scipy.stats import t

from mmbench.inference.intervals import CrossedInterval
from mmbench.inference.verdicts import verdict


def gain(mean, se, seeds=3, df=100):
    half = t.ppf(0.975, df) * se
    p = 2 * t.sf(abs(mean / se), df)
    return CrossedInterval(mean, mean - half, mean + half, se=se, df=df, p=p, seeds=seeds)


cases = [gain(0.06, 0.015), gain(0.012, 0.004), gain(0.004, 0.006), gain(-0.05, 0.012), gain(0.02, 0.03)]
cases.append(gain(0.06, 0.015, seeds=1))
words = [verdict(case, delta=0.02).word for case in cases]
for case, word in zip(cases, words):
    print(f"{case.mean:+.1%} [{case.lo:+.1%}, {case.hi:+.1%}], seeds {case.seeds}: {word}")

# %% [markdown]
# The grey band is ±δ. *Equivalent* is a finding: the interval lies within the band. *Undecided* is not. With one seed, the
# last line, even a clear gain gives no word, because nobody measured what another seed would do.

# %%
import matplotlib.pyplot as plt

figure, axis = plt.subplots(figsize=(7, 2.8))
axis.axvspan(-2, 2, color="0.9")
axis.axvline(0, color="0.5", lw=0.8)
for row, (case, word) in enumerate(zip(cases, words)):
    axis.plot([100 * case.lo, 100 * case.hi], [row, row], color="C0")
    axis.plot(100 * case.mean, row, "o", color="C0", mfc="C0" if case.seeds > 1 else "white")
axis.set_yticks(range(len(cases)), words)
axis.invert_yaxis()
axis.set_xlabel("gain of A over B, %")
figure.tight_layout()

# %% [markdown]
# ## From a sweep
#
# In this planted world the image is *redundant*: it is a function of the text. Eight trials are enough to judge the luck of
# tuning too.

# %% language="bash"
# python -m mmbench -m sweep.name=redundant tracking=none dataset.world=redundant \
#     dataset.world_options.n_users=500 dataset.world_options.n_items=250 \
#     model=fusion modality=none,text,fused budget=small budget.max_steps=1 budget.least_epochs=20 > sweep.log
# grep trainings, sweep.log | tail -n 1

# %%
from pathlib import Path

import pandas as pd

report = Path("multirun/redundant/report")
verdicts = pd.read_csv(report / "verdicts.csv")
for row in verdicts.itertuples():
    print(f"{row.contrast}: {row.verdict}\n    {row.reason}")

# %% [markdown]
# The primary contrast is `fused_vs_text`: is the image worth it on top of text? Its forest plot shows the interval, the band of
# ±δ and the word. A redundant image cannot bring much here, but that is not yet *shown*: with so few users the interval is
# wider than the band. The column MDE says which gain this sweep would have detected in four of five cases.

# %%
from IPython.display import Image

Image(report / "forest-fused_vs_text.png", width=640)

# %%
for row in verdicts.itertuples():
    print(f"{row.contrast}: detectable gain {row.mde:.1%}, equivalent within {row.smallest_margin:.1%}")

# %% [markdown]
# ## Was the effort equal?
#
# The verdict requires a fair comparison. The fairness report checks it from the records.

# %%
from IPython.display import Markdown

tables = [part for part in (report / "fairness.md").read_text().split("\n\n") if part.startswith("|")]
Markdown(tables[0])

# %% [markdown]
# ## From the word to the records
#
# `--explain` goes all the way back: files and their hashes, the mean of each seed, the mean squares, the interval, the
# adjusted p, and each word with yes or no.

# %% language="bash"
# python -m mmbench report multirun/redundant --explain planted-redundant/fusion/fused_vs_text > explained.txt
# grep -A 35 "relative gain" explained.txt
