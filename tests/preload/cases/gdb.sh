# SPDX-License-Identifier: MIT
# gdb, without a program to debug: expressions, its own Python, and the symbols of a large file.
set -euo pipefail

gdb -nx -q -batch -ex 'print 6 * 7' -ex 'print sizeof(long)' -ex 'ptype int' -ex 'python print(sum(range(1000)))'
gdb -nx -q -batch -ex 'info functions ^main$' -ex 'info symbol main' /bin/bash
