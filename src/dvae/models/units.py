"""Models of fields in any unit: values are shifted and scaled before a model, and back after it."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from dvae.errors import DataError
from dvae.models.dense import DenseVAE, FieldDecoder
from dvae.models.pod import PodDecoder, PodVAE
from dvae.models.vae import CONSTANT, VAE, Decoder, DecoderVariance, Encoder, working_precision
from dvae.physics.samples import Samples, in_batches

__all__ = ["FieldUnits", "UnitsVAE"]


NEGLIGIBLE = 1e-6  # range of a value over the largest of its channel: rounding in single precision


class FieldUnits(nn.Module):
    """Shift and scale of fields in the units of their file, and which values a model sees.

    A value y of channel c becomes (y - m) / s_c with the mean field m and the spread s_c of the
    channel. A value that is the same in every sample, or missing (NaN) in all, is left out: it
    becomes 0, and comes back as it was. Shift and scale are in double precision, so that a small
    variation about a large mean is kept.

    Parameters
    ----------
    shift : Tensor (channel, x1, x2)
        Mean field m; anything finite where values are missing.
    scale : Tensor (channel,)
        Positive spread s of every channel.
    seen : Tensor (channel, x1, x2)
        Which values vary, and so count in the loss.
    missing : Tensor (channel, x1, x2)
        Which values are missing.
    """

    shared_between_members = True
    shift: Tensor
    scale: Tensor
    seen: Tensor
    missing: Tensor

    def __init__(
        self,
        shift: Float[Tensor, "channel x1 x2"],
        scale: Float[Tensor, " channel"],
        seen: Bool[Tensor, "channel x1 x2"],
        missing: Bool[Tensor, "channel x1 x2"],
    ):
        super().__init__()
        self.register_buffer("shift", shift.double())
        self.register_buffer("scale", scale.double())
        self.register_buffer("seen", seen)
        self.register_buffer("missing", missing)

    @classmethod
    def from_fields(cls, fields: Float[Tensor, "sample channel x1 x2"] | Samples) -> FieldUnits:
        """Mean field and spread of every channel over the values that vary between samples.

        A value that varies by less than a millionth of what another one of its channel does, such
        as a boundary value with rounding errors, counts as one that does not vary; and so does a
        value that is constant but for rounding, such as one of a constant channel.

        Raises
        ------
        DataError
            If no value varies, or if a value is infinite, or missing (NaN) in some samples only.
        """
        always, ever = torch.tensor(True), torch.tensor(False)
        total, low, high = torch.zeros(()), torch.tensor(math.inf), torch.tensor(-math.inf)
        for batch in in_batches(fields):
            y, rounding = batch.double(), CONSTANT[working_precision(batch.dtype)]
            always, ever = always & y.isnan().all(0), ever | ~y.isfinite().all(0)
            total = total + y.sum(0)
            low, high = torch.minimum(low, y.amin(0)), torch.maximum(high, y.amax(0))
        if bool((ever != always).any()):
            raise DataError(
                f"{int((ever != always).sum())} values of a sample are infinite, or missing in "
                "some training samples and not in all; fill them or leave these samples out"
            )
        shift, missing = total / len(fields), always
        rounded = rounding * torch.maximum(low.abs(), high.abs())
        ranges = (high - low).masked_fill(missing | (high - low <= rounded), 0.0)
        largest = ranges.amax((1, 2), keepdim=True)
        seen = ranges > NEGLIGIBLE * largest
        if not bool(seen.any()):
            raise DataError(
                "the fields do not vary: every training sample holds the same values; there is "
                "nothing for a model to find"
            )
        largest = torch.where(largest > 0, largest, 1.0)  # a channel that does not vary
        energy = torch.zeros(())
        for batch in in_batches(fields):  # in units of the range, whose square may overflow
            deviation = torch.where(seen, batch.double() - shift, 0.0)
            energy = energy + (deviation / largest).pow(2).sum((0, 2, 3))
        count = seen.sum((1, 2))
        spread = largest[:, 0, 0] * (energy / (len(fields) * count.clamp_min(1))).sqrt()
        shift = shift.masked_fill(missing, 0.0)
        return cls(shift, torch.where(count > 0, spread, 1.0), seen, missing)

    @property
    def n_values(self) -> int:
        """Values of a sample that count in the loss."""
        return int(self.seen.sum())

    @property
    def log_jacobian(self) -> float:
        """Log-determinant of the scaling: sum of log s over the values that count."""
        return float((self.seen.sum((1, 2)) * self.scale.log()).sum())

    def forward(
        self, fields: Float[Tensor, "sample channel x1 x2"]
    ) -> Float[Tensor, "sample channel x1 x2"]:
        """Fields as a model sees them, in single precision."""
        scaled = (fields - self.shift).div_(self.scale[:, None, None])
        return scaled.masked_fill_(~self.seen, 0.0).float()

    def inverse(
        self, scaled: Float[Tensor, "sample channel x1 x2"]
    ) -> Float[Tensor, "sample channel x1 x2"]:
        """Fields in their own units, in double precision; NaN where values are missing."""
        fields = self.shift + self.scale[:, None, None] * scaled
        return fields.masked_fill(self.missing, math.nan)


class _Seen(nn.Module):
    """Last layer of a decoder's network: 0 where values are left out."""

    shared_between_members = True
    mask: Tensor

    def __init__(self, seen: Bool[Tensor, "channel x1 x2"]):
        super().__init__()
        self.register_buffer("mask", seen.float(), persistent=False)

    def forward(self, fields: Tensor) -> Tensor:
        return fields * self.mask


