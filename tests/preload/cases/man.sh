# SPDX-License-Identifier: MIT
# man and its pipeline of helpers, which shut themselves in with seccomp filters.
set -euo pipefail
unset MAN_DISABLE_SECCOMP
export MANWIDTH=80

{
	echo '.TH TEST 1 "2020-01-01" "test" "a page"'
	echo '.SH NAME'
	echo 'test \- a page with many paragraphs'
	for i in {1..300}; do
		printf '.SS Section %d\nWords \\fBin bold\\fP and \\fIitalic\\fP, number %d.\n.PP\n' "$i" $((i * 37))
	done
	printf '.TS\nbox;\nl r.\none\t1\ntwo\t2\n.TE\n.SH END\n'
} >page.1
man -P cat -l page.1
gzip -nk page.1
man -P cat -l ./page.1.gz | md5sum
MANPAGER="cat" man -l page.1 | tail -n 3
man -Tutf8 -P cat -l page.1 | md5sum
# Not everywhere are the manual's pages installed; what there is must read the same.
man -P cat ls 2>&1 | sed -n '1,40p' || true
man -w ls 2>&1 || echo "status $?"
man -k nothing-has-this-name 2>&1 || echo "status $?"
man -P cat no-such-page 2>&1 || echo "status $?"
if command -v mandoc >/dev/null; then
	mandoc page.1 | md5sum
fi
groff -man -Tascii page.1 | md5sum
