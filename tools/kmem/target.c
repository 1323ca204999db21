/* SPDX-License-Identifier: MIT */
/*
 * target.c - find the library in another process, and look into it.
 *
 * The library is the mapped file that has the symbol libkmalloc_trace: libkmalloc.so, or the program itself where it was
 * linked statically. The file is opened by the process' own names (/proc/PID/map_files, then its root), so it is the one that
 * is mapped even in a container, or if it was replaced meanwhile.
 */
#include "target.h"

#include "maps.h"
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define SYMBOL "libkmalloc_trace"
#define VM_BYTES 16384U /* from so many on that is cheaper */
#define VM_PROOF 64U	/* bytes that are compared, at each end */

/* The value of the symbol in a table of an ELF file; 0: it is not there. */
static uint64_t symbol_in_section(Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(section, NULL);
	GElf_Sym symbol;

	/* NULL behind the last one */
	for (int i = 0; data && i < INT_MAX && gelf_getsym(data, i, &symbol); i++) {
		const char *name;

		if (symbol.st_shndx == SHN_UNDEF)
			continue;
		name = elf_strptr(elf, header->sh_link, symbol.st_name);
		if (name && !strcmp(name, SYMBOL))
			return symbol.st_value;
	}
	return 0;
}

static uint64_t symbol_in(Elf *elf)
{
	Elf_Scn *section = NULL;
	uint64_t value = 0;

	while (!value && (section = elf_nextscn(elf, section)) != NULL) {
		GElf_Shdr header;

		if (gelf_getshdr(section, &header) &&
		    (header.sh_type == SHT_DYNSYM || header.sh_type == SHT_SYMTAB))
			value = symbol_in_section(elf, section, &header);
	}
	return value;
}

/* What is added to the addresses in a file that has its part at `offset` mapped at `start`; false: it has no such part. */
static bool bias_of(Elf *elf, uint64_t start, uint64_t offset, uint64_t *bias)
{
	size_t count = 0;

	if (elf_getphdrnum(elf, &count) != 0)
		return false;
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr part;
		uint64_t page = 4096 - 1;

		if (!gelf_getphdr(elf, (int)i, &part) || part.p_type != PT_LOAD)
			continue;
		if ((part.p_offset & ~page) == offset) {
			*bias = start - (part.p_vaddr & ~page);
			return true;
		}
	}
	return false;
}

/* Where the symbol is in the process, if this mapping is of a file that has it; 0: no. */
static uint64_t control_in(pid_t pid, const struct map *map)
{
	uint64_t value, bias, address = 0;
	Elf *elf;
	int fd = maps_open_file(pid, map);

	if (fd < 0)
		return 0;
	/* not mapped: the process might cut it off meanwhile */
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf && elf_kind(elf) == ELF_K_ELF && (value = symbol_in(elf)) != 0 &&
	    bias_of(elf, map->start, map->offset, &bias))
		address = value + bias;
	elf_end(elf);
	close(fd);
	return address;
}

/* Is errno that this program can open no more files? */
static void note_trouble(struct target *target)
{
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
		target->error = errno;
}

/* The control block; 0: no mapped file has one, or target->error is set. */
static uint64_t find_control(struct target *target)
{
	char *maps = maps_read(target->pid, true);
	const char *at = maps;
	struct map map, seen = { 0 };
	uint64_t address = 0;

	if (!maps)
		note_trouble(target);
	while (maps && !address && maps_next(&at, &map)) {
		bool again = seen.path && map.path_length == seen.path_length &&
			     !memcmp(map.path, seen.path, seen.path_length);

		if (*map.path != '/' || again)
			continue;
		seen = map;
		errno = 0;
		address = control_in(target->pid, &map);
		note_trouble(target);
	}
	free(maps);
	return address;
}

int target_open_file(const struct target *target, uint64_t address, uint64_t *offset)
{
	char *maps = maps_read(target->pid, true);
	const char *at = maps;
	struct map map;
	int fd = -1;

	while (maps && maps_next(&at, &map)) {
		if (*map.path != '/' || address < map.start || address >= map.end)
			continue;
		fd = maps_open_file(target->pid, &map);
		*offset = map.offset + (address - map.start);
		break;
	}
	free(maps);
	return fd;
}

