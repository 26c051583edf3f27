"""Claims decided on results that a test made up."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from dvae import claims
from dvae.errors import ResultError


class Given(claims.Results):
    """Results by name, in no store."""

    def __init__(self, results: Mapping[str, xr.Dataset]):
        self.results = results

    def __getitem__(self, name: str) -> xr.Dataset:
        if name not in self.results:
            raise ResultError(f"no result of {name!r}")
        return self.results[name]


def decide(name: str, results: claims.Results | Mapping[str, xr.Dataset]) -> claims.Finding:
    """Finding on one claim."""
    results = results if isinstance(results, claims.Results) else Given(results)
    return claims.decide(name, results)
