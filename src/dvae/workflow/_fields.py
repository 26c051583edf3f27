"""Decoded fields as files, with the names and places of the data that a model was trained on."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from dvae.errors import DataError
from dvae.outputs import FIELDS_SUFFIXES, check_suffix
from dvae.physics import FieldDataset
from dvae.reading.layout import FORMAT
from dvae.storage import atomic_path

NODES = "nodes_of_axis_{}"  # variables with the coordinates of the axes of the grid


def describe(latents: xr.Dataset, fields: FieldDataset) -> xr.Dataset:
    """Latents with what is known of the channels and axes of their fields beside them."""
    axes = [re.sub(r"\$x_(\d)\$", r"x\1", name) for name in fields.axis_names]
    names = {"channels": fields.channel_names, "axes": axes}
    latents = latents.assign_attrs({key: ",".join(value) for key, value in names.items()})
    for i, found in enumerate(fields.coordinates, 1):
        name = NODES.format(i)
        latents[name] = (name, found.values, {"units": found.units} if found.units else {})
    return latents


def differences(fields: FieldDataset, known: xr.Dataset, where: str) -> list[str]:
    """What names and coordinates of fields say against their being like those of the training.

    Parameters
    ----------
    fields : FieldDataset
        Fields of the shape of those of the training.
    known : xarray.Dataset
        Of :func:`describe`.
    where : str
        What the fields are, for messages.

    Returns
    -------
    list of str
        A sentence for each kind of name, and each axis, that differs.

    Raises
    ------
    DataError
        If the channels or axes are those of the training in another order, or an axis runs the
        other way.
    """
    own, found = describe(xr.Dataset(), fields), []
    advice = {
        "channels": "name them in this order with the option fields (--fields)",
        "axes": "transpose the fields (numpy.swapaxes)",
    }
    _, count, _, n2 = fields.samples.shape
    unnamed = {
        "channels": ",".join(f"channel {i + 1}" for i in range(count)),
        "axes": "x1" if n2 == 1 else "x1,x2",
    }
    for key, remedy in advice.items():
        ours, theirs = (data.attrs.get(key, "") for data in (own, known))
        if unnamed[key] in (ours, theirs) or ours == theirs or not theirs:
            continue
        names = f"the {key} are {ours}, and those of the training were {theirs}"
        if sorted(ours.split(",")) == sorted(theirs.split(",")):
            raise DataError(f"{where}: {names}: {remedy}")
        found.append(f"{where}: {names}: are these fields like those?")
    for i in (1, 2):
        name = NODES.format(i)
        if name not in own or name not in known or own[name].shape != known[name].shape:
            continue
        ours, theirs = own[name].values, known[name].values
        near = {"rtol": 0, "atol": 1e-6 * np.ptp(theirs)}
        if np.allclose(ours, theirs, **near):
            continue
        if np.allclose(ours[::-1], theirs, **near):
            raise DataError(
                f"{where}: axis {i} of the grid runs the other way than in the training, from "
                f"{ours[0]:g} to {ours[-1]:g}: turn the fields along it (numpy.flip)"
            )
        found.append(
            f"{where}: the nodes of axis {i} of the grid lie from {ours[0]:g} to {ours[-1]:g}, "
            f"and those of the training from {theirs[0]:g} to {theirs[-1]:g}, or between these "
            "elsewhere: the latents mean little unless the fields are like those"
        )
    return found


def write_fields(
    path: str | os.PathLike,
    fields: Float[np.ndarray, "sample channel x1 x2"],
    known: xr.Dataset | None = None,
) -> None:
    """Write fields so that ``dvae`` reads them: key ``fields`` of ``.npz``, or NetCDF (``.nc``).

    Parameters
    ----------
    path : path-like
        Name of the file, which says the format.
    fields : ndarray of shape (N, C, n1, n2)
        Fields.
    known : xarray.Dataset, optional
        Of :func:`describe`: the names of channels and axes, and where the nodes lie, in NetCDF.

    Raises
    ------
    DataError
        If the name ends otherwise.
    DvaeError
        If the file cannot be written.
    """
    path = Path(path)
    check_suffix(path, FIELDS_SUFFIXES)
    if path.suffix.lower() == ".npz":
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, fields=fields, orientation="ij", format=FORMAT)
        return
    data = _netcdf(fields, xr.Dataset() if known is None else known)
    with atomic_path(path) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf")


def _netcdf(fields: np.ndarray, known: xr.Dataset) -> xr.Dataset:
    """Fields as a variable (sample, channel, x1, x2); a line has no axis x2."""
    channels = known.attrs.get("channels", "").split(",")
    if len(channels) != fields.shape[1]:
        channels = [f"channel {i + 1}" for i in range(fields.shape[1])]
    axes = known.attrs.get("axes", "x1,x2").split(",")
    if len(axes) == 1:
        fields = fields[..., 0]
    name, attributes = "fields", {}
    if len(channels) == 1 and (only := re.fullmatch(r"(\w+)(?: \[(.*)\])?", channels[0])):
        name, attributes = only[1], {"units": only[2]} if only[2] else {}
        channels = [name]
    if len({name, "sample", "channel", *axes}) < 3 + len(axes):
        name, axes = "fields", ["x1", "x2"][: len(axes)]
    coordinates: dict[str, Any] = {"channel": channels}
    for i, axis in enumerate(axes, 1):
        if NODES.format(i) in known:
            found = known[NODES.format(i)]
            coordinates[axis] = (axis, found.values, found.attrs)
    variable = (("sample", "channel", *axes), fields, attributes)
    return xr.Dataset({name: variable}, coordinates, {"orientation": "ij"})
