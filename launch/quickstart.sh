#!/usr/bin/env bash
# From nothing to a verified forecast: environment, synthetic archive, training, evaluation. About two minutes on two
# CPU cores after the installation. Given again it resumes, or says that the run is complete.
#
#   bash launch/quickstart.sh
#   WEATHER_PYTHON=python bash launch/quickstart.sh    # use the active environment as it is
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. launch/environment.sh
use_environment plot

"$python" -m weather.synthesize --data_dir data/synthetic
"$python" -m weather.train --config_name local --set experiment.name=quickstart
"$python" -m weather.evaluate --run runs/quickstart
