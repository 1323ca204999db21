/* SPDX-License-Identifier: MIT */
/*
 * recording_modules.c - which module was at an address when.
 *
 * perf's counterpart is its table of mappings by time, from the events of mmap(2). Here nobody is told of these: `kmem record` looks
 * at /proc/PID/maps, now and then and whenever the library asks it to, which is before a dlclose(3) takes a module away, and after it
 * (session.c). Each look is a chunk of maps with its time. All of them are read before anything else, by the headers of chunks, so that
 * names are known from the start.
 *
 * A module is code of a file at a place: where the file's first byte is or would be, its name, and its inode. It may come and go
 * often, and is the same each time. Modules that overlap form a cluster. In each a module gets the lowest layer where there is room for
 * it: so where nothing overlaps all are of layer 0, and addresses are left as they are.
 *
 * Whose an address X was at a time, between two looks:
 *
 *	the one before		the one behind		X is of
 *	M			M, or nobody		M: it was there, and nobody came after it
 *	nobody			M			M: it came meanwhile
 *	M			N			nobody: when one went and the other came is not known
 *	nobody			nobody			nobody: it was not seen who was there
 *	there is none		M			M; and the other way round
 *
 * An address of nobody in a cluster has a layer of its own, in which nothing is: so it has no name, and is not that of a module that was
 * there at another time. A look is uncertain when the library asked for one before and was not answered in time: between it and the
 * one before modules may have come and gone that nobody saw, and only what was there in both of them has a name.
 *
 * What is no part of a cluster of several is not looked up at all. In a recording that has an uncertain look, or is of several
 * programs, all modules are, since others than those that were seen may have been there.
 *
 * A module whose file was replaced by another one, which was seen as well, is named " (deleted)", as the system does while it is there:
 * names are not looked for in the new file.
 *
 * What there was is from recording_looks.c.
 */
#include "recording_modules_internal.h"

#include "say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAYER_NOBODY 0xffffU /* a layer for each module, and one more */

static int compare_modules(const void *a, const void *b, void *arg)
{
	const struct mapped *module = arg;
	uint64_t x = module[*(const uint32_t *)a].start, y = module[*(const uint32_t *)b].start;

	return x < y ? -1 : x > y;
}

