"""Examines an archive to the end, whatever is wrong with it: headers, time, layout, values, statistics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from weather.config.wrapper import ConfigWrapper
from weather.data.archive import open_archive, select_channels
from weather.data.default_archive import make_default_archive
from weather.diagnosis.archive_files import YearFile, files_section, time_section
from weather.diagnosis.archive_layout import layout_section
from weather.diagnosis.archive_survey import survey
from weather.diagnosis.archive_values import judge_values, statistics_section
from weather.diagnosis.findings import Section, Severity, worst
from weather.errors import ConfigError, WeatherError
from weather.training.preparation import DEFAULT_DATA_DIR, prepare_on


def examine_data(config: ConfigWrapper, *, full: bool, say: Callable[[str], None]) -> list[Section]:
    """Examine the archive of a config, in one process.

    Args:
        full: read every state instead of samples.
        say: tells people how far it is.
    """
    if config.data.data_dir == DEFAULT_DATA_DIR:  # as a training would
        make_default_archive(Path(DEFAULT_DATA_DIR))
    data_dir = Path(config.data.data_dir).expanduser()
    if not data_dir.is_dir():
        section = Section("files", facts={"data_dir": str(data_dir)})
        section.find(
            Severity.ERROR,
            "data.folder",
            f"there is no folder {data_dir}",
            "set data.data_dir, or make a synthetic archive: python -m weather.synthesize --data_dir DIR",
        )
        return [section]
    say(f"reading headers in {data_dir}")
    files, agreeing = files_section(data_dir)
    sections = [files, time_section(agreeing)]
    if agreeing:
        sections += _examine_fields(config, data_dir, agreeing, full=full, say=say)
    return [*sections, _run_section(config, sections)]


def _examine_fields(
    config: ConfigWrapper, data_dir: Path, files: list[YearFile], *, full: bool, say: Callable[[str], None]
) -> list[Section]:
    """What needs the fields themselves."""
    header = files[0].header
    try:
        selected = select_channels(config.data.channels, header)
    except ConfigError:  # said by `_run_section`
        selected = tuple(range(len(header.channels)))
    say("measuring the read rate")
    rate = layout_section(files, selected, config.model.sequence_length, config.data.dt)
    say(f"reading {'all' if full else 'some'} states")
    reading = Section("reading")
    found = survey(reading, files, full=full, say=say)
    variables = statistics_section(data_dir, found, header.channels, full=full)
    judge_values(variables, found, [header.channels[index] for index in selected], header.longitude)
    variables.findings = reading.findings + variables.findings
    return [rate, variables]


def _run_section(config: ConfigWrapper, sections: list[Section]) -> Section:
    """Whether a run of this config would take the archive, and which samples it would have."""
    section = Section("a run on it")
    try:
        archive = open_archive(config.data, ("train", "valid"))
        prepared = prepare_on(archive, config)
        section.facts.update(
            grid=list(archive.grid),
            channels=len(archive.channels),
            lead_hours=config.data.dt * archive.splits["train"].step_hours,
            training_samples=len(prepared.training),
            validation_samples=len(prepared.validation),
        )
    except WeatherError as error:
        section.facts["refused"] = str(error)
        if worst(sections) is not Severity.ERROR or isinstance(error, ConfigError):
            section.find(Severity.ERROR, "data.refused", f"a run would be refused: {error}")
    return section
