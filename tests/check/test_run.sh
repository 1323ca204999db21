#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tools/run hands a program its arguments, input, output, exit status, signals and environment untouched, and
# says in one line why a program does not run. Works on the build directory that the suite runs in.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/tests/check/test_run.sh}
run=$root/tools/run
lib=$root/build/libkmalloc.so
unset LD_PRELOAD KMALLOC_CMDLINE

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
failures=0

# expect NAME STATUS STDOUT STDERR COMMAND...: the standard error is a pattern, all else exact.
expect() {
	local name=$1 status=$2 out=$3 err=$4 got=0
	shift 4
	"$@" >out 2>err || got=$?
	if [[ $got != "$status" || $(<out) != "$out" || $(<err) != $err ]]; then
		printf '%s: status %s (expected %s)\nstdout: %s\nstderr: %s\n' \
			"$name" "$got" "$status" "$(<out)" "$(<err)"
		failures=$((failures + 1))
	fi
}

cat >show <<'END'
#!/bin/sh
echo "$LD_PRELOAD|$KMALLOC_CMDLINE|$lib"
END
chmod +x show
touch plain
ln -s "$run" link

expect arguments 0 '<a b><><*>' '' "$run" printf '<%s>' 'a b' '' '*'
expect input 0 'from stdin' '' bash -c 'echo "from stdin" | "$1" cat' - "$run"
expect errors 0 '' 'to stderr' "$run" sh -c 'echo "to stderr" >&2'
expect status 42 '' '' "$run" sh -c 'exit 42'
expect signal 143 '' '*' bash -c '"$1" sh -c "kill -TERM \$\$"' - "$run"
expect name 0 'sh' '' "$run" sh -c 'tr "\0" "\n" <"/proc/$$/cmdline" | head -n 1'
expect preload 0 "$lib||" '' "$run" ./show
expect preload_prepended 0 "$lib:libm.so.6||" '' env LD_PRELOAD=libm.so.6 "$run" ./show
expect environment_kept 0 "$lib||mine" '' env lib=mine "$run" ./show
expect cmdline_kept 0 "$lib|rseq=off|" '' env KMALLOC_CMDLINE=rseq=off "$run" ./show
expect link 0 "$lib||" '' ./link ./show
expect double_dash 0 "$lib||" '' "$run" -- ./show
expect help 0 "$("$run" --help)" '' "$run" --help
expect stat 0 "$lib|stat|" '*' "$run" --stat ./show
expect stat_added 0 "$lib|rseq=off stat|" '*' env KMALLOC_CMDLINE=rseq=off "$run" --stat ./show
expect stat_printed 0 '' 'slabinfo - version: 2.1*' "$run" --stat true
expect not_found 127 '' 'tools/run: no-such-program: not found' "$run" no-such-program
expect not_found_by_path 127 '' 'tools/run: ./no-such-file: not found' "$run" ./no-such-file
expect not_executable 126 '' 'tools/run: ./plain: not executable' "$run" ./plain
expect not_executable_in_path 126 '' 'tools/run: plain: not executable' env PATH="$dir:$PATH" "$run" plain
expect directory 126 '' 'tools/run: ./: is a directory' "$run" ./
expect unknown_option 2 '' "tools/run: unknown option '--nothing'*" "$run" --nothing ./show

if echo 'int main(void) { return 7; }' | cc -static -x c - -o static 2>/dev/null; then
	expect static 7 '' 'tools/run: ./static is statically linked:*' "$run" ./static
fi
# A setuid copy of another owner: only root can make one.
if [[ $EUID -eq 0 ]] && cp "$(type -P true)" other && chown 65534 other && chmod 4755 other; then
	expect setuid 0 '' 'tools/run: ./other is setuid or setgid:*' "$run" ./other
fi

[[ $failures -eq 0 ]]
