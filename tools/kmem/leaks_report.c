/* SPDX-License-Identifier: MIT */
/*
 * leaks_report.c - lost blocks in the form in which kmemleak reports them.
 *
 * As in mm/kmemleak.c (print_unreferenced()) each has its address and size, who allocated it, its first bytes, and its backtrace; of those
 * with the same backtrace the first is shown, and the others counted. Differences: groups with most bytes come first; a
 * block whose call site is not known is a group of its own; there is no checksum.
 */
#include "leaks.h"

#include "process.h"
#include "say.h"
#include "stacks.h"
#include "view.h"

#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#define ROW 16

struct group {
	const struct lost_block *first;
	double count, bytes;
};

struct totals {
	uint64_t objects, bytes;
};

struct ignored {
	regex_t *regex;
	size_t count;
};

static bool add_pattern(struct ignored *ignored, const char *path, int number, char *line)
{
	regex_t *regex;

	line[strcspn(line, "\n")] = 0;
	while (isspace((unsigned char)*line))
		line++;
	if (!*line || *line == '#')
		return true;
	for (size_t n = strlen(line); n && isspace((unsigned char)line[n - 1]); n--)
		line[n - 1] = 0;
	ignored->regex = xrealloc(ignored->regex, (ignored->count + 1) * sizeof(*ignored->regex));
	regex = &ignored->regex[ignored->count];
	if (regcomp(regex, line, REG_EXTENDED | REG_NOSUB) != 0) {
		say("%s:%d: '%s' is no regular expression", path, number, line);
		return false;
	}
	ignored->count++;
	return true;
}

static bool read_ignored(const char *path, struct ignored *ignored)
{
	FILE *file = path ? fopen(path, "re") : NULL;
	char line[1024];
	bool done = true;

	if (path && !file) {
		say("%s can't be read: %s", path, strerror(errno));
		return false;
	}
	for (int number = 1; done && file && fgets(line, sizeof(line), file); number++)
		done = add_pattern(ignored, path, number, line);
	if (file)
		fclose(file);
	return done;
}

static bool is_ignored(const struct leaks *leaks, const struct ignored *ignored,
		       const struct lost_block *block)
{
	struct stack_frame frames[STACKS_FRAMES_MAX];
	size_t count;
	bool cut;

	if (!ignored->count || !block->site || !leaks->symbols)
		return false;
	count = stacks_frames(leaks->symbols, leaks->reader, block->stack, block->site, frames,
			      &cut);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; frames[i].frame.function && j < ignored->count; j++)
			if (regexec(&ignored->regex[j], frames[i].frame.function, 0, NULL, 0) == 0)
				return true;
	return false;
}

static void drop_ignored(struct leaks *leaks, const struct ignored *ignored)
{
	size_t kept = 0;

	for (size_t i = 0; i < leaks->count; i++)
		if (!is_ignored(leaks, ignored, &leaks->block[i]))
			leaks->block[kept++] = leaks->block[i];
	leaks->count = kept;
}

static int by_site(const void *a, const void *b)
{
	const struct lost_block *x = a, *y = b;

	if (x->site != y->site)
		return x->site < y->site ? -1 : 1;
	if (x->stack != y->stack)
		return x->stack < y->stack ? -1 : 1;
	return x->address < y->address ? -1 : x->address > y->address;
}

static int by_bytes(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return x->first->address < y->first->address ? -1 : x->first->address > y->first->address;
}

static bool has_same_backtrace(const struct lost_block *a, const struct lost_block *b)
{
	return a->site && a->site == b->site && a->stack == b->stack;
}

static struct group *make_groups(struct leaks *leaks, size_t *count)
{
	struct group *group = xmalloc(leaks->count * sizeof(*group));

	*count = 0;
	if (leaks->count)
		qsort(leaks->block, leaks->count, sizeof(*leaks->block), by_site);
	for (size_t i = 0; i < leaks->count; i++) {
		const struct lost_block *block = &leaks->block[i];

		if (!*count || !has_same_backtrace(block, group[*count - 1].first))
			group[(*count)++] = (struct group){ .first = block };
		group[*count - 1].count += block->weight;
		group[*count - 1].bytes += block->weight * (double)block->size;
	}
	qsort(group, *count, sizeof(*group), by_bytes);
	return group;
}

static uint64_t rounded(double number)
{
	return (uint64_t)(number + 0.5);
}

