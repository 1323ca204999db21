# SPDX-License-Identifier: MIT
# zstd with two threads, and with a dictionary that it trains.
set -euo pipefail

awk 'BEGIN { x = 3; for (i = 0; i < 300000; i++) { x = (x * 48271) % 2147483647; printf "%d some text %s\n", x % 5003, x % 3 } }' >data
zstd -q -T2 -3 data -o three.zst
zstd -q -19 -T2 -B1M <(head -c 300000 data) -c >nineteen.zst
zstd -q --long=24 data -c >long.zst
for packed in three long; do
	zstd -q -dc "$packed.zst" | cmp - data && echo "$packed: same"
done
zstd -q -dc nineteen.zst | cmp - <(head -c 300000 data) && echo "nineteen: same"
split -b 2000 data sample.
zstd -q --train sample.* -o dictionary --maxdict=8192
zstd -q -D dictionary sample.aa -c >small.zst
zstd -q -D dictionary -dc small.zst | cmp - sample.aa && echo "dictionary: same"
