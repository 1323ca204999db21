# SPDX-License-Identifier: MIT
# The small tools of every day.
set -euo pipefail

mkdir -p tree/{a,b,c}/{1,2,3}
for dir in tree/*/*; do
	for i in {1..8}; do
		seq "$i" 40 | sed "s|\$| $dir|" >"$dir/file$i"
	done
done
find tree -type f -name 'file[2-5]' -size -4 -newermt 2000-01-01 | sort | md5sum
find tree -type f -print0 | sort -z | xargs -0 -n 20 cat | md5sum
grep -rn '1[0-9] tree/b' tree | sort | md5sum
grep -rE -o '(a|b)/[12]' tree | sort | uniq -c
echo 'aaa bbb aaa' | grep -oP '(?<=a )b+'
sed -E -n 's/^([0-9]+) (.*)$/\2=\1/p; /39/{=;h;x;p}' tree/a/1/file1 | md5sum
seq 1 20000 | sed -n '1!G;h;$p' | sed -n '1,3p'
awk '{ n[$2] += $1; line[NR] = $0 } END { for (k in n) print k, n[k]; print length(line) }' tree/*/*/* | sort
awk 'BEGIN { s = "x"; for (i = 0; i < 16; i++) s = s s; gsub(/x/, "yz", s); print length(s); print substr(s, 1, 9) }'
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf tree.tar tree
mkdir out
tar -xf tree.tar -C out
diff -r tree out/tree && echo "tar: same"
tar -tf tree.tar | wc -l
gzip -n -9 -c tree.tar | gzip -dc | cmp - tree.tar && echo "gzip: same"
if command -v bzip2 >/dev/null; then
	bzip2 -c tree.tar | bzip2 -dc | cmp - tree.tar && echo "bzip2: same"
fi
if command -v bc >/dev/null; then
	echo 'scale = 400; 4 * a(1); 2 ^ 4000 % 10 ^ 60' | bc -l | tr -d '\\\n'
	echo
fi
if command -v jq >/dev/null; then
	seq 1 3000 | jq -c -s 'map({k: "k\(. % 50)", v: .}) | group_by(.k) | map({(.[0].k): (map(.v) | add)}) | add' | md5sum
fi
(diff -u tree/a/1/file1 tree/a/1/file2 || true) | tail -n +3 | md5sum
diff -u tree/a/1/file1 tree/a/1/file2 --label one --label two >change || true
cp tree/a/1/file1 patched
if command -v patch >/dev/null; then
	patch -s patched change && cmp patched tree/a/1/file2 && echo "patch: same"
fi
# shellcheck disable=SC2012
ls -lR --time-style=+ tree | awk '{ print $1, $5, $6 }' | md5sum
du -a --apparent-size tree | wc -l
# shellcheck disable=SC2003
expr 12345 \* 6789
date -u -d '2020-02-29 12:00 +1 year' +%F
printf '%s\n' "$(printf 'ä' | od -An -tx1)" "$(echo test | base64)" "$(echo test | sha256sum)" "$(factor 1234567890123)"
ls -d / no-such-file 2>&1 || echo "status $?"
env -i /usr/bin/env | sort
nl tree/a/1/file1 | paste - tree/b/1/file1 | column -t 2>/dev/null | md5sum
