#!/usr/bin/env bash
# Makes sure that redis-server and redis-cli are there: installs them with the
# system's package manager when it may, else says in one line what to install.
set -euo pipefail

have() { command -v redis-server >/dev/null && command -v redis-cli >/dev/null; }
have && exit 0

missing() {
    echo "redis-server and redis-cli are missing: install the packages redis-server and redis-tools (macOS: brew install redis)" >&2
    exit 1
}

command -v apt-get >/dev/null || missing
sudo=
if [[ $(id -u) != 0 ]]; then
    sudo -n true 2>/dev/null || missing
    sudo=sudo
fi
echo 'installing redis-server and redis-tools …' >&2
# No service shall be started for what the tests start themselves.
policy=
if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod +x "$policy"
fi
trap '[[ -z $policy ]] || $sudo rm -f "$policy"' EXIT
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server redis-tools >/dev/null
have || missing
