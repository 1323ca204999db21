# SPDX-License-Identifier: MIT
# xz with two threads, several levels and formats, to files and back.
set -euo pipefail

awk 'BEGIN { x = 3; for (i = 0; i < 150000; i++) { x = (x * 48271) % 2147483647; printf "%d some text %s\n", x % 5003, x % 3 } }' >data
xz -k -T2 -3 --block-size=512KiB data
xz -t data.xz
xz -dc -T2 data.xz | cmp - data && echo "threads: same"
xz -k -6 -c data >six.xz
xz -dc six.xz | cmp - data && echo "level 6: same"
xz -k -0 --format=lzma -c data >data.lzma
xz -dc data.lzma | cmp - data && echo "lzma: same"
xz --list --robot data.xz | tail -n 1
head -c 5000 data.xz >cut.xz.part
status=0
xz -dc <cut.xz.part >/dev/null 2>&1 || status=$?
echo "cut short: $status"
# A limit that cannot be kept is refused.
status=0
xz -9 -M 1MiB --no-adjust -c data >/dev/null 2>&1 || status=$?
echo "memory limit: $status"
