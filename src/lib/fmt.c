/* SPDX-License-Identifier: MIT */
/*
 * fmt.c - a small formatter for reports and statistics.
 *
 * The kernel's counterpart is lib/vsprintf.c. Only what reports need is here.
 * The output is built in the caller's (or a stack) buffer and written by one
 * write, so lines of several threads do not mix.
 */
#include "lib/fmt.h"

#include "lib/port.h"

#define LINE_MAX_BYTES 1024
#define WIDTH_MAX LINE_MAX_BYTES /* from there on more digits are skipped: no line is so wide */

static int output_fd = 2; /* of fmt_print(); written at start-up only */

struct out {
	char *buf;
	size_t size; /* with room for the final 0 */
	size_t len;
};

static void put(struct out *out, char c)
{
	if (out->len + 1 < out->size)
		out->buf[out->len++] = c;
}

static void put_padded(struct out *out, const char *text, size_t len, int width, bool left,
		       char fill)
{
	size_t pad = width > 0 && (size_t)width > len ? (size_t)width - len : 0;

	for (; !left && pad; pad--)
		put(out, fill);
	for (size_t i = 0; i < len; i++)
		put(out, text[i]);
	for (; pad; pad--)
		put(out, ' ');
}

static size_t digits(char *end, unsigned long value, unsigned base)
{
	char *p = end;

	do {
		*--p = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	return (size_t)(end - p);
}

static void put_number(struct out *out, unsigned long value, unsigned base, bool negative,
		       int width, bool left, bool zero)
{
	char text[32];
	char *end = text + sizeof(text);
	size_t len = digits(end, value, base);

	if (negative && zero) {
		put(out, '-');
		put_padded(out, end - len, len, width - 1, left, '0');
		return;
	}
	if (negative)
		end[-(long)++len] = '-';
	put_padded(out, end - len, len, width, left, zero ? '0' : ' ');
}

static unsigned long fetch(va_list *args, bool is_long, bool is_signed, bool *negative)
{
	if (!is_signed)
		return is_long ? va_arg(*args, unsigned long) : va_arg(*args, unsigned);

	long value = is_long ? va_arg(*args, long) : va_arg(*args, int);

	*negative = value < 0;
	return value < 0 ? 0UL - (unsigned long)value : (unsigned long)value;
}

static const char *put_conversion(struct out *out, const char *p, va_list *args)
{
	bool left = false, zero = false, is_long = false, negative = false;
	int width = 0;

	for (; *p == '-' || *p == '0'; p++) {
		left |= *p == '-';
		zero |= *p == '0';
	}
	for (; *p >= '0' && *p <= '9'; p++)
		if (width < WIDTH_MAX)
			width = width * 10 + (*p - '0');
	for (; *p == 'l' || *p == 'z'; p++)
		is_long = true;

	const char *text;
	unsigned long value;
	char c;

	switch (*p) {
	case 's':
		text = va_arg(*args, const char *);
		text = text ? text : "(null)";
		put_padded(out, text, __builtin_strlen(text), width, left, ' ');
		break;
	case 'c':
		c = (char)va_arg(*args, int);
		put_padded(out, &c, 1, width, left, ' ');
		break;
	case 'd':
		value = fetch(args, is_long, true, &negative);
		put_number(out, value, 10, negative, width, left, zero);
		break;
	case 'u':
		put_number(out, fetch(args, is_long, false, &negative), 10, false, width, left,
			   zero);
		break;
	case 'p':
		put(out, '0');
		put(out, 'x');
		is_long = true;
		/* fall through */
	case 'x':
		put_number(out, fetch(args, is_long, false, &negative), 16, false, width, left,
			   zero);
		break;
	default:
		put(out, *p);
		break;
	}
	return *p ? p + 1 : p;
}

size_t fmt_vformat(char *buf, size_t size, const char *format, va_list args)
{
	struct out out = { buf, size, 0 };
	va_list copy;

	va_copy(copy, args);
	while (*format) {
		if (*format != '%')
			put(&out, *format++);
		else
			format = put_conversion(&out, format + 1, &copy);
	}
	va_end(copy);
	if (size)
		buf[out.len] = '\0';
	return out.len;
}

size_t fmt_format(char *buf, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	size_t len = fmt_vformat(buf, size, format, args);
	va_end(args);
	return len;
}

void fmt_print(const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	va_list args;

	va_start(args, format);
	size_t len = fmt_vformat(line, sizeof(line), format, args);
	va_end(args);
	port_write(output_fd, line, len);
}

void fmt_keep_output(void)
{
	int fd = port_dup(2);

	if (fd >= 0)
		output_fd = fd;
}

void fmt_warn(const char *format, ...)
{
	char line[LINE_MAX_BYTES];
	va_list args;
	size_t len = fmt_format(line, sizeof(line), "libkmalloc: ");

	va_start(args, format);
	len += fmt_vformat(line + len, sizeof(line) - len - 1, format, args);
	va_end(args);
	line[len++] = '\n';
	port_write(2, line, len);
}

bool fmt_parse_size(const char *text, size_t *value)
{
	size_t n = 0;
	unsigned shift = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (size_t)(*text - '0'), &n))
			return false;
	switch (*text | 0x20) {
	case 't':
		shift += 10;
		/* fall through */
	case 'g':
		shift += 10;
		/* fall through */
	case 'm':
		shift += 10;
		/* fall through */
	case 'k':
		shift += 10;
		text++;
		break;
	default:
		break;
	}
	if (*text || (shift && n >> (64 - shift)))
		return false;
	*value = n << shift;
	return true;
}
