"""What each modality contributes: six measures, see ``docs/protocol.md``, Contribution.

M1 :mod:`shapley`, M2 and M3 :mod:`hits`, M4 :mod:`signal`, M5 :mod:`geometry`, M6 :mod:`slices`; :mod:`pretest` joins
M4 and M5, which need no recommender.
"""
