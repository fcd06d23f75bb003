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
# Every planned comparison ends in one word. This notebook shows where the word comes from: first from trials to an
# interval, then a sweep, then the records on disk.

# %% [markdown]
# ## From trials to a word
#
# A gain is judged after *tuning*: both conditions are tried in the same random configurations, and the one that is best on
# validation counts. Which one that is depends on the draw. So the tuned gain looks at all ways to draw a third of the trials
# that were run, and its interval knows the draw of the trials, the users and the seed of the default configuration.

# %%
import numpy as np

from mmbench.inference.best_of_n import SeedNoise, Tuning
from mmbench.inference.tuned_gain import tuned_gain
from mmbench.inference.verdicts import verdict

rng = np.random.default_rng(4)
trials, users = 30, np.arange(2000)
level_of_user = rng.gamma(2.0, 0.1, len(users))
quality = 1 - 0.15 * rng.beta(1, 2, trials)  # of each configuration, the same under both conditions


def condition(gain, idiosyncrasy):
    """Trials of a condition whose configurations are better by `gain`, each by a little more or less."""
    metric = quality * (1 + gain) * (1 + idiosyncrasy * rng.standard_normal(trials))
    test = np.clip(metric[:, None] * level_of_user + 0.02 * rng.standard_normal((trials, len(users))), 0, None)
    validation = 0.2 * metric + 0.001 * rng.standard_normal(trials)
    names = [f"configuration {slot}" for slot in range(trials)]
    return Tuning(validation, test, users, names, SeedNoise(relative_sd=0.005, df=4))


without = condition(0.0, 0.003)
cases = {"6 %": condition(0.06, 0.003), "1 %": condition(0.01, 0.003), "nothing": condition(0.0, 0.003)}
cases |= {"-5 %": condition(-0.05, 0.003), "-2 %, uneven": condition(-0.02, 0.06)}
gains = {name: tuned_gain(case, without) for name, case in cases.items()}
words = {name: verdict(gain, delta=0.02).word for name, gain in gains.items()}
for name, gain in gains.items():
    print(f"{name}: {gain.gain:+.1%} [{gain.interval.lo:+.1%}, {gain.interval.hi:+.1%}] after {gain.n} of {gain.trials} trials: {words[name]}")

# %% [markdown]
# The grey band is ±δ, the margin that was fixed beforehand, here 2 %. *Equivalent* is a finding: the 90 % interval, narrower
# than the one drawn, lies within the band. *Undecided* is not. The last condition is worse on average, but uneven, and tuning keeps what is good: its gain after
# tuning may well be above zero, only with these trials nobody can tell.

# %%
import matplotlib.pyplot as plt

figure, (forest, curve) = plt.subplots(1, 2, figsize=(9, 2.8), width_ratios=(3, 2))
forest.axvspan(-2, 2, color="0.9")
forest.axvline(0, color="0.5", lw=0.8)
for row, gain in enumerate(gains.values()):
    forest.plot([100 * gain.interval.lo, 100 * gain.interval.hi], [row, row], color="C0")
    forest.plot(100 * gain.gain, row, "o", color="C0")
forest.set_yticks(range(len(words)), words.values())
forest.invert_yaxis()
forest.set_xlabel("tuned gain, %")
uneven = gains["-2 %, uneven"]
curve.plot(range(1, trials + 1), 100 * uneven.curve.mean)
curve.fill_between(range(1, trials + 1), 100 * uneven.curve.lo, 100 * uneven.curve.hi, alpha=0.2)
curve.axvline(uneven.n, color="0.5", ls=":")
curve.set(xlabel="trials", ylabel="tuned gain, %")
figure.tight_layout()

# %% [markdown]
# On the right is the last case by the number of trials, with bounds up to half of them. The width of an interval has
# sources, and each asks for another remedy:

# %%
for name, gain in gains.items():
    print(f"{name}: " + ", ".join(f"{source} {share:.0%}" for source, share in gain.estimate.shares._asdict().items()))

# %% [markdown]
# ## From a sweep
#
# In this planted world the image is *redundant*: it is a function of the text. Eight trials and two seeds are the least
# that allow a word; `budget=small` has eight and three.

# %%
import mmbench

results = mmbench.sweep(
    *("sweep.name=redundant", "tracking=none", "model=fusion", "modality=none,text,fused", "dataset.world=redundant"),
    *("dataset.world_options.n_users=500", "dataset.world_options.n_items=250"),
    *("budget=small", "budget.max_steps=1", "budget.least_epochs=20"),
)

# %%
verdicts = results.verdicts()
for row in verdicts.itertuples():
    print(f"{row.contrast}: {row.verdict}\n    {row.sentence}\n    {row.reason}")

# %% [markdown]
# The primary contrast is `fused_vs_text`: is the image worth it on top of text? Its forest plot shows the interval, the band of
# ±δ and the word. A redundant image cannot bring much here, but that is not yet *shown*: with so few users the interval is
# wider than the band. The column MDE says which true gain is seen in four of five such sweeps; smaller ones are seen less often.

# %%
results.plot_forest("fused_vs_text")

# %%
for row in verdicts.dropna(subset="mde").itertuples():
    print(f"{row.contrast}: detectable gain {row.mde:.1%}, equivalent within {row.smallest_margin:.1%}")

# %% [markdown]
# ## Was the effort equal?
#
# The verdict requires a fair comparison. The fairness report checks it from the records.

# %%
from IPython.display import Markdown

tables = [part for part in (results.folder / "report/fairness.md").read_text().split("\n\n") if part.startswith("|")]
Markdown(tables[0])

# %% [markdown]
# ## From the word to the records
#
# `--explain` goes all the way back: files and their hashes, the mean of each seed, every trial that may be chosen with its
# weight, the variances, the interval, the adjusted p, and each word with yes or no.

# %% language="bash"
# python -m mmbench report multirun/redundant --explain planted-redundant/fusion/fused_vs_text > explained.txt
# grep -A 45 "^tuned gain" explained.txt
