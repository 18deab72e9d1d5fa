#!/bin/sh
# Puts a headless Chromium into .tools/bin, for the tests that look at HTML reports: unpacked from the system's package
# archive together with the libraries that are missing here. Nothing is installed, no root is needed. Where there is no
# such archive those tests are skipped (and fail in CI).
set -eu

tools="$(cd "$(dirname "$0")/.." && pwd)/.tools"

for program in chromium chromium-headless-shell chromium-browser google-chrome; do
    if (PATH="$tools/bin:$PATH"; command -v "$program") >/dev/null; then exit 0; fi
done
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "tests/browser.sh: no Chromium on PATH, and no package archive to fetch it from; the tests with it are skipped" >&2
    exit 0
fi

echo "fetching a headless Chromium from the system's package archive (90 MB)"
mkdir -p "$tools/bin"
work="$(mktemp -d "$tools/fetch.XXXXXX")"
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p lists/partial archives/partial root

# NoLocking: the archives go into a directory of our own. APT::Sandbox::User quiets a notice about root.
options="-qq -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Dir::Cache=$work -o Dir::Cache::archives=$work/archives"
download() {
    # shellcheck disable=SC2086
    apt-get install -y --download-only --no-install-recommends $options "$@" chromium-headless-shell >>log 2>&1
}
if ! download; then
    # The system's package lists are absent or stale and may not be ours to renew: read our own, for this once.
    # shellcheck disable=SC2086
    apt-get update $options -o Dir::State::lists="$work/lists" >>log 2>&1 || true  # judged by the download
    if ! download -o Dir::State::lists="$work/lists"; then
        tail -n 3 log >&2
        echo "tests/browser.sh: the package archive has no chromium-headless-shell; the tests with it are skipped" >&2
        exit 0
    fi
fi
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
if [ ! -x root/usr/lib/chromium/chromium-headless-shell ]; then
    echo "tests/browser.sh: already installed, but not on PATH: chromium-headless-shell" >&2
    exit 0
fi
rm -rf "$tools/chromium"
mv root "$tools/chromium"
libraries="$(find "$tools/chromium" -name '*.so*' -exec dirname {} + | sort -u | paste -s -d :)"
cat >"$tools/bin/chromium" <<END
#!/bin/sh
LD_LIBRARY_PATH="$libraries" exec "$tools/chromium/usr/lib/chromium/chromium-headless-shell" "\$@"
END
chmod +x "$tools/bin/chromium"
