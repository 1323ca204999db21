/* SPDX-License-Identifier: MIT */
/*
 * top_view.c - the lines of `kmem top`, as slabtop (procps) has them: totals first, then a line for each cache.
 *
 * Differences: active objects are those that the program holds; there are columns for what changed in a second; areas
 * have a line as if they were a cache. The names, which come last, have to be seen: on a narrow terminal there are fewer columns.
 */
#include "top.h"

#include "view.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SITES_SHOWN 8

struct printer {
	size_t left; /* lines */
	bool narrow; /* not all columns */
	void (*line)(enum top_style style, const char *text, void *arg);
	void *arg;
};

__attribute__((format(printf, 3, 4))) static void print(struct printer *printer,
							enum top_style style, const char *format,
							...)
{
	char text[1024];
	va_list args;

	if (!printer->left)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printer->left--;
	printer->line(style, text, printer->arg);
}

static double percent(double part, double whole)
{
	return whole > 0 ? part * 100 / whole : 0;
}

struct totals {
	double objects, active, bytes, active_bytes, slabs;
	double allocs, frees;
	size_t caches;
};

static void add_up(const struct top *top, struct totals *totals)
{
	*totals = (struct totals){ 0 };
	for (size_t i = 0; i < top->now.count; i++) {
		const struct top_row *row = &top->now.row[i];

		if (row->alloc_rate >= 0) {
			totals->allocs += row->alloc_rate;
			totals->frees += row->free_rate;
		}
		if (!row->address)
			continue;
		totals->objects += (double)row->objects;
		totals->active += (double)row->active;
		totals->bytes += (double)row->bytes;
		totals->active_bytes += (double)(row->active * row->size);
		totals->slabs += (double)row->slabs;
		totals->caches++;
	}
}

static void print_totals(const struct top *top, struct printer *printer)
{
	const struct remote_counts *counts = &top->now.counts;
	char a[32], b[32], c[32], clock[16];
	struct totals totals;
	time_t now = time(NULL);
	struct tm local;

	add_up(top, &totals);
	strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&now, &local));
	print(printer, TOP_HEAD, "kmem top - %s  %s, process %d  %s%s", clock, top->comm,
	      top->process.pid, top->mode, top->events ? ", tracing" : "");
	print(printer, TOP_PLAIN, " Active / Total Objects (%% used)    : %.0f / %.0f (%.1f%%)",
	      totals.active, totals.objects, percent(totals.active, totals.objects));
	print(printer, TOP_PLAIN, " Slabs / Caches                     : %.0f / %zu", totals.slabs,
	      totals.caches);
	print(printer, TOP_PLAIN, " Active / Total Size (%% used)       : %s / %s (%.1f%%)",
	      human_bytes(totals.active_bytes, a), human_bytes(totals.bytes, b),
	      percent(totals.active_bytes, totals.bytes));
	print(printer, TOP_PLAIN, " Areas live / that wait             : %lu, %s / %lu, %s",
	      counts->areas, human_bytes((double)counts->area_bytes, a), counts->lazy,
	      human_bytes((double)counts->lazy_bytes, b));
	print(printer, TOP_PLAIN, " Free pages / Metadata / Returned   : %s / %s / %s",
	      human_bytes((double)(counts->free_dirty + counts->free_clean), a),
	      human_bytes((double)counts->metadata, b),
	      human_bytes((double)(counts->purged_pages + counts->purged_areas), c));
	if (top->events)
		print(printer, TOP_PLAIN,
		      " Allocations / Frees per second     : %.0f / %.0f; of events lost, and made up for: %.1f%%",
		      totals.allocs, totals.frees,
		      percent((double)top->lost, (double)(top->lost + top->seen)));
	print(printer, TOP_PLAIN, "%s", "");
}

static char sort_by;

static double key_of(const struct top_row *row)
{
	switch (sort_by) {
	case 'a':
		return (double)row->active;
	case 'b':
		return (double)row->per_slab;
	case 'l':
		return (double)row->slabs;
	case 'o':
		return (double)row->objects;
	case 'p':
		return (double)row->pages_per_slab;
	case 's':
		return (double)row->size;
	case 'u':
		return percent((double)row->active, (double)row->objects);
	case 'd':
		return row->active_rate < 0 ? -row->active_rate : row->active_rate;
	case 'r':
		return row->alloc_rate;
	default:
		return (double)row->bytes;
	}
}

static int compare(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;

	if (sort_by != 'n' && key_of(x) != key_of(y))
		return key_of(x) < key_of(y) ? 1 : -1;
	return strcmp(x->name, y->name);
}

