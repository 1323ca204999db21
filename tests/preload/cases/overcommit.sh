# SPDX-License-Identifier: MIT
# While the system overcommits nothing (vm.overcommit_memory=2, set by the caller for the library's run), programs
# run as ever.
set -euo pipefail

[[ -z ${LD_PRELOAD-} || $(cat /proc/sys/vm/overcommit_memory) == 2 ]]
for prog in results growth lifetimes forks; do
	"$PROGS/$prog"
done
(
	ulimit -v 262144
	"$PROGS/limited" ulimit
)
seq 1 50000 | sort -r | md5sum
awk 'BEGIN { for (i = 0; i < 50000; i++) a[i] = "x" i; print length(a) }'