static int compare_numbers(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* By their start, and so in each look: a number is less where the start is. */
static void sort_modules(struct modules *modules)
{
	struct mapped *sorted = xmalloc(modules->nr * sizeof(*sorted) + 1);
	uint32_t *order = xmalloc(modules->nr * sizeof(*order) * 2 + 1);
	uint32_t *place = order + modules->nr, end = 0;

	for (uint32_t i = 0; i < modules->nr; i++)
		order[i] = i;
	qsort_r(order, modules->nr, sizeof(*order), compare_modules, modules->module);
	for (uint32_t i = 0; i < modules->nr; i++) {
		sorted[i] = modules->module[order[i]];
		place[order[i]] = i;
	}
	free(modules->module);
	modules->module = sorted;
	for (size_t i = 0; i < modules->nr_held; i++)
		modules->held[i] = place[modules->held[i]];
	free(order);
	for (size_t i = 0; i < modules->nr_looks; i++) {
		const struct look *look = &modules->look[i];

		/* those that have the text of another one have its list */
		if (look->first < end || !look->nr)
			continue;
		qsort(modules->held + look->first, look->nr, sizeof(*modules->held),
		      compare_numbers);
		end = look->first + look->nr;
	}
}

/* A cluster of modules [from, to). Its modules get their layers: by their start, so the first one with room is the lowest. */
static void add_cluster(struct modules *modules, size_t from, size_t to, uint64_t end)
{
	uint64_t *ends = xcalloc(to - from, sizeof(*ends));
	bool is_shared = to - from > 1;

	for (size_t i = from; i < to; i++) {
		struct mapped *module = &modules->module[i];

		while (ends[module->layer] > module->start)
			module->layer++;
		ends[module->layer] = module->end;
	}
	free(ends);
	if (is_shared || modules->is_doubtful)
		modules->cluster[modules->nr_clusters++] =
			(struct cluster){ modules->module[from].start, end, is_shared };
}

static void find_clusters(struct modules *modules)
{
	size_t to;

	modules->cluster = xmalloc(modules->nr * sizeof(*modules->cluster) + 1);
	for (size_t from = 0; from < modules->nr; from = to) {
		uint64_t end = modules->module[from].end;

		for (to = from + 1; to < modules->nr && modules->module[to].start < end; to++)
			if (modules->module[to].end > end)
				end = modules->module[to].end;
		add_cluster(modules, from, to, end);
	}
}

/* Behind the device and the inode. */
static const char *path_of(const struct mapped *module)
{
	return strchrnul(module->name, '/');
}

/* By path; of one path, by when they were seen last. */
static int compare_paths(const void *a, const void *b)
{
	const struct mapped *x = *(struct mapped *const *)a, *y = *(struct mapped *const *)b;
	int order = strcmp(path_of(x), path_of(y));

	return order ? order : x->last < y->last ? -1 : x->last > y->last;
}

static void find_replaced(struct modules *modules)
{
	struct mapped **list = xmalloc(modules->nr * sizeof(void *) + 1), *newest = NULL;

	for (size_t i = 0; i < modules->nr; i++)
		list[i] = &modules->module[i];
	qsort(list, modules->nr, sizeof(void *), compare_paths);
	for (size_t i = modules->nr; i-- > 0;) {
		if (!newest || strcmp(path_of(newest), path_of(list[i])) != 0)
			newest = list[i];
		list[i]->is_replaced = *path_of(newest) && strcmp(newest->name, list[i]->name) != 0;
	}
	free(list);
}

static uint64_t on_layer(uint64_t address, uint32_t layer)
{
	return address | (uint64_t)layer << TRACE_ADDRESS_BITS;
}

/*
 * A line of a module as it is in its layer. Its inode is a number of its own: lines of one file that follow each other are one module for
 * who reads them, and these may be of several, at one place and at another.
 */
static void write_line(FILE *out, const struct mapped *module, size_t number,
		       const struct map *line)
{
	const char *end = line->line + line->length;
	int device = 0;

	fprintf(out, "%lx-%lx", on_layer(line->start, module->layer),
		on_layer(line->end, module->layer));
	if (*line->path != '/') {
		fprintf(out, " %.*s\n", (int)(end - line->perms), line->perms);
		return;
	}
	if (module->is_replaced)
		end = line->file + line->file_length;
	/* " device inode path" */
	while (line->file[device] == ' ')
		device++;
	device += (int)strcspn(line->file + device, " \n");
	fprintf(out, " %.*s%.*s %zu %.*s%s\n", (int)(line->file - line->perms), line->perms, device,
		line->file, number + 1, (int)(end - line->path), line->path,
		module->is_replaced ? " (deleted)" : "");
}

static void write_text(struct modules *modules)
{
	size_t size;
	FILE *out = open_memstream(&modules->text, &size);

	if (!out)
		give_up("no memory");
	for (size_t i = 0; i < modules->nr; i++) {
		const char *text = modules->module[i].lines;
		struct map line;

		while (modules_next_line(&text, &line))
			write_line(out, &modules->module[i], i, &line);
	}
	if (fclose(out) != 0)
		give_up("no memory");
}

struct modules *modules_read(int fd)
{
	struct modules *modules = xcalloc(1, sizeof(*modules));

	modules_read_looks(modules, fd);
	for (size_t i = 0; i < modules->nr_images; i++)
		modules->is_doubtful |=
			modules->nr_looks > 0 &&
			(i + 1 < modules->nr_images ? modules->image[i + 1] : modules->nr_looks) ==
				modules->image[i];
	sort_modules(modules);
	find_clusters(modules);
	find_replaced(modules);
	if (modules->nr)
		write_text(modules);
	return modules;
}

void modules_free(struct modules *modules)
{
	if (!modules)
		return;
	for (size_t i = 0; i < modules->nr; i++) {
		free(modules->module[i].name);
		free(modules->module[i].lines);
	}
	free(modules->module);
	free(modules->held);
	free(modules->look);
	free(modules->image);
	free(modules->cluster);
	free(modules->text);
	free(modules);
}

const char *modules_text(const struct modules *modules)
{
	return modules->text;
}

bool modules_differ(const struct modules *modules)
{
	return modules->nr_clusters > 0;
}

/* The looks of a program. */
static void looks_of(const struct modules *modules, unsigned image, size_t *from, size_t *to)
{
	size_t at = image < modules->nr_images ? image : modules->nr_images - 1;

	*from = modules->image[at];
	*to = at + 1 < modules->nr_images ? modules->image[at + 1] : modules->nr_looks;
}

uint32_t modules_epoch(const struct modules *modules, unsigned image, uint64_t when, uint64_t *from,
		       uint64_t *to)
{
	size_t first, end, low, high;

	looks_of(modules, image, &first, &end);
	for (low = first, high = end; low < high;) {
		size_t middle = low + (high - low) / 2;

		if (modules->look[middle].when <= when)
			low = middle + 1;
		else
			high = middle;
	}
	*from = low > first ? modules->look[low - 1].when : 0;
	*to = low < end ? modules->look[low].when : UINT64_MAX;
	/* one more than there are looks, in each image */
	return (uint32_t)(low + (image < modules->nr_images ? image : modules->nr_images - 1));
}

static const struct cluster *cluster_of(const struct modules *modules, uint64_t address)
{
	size_t low = 0, high = modules->nr_clusters;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (modules->cluster[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low && address < modules->cluster[low - 1].end ? &modules->cluster[low - 1] : NULL;
}

bool modules_is_nobodys(uint64_t address)
{
	_Static_assert(MODULES_MAX < LAYER_NOBODY, "no module has it");
	return address >> TRACE_ADDRESS_BITS == LAYER_NOBODY;
}

bool modules_is_contested(const struct modules *modules, uint64_t address)
{
	return cluster_of(modules, address - 1) != NULL;
}

/* Who had the address in a look, by number; NOBODY. */
static uint32_t holder_in(const struct modules *modules, const struct look *look, uint64_t address)
{
	const uint32_t *held = modules->held + look->first;
	size_t low = 0, high = look->nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (modules->module[held[middle]].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low && address < modules->module[held[low - 1]].end ? held[low - 1] : NOBODY;
}

/* See the table above. */
static uint32_t holder_between(const struct modules *modules, const struct look *before,
			       const struct look *behind, uint64_t address, bool is_shared)
{
	uint32_t old = before ? holder_in(modules, before, address) : NOBODY;
	uint32_t new = behind ? holder_in(modules, behind, address) : NOBODY;

	if (!behind || old == new)
		return old;
	if (behind->is_uncertain && (before || is_shared))
		return NOBODY;
	if (!before || old == NOBODY)
		return new;
	return new == NOBODY ? old : NOBODY;
}

/* Which program an epoch is of: the last one that begins at or before it. */
static size_t image_of(const struct modules *modules, uint32_t epoch)
{
	size_t low = 0, high = modules->nr_images;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (modules->image[middle] + middle <= epoch)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

uint64_t modules_address(const struct modules *modules, uint32_t epoch, uint64_t address)
{
	const struct cluster *cluster = cluster_of(modules, address - 1);
	size_t image, first, end, at;
	uint32_t holder;

	if (!cluster)
		return address;
	image = image_of(modules, epoch);
	looks_of(modules, (unsigned)image, &first, &end);
	at = epoch - image;
	holder = holder_between(modules, at > first ? &modules->look[at - 1] : NULL,
				at < end ? &modules->look[at] : NULL, address - 1,
				cluster->is_shared);
	return on_layer(address, holder == NOBODY ? LAYER_NOBODY : modules->module[holder].layer);
}
