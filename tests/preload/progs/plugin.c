/* SPDX-License-Identifier: MIT */
/* The library that dlopen.c opens: allocates in its constructor, frees in its destructor. */
#include <stdlib.h>
#include <string.h>

#define COUNT 64

static char *kept[COUNT];

__attribute__((constructor)) static void plugin_load(void)
{
	for (int i = 0; i < COUNT; i++) {
		kept[i] = malloc(i * 50 + 1);
		if (kept[i] == NULL)
			abort();
		memset(kept[i], i, i * 50 + 1);
	}
}

__attribute__((destructor)) static void plugin_unload(void)
{
	for (int i = 0; i < COUNT; i++)
		free(kept[i]);
}

/* How many of the constructor's objects still hold what was written. */
int plugin_check(void)
{
	int good = 0;

	for (int i = 0; i < COUNT; i++)
		good += kept[i][0] == i && kept[i][i * 50] == i;
	return good;
}

/* Given to the caller, who frees it. */
char *plugin_give(size_t n)
{
	char *p = malloc(n);

	if (p != NULL)
		memset(p, 'g', n);
	return p;
}

void plugin_take(char *p)
{
	free(p);
}
