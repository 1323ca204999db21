# SPDX-License-Identifier: MIT
# bash: many forks, pipes, command substitutions, here-documents, arrays, jobs and traps.
set -euo pipefail

sum=0
for i in {1..150}; do
	sum=$((sum + $(echo "$i" | cat | wc -c)))
done
echo "substitutions: $sum"

seq 1 5000 | sed 's/$/ x/' | grep -v 7 | tr x y | sort -r | uniq | sed -n '1998,2000p'

declare -A table
for i in {1..4000}; do
	table[key$((i * 7919 % 4001))]=$i
done
for i in {1..4000..3}; do
	unset "table[key$i]"
done
printf '%s\n' "${!table[@]}" | sort | md5sum
long=
for i in {1..3000}; do
	long+="part $i "
done
read -ra words <<<"$long"
echo "${#long} ${#words[@]} ${words[-1]} ${long//part/whole}" | md5sum

nested() {
	local depth=$1
	if ((depth == 0)); then
		echo leaf
	else
		echo "$depth $(nested $((depth - 1)))"
	fi
}
nested 25

pids=()
for i in {1..30}; do
	(
		declare -a mine
		for j in {1..50}; do mine+=("$i.$j"); done
		echo "${mine[*]}" >"job$i"
		exit $((i % 3))
	) &
	pids+=($!)
done
failed=0
for job in "${pids[@]}"; do
	wait "$job" || failed=$((failed + 1))
done
echo "jobs: $failed failed"
cat job{1..30} | md5sum
diff <(sort job1 | tr ' ' '\n') <(tr ' ' '\n' <job1) && echo "process substitution: same"
mapfile -t lines < <(seq 1 3000)
echo "${#lines[@]} ${lines[2999]}"
trap 'echo trapped $((sum % 7)); free=$(echo in a trap)' USR1
for _ in {1..10}; do
	kill -USR1 $$
done
cat <<END | md5sum
$(for i in {1..50}; do echo "line $i of $(printf '%s' "$i" | cat)"; done)
END
text=abc123def
[[ $text =~ ([a-z]+)([0-9]+)(.*) ]] && echo "${BASH_REMATCH[*]}"
printf -v text '%0500d' 7
echo "${text:490} ${text^^}" | md5sum
coproc back { while read -r line; do echo "back: $line"; done; }
for i in 1 2 3; do
	echo "$i" >&"${back[1]}"
	read -r answer <&"${back[0]}"
	echo "$answer"
done
