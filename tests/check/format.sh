#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The C and C++ files of the repository stand as .clang-format lays them out. `format.sh --fix` makes it so.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

case ${1-} in
'') mode=(--dry-run -Werror) ;;
--fix) mode=(-i) ;;
*)
	echo "usage: format.sh [--fix]" >&2
	exit 2
	;;
esac
if ! type -P clang-format >/dev/null; then
	echo "skipped: no clang-format" >&2
	exit 77
fi

directories=()
for directory in src include bench tests tools; do
	[[ ! -d $directory ]] || directories+=("$directory")
done
find "${directories[@]}" -type f \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) -print0 |
	xargs -0 -r clang-format --style=file "${mode[@]}"