static void print_dump(const struct leak *leak)
{
	if (!leak->dumped)
		return;
	printf("  hex dump (first %zu bytes):\n", leak->dumped);
	for (size_t row = 0; row < leak->dumped; row += ROW) {
		size_t end = row + ROW < leak->dumped ? row + ROW : leak->dumped;

		printf("    ");
		for (size_t i = row; i < row + ROW; i++)
			if (i < end)
				printf("%02x ", leak->dump[i]);
			else
				printf("   ");
		putchar(' ');
		for (size_t i = row; i < end; i++)
			putchar(leak->dump[i] >= ' ' && leak->dump[i] <= '~' ? leak->dump[i] : '.');
		putchar('\n');
	}
}

/* One return address, and what the compiler inlined there. */
static void print_call(const struct leaks *leaks, uint64_t address)
{
	struct frame frames[FRAMES_MAX];
	size_t count = symbols_frames(leaks->symbols, address, frames);
	char name[512];

	printf("    %s", symbols_text(leaks->symbols, address, name, sizeof(name)));
	if (frames[0].file)
		printf(" %s:%d", frames[0].file, frames[0].line);
	putchar('\n');
	for (size_t i = 1; i < count; i++) {
		printf("    inlined into %s", frames[i].function ? frames[i].function : "?");
		if (frames[i].file)
			printf(" %s:%d", frames[i].file, frames[i].line);
		putchar('\n');
	}
}

/* A block whose allocation is not in the recording may be in it later, or has been. */
static const char *why_not_there(const struct reader *reader)
{
	if (recording_is_being_written(reader))
		return "is not in the recording yet, or ";
	return recording_is_whole(reader) ? "" : "is in what is missing of the recording, or ";
}

static void print_backtrace(const struct leaks *leaks, const struct lost_block *block)
{
	uint64_t addresses[STACKS_FRAMES_MAX];
	size_t count;
	bool cut;

	if (!block->site) {
		if (leaks->symbols)
			printf("  backtrace: it %s%swas allocated when nothing was recorded\n",
			       leaks->is_sampled ? "is no sample, or " : "",
			       why_not_there(leaks->reader));
		return;
	}
	puts("  backtrace:");
	count = stacks_addresses(leaks->reader, block->stack, block->site, addresses, &cut);
	while (count)
		print_call(leaks, addresses[--count]);
	if (cut)
		puts("    ... (the stack goes on)");
}

static void print_group(const struct leaks *leaks, const struct group *group)
{
	const struct lost_block *block = group->first;

	printf("%s 0x%08lx (size %lu):\n", leaks->what, block->address, block->size);
	printf("  comm \"%s\", pid %d", leaks->comm, block->tid ? (int)block->tid : leaks->pid);
	if (block->site)
		printf(", time %lu.%06lu", block->ns / 1000000000, block->ns / 1000 % 1000000);
	if (block->leak)
		printf(", %s", block->leak->cache[0] ? block->leak->cache : "vmalloc");
	putchar('\n');
	if (block->leak)
		print_dump(block->leak);
	print_backtrace(leaks, block);
	if (rounded(group->count) > 1)
		printf("  ... and %lu more object(s) with the same backtrace\n",
		       rounded(group->count) - 1);
}

static size_t count_indirect(const struct leaks *leaks)
{
	size_t count = 0;

	for (size_t i = 0; i < leaks->count; i++)
		count += leaks->block[i].leak && leaks->block[i].leak->indirect;
	return count;
}

static struct totals total_of(const struct group *group, size_t count)
{
	double objects = 0, bytes = 0;

	for (size_t i = 0; i < count; i++) {
		objects += group[i].count;
		bytes += group[i].bytes;
	}
	return (struct totals){ rounded(objects), rounded(bytes) };
}

/* Which bytes they are: a recording has those that were asked for, the scan sees those that the block has. */
static const char *kind_of_bytes(const struct leaks *leaks)
{
	size_t known = 0;

	for (size_t i = 0; i < leaks->count; i++)
		known += leaks->block[i].site != 0;
	if (!leaks->scan || (known && known == leaks->count))
		return "requested";
	return known ? "requested (allocated, of what the recording does not have)" : "allocated";
}

