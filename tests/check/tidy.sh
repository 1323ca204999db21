#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# tidy.sh [BUILD-DIRECTORY] [FILE...]: clang-tidy (.clang-tidy) finds nothing in src, tools and bench, or in the
# files named. Each file is read as the build directory's compile_commands.json compiles it, less the options
# that only gcc knows. Tests are left out: they misuse memory on purpose.
set -euo pipefail
root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/tests/check/tidy.sh}
build=${1:-$root/build}
shift || true

for tool in clang-tidy clang python3; do
	if ! type -P "$tool" >/dev/null; then
		echo "skipped: no $tool" >&2
		exit 77
	fi
done
if [[ ! -f $build/compile_commands.json ]]; then
	echo "tidy.sh: no compile_commands.json in $build" >&2
	exit 2
fi

own=$(mktemp -d)
trap 'rm -rf "$own"' EXIT

# Writes the database for clang and prints the files to look at, each ended by a NUL.
python3 - "$root" "$build" "$own" "$@" >"$own/files" <<'END'
import json, os, re, shlex, subprocess, sys

root, build, own = (os.path.realpath(path) for path in sys.argv[1:4])
named = {os.path.realpath(path) for path in sys.argv[4:]}
tops = tuple(os.path.join(root, top) + os.sep for top in ("src", "tools", "bench"))


def wanted(path):
    return path in named if named else path.startswith(tops)


with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
    entries = json.load(file)
chosen = {}
for entry in entries:
    path = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
    if wanted(path) and path.endswith((".c", ".cc")):
        chosen.setdefault(path, dict(entry, file=path, arguments=shlex.split(entry.pop("command"))))

# clang itself says which of the options it does not know.
options = {word for entry in chosen.values() for word in entry["arguments"] if re.match("-[fm]", word)}
said = subprocess.run(["clang", "-###", "-x", "c", "-c", os.devnull, *sorted(options)],
                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False).stderr
unknown = set(re.findall("unknown argument:? '([^']*)'", said))
unknown |= set(re.findall("unsupported (?:option|argument) '([^']*)'", said))
for entry in chosen.values():
    entry["arguments"] = [word for word in entry["arguments"] if word not in unknown]
with open(os.path.join(own, "compile_commands.json"), "w", encoding="utf-8") as file:
    json.dump(list(chosen.values()), file)
sys.stdout.write("".join(path + "\0" for path in sorted(chosen)))
END

# tidy_one DATABASE-DIRECTORY FILE: what was found goes out in one piece, so that two at a time do not mix.
tidy_one() {
	local said
	if ! said=$(clang-tidy --quiet -p "$1" --extra-arg=-Wno-unknown-warning-option \
		--extra-arg=-Wno-ignored-optimization-argument "$2" 2>&1); then
		printf '%s\n' "$said" | sed 's|[^ ]*/\.\./||'
		return 1
	fi
}
export -f tidy_one

cd "$root"
xargs -0 -r -n 1 -P 2 bash -c 'tidy_one "$@"' - "$own" <"$own/files"
