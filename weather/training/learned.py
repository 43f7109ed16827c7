"""What weights have learned to read and to give: they serve no other model, variables, grid, normalisation or lead."""

from __future__ import annotations

from typing import Any

from weather.config.wrapper import ConfigWrapper
from weather.data.grid import EXTENT
from weather.data.static_inputs import STATIC_INPUTS
from weather.errors import CheckpointError
from weather.training.checkpoint import Checkpoint
from weather.training.leads import trained_leads
from weather.training.preparation import DIFFERENCES, Prepared, changed_identity, changed_samples

#: Of `Prepared.identity`; another archive may have other samples of the same.
READ = ("channels", "time step in hours", "means", "standard deviations", STATIC_INPUTS, *EXTENT)
LEADS = ("data.dt", "data.random_leads")


def refuse_other_run(checkpoint: Checkpoint, config: ConfigWrapper) -> None:
    """Refuse a checkpoint whose weights do not mean what the config of a run says; shapes alone would not tell.

    Raises:
        CheckpointError: naming the first difference.
    """
    changed = _changed_model(checkpoint, config)
    changed |= {key: each for key, each in changed_identity(checkpoint.config, config).items() if key in LEADS}
    _refuse(
        changed,
        where=checkpoint.path,
        rule="a run's model is restored with weights of the same model, extra inputs and leads",
        fix="name the checkpoint with the run that it is of",
    )


def refuse_as_initial_weights(checkpoint: Checkpoint, prepared: Prepared) -> None:
    """Refuse weights of another model, or such that know other variables, units or leads.

    Raises:
        CheckpointError: naming the first difference.
    """
    changed = _changed_model(checkpoint, prepared.config)
    read = {f"the archive's {name}" for name in READ}
    changed |= {key: each for key, each in changed_samples(checkpoint.samples, prepared).items() if key in read}
    known = ConfigWrapper({"data": {key: checkpoint.config["data"].get(key) for key in ("dt", "random_leads")}})
    before, now = trained_leads(known), trained_leads(prepared.config)
    if not set(now) <= set(before):
        changed["the leads in time steps"] = (before, now)
    units = checkpoint.samples.get(DIFFERENCES, {})
    for lead, stds in prepared.identity().get(DIFFERENCES, {}).items():
        if units.get(lead) != stds:
            changed[f"the archive's {DIFFERENCES} at a lead of {lead}"] = (units.get(lead), stds)
    _refuse(
        changed,
        where=f"training.initial_weights = {checkpoint.path}",
        rule="weights go on with the model, the channels, the extra inputs, the grid, the time step, the leads (or "
        "some of them) and the normalisation that they were trained with",
        fix="restore the value, or leave training.initial_weights out",
    )


def _changed_model(checkpoint: Checkpoint, config: ConfigWrapper) -> dict[str, tuple[Any, Any]]:
    changed = changed_identity(checkpoint.config, config).items()
    return {key: each for key, each in changed if key.startswith("model.") or key == "data.extra_inputs"}


def _refuse(changed: dict[str, tuple[Any, Any]], *, where: object, rule: str, fix: str) -> None:
    if not changed:
        return
    key, (before, now) = next(iter(changed.items()))
    error = CheckpointError(f"{key} was {before!r} and is now {now!r}", where=where, rule=rule, fix=fix)
    error.agreed = True
    raise error
