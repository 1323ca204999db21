/* SPDX-License-Identifier: MIT */
/*
 * fuzz_cmdline.c - libFuzzer: KMALLOC_CMDLINE's parser.
 *
 * Whatever the text, each parameter holds a value of its type afterwards, and text that is parsed once
 * more gives the same values. What the parser says goes to standard error, which fuzz closes.
 */
#include "lib/param.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void expect(bool holds, const char *what)
{
	if (holds)
		return;
	printf("fuzz_cmdline: %s\n", what);
	fflush(NULL);
	abort();
}

static void check_param(const struct param *param)
{
	int choice, count = 0;
	unsigned char flag;

	switch (param->type) {
	case PARAM_BOOL:
		memcpy(&flag, param->target, sizeof(flag));
		expect(flag <= 1, "a bool is neither true nor false");
		break;
	case PARAM_CHOICE:
		while (param->choices[count])
			count++;
		choice = *(int *)param->target;
		expect(choice >= 0 && choice < count, "a choice is none of the choices");
		break;
	case PARAM_SIZE:
	case PARAM_FAULT: /* any numbers */
	case PARAM_FAULT_OF:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const struct params defaults;
	/* exactly as long as the text, so that a read past its end is seen */
	char *text = malloc(size + 1);
	struct params once;

	expect(text != NULL, "no memory");
	memcpy(text, bytes, size);
	text[size] = '\0';
	params = defaults;
	param_parse(text);
	for (const struct param *param = param_table; param->name; param++)
		check_param(param);
	once = params;
	param_parse(text);
	expect(!memcmp(&once, &params, sizeof(once)), "the same text gives other values");
	free(text);
	return 0;
}
