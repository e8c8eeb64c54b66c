#!/usr/bin/env bash
# Makes sure that a browser for the tests is there: installs Chromium with the
# system's package manager when it may, else says in one line what to install.
set -euo pipefail

have() {
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then return 0; fi
    done
    return 1
}
have && exit 0

missing() {
    echo "Chromium is missing: install the package chromium, or Google Chrome (macOS: brew install --cask chromium)" >&2
    exit 1
}

command -v apt-get >/dev/null || missing
sudo=
if [[ $(id -u) != 0 ]]; then
    sudo -n true 2>/dev/null || missing
    sudo=sudo
fi
echo 'installing chromium …' >&2
$sudo apt-get update -qq || missing
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null || missing
have || missing