int target_read(const struct target *target, uint64_t address, void *buf, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pread(target->mem, (char *)buf + done, size - done,
				  (off_t)(address + done));

		if (n <= 0) {
			if (n == 0)
				errno = ESRCH;
			return -1;
		}
		done += (size_t)n;
	}
	return 0;
}

/* Does buf hold what is at the address, as /proc/PID/mem has it? */
static bool is_there(const struct target *target, uint64_t address, const void *buf)
{
	uint64_t words[VM_PROOF / sizeof(uint64_t)];

	return target_read(target, address, words, sizeof(words)) == 0 &&
	       !memcmp(words, buf, sizeof(words));
}

/*
 * /proc/PID/mem copies each page twice; process_vm_readv(2) does it once. But that finds the process by its number, and
 * so reads another program's memory when it has replaced itself meanwhile. So both ends are compared: what
 * /proc/PID/mem says counts.
 */
int target_read_much(struct target *target, uint64_t address, void *buf, size_t size)
{
	struct iovec here = { buf, size }, there = { (void *)(uintptr_t)address, size };
	ssize_t n;

	if (size >= VM_BYTES && !target->no_vm_read) {
		n = process_vm_readv(target->pid, &here, 1, &there, 1, 0);
		target->no_vm_read = n < 0 && (errno == EPERM || errno == ENOSYS);
		if (n == (ssize_t)size && is_there(target, address, buf) &&
		    is_there(target, address + size - VM_PROOF, (char *)buf + size - VM_PROOF))
			return 0;
	}
	return target_read(target, address, buf, size);
}

int target_write(const struct target *target, uint64_t address, const void *buf, size_t size)
{
	ssize_t n = pwrite(target->mem, buf, size, (off_t)address);

	return n == (ssize_t)size ? 0 : -1;
}

int target_refresh(struct target *target)
{
	return target_read(target, target->control, &target->state, sizeof(target->state));
}

bool target_is_alive(const struct target *target)
{
	return kill(target->pid, 0) == 0 || errno == EPERM;
}

static int check(struct target *target, bool quiet)
{
	if (target_refresh(target) != 0)
		return quiet ? -1 :
			       say("process %d: its memory can't be read: %s", target->pid,
				   strerror(errno));
	if (target->state.magic != TRACE_MAGIC)
		return quiet ? -1 :
			       say("process %d: the library is there but has not started yet: try "
				   "again",
				   target->pid);
	if (target->state.version != TRACE_VERSION || target->state.bytes != sizeof(target->state))
		return say("process %d runs another version of libkmalloc: use the kmem that came "
			   "with it",
			   target->pid);
	return 0;
}

int target_open(struct target *target, pid_t pid, bool quiet)
{
	char name[64];

	*target = (struct target){ .pid = pid, .mem = -1 };
	elf_version(EV_CURRENT);
	snprintf(name, sizeof(name), "/proc/%d/mem", pid);
	target->mem = open(name, O_RDWR | O_CLOEXEC);
	if (target->mem < 0) {
		note_trouble(target);
		if (quiet)
			return -1;
		if (errno == ENOENT)
			return say("there is no process %d", pid);
		return say("process %d can't be looked into: %s (its owner or root may, see "
			   "ptrace(2))",
			   pid, strerror(errno));
	}
	target->control = find_control(target);
	if (!target->control) {
		target_close(target);
		if (target->error)
			return quiet ? -1 :
				       say("process %d: the files that it runs can't be opened: %s",
					   pid, strerror(target->error));
		return quiet ? -1 :
			       say("process %d does not run libkmalloc: start it with LD_PRELOAD, or "
				   "tools/run",
				   pid);
	}
	if (check(target, quiet) != 0) {
		target_close(target);
		return -1;
	}
	return 0;
}

void target_close(struct target *target)
{
	if (target->mem >= 0)
		close(target->mem);
	target->mem = -1;
}

#define CHUNK 512U /* entries that are looked at together */

/* 0 into n entries of the table at `at`, but for those that are as in keep[], if not NULL. */
static int clear_chunk(struct target *target, uint64_t at, size_t n, const uint64_t *keep)
{
	uint64_t entries[CHUNK] = { 0 }, zero = 0;

	if (target_read(target, at, entries, n * sizeof(*entries)) != 0)
		return -1;
	/* one that is not to change is not written: it may have changed meanwhile */
	for (size_t i = 0; i < n; i++)
		if (entries[i] && !(keep && entries[i] == keep[i]) &&
		    target_write(target, at + i * sizeof(zero), &zero, sizeof(zero)) != 0)
			return -1;
	return 0;
}