static void print_text(const struct leaks *leaks, const struct group *group, size_t count)
{
	size_t shown = leaks->groups_shown && leaks->groups_shown < count ? leaks->groups_shown :
									    count;
	struct totals total = total_of(group, count);
	char bytes[32], time[32];

	for (size_t i = 0; i < shown; i++)
		print_group(leaks, &group[i]);
	if (shown < count)
		printf("# and %zu more (-n 0 shows all)\n", count - shown);
	human_bytes((double)total.bytes, bytes);
	if (!leaks->scan) {
		printf("# %lu objects were never freed, %s %s\n", total.objects, bytes,
		       kind_of_bytes(leaks));
		return;
	}
	printf("# %zu suspected memory leaks, %s %s", leaks->count, bytes, kind_of_bytes(leaks));
	if (count_indirect(leaks))
		printf("; to %zu of them others of them point", count_indirect(leaks));
	printf("\n# %lu blocks, %zu %s; the process was stopped for %s\n", leaks->scan->blocks,
	       leaks->scan->threads, leaks->scan->threads == 1 ? "thread" : "threads",
	       human_ns((double)leaks->scan->stood_ns, time));
}

static void add_stack(const struct leaks *leaks, struct json_object *object,
		      const struct lost_block *block)
{
	struct json_object *list = json_object_new_array();
	uint64_t addresses[STACKS_FRAMES_MAX];
	char name[512];
	bool cut;
	size_t count = stacks_addresses(leaks->reader, block->stack, block->site, addresses, &cut);

	while (count) {
		symbols_text(leaks->symbols, addresses[--count], name, sizeof(name));
		json_object_array_add(list, json_object_new_string(name));
	}
	json_object_object_add(object, "stack", list);
}

static struct json_object *block_json(const struct leaks *leaks, const struct lost_block *block)
{
	struct json_object *object = json_object_new_object();
	char name[512];

	json_add_address(object, "address", block->address);
	json_add_number(object, "size", block->size);
	if (block->tid)
		json_add_number(object, "tid", block->tid);
	if (block->site) {
		json_add_address(object, "call_site", block->site);
		json_add_string(object, "function",
				symbols_text(leaks->symbols, block->site, name, sizeof(name)));
		json_add_number(object, "ns", block->ns);
	}
	if (block->stack)
		add_stack(leaks, object, block);
	if (block->leak) {
		char hex[2 * LEAK_DUMP + 1] = "";

		for (size_t i = 0; i < block->leak->dumped; i++)
			snprintf(hex + 2 * i, 3, "%02x", block->leak->dump[i]);
		json_add_string(object, "bytes", hex);
		json_add_string(object, "cache", block->leak->cache);
		json_object_object_add(object, "indirect",
				       json_object_new_boolean(block->leak->indirect));
	}
	return object;
}

static struct json_object *totals_json(const struct leaks *leaks, struct totals total)
{
	struct json_object *root = json_object_new_object();

	json_add_number(root, "leaks", total.objects);
	json_add_number(root, "bytes", total.bytes);
	json_add_string(root, "bytes_are", kind_of_bytes(leaks));
	if (leaks->scan) {
		json_add_number(root, "blocks", leaks->scan->blocks);
		json_add_number(root, "block_bytes", leaks->scan->bytes);
		json_add_number(root, "root_bytes", leaks->scan->root_bytes);
		json_add_number(root, "threads", leaks->scan->threads);
		json_add_number(root, "stopped_ns", leaks->scan->stood_ns);
	}
	return root;
}

/* One by one: there may be millions. */
static void print_json(const struct leaks *leaks, struct totals total)
{
	struct json_object *root = totals_json(leaks, total);
	const char *text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN);

	printf("%.*s,\"objects\":[", (int)strlen(text) - 1, text);
	json_object_put(root);
	for (size_t i = 0; i < leaks->count; i++) {
		root = block_json(leaks, &leaks->block[i]);
		text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN);
		printf("%s\n%s", i ? "," : "", text);
		json_object_put(root);
	}
	puts("\n]}");
}

bool leaks_report(struct leaks *leaks)
{
	struct ignored ignored = { 0 };
	bool done = read_ignored(leaks->ignore, &ignored);
	struct group *group;
	size_t count;

	if (done) {
		drop_ignored(leaks, &ignored);
		group = make_groups(leaks, &count);
		if (leaks->json)
			print_json(leaks, total_of(group, count));
		else
			print_text(leaks, group, count);
		free(group);
	}
	for (size_t i = 0; i < ignored.count; i++)
		regfree(&ignored.regex[i]);
	free(ignored.regex);
	return done;
}