class _UnitsEncoder(Encoder):
    """q(z|y) of fields in their own units."""

    def __init__(self, units: FieldUnits, inner: Encoder):
        super().__init__()
        self.units, self.inner = units, inner

    def features(self, fields):
        return self.inner.features(self.units(fields))

    def from_features(self, features):
        return self.inner.from_features(features)


class _UnitsDecoder(Decoder):
    """p(y|z) over fields in their own units."""

    def __init__(self, units: FieldUnits, inner: Decoder):
        super().__init__()
        self.units, self.inner = units, inner

    @property
    def variance(self) -> DecoderVariance:  # type: ignore[override]
        """The inner decoder's."""
        return self.inner.variance

    def forward(self, z):
        scaled = self.inner(z).base_dist
        scale = self.units.scale[:, None, None] * scaled.scale
        mean = self.units.inverse(scaled.loc)
        return Independent(Normal(mean, scale, validate_args=False), 3, validate_args=False)

    def squared_error(self, features, z):
        return self.inner.squared_error(features, z)

    def variance_shift(self, z):
        return self.inner.variance_shift(z)

    def data_variance(self, features):
        # a group without values has no variance, and none is asked for
        return self.inner.data_variance(features).nan_to_num(nan=1.0)


class UnitsVAE(VAE):
    """A VAE of fields in the units of their file, around one of standardised fields.

    Encoder and decoder take and give fields as they are in the file. Rate and distortion are those
    of these fields (the distortion has the Jacobian of the scaling), restricted to the values that
    vary. Squared errors and decoder variances are in units of the channels' spreads, so that
    channels count alike.

    Parameters
    ----------
    inner : DenseVAE or PodVAE
        Model of standardised fields, taken over: it is part of this one from now on.
    units : FieldUnits
        From :meth:`FieldUnits.from_fields` on the training data.

    Raises
    ------
    DataError
        If the model is of another class, or for fields of another shape.
    """

    def __init__(self, inner: VAE, units: FieldUnits):
        if not isinstance(inner, DenseVAE | PodVAE):
            raise DataError(f"only DenseVAE and PodVAE take units, not a {type(inner).__name__}")
        if inner.field_shape != tuple(units.shift.shape):
            raise DataError(
                f"the model is for fields of shape {inner.field_shape}, the units for "
                f"{tuple(units.shift.shape)}"
            )
        _leave_out(inner.decoder, units)
        super().__init__(
            _UnitsEncoder(units, inner.encoder),
            _UnitsDecoder(units, inner.decoder),
            inner.prior,
            inner.n_latents,
            inner.field_shape,
        )
        self.kind, self.configuration = type(inner).__name__, inner.configuration

    log_variance_name = "decoder.inner.variance.log_variance"

    @property
    def units(self) -> FieldUnits:
        """Shift and scale of the fields, and the values that count."""
        return self.encoder.units  # type: ignore[return-value]

    @property
    def field_dtype(self) -> torch.dtype:
        """Precision in which fields are read: double."""
        return self.units.shift.dtype

    def observed(self, fields: Tensor) -> Tensor:
        """Fields with 0 in the place of values that are left out."""
        return torch.where(self.units.seen, fields, 0.0)


def _leave_out(decoder: PodDecoder | FieldDecoder, units: FieldUnits) -> None:
    """Restrict the likelihood of a decoder to the values that vary, and add the Jacobian."""
    variance = decoder.variance
    if isinstance(decoder, PodDecoder):
        scale = decoder.basis.scale.double().log().expand(units.seen.shape)
        variance.log_jacobian = float(scale[units.seen].sum())
        variance.restrict(units.n_values)
    else:
        decoder.mean.append(_Seen(units.seen))
        variance.restrict(units.seen.sum(0))
    variance.log_jacobian += units.log_jacobian
