/* SPDX-License-Identifier: MIT */
/*
 * cfi.c - the tables that compilers put into every program: .eh_frame, found through .eh_frame_hdr.
 *
 * The kernel's counterpart is tools/objtool/orc_gen.c, which boils DWARF's call frame information down to what the
 * kernel's unwinder needs: where the caller's stack pointer is, and where its rbp. Differences: that is done while the
 * process runs, an instruction at a time, for those that stacks go through (unwind.c remembers them); nothing is made
 * beforehand. Formats: LSB Core 5.0, sections 10.5 (pointers) and 10.6 (.eh_frame, .eh_frame_hdr).
 *
 * The C library says in which file an address is (_dl_find_object(), glibc 2.35), without a lock. A file is not unloaded while a
 * stack goes through it. One whose tables are damaged gives a wrong stack at worst: nothing is read outside its mapping.
 *
 * Steps: 1. the file; 2. the FDE, by binary search; 3. its CIE; 4. the instructions of both, up to the address (cfi_run.c). No
 * state, no locks.
 */
#include "trace/cfi.h"

#include "trace/cfi_internal.h"

#include <dlfcn.h>
#include <string.h>

#define TABLE_ENTRY 8

/* A pointer's format, and what it counts from. */
enum {
	PE_ABSPTR = 0x00,
	PE_ULEB = 0x01,
	PE_UDATA2 = 0x02,
	PE_UDATA4 = 0x03,
	PE_UDATA8 = 0x04,
	PE_SLEB = 0x09,
	PE_SDATA2 = 0x0a,
	PE_SDATA4 = 0x0b,
	PE_SDATA8 = 0x0c,
	PE_FORMAT = 0x0f,
	PE_PCREL = 0x10,
	PE_BASE = 0x70,
	PE_INDIRECT = 0x80,
	PE_SEARCH_TABLE =
		0x3b, /* data-relative, four bytes with a sign: the only one that linkers write */
};

static uint64_t read_format(struct cursor *cursor, uint8_t encoding)
{
	switch (encoding & PE_FORMAT) {
	case PE_ABSPTR:
	case PE_UDATA8:
	case PE_SDATA8:
		return read_fixed(cursor, 8);
	case PE_ULEB:
		return read_uleb(cursor);
	case PE_SLEB:
		return (uint64_t)read_sleb(cursor);
	case PE_UDATA2:
		return read_fixed(cursor, 2);
	case PE_SDATA2:
		return (uint64_t)(int16_t)read_fixed(cursor, 2);
	case PE_UDATA4:
		return read_fixed(cursor, 4);
	case PE_SDATA4:
		return (uint64_t)(int32_t)read_fixed(cursor, 4);
	default:
		return fail(cursor);
	}
}

uintptr_t cfi_read_pointer(struct cursor *cursor, uint8_t encoding)
{
	uintptr_t here = (uintptr_t)cursor->at;
	uint64_t value = read_format(cursor, encoding);

	if (encoding & PE_INDIRECT)
		return fail(cursor);
	if ((encoding & PE_BASE) == PE_PCREL)
		return value + here;
	return encoding & PE_BASE ? fail(cursor) : value;
}

/* What is in an entry of .eh_frame, behind its length. */
static struct cursor entry_at(uintptr_t address, const struct dl_find_object *object)
{
	uintptr_t start = (uintptr_t)object->dlfo_map_start, end = (uintptr_t)object->dlfo_map_end;
	struct cursor cursor = { (const uint8_t *)address, (const uint8_t *)end,
				 !address || address < start || address >= end };
	uint64_t length;

	if (cursor.bad)
		return cursor;
	length = read_fixed(&cursor, 4);
	/* 0 ends the section; the largest is followed by eight bytes, which nobody writes */
	if (!length || length == UINT32_MAX || length > (uint64_t)(cursor.end - cursor.at))
		fail(&cursor);
	else
		cursor.end = cursor.at + length;
	return cursor;
}

/* The search table's entries: where a function begins, and its FDE; both from the header on. */
static int64_t table_word(const uint8_t *table, uint64_t entry, unsigned word)
{
	int32_t value;

	memcpy(&value, table + entry * TABLE_ENTRY + word * sizeof(value), sizeof(value));
	return value;
}

