/* SPDX-License-Identifier: MIT */
/*
 * param.c - parse KMALLOC_CMDLINE against the table.
 *
 * The kernel's counterpart is kernel/params.c: a bool without a value is true;
 * y, yes, 1, on and n, no, 0, off are understood. No allocation, no stdio; the
 * text is only read.
 */
#include "lib/param.h"

#include "lib/fmt.h"

#include <string.h>

#define WORD_MAX_BYTES 128

static bool parse_bool(const char *value, bool *result)
{
	static const char *const yes[] = { "1", "y", "yes", "on" };
	static const char *const no[] = { "0", "n", "no", "off" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcmp(value, yes[i]) || !strcmp(value, no[i])) {
			*result = !strcmp(value, yes[i]);
			return true;
		}
	}
	return false;
}

static bool parse_choice(const struct param *param, const char *value)
{
	for (int i = 0; param->choices[i]; i++) {
		if (!strcmp(value, param->choices[i])) {
			*(int *)param->target = i;
			return true;
		}
	}
	return false;
}

/* SIZE_MAX stands for a parameter that was not given. */
static bool parse_size(const char *value, size_t *result)
{
	size_t size;

	if (!fmt_parse_size(value, &size) || size == SIZE_MAX)
		return false;
	*result = size;
	return true;
}

#ifdef DEBUG_CHECKS
static bool parse_fault_of(const struct param *param, const char *value)
{
	size_t len = strcspn(value, ":");

	for (int i = 0; param->choices[i]; i++)
		if (value[len] && len == strlen(param->choices[i]) &&
		    !strncmp(value, param->choices[i], len))
			return fault_attr_parse((struct fault_attr *)param->target + i,
						value + len + 1);
	return false;
}
#endif

static bool assign(const struct param *param, const char *value)
{
	switch (param->type) {
	case PARAM_BOOL:
		if (!value)
			value = "1";
		return parse_bool(value, param->target);
	case PARAM_SIZE:
		return value && parse_size(value, param->target);
	case PARAM_CHOICE:
		return value && parse_choice(param, value);
#ifdef DEBUG_CHECKS
	case PARAM_FAULT:
		return value && fault_attr_parse(param->target, value);
	case PARAM_FAULT_OF:
		return value && parse_fault_of(param, value);
#endif
	default:
		break;
	}
	return false;
}

static void parse_word(char *word)
{
	char *value = strchr(word, '=');

	if (value)
		*value++ = '\0';
	for (const struct param *param = param_table; param->name; param++) {
		if (strcmp(param->name, word) != 0)
			continue;
		if (!assign(param, value))
			fmt_warn("parameter %s: bad value '%s' in KMALLOC_CMDLINE is ignored; "
				 "KMALLOC_CMDLINE=help lists the parameters",
				 word, value ? value : "");
		return;
	}
	fmt_warn("unknown parameter '%s' in KMALLOC_CMDLINE is ignored; "
		 "KMALLOC_CMDLINE=help lists the parameters",
		 word);
}

void param_parse(const char *cmdline)
{
	while (*cmdline) {
		size_t len = strcspn(cmdline, " \t\n");
		char word[WORD_MAX_BYTES];

		if (len >= sizeof(word)) {
			fmt_warn("a word of %zu bytes in KMALLOC_CMDLINE is ignored; "
				 "no parameter is that long",
				 len);
		} else if (len) {
			memcpy(word, cmdline, len);
			word[len] = '\0';
			parse_word(word);
		}
		cmdline += len;
		cmdline += strspn(cmdline, " \t\n");
	}
}

void param_print_help(void)
{
	fmt_print("KMALLOC_CMDLINE=\"name[=value] ...\"\n");
	for (const struct param *param = param_table; param->name; param++)
		fmt_print("  %-24s %s\n", param->name, param->help);
}
