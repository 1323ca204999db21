/* SPDX-License-Identifier: MIT */
/* say.c - what is said to the user. */
#include "say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int output_error;

static void line(const char *format, va_list args)
{
	/* what can't be written is gone by then, and so is why, at the end */
	if (fflush(stdout) != 0 && !output_error)
		output_error = errno;
	fputs("kmem: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

int say_output_error(void)
{
	return output_error;
}

int say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line(format, args);
	va_end(args);
	return -1;
}

void give_up(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line(format, args);
	va_end(args);
	exit(1);
}

static void *have(void *memory)
{
	if (!memory)
		give_up("no memory");
	return memory;
}

void *xmalloc(unsigned long size)
{
	return have(malloc(size ? size : 1));
}

void *xcalloc(unsigned long count, unsigned long size)
{
	return have(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *memory, unsigned long size)
{
	return have(realloc(memory, size ? size : 1));
}

void *xgrow(void *array, unsigned long *room, unsigned long count, unsigned long size)
{
	if (count < *room)
		return array;
	*room = *room * 2 + 64;
	return xrealloc(array, *room * size);
}

char *xstrdup(const char *text)
{
	return have(strdup(text));
}

char *clean_text(char *text)
{
	for (unsigned char *at = (unsigned char *)text; *at; at++) {
		if (*at < ' ' || *at == 0x7f)
			*at = '?';
		/* U+0080 to U+009F are control characters as well */
		if (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
			at[0] = at[1] = '?';
	}
	return text;
}
