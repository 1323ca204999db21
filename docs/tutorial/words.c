/* SPDX-License-Identifier: MIT
 *
 * The helper of count.py, in C: a copy of a word in lower case. The copy is the caller's to free.
 *
 *   cc -g -O2 -shared -fPIC -o libwords.so words.c
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

char *words_normalise(const char *word);
void words_free(char *copy);

char *words_normalise(const char *word)
{
	char *copy = malloc(strlen(word) + 1);

	for (size_t i = 0; copy && (copy[i] = (char)tolower((unsigned char)word[i])); i++)
		;
	return copy;
}

void words_free(char *copy)
{
	free(copy);
}
