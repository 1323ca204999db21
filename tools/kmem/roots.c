/* SPDX-License-Identifier: MIT */
/*
 * roots.c - the memory of a stopped process from which its blocks are reached.
 *
 * /proc/PID/maps says what can be read. /proc/PID/pagemap says of each page whether there is anything: what was never touched is
 * not read, as that would make it be there. Devices are left alone: reading them may do something.
 *
 * A stack's part below the stack pointer, less the 128 bytes that a function may use there, is left over from calls
 * that returned. Where a mapping is known to be one stack it is left out: the first thread's [stack]; and what
 * pthread_create() maps, which has a guard below, and the thread's own block (fs_base) above the stack pointer.
 */
#include "roots.h"

#include "maps.h"
#include "say.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RED_ZONE 128UL
#define PAGE_PRESENT (1UL << 63)
#define PAGE_SWAPPED (1UL << 62)
#define PAGE_FILE (1UL << 61) /* of a file, or shared */
#define BATCH 1024

void roots_skip(struct roots *roots, uint64_t start, uint64_t end)
{
	if (start >= end)
		return;
	roots->skip = xgrow(roots->skip, &roots->skip_room, roots->nr_skip, sizeof(*roots->skip));
	roots->skip[roots->nr_skip++] = (struct roots_range){ start, end };
}

static int pagemap_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool is_there(uint64_t entry, bool written)
{
	if (!(entry & (PAGE_PRESENT | PAGE_SWAPPED)))
		return false;
	return !written || !(entry & PAGE_FILE);
}

static void visit_present(int pagemap, uint64_t start, uint64_t end, bool written,
			  void (*visit)(uint64_t start, uint64_t end, void *arg), void *arg)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), entries[BATCH], run = 0;
	uint64_t at = start & ~(page - 1);

	while (at < end) {
		uint64_t want = (end - at + page - 1) / page;
		ssize_t n = pread(pagemap, entries, (want < BATCH ? want : BATCH) * 8,
				  (off_t)(at / page * 8));

		if (n <= 0)
			break;
		for (size_t i = 0; i < (size_t)n / 8; i++, at += page) {
			bool there = is_there(entries[i], written);

			if (there && !run)
				run = at > start ? at : start;
			if (!there && run) {
				visit(run, at, arg);
				run = 0;
			}
		}
	}
	if (run)
		visit(run, at < end ? at : end, arg);
}

void roots_present(pid_t pid, uint64_t start, uint64_t end, bool written,
		   void (*visit)(uint64_t start, uint64_t end, void *arg), void *arg)
{
	int pagemap = pagemap_of(pid);

	if (pagemap < 0) {
		visit(start, end, arg);
		return;
	}
	visit_present(pagemap, start, end, written, visit, arg);
	close(pagemap);
}

static bool is_device(const char *path)
{
	return (!strncmp(path, "/dev/", 5) && strncmp(path, "/dev/shm/", 9) != 0 &&
		strncmp(path, "/dev/zero", 9) != 0) ||
	       !strncmp(path, "[v", 2) || !strncmp(path, "anon_inode:", 11);
}

/* What is left over of a stack that this mapping is. */
static void skip_dead_stack(struct roots *roots, const struct map *map, bool guarded)
{
	bool is_first = !strncmp(map->path, "[stack]", 7);

	for (size_t i = 0; i < roots->freeze->count; i++) {
		const struct user_regs_struct *regs = &roots->freeze->thread[i].regs;
		uint64_t sp = regs->rsp;

		if (sp < map->start + RED_ZONE || sp >= map->end)
			continue;
		if (is_first || (guarded && regs->fs_base > sp && regs->fs_base < map->end))
			roots_skip(roots, map->start, sp - RED_ZONE);
	}
}

static int by_start(const void *a, const void *b)
{
	const struct roots_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

struct mappings {
	struct mapping_range {
		uint64_t start, end;
		bool written; /* only pages that are no longer the file's */
	} * range;
	size_t count, room;
};

static bool read_mappings(struct roots *roots, struct mappings *mappings)
{
	char *maps = maps_read(roots->pid, false);
	const char *at = maps;
	uint64_t guard_end = 0;
	struct map map;

	if (!maps) {
		say("process %d is gone", roots->pid);
		return false;
	}
	while (maps_next(&at, &map)) {
		if (map.perms[0] != 'r') {
			guard_end = map.end;
			continue;
		}
		if (is_device(map.path))
			continue;
		skip_dead_stack(roots, &map, guard_end == map.start);
		mappings->range = xgrow(mappings->range, &mappings->room, mappings->count,
					sizeof(*mappings->range));
		mappings->range[mappings->count++] =
			(struct mapping_range){ map.start, map.end, map.perms[1] != 'w' };
	}
	free(maps);
	return true;
}

/* A range without what is left out; the list of that is sorted. */
static void visit_range(struct roots *roots, int pagemap, const struct mapping_range *range,
			void (*visit)(uint64_t start, uint64_t end, void *arg), void *arg)
{
	uint64_t start = range->start;

	for (size_t i = 0; i < roots->nr_skip && start < range->end; i++) {
		const struct roots_range *skip = &roots->skip[i];
		uint64_t until = skip->start < range->end ? skip->start : range->end;

		if (skip->end <= start)
			continue;
		if (until > start)
			visit_present(pagemap, start, until, range->written, visit, arg);
		start = skip->end > start ? skip->end : start;
	}
	if (start < range->end)
		visit_present(pagemap, start, range->end, range->written, visit, arg);
}

static void add_word(struct roots *roots, uint64_t word)
{
	roots->word = xgrow(roots->word, &roots->word_room, roots->nr_words, sizeof(word));
	roots->word[roots->nr_words++] = word;
}

/* The number in hex behind a word of each line of a file. */
static void take_words(struct roots *roots, const char *path, const char *before)
{
	FILE *file = fopen(path, "re");
	char line[512];

	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		const char *at = strstr(line, before);

		if (at)
			add_word(roots, strtoull(at + strlen(before), NULL, 16));
	}
	fclose(file);
}

static void take_epoll(struct roots *roots)
{
	char path[320], link[64];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", roots->pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) != NULL) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", roots->pid, entry->d_name);
		n = readlink(path, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = 0;
		if (strcmp(link, "anon_inode:[eventpoll]") != 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", roots->pid, entry->d_name);
		take_words(roots, path, "data:");
	}
	if (dir)
		closedir(dir);
	/* "signal: NUMBER/VALUE" */
	snprintf(path, sizeof(path), "/proc/%d/timers", roots->pid);
	take_words(roots, path, "/");
}

bool roots_visit(struct roots *roots, void (*visit)(uint64_t start, uint64_t end, void *arg),
		 void *arg)
{
	struct mappings mappings = { 0 };
	int pagemap;

	if (!read_mappings(roots, &mappings))
		return false;
	qsort(roots->skip, roots->nr_skip, sizeof(*roots->skip), by_start);
	pagemap = pagemap_of(roots->pid);
	for (size_t i = 0; pagemap >= 0 && i < mappings.count; i++)
		visit_range(roots, pagemap, &mappings.range[i], visit, arg);
	if (pagemap >= 0)
		close(pagemap);
	else
		say("process %d: which pages it has can't be read", roots->pid);
	free(mappings.range);
	take_epoll(roots);
	return pagemap >= 0;
}

void roots_free(struct roots *roots)
{
	free(roots->skip);
	free(roots->word);
	roots->skip = NULL;
	roots->word = NULL;
}
