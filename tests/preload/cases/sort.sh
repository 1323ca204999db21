# SPDX-License-Identifier: MIT
# sort with threads on 300,000 lines, by memory and by temporary files, and its friends.
set -euo pipefail

awk 'BEGIN { x = 1; for (i = 0; i < 300000; i++) { x = (x * 48271) % 2147483647; print x, i % 1000, "line" x % 77 } }' >lines
sort --parallel=4 lines >by-text
md5sum <by-text
sort --parallel=4 -n -k 2,2 -k 1,1nr lines | md5sum
sort --parallel=4 -S 4M -T . -k 3 lines | md5sum
sort -c by-text && echo sorted
status=0
sort -c lines 2>/dev/null || status=$?
echo "unsorted: $status"
cut -d ' ' -f 3 lines | sort --parallel=2 | uniq -c | sort -k 1,1nr -k 2 | sed -n '1,5p'
awk '{ print $2, $1 }' lines | sort -k 1,1 -s >left
seq 0 2 999 | sort >right
join left right | md5sum
comm -12 <(cut -d ' ' -f 1 left | uniq) right | wc -l
shuf --random-source=lines -n 1000 lines | md5sum
split -n l/7 lines part.
cat part.?? | cmp - lines && echo "split and cat: same"
tac lines | tail -n 1
