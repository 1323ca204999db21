#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# analyzer.sh [BUILD-DIRECTORY] [FILE...]: gcc's own analyzer (-fanalyzer) finds nothing in src, or in the files named. In the entry
# points it is not asked about leaks: it takes malloc itself for a program that calls malloc and loses what it got.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/tests/check/analyzer.sh}
build=${1:-$root/build}
shift || true
cd "$root"
if ! type -P gcc >/dev/null || ! echo 'int x;' | gcc -fanalyzer -x c -c -o /dev/null - 2>/dev/null; then
	echo "skipped: no gcc with -fanalyzer" >&2
	exit 77
fi
# -O2 finds most, since it sees through small functions; debug checks tell it what holds
options=(-std=gnu11 -D_GNU_SOURCE -DDEBUG_CHECKS -O2 -fanalyzer -Werror -Wall -Wextra -Wno-missing-field-initializers -Isrc -Iinclude
	-I"$build/src" -ftls-model=initial-exec -c -o /dev/null)

analyze_one() {
	local more=()
	[[ $1 != src/interpose/* ]] || more=(-Wno-analyzer-malloc-leak)
	gcc "${@:2}" "${more[@]}" "$1"
}
export -f analyze_one

files=("$@")
[[ ${#files[@]} -gt 0 ]] || mapfile -t files < <(find src -name '*.c' | sort)
printf '%s\0' "${files[@]}" | xargs -0 -r -n 1 -P 2 bash -c 'analyze_one "${@: -1}" "${@:1:$#-1}"' - "${options[@]}"
