# SPDX-License-Identifier: MIT
# clang, with its integrated assembler and its analyser, on C that is generated.
set -euo pipefail

awk 'BEGIN {
	print "#include <stdio.h>\n#include <stdlib.h>"
	for (i = 0; i < 150; i++) {
		printf "static int g%d(const int *p, int n)\n{\n\tint s = %d;\n", i, i
		printf "\tfor (int i = 0; i < n; i++)\n\t\ts = s * %d + (p[i] ^ %d);\n\treturn s;\n}\n", i % 9 + 3, i
	}
	print "int main(void)\n{\n\tint v[64], t = 0;\n\tfor (int i = 0; i < 64; i++)\n\t\tv[i] = i * i;"
	for (i = 0; i < 150; i++)
		printf "\tt ^= g%d(v, %d);\n", i, i % 60 + 4
	print "\tprintf(\"%d\\n\", t);\n\treturn 0;\n}"
}' >many.c

clang -O2 -c many.c -o many.o
clang -O0 -g -c many.c -o many-g.o
clang many.o -o many
./many >many.out
./many
clang --analyze --analyzer-output text many.c
clang -O1 -S -emit-llvm many.c -o - | md5sum
