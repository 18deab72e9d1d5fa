#!/bin/sh
# Puts the programs that judge our rules and configurations into .tools/bin: Prometheus and Alertmanager with their
# checkers, unpacked from Debian's packages. Nothing is installed, no root is needed, no daemon is started.
# Where packages can be fetched, promtool and amtool of a later Debian join them as promtool-next and amtool-next.
set -eu

programs="prometheus promtool prometheus-alertmanager amtool"
packages="prometheus prometheus-alertmanager"
tools="$(cd "$(dirname "$0")/.." && pwd)/.tools"

missing() {  # missing SEARCH_PATH: the programs that are in none of its directories (alertmanager will do, too)
    for program in $programs; do
        if ! (PATH="$1"; command -v "$program" || command -v "${program#prometheus-}") >/dev/null; then
            printf ' %s' "$program"
        fi
    done
}

# Fetched by an earlier version of this script, without what it needs to start:
if [ -e "$tools/bin/prometheus-alertmanager" ] && [ ! -e "$tools/share/alertmanager" ]; then
    rm "$tools/bin/prometheus-alertmanager"
fi

next=trixie  # Prometheus 2.53, Alertmanager 0.28
fetch_next() {
    if [ -x "$tools/bin/promtool-next" ] && [ -x "$tools/bin/amtool-next" ]; then return 0; fi
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then return 0; fi
    mkdir -p "$tools/bin"
    (
        work="$(mktemp -d "$tools/fetch.XXXXXX")"
        trap 'rm -rf "$work"' EXIT
        cd "$work"
        mkdir -p lists/partial
        # The archive that this system uses; where its package lists are absent, nobody knows it before an update.
        archives() {
            apt-get indextargets "$@" --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main'
        }
        own="-o Dir::State::lists=$work/lists -o Dir::Cache=$work -o APT::Sandbox::User=root"
        # shellcheck disable=SC2086
        {
            archive="$(archives | head -n 1)"
            if [ -z "$archive" ]; then apt-get update -qq $own; archive="$(archives $own | head -n 1)"; fi
            echo "fetching promtool-next and amtool-next from the package archive of $next"
            echo "deb ${archive:?no Debian archive among the package sources} $next main" >sources
            own="$own -o Dir::Etc::sourcelist=$work/sources -o Dir::Etc::sourceparts=/dev/null"
            apt-get update -qq $own >log 2>&1 || true  # judged by the download
            apt-get download -qq $own promtool prometheus-alertmanager >>log 2>&1 || { cat log >&2; exit 2; }
        }
        for deb in *.deb; do dpkg-deb -x "$deb" root; done
        for program in promtool amtool; do mv "root/usr/bin/$program" "$tools/bin/$program-next"; done
    )
}

if [ -z "$(missing "$tools/bin:$PATH")" ]; then fetch_next; exit 0; fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "tests/tools.sh: not on PATH:$(missing "$tools/bin:$PATH"); install Prometheus and Alertmanager" \
        "(packages $packages where they exist) and run this again" >&2
    exit 2
fi

echo "fetching$(missing "$tools/bin:$PATH") from the system's package archive"
mkdir -p "$tools"
work="$(mktemp -d "$tools/fetch.XXXXXX")"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/root" "$tools/bin"
cd "$work"

download() {  # download PACKAGE...: as .deb files into this directory; APT::Sandbox::User quiets a notice about root
    apt-get download -qq -o APT::Sandbox::User=root $lists "$@" >>log 2>&1
}

lists=
# shellcheck disable=SC2086
if ! download $packages; then
    # The system's package lists are absent or stale and may not be ours to renew: read our own, for this once.
    lists="-o Dir::State::lists=$work/lists -o Dir::Cache=$work"
    apt-get update -qq -o APT::Sandbox::User=root $lists >>log 2>&1 || true  # judged by the download
    if ! download $packages; then
        cat log >&2
        echo "tests/tools.sh: apt-get cannot download $packages; see above" >&2
        exit 2
    fi
fi
unpack() { for deb in *.deb; do dpkg-deb -x "$deb" root; rm "$deb"; done; }
unpack
for program in $(missing "$work/root/usr/bin"); do  # newer releases pack promtool on its own
    if download "$program"; then unpack; fi
done
if [ -n "$(missing "$work/root/usr/bin")" ]; then
    echo "tests/tools.sh: the packages $packages do not hold$(missing "$work/root/usr/bin")" >&2
    exit 2
fi
for program in $programs; do mv "root/usr/bin/$program" "$tools/bin/$program"; done
# Debian's Alertmanager reads its templates from where its package puts them, and does not start without. The copy here
# is told, in as many bytes, to read them from the directory that it is started in: .tools/share/alertmanager.
rm -rf "$tools/share/alertmanager" && mkdir -p "$tools/share"
mv root/usr/share/prometheus/alertmanager "$tools/share/alertmanager"
LC_ALL=C sed -i 's#/usr/share/prometheus/alertmanager\([^/]\)#./././././././././././././././././\1#g' \
    "$tools/bin/prometheus-alertmanager"
fetch_next
