/* SPDX-License-Identifier: MIT */
/*
 * fuzz_fmt.c - libFuzzer: the formatter of lib/fmt, beside the C library's.
 *
 * Bytes become one conversion with its flags, width, text around it and a value, and the size of the buffer. The
 * result is what snprintf gives, cut where the buffer ends. Formats that are no such
 * thing, raw bytes, only have to keep to the buffer. fmt_parse_size gets the bytes too.
 */
#include "lib/fmt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 600

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"

static _Noreturn void differs(const char *format, const char *own, const char *other)
{
	printf("fuzz_fmt: format '%s' gives '%s', snprintf '%s'\n", format, own, other);
	fflush(NULL);
	abort();
}

static size_t format_into(char *buf, size_t room, const char *format, ...)
{
	va_list args;
	size_t len;

	va_start(args, format);
	len = fmt_vformat(buf, room, format, args);
	va_end(args);
	return len;
}

/* `expected` is snprintf's whole text; the formatter may cut it to the room there is. */
static void compare(const char *format, const char *own, size_t len, size_t room,
		    const char *expected)
{
	size_t whole = strlen(expected), kept = whole < room ? whole : room - 1;

	if (len != kept || strlen(own) != len || memcmp(own, expected, len) != 0)
		differs(format, own, expected);
}

/* One conversion: flags, width and letter by the first bytes, the value by the next. */
static void one_conversion(const uint8_t *bytes, size_t room)
{
	static const char *const kinds[] = { "d", "u", "x", "c", "s", "ld", "lu", "lx", "zu", "p" };
	unsigned kind = bytes[0] % 10;
	char format[64], expected[MOST], *own = malloc(room);
	unsigned long value;
	size_t len = 0;

	memcpy(&value, bytes + 4, sizeof(value));
	if (!own)
		return;
	/*
	 * %s, %c and %p know no zeros, and snprintf's %p of NULL is a word. A 0 printed with
	 * precision 0 is nothing: no width.
	 */
	snprintf(format, sizeof(format), "<%%%s%s%.0d%s>", bytes[1] & 1 ? "-" : "",
		 bytes[1] & 2 && kind != 3 && kind != 4 && kind != 9 && !(bytes[1] & 1) ? "0" : "",
		 kind == 9 ? 0 : bytes[2] % 40, kinds[kind]);
	value += kind == 9 && !value;
	if (kind == 9)
		snprintf(format, sizeof(format), "<%%p>");
	switch (kind) {
	case 0 ... 2:
		len = format_into(own, room, format, (int)value);
		snprintf(expected, sizeof(expected), format, (int)value);
		break;
	case 3:
		len = format_into(own, room, format, 'a' + (int)(value % 26));
		snprintf(expected, sizeof(expected), format, 'a' + (int)(value % 26));
		break;
	case 4:
		len = format_into(own, room, format, &"text"[value % 5]);
		snprintf(expected, sizeof(expected), format, &"text"[value % 5]);
		break;
	default:
		len = format_into(own, room, format, value);
		snprintf(expected, sizeof(expected), format, value);
		break;
	}
	compare(format, own, len, room, expected);
	free(own);
}

/* Any text as a format. %s takes a pointer, so there are enough of these, valid as numbers too. */
static void any_format(const uint8_t *bytes, size_t size, size_t room)
{
	char *format = malloc(size + 1), *own = malloc(room);
	static const char word[] = "word";
	unsigned percents = 0;

	if (format && own) {
		memcpy(format, bytes, size);
		format[size] = '\0';
		for (size_t i = 0; i < size; i++)
			percents += format[i] == '%';
		if (percents <= 8 && format_into(own, room, format, word, word, word, word, word,
						 word, word, word) >= room)
			differs(format, "more than there is room for", "");
	}
	free(own);
	free(format);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	size_t room, value;
	char text[24];

	if (size < 12)
		return 0;
	room = 1 + bytes[3];
	one_conversion(bytes, room);
	any_format(bytes + 4, size - 4, room);
	memcpy(text, bytes, size < sizeof(text) ? size : sizeof(text) - 1);
	text[size < sizeof(text) ? size : sizeof(text) - 1] = '\0';
	fmt_parse_size(text, &value);
	return 0;
}
