# SPDX-License-Identifier: MIT
# gcc on a generated program of two thousand lines, at several levels; the objects are compared by the caller.
set -euo pipefail

awk 'BEGIN {
	print "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>"
	for (i = 0; i < 80; i++) {
		printf "struct s%d { int a[%d]; const char *name; double d; };\n", i, i % 17 + 1
		printf "static const char *const text%d = \"text number %d\";\n", i, i * 31 % 1009
		printf "int f%d(struct s%d *p, int n)\n{\n\tint sum = %d;\n", i, i, i
		printf "\tfor (int i = 0; i < n; i++) {\n"
		printf "\t\tp->a[i %% %d] += i * %d;\n", i % 17 + 1, i % 13 + 2
		printf "\t\tswitch (i & 7) {\n"
		for (k = 0; k < 6; k++)
			printf "\t\tcase %d: sum ^= p->a[%d] << %d; break;\n", k, k % (i % 17 + 1), k
		printf "\t\tdefault: sum += (int)strlen(text%d);\n\t\t}\n\t}\n", i
		printf "\tp->d = sum * 0.5;\n\tp->name = text%d;\n\treturn sum;\n}\n", i
	}
	print "int main(void)\n{\n\tunsigned total = 0;"
	for (i = 0; i < 80; i++)
		printf "\t{ struct s%d x = { { 1 } }; total = total * 31 + f%d(&x, %d) + (int)x.d; }\n", i, i, i % 40 + 10
	print "\tprintf(\"%u\\n\", total);\n\treturn 0;\n}"
}' >big.c
wc -l big.c

cat >mistake.c <<'END'
#include <stdio.h>
int f(int *p) { char *q = p; return printf("%s %d\n", p, q) + undeclared; }
END

gcc -O0 -g -frandom-seed=1 -c big.c -o big-O0.o
gcc -O2 -Wall -frandom-seed=1 -c big.c -o big-O2.o
gcc -O1 -frandom-seed=1 -pipe -S big.c -o big.s
gcc big-O2.o -o big
./big >big.out
./big
gcc -O1 -flto=2 -frandom-seed=1 big.c -o big-lto
./big-lto
# Diagnostics walk other paths; the exit status is part of what is compared.
status=0
gcc -c mistake.c || status=$?
echo "mistake: $status"
ar rcD libbig.a big-O0.o big-O2.o
nm libbig.a | md5sum
strip -o big-stripped.o big-O0.o
objdump -d big-O2.o | md5sum