/* The columns before the name. Those that a narrow terminal has leave 14 of 80 for the name. */
static const struct column {
	const char *title;
	int width;
	bool narrow;
} columns_of_row[] = {
	{ "OBJS", 8, true },	    { "ACTIVE", 8, true },    { "USE", 4, true },
	{ "OBJ SIZE", 10, true },   { "SLABS", 7, false },    { "OBJ/S", 5, false },
	{ "CACHE SIZE", 10, true }, { "ACTIVE/s", 9, true },  { "SLABS/s", 7, false },
	{ "ALLOCS/s", 10, true },   { "FREES/s", 10, false },
};

#define NR_COLUMNS (sizeof(columns_of_row) / sizeof(*columns_of_row))
#define WIDE 112 /* columns, from which on there is room for all */

static void print_cells(struct printer *printer, enum top_style style,
			const char *const cell[NR_COLUMNS], const char *name)
{
	char text[256];
	size_t length = 0;

	for (size_t i = 0; i < NR_COLUMNS; i++)
		if (columns_of_row[i].narrow || !printer->narrow)
			length += (size_t)snprintf(text + length, sizeof(text) - length, "%*s ",
						   columns_of_row[i].width, cell[i]);
	print(printer, style, "%s%s", text, name);
}

static const char *rate_text(double rate, bool known, bool sign, char buf[32])
{
	if (known)
		snprintf(buf, 32, sign ? "%+.0f" : "%.0f", rate);
	else
		snprintf(buf, 32, "-");
	return buf;
}

static void print_row(const struct top *top, const struct top_row *row, struct printer *printer)
{
	char text[NR_COLUMNS][32];
	const char *cell[NR_COLUMNS];
	bool hot = !top->first && (row->active_rate > 0.5 || row->active_rate < -0.5);

	for (size_t i = 0; i < NR_COLUMNS; i++)
		cell[i] = text[i];
	snprintf(text[0], sizeof(text[0]), "%lu", row->objects);
	snprintf(text[1], sizeof(text[1]), "%lu", row->active);
	snprintf(text[2], sizeof(text[2]), "%.0f%%",
		 percent((double)row->active, (double)row->objects));
	human_bytes((double)row->size, text[3]);
	snprintf(text[4], sizeof(text[4]), "%lu", row->slabs);
	snprintf(text[5], sizeof(text[5]), "%lu", row->per_slab);
	human_bytes((double)row->bytes, text[6]);
	rate_text(row->active_rate, !top->first, true, text[7]);
	rate_text(row->slab_rate, !top->first, true, text[8]);
	rate_text(row->alloc_rate, !top->first && row->alloc_rate >= 0, false, text[9]);
	rate_text(row->free_rate, !top->first && row->free_rate >= 0, false, text[10]);
	print_cells(printer, hot ? TOP_HOT : TOP_PLAIN, cell, row->name);
}

static int by_allocs(const void *a, const void *b)
{
	const struct top_site *x = a, *y = b;

	return x->allocs < y->allocs ? 1 : x->allocs > y->allocs ? -1 : 0;
}

static void print_sites(struct top *top, struct printer *printer)
{
	struct top_site best[SITES_SHOWN + 1];
	double seconds = (double)(top->now.ns - top->before.ns) / 1e9;
	size_t count = 0;
	char name[512], bytes[32];

	for (size_t i = 0; i < top->site_room; i++) {
		if (!top->site[i].address)
			continue;
		best[count++] = top->site[i];
		qsort(best, count, sizeof(*best), by_allocs);
		if (count > SITES_SHOWN)
			count = SITES_SHOWN;
	}
	print(printer, TOP_PLAIN, "%s", "");
	print(printer, TOP_TITLE, "%10s %12s  %s", "ALLOCS/s", "REQUESTED/s", "CALL SITE");
	for (size_t i = 0; i < count; i++)
		print(printer, TOP_PLAIN, "%10.0f %12s  %s",
		      (double)best[i].allocs * top->scale / seconds,
		      human_bytes((double)best[i].bytes * top->scale / seconds, bytes),
		      symbols_text(top->symbols, best[i].address, name, sizeof(name)));
}

void top_render(struct top *top, size_t lines, size_t columns,
		void (*line)(enum top_style style, const char *text, void *arg), void *arg)
{
	struct printer printer = { lines, columns < WIDE, line, arg };
	size_t reserved = top->events && !top->first ? SITES_SHOWN + 2 : 0;
	const char *title[NR_COLUMNS];
	size_t rows;

	for (size_t i = 0; i < NR_COLUMNS; i++)
		title[i] = columns_of_row[i].title;
	print_totals(top, &printer);
	print_cells(&printer, TOP_TITLE, title, "NAME");
	sort_by = top->sort;
	qsort(top->now.row, top->now.count, sizeof(*top->now.row), compare);
	rows = printer.left > reserved ? printer.left - reserved : printer.left;
	for (size_t i = 0; i < top->now.count && i < rows; i++)
		print_row(top, &top->now.row[i], &printer);
	if (reserved)
		print_sites(top, &printer);
}
