#!/usr/bin/env bash
# Runs every fuzz test, or those in the given folders, for a time each:
# fuzz.sh 20s [FOLDER...]
set -euo pipefail
time=${1:?usage: fuzz.sh TIME [FOLDER...]}
shift
cd "$(dirname "$0")/.."
while IFS=: read -r file name; do
    package=./$(dirname "$file")
    echo "fuzz $name in $package"
    if ! out=$(go test "$package" -run='^$' -fuzz="^$name\$" -fuzztime="$time" -fuzzminimizetime=20x 2>&1); then
        printf '%s\n' "$out"
        exit 1
    fi
    tail -n 1 <<<"$out"
done < <(grep -rnoE --include='*_test.go' 'func Fuzz[A-Za-z0-9_]+' "${@:-.}" | sed -E 's#^\./##; s#:[0-9]+:func #:#' | sort)
