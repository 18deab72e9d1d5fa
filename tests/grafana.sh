#!/bin/sh
# An environment of its own in .tools/grafana for what speaks to Grafana: grafana-client brings niquests, and that a
# urllib3 which takes the place of the one that other packages rely on. Everything else is that of the tests.
set -eu

root="$(cd "$(dirname "$0")/.." && pwd)"
place="$root/.tools/grafana"
if [ -x "$place/bin/python" ] && "$place/bin/python" -c 'import grafana_client' 2>/dev/null; then exit 0; fi
cd "$root"
python="${PYTHON:-.venv/bin/python}"
if [ ! -x "$python" ]; then
    echo "tests/grafana.sh: $python is not there yet (make install); the tests with grafana-client are skipped" >&2
    exit 0
fi
echo "installing grafana-client into .tools/grafana"
"$python" -m venv --clear "$place"
"$place/bin/python" -m pip --disable-pip-version-check --no-input install -qq --progress-bar off 'grafana-client>=5.0'
