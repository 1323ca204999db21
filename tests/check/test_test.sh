#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tools/test, as a user who may not write to the directories that it builds and tests in: one line, and nothing is run.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/tests/check/test_test.sh}

# To root everything is writable: then it is called as nobody.
other=()
if [[ $EUID -eq 0 ]]; then
	type -P setpriv >/dev/null || {
		echo "skipped: no setpriv, and root may write everywhere"
		exit 77
	}
	other=(setpriv --reuid=65534 --regid=65534 --clear-groups)
fi

dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
mkdir -p "$dir/source/tools"
cp "$root"/tools/{test,build,deps} "$dir/source/tools"
chmod 755 "$dir" "$dir/source" "$dir/source/tools"
cd /
failures=0

# refused NAME PATH ARGUMENTS...: it names that path.
refused() {
	local name=$1 path=$2 got=0
	shift 2
	"${other[@]}" "$dir/source/tools/test" "$@" >"$dir/out" 2>"$dir/err" || got=$?
	if [[ $got != 1 || -s $dir/out || $(wc -l <"$dir/err") != 1 ||
		$(<"$dir/err") != "tools/test: "*" may not write to $dir/source$path, where "* ]]; then
		printf '%s: status %s\nstdout: %s\nstderr: %s\n' "$name" "$got" "$(<"$dir/out")" "$(<"$dir/err")"
		failures=$((failures + 1))
	fi
}

chmod a-w "$dir/source"
refused nothing_is_built ''
chmod u+w "$dir/source"
mkdir -p "$dir/source/build/meson-logs" "$dir/source/build-debug"
touch "$dir"/source/build{,-debug}/libkmalloc.so
chmod a-w "$dir/source/build"
refused somebody_elses_build /build --suite check
chmod a+w "$dir/source/build"
chmod a-w "$dir/source/build/meson-logs"
refused somebody_elses_logs /build/meson-logs --suite check
refused list /build/meson-logs --list
chmod a+w "$dir/source/build/meson-logs"
touch "$dir/source/build/meson-logs/testlog.txt"
chmod a-w "$dir/source/build/meson-logs/testlog.txt"
refused somebody_elses_log /build/meson-logs/testlog.txt --suite check
rm -f "$dir/source/build/meson-logs/testlog.txt"
chmod a-w "$dir/source/build-debug"
refused somebody_elses_debug_build /build-debug --suite unit

[[ $failures -eq 0 ]]
