# SPDX-License-Identifier: MIT
# A shell script as build systems have them: subshells, pipes, small commands.
set -euo pipefail

total=0
for i in {1..150}; do
	name="file-$i.c"
	base=$(echo "${name%.c}")
	number=$( (IFS=-; set -- $base; echo "$2") )
	upper=$(echo "$base" | tr a-z A-Z)
	/bin/true
	total=$((total + number + ${#upper}))
done

declare -A seen
for i in {1..20000}; do
	key="key$((i % 3000))"
	seen[$key]="${seen[$key]:-}x"
done
echo "$((total + ${#seen[@]}))"
