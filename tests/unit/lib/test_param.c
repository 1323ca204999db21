/* SPDX-License-Identifier: MIT */
/*
 * test_param.c - KMALLOC_CMDLINE: values, and one line for each word that is none.
 */
#include "unit.h"

#include "lib/param.h"

#include <string.h>

static void parse(void *arg)
{
	param_parse(arg);
}

/* What the parser says of a command line. */
static struct unit_end said(const char *cmdline)
{
	return unit_child(parse, (void *)(uintptr_t)cmdline);
}

static void every_kind_of_value_is_stored(void)
{
	param_parse(
		" stat  kswapd=on\thelp=1\nrseq=cpu_id foreign_free=panic vmalloc.lazy_max=64K page.dirty_max=0 ");
	CHECK(params.stat && params.kswapd && params.help);
	CHECK_EQ(params.rseq, PARAM_RSEQ_CPU_ID);
	CHECK_EQ(params.foreign_free, PARAM_FOREIGN_PANIC);
	CHECK_EQ(params.vmalloc_lazy_max, 65536);
	CHECK_EQ(params.page_dirty_max, 0);
}

static void each_spelling_of_no_is_no(void)
{
	static const char *const words[] = { "stat=0", "stat=n", "stat=no", "stat=off" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		params.stat = true;
		param_parse(words[i]);
		CHECK(!params.stat);
	}
}

static void last_word_wins(void)
{
	param_parse("transparent_hugepage=always transparent_hugepage=never");
	CHECK_EQ(params.thp, PARAM_THP_NEVER);
}

static void bad_words_are_named_and_skipped(void)
{
	static const char *const values[] = {
		"stat=maybe",	  "rseq=fast",		 "rseq",
		"page.dirty_max", "page.dirty_max=lots", "reclaim.age_ms="
	};
	char long_word[200];
	struct unit_end end;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		end = said(values[i]);
		CHECK(strstr(end.text, "bad value") &&
		      strchr(end.text, '\n') == strrchr(end.text, '\n'));
	}
	end = said("nosuch=1");
	CHECK(!strcmp(end.text,
		      "libkmalloc: unknown parameter 'nosuch' in KMALLOC_CMDLINE is ignored; "
		      "KMALLOC_CMDLINE=help lists the parameters\n"));
	memset(long_word, 'w', sizeof(long_word) - 1);
	long_word[sizeof(long_word) - 1] = '\0';
	end = said(long_word);
	CHECK(strstr(end.text, "a word of 199 bytes"));
	CHECK_EQ(params.rseq, PARAM_RSEQ_AUTO);
}

static void print_help(void *arg)
{
	(void)arg;
	param_print_help();
}

static void help_names_every_parameter(void)
{
	struct unit_end end = unit_child(print_help, NULL);

	for (const struct param *param = param_table; param->name; param++)
		CHECK(strstr(end.text, param->name) && strstr(end.text, param->help));
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(every_kind_of_value_is_stored),
		UNIT_TEST_RAW(each_spelling_of_no_is_no),
		UNIT_TEST_RAW(last_word_wins),
		UNIT_TEST_RAW(bad_words_are_named_and_skipped),
		UNIT_TEST_RAW(help_names_every_parameter),
	};

	return UNIT_MAIN(tests);
}
