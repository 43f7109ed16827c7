"""Make an archive out of NetCDF, Zarr or GRIB: ``python -m weather.convert era5/*.nc data/era5 --years 1979-2018``."""

from __future__ import annotations

from weather.data.conversion.options import parser, request_of
from weather.data.conversion.request import parse_memory
from weather.errors import EXIT_COMPLETE, EXIT_STOPPED, command_line
from weather.runtime.stop import StopSignals


@command_line
def main() -> int:
    options = parser().parse_args()
    request = request_of(options)
    memory = parse_memory(options.memory)
    with StopSignals() as signals:
        from weather.data.conversion.conversion import convert

        outcome = convert(
            request,
            options.archive,
            memory=memory,
            workers=options.workers,
            leads=options.leads,
            overwrite=options.overwrite,
            dry_run=options.dry_run,
            stop=lambda: signals.received is not None,
        )
    print(outcome.text)
    return EXIT_COMPLETE if outcome.complete else EXIT_STOPPED


if __name__ == "__main__":
    main()