/* The FDE that begins last of those not behind ip; 0: none. */
static uintptr_t find_fde(uintptr_t ip, const struct dl_find_object *object)
{
	uintptr_t header = (uintptr_t)object->dlfo_eh_frame;
	struct cursor cursor = { object->dlfo_eh_frame, object->dlfo_map_end, false };
	uint64_t count, low = 0, high;
	uint8_t frame_encoding, count_encoding, table_encoding;
	const uint8_t *table;
	int64_t wanted = (int64_t)(ip - header);

	if (!header || read_fixed(&cursor, 1) != 1)
		return 0;
	frame_encoding = (uint8_t)read_fixed(&cursor, 1);
	count_encoding = (uint8_t)read_fixed(&cursor, 1);
	table_encoding = (uint8_t)read_fixed(&cursor, 1);
	read_format(&cursor, frame_encoding);
	count = read_format(&cursor, count_encoding);
	if (cursor.bad || table_encoding != PE_SEARCH_TABLE || !count ||
	    count > (uint64_t)(cursor.end - cursor.at) / TABLE_ENTRY)
		return 0;
	table = cursor.at;
	if (wanted < table_word(table, 0, 0))
		return 0;
	for (high = count; high - low > 1;) {
		uint64_t middle = low + (high - low) / 2;

		if (table_word(table, middle, 0) <= wanted)
			low = middle;
		else
			high = middle;
	}
	return header + (uintptr_t)table_word(table, low, 1);
}

static bool parse_augmentation(struct cursor *cursor, const char *letters, struct cie *cie)
{
	uint64_t length = read_uleb(cursor);
	const uint8_t *end;

	if (length > (uint64_t)(cursor->end - cursor->at))
		return false;
	end = cursor->at + length;
	for (; *letters; letters++) {
		uint8_t encoding;

		switch (*letters) {
		case 'R':
			cie->encoding = (uint8_t)read_fixed(cursor, 1);
			break;
		case 'L':
			skip(cursor, 1);
			break;
		case 'P':
			encoding = (uint8_t)read_fixed(cursor, 1);
			read_format(cursor, encoding);
			break;
		case 'S':
			cie->is_signal = true;
			break;
		default: /* its data is unknown, but where it ends is not */
			goto out;
		}
	}
out:
	if (cursor->bad)
		return false;
	cursor->at = end;
	return true;
}

static bool parse_cie(uintptr_t address, const struct dl_find_object *object, struct cie *cie)
{
	struct cursor cursor = entry_at(address, object);
	uint64_t id = read_fixed(&cursor, 4), version = read_fixed(&cursor, 1);
	const char *letters = (const char *)cursor.at;

	*cie = (struct cie){ .encoding = PE_ABSPTR };
	skip(&cursor, strnlen(letters, (size_t)(cursor.end - cursor.at)) + 1);
	if (cursor.bad || id != 0 || (version != 1 && version != 3))
		return false;
	cie->code_align = read_uleb(&cursor);
	cie->data_align = read_sleb(&cursor);
	if ((version == 1 ? read_fixed(&cursor, 1) : read_uleb(&cursor)) != REG_RA)
		return false;
	cie->has_augmentation = *letters == 'z';
	if (cie->has_augmentation ? !parse_augmentation(&cursor, letters + 1, cie) : *letters != 0)
		return false;
	cie->program = cursor;
	return !cursor.bad;
}

/* False: no table has it. */
static bool find(uintptr_t ip, const struct dl_find_object *object, struct unwind_rule *rule)
{
	uintptr_t address = find_fde(ip, object), start, id_at;
	struct cursor fde = entry_at(address, object);
	struct cie cie;
	uint64_t id;

	id_at = (uintptr_t)fde.at;
	id = read_fixed(&fde, 4);
	if (fde.bad || !id || !parse_cie(id_at - id, object, &cie))
		return false;
	start = cfi_read_pointer(&fde, cie.encoding);
	/* a length is not relative to anything */
	if (fde.bad || ip - start >= read_format(&fde, cie.encoding))
		return false;
	if (cie.has_augmentation)
		skip(&fde, read_uleb(&fde));
	if (cie.is_signal) {
		rule->kind = UNWIND_SIGNAL;
		return !fde.bad;
	}
	cfi_run(&cie, fde, start, ip, rule);
	return true;
}

/* Of the C library; older ones have none. */
extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak));

void cfi_find_rule(uintptr_t ip, struct unwind_rule *rule)
{
	struct dl_find_object object;

	*rule = (struct unwind_rule){ .kind = UNWIND_UNKNOWN };
	if (!_dl_find_object || _dl_find_object((void *)ip, &object) != 0)
		return;
	if (!find(ip, &object, rule))
		rule->kind = UNWIND_UNKNOWN;
}
