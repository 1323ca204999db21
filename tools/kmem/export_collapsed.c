/* SPDX-License-Identifier: MIT */
/*
 * export_collapsed.c - `kmem export --collapsed`: "outer;inner number", a line per stack, the
 * largest first.
 *
 * The form is that of the stackcollapse programs around flamegraph.pl: frames with semicolons
 * between them, a blank, a whole number. Inlined functions are frames; addresses in the same
 * functions are one line.
 */
#include "export.h"

#include "say.h"

#include <stdlib.h>
#include <string.h>

struct line {
	size_t text;
	double value;
};

static double value_of(const struct export *export, const struct tally *sum)
{
	switch (export->value) {
	case EXPORT_INUSE:
		return export->objects ? sum->live_objects : sum->live_bytes;
	case EXPORT_ALLOC:
		return export->objects ? sum->allocs : sum->alloc;
	default:
		return export->objects ? sum->peak_objects : sum->peak_bytes;
	}
}

/* A semicolon or a line's end in a name would be taken for the format's own. */
static void print_name(FILE *out, const struct frame *frame)
{
	char name[1024];

	for (const char *at = export_frame_name(frame, name, sizeof(name)); *at; at++)
		fputc(*at == ';' ? ':' : *at == '\n' ? ' ' : *at, out);
}

/* The stack's text, outermost first. To be freed. */
static char *stack_text(const struct export *export, const struct site *site)
{
	struct frame frames[FRAMES_MAX];
	const uint64_t *addresses;
	size_t nr_addresses = export_stack(export, site, &addresses), size;
	char *text = NULL;
	FILE *memory = open_memstream(&text, &size);

	if (!memory)
		give_up("no memory");
	for (size_t i = nr_addresses; i--;) {
		size_t count = symbols_frames(export->view.symbols, addresses[i], frames);

		for (size_t j = count; j--;) {
			print_name(memory, &frames[j]);
			if (i || j)
				fputc(';', memory);
		}
	}
	fclose(memory);
	return text;
}

static int compare(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? 1 : -1;
	return x->text < y->text ? -1 : x->text > y->text;
}

bool export_collapsed(struct export *export)
{
	struct texts *texts = texts_new();
	struct line *lines = NULL;
	size_t count = 0;

	for (size_t i = 0; i < export->nr_sites; i++) {
		char *text = stack_text(export, export->site[i]);
		size_t number = texts_number(texts, text);

		if (number >= count)
			EXPORT_PUSH(lines, count, ((struct line){ .text = number }));
		lines[number].value += value_of(export, &export->site[i]->sum);
		free(text);
	}
	if (count)
		qsort(lines, count, sizeof(*lines), compare);
	for (size_t i = 0; i < count && export_round(lines[i].value); i++)
		fprintf(export->out, "%s %ld\n", texts_get(texts, lines[i].text),
			export_round(lines[i].value));
	free(lines);
	texts_free(texts);
	return true;
}
