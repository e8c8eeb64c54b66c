#!/usr/bin/env bash
# Runs every fuzz test, or those in the given folders, for a time each:
# fuzz.sh 20s [FOLDER...]; 500x is a number of inputs
# FUZZGUIDE=no fuzzes blindly, without instrumented packages.
# FUZZPROCS is the number of processes at a time, all processors by default.
set -euo pipefail
time=${1:?usage: fuzz.sh TIME|COUNTx [FOLDER...]}
shift
cd "$(dirname "$0")/.."
binary=$(mktemp)
guide=(-fuzz=.)
if [ "${FUZZGUIDE:-yes}" = no ]; then guide=(); fi
trap 'rm -f "$binary"' EXIT
cache=$(go env GOCACHE)/fuzz/$(go list -m)
built=
while IFS=: read -r file name; do
    folder=$(dirname "$file")
    if [ "$folder" != "$built" ]; then # once for all tests of a package
        go test -c ${guide[@]+"${guide[@]}"} -o "$binary" "./$folder"
        built=$folder
    fi
    echo "fuzz $name in ./$folder"
    # Where `go test -fuzz` keeps what it finds, so that both go on from there.
    if ! out=$(cd "$folder" && "$binary" -test.run='^$' -test.fuzz="^$name\$" -test.fuzztime="$time" -test.fuzzminimizetime=20x \
        -test.fuzzcachedir="$cache/$folder" -test.parallel="${FUZZPROCS:-$(nproc)}" 2>&1); then
        printf '%s\n' "$out"
        exit 1
    fi
    grep '^fuzz: elapsed' <<<"$out" | tail -n 1
done < <(grep -rnoE --include='*_test.go' 'func Fuzz[A-Za-z0-9_]+' "${@:-.}" | sed -E 's#^\./##; s#:[0-9]+:func #:#' | sort)
