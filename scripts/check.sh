#!/usr/bin/env bash
# What CI runs, in an order that keeps the processors at work: tests wait for
# servers much of the time, and what only computes is done beside them.
set -euo pipefail
cd "$(dirname "$0")/.."

# The browser comes while other things are done; without one the plan's page and
# the dashboard are not tested in it, which is said.
./scripts/need-chromium.sh &
browser=$!
# Compilers collect garbage a quarter of their time unless they may take memory.
# Vet compiles what the tests need. Of the foreign builds those of the tool's
# packages are done that have code for one system alone.
GOGC=400 make -j2 vet cross PLATFORMS=windows/amd64 CROSS='./internal/... ./importer/source/aof ./importer/spool ./checkpoint'
if wait $browser; then
    export SLOTFERRY_BROWSER=required
else
    echo 'the pages are not tested in a browser' >&2
fi
# `make lint` looks at the tests, too, for which they would be compiled twice.
GOGC=400 nice -n 19 make staticcheck STATICCHECK='-tests=false -checks=inherit,-U1000' &
lint=$!
good=yes
make test && make -j6 faults-short fuzz-short bench-short matrix-short soak-short deploy || good=no
wait $lint
[ $good = yes ]
