/* SPDX-License-Identifier: MIT */
/*
 * test_fmt.c - the formatter, its output, and sizes as text. fuzz_fmt compares it with snprintf at length.
 */
#include "unit.h"

#include "lib/fmt.h"

#include <limits.h>
#include <string.h>

#define CHECK_FORMAT(expected, ...)                                                                \
	do {                                                                                       \
		char buf[256];                                                                     \
		size_t len = fmt_format(buf, sizeof(buf), __VA_ARGS__);                            \
		if (strcmp(buf, expected) != 0)                                                    \
			fprintf(stderr, "'%s', not '%s'\n", buf, expected);                        \
		CHECK(!strcmp(buf, expected));                                                     \
		CHECK_EQ(len, strlen(expected));                                                   \
	} while (0)

static void numbers_read_as_printf_writes_them(void)
{
	CHECK_FORMAT("0 -1 4294967295", "%d %d %u", 0, -1, UINT_MAX);
	CHECK_FORMAT("-2147483648", "%d", INT_MIN);
	CHECK_FORMAT("-9223372036854775808 18446744073709551615", "%ld %lu", LONG_MIN, ULONG_MAX);
	CHECK_FORMAT("ff 1234567890abcdef", "%x %lx", 255U, 0x1234567890abcdefUL);
	CHECK_FORMAT("0x10", "%p", (void *)16);
	CHECK_FORMAT("17 %", "%zu %%", (size_t)17);
}

static void width_pads_on_the_side_that_is_asked_for(void)
{
	CHECK_FORMAT("[   42][42   ][00042]", "[%5d][%-5d][%05d]", 42, 42, 42);
	CHECK_FORMAT("[-0042][  -42]", "[%05d][%5d]", -42, -42);
	CHECK_FORMAT("[  ab][ab  ][abcdef]", "[%4s][%-4s][%4s]", "ab", "ab", "abcdef");
	CHECK_FORMAT("[  x]", "[%3c]", 'x');
}

static void no_text_has_a_word(void)
{
	const char *volatile none = NULL;

	CHECK_FORMAT("(null)", "%s", none);
}

static void what_does_not_fit_is_cut(void)
{
	char buf[8];

	CHECK_EQ(fmt_format(buf, sizeof(buf), "%s", "0123456789"), 7);
	CHECK(!strcmp(buf, "0123456"));
	CHECK_EQ(fmt_format(buf, 1, "%d", 5), 0);
	CHECK(!strcmp(buf, ""));
	CHECK_EQ(fmt_format(buf, 0, "%d", 5), 0);
}

/* Digits past any line's width once overflowed an int. */
static void width_of_many_digits_fills_the_buffer(void)
{
	char buf[16];
	const char *volatile format = "%99999999999999999999d";

	CHECK_EQ(fmt_format(buf, sizeof(buf), format, 5), sizeof(buf) - 1);
	CHECK(!strcmp(buf, "               "));
}

static void unknown_conversion_is_written_as_it_is(void)
{
	char buf[16];
	const char *volatile format = "%q %";

	CHECK_EQ(fmt_format(buf, sizeof(buf), format, 0), 3);
	CHECK(!strncmp(buf, "q ", 2));
}

static void warn_to_closed_output(void *arg)
{
	(void)arg;
	fmt_keep_output();
	close(2);
	fmt_print("kept %d\n", 1);
}

static void output_that_was_kept_outlives_descriptor_2(void)
{
	struct unit_end end = unit_child(warn_to_closed_output, NULL);

	CHECK(!strcmp(end.text, "kept 1\n"));
}

static void warn_line(void *arg)
{
	fmt_warn("no %s", (const char *)arg);
}

static void warning_is_one_line_under_our_name(void)
{
	char word[3000], expected[1100];
	struct unit_end end = unit_child(warn_line, (char *)"luck");

	CHECK(!strcmp(end.text, "libkmalloc: no luck\n"));
	memset(word, 'x', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	end = unit_child(warn_line, word);
	snprintf(expected, sizeof(expected), "libkmalloc: no %.*s\n", 1022 - 15, word);
	CHECK(!strcmp(end.text, expected));
}

static void sizes_have_the_kernel_s_letters(void)
{
	size_t value = 0;

	CHECK(fmt_parse_size("17", &value) && value == 17);
	CHECK(fmt_parse_size("64K", &value) && value == 64UL << 10);
	CHECK(fmt_parse_size("3m", &value) && value == 3UL << 20);
	CHECK(fmt_parse_size("2G", &value) && value == 2UL << 30);
	CHECK(fmt_parse_size("1t", &value) && value == 1UL << 40);
	CHECK(fmt_parse_size("18446744073709551615", &value) && value == SIZE_MAX);
}

static void malformed_sizes_change_nothing(void)
{
	static const char *const bad[] = { "",
					   "K",
					   "-1",
					   "1KB",
					   "1 ",
					   "0x10",
					   "12q",
					   "18446744073709551616",
					   "99999999999999999999",
					   "16777216T" };
	size_t value = 99;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!fmt_parse_size(bad[i], &value) && value == 99);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(numbers_read_as_printf_writes_them),
		UNIT_TEST_RAW(width_pads_on_the_side_that_is_asked_for),
		UNIT_TEST_RAW(no_text_has_a_word),
		UNIT_TEST_RAW(what_does_not_fit_is_cut),
		UNIT_TEST_RAW(width_of_many_digits_fills_the_buffer),
		UNIT_TEST_RAW(unknown_conversion_is_written_as_it_is),
		UNIT_TEST_RAW(output_that_was_kept_outlives_descriptor_2),
		UNIT_TEST_RAW(warning_is_one_line_under_our_name),
		UNIT_TEST_RAW(sizes_have_the_kernel_s_letters),
		UNIT_TEST_RAW(malformed_sizes_change_nothing),
	};

	return UNIT_MAIN(tests);
}