/* What entries of hit_table are that lead to objects which are no samples: `from` is the first one. */
static int read_split(struct target *target, uint64_t from, size_t n, uint64_t split[CHUNK])
{
	uint64_t at = target->state.hit_free_table + from * sizeof(*split);

	if (target_read(target, at, split, n * sizeof(*split)) != 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		split[i] += split[i] ? target->state.split : 0;
	return 0;
}

/*
 * Entries that may be other than 0: those of the CPUs that have an area. One that comes later looks at what is wanted, which
 * stands there already.
 */
static int read_nr_entries(struct target *target, uint64_t *nr)
{
	struct trace_places places;
	uint32_t nr_areas;

	if (target_read(target, target->state.places, &places, sizeof(places)) != 0 ||
	    target_read(target, places.nr_areas, &nr_areas, sizeof(nr_areas)) != 0)
		return -1;
	*nr = nr_areas;
	if (nr_areas <= target->state.nr_hit && nr_areas <= TRACE_NR_CPUS)
		return 0;
	errno = EINVAL;
	return -1;
}

/* Send calls to the slow path. `again`: but for those that are what samples need already. */
static int clear_tables(struct target *target, uint8_t diversion, bool again)
{
	bool keep = again && diversion == TRACE_DIVERT_SAMPLES;
	uint64_t nr, split[CHUNK] = { 0 };

	if (read_nr_entries(target, &nr) != 0)
		return -1;
	for (uint64_t from = 0; from < nr; from += CHUNK) {
		size_t n = nr - from < CHUNK ? nr - from : CHUNK;
		uint64_t at = from * sizeof(*split);

		if ((keep && read_split(target, from, n, split) != 0) ||
		    clear_chunk(target, target->state.hit_table + at, n, keep ? split : NULL) != 0)
			return -1;
		if (diversion == TRACE_DIVERT_ALL &&
		    clear_chunk(target, target->state.hit_free_table + at, n, NULL) != 0)
			return -1;
	}
	return 0;
}

static int divert(struct target *target, bool again)
{
	uint8_t wanted = trace_diversion(target->state.want_mode), found;

	/* it may have been taken back by a call that had not seen the wish */
	if (target_read(target, target->state.divert, &found, 1) != 0)
		return -1;
	if (found != wanted && target->state.want_mode != TRACE_OFF &&
	    target_write(target, target->state.divert, &wanted, 1) != 0)
		return -1;
	return clear_tables(target, wanted, again);
}

int target_divert(struct target *target)
{
	return divert(target, false);
}

int target_divert_again(struct target *target)
{
	return divert(target, true);
}

int target_trace(struct target *target, const struct target_wish *wish)
{
	/* until it has seen the wish, even if that is to trace no more */
	uint8_t divert = trace_diversion(wish->mode);

	/* the beat first: who is about to give up the last reader does not then. To end leaves the rest as it is: listeners
	 * to probes sample by it */
	if (target_refresh(target) != 0 || target_beat(target) != 0 ||
	    (wish->mode != TRACE_OFF &&
	     (TARGET_WRITE_FIELD(target, want_full, wish->full) != 0 ||
	      TARGET_WRITE_FIELD(target, want_sample_bytes, wish->sample_bytes) != 0 ||
	      TARGET_WRITE_FIELD(target, want_ring_events, wish->ring_events) != 0 ||
	      TARGET_WRITE_FIELD(target, want_stacks, wish->stacks) != 0)) ||
	    TARGET_WRITE_FIELD(target, want_mode, wish->mode) != 0 ||
	    target_write(target, target->state.divert, &divert, 1) != 0 ||
	    clear_tables(target, divert, false) != 0)
		return -1;
	/* last: who sees it may take the divert back */
	if (TARGET_WRITE_FIELD(target, generation, target->state.generation + 1) != 0)
		return -1;
	/* who published an entry for samples since looked at the generation afterwards */
	return wish->mode == TRACE_SAMPLE ? clear_tables(target, divert, false) : 0;
}

int target_beat(struct target *target)
{
	return TARGET_WRITE_FIELD(target, beat, target->state.beat + 1);
}

int target_pause(struct target *target)
{
	return TARGET_WRITE_FIELD(target, mode, TRACE_OFF);
}
