# SPDX-License-Identifier: MIT
# git on a generated repository: commits, branches, merges, repacking, checks; all dates and names are fixed.
set -euo pipefail

export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org
export GIT_CONFIG_NOSYSTEM=1 GIT_PAGER=cat
day=1600000000
commit() {
	day=$((day + 3600))
	GIT_AUTHOR_DATE="$day +0000" GIT_COMMITTER_DATE="$day +0000" git commit -q -a -m "$1"
}

git init -q -b main repo
cd repo
git config gc.auto 0
git config pack.threads 2
mkdir -p src/deep/er doc
for i in {1..120}; do
	awk -v i="$i" 'BEGIN { for (n = 0; n < 60 + i; n++) print "line", n, (n * i * 7919) % 10007 }' >"src/f$i.txt"
done
awk 'BEGIN { for (n = 0; n < 40000; n++) print n, (n * 7919) % 100003 }' >doc/long.txt
cp src/f1*.txt src/deep/er/
git add .
commit first
for round in {1..8}; do
	awk -v r="$round" 'NR % 10 == r { $0 = $0 " changed in " r } { print }' doc/long.txt >doc/next
	mv doc/next doc/long.txt
	sed -i "${round}s/\$/ round $round/" src/f"$round".txt src/f1?.txt
	commit "round $round"
done
git checkout -q -b side HEAD~4
git mv src/f50.txt src/moved.txt
sed -i '3d' src/moved.txt
commit side
git checkout -q main
GIT_AUTHOR_DATE="$((day + 9)) +0000" GIT_COMMITTER_DATE="$((day + 9)) +0000" git merge -q --no-edit side
GIT_COMMITTER_DATE="$day +0000" git tag -a -m tagged v1 HEAD
git log --format='%H %T %s' --graph
git log --stat -M -3 | md5sum
git blame -s doc/long.txt | md5sum
git grep -c 'changed in 3' -- doc
git diff HEAD~5 | md5sum
git gc -q --prune=now
git fsck --full --strict 2>&1
git count-objects -v | grep -E '^(count|packs|garbage):'
git rev-list --objects --all | cut -d ' ' -f 1 | sort | md5sum
git archive HEAD | md5sum
cd ..
git clone -q repo copy
git -C copy rev-parse HEAD
git -C copy status --short
git -C copy fsck 2>&1
GIT_COMMITTER_DATE="$day +0000" git -C copy rebase -q HEAD~2 2>&1
git -C copy stash list
git -C copy cherry -v HEAD~1
git -C copy rev-parse no-such-thing 2>&1 || echo "status $?"
