"""What the paper shows and claims, decided by rules from stored results (``dvae claims``).

``frame.py`` says what a claim, a rule, a finding and a verdict are, and makes the table. The rules
are in one file for each chapter: ``rules_darcy.py``, ``rules_training.py``, ``rules_landscape.py``,
``rules_disentanglement.py``, ``rules_priors.py``, ``rules_labels.py``, ``rules_supplement.py``;
those on what the paper says outside its figures are in ``rules_elbo.py``, ``rules_phases.py``,
``rules_scores.py`` and ``rules_learned_priors.py``. ``parts.py`` judges counts, ``words.py`` says
how findings are written. A rule is a function whose docstring says what it takes to call the claim
reproduced; the numbers in it are those of ``dvae.conventions``.
Claims read results and train nothing: they import neither experiments nor models.
"""

from dvae.claims import (  # noqa: I001  (in the order of the paper, in which they register)
    rules_darcy,
    rules_training,
    rules_landscape,
    rules_disentanglement,
    rules_priors,
    rules_labels,
    rules_supplement,
    rules_elbo,
    rules_phases,
    rules_scores,
    rules_learned_priors,
)
from dvae.claims.frame import (
    CLAIMS,
    VERDICTS,
    Claim,
    Finding,
    Results,
    badge,
    claims_table,
    decide,
    markdown,
)
from dvae.claims.rules_priors import prior_verdict

__all__ = [
    "CLAIMS",
    "VERDICTS",
    "Claim",
    "Finding",
    "Results",
    "badge",
    "claims_table",
    "decide",
    "markdown",
    "prior_verdict",
    "rules_darcy",
    "rules_disentanglement",
    "rules_elbo",
    "rules_labels",
    "rules_landscape",
    "rules_learned_priors",
    "rules_phases",
    "rules_priors",
    "rules_scores",
    "rules_supplement",
    "rules_training",
]
