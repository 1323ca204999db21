#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# cppcheck.sh [FILE...]: cppcheck finds nothing in src, bench and the tests' own model and torture programs, or in the files
# named; src with and without the checks of debug builds. Where it has to be wrong, a comment
# `cppcheck-suppress` at the place says why. It can't read the restartable sequences' assembly: tests/check/plain/ has
# them in C for it.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
if ! type -P cppcheck >/dev/null; then
	echo "skipped: no cppcheck" >&2
	exit 77
fi

check() {
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--suppress=missingInclude --suppress=missingIncludeSystem -D_GNU_SOURCE -D__x86_64__ '-D__has_attribute(x)=0' \
		-Itests/check/plain -Isrc -Iinclude -Ibench -Ibench/gbench -Ibench/micro -Itests/model -Itests/torture "$@"
}

if [[ $# -gt 0 ]]; then
	check "$@"
	exit
fi
check src
check -DDEBUG_CHECKS src
mapfile -t programs < <(find bench tests/model -name '*.c' | sort)
check "${programs[@]}"
# A failed check ends these, which cppcheck does not see; and what they leak or throw away is meant so.
mapfile -t programs < <(find tests/torture -name '*.c' | sort)
check --suppress=nullPointerRedundantCheck --suppress=nullPointerArithmeticRedundantCheck --suppress=ctunullpointer \
	--suppress=memleakOnRealloc --suppress=leakReturnValNotUsed "${programs[@]}"
