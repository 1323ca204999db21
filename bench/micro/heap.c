/* SPDX-License-Identifier: MIT
 *
 * heap: sets of live objects, and what the process takes for them.
 *
 * Resident bytes are the process's, less what it had before the first object. The tables
 * of objects are mapped, and written to, before that, so they do not count. The peak is the
 * kernel's (VmHWM), which it forgets at the start where that is allowed; where it is not, an
 * earlier peak can hide ours only if it was higher, and these benchmarks have a process of
 * their own.
 *
 * Nothing here allocates: files are read into buffers on the stack.
 */
#include "heap.h"

#include "micro.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Bytes in the line `name: N kB` of a file of /proc/self; 0: no such line. */
static size_t proc_bytes(const char *path, const char *name)
{
	char text[8192];
	const char *line = text;
	ssize_t length = 0, got = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	while (length < (ssize_t)sizeof(text) - 1 &&
	       (got = read(fd, text + length, sizeof(text) - 1 - (size_t)length)) > 0)
		length += got;
	close(fd);
	text[length] = '\0';
	while (line) {
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			return strtoul(line + strlen(name) + 1, NULL, 10) * 1024;
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return 0;
}

/* The page tables know it exactly; VmRSS may be off by what processors have not yet added. */
static size_t resident_bytes(void)
{
	size_t bytes = proc_bytes("/proc/self/smaps_rollup", "Rss");

	return bytes ? bytes : proc_bytes("/proc/self/status", "VmRSS");
}

static void forget_peak(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "5", 1) < 0)
		errno = 0; /* not allowed here: the peak so far stays, see above */
	close(fd);
}

static void set_open(struct heap_set *set, size_t capacity)
{
	set->capacity = capacity;
	set->object = mmap(NULL, capacity * sizeof(*set->object), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (set->object == MAP_FAILED)
		die("out of memory");
}

void heap_open(struct heap *heap, size_t capacity)
{
	memset(heap, 0, sizeof(*heap));
	set_open(&heap->set[BULK], capacity);
	set_open(&heap->set[LONG], 1 << 18);
	set_open(&heap->set[BRIEF], 1 << 8);
	forget_peak();
	heap->resident_before = resident_bytes();
}

void heap_add(struct heap *heap, enum lifetime lifetime, size_t size)
{
	struct heap_set *set = &heap->set[lifetime];
	void *p;

	if (set->count == set->capacity)
		die("too many live objects");
	p = must(malloc(size));
	memset(p, 1, size);
	set->object[set->count++] = (struct heap_object){ p, size };
	set->live += size;
	heap->allocations++;
	heap->live += size;
	if (heap->live > heap->peak_live)
		heap->peak_live = heap->live;
}

void heap_drop(struct heap *heap, enum lifetime lifetime, size_t index)
{
	struct heap_set *set = &heap->set[lifetime];
	struct heap_object *object = &set->object[index];

	heap->live -= object->size;
	set->live -= object->size;
	free(object->p);
	*object = set->object[--set->count];
}

static void heap_close(struct heap *heap)
{
	for (enum lifetime i = 0; i < NR_LIFETIMES; i++) {
		while (heap->set[i].count)
			heap_drop(heap, i, heap->set[i].count - 1);
		munmap(heap->set[i].object, heap->set[i].capacity * sizeof(struct heap_object));
	}
}

static double above(size_t bytes, size_t base)
{
	return bytes > base ? (double)(bytes - base) : 0;
}

static void set_bytes(struct gb_state *state, const char *name, double bytes)
{
	gb_set_counter_as(state, name, bytes, GB_COUNTER_DEFAULTS, GB_ONE_K_IS_1024);
}

void heap_report(struct heap *heap, struct gb_state *state)
{
	size_t resident = resident_bytes();
	size_t peak = proc_bytes("/proc/self/status", "VmHWM");

	set_bytes(state, "live_bytes", (double)heap->live);
	set_bytes(state, "peak_live_bytes", (double)heap->peak_live);
	set_bytes(state, "resident_bytes", above(resident, heap->resident_before));
	set_bytes(state, "peak_resident_bytes",
		  above(peak > resident ? peak : resident, heap->resident_before));
	report_items(state, (double)heap->allocations);
	heap_close(heap);
}
